/**
 * One heap for all workers of a process.
 *
 * ```text
 *   SharedHeap                  fast paths                                         this file
 *    ├─ SharedMoves             short ways: another page, zeroed, resized, moved   shared_moves.ts
 *    └─ SharedCore              the contract: arguments, bad addresses, ownership  shared_core.ts
 *        ├─ AllocatorMemory     views, copies, owned buffers                       allocator_memory.ts
 *        ├─ SharedBlocks        which block an address means, figures              shared_blocks.ts
 *        ├─ SharedPages         pages that this attachment owns                    shared_pages.ts, shared_page_check.ts
 *        ├─ freeRemotely        frees of blocks in pages of others                 shared_remote.ts
 *        └─ SharedSpace         what is done under the lock                        shared_space.ts, shared_lock.ts
 *            ├─ rebuildSpace    what is made whole when attachments are gone       shared_rebuild.ts, shared_restore.ts
 *            ├─ SharedRuns      units, runs, bins                                  shared_runs.ts
 *            └─ SharedTables    this worker's wraps of what all share              shared_tables.ts, shared_layout.ts
 * ```
 *
 * The fast paths are those of heap.ts, on pages that this attachment owns, with one load more: OWNER, which says whether
 * the page is ours and whether others have freed blocks of it (shared_remote.ts), and no atomic read-modify-write.
 * docs/shared-heap.md has the whole design.
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
import { type AllocatorMemory, assertAttached } from "./allocator_memory.ts";
import { assertSize, DEFAULT_ALIGNMENT } from "./arguments.ts";
import type { NativeBuffer } from "./native_buffer.ts";
import type { Address, PageSource } from "./page_source.ts";
import { FREE_MASK, GRANULES_MASK, INVERSE_SHIFT, LINKS, LIVE, ONE_USED, OWNED, SHAPE, STATE } from "./page_table.ts";
import { UNIT } from "./run_record.ts";
import { type Attachment, createFor, joinAttachment, type SharedHeapOptions } from "./shared_attachment.ts";
import { SharedCore } from "./shared_core.ts";
import { copyHandle, type SharedHeapHandle } from "./shared_handle.ts";
import { OWNER } from "./shared_layout.ts";
import { SharedMoves } from "./shared_moves.ts";
import type { SharedPages } from "./shared_pages.ts";
import { sharedPlatform } from "./shared_platform.ts";
import { isFreedRemotely } from "./shared_remote.ts";
import type { SharedTables } from "./shared_tables.ts";
import { BY_GRANULE_MAX, SMALL_MAX } from "./size_class.ts";
import { tryAllocate } from "./try_allocate.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file: for the fast paths.
const STATE_AT = STATE;
const SHAPE_AT = SHAPE;
const SHAPE_IN = SHAPE - STATE;
const LINKS_IN = LINKS - STATE;
const OWNER_IN = OWNER - STATE;
const RECORD_BITS = 0x0ffffff0;
const FREE_BITS = FREE_MASK;
const GRANULES_BITS = GRANULES_MASK;
const INVERSE_FROM = INVERSE_SHIFT;
const ONE_MORE = ONE_USED;
const LIVE_FROM = LIVE;
const LIVE_SPAN = OWNED - LIVE;
const DEFAULT = DEFAULT_ALIGNMENT;
/** The units of the first 2 GiB: offsets of bytes there are 32-bit integers, and negative ones look like those behind. */
const NEAR_UNITS = 2 ** 19;

/**
 * A heap of native memory for all workers of a process.
 *
 * Each worker has an attachment, which is an allocator of its own: a block that one allocates can be viewed, resized and freed by
 * any other. Freeing what is not a live block is an error, in whichever worker. An attachment belongs to the worker that made it;
 * what goes from worker to worker is {@link SharedHeap.handle}, and addresses.
 *
 * The heap lives as long as it has an attachment. `allocate` up to 16 KiB and `free` take constant time and no lock; larger
 * blocks take the heap's lock. `stats` and `blocks` see blocks of other workers exactly when those are at rest.
 *
 * @example
 * ```ts
 * import { SharedHeap } from "@offheap/alloc";
 *
 * using heap = SharedHeap.create();
 * const samples = heap.array(Float64Array, 1000);
 * // worker.postMessage({ handle: heap.handle, address: heap.addressOf(samples) });
 * // and there: using heap = SharedHeap.attach(handle); heap.view(address); heap.free(address);
 * ```
 */
