/**
 * The one interface that every allocator of this package implements, and the data it reports.
 *
 * @module
 */
import type { NativeBuffer } from "./native_buffer.ts";
import type { Address } from "./page_source.ts";

/** Any of the eleven typed arrays of the language. */
export type TypedArray =
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

/** The constructor of a view on a buffer: of a typed array, or `DataView` where that is allowed. */
export interface ViewConstructor<T extends ArrayBufferView> {
  /** Makes a view of `length` elements at `byteOffset`. */
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): T;
}

/** The constructor of a typed array. */
export interface TypedArrayConstructor<T extends TypedArray> extends ViewConstructor<T> {
  /** Bytes of one element. */
  readonly BYTES_PER_ELEMENT: number;
}

/** One live block, as {@link Allocator.blocks} reports it. */
export interface BlockInfo {
  /** Where the block starts. */
  readonly address: Address;
  /** The bytes that were asked for, by the allocation or the last resize. */
  readonly requestedSize: number;
  /** The bytes that may be used: at least `requestedSize`. */
  readonly usableSize: number;
  /** The alignment in bytes that was asked for, at least 16; it survives `reallocate`. */
  readonly alignment: number;
}

/** Figures of an allocator at one moment, all in bytes unless they are counts. Plain data. */
export interface AllocatorStats {
  /** Count of live blocks. */
  readonly liveBlocks: number;
  /** Usable bytes of all live blocks: the sum of `usableSize`. */
  readonly liveBytes: number;
  /** Bytes committed for blocks. Of these, the OS charges only those that were touched. */
  readonly committedBytes: number;
  /** The largest `committedBytes` ever. */
  readonly peakCommittedBytes: number;
  /** Bytes committed for the allocator's own records. */
  readonly tableBytes: number;
  /** Bytes of address space held, committed or not, records included. */
  readonly reservedBytes: number;
  /** Bytes wrapped as ArrayBuffers, records included: what the garbage collector is told about. */
  readonly wrappedBytes: number;
  /** Count of regions, each one ArrayBuffer, huge blocks not counted. */
  readonly regions: number;
  /** The limit on requested bytes; `Infinity` when there is none. */
  readonly limit: number;
}

/** Options of {@link Allocator.buffer}. */
export interface BufferOptions {
  /** In bytes: a power of two up to 2^30. @defaultValue 16 */
  alignment?: number;
  /** Whether all bytes are zero at first. @defaultValue true */
  zeroed?: boolean;
}

/**
 * Native memory, allocated and freed on purpose.
 *
 * Sizes and alignments are in bytes. An argument of the wrong type throws `TypeError`, of a wrong value
 * `RangeError`, before anything happens. Every failure leaves the allocator as it was. An address that is not the
 * start of a live block of this allocator throws `InvalidFreeError` from every method that takes one, and after
 * `dispose` every method but `dispose` throws `DisposedError`.
 */
export interface Allocator extends Disposable {
  /**
   * Gives a block of at least `size` bytes; its contents are undefined. A size of 0 gives a distinct address that can
   * be freed.
   *
   * @param size From 0 to 2^53 - 1.
   * @param alignment A power of two up to 2^30. @defaultValue 16
   * @throws {OutOfMemoryError} When the memory cannot be had.
   */
  allocate(size: number, alignment?: number): Address;
  /** As `allocate`, but 0 instead of `OutOfMemoryError`. */
  tryAllocate(size: number, alignment?: number): Address;
  /** As `allocate`, and the first `size` bytes are zero. */
  allocateZeroed(size: number, alignment?: number): Address;
  /** Changes the size of a block without moving it. False, and nothing changed, when that cannot be done. */
  resize(address: Address, size: number): boolean;
  /**
   * Changes the size of a block, moving it when needed; contents up to the lesser size and the alignment are kept.
   * `reallocate(0, n)` is `allocate(n)`; `reallocate(p, 0)` frees `p` and returns 0.
   */
  reallocate(address: Address, size: number): Address;
  /** Frees a block. `free(0)` does nothing. */
  free(address: Address): void;
  /** The bytes of a live block that may be used: at least the size asked for. */
  usableSize(address: Address): number;
  /** Whether `address` is the start of a live block of this allocator. Throws for nothing but a disposed allocator. */
  owns(address: Address): boolean;
  /**
   * A view of a live block, without copying. After the block is freed the view is still readable, and shows whatever
   * the memory is used for next; after `dispose` it is empty. Its type fits wherever bytes are taken (`fetch`, `crypto.subtle`);
   * only over a `fixedPageSource` of a `SharedArrayBuffer` is it not of an `ArrayBuffer`.
   *
   * @param byteLength In bytes, at most `usableSize`. @defaultValue the size that was asked for
   */
  view(address: Address, byteLength?: number): Uint8Array<ArrayBuffer>;
  /** Allocates a typed array of `length` elements, not cleared. Free it with `freeArray`. */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T;
  /** Frees the block that a view starts at. */
  freeArray(array: ArrayBufferView): void;
  /**
   * The address of the first byte of a view of this allocator's memory.
   *
   * @throws {InvalidFreeError} When the view is of other memory.
   * @throws {UseAfterFreeError} When the view is detached.
   */
  addressOf(view: ArrayBufferView): Address;
  /** Allocates an owned buffer: one whose views are detached when it is freed. */
  buffer(byteLength: number, options?: BufferOptions): NativeBuffer;
  /**
   * The live blocks, in no promised order. Allocating or freeing during the walk is allowed; it may or may not show.
   */
  blocks(): Iterable<BlockInfo>;
  /** Figures of this moment. Changes nothing. */
  stats(): AllocatorStats;
  /**
   * Verifies every record of the allocator against every other.
   *
   * @throws {CorruptionError} When two disagree.
   */
  check(): void;
  /** Gives memory that holds no block back to the operating system, and returns how many bytes. */
  trim(): number;
  /** Frees everything, detaches every ArrayBuffer and gives all memory back. A second call does nothing. */
  [Symbol.dispose](): void;
}
