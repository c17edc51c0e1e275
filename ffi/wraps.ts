/**
 * The ArrayBuffers over native memory, and what became of those that others took away.
 *
 * Ending a wrap detaches its buffer, and with it every view, so that memory can be unmapped without leaving anything
 * behind that could touch it. One thing gets past that: `buffer.transfer()`, `postMessage(..., [buffer])`, a BYOB
 * stream reader and the like move the memory to a new buffer that we never see. Ours is then detached already:
 *
 * ```text
 *   bytes.buffer ──✕          transfer()
 *   some other buffer ─────▶  native memory  ◀── must stay mapped: an access would end the process
 * ```
 *
 * Such memory has escaped. The page sources keep its OS pages accessible for ever: instead of unmapping or decommitting
 * they replace them by fresh memory that reads as zero and costs nothing until touched. The allocator loses address
 * space, the program does not crash.
 *
 * @module
 */
import { alignDown, alignUp } from "../src/arguments.ts";
import { assertNativeAddress, assertWrap } from "../src/page_arguments.ts";
import type { Address, BufferWraps, NativePointer, PageSource } from "../src/page_source.ts";
import { RangeSet } from "../src/range_set.ts";
import type { NativeInterface } from "./library.ts";

/** A part of a range, wholly escaped or wholly not. */
export interface RangePart {
  /** Where it starts. */
  readonly address: Address;
  /** Its bytes. */
  readonly byteLength: number;
  /** Whether somebody may still see it. */
  readonly escaped: boolean;
}

/** Returns what it is given, so that {@link WrapRecord} can add its fields to an object that exists. */
class Given {
  constructor(object: object) {
    return object;
  }
}

/**
 * What `unwrap` must know of the bytes it gets: private fields on the Uint8Array itself. Nobody else sees them, and
 * they cost 50-100 ns where an entry in a WeakMap costs 150-250 in V8.
 */
class WrapRecord extends Given {
  #buffer: ArrayBuffer;
  #address: Address;
  #byteLength: number;

  /** Notes on `bytes` where it is. */
  constructor(bytes: Uint8Array, address: Address, byteLength: number) {
    super(bytes);
    this.#buffer = bytes.buffer as ArrayBuffer;
    this.#address = address;
    this.#byteLength = byteLength;
  }

  /** Ends the wrap that `bytes` is: where it was, or 0 when it is none or has ended. */
  static end(bytes: object): Address {
    if (!(#address in bytes)) return 0;
    const address = (bytes as WrapRecord).#address;
    (bytes as WrapRecord).#address = 0;
    return address;
  }

  /** The buffer that was made for the wrap; whatever `bytes.buffer` says now. */
  static buffer(bytes: Uint8Array): ArrayBuffer {
    return #buffer in bytes ? (bytes as WrapRecord).#buffer : bytes.buffer as ArrayBuffer;
  }

  /** How long the wrap was that `bytes` is or has been. */
  static byteLength(bytes: object): number {
    return #byteLength in bytes ? (bytes as WrapRecord).#byteLength : 0;
  }
}

// Taken before anybody could replace them: without detaching, a view would outlive its memory.
const { apply } = Reflect;
const { transfer } = ArrayBuffer.prototype;
const byteLengthOf = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "byteLength")!.get!;
const { call } = Function.prototype;

/** The wraps of one page source. */
export class Wraps {
  readonly #native: NativeInterface;
  readonly #pageSize: number;
  /** Whole OS pages that somebody else's buffer may show. */
  readonly #escaped = new RangeSet();

  /** Wraps made by `native`; escaped memory is rounded to pages of `pageSize`. */
  constructor(native: NativeInterface, pageSize: number) {
    this.#native = native;
    this.#pageSize = pageSize;
  }

