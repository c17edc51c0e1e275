/**
 * Every block, or one in N, on OS pages of its own between pages that cannot be touched: native code that runs over the
 * end of a block, or uses it after it was freed, is stopped at the very instruction.
 *
 * ```text
 *   GuardAllocator                         which of the two                    this file
 *    ├─ Sampler                            which allocation is the one         sampler.ts
 *    ├─ GuardCore                          the contract, every block guarded   guard_core.ts
 *    │   ├─ WrapperMemory                  views, arrays, NativeBuffers        wrapper_memory.ts
 *    │   └─ GuardedBlocks                  reservations, live and freed        guarded_blocks.ts
 *    │       ├─ guardLayout                where in its pages a block lies     guard_layout.ts
 *    │       ├─ GuardedMemory              ArrayBuffers and slack              guarded_memory.ts
 *    │       └─ overrun, freedTwice ...    what the errors say                 guard_reports.ts
 *    └─ Heap                               all other blocks, if one in N is guarded
 * ```
 *
 * An address is looked up among the guarded blocks first and in the heap then. One that neither has is explained by the
 * guarded blocks when it lies in their pages, live or freed, and else by the heap.
 *
 * @module
 */
import type {
  Allocator,
  AllocatorStats,
  BlockInfo,
  BufferOptions,
  TypedArray,
  TypedArrayConstructor,
} from "./allocator.ts";
import { attemptAll } from "./attempts.ts";
import { claimKeeper, keepClaims } from "./block_claims.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { OutOfMemoryError } from "./errors.ts";
import { GuardCore } from "./guard_core.ts";
import { assertCanGuard, type GuardAllocatorOptions, guardSettings } from "./guard_options.ts";
import { Heap } from "./heap.ts";
import type { NativeBuffer } from "./native_buffer.ts";
import type { Address, PageSource } from "./page_source.ts";
import { Sampler } from "./sampler.ts";
import { tryAllocate } from "./try_allocate.ts";

/**
 * An allocator that finds overruns and uses after free by native code: they end the process, with the culprit on top of
 * the native stack, instead of changing somebody else's memory. JavaScript's own accesses cannot fault: views are
 * bounded, and empty once their block is freed.
 *
 * What differs from the {@link Allocator} contract:
 * - A guarded block takes three OS pages of address space and one of memory at least, and some microseconds.
 *   `maxBlocks` bounds how many are live: an operating system allows a process so many mappings and no more.
 * - `usableSize` is the size that was asked for, and `reallocate` to another size always moves, so that the block
 *   touches its guard page again. `resize` stays in place: it grows into slack, and shrinking leaves slack.
 * - The slack around a block is filled with 0xDE, up to one OS page on either side, and verified when the block is
 *   freed, resized or reallocated, by `check` and by dispose. A changed byte is a `CorruptionError`; the block then
 *   stays live.
 * - All bytes of a new guarded block are zero.
 * - The address space of freed blocks stays reserved, without memory, in a queue. `trim` gives it back, and counts it
 *   as no bytes; a late access may then hit other memory.
 * - Memory whose ArrayBuffer was transferred to somebody else stays accessible after free, as no view may fault.
 *
 * With a `sampleRate` above 1 all other blocks are those of a {@link Heap}, at its speed and by its rules. A sampled
 * allocation that cannot be guarded, for want of memory or because `maxBlocks` are live, is the heap's as well.
 *
 * `allocate`, `free`, `view`, `usableSize` and `owns` take constant time; an error about an address takes time in the
 * number of guarded blocks, `check` and dispose in their slack.
 *
 * @example
 * ```ts
 * import { GuardAllocator } from "@offheap/alloc";
 *
 * using guard = new GuardAllocator({ precise: true });
 * const address = guard.allocate(13);
 * // A C function that writes 14 bytes at `address` ends the process at that instruction.
 * guard.free(address);
 * // So does one that still uses `address` now.
 * ```
 */
export class GuardAllocator implements Allocator {
  /** Where the memory comes from. */
  readonly source: PageSource;
  readonly #core: GuardCore;
  readonly #sampler: Sampler;
  /** For the blocks that are not guarded; undefined when all are, and when disposed. */
  #heap: Heap | undefined;

