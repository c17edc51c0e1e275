/**
 * Where memory comes from: the contract between allocators and the operating system.
 *
 * A page source hands out address space in whole OS pages and knows nothing of blocks. An
 * allocator knows nothing of the operating system: everything it needs is in {@link PageSource},
 * so the same allocator runs on `mmap`, on `VirtualAlloc`, on a plain `ArrayBuffer` and on a source
 * that fails on purpose. (The reference systems call this a grower.)
 *
 * The life of a piece of address space:
 *
 * ```text
 *            reserve            commit             wrap
 *  (nothing) ───────▶ reserved ───────▶ committed ───────▶ committed and wrapped
 *      ▲               │    ▲            │ │  ▲ │ ▲               │
 *      │               │    └─ decommit ─┘ │  └─┘ └─── unwrap ────┘
 *      │     unmap     │                   │ discard     (detaches every view)
 *      └───────────────┴───────────────────┘
 * ```
 *
 * Rules every source keeps and every allocator relies on:
 * - committed memory that was never written, or was discarded since, reads as zero;
 * - a request either happens whole or throws and leaves everything as it was (all but the target of a `move`);
 * - address 0 is never part of a reservation;
 * - memory is given back only by `decommit`, `discard` or `unmap`, and its contents moved only by `move`.
 *
 * @module
 */

/** An absolute address in bytes. 0 is never the address of a live block. */
export type Address = number;

/** What code may do with committed memory; see {@link PageSource.protect}. */
export type Protection = "none" | "read" | "read-write";

/**
 * A pointer as the foreign function interface of the running runtime takes it: a pointer object in
 * Deno, a number in Bun, a BigInt in Node.
 */
export type NativePointer = object | number | bigint;

/**
 * The pointer type of the runtime that the program is compiled for, found by its global types: `Deno.PointerValue`
 * under Deno, `Pointer` of `bun:ffi` under bun-types, otherwise any of them. So `toPointer(address)` can be passed
 * where a symbol of `Deno.dlopen` or of Bun's `dlopen` wants a pointer, without a cast.
 */
export type RuntimePointer = typeof globalThis extends
  { Deno: { UnsafePointer: { create(value: bigint): infer DenoPointer } } } ? DenoPointer
  : typeof globalThis extends { Bun: object } ? number & { __pointer__: null }
  : NativePointer | null;

/**
 * What a foreign function of the runtime returns as a pointer: a {@link RuntimePointer} or null, and by the types of Bun
 * a BigInt.
 */
export type ReturnedPointer = typeof globalThis extends { Deno: { UnsafePointer: object } } ? RuntimePointer
  : RuntimePointer | bigint | null;

/**
 * The `wrap` and `unwrap` of a page source for who wants the ArrayBuffer and no view of it: half of what a wrap costs is
 * the view, and what is noted on it to end the wrap.
 */
export interface BufferWraps {
  /**
   * The methods that these do the same as. A source with others has to be asked through them: it is a variation of the
   * source that this came from.
   */
  readonly standsFor: Pick<PageSource, "wrap" | "unwrap">;
  /** An ArrayBuffer over committed memory. */
  wrap(address: Address, byteLength: number): ArrayBuffer;
  /** Ends a wrap, once: detaches the buffer. `address` and `byteLength` are those of the wrap. */
  unwrap(buffer: ArrayBuffer, address: Address, byteLength: number): void;
}

/**
 * Gives address space and memory to allocators, in whole OS pages.
 *
 * All sizes and addresses are in bytes and multiples of {@link PageSource.pageSize}. Methods throw
 * `OutOfMemoryError` when the memory or address space cannot be had; the state is then unchanged.
 * Sources made by this package are plain objects, so that a variation is a spread away:
 * `{ ...source, commit(address, byteLength) { ... } }`.
 */
