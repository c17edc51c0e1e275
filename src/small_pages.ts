/**
 * Small blocks: the pages of one address range, their slots and their lists.
 *
 * What is in a page's record, and what a link means, is drawn in page_table.ts. This class holds everything but the
 * fastest path, which `Heap` has written out in its own methods (two small methods took 84 instead of 23 ns a pair on
 * one trace in Bun): `heap.allocate` takes a slot from the current page's free list, `heap.free` puts one back, and
 * both come here when a page runs out, is full no longer, or empties. Where pages come from and where they go is in
 * page_supply.ts, random placement in
 * random_slots.ts, and what need not be fast (which slot an address lies in) in slot_lookup.ts.
 *
 * ```text
 *                     take a page            list runs out
 *                                    ┌──────────────────────┐ one slot is freed, and the current
 *                                    ▼                      │ page is used up: they change places
 *      idle or a run ─────────────▶ current ───────────────▶ full
 *            ▲                       ▲   │                     │ one slot is freed
 *            │    the class needs it │   │ it is let go        ▼ otherwise
 *            └────────────────────── partial ◀─────────────────┘
 *                 last slot freed
 * ```
 *
 * Slots join a page's free list some at a time, as the memory of a slot costs nothing until it is first written. A current
 * page whose list runs out gets its next slots only when no partial page has free ones worth changing to: those were
 * written before. Otherwise it is let go and partial itself, as is one that has units to give back (page_units.ts).
 *
 * Invariants, verified by {@link SmallPages.check}: STATE counts the live and delayed links (plus the hold, less FULL);
 * a free list holds exactly the free slots below EXTENDED; a full page has no slots that were never in it; a class's
 * partial list holds exactly its pages that are neither current, full nor idle. Those of page_units.ts besides.
 *
 * Cost: O(1) for everything but `check`, `discardUnused` and the walks; with random placement a new page takes time in its slots.
 *
 * @module
 */
import type { AddressRange } from "./address_range.ts";
import type { PageMemory } from "./footprint.ts";
import { FIRST_LINK, LinkTable } from "./link_table.ts";
import { checkPages } from "./page_check.ts";
import type { PageSource } from "./page_source.ts";
import { PageSupply } from "./page_supply.ts";
import {
  CAPACITY,
  CLASS,
  CURRENT,
  DELAYED,
  DELAYED_LINK,
  EXTENDED,
  FREE_MASK,
  FULL,
  GRANULES_MASK,
  INVERSE_SHIFT,
  isLiveLink,
  LAST,
  LINKS,
  LOOKED,
  NEXT,
  NO_PAGE,
  ONE_USED,
  PARTIAL,
  PREV,
  setCurrent,
  SHAPE,
  STATE,
} from "./page_table.ts";
import { PageUnits } from "./page_units.ts";
import { firstPartial, insertPartial, isThin, isWorthChanging, removePartial } from "./partial_pages.ts";
import type { RandomNumbers } from "./random_numbers.ts";
import { extendAtRandom, randomPlace } from "./random_slots.ts";
import { PAGE_UNITS } from "./run_record.ts";
import { CLASS_COUNT, FIRST_ENTRY, GRANULE, LAST_ENTRY, PAGE_GRANULES } from "./size_class.ts";

/** Bytes of slots that join the free list at once: an OS page, so that memory is touched as late as possible. */
const EXTEND_BYTES = 4096;

/** Thin pages that are put behind the others before a fresh page is taken. */
const PASSED_MAX = 8;

/** So many free slots make the first partial page one to go to, see {@link SmallPages.settle}. Two or sixteen do the same within the noise. */
const RICH = 8;

// V8 reads an imported constant from memory at each use, but folds one of this file: for `settle` and `refill`. What ends in AT
// is added to a page, what ends in IN to where its record starts.
const CAPACITY_AT = CAPACITY;
const CAPACITY_IN = CAPACITY - STATE;
const CLASS_AT = CLASS;
const CURRENT_AT = CURRENT;
const EXTENDED_AT = EXTENDED;
const EXTENDED_IN = EXTENDED - STATE;
const FIRST_PARTIAL_AT = PARTIAL;
const FIRST_ENTRIES = FIRST_ENTRY;
const FREE_BITS = FREE_MASK;
const FULL_LESS = FULL;
const LAST_PARTIAL_AT = LAST;
const LAST_ENTRIES = LAST_ENTRY;
const LOOKED_AT = LOOKED;
const NEXT_AT = NEXT;
const NONE = NO_PAGE;
const NO_RECORD = NO_PAGE + STATE;
const ONE_MORE = ONE_USED;
const PREV_AT = PREV;
const STATE_AT = STATE;