export class SharedHeap implements Allocator {
  readonly #attachment: Attachment;
  readonly #core: SharedCore;
  readonly #tables: SharedTables;
  readonly #pages: SharedPages;
  readonly #moves: SharedMoves;
  readonly #memory: AllocatorMemory;
  readonly #number: number;
  #isDetached = false;

  // Copies for the fast paths, renewed whenever this worker wraps more.
  #base: Address = 0;
  /** Where a page would start whose record were at word 0: a page's address follows from its record. */
  #origin: Address = 0;
  #current: Int32Array;
  #table: Int32Array = new Int32Array(0);
  #links: Uint16Array = new Uint16Array(0);
  #fastSize = -1;
  /** The largest size for the short ways of `allocateZeroed` and `reallocate`. */
  #shortSize = -1;
  #fastUnits = 0;
  #units = 0;

  /**
   * Makes a heap and attaches to it.
   *
   * @throws {OutOfMemoryError} When there is not even the address space.
   * @throws {UnsupportedPlatformError} When `source` is not the system's, or the system's cannot be loaded.
   */
  static create(options: SharedHeapOptions = {}): SharedHeap {
    return new SharedHeap(createFor(options));
  }

  /**
   * Attaches to a heap that a worker of this process has made.
   *
   * @throws {TypeError} When `handle` is no handle.
   * @throws {InvalidHandleError} When it is damaged, of another process, or there is no heap where it says.
   * @throws {DisposedError} When the heap has ended.
   * @throws {OutOfMemoryError} When 127 attachments are there already.
   */
  static attach(handle: SharedHeapHandle): SharedHeap {
    return new SharedHeap(joinAttachment(copyHandle(handle), sharedPlatform()));
  }

  /** Made by {@link SharedHeap.create} and {@link SharedHeap.attach}; by tests, over other page sources. */
  constructor(attachment: Attachment) {
    if (typeof attachment !== "object") {
      throw new TypeError(
        "Cannot construct a SharedHeap: SharedHeap.create() makes one, SharedHeap.attach(handle) joins one",
      );
    }
    this.#attachment = attachment;
    this.#number = attachment.space.number;
    this.#core = new SharedCore(this, attachment.space);
    this.#tables = attachment.space.tables;
    this.#pages = this.#core.pages;
    this.#memory = this.#core.memory;
    this.#current = this.#pages.current;
    this.#moves = new SharedMoves(this.#core, () => this.#renew());
    this.#renew();
  }

