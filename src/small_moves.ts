/**
 * The short ways of a heap for small blocks that `heap.allocate` does not place by itself: those above 2 KiB (`BY_GRANULE_MAX`),
 * those that need another page, an alignment or a run of units, zeroed ones, and those that change their size.
 *
 * Places are counted in granules from the start of the first range, which are 32-bit integers, and within a region from
 * its start. `zeroed` and `reallocate` answer 0 where they have no short way (no page can be had, the block is owned, it is to move and
 * is aligned, something is cut off it in a heap that is not plain, somebody has detached the region), with all blocks as
 * they were; `HeapCore` then does the same with all care. `allocate`, which `Heap` ends with, goes there by itself.
 *
 * The methods are long on purpose, and take and free slots as those of `Heap` do: made of a dozen small ones they ran
 * out of what V8 inlines into one function, and moving a block took half as long again. What is copied and cleared are
 * whole granules (granules.ts). shared_moves.ts has the same for a `SharedHeap`, whose pages have owners.
 *
 * @module
 */
import { DEFAULT_ALIGNMENT, isPowerOfTwo } from "./arguments.ts";
import { clearGranules, copyGranules } from "./granules.ts";
import type { HeapCore } from "./heap_core.ts";
import type { Address } from "./page_source.ts";
import {
  CURRENT,
  FREE_MASK,
  GRANULES_MASK,
  INVERSE_SHIFT,
  LINKS,
  LIVE,
  liveLink,
  NO_PAGE,
  ONE_USED,
  OWNED,
  SHAPE,
  SLACK_MASK,
  STATE,
} from "./page_table.ts";
import { NO_REGION, type Region } from "./region.ts";
import { CLASS_GRANULES, CLASS_OF, classFor, GRANULE, LAST_ENTRY, sizeEntry, SMALL_MAX } from "./size_class.ts";
import type { SmallPages } from "./small_pages.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file.
const CURRENT_AT = CURRENT;
const STATE_AT = STATE;
const SHAPE_AT = SHAPE;
const LINKS_AT = LINKS;
const SHAPE_IN = SHAPE - STATE;
const LINKS_IN = LINKS - STATE;
const FREE_BITS = FREE_MASK;
const GRANULES_BITS = GRANULES_MASK;
const INVERSE_FROM = INVERSE_SHIFT;
const ONE_MORE = ONE_USED;
const LIVE_FROM = LIVE;
const LIVE_SPAN = OWNED - LIVE;
/** Links of live blocks of the least alignment are below. */
const ALIGNED_FROM = LIVE * 2;
const SLACK_BITS = SLACK_MASK;
const DEFAULT = DEFAULT_ALIGNMENT;
const GRANULES_OF_CLASS = CLASS_GRANULES;
const CLASS_OF_SIZE = CLASS_OF;
const LAST_ENTRIES = LAST_ENTRY;

/** Places, zeroes, resizes and moves blocks of a heap's first range. */
export class SmallMoves {
  readonly #core: HeapCore;
  readonly #first: SmallPages;
  readonly #base: Address;
  /** Copies of what the range has, renewed with those of the heap. */
  #pages: Int32Array = new Int32Array(0);
  #links: Uint16Array = new Uint16Array(0);
  /** The largest size that has a short way; -1 where blocks must be counted. */
  #shortSize = -1;
  /** The region of the block that was here last. */
  #region: Region = NO_REGION;

  /** Works on the first range of the heap that `core` is of. */
  constructor(core: HeapCore) {
    this.#core = core;
    this.#first = core.blocks.ranges[0]!;
    this.#base = this.#first.range.base;
  }

  /** Renews the copies, after anything that can add or drop a region or lengthen a table. */
  renew(): void {
    this.#pages = this.#first.range.pages;
    this.#links = this.#first.links;
    this.#shortSize = this.#core.isCounted ? -1 : SMALL_MAX;
    this.#region = NO_REGION;
  }

  /** Forgets all tables: the heap is about to be disposed. */
  shut(): void {
    this.#pages = new Int32Array(0);
    this.#links = new Uint16Array(0);
    this.#shortSize = -1;
    this.#region = NO_REGION;
  }