  /**
   * Takes nothing yet from the source, unless one in N blocks is guarded and a heap is needed for the others.
   *
   * @throws {UnsupportedPlatformError} When memory of the source cannot be made inaccessible, as that of a fixed
   * buffer.
   */
  constructor(options: GuardAllocatorOptions = {}) {
    const settings = guardSettings(options);
    this.source = options.source ?? defaultPageSource();
    assertCanGuard(this.source);
    this.#core = new GuardCore(this.source, settings);
    this.#sampler = new Sampler(settings.sampleRate, settings.seed);
    this.#heap = settings.sampleRate > 1 ? new Heap({ source: this.source }) : undefined;
    keepClaims(this, (address) => claimKeeper(this.#holder(address), address)!);
  }

  /** Count of live guarded blocks. */
  get guardedBlocks(): number {
    return this.#core.guarded.count;
  }

  /** Count of freed guarded blocks whose address space is kept, so that an access faults. */
  get freedBlocks(): number {
    return this.#core.guarded.freedCount;
  }

  /** Bytes of address space of those blocks, which holds no memory. */
  get freedBytes(): number {
    return this.#core.guarded.freedBytes;
  }

  /** Whether `address` is the start of a live guarded block. */
  isGuarded(address: Address): boolean {
    return this.#core.owns(address);
  }

  /** See {@link Allocator.allocate}. Two system calls for a guarded block. */
  allocate(size: number, alignment?: number): Address {
    const heap = this.#heap;
    if (heap !== undefined && !this.#sampler.next()) return heap.allocate(size, alignment);
    return this.#guardIfPossible((allocator) => allocator.allocate(size, alignment));
  }

  /** See {@link Allocator.tryAllocate}. */
  tryAllocate(size: number, alignment?: number): Address {
    return tryAllocate(this, size, alignment);
  }

  /** See {@link Allocator.allocateZeroed}. A guarded block is zero without being cleared. */
  allocateZeroed(size: number, alignment?: number): Address {
    return this.#allocateBy((allocator) => allocator.allocateZeroed(size, alignment));
  }

  /** See {@link Allocator.resize}. A guarded block grows into the slack behind it; shrinking never fails. */
  resize(address: Address, size: number): boolean {
    return this.#holder(address).resize(address, size);
  }

  /** See {@link Allocator.reallocate}. A guarded block moves, unless the size is what it was. */
  reallocate(address: Address, size: number): Address {
    if (address === 0) return this.allocate(size);
    const holder = this.#holder(address);
    try {
      return holder.reallocate(address, size);
    } catch (error) {
      const heap = this.#heap;
      if (heap === undefined || holder === heap || !(error instanceof OutOfMemoryError)) throw error;
      return this.#moveTo(heap, address, size);
    }
  }

  /** Moves a guarded block to the heap, when no other guarded block can be had. */
  #moveTo(heap: Heap, address: Address, size: number): Address {
    const { guarded } = this.#core;
    const block = guarded.at(address)!;
    const moved = heap.allocate(size, block.alignment);
    try {
      guarded.memory.copy(address, moved, Math.min(size, block.requestedSize));
      this.#core.free(address);
    } catch (error) {
      heap.free(moved);
      throw error;
    }
    return moved;
  }

  /** See {@link Allocator.free}. One system call for a guarded block, two when the oldest freed one must go. */
  free(address: Address): void {
    this.#holder(address).free(address);
  }

  /** See {@link Allocator.usableSize}. */
  usableSize(address: Address): number {
    return this.#holder(address).usableSize(address);
  }

  /** See {@link Allocator.owns}. */
  owns(address: Address): boolean {
    return this.#core.owns(address) || this.#heap?.owns(address) === true;
  }

  /** See {@link Allocator.view}. Views of a guarded block are on an ArrayBuffer as long as the block. */
  view(address: Address, byteLength?: number): Uint8Array<ArrayBuffer> {
    return this.#holder(address).view(address, byteLength);
  }

  /** See {@link Allocator.array}. With `precise`, aligned to its elements and not to 16 bytes. */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T {
    return this.#allocateBy((allocator) => allocator.array(type, length));
  }

  /** See {@link Allocator.freeArray}. */
  freeArray(array: ArrayBufferView): void {
    this.#holderOf(array).freeArray(array);
  }

  /** See {@link Allocator.addressOf}. */
  addressOf(view: ArrayBufferView): Address {
    return this.#holderOf(view).addressOf(view);
  }

  /** See {@link Allocator.buffer}. */
  buffer(byteLength: number, options?: BufferOptions): NativeBuffer {
    return this.#allocateBy((allocator) => allocator.buffer(byteLength, options));
  }

  /** See {@link Allocator.blocks}. The guarded ones first. */
  blocks(): Iterable<BlockInfo> {
    const heap = this.#heap;
    return heap === undefined ? this.#core.blocks() : joined(this.#core.blocks(), heap.blocks());
  }

  /** See {@link Allocator.stats}. With a heap beside the guarded blocks, the peak is the sum of both peaks. */
  stats(): AllocatorStats {
    const guarded = this.#core.stats();
    const others = this.#heap?.stats();
    if (others === undefined) return guarded;
    return {
      liveBlocks: guarded.liveBlocks + others.liveBlocks,
      liveBytes: guarded.liveBytes + others.liveBytes,
      committedBytes: guarded.committedBytes + others.committedBytes,
      peakCommittedBytes: guarded.peakCommittedBytes + others.peakCommittedBytes,
      tableBytes: others.tableBytes,
      reservedBytes: guarded.reservedBytes + others.reservedBytes,
      wrappedBytes: guarded.wrappedBytes + others.wrappedBytes,
      regions: others.regions,
      limit: Infinity,
    };
  }

  /** See {@link Allocator.check}. Verifies the slack of every guarded block. */
  check(): void {
    attemptAll(() => this.#core.check(), () => this.#heap?.check());
  }

  /** See {@link Allocator.trim}, and the class for what becomes of freed guarded blocks. */
  trim(): number {
    return this.#core.trim() + (this.#heap?.trim() ?? 0);
  }

  /**
   * Frees every block, detaches every view and gives all memory back. A second call does nothing.
   *
   * @throws {CorruptionError} When the slack of a live block was written; everything is given back all the same.
   */
  [Symbol.dispose](): void {
    const heap = this.#heap;
    this.#heap = undefined;
    attemptAll(() => heap?.[Symbol.dispose](), () => this.#core[Symbol.dispose]());
  }

  /** Lets `make` allocate from the one or the other, as the sampler says. */
  #allocateBy<T>(make: (allocator: Allocator) => T): T {
    const heap = this.#heap;
    return heap !== undefined && !this.#sampler.next() ? make(heap) : this.#guardIfPossible(make);
  }

  /** Lets `make` allocate a guarded block, and one of the heap when there is a heap and no guarded block to be had. */
  #guardIfPossible<T>(make: (allocator: Allocator) => T): T {
    const heap = this.#heap;
    if (heap === undefined) return make(this.#core);
    try {
      return make(this.#core);
    } catch (error) {
      if (error instanceof OutOfMemoryError) return make(heap);
      throw error;
    }
  }

  /** Who has the block at `address`, or the better explanation why there is none. */
  #holder(address: Address): Allocator {
    const core = this.#core;
    const heap = this.#heap;
    if (heap === undefined) return core;
    // What is no number cannot be compared with any; the heap has the words for it.
    if (typeof address !== "number" || !core.guarded.spans(address)) return heap;
    if (core.guarded.at(address) !== undefined) return core;
    return heap.owns(address) || !core.knows(address) ? heap : core;
  }

  /** Who has the memory that a view is of. */
  #holderOf(view: ArrayBufferView): Allocator {
    const heap = this.#heap;
    return heap === undefined || (ArrayBuffer.isView(view) && this.#core.covers(view)) ? this.#core : heap;
  }
}

function* joined(first: Iterable<BlockInfo>, second: Iterable<BlockInfo>): IterableIterator<BlockInfo> {
  yield* first;
  yield* second;
}
