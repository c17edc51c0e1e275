/**
 * The general-purpose allocator.
 *
 * ```text
 *   Heap                       fast paths                                  this file
 *    ├─ SmallMoves             another page, above 2 KiB, zeroed, moved    small_moves.ts
 *    └─ HeapCore               arguments, bad addresses, reentrance        heap_core.ts
 *        ├─ BlockChanges       limit, clearing, all or nothing             block_changes.ts
 *        ├─ OwnedBlocks        blocks with an ArrayBuffer of their own     owned_blocks.ts, native_buffer.ts
 *        ├─ BlockMemory        the bytes of blocks                         block_memory.ts
 *        └─ Blocks             which kind of block, several ranges, room   blocks.ts, growth.ts
 *            ├─ SmallPages     size classes, pages, slots, links           small_pages.ts, page_table.ts, link_table.ts
 *            │   └─ AddressRange   reservation, regions                    address_range.ts
 *            │       └─ Runs   units, runs, bins                           runs.ts, run_*.ts, parked_runs.ts
 *            └─ HugeBlocks     a mapping each, OS pages that move          huge_blocks.ts
 * ```
 *
 * `free` of small blocks, and `allocate` of those up to 2 KiB, are written out whole in one method each, on `#base` and fields that
 * are copies of what the first range has (`#copyFirst` renews them); `allocateZeroed` and `reallocate` of small blocks have a short
 * way in `SmallMoves`, as has `allocate` for larger ones and those that need another page, `view` one here, and everything else
 * goes through `HeapCore`. What makes them fast:
 *
 * - An address becomes an offset by one subtraction, and from there on everything is a 32-bit integer; `(x | 0) === x`
 *   rejects fractions, NaN and what is far away. It reaches 2 GiB: `free` has a second way for what lies beyond, and the
 *   others count in granules, which costs a multiplication that a free waits for.
 * - All fields of a page are in one typed array, its record is one cache line.
 * - One link, read anyway, says whether the block is live: finding a bad free costs nothing.
 * - No test of an option is on the fast path: where allocating must be counted `#fastSize` is -1, and where freeing must
 *   do more (a limit, clearing, delayed reuse), or the heap is disposed, `#fastUnits` is 0.
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
import { assertArrayLength, assertSize, assertTypedArrayConstructor, DEFAULT_ALIGNMENT } from "./arguments.ts";
import { OutOfMemoryError } from "./errors.ts";
import { HeapCore } from "./heap_core.ts";
import type { HeapLayout } from "./heap_layout.ts";
import type { HeapOptions } from "./heap_options.ts";
import { HeapSetup, setupOf } from "./heap_setup.ts";
import type { NativeBuffer } from "./native_buffer.ts";
import type { Address, PageSource } from "./page_source.ts";
import {
  CURRENT,
  DELAYED_LINK,
  FREE_MASK,
  GRANULES_MASK,
  INVERSE_SHIFT,
  LINKS,
  LIVE,
  ONE_USED,
  OWNED,
  SHAPE,
  SLACK_MASK,
  STATE,
} from "./page_table.ts";
import { NO_REGION, type Region } from "./region.ts";
import { UNIT } from "./run_record.ts";
import { BY_GRANULE_MAX, GRANULE } from "./size_class.ts";
import { SmallMoves } from "./small_moves.ts";
import type { SmallPages } from "./small_pages.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file: for the fast paths.
const CURRENT_AT = CURRENT;
const STATE_AT = STATE;
const SHAPE_AT = SHAPE;
const LINKS_AT = LINKS;
const SHAPE_IN = SHAPE - STATE;
const LINKS_IN = LINKS - STATE;
const RECORD_BITS = 0x0ffffff0;
const FREE_BITS = FREE_MASK;
const GRANULES_BITS = GRANULES_MASK;
const INVERSE_FROM = INVERSE_SHIFT;
const ONE_MORE = ONE_USED;
const LIVE_FROM = LIVE;
const LIVE_SPAN = OWNED - LIVE;
const ANY_SPAN = DELAYED_LINK - LIVE;
const SLACK_BITS = SLACK_MASK;
const DEFAULT = DEFAULT_ALIGNMENT;
/** The units of the first 2 GiB: offsets of bytes there are 32-bit integers. */
const NEAR_UNITS = 2 ** 19;