  /** An ArrayBuffer of its own over `byteLength` bytes at `address`. */
  wrap(address: Address, byteLength: number): Uint8Array<ArrayBuffer> {
    assertWrap(address, byteLength, this.#native.maxWrapBytes);
    const bytes = new Uint8Array(this.#native.wrap(address, byteLength));
    new WrapRecord(bytes, address, byteLength);
    return bytes;
  }

  /**
   * Ends a wrap: transferring the buffer to length 0 detaches it and every view of it, and leaves the native memory as
   * it is. The memory has escaped if the buffer was detached before, and if it cannot be detached: JavaScriptCore holds
   * on to a buffer as long as native code works on it (`fs.write`, compression), and copies it instead.
   */
  unwrap(bytes: Uint8Array): void {
    const address = WrapRecord.end(bytes);
    const detached = detach(WrapRecord.buffer(bytes));
    if (!detached && address !== 0) this.#noteEscaped(address, WrapRecord.byteLength(bytes));
  }

  /** The members of a page source that are about wraps and pointers. */
  members(): Pick<PageSource, "maxWrapBytes" | "isolating" | "wrap" | "unwrap" | "buffers" | "toPointer"> {
    const wrap = (address: Address, byteLength: number): Uint8Array<ArrayBuffer> => this.wrap(address, byteLength);
    const unwrap = (bytes: Uint8Array): void => this.unwrap(bytes);
    return {
      maxWrapBytes: this.#native.maxWrapBytes,
      isolating: true,
      wrap,
      unwrap,
      buffers: this.#buffers({ wrap, unwrap }),
      toPointer: (address: Address): NativePointer => {
        assertNativeAddress(address);
        return this.#native.toPointer(address) as NativePointer;
      },
    };
  }

  /** These wraps without the views, as the `buffers` of a source whose `wrap` and `unwrap` are those given. */
  #buffers(standsFor: Pick<PageSource, "wrap" | "unwrap">): BufferWraps {
    return Object.freeze({
      standsFor: Object.freeze(standsFor),
      wrap: (address: Address, byteLength: number): ArrayBuffer => {
        assertWrap(address, byteLength, this.#native.maxWrapBytes);
        return this.#native.wrap(address, byteLength);
      },
      unwrap: (buffer: ArrayBuffer, address: Address, byteLength: number): void => {
        if (!detach(buffer)) this.#noteEscaped(address, byteLength);
      },
    });
  }

  #noteEscaped(address: Address, byteLength: number): void {
    this.#escaped.add(alignDown(address, this.#pageSize), alignUp(address + byteLength, this.#pageSize));
  }

  /** Whether any of these bytes have escaped. */
  hasEscaped(address: Address, byteLength: number): boolean {
    return this.#escaped.count !== 0 && this.#escaped.covered(address, address + byteLength) !== 0;
  }

  /** The range in parts, in order, that have wholly escaped or wholly not. */
  parts(address: Address, byteLength: number): RangePart[] {
    const parts: RangePart[] = [];
    const end = address + byteLength;
    let from = address;
    for (const [gapStart, gapEnd] of this.#escaped.gaps(address, end)) {
      if (gapStart > from) parts.push({ address: from, byteLength: gapStart - from, escaped: true });
      parts.push({ address: gapStart, byteLength: gapEnd - gapStart, escaped: false });
      from = gapEnd;
    }
    if (from < end) parts.push({ address: from, byteLength: end - from, escaped: true });
    return parts;
  }
}

/** Detaches a buffer; false when it was detached already, or cannot be. */
function detach(buffer: ArrayBuffer): boolean {
  // JavaScriptCore makes three plain calls of these, and three slow ones of `apply` (152 and 190 ns, the wrap included).
  if (transfer.call !== call || byteLengthOf.call !== call) return detachWithApply(buffer);
  if (byteLengthOf.call(buffer) === 0) return false;
  transfer.call(buffer, 0);
  return byteLengthOf.call(buffer) === 0;
}

/** The same where somebody has replaced `Function.prototype.call`. */
function detachWithApply(buffer: ArrayBuffer): boolean {
  if (apply(byteLengthOf, buffer, []) === 0) return false;
  apply(transfer, buffer, [0]);
  return apply(byteLengthOf, buffer, []) === 0;
}