export interface PageSource {
  /** A short name for messages and reports, such as `"mmap"`. */
  readonly name: string;
  /** Bytes of one OS page: the unit of `commit`, `decommit`, `discard`, `protect` and `move`. */
  readonly pageSize: number;
  /** Alignment in bytes that every reservation has anyway (64 KiB on Windows). */
  readonly granularity: number;
  /** The most bytes that one `wrap` can cover (4 GiB on Bun). */
  readonly maxWrapBytes: number;
  /**
   * Whether untouched reserved and committed memory costs nothing, so that an allocator may reserve far more
   * than it will use. False for a fixed buffer, where a byte reserved is a byte spent.
   */
  readonly lazy: boolean;
  /**
   * Whether `wrap` makes an `ArrayBuffer` of its own for exactly the bytes asked for, which `unwrap` detaches. False
   * for a fixed buffer: there all views share the caller's buffer, which stays the caller's.
   */
  readonly isolating: boolean;

  /**
   * Reserves address space that cannot be accessed yet.
   *
   * @param byteLength A positive multiple of `pageSize`.
   * @param alignment A power of two; the result is a multiple of it. Surplus taken to reach it is given back exactly.
   * @throws {OutOfMemoryError} When there is no such piece of address space.
   */
  reserve(byteLength: number, alignment: number): Address;
  /**
   * Makes reserved memory readable and writable. It reads as zero.
   *
   * @throws {OutOfMemoryError} When the memory cannot be had; nothing is committed then.
   */
  commit(address: Address, byteLength: number): void;
  /** Gives committed memory back; the range is only reserved afterwards, and access to it faults. Unwrap it first. */
  decommit(address: Address, byteLength: number): void;
  /** Gives the contents of committed memory back; the range stays accessible and reads as zero. */
  discard(address: Address, byteLength: number): void;
  /** Changes what may be done with committed memory. A forbidden access ends the process. */
  protect(address: Address, byteLength: number, protection: Protection): void;
  /**
   * Ends a reservation: exactly the `address` and `byteLength` of one `reserve`. Unwrap it first; only a wrap that
   * nobody can reach any more may be left to the collector.
   */
  unmap(address: Address, byteLength: number): void;
  /**
   * Makes committed memory visible to JavaScript without copying. The result has exactly `byteLength` bytes; an allocator that
   * gets another number throws `CorruptionError`. Its `byteOffset` is 0 for an isolating source.
   *
   * @throws {RangeError} When `byteLength` is above `maxWrapBytes`.
   */
  wrap(address: Address, byteLength: number): Uint8Array<ArrayBuffer>;
  /** Ends a `wrap`: an isolating source detaches the buffer, and every view of it has length 0 from then on. */
  unwrap(bytes: Uint8Array): void;
  /**
   * Moves the contents of committed memory to other committed memory, without copying. The two must not overlap. Both stay
   * committed, and wrapped if they were; what was moved from reads as zero then. A source that has no way to do that, or
   * none for these addresses, returns false: then nothing of `from` has changed. What `to` held is lost in any case.
   *
   * A variation of a source whose memory is no mapping of its own sets it to `undefined`.
   *
   * @throws {RangeError} When the two overlap.
   * @throws {OutOfMemoryError} When the system has no memory for it: `from` is as it was, `to` can only be unmapped.
   */
  readonly move?: ((from: Address, to: Address, byteLength: number) => boolean) | undefined;
  /** A cheaper form of `wrap` and `unwrap`, of isolating sources that have one; see `buffersOf`. */
  readonly buffers?: BufferWraps;
  /** The address as the runtime's foreign function interface takes it. */
  toPointer(address: Address): NativePointer;
}

/** The cheaper form of the wraps of a source, if it has one that stands for its own `wrap` and `unwrap`. */
export function buffersOf({ buffers, wrap, unwrap, isolating }: PageSource): BufferWraps | undefined {
  if (buffers === undefined || !isolating) return undefined;
  return buffers.standsFor.wrap === wrap && buffers.standsFor.unwrap === unwrap ? buffers : undefined;
}
