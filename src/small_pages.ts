/**
 * Small blocks: the pages of one address range, their slots and their lists.
 *
 * What is in a page's record, and what a link means, is drawn in page_table.ts. This class holds everything but the
 * fastest path, which `Heap` has written out in its own methods (two small methods took 84 instead of 23 ns a pair on
 * one trace in Bun): `heap.allocate` takes a slot from the current page's free list, `heap.free` puts one back, and
 * both come here when a page runs out, fills up or empties.
 *
 * ```text
 *                     take a page            list runs out
 *      idle or a run ─────────────▶ current ───────────────▶ full
 *            ▲                        ▲                        │ one slot is freed
 *            │                        │ the class needs a page ▼
 *            └──────────────────── partial ◀────────────────────
 *                 last slot freed
 * ```
 *
 * Invariants, verified by {@link SmallPages.check}: STATE counts the live links (plus the hold, less FULL); a page's
 * free list holds exactly its free slots below EXTENDED; only current pages have slots that were never in the list; the
 * partial list of a class holds exactly its pages that are neither current, full nor idle.
 *
 * Cost: O(1) for everything but `check` and the walks.
 *
 * @module
 */
import type { AddressRange } from "./address_range.ts";
import { CorruptionError, OutOfMemoryError } from "./errors.ts";
import { LinkTable } from "./link_table.ts";
import type { PageSource } from "./page_source.ts";
import {
  CAPACITY,
  CLASS,
  clearPageRecord,
  CURRENT,
  EXTENDED,
  FREE_MASK,
  FULL,
  GRANULES_MASK,
  INVERSE_SHIFT,
  LAST,
  LINKS,
  LIVE,
  NEXT,
  NO_PAGE,
  ONE_USED,
  PARTIAL,
  PREV,
  SHAPE,
  shapeOf,
  SLACK_MASK,
  STATE,
} from "./page_table.ts";
import { PAGE_RUN, PAGE_UNITS } from "./runs.ts";
import { CLASS_COUNT, CLASS_GRANULES, CLASS_OF, CLASS_SLOTS, GRANULE, PAGE_GRANULES, PAGE_SIZE } from "./size_class.ts";

/** Bytes of slots that join the free list at once: an OS page, so that memory is touched as late as possible. */
const EXTEND_BYTES = 4096;

/** Idle pages kept for the next class that needs one; more go back to the runs. */
const IDLE_MAX = 16;

/** The pages of small blocks in one address range. */
export class SmallPages {
  /** Where the pages lie. */
  readonly range: AddressRange;
  readonly #table: LinkTable;
  #idle = NO_PAGE;
  #idleCount = 0;

  /** Reserves the table of links and commits its start. */
  constructor(source: PageSource, range: AddressRange) {
    this.range = range;
    this.#table = new LinkTable(source, range.byteLength);
  }

  /** The links of all slots; another array after the table grew. */
  get links(): Uint16Array {
    return this.#table.links;
  }

  /** Bytes committed, and wrapped, for links. */
  get tableBytes(): number {
    return this.#table.byteLength;
  }

  /** Bytes of address space held for links. */
  get tableReservedBytes(): number {
    return this.#table.reservedBytes;
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
    return this.range.pages[CURRENT + CLASS_GRANULES[sizeClass]!]!;
  }

