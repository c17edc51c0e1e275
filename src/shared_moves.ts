/**
 * The short ways of a shared heap for small blocks that take more than a slot of the current page: those that need another
 * page or an alignment, zeroed ones, and those that change their size, in pages that this attachment owns.
 *
 * As small_moves.ts, for pages that have owners: granules are counted from the start of the data, and each method is one long
 * one. What each asks of OWNER, which nobody can take from this worker meanwhile, and of the bitmap:
 *
 * ```text
 *   allocate, zeroed   the slot was not freed twice ──▶ take the slot
 *   reallocate
 *      in place        the page is ours, and nobody else has freed the block ──▶ write its link
 *      moving          the page is ours ──▶ copy ──▶ nobody else has freed the block,
 *                                                    and the slot was not freed twice ──▶ take the slot, free the block
 * ```
 *
 * While a page has no news, each question is one comparison of OWNER. They are asked last, so that between them and the writes
 * lie no more instructions than in `free`: what was copied into a slot that is not taken in the end has harmed nobody. A
 * link of our page is written plainly in place too: nobody but the owner ever makes it a free one, and when another worker
 * resizes the same block at the same moment, one of both sizes is left in it.
 *
 * `zeroed` and `reallocate` answer 0 where they have no short way, with all blocks as they were: another worker's page (its
 * free is an atomic operation, and so is the size in its link), a block that is owned, or is to move and is aligned, or was freed by others, a
 * slot that was freed twice, a class without a page, a region that somebody has detached. `SharedCore` then does the same with
 * all care, and says what is wrong. `allocate`, which `SharedHeap` ends with, goes there by itself.
 *
 * @module
 */
import { DEFAULT_ALIGNMENT, isPowerOfTwo } from "./arguments.ts";
import { clearGranules, copyGranules } from "./granules.ts";
import type { Address } from "./page_source.ts";
import {
  FREE_MASK,
  GRANULES_MASK,
  INVERSE_SHIFT,
  LINKS,
  LIVE,
  liveLink,
  ONE_USED,
  OWNED,
  SHAPE,
  SLACK_MASK,
  STATE,
} from "./page_table.ts";
import type { SharedCore } from "./shared_core.ts";
import { OWNER, OWNER_MASK } from "./shared_layout.ts";
import type { SharedPages } from "./shared_pages.ts";
import { isFreedRemotely } from "./shared_remote.ts";
import type { SharedTables } from "./shared_tables.ts";
import { CLASS_GRANULES, CLASS_OF, classFor, GRANULE, LAST_ENTRY, sizeEntry, SMALL_MAX } from "./size_class.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file.
const STATE_AT = STATE;
const SHAPE_AT = SHAPE;
const LINKS_AT = LINKS;
const OWNER_AT = OWNER;
const SHAPE_IN = SHAPE - STATE;
const LINKS_IN = LINKS - STATE;
const OWNER_IN = OWNER - STATE;
const RECORD_BITS = 0x0ffffff0;
const OWNER_BITS = OWNER_MASK;
const FREE_BITS = FREE_MASK;
const GRANULES_BITS = GRANULES_MASK;
const INVERSE_FROM = INVERSE_SHIFT;
const ONE_MORE = ONE_USED;
const LIVE_FROM = LIVE;
const LIVE_SPAN = OWNED - LIVE;
/** Links of live blocks of the least alignment are below. */
const ALIGNED_FROM = LIVE * 2;
const SLACK_BITS = SLACK_MASK;
const GRANULE_BYTES = GRANULE;

/** Places, zeroes, resizes and moves small blocks of one attachment. */
export class SharedMoves {
  readonly #core: SharedCore;
  readonly #pages: SharedPages;
  readonly #tables: SharedTables;
  readonly #current: Int32Array;
  readonly #number: number;
  readonly #renew: () => void;

  /** For the attachment that `core` is of; `renew` is called when its wraps may have become longer. */
  constructor(core: SharedCore, renew: () => void) {
    this.#core = core;
    this.#pages = core.pages;
    this.#tables = core.space.tables;
    this.#current = core.pages.current;
    this.#number = core.space.number;
    this.#renew = renew;
  }