/** The pages of small blocks in one address range. */
export class SmallPages implements PageMemory {
  /** Where the pages lie. */
  readonly range: AddressRange;
  /** The table of all links, which knows its size. */
  readonly table: LinkTable;
  /** Which units of the pages are resident. */
  readonly #units: PageUnits;
  /** The pages that no class has. */
  readonly #supply: PageSupply;
  /** What decides the order of slots; undefined for that of their addresses, and last freed first. */
  readonly #random: RandomNumbers | undefined;

  /** Reserves the table of links and commits its start. */
  constructor(source: PageSource, range: AddressRange, random?: RandomNumbers) {
    this.range = range;
    this.#random = random;
    this.table = new LinkTable(source, range.byteLength);
    this.#units = new PageUnits(range);
    this.#supply = new PageSupply(range, this.table, this.#units);
    range.pageMemory = this;
  }

  /** See {@link PageMemory.untouchedUnits}. */
  get untouchedUnits(): number {
    return this.#units.count;
  }

  /** See {@link PageMemory.idleUnits}. */
  get idleUnits(): number {
    return this.#supply.idleCount * PAGE_UNITS;
  }

  /** The links of all slots; another array after the table grew. */
  get links(): Uint16Array {
    return this.table.links;
  }

  /**
   * Takes a slot of `sizeClass` and writes `link`, which says that it is live, into its link.
   *
   * @returns The granule where the slot starts, counted from the start of the range; -1 when no page can be had.
   */
  allocate(sizeClass: number, link: number): number {
    let page = this.current(sizeClass);
    if ((this.range.pages[page + STATE]! & FREE_MASK) === 0) page = this.refill(sizeClass);
    if (page === NO_PAGE) return -1;
    const pages = this.range.pages;
    const links = this.links;
    const state = pages[page + STATE]!;
    const slot = (state & FREE_MASK) - 1;
    const index = pages[page + LINKS]! + slot;
    pages[page + STATE] = state + ONE_USED - slot - 1 + links[index]!;
    links[index] = link;
    return (page << 8) + slot * (pages[page + SHAPE]! & GRANULES_MASK);
  }

  /** The page that the class allocates from. */
  current(sizeClass: number): number {
    return this.range.pages[CURRENT_AT + LAST_ENTRIES[sizeClass]!]! - STATE_AT;
  }

  /**
   * The index of the link of the live slot that starts at `granule`, which is below the end of the range; 0 when none
   * does.
   */
  liveLink(granule: number): number {
    const pages = this.range.pages;
    const page = (granule >>> 8) & -16;
    const offset = granule & (PAGE_GRANULES - 1);
    const shape = pages[page + SHAPE]!;
    const slot = Math.imul(offset, shape >>> INVERSE_SHIFT) >>> 16;
    if (Math.imul(slot, shape & GRANULES_MASK) !== offset) return 0;
    const index = pages[page + LINKS]! + slot;
    return isLiveLink(this.links[index]!) ? index : 0;
  }

  /** Bytes of the live slot at `granule`. */
  slotSize(granule: number): number {
    return (this.range.pages[((granule >>> 8) & -16) + SHAPE]! & GRANULES_MASK) * GRANULE;
  }