/**
 * A general-purpose heap of native memory.
 *
 * Blocks never move, are 16-byte aligned at least, and are freed on purpose. Freeing what is not a live block is always
 * an error, never a corruption. `allocate` (up to 256 KiB), `free`, `usableSize` and `owns` take constant time;
 * `reallocate` moves what cannot stay in place; `stats` takes time in the number of pages and large blocks,
 * `blocks` in that of slots, large blocks and huge ones, `check` in that of slots and units.
 *
 * Undisposed, a heap keeps its memory until the process ends: nothing is freed by the garbage collector.
 *
 * @example
 * ```ts
 * import { Heap } from "@offheap/alloc";
 *
 * using heap = new Heap();
 * const address = heap.allocate(1024, 64);
 * heap.view(address).fill(7);
 * heap.free(address);
 * ```
 */
export class Heap extends HeapSetup implements Allocator {
  readonly #source: PageSource = setupOf(this).source;
  readonly #core: HeapCore = new HeapCore(this, setupOf(this).rules, () => this.#copyFirst());
  readonly #first: SmallPages = this.#core.blocks.ranges[0]!;
  readonly #moves: SmallMoves = new SmallMoves(this.#core);
  /** Where the first range starts. Set once, see heap_setup.ts; the fields that follow are copies of what the range has. */
  readonly #base: Address = this.#first.range.base;
  /** Where a page would start whose record were at word 0: a page's address follows from its record. */
  #origin: Address = 0;
  #pages: Int32Array = new Int32Array(0);
  #links: Uint16Array = new Uint16Array(0);
  /** The largest size that `allocate` may place by itself: up to it the table of current pages has an entry for each granule. */
  #fastSize = -1;
  /** The units whose blocks `free` may free by itself: those of the first 2 GiB, none in a heap that is not plain. */
  #fastUnits = 0;
  /** The units whose blocks `view`, `array` and `reallocate` may look up by themselves: all that are committed. */
  #units = 0;
  /** The region of the last view. */
  #seen: Region = NO_REGION;

  /**
   * Reserves address space; memory is committed when it is first needed.
   *
   * @throws {OutOfMemoryError} When the source has not even the address space and memory for the first records.
   * @throws {UnsupportedPlatformError} When no source is given and the system's cannot be loaded: see its message.
   */
  constructor(options: HeapOptions = {}) {
    super(options);
    this.#copyFirst();
  }

  /** Where the memory comes from. */
  get source(): PageSource {
    return this.#source;
  }

  /** See {@link Allocator.allocate}. Constant time up to 256 KiB; above, and for large alignments, a search for a run. */
  allocate(size: number, alignment: number = DEFAULT): Address {
    const bytes = typeof size === "number" ? size >>> 0 : -1;
    if (bytes === size && bytes <= this.#fastSize && alignment === DEFAULT) {
      const pages = this.#pages;
      // The mask says that sums with it cannot overflow, which V8 would test at each.
      const record = pages[CURRENT_AT + ((bytes + 15) >>> 4)]! & RECORD_BITS;
      const state = pages[record]!;
      const free = state & FREE_BITS;
      if (free !== 0) {
        const links = this.#links;
        const index = (pages[record + LINKS_IN]! + free - 1) >>> 0;
        const granules = pages[record + SHAPE_IN]! & GRANULES_BITS;
        pages[record] = state + ONE_MORE - free + links[index]!;
        links[index] = LIVE_FROM + (granules << 4) - bytes;
        return this.#origin + ((record << 8) + (free - 1) * granules) * 16;
      }
    }
    // The plus says that the result is a number: without it V8 keeps the address of every fast call as a boxed value (5 to
    // 10 % on three traces, and a fifth of the collections).
    return +this.#moves.allocate(size, alignment);
  }

  /** See {@link Allocator.free}. Constant time. */
  free(address: Address): void {
    const distance = typeof address === "number" ? address - this.#base : 0.5;
    const at = distance | 0;
    const unit = at >>> 12;
    if (at === distance && (at & 15) === 0 && unit < this.#fastUnits) {
      const pages = this.#pages;
      const record = (unit & -16) + STATE_AT;
      const offset = (at >>> 4) & 4095;
      const shape = pages[record + SHAPE_IN]!;
      const slot = (offset * (shape >>> INVERSE_FROM)) >>> 16;
      if (slot * (shape & GRANULES_BITS) === offset) {
        const links = this.#links;
        const index = (pages[record + LINKS_IN]! + slot) >>> 0;
        // Live, and not owned: one comparison for both ends.
        if (((links[index]! - LIVE_FROM) >>> 0) < LIVE_SPAN) {
          const state = pages[record]!;
          const free = state & FREE_BITS;
          const after = (state - ONE_MORE - free + slot + 1) | 0;
          links[index] = free;
          pages[record] = after;
          if (after < ONE_MORE) this.#first.settle(record - STATE_AT);
          return;
        }
      }
    }
    this.#freeSlow(address);
  }

