/**
 * An `ArrayBuffer` or `SharedArrayBuffer` as the memory of allocators: an embedded budget that needs no foreign function
 * interface and no permission.
 *
 * ```text
 *   address   base                                        base + whole pages
 *             ├─ reserved ─┼── free ──┼─ reserved ─┼─ free ─┤
 *   offset    0                                             └ rest below a page: never used
 * ```
 *
 * A buffer has no address that JavaScript could see, so addresses are invented: offset 0 is at a base that is a multiple
 * of 1 GiB, so every alignment that allocators know works. Bases begin above the address space of any program, and no two
 * sources share one: an address of one source is never that of another source or of real memory.
 *
 * Costs: a byte reserved is a byte of the buffer (`lazy` is false); reserving is first fit over the free ranges, commit
 * and discard write zeros, all else is bookkeeping.
 *
 * @module
 */
import { alignDown, alignUp, assertOptions, isPowerOfTwo } from "./arguments.ts";
import { CorruptionError, describeValue, formatAddress, OutOfMemoryError, UnsupportedPlatformError } from "./errors.ts";
import {
  assertNativeAddress,
  assertPageRange,
  assertProtection,
  assertReservation,
  assertWrap,
} from "./page_arguments.ts";
import type { Address, PageSource, Protection } from "./page_source.ts";
import { RangeSet } from "./range_set.ts";

/** Options of {@link fixedPageSource}. */
export interface FixedPageSourceOptions {
  /** Bytes of one page: a power of two from 16. Small ones waste less of a small buffer. @defaultValue 4096 */
  pageSize?: number;
}

const DEFAULT_PAGE_SIZE = 4096;
/** Below this a page could not hold a block of the default alignment. */
const MIN_PAGE_SIZE = 16;
/** Bases are multiples of this: the largest alignment that allocators know. */
const BASE_ALIGNMENT = 2 ** 30;
/** The first base: above the 2^47 or 2^48 bytes that processors give to programs, and exact as a number. */
const FIRST_BASE = 2 ** 48;

/** The error for a fixed page source's address where a pointer is wanted. */
export function notAPointer(address: Address): UnsupportedPlatformError {
  return new UnsupportedPlatformError(
    `Cannot make a pointer of ${formatAddress(address)}: it is a place in an ArrayBuffer, not an address of this ` +
      "process. systemPageSource() has memory that C can use",
  );
}

/** Where the next source begins. */
let nextBase = FIRST_BASE;

/** Whether an address lies in a fixed page source: no program's memory is there. */
export function isFixedAddress(address: Address): boolean {
  return address >= FIRST_BASE && address < nextBase;
}

/**
 * Memory out of a buffer of yours. The buffer stays yours: it is never detached, and its former contents are overwritten
 * where memory is committed. Several allocators may share one source.
 *
 * Addresses are good for allocators only: there is no pointer that C could use, and `toPointer` throws. Views over a
 * `SharedArrayBuffer` are views of that, although their type says `ArrayBuffer`, as it is everywhere else.
 *
 * @example
 * ```ts
 * const source = fixedPageSource(new ArrayBuffer(2 ** 20));
 * const address = source.reserve(8192, 16);
 * source.commit(address, 8192);
 * source.wrap(address, 8192).fill(1);
 * source.unmap(address, 8192);
 * ```
 *
 * @throws {RangeError} When the buffer is shorter than one page, or the page size is no power of two.
 */