  /** Frees the live slot at `granule`, whose link is at `index`. */
  free(granule: number, index: number): void {
    const pages = this.range.pages;
    const links = this.links;
    const page = (granule >>> 8) & -16;
    const state = pages[page + STATE]!;
    const free = state & FREE_MASK;
    const slot = index - pages[page + LINKS]!;
    const before = free === 0 || this.#random === undefined
      ? -1
      : randomPlace(links, pages[page + LINKS]!, free, this.#random);
    let after = state - ONE_USED;
    links[index] = before === -1 ? free : links[before]!;
    if (before === -1) after += slot + 1 - free;
    else links[before] = slot + 1;
    pages[page + STATE] = after;
    if (after < ONE_USED) this.settle(page);
  }

  /** Takes the live slot at `granule`, whose link is at `index`, out of use without freeing it. */
  delay(granule: number, index: number): void {
    const pages = this.range.pages;
    const page = (granule >>> 8) & -16;
    this.links[index] = DELAYED_LINK;
    pages[page + DELAYED] = pages[page + DELAYED]! + 1;
  }

  /** Frees the delayed slot at `granule`. */
  freeDelayed(granule: number): void {
    const pages = this.range.pages;
    const page = (granule >>> 8) & -16;
    pages[page + DELAYED] = pages[page + DELAYED]! - 1;
    this.free(granule, this.linkIndex(granule));
  }

  /** Whether the block at `granule` is a slot, and delayed. */
  isDelayed(granule: number): boolean {
    return this.links[this.linkIndex(granule)] === DELAYED_LINK;
  }

  /** The index of the link of the slot that starts at `granule`; 0 when it is in no page of slots. */
  linkIndex(granule: number): number {
    const pages = this.range.pages;
    const page = (granule >>> 8) & -16;
    const slot = Math.imul(granule & (PAGE_GRANULES - 1), pages[page + SHAPE]! >>> INVERSE_SHIFT) >>> 16;
    return pages[page + LINKS]! + slot;
  }

  /**
   * After a free left STATE below one used slot: the page is empty now, or full no longer.
   *
   * One that was full goes to the end of the list: by the time it comes to the front it has more than the one free slot of now (put at
   * the front, it made one trace spend a third of its time changing pages). But where the current page is used up, and the first of
   * the list has fewer than RICH free slots, it takes the place of the current one, which is full from then on: blocks that are
   * replaced at random in many pages, or in pages of few slots, leave each page hardly more than one, and then the list is only work.
   * Not with random placement, where the next block would get the slot that was freed last.
   *
   * One long method on purpose, with all changes written out: whatever of this V8 inlines into `heap.free` counts when `free` is to be
   * inlined itself, and only methods of more than 460 bytes of bytecode are never inlined (with 445, 100,000 blocks of 256 bytes
   * took 57 ns a pair instead of 32).
   */
  settle(page: number): void {
    const pages = this.range.pages;
    const sizeClass = pages[page + CLASS_AT]!;
    const state = pages[page + STATE_AT]!;
    if (state >= 0) {
      const next = pages[page + NEXT_AT]!;
      const prev = pages[page + PREV_AT]!;
      if (prev === NONE) pages[FIRST_PARTIAL_AT + sizeClass] = next;
      else pages[prev + NEXT_AT] = next;
      if (next === NONE) pages[LAST_PARTIAL_AT + sizeClass] = prev;
      else pages[next + PREV_AT] = prev;
      return this.#supply.keep(page);
    }
    const entry = CURRENT_AT + LAST_ENTRIES[sizeClass]!;
    const record = pages[entry]!;
    const spent = pages[record]!;
    const isSpent = (spent & FREE_BITS) === 0 && pages[record + EXTENDED_IN] === pages[record + CAPACITY_IN];
    if (isSpent && record !== NO_RECORD && this.#random === undefined) {
      const first = pages[FIRST_PARTIAL_AT + sizeClass]!;
      if (first === NONE || pages[first + EXTENDED_AT]! - (pages[first + STATE_AT]! >>> 12) < RICH) {
        pages[record] = spent - ONE_MORE - FULL_LESS;
        // LOOKED and UNTOUCHED are right: a page that is full was current, and written to its end.
        pages[page + STATE_AT] = state + FULL_LESS + ONE_MORE;
        for (let at = CURRENT_AT + FIRST_ENTRIES[sizeClass]!; at <= entry; at++) pages[at] = page + STATE_AT;
        return;
      }
    }
    const last = pages[LAST_PARTIAL_AT + sizeClass]!;
    pages[page + STATE_AT] = state + FULL_LESS;
    pages[page + NEXT_AT] = NONE;
    pages[page + PREV_AT] = last;
    if (last === NONE) pages[FIRST_PARTIAL_AT + sizeClass] = page;
    else pages[last + NEXT_AT] = page;
    pages[LAST_PARTIAL_AT + sizeClass] = page;
  }

  /** Gives the idle pages, and with `all` the empty current pages too, back to the runs; whether there were any. */
  releaseIdle(all: boolean): boolean {
    const pages = this.range.pages;
    let any = false;
    for (let sizeClass = 0; all && sizeClass < CLASS_COUNT; sizeClass++) {
      const page = this.current(sizeClass);
      // Only the heap's own hold is left.
      if (page === NO_PAGE || pages[page + STATE]! >>> 12 !== 1) continue;
      setCurrent(this.range.pages, sizeClass, NO_PAGE);
      this.#supply.release(page);
      any = true;
    }
    return this.#supply.releaseIdle() || any;
  }

  /** Makes the class's current page one with a free slot, and returns it; `NO_PAGE` when none can be had. */
  refill(sizeClass: number): number {
    let pages = this.range.pages;
    let page = this.current(sizeClass);
    if (page !== NONE) {
      const isSpent = pages[page + EXTENDED_AT] === pages[page + CAPACITY_AT];
      if (!isSpent && !isWorthChanging(pages, firstPartial(this.range.pages, sizeClass))) {
        this.#extend(page);
        return page;
      }
      // The heap lets go of it; when it is full its STATE goes below zero so that the next free is noticed.
      // It stays entered as current until there is another, which saves writing all entries of the class twice.
      pages[page + STATE_AT] = pages[page + STATE_AT]! - ONE_MORE - (isSpent ? FULL_LESS : 0);
      if (!isSpent) insertPartial(this.range.pages, page);
    }
    page = this.#choosePartial(sizeClass, false);
    if (page === NONE) page = this.#supply.take(sizeClass);
    if (page === NONE) page = this.#choosePartial(sizeClass, true);
    if (page === NONE) return NONE;
    pages = this.range.pages;
    setCurrent(this.range.pages, sizeClass, page);
    pages[page + STATE_AT] = pages[page + STATE_AT]! + ONE_MORE;
    pages[page + LOOKED_AT] = 0;
    if ((pages[page + STATE_AT]! & FREE_BITS) === 0) this.#extend(page);
    else this.#units.touch(page);
    return page;
  }

  /** Takes a partial page off the list; thin ones go behind the others, unless `thin` says that any will do. */
  #choosePartial(sizeClass: number, thin: boolean): number {
    for (let passed = 0; passed < PASSED_MAX; passed++) {
      const page = firstPartial(this.range.pages, sizeClass);
      if (page === NONE) return NONE;
      removePartial(this.range.pages, page);
      if (thin || !isThin(this.range, page)) return page;
      insertPartial(this.range.pages, page);
    }
    return NONE;
  }

