/**
 * Where pages of small blocks come from, and where empty ones go.
 *
 * ```text
 *        ┌── keep ────────▶ idle: a stack by NEXT ──────────────── take ─────────────┐
 *        │   (up to four)            │ releaseIdle                                   ▼
 *   empty page                       ▼                                          empty page of
 *        └── release ─────▶ run of sixteen units, free ─────────── take ───────▶ some class
 *            (more, and current ones)
 * ```
 *
 * An idle page has its record, its links and its whole free list: a class that takes one of its own uses it as it is. For
 * another class it is cleared and divided anew.
 *
 * Invariant: an idle page has no live and no delayed slot and is in no list of partial pages.
 *
 * Cost: O(1), and what the runs and the table of links take for a page that does not come from the idle ones.
 *
 * @module
 */
import type { AddressRange } from "./address_range.ts";
import { OutOfMemoryError } from "./errors.ts";
import type { LinkTable } from "./link_table.ts";
import {
  CAPACITY,
  CLASS,
  clearPageRecord,
  LINKS,
  NEXT,
  NO_PAGE,
  setCurrent,
  SHAPE,
  shapeOf,
  UNTOUCHED,
} from "./page_table.ts";
import { countUnits, firstUnit, longestStretch, type PageUnits, unitsOf } from "./page_units.ts";
import { PAGE_RUN, PAGE_UNITS } from "./run_record.ts";
import { CLASS_GRANULES, CLASS_SLOTS, PAGE_SIZE } from "./size_class.ts";

/**
 * Idle pages kept for the next class that needs one; more go back to the runs. They save a release and a take, and would be
 * a tenth of a heap of 10 MiB if they were sixteen.
 */
const IDLE_MAX = 4;

/** The pages of one address range that no class has. */
export class PageSupply {
  readonly #range: AddressRange;
  readonly #table: LinkTable;
  readonly #units: PageUnits;
  #firstIdle = NO_PAGE;
  #idleCount = 0;

  /** Takes pages from `range` and their links from `table`, and tells `units` what is resident of them. */
  constructor(range: AddressRange, table: LinkTable, units: PageUnits) {
    this.#range = range;
    this.#table = table;
    this.#units = units;
  }

  /** The page on top of the stack of idle ones; `NO_PAGE` when there is none. */
  get firstIdle(): number {
    return this.#firstIdle;
  }

  /** How many pages are idle. */
  get idleCount(): number {
    return this.#idleCount;
  }

  /**
   * A page for the class with no live slot, in no list; `NO_PAGE` when none can be had. Unless it is an idle one of its own, the class
   * has no current page any more.
   */
  take(sizeClass: number): number {
    let page = NO_PAGE;
    let untouched = 0;
    if (this.#firstIdle !== NO_PAGE) {
      page = this.#pop();
      // Its free list has every slot below EXTENDED.
      if (this.#range.pages[page + CLASS] === sizeClass) return page;
      // The class has none while its links are taken, which can fail.
      setCurrent(this.#range.pages, sizeClass, NO_PAGE);
      untouched = this.#clear(page);
    } else {
      // The class has none while the source is asked for one, which can fail.
      setCurrent(this.#range.pages, sizeClass, NO_PAGE);
      page = this.#range.take(PAGE_UNITS, PAGE_SIZE, PAGE_RUN);
      if (page === -1) return NO_PAGE;
      const { freshFrom, freshUnits } = this.#range.runs;
      untouched = unitsOf(freshFrom - page, freshFrom - page + freshUnits);
    }
    const { pages } = this.#range;
    try {
      pages[page + LINKS] = this.#table.take(sizeClass);
    } catch (error) {
      this.release(page, untouched);
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.#range.failure = error;
      return NO_PAGE;
    }
    pages[page + CLASS] = sizeClass;
    pages[page + SHAPE] = shapeOf(CLASS_GRANULES[sizeClass]!);
    pages[page + CAPACITY] = CLASS_SLOTS[sizeClass]!;
    this.#units.set(page, untouched);
    return page;
  }

  /** Takes an empty page that is in no list: it is idle from now on, or free memory. */
  keep(page: number): void {
    if (this.#idleCount === IDLE_MAX) return this.release(page);
    this.#range.pages[page + NEXT] = this.#firstIdle;
    this.#firstIdle = page;
    this.#idleCount++;
  }

  /** Frees the run of a page. Of its untouched units, the record of a free run has room for one stretch. */
  release(page: number, untouched: number = this.#clear(page)): void {
    const kept = longestStretch(untouched);
    const count = countUnits(kept);
    if (count === 0) this.#range.release(page);
    else this.#range.release(page, count, PAGE_UNITS - firstUnit(kept) - count);
  }

  /** Frees the runs of all idle pages; whether there were any. */
  releaseIdle(): boolean {
    const any = this.#firstIdle !== NO_PAGE;
    while (this.#firstIdle !== NO_PAGE) this.release(this.#pop());
    return any;
  }

  #pop(): number {
    const page = this.#firstIdle;
    this.#firstIdle = this.#range.pages[page + NEXT]!;
    this.#idleCount--;
    return page;
  }

  /** Gives the links of a page back and clears its record; returns its untouched units. */
  #clear(page: number): number {
    const { pages } = this.#range;
    const untouched = pages[page + UNTOUCHED]!;
    this.#table.give(pages[page + CLASS]!, pages[page + LINKS]!);
    this.#units.set(page, 0);
    clearPageRecord(pages, page);
    return untouched;
  }
}
