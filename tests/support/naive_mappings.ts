/**
 * The mappings of a naive allocator, and the mistakes that it can be told to make.
 *
 * @module
 */
import { CorruptionError, formatAddress, OutOfMemoryError } from "../../src/errors.ts";
import type { Address, PageSource } from "../../src/page_source.ts";

/** Mistakes that a naive allocator makes on purpose. */
export type Flaw =
  | "blocks overlap"
  | "alignment ignored"
  | "alignment lost by reallocate"
  | "usable size above the block"
  | "NaN accepted as a size"
  | "count times size wraps around at 2^32"
  | "dirty memory called zeroed"
  | "contents cut by reallocate"
  | "old block kept by reallocate"
  | "block lost by a failed reallocate"
  | "resize claims what it cannot"
  | "second free accepted"
  | "interior free accepted"
  | "foreign free ignored"
  | "bad free counted"
  | "mapping leaked by a failed allocation"
  | "mapping leaked by dispose"
  | "views alive after dispose"
  | "usable after dispose"
  | "live bytes miscounted"
  | "walk leaves a block out"
  | "limit off by one"
  | "out of memory swallowed"
  | "memory never reused"
  | "buffer not detached"
  | "unmapped while wrapped";

/** One mapping: a chunk of small blocks, or a large block. */
export interface Mapping {
  /** Where it starts. */
  readonly address: Address;
  /** Its bytes. */
  readonly byteLength: number;
  /** Whether small blocks are cut from it. */
  readonly isChunk: boolean;
  /** Wrapped when first looked at. */
  wrapped: Uint8Array<ArrayBuffer> | undefined;
  /** Where the next small block of a chunk is cut. */
  cut: number;
  /** Live blocks in it. */
  live: number;
}

/** Maps, wraps and unmaps. */
export class NaiveMappings {
  /** The live mappings. */
  readonly all: Set<Mapping> = new Set();
  /** Bytes of all mappings. */
  committed = 0;
  /** The largest `committed` ever. */
  peak = 0;
  readonly #source: PageSource;
  readonly #flaw: Flaw | undefined;

  /** Starts with none. */
  constructor(source: PageSource, flaw: Flaw | undefined) {
    this.#source = source;
    this.#flaw = flaw;
  }

  /** Bytes of all wraps. */
  get wrappedBytes(): number {
    let sum = 0;
    for (const { wrapped, byteLength } of this.all) sum += wrapped === undefined ? 0 : byteLength;
    return sum;
  }

  /** Maps whole OS pages. */
  map(byteLength: number, alignment: number, isChunk: boolean): Mapping {
    const source = this.#source;
    if (byteLength > Number.MAX_SAFE_INTEGER) throw new OutOfMemoryError(`Cannot map ${byteLength} bytes`, byteLength);
    let address: Address;
    try {
      address = source.reserve(byteLength, Math.max(alignment, source.pageSize));
    } catch (error) {
      if (this.#flaw === "out of memory swallowed") throw new Error("Cannot map", { cause: error });
      throw error;
    }
    try {
      source.commit(address, byteLength);
    } catch (error) {
      if (this.#flaw !== "mapping leaked by a failed allocation") source.unmap(address, byteLength);
      throw error;
    }
    const mapping = { address, byteLength, isChunk, wrapped: undefined, cut: 0, live: 0 };
    this.all.add(mapping);
    this.committed += byteLength;
    this.peak = Math.max(this.peak, this.committed);
    return mapping;
  }

  /** Detaches the views of a mapping and unmaps it. */
  unmap(mapping: Mapping): void {
    const { wrapped } = mapping;
    this.all.delete(mapping);
    this.committed -= mapping.byteLength;
    mapping.wrapped = undefined;
    if (wrapped !== undefined && this.#flaw !== "unmapped while wrapped") this.#source.unwrap(wrapped);
    this.#source.unmap(mapping.address, mapping.byteLength);
  }

  /** Unmaps all, whatever fails, and throws the last failure in the end. */
  dispose(): void {
    let failure: unknown;
    if (this.#flaw === "views alive after dispose") this.all.clear();
    for (const mapping of [...this.all]) {
      if (this.#flaw === "mapping leaked by dispose" && mapping.live > 0) continue;
      try {
        this.unmap(mapping);
      } catch (error) {
        failure = error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** A view of memory in a mapping. */
  bytes(mapping: Mapping, address: Address, byteLength: number): Uint8Array<ArrayBuffer> {
    const { maxWrapBytes } = this.#source;
    if (byteLength > maxWrapBytes) {
      throw new RangeError(`Cannot view ${byteLength} bytes: more than ${maxWrapBytes}, the most of a buffer`);
    }
    mapping.wrapped ??= this.#source.wrap(mapping.address, mapping.byteLength);
    this.assertAttached(mapping);
    const { buffer, byteOffset } = mapping.wrapped;
    return new Uint8Array(buffer, byteOffset + address - mapping.address, byteLength);
  }

  /** Throws when somebody has detached a wrap from outside. */
  assertAttached({ wrapped, address, byteLength }: Mapping): void {
    if (wrapped === undefined || wrapped.byteLength === byteLength) return;
    throw new CorruptionError(`Cannot use the mapping at ${formatAddress(address)}: it was detached from outside`);
  }

  /** The address that a view of one of the mappings starts at; undefined when it is of none. */
  addressOf({ buffer, byteOffset }: ArrayBufferView): Address | undefined {
    for (const { address, byteLength, wrapped } of this.all) {
      if (wrapped === undefined || wrapped.buffer !== buffer) continue;
      const offset = byteOffset - wrapped.byteOffset;
      if (offset >= 0 && offset < byteLength) return address + offset;
    }
    return undefined;
  }
}