  /** See {@link Allocator.tryAllocate}. */
  tryAllocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    try {
      return this.allocate(size, alignment);
    } catch (error) {
      if (error instanceof OutOfMemoryError) return 0;
      throw error;
    }
  }

  /** See {@link Allocator.allocateZeroed}. Memory fresh from the operating system is not cleared again. */
  allocateZeroed(size: number, alignment: number = DEFAULT): Address {
    const bytes = typeof size === "number" ? size >>> 0 : -1;
    const isUsual = bytes === size && alignment === DEFAULT;
    return (isUsual && this.#moves.zeroed(bytes)) || this.#core.allocateZeroed(size, alignment);
  }

  /**
   * See {@link Allocator.resize}. Blocks up to 16 KiB resize within their size class, and do not shrink in place by
   * more than 4095 bytes below it; larger ones shrink always, and grow up to 8 MiB into free space behind them. Huge ones
   * grow to the end of their mapping: their last OS page, or the room that `reallocate` left when they had to move.
   */
  resize(address: Address, size: number): boolean {
    return this.#core.resize(address, size);
  }

  /**
   * See {@link Allocator.reallocate}. A block that would keep less than half of its size moves to a smaller one. One that
   * outgrows its place, to more than 16 KiB, moves to where it has room to grow again, if there is such a place. Moving is
   * copying, but what is huge then takes its OS pages along where the source can `move` them (Linux, from 256 KiB up).
   */
  reallocate(address: Address, size: number): Address {
    const bytes = typeof size === "number" ? size >>> 0 : -1;
    const quotient = typeof address === "number" ? (address - this.#base) * 0.0625 : NaN;
    const granule = quotient | 0;
    const isUsual = granule === quotient && (granule >>> 8) < this.#units && bytes === size;
    const moved = isUsual ? this.#moves.reallocate(granule, bytes) : 0;
    if (moved !== 0) return moved;
    return address === 0 ? this.allocate(size) : this.#core.reallocate(address, size);
  }

  /** See {@link Allocator.usableSize}. Constant time. */
  usableSize(address: Address): number {
    return this.#core.live(address, "measure").usableSize;
  }

  /** See {@link Allocator.owns}. Constant time. */
  owns(address: Address): boolean {
    this.#core.assertUsable("look up", address);
    return typeof address === "number" && this.#core.blocks.find(address) !== undefined;
  }

  /** See {@link Allocator.view}. Constant time. Views of a huge block (above 4 MiB) are empty once it is freed. */
  view(address: Address, byteLength?: number): Uint8Array<ArrayBuffer> {
    const quotient = typeof address === "number" ? (address - this.#base) * 0.0625 : NaN;
    const granule = quotient | 0;
    if (granule === quotient && (granule >>> 8) < this.#units) {
      const pages = this.#pages;
      const unit = granule >>> 8;
      const page = unit & -16;
      const offset = granule & 4095;
      const shape = pages[page + SHAPE_AT]!;
      const slot = Math.imul(offset, shape >>> INVERSE_FROM) >>> 16;
      const link = this.#links[pages[page + LINKS_AT]! + slot]!;
      let usable = 0;
      let slack = 0;
      if (((link - LIVE_FROM) >>> 0) < ANY_SPAN && Math.imul(slot, shape & GRANULES_BITS) === offset) {
        usable = (shape & GRANULES_BITS) << 4;
        slack = link & SLACK_BITS;
      } else if ((granule & 255) === 0) {
        const { runs } = this.#first.range;
        usable = runs.largeAt(unit) * UNIT;
        slack = runs.slack(unit);
      }
      const length = byteLength === undefined ? usable - slack : byteLength;
      if (usable > 0 && typeof length === "number" && length >>> 0 === length && length <= usable) {
        let region = this.#seen;
        if (unit < region.firstUnit || unit >= region.endUnit) region = this.#regionOf(unit);
        const offset = ((granule - (region.firstUnit << 8)) << 4) >>> 0;
        try {
          return new Uint8Array(region.buffer, region.byteOffset + offset, length);
        } catch { /* Somebody has detached the region: the error comes from below. */ }
      }
    }
    return this.#core.view(address, byteLength);
  }

  /** The region of a unit of the first range, most likely that of the last view. */
  #regionOf(unit: number): Region {
    const seen = this.#seen;
    if (unit >= seen.firstUnit && unit < seen.endUnit && seen.bytes.byteLength > 0) return seen;
    return this.#seen = this.#first.range.wrappedRegionOf(unit);
  }

  /** See {@link Allocator.array}. */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T {
    assertSize(length, "length");
    assertTypedArrayConstructor(type);
    const byteLength = length * type.BYTES_PER_ELEMENT;
    const address = this.allocate(byteLength);
    try {
      const granule = ((address - this.#base) * 0.0625) | 0;
      const isHere = address - this.#base === granule * GRANULE && (granule >>> 8) < this.#units;
      const region = isHere ? this.#regionOf(granule >>> 8) : this.#core.around(address, byteLength);
      const array = new type(region.buffer, region.byteOffset + (address - region.address), length);
      assertArrayLength(array, byteLength);
      return array;
    } catch (error) {
      this.free(address);
      throw error;
    }
  }

  /** See {@link Allocator.freeArray}. */
  freeArray(array: ArrayBufferView): void {
    const address = this.#addressIn(array);
    if (address !== 0) this.free(address);
    else this.#core.freeArray(array);
  }

  /** The address of a view of the region that was viewed last; 0 for any other. */
  #addressIn(view: ArrayBufferView): Address {
    const { bytes, buffer, byteOffset, address } = this.#seen;
    if (!ArrayBuffer.isView(view) || view.buffer !== buffer || bytes.byteLength === 0) return 0;
    return address - byteOffset + view.byteOffset;
  }

  /** See {@link Allocator.addressOf}. Time in the number of regions, of which there are few, and of huge blocks. */
  addressOf(view: ArrayBufferView): Address {
    return this.#addressIn(view) || this.#core.addressOf(view);
  }

  /** See {@link Allocator.buffer}. */
  buffer(byteLength: number, options: BufferOptions = {}): NativeBuffer {
    this.#core.assertNotDisposed("allocate a buffer");
    return this.#core.owned.create(byteLength, options);
  }

  /** See {@link Allocator.blocks}. */
  blocks(): IterableIterator<BlockInfo> {
    return this.#core.walk();
  }

  /** See {@link Allocator.stats}. Time in the number of pages and large blocks. */
  stats(): AllocatorStats {
    return this.#core.stats();
  }

  /** What every region holds, page by page and run by run; see `heapMap` for a drawing. Time in the number of both. */
  layout(): HeapLayout {
    return this.#core.layout();
  }

  /** See {@link Allocator.check}. Time in the number of slots and units. */
  check(): void {
    this.#core.check();
  }

  /** See {@link Allocator.trim}. Views of freed blocks in regions that are given back are empty afterwards. */
  trim(): number {
    return this.#core.trim();
  }

  /** Frees every block, detaches every view and gives all memory back. A second call does nothing. */
  [Symbol.dispose](): void {
    this.#fastSize = -1;
    this.#fastUnits = 0;
    this.#units = 0;
    this.#seen = NO_REGION;
    this.#pages = new Int32Array(0);
    this.#links = new Uint16Array(0);
    this.#moves.shut();
    this.#core.dispose();
  }

  /** Renews the copies for the fast paths, after anything that can add or drop a region or lengthen a table. */
  #copyFirst(): void {
    const { range, links } = this.#first;
    const { isCounted, isPlain } = this.#core;
    this.#seen = NO_REGION;
    this.#moves.renew();
    this.#origin = range.base - STATE * UNIT;
    this.#pages = range.pages;
    this.#links = links;
    this.#units = range.endUnit;
    this.#fastSize = isCounted ? -1 : BY_GRANULE_MAX;
    this.#fastUnits = isPlain ? Math.min(range.endUnit, NEAR_UNITS) : 0;
  }

  /** What `free` does for all but live small blocks of the first range. */
  #freeSlow(address: Address): void {
    const core = this.#core;
    const isFar = typeof address === "number" && address - this.#base >= NEAR_UNITS * UNIT;
    const done = ((isFar || this.#fastUnits === 0) && core.freeSmall(address)) ||
      (this.#fastUnits !== 0 && core.blocks.freeLarge(address));
    if (!done) core.free(address);
  }
}