  #setCurrent(sizeClass: number, page: number): void {
    const { pages } = this.range;
    const from = CURRENT + (sizeClass === 0 ? 0 : CLASS_GRANULES[sizeClass - 1]! + 1);
    const to = CURRENT + CLASS_GRANULES[sizeClass]! + 1;
    // A call of fill costs as much as ten words.
    if (to - from > 8) pages.fill(page, from, to);
    else for (let at = from; at < to; at++) pages[at] = page;
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
    return this.links[index]! >= LIVE ? index : 0;
  }

  /** The first granule of the live slot that `granule` lies in; -1 when there is none. */
  slotAround(granule: number): number {
    const pages = this.range.pages;
    const page = (granule >>> 8) & -16;
    const granules = pages[page + SHAPE]! & GRANULES_MASK;
    if (granules === 0) return -1;
    const slot = Math.floor((granule & (PAGE_GRANULES - 1)) / granules);
    if (slot >= pages[page + CAPACITY]! || this.links[pages[page + LINKS]! + slot]! < LIVE) return -1;
    return (page << 8) + slot * granules;
  }

  /** The first granules of the live slots of a page, as they are now. */
  liveSlotsOf(page: number): number[] {
    const pages = this.range.pages;
    const base = pages[page + LINKS]!;
    const granules: number[] = [];
    for (let slot = 0; slot < pages[page + EXTENDED]!; slot++) {
      if (this.links[base + slot]! >= LIVE) granules.push((page << 8) + slot * (pages[page + SHAPE]! & GRANULES_MASK));
    }
    return granules;
  }

  /** Whether `granule` is the start of a slot that was live before. */
  wasLive(granule: number): boolean {
    const pages = this.range.pages;
    const page = (granule >>> 8) & -16;
    const granules = pages[page + SHAPE]! & GRANULES_MASK;
    const slot = (granule & (PAGE_GRANULES - 1)) / granules;
    return granules !== 0 && Number.isInteger(slot) && slot < pages[page + EXTENDED]!;
  }

  /** Bytes of the live slot at `granule`. */
  slotSize(granule: number): number {
    return (this.range.pages[((granule >>> 8) & -16) + SHAPE]! & GRANULES_MASK) * GRANULE;
  }

  /** Frees the live slot at `granule`, whose link is at `index`. */
  free(granule: number, index: number): void {
    const pages = this.range.pages;
    const page = (granule >>> 8) & -16;
    const state = pages[page + STATE]!;
    const free = state & FREE_MASK;
    this.links[index] = free;
    const after = state - ONE_USED - free + index - pages[page + LINKS]! + 1;
    pages[page + STATE] = after;
    if (after < ONE_USED) this.settle(page);
  }

  /** After a free left STATE below one used slot: a full page is partial now, or a partial page is empty. */
  settle(page: number): void {
    const pages = this.range.pages;
    if (pages[page + STATE]! < 0) {
      pages[page + STATE] = pages[page + STATE]! + FULL;
      this.#insertPartial(page);
      return;
    }
    this.#removePartial(page);
    if (this.#idleCount === IDLE_MAX) {
      this.#releasePage(page);
      return;
    }
    pages[page + NEXT] = this.#idle;
    this.#idle = page;
    this.#idleCount++;
  }

  /** Gives the idle pages, and with `all` the empty current pages too, back to the runs. */
  releaseIdle(all: boolean): void {
    const pages = this.range.pages;
    for (let sizeClass = 0; all && sizeClass < CLASS_COUNT; sizeClass++) {
      const page = this.current(sizeClass);
      // Only the heap's own hold is left.
      if (page === NO_PAGE || pages[page + STATE]! >>> 12 !== 1) continue;
      this.#setCurrent(sizeClass, NO_PAGE);
      this.#releasePage(page);
    }
    while (this.#idle !== NO_PAGE) this.#releasePage(this.#popIdle());
  }

  /** Makes the class's current page one with a free slot, and returns it; `NO_PAGE` when none can be had. */
  refill(sizeClass: number): number {
    let pages = this.range.pages;
    let page = this.current(sizeClass);
    if (page !== NO_PAGE) {
      if (pages[page + EXTENDED]! < pages[page + CAPACITY]!) {
        this.#extend(page);
        return page;
      }
      // Full: the heap lets go of it, and its STATE goes below zero so that the next free is noticed.
      pages[page + STATE] = pages[page + STATE]! - ONE_USED - FULL;
      this.#setCurrent(sizeClass, NO_PAGE);
    }
    page = pages[PARTIAL + sizeClass]!;
    if (page !== NO_PAGE) this.#removePartial(page);
    else {
      page = this.#takePage(sizeClass);
      if (page === NO_PAGE) return NO_PAGE;
      pages = this.range.pages;
    }
    this.#setCurrent(sizeClass, page);
    pages[page + STATE] = pages[page + STATE]! + ONE_USED;
    if ((pages[page + STATE]! & FREE_MASK) === 0) this.#extend(page);
    return page;
  }

  /** Puts the next slots that were never used, an OS page's worth, into the empty free list. */
  #extend(page: number): void {
    const pages = this.range.pages;
    const links = this.links;
    const from = pages[page + EXTENDED]!;
    const count = Math.max(1, Math.floor(EXTEND_BYTES / ((pages[page + SHAPE]! & GRANULES_MASK) * GRANULE)));
    const to = Math.min(from + count, pages[page + CAPACITY]!);
    const base = pages[page + LINKS]!;
    for (let slot = from; slot < to - 1; slot++) links[base + slot] = slot + 2;
    links[base + to - 1] = 0;
    pages[page + STATE] = pages[page + STATE]! + from + 1;
    pages[page + EXTENDED] = to;
  }

  /** A page for the class with no live slot, in no list; `NO_PAGE` when none can be had. */
  #takePage(sizeClass: number): number {
    let page = NO_PAGE;
    if (this.#idle !== NO_PAGE) {
      page = this.#popIdle();
      // Of the same class it can be used as it is: its free list has every slot.
      if (this.range.pages[page + CLASS] === sizeClass) return page;
      this.#giveLinks(page);
    } else {
      page = this.range.take(PAGE_UNITS, PAGE_SIZE, PAGE_RUN);
      if (page === -1) return NO_PAGE;
    }
    const pages = this.range.pages;
    clearPageRecord(pages, page);
    try {
      pages[page + LINKS] = this.#table.take(sizeClass);
    } catch (error) {
      this.range.release(page);
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.range.failure = error;
      return NO_PAGE;
    }
    pages[page + CLASS] = sizeClass;
    pages[page + SHAPE] = shapeOf(CLASS_GRANULES[sizeClass]!);
    pages[page + CAPACITY] = CLASS_SLOTS[sizeClass]!;
    return page;
  }

  #giveLinks(page: number): void {
    const pages = this.range.pages;
    this.#table.give(pages[page + CLASS]!, pages[page + LINKS]!);
  }

  #popIdle(): number {
    const page = this.#idle;
    this.#idle = this.range.pages[page + NEXT]!;
    this.#idleCount--;
    return page;
  }

  #releasePage(page: number): void {
    this.#giveLinks(page);
    clearPageRecord(this.range.pages, page);
    this.range.release(page);
  }

  /**
   * Puts a page at the end of its class's partial list. It has one free slot now; by the time it comes to the front it
   * has more, and is not exhausted by the next allocation (from the front, one trace spent a third of its time changing
   * pages).
   */
  #insertPartial(page: number): void {
    const pages = this.range.pages;
    const sizeClass = pages[page + CLASS]!;
    const last = pages[LAST + sizeClass]!;
    pages[page + NEXT] = NO_PAGE;
    pages[page + PREV] = last;
    if (last === NO_PAGE) pages[PARTIAL + sizeClass] = page;
    else pages[last + NEXT] = page;
    pages[LAST + sizeClass] = page;
  }

  #removePartial(page: number): void {
    const pages = this.range.pages;
    const sizeClass = pages[page + CLASS]!;
    const next = pages[page + NEXT]!;
    const prev = pages[page + PREV]!;
    if (prev === NO_PAGE) pages[PARTIAL + sizeClass] = next;
    else pages[prev + NEXT] = next;
    if (next === NO_PAGE) pages[LAST + sizeClass] = prev;
    else pages[next + PREV] = prev;
  }

  /** The count of live slots of a page. */
  liveSlots(page: number): number {
    const pages = this.range.pages;
    const state = pages[page + STATE]!;
    if (state < 0) return (state + FULL) >>> 12;
    return this.current(pages[page + CLASS]!) === page ? (state >>> 12) - 1 : state >>> 12;
  }

  /** Gives the table of links back; the range is the caller's. */
  dispose(): void {
    this.#table.dispose();
  }

  /**
   * Verifies every page, slot and list; the range must have been checked. Time in the number of slots.
   *
   * @throws {CorruptionError} When two records disagree.
   */
  check(): void {
    const pages = this.range.pages;
    for (let granules = 0; granules < CLASS_OF.length; granules++) {
      const sizeClass = CLASS_OF[granules]!;
      if (pages[CURRENT + granules] !== this.current(sizeClass)) {
        throw corrupt(
          pages[CURRENT + granules]!,
          `it is current for ${granules} granules, and not for all of class ${sizeClass}`,
        );
      }
    }
    const listed = new Set<number>();
    for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
      let prev = NO_PAGE;
      for (let page = pages[PARTIAL + sizeClass]!; page !== NO_PAGE; prev = page, page = pages[page + NEXT]!) {
        if (listed.has(page) || pages[page + CLASS] !== sizeClass || pages[page + PREV] !== prev) {
          throw corrupt(page, `it is wrongly linked among the partial pages of class ${sizeClass}`);
        }
        listed.add(page);
      }
      if (pages[LAST + sizeClass] !== prev) throw corrupt(prev, `it should be the last partial page of its class`);
    }
    const idle = new Set<number>();
    for (let page = this.#idle; page !== NO_PAGE; page = pages[page + NEXT]!) {
      if (idle.has(page) || listed.has(page)) throw corrupt(page, "it is twice among the idle and partial pages");
      idle.add(page);
    }
    if (idle.size !== this.#idleCount) throw corrupt(this.#idle, `${idle.size} pages are idle, not ${this.#idleCount}`);
    const { runs, regions } = this.range;
    const chunks: [number, number][] = [];
    for (const { firstUnit, endUnit } of regions) {
      for (let unit = firstUnit; unit < endUnit; unit += runs.lengthAt(unit)) {
        if (runs.kindAt(unit) !== PAGE_RUN) continue;
        if (runs.lengthAt(unit) !== PAGE_UNITS || unit % PAGE_UNITS !== 0) throw corrupt(unit, "its run is no page");
        const isCurrent = this.current(pages[unit + CLASS]!) === unit;
        const isFull = pages[unit + STATE]! < 0;
        if (Number(listed.delete(unit)) + Number(idle.delete(unit)) + Number(isCurrent) + Number(isFull) !== 1) {
          throw corrupt(unit, "it is not exactly one of current, partial, full and idle");
        }
        this.#checkPage(unit, isCurrent);
        chunks.push([pages[unit + LINKS]!, pages[unit + LINKS]! + pages[unit + CAPACITY]!]);
      }
    }
    for (const page of [...listed, ...idle]) throw corrupt(page, "it is in a list and not a page");
    chunks.sort((a, b) => a[0] - b[0]);
    chunks.reduce((end, [from, to]) => {
      if (from < end || to > this.#table.end) throw corrupt(NO_PAGE, `the links from ${from} to ${to} overlap others`);
      return to;
    }, 0);
  }

  #checkPage(page: number, isCurrent: boolean): void {
    const pages = this.range.pages;
    const links = this.links;
    const sizeClass = pages[page + CLASS]!;
    const capacity = pages[page + CAPACITY]!;
    const extended = pages[page + EXTENDED]!;
    const base = pages[page + LINKS]!;
    if (pages[page + SHAPE] !== shapeOf(CLASS_GRANULES[sizeClass]!) || capacity !== CLASS_SLOTS[sizeClass]) {
      throw corrupt(page, `its slots are not those of class ${sizeClass}`);
    }
    let live = 0;
    for (let slot = 0; slot < capacity; slot++) {
      if (links[base + slot]! < LIVE) continue;
      if ((links[base + slot]! & SLACK_MASK) > CLASS_GRANULES[sizeClass]! * GRANULE) {
        throw corrupt(page, `slot ${slot} has more slack than bytes`);
      }
      if (slot >= extended) throw corrupt(page, `slot ${slot} is live and was never free`);
      live++;
    }
    if (this.liveSlots(page) !== live) {
      throw corrupt(page, `${live} slots are live, ${this.liveSlots(page)} are counted`);
    }
    let free = 0;
    for (let link = pages[page + STATE]! & FREE_MASK; link !== 0; link = links[base + link - 1]!, free++) {
      if (link > extended || free > extended) throw corrupt(page, `its free list leaves the page at slot ${link - 1}`);
    }
    if (free + live !== extended) throw corrupt(page, `${free} free and ${live} live slots are not ${extended}`);
    if (!isCurrent && live > 0 && extended < capacity) throw corrupt(page, "it left slots unused");
  }
}

function corrupt(page: number, what: string): CorruptionError {
  const subject = page < 0 ? "the pages of small blocks" : `the page at unit ${page}`;
  return new CorruptionError(`Cannot trust ${subject}: ${what}`);
}