export function fixedPageSource(buffer: ArrayBufferLike, options: FixedPageSourceOptions = {}): PageSource {
  assertOptions(options);
  const { pageSize = DEFAULT_PAGE_SIZE } = options;
  assertBuffer(buffer);
  assertPageSize(pageSize);
  const capacity = alignDown(buffer.byteLength, pageSize);
  if (capacity === 0) {
    throw new RangeError(
      `Cannot use a buffer of ${buffer.byteLength} bytes as a page source: it must hold a page of ${pageSize} bytes`,
    );
  }

  const base = nextBase;
  const end = base + capacity;
  nextBase = alignUp(end + 1, BASE_ALIGNMENT);
  const free = new RangeSet();
  free.add(base, end);
  const committed = new RangeSet();
  /** The reservations: length by address. */
  const reserved = new Map<Address, number>();

  function reserve(byteLength: number, alignment: number): Address {
    assertReservation(byteLength, alignment, pageSize);
    assertAttached();
    const address = free.firstFit(byteLength, Math.max(alignment, pageSize));
    if (address < 0) {
      throw new OutOfMemoryError(
        `Cannot reserve ${byteLength} bytes: the buffer of ${capacity} bytes has ${free.total} free, ` +
          `the longest piece ${free.longest()}`,
        byteLength,
        capacity,
      );
    }
    free.remove(address, address + byteLength);
    reserved.set(address, byteLength);
    return address;
  }

  function commit(address: Address, byteLength: number): void {
    assertReserved(address, byteLength);
    // Only what was not committed yet: committing twice keeps what is there, as it does on a real system.
    for (const [from, to] of committed.gaps(address, address + byteLength)) bytesAt(from, to - from).fill(0);
    committed.add(address, address + byteLength);
  }

  function decommit(address: Address, byteLength: number): void {
    assertReserved(address, byteLength);
    committed.remove(address, address + byteLength);
  }

  function discard(address: Address, byteLength: number): void {
    assertReserved(address, byteLength);
    bytesAt(address, byteLength).fill(0);
  }

  function protect(address: Address, byteLength: number, protection: Protection): void {
    assertReserved(address, byteLength);
    assertProtection(protection);
    if (protection !== "read-write") {
      throw new UnsupportedPlatformError(
        `Cannot protect ${formatAddress(address)} as ${
          describeValue(protection)
        }: the memory is an ArrayBuffer, which ` +
          "is always readable and writable. systemPageSource() can protect memory",
      );
    }
  }

  function unmap(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    const length = reserved.get(address);
    if (length !== byteLength) {
      throw new RangeError(
        `Cannot unmap ${byteLength} bytes at ${formatAddress(address)}: ` +
          (length === undefined ? "no reservation begins there" : `the reservation has ${length} bytes`),
      );
    }
    reserved.delete(address);
    committed.remove(address, address + byteLength);
    free.add(address, address + byteLength);
  }

  function wrap(address: Address, byteLength: number): Uint8Array<ArrayBuffer> {
    assertWrap(address, byteLength, capacity);
    assertInside("wrap", address, byteLength);
    assertAttached();
    return bytesAt(address, byteLength);
  }

  function toPointer(address: Address): never {
    assertNativeAddress(address);
    throw notAPointer(address);
  }

  function bytesAt(address: Address, byteLength: number): Uint8Array<ArrayBuffer> {
    // Every view is said to be of an ArrayBuffer. Where it is not, whoever gave the buffer knows.
    return new Uint8Array(buffer as ArrayBuffer, address - base, byteLength);
  }

  function assertReserved(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    assertInside("use", address, byteLength);
    assertAttached();
  }

  function assertInside(action: string, address: Address, byteLength: number): void {
    if (!(address >= base && address + byteLength <= end) || free.covered(address, address + byteLength) > 0) {
      throw new RangeError(`Cannot ${action} ${byteLength} bytes at ${formatAddress(address)}: they are not reserved`);
    }
  }

  function assertAttached(): void {
    if (buffer.byteLength < capacity) {
      throw new CorruptionError(
        `Cannot use the buffer of a fixed page source: it had ${capacity} bytes and now has ${buffer.byteLength}; ` +
          "it was transferred, detached or resized",
      );
    }
  }

  return {
    name: "fixed",
    pageSize,
    granularity: pageSize,
    maxWrapBytes: capacity,
    lazy: false,
    isolating: false,
    reserve,
    commit,
    decommit,
    discard,
    protect,
    unmap,
    wrap,
    unwrap: leaveAttached,
    toPointer,
  };
}

/** The buffer is the caller's, and other views of it are in use: ending a wrap does nothing. */
function leaveAttached(): void {}

/** Throws unless `buffer` is an ArrayBuffer or a SharedArrayBuffer, of this realm or another. */
function assertBuffer(buffer: unknown): asserts buffer is ArrayBufferLike {
  const tag = Object.prototype.toString.call(buffer);
  if (tag !== "[object ArrayBuffer]" && tag !== "[object SharedArrayBuffer]") {
    throw new TypeError(
      `Cannot use ${describeValue(buffer)} as a page source: it must be an ArrayBuffer or a SharedArrayBuffer`,
    );
  }
}

/** Throws unless `pageSize` is a power of two that a page source can work with. */
function assertPageSize(pageSize: unknown): asserts pageSize is number {
  if (typeof pageSize !== "number") {
    throw new TypeError(`Cannot use ${describeValue(pageSize)} as pageSize: it must be a number`);
  }
  if (!(pageSize >= MIN_PAGE_SIZE && pageSize <= BASE_ALIGNMENT && isPowerOfTwo(pageSize))) {
    throw new RangeError(
      `Cannot use ${describeValue(pageSize)} as pageSize: it must be a power of two from ${MIN_PAGE_SIZE} to 2^30`,
    );
  }
}