  /**
   * What `allocate` of the heap does when the current page has no free slot, and for all other blocks.
   * One long method on purpose, as in small_moves.ts: inlined there, it would keep V8 from inlining that one into its callers.
   */
  allocate(size: number, alignment: number): Address {
    const bytes = typeof size === "number" ? size >>> 0 : -1;
    if (
      bytes === size && bytes <= SMALL_MAX && typeof alignment === "number" && isPowerOfTwo(alignment) &&
      !this.#core.isDisposed
    ) {
      const sizeClass = alignment === DEFAULT_ALIGNMENT ? CLASS_OF[(bytes + 15) >>> 4]! : classFor(bytes, alignment);
      if (sizeClass !== -1) {
        const tables = this.#tables;
        const granules = CLASS_GRANULES[sizeClass]!;
        const entry = LAST_ENTRY[sizeClass]!;
        let record = (this.#current[entry]! + STATE_AT) & RECORD_BITS;
        if ((tables.pages[record]! & FREE_BITS) === 0) {
          this.#refill(sizeClass);
          record = (this.#current[entry]! + STATE_AT) & RECORD_BITS;
        }
        const { pages, links } = tables;
        const page = record - STATE_AT;
        const state = pages[record]!;
        const free = state & FREE_BITS;
        const isOurs = pages[record + OWNER_IN] === this.#number;
        if (free !== 0 && (isOurs || !isFreedRemotely(tables, page, free - 1))) {
          const index = (pages[record + LINKS_IN]! + free - 1) >>> 0;
          pages[record] = state + ONE_MORE - free + links[index]!;
          links[index] = liveLink(alignment < 16 ? 16 : alignment, granules * 16 - bytes);
          return tables.base + ((page << 8) + (free - 1) * granules) * GRANULE_BYTES;
        }
      }
    }
    try {
      return this.#core.allocate(size, alignment);
    } finally {
      this.#renew();
    }
  }

  /** A block of `size` zeroed bytes; 0 when no slot can be had. */
  zeroed(size: number): Address {
    const tables = this.#tables;
    const { pages, links } = tables;
    // The mask says that sums with it cannot overflow, which V8 would test at each.
    const record = (this.#current[sizeEntry(size)]! + STATE_AT) & RECORD_BITS;
    const state = pages[record]!;
    const free = state & FREE_BITS;
    if (free === 0) return this.#refill(CLASS_OF[(size + 15) >>> 4]!) ? this.zeroed(size) : 0;
    const granules = pages[record + SHAPE_IN]! & GRANULES_BITS;
    const granule = ((record - STATE_AT) << 8) + (free - 1) * granules;
    const region = tables.regionOf(granule >>> 8);
    if (region.bytes.byteLength === 0) return 0;
    if (pages[record + OWNER_IN] !== this.#number && isFreedRemotely(tables, record - STATE_AT, free - 1)) return 0;
    const index = (pages[record + LINKS_IN]! + free - 1) >>> 0;
    pages[record] = state + ONE_MORE - free + links[index]!;
    links[index] = LIVE_FROM + (granules << 4) - size;
    clearGranules(region, granule - (region.firstUnit << 8), (size + 15) >>> 4);
    return tables.base + granule * GRANULE_BYTES;
  }

  /** The new address of the block of a page of ours that starts at `granule`, if one does, with `size` bytes. */
  reallocate(granule: number, size: number): Address {
    const tables = this.#tables;
    const { pages, links } = tables;
    const page = (granule >>> 8) & -16;
    if ((pages[page + OWNER_AT]! & OWNER_BITS) !== this.#number || size === 0) return 0;
    const offset = granule & 4095;
    const shape = pages[page + SHAPE_AT]!;
    const usable = (shape & GRANULES_BITS) << 4;
    const slot = Math.imul(offset, shape >>> INVERSE_FROM) >>> 16;
    const index = (pages[page + LINKS_AT]! + slot) >>> 0;
    const link = links[index]!;
    if (((link - LIVE_FROM) >>> 0) >= LIVE_SPAN || Math.imul(slot, usable) !== offset << 4) return 0;
    const requested = usable - (link & SLACK_BITS);
    if (size <= usable && usable - size <= SLACK_BITS && (size * 2 > usable || usable === GRANULE_BYTES)) {
      if (pages[page + OWNER_AT] !== this.#number && isFreedRemotely(tables, page, slot)) return 0;
      links[index] = link + requested - size;
      return tables.base + granule * GRANULE_BYTES;
    }
    if (link >= ALIGNED_FROM) return 0;
    const record = (this.#current[sizeEntry(size)]! + STATE_AT) & RECORD_BITS;
    const state = pages[record]!;
    const free = state & FREE_BITS;
    if (free === 0) return this.#refill(CLASS_OF[(size + 15) >>> 4]!) ? this.reallocate(granule, size) : 0;
    const granules = pages[record + SHAPE_IN]! & GRANULES_BITS;
    const target = ((record - STATE_AT) << 8) + (free - 1) * granules;
    const unit = target >>> 8;
    const from = tables.regionOf(granule >>> 8);
    const to = unit >= from.firstUnit && unit < from.endUnit ? from : tables.regionOf(unit);
    if (from.bytes.byteLength === 0 || to.bytes.byteLength === 0) return 0;
    const count = ((requested < size ? requested : size) + 15) >>> 4;
    copyGranules(from, granule - (from.firstUnit << 8), to, target - (to.firstUnit << 8), count);
    if (
      (pages[page + OWNER_AT] !== this.#number && isFreedRemotely(tables, page, slot)) ||
      (pages[record + OWNER_IN] !== this.#number && isFreedRemotely(tables, record - STATE_AT, free - 1))
    ) return 0;
    const taken = (pages[record + LINKS_IN]! + free - 1) >>> 0;
    pages[record] = state + ONE_MORE - free + links[taken]!;
    links[taken] = LIVE_FROM + (granules << 4) - size;
    const before = pages[page + STATE_AT]!;
    const after = (before - ONE_MORE - (before & FREE_BITS) + slot + 1) | 0;
    links[index] = before & FREE_BITS;
    pages[page + STATE_AT] = after;
    if (after < ONE_MORE) this.#pages.settle(page);
    return tables.base + target * GRANULE_BYTES;
  }

  /**
   * Gets a size class a current page with a free slot, and says whether there is one and nothing else has happened.
   *
   * @throws {InvalidFreeError} When it is found out that two workers have freed the same block; nothing is allocated then.
   */
  #refill(sizeClass: number): boolean {
    const isThere = this.#pages.refill(sizeClass);
    this.#renew();
    if (this.#pages.doubles.length === 0) return isThere;
    this.#core.reportDoubles();
    // Somebody has heard of it and gone on, and may have done anything.
    return false;
  }
}