  /** Puts the next slots that were never used into the empty free list: an OS page's worth, or all in random order. */
  #extend(page: number): void {
    const pages = this.range.pages;
    const links = this.links;
    if (this.#random !== undefined) {
      extendAtRandom(pages, links, page, this.#random);
      this.#units.touch(page);
      return;
    }
    const from = pages[page + EXTENDED]!;
    const count = Math.max(1, Math.floor(EXTEND_BYTES / ((pages[page + SHAPE]! & GRANULES_MASK) * GRANULE)));
    const to = Math.min(from + count, pages[page + CAPACITY]!);
    const base = pages[page + LINKS]!;
    for (let slot = from; slot < to - 1; slot++) links[base + slot] = slot + 2;
    links[base + to - 1] = 0;
    pages[page + STATE] = pages[page + STATE]! + from + 1;
    pages[page + EXTENDED] = to;
    this.#units.touch(page);
  }

  /** See {@link PageMemory.discardUnused}. Current pages that have something to give are partial from then on. */
  discardUnused(discard: (unit: number, count: number) => void, step: number): void {
    const { pages } = this.range;
    for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
      const page = this.current(sizeClass);
      const used = (pages[page + STATE]! >>> 12) - 1;
      // An empty one is for `releaseIdle`, and one whose slots are all live can only become full.
      if (page === NO_PAGE || used === 0 || used === pages[page + CAPACITY]) continue;
      if (this.#units.unitsToGive(page, used, this.links, step) === 0) continue;
      setCurrent(this.range.pages, sizeClass, NO_PAGE);
      pages[page + STATE] = pages[page + STATE]! - ONE_USED;
      insertPartial(pages, page);
    }
    this.#units.discardUnused(this.links, discard, step);
  }

  /** Gives the table of links back; the range is the caller's. */
  dispose(): void {
    this.table.dispose();
  }

  /**
   * Verifies every page, slot and list; the range must have been checked. Time in the number of slots.
   *
   * @returns The count of delayed slots.
   * @throws {CorruptionError} When two records disagree.
   */
  check(): number {
    return checkPages(this, {
      firstIdle: this.#supply.firstIdle,
      idleCount: this.#supply.idleCount,
      freeChunks: this.table.freeChunks(),
      linksStart: FIRST_LINK,
      linksEnd: this.table.end,
    });
  }
}