  /**
   * What `allocate` of the heap does for all blocks but those up to `BY_GRANULE_MAX` for which the current page has a slot. First the same
   * once more, for the sizes above (and in vain for those below).
   *
   * One long method on purpose: V8 inlines callees of up to 460 bytes of bytecode, with what they have inlined themselves. With
   * this one in it, `allocate` of the heap was too long for its callers.
   */
  allocate(size: number, alignment: number): Address {
    const bytes = typeof size === "number" ? size >>> 0 : -1;
    if (bytes === size && bytes <= this.#shortSize && alignment === DEFAULT) {
      const pages = this.#pages;
      const record = pages[CURRENT_AT + sizeEntry(bytes)]!;
      const state = pages[record]!;
      const free = state & FREE_BITS;
      if (free !== 0) {
        const links = this.#links;
        const index = pages[record + LINKS_IN]! + free - 1;
        const granules = pages[record + SHAPE_IN]! & GRANULES_BITS;
        pages[record] = state + ONE_MORE - free + links[index]!;
        links[index] = LIVE_FROM + (granules << 4) - bytes;
        return this.#base + (((record - STATE_AT) << 8) + (free - 1) * granules) * GRANULE;
      }
    }
    if (bytes !== size || this.#core.isCounted) return this.#core.allocate(size, alignment);
    let sizeClass = -1;
    if (size <= SMALL_MAX && alignment === DEFAULT) {
      sizeClass = CLASS_OF_SIZE[(size + 15) >>> 4]!;
    } else if (size <= SMALL_MAX && typeof alignment === "number" && isPowerOfTwo(alignment)) {
      sizeClass = classFor(size, alignment);
    } else if (alignment === DEFAULT) {
      const large = this.#core.blocks.takeLarge(size);
      if (large !== 0) return large;
    }
    if (sizeClass !== -1) {
      const granules = GRANULES_OF_CLASS[sizeClass]!;
      const entry = CURRENT_AT + LAST_ENTRIES[sizeClass]!;
      if ((this.#pages[this.#pages[entry]!]! & FREE_BITS) === 0) this.#refill(sizeClass);
      const pages = this.#pages;
      const links = this.#links;
      const record = pages[entry]!;
      const state = pages[record]!;
      const free = state & FREE_BITS;
      if (free !== 0) {
        const index = pages[record + LINKS_IN]! + free - 1;
        pages[record] = state + ONE_MORE - free + links[index]!;
        links[index] = liveLink(alignment < 16 ? 16 : alignment, granules * 16 - size);
        return this.#base + (((record - STATE_AT) << 8) + (free - 1) * granules) * GRANULE;
      }
    }
    return this.#core.allocate(size, alignment);
  }

  /** A block of `size` zeroed bytes; 0 when no slot can be had. */
  zeroed(size: number): Address {
    if (size > this.#shortSize) return 0;
    const pages = this.#pages;
    const links = this.#links;
    const record = pages[CURRENT_AT + sizeEntry(size)]!;
    const state = pages[record]!;
    const free = state & FREE_BITS;
    if (free === 0) return this.#refill(CLASS_OF_SIZE[(size + 15) >>> 4]!) ? this.zeroed(size) : 0;
    const granules = pages[record + SHAPE_IN]! & GRANULES_BITS;
    const granule = ((record - STATE_AT) << 8) + (free - 1) * granules;
    const index = pages[record + LINKS_IN]! + free - 1;
    pages[record] = state + ONE_MORE - free + links[index]!;
    links[index] = LIVE_FROM + (granules << 4) - size;
    const address = this.#base + granule * GRANULE;
    const region = this.#regionOf(granule >>> 8);
    if (region.bytes.byteLength > 0) clearGranules(region, granule - (region.firstUnit << 8), (size + 15) >>> 4);
    else this.#core.clear(address, size);
    return address;
  }

  /** The new address of the block that starts at `granule`, if one does, with `size` bytes. */
  reallocate(granule: number, size: number): Address {
    if (size > this.#shortSize) return 0;
    const base = this.#base;
    const pages = this.#pages;
    const links = this.#links;
    const page = (granule >>> 8) & -16;
    const offset = granule & 4095;
    const shape = pages[page + SHAPE_AT]!;
    const usable = (shape & GRANULES_BITS) << 4;
    const slot = Math.imul(offset, shape >>> INVERSE_FROM) >>> 16;
    const index = pages[page + LINKS_AT]! + slot;
    const link = links[index]!;
    if (((link - LIVE_FROM) >>> 0) >= LIVE_SPAN || Math.imul(slot, usable) !== offset << 4 || size === 0) return 0;
    const requested = usable - (link & SLACK_BITS);
    if (size <= usable && usable - size <= SLACK_BITS && (size * 2 > usable || usable === GRANULE)) {
      if (size < requested && !this.#core.isPlain) return 0;
      links[index] = link + requested - size;
      return base + granule * GRANULE;
    }
    if (link >= ALIGNED_FROM) return 0;
    const record = pages[CURRENT_AT + sizeEntry(size)]!;
    const state = pages[record]!;
    const free = state & FREE_BITS;
    if (free === 0) return this.#refill(CLASS_OF_SIZE[(size + 15) >>> 4]!) ? this.reallocate(granule, size) : 0;
    const granules = pages[record + SHAPE_IN]! & GRANULES_BITS;
    const target = ((record - STATE_AT) << 8) + (free - 1) * granules;
    const from = this.#regionOf(granule >>> 8);
    const unit = target >>> 8;
    const to = unit >= from.firstUnit && unit < from.endUnit ? from : this.#first.range.regionOf(unit);
    if (from.bytes.byteLength === 0 || to.bytes.byteLength === 0) return 0;
    const count = ((requested < size ? requested : size) + 15) >>> 4;
    copyGranules(from, granule - (from.firstUnit << 8), to, target - (to.firstUnit << 8), count);
    const taken = pages[record + LINKS_IN]! + free - 1;
    pages[record] = state + ONE_MORE - free + links[taken]!;
    links[taken] = LIVE_FROM + (granules << 4) - size;
    if (!this.#core.isPlain) {
      this.#core.freeSmall(base + granule * GRANULE);
      return base + target * GRANULE;
    }
    const before = pages[page + STATE_AT]!;
    const after = before - ONE_MORE - (before & FREE_BITS) + slot + 1;
    links[index] = before & FREE_BITS;
    pages[page + STATE_AT] = after;
    if (after < ONE_MORE) this.#first.settle(page);
    return base + target * GRANULE;
  }

  #regionOf(unit: number): Region {
    const last = this.#region;
    if (unit >= last.firstUnit && unit < last.endUnit) return last;
    return this.#region = this.#first.range.regionOf(unit);
  }

  /** Gets a size class a current page with a free slot, and says whether there is one. */
  #refill(sizeClass: number): boolean {
    const page = this.#first.refill(sizeClass);
    this.#core.renew();
    return page !== NO_PAGE;
  }
}