  /** What other workers attach by: plain data, which `postMessage` can send. */
  get handle(): SharedHeapHandle {
    this.#memory.assertNotDisposed("hand out the handle");
    return copyHandle(this.#attachment.handle);
  }

  /**
   * How many attachments the heap has, in all workers. Those of workers whose threads have ended are cleared up first, and not
   * counted.
   */
  get attachments(): number {
    this.#memory.assertNotDisposed("count the attachments");
    return this.#core.space.countAttachments();
  }

  /** Where the memory comes from. */
  get source(): PageSource {
    return this.#attachment.source;
  }

  /** See {@link Allocator.allocate}. Constant time up to 16 KiB; above, the lock and a search for a run. */
  allocate(size: number, alignment: number = DEFAULT): Address {
    const bytes = typeof size === "number" ? size >>> 0 : -1;
    if (bytes === size && bytes <= this.#fastSize && alignment === DEFAULT) {
      const table = this.#table;
      // The mask says that sums with it cannot overflow, which V8 would test at each.
      const record = (this.#current[(bytes + 15) >>> 4]! + STATE_AT) & RECORD_BITS;
      const state = table[record]!;
      const free = state & FREE_BITS;
      if (free !== 0) {
        // The slot's bit is set when two workers have freed its block at the same moment, and this one had it back first.
        if (
          table[record + OWNER_IN] === this.#number ||
          !isFreedRemotely(this.#tables, record - STATE_AT, free - 1)
        ) {
          const links = this.#links;
          const index = (table[record + LINKS_IN]! + free - 1) >>> 0;
          const granules = table[record + SHAPE_IN]! & GRANULES_BITS;
          table[record] = state + ONE_MORE - free + links[index]!;
          links[index] = LIVE_FROM + (granules << 4) - bytes;
          return this.#origin + ((record << 8) + (free - 1) * granules) * 16;
        }
      }
    }
    return +this.#moves.allocate(size, alignment);
  }

  /** See {@link Allocator.free}. Constant time; a block of another worker's page takes an atomic operation, seldom more. */
  free(address: Address): void {
    const distance = typeof address === "number" ? address - this.#base : NaN;
    const at = distance | 0;
    if (at === distance && (at & 15) === 0 && (at >>> 12) < this.#fastUnits) {
      const table = this.#table;
      const record = ((at >>> 12) & -16) + STATE_AT;
      const offset = (at >>> 4) & 4095;
      const shape = table[record + SHAPE_IN]!;
      const slot = (offset * (shape >>> INVERSE_FROM)) >>> 16;
      if (slot * (shape & GRANULES_BITS) === offset) {
        // Ours, and without news.
        if (table[record + OWNER_IN] === this.#number) {
          const links = this.#links;
          const index = (table[record + LINKS_IN]! + slot) >>> 0;
          if (((links[index]! - LIVE_FROM) >>> 0) < LIVE_SPAN) {
            const state = table[record]!;
            const free = state & FREE_BITS;
            const after = (state - ONE_MORE - free + slot + 1) | 0;
            links[index] = free;
            table[record] = after;
            if (after < ONE_MORE) this.#pages.settle(record - STATE_AT);
            return;
          }
        } else if (shape !== 0 && this.#pages.freeAny(record - STATE_AT, slot)) return;
      }
    }
    this.#freeSlow(address);
  }

  /** See {@link Allocator.tryAllocate}. */
  tryAllocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    return tryAllocate(this, size, alignment);
  }

  /** See {@link Allocator.allocateZeroed}. Memory fresh from the operating system is not cleared again. */
  allocateZeroed(size: number, alignment: number = DEFAULT): Address {
    const bytes = typeof size === "number" ? size >>> 0 : -1;
    const isUsual = bytes === size && bytes <= this.#shortSize && alignment === DEFAULT;
    return (isUsual && this.#moves.zeroed(bytes)) || this.#core.allocateZeroed(size, alignment);
  }

  /**
   * See {@link Allocator.resize}. Blocks up to 16 KiB resize within their size class, and do not shrink in place by more
   * than 4095 bytes below it; larger ones shrink always, and grow into free space behind them.
   */
  resize(address: Address, size: number): boolean {
    const block = this.#core.live(address, "resize");
    assertSize(size);
    this.#core.refuseOwned(block, "resize");
    return this.#core.resize(block, size);
  }

  /** See {@link Allocator.reallocate}. A block that would keep less than half of its size moves to a smaller one. */
  reallocate(address: Address, size: number): Address {
    const bytes = typeof size === "number" ? size >>> 0 : -1;
    const quotient = typeof address === "number" ? (address - this.#base) * 0.0625 : NaN;
    const granule = quotient | 0;
    const isUsual = granule === quotient && (granule >>> 8) < this.#units && bytes === size &&
      bytes <= this.#shortSize;
    const moved = isUsual ? this.#moves.reallocate(granule, bytes) : 0;
    if (moved !== 0) return moved;
    return address === 0 ? this.allocate(size) : this.#core.reallocate(address, size);
  }

  /** See {@link Allocator.usableSize}. Constant time. */
  usableSize(address: Address): number {
    return this.#core.live(address, "measure").usableSize;
  }

  /** See {@link Allocator.owns}. Constant time. The block may be any worker's. */
  owns(address: Address): boolean {
    this.#memory.assertUsable("look up", address);
    return typeof address === "number" && this.#core.blocks.find(address) !== undefined;
  }

  /** See {@link Allocator.view}. The block may be any worker's; the view is this worker's. */
  view(address: Address, byteLength?: number): Uint8Array<ArrayBuffer> {
    const view = byteLength === undefined ? this.#core.viewSmall(address) : undefined;
    return view ?? this.#memory.view(address, byteLength);
  }

  /** See {@link Allocator.array}. */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T {
    return this.#memory.array(type, length);
  }

  /** See {@link Allocator.freeArray}. */
  freeArray(array: ArrayBufferView): void {
    this.#memory.freeArray(array);
  }

  /** See {@link Allocator.addressOf}. Time in the number of regions that this worker has views of. */
  addressOf(view: ArrayBufferView): Address {
    return this.#memory.addressOf(view);
  }

  /** See {@link Allocator.buffer}. Only the worker that made it can free or resize it. */
  buffer(byteLength: number, options: BufferOptions = {}): NativeBuffer {
    return this.#memory.buffer(byteLength, options);
  }

  /** See {@link Allocator.blocks}. Those of all workers. */
  blocks(): IterableIterator<BlockInfo> {
    this.#memory.assertNotDisposed("walk the blocks");
    return this.#core.walk();
  }

  /**
   * See {@link Allocator.stats}. Of the whole heap, but `wrappedBytes`, which is of this worker; the control block of 64 KiB is
   * not counted. Exact when no other worker is at work. Time in the number of pages and large blocks.
   */
  stats(): AllocatorStats {
    this.#memory.assertNotDisposed("report");
    return this.#core.blocks.stats();
  }

  /**
   * See {@link Allocator.check}. Everything that is shared, and the pages of this attachment; of pages of others, only what
   * holds while they are at work. Time in the number of slots and units.
   */
  check(): void {
    this.#memory.assertNotDisposed("check");
    for (const region of this.#tables.wrappedRegions()) assertAttached(region);
    this.#core.blocks.check();
  }

  /**
   * See {@link Allocator.trim}. Collects what others have freed, hands idle pages back, and gives the contents of free memory
   * back; regions stay until the heap ends. On Windows the result is 0: a view in another worker could fault meanwhile.
   *
   * @throws {InvalidFreeError} When it is found out that two workers have freed the same block; all is done then.
   */
  trim(): number {
    this.#memory.assertNotDisposed("trim");
    try {
      return this.#core.trim();
    } finally {
      this.#renew();
    }
  }

  /**
   * Ends this worker's part: its views are detached and its NativeBuffers freed, its pages go to whoever needs some, and every
   * later call throws DisposedError. All other blocks stay as they are, unless this was the last attachment: then everything
   * is unmapped. A second call does nothing.
   *
   * @throws {OutOfMemoryError} When tables that others have made longer cannot be wrapped; nothing has happened then.
   * @throws {InvalidFreeError} When it is found out that two workers have freed the same block; the end has come all the same.
   */
  detach(): void {
    if (this.#isDetached) return;
    this.#core.prepareToLeave();
    this.#isDetached = true;
    this.#fastSize = this.#shortSize = -1;
    this.#fastUnits = this.#units = 0;
    this.#table = new Int32Array(0);
    this.#links = new Uint16Array(0);
    this.#core.leave(this.#attachment);
  }

  /** As {@link SharedHeap.detach}. */
  [Symbol.dispose](): void {
    this.detach();
  }

  /** Renews the copies for the fast paths. */
  #renew(): void {
    const tables = this.#tables;
    if (this.#isDetached) return;
    this.#base = tables.base;
    this.#origin = tables.base - STATE * UNIT;
    this.#table = tables.pages;
    this.#links = tables.links;
    this.#fastSize = BY_GRANULE_MAX;
    this.#shortSize = SMALL_MAX;
    this.#units = tables.endUnit;
    this.#fastUnits = Math.min(tables.endUnit, NEAR_UNITS);
  }

  /** What `free` does for all but small blocks of our own, in pages without news and below 2 GiB. */
  #freeSlow(address: Address): void {
    const quotient = typeof address === "number" ? (address - this.#base) * 0.0625 : NaN;
    const granule = quotient | 0;
    if (granule === quotient && (granule >>> 8) < this.#units) {
      const page = (granule >>> 8) & -16;
      const offset = granule & 4095;
      const shape = this.#table[page + SHAPE_AT]!;
      const slot = Math.imul(offset, shape >>> INVERSE_FROM) >>> 16;
      if (shape !== 0 && Math.imul(slot, shape & GRANULES_BITS) === offset && this.#pages.freeAny(page, slot)) return;
    }
    try {
      this.#core.free(address);
    } finally {
      this.#renew();
    }
  }
}
