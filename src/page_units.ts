/**
 * Which units of the pages of small blocks are resident, and how those that hold nothing go back.
 *
 * A page that was full and lost most of its blocks is still resident as a whole, although many of its units (4 KiB) may hold
 * no live slot. When a heap grows beyond what it ever needed, and free runs are not enough (footprint.ts), these go back:
 *
 * ```text
 *   byte of a page          0      4096    8192    12288   16384   20480   24576   28672 ...
 *   slots of 1 KiB          │# # # #│# . # .│. . . .│. . . .│. . # .│. . . .│. . . .│ ...   #: live or delayed, .: free
 *   UNTOUCHED after that      0       0       1       1       0       1       1       1
 *
 *   four slots of a new one │# . . .│       │       │       │       │       │       │ ...   the others are not in its list
 *   its UNTOUCHED             0       1       1       1       1       1       1       1
 * ```
 *
 * Only partial pages give: a full one has nothing, an empty one is idle and goes back as a run, and from a current one
 * `heap.allocate` takes slots without a note, so that it must become partial first. When a page becomes current, and when its
 * list gets more slots, the units of all slots below EXTENDED count as written again.
 *
 * Invariants: no live or delayed slot lies in an untouched unit, and no slot below EXTENDED of a current page;
 * {@link PageUnits.count} is the count of the untouched units of all pages.
 *
 * Cost of a look: one record for each partial and current page. Links are read only of a page that has enough free slots to
 * cover a unit more, and of a partial one only if it has lost some since it was last looked at: of each unit, those up to the
 * first live one.
 *
 * @module
 */
import type { AddressRange } from "./address_range.ts";
import {
  EXTENDED,
  GRANULES_MASK,
  LINKS,
  LIVE,
  LOOKED,
  NEXT,
  NO_PAGE,
  PARTIAL,
  SHAPE,
  STATE,
  UNTOUCHED,
} from "./page_table.ts";
import { PAGE_UNITS, UNIT } from "./run_record.ts";
import { CLASS_COUNT, GRANULE } from "./size_class.ts";

/** Granules of a unit. */
const UNIT_GRANULES = UNIT / GRANULE;

/** The bits of all units of a page. */
const ALL_UNITS = 2 ** PAGE_UNITS - 1;

/** What is known of the units of the pages of one range. Units of a page are bits of a word, the first is the lowest. */
export class PageUnits {
  /** How many were not written since their memory was last given back, or never. */
  count = 0;
  readonly #range: AddressRange;

  /** Of the pages of `range`. */
  constructor(range: AddressRange) {
    this.#range = range;
  }

  /** Sets which units of a page are untouched. */
  set(page: number, untouched: number): void {
    const { pages } = this.#range;
    const before = pages[page + UNTOUCHED]!;
    if (untouched === before) return;
    this.count += countUnits(untouched) - countUnits(before);
    pages[page + UNTOUCHED] = untouched;
  }

  /** Notes that the slots below EXTENDED may be written from now on. */
  touch(page: number): void {
    const { pages } = this.#range;
    const untouched = pages[page + UNTOUCHED]!;
    if (untouched === 0) return;
    const written = untouched & extendedUnits(pages, page);
    if (written === 0) return;
    this.count -= countUnits(written);
    pages[page + UNTOUCHED] = untouched - written;
  }

  /**
   * Has `discard` give back what partial pages have, in multiples of `step` units. What it throws ends that: what was given
   * back is noted, and the page is looked at again the next time.
   */
  discardUnused(links: Uint16Array, discard: (unit: number, count: number) => void, step: number): void {
    for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
      // The table does not grow in here, and no page leaves its list: a source can change nothing of a heap at work.
      const { pages } = this.#range;
      for (let page = pages[PARTIAL + sizeClass]!; page !== NO_PAGE; page = pages[page + NEXT]!) {
        const used = pages[page + STATE]! >>> 12;
        if (pages[page + LOOKED] === used + 1) continue;
        let left = this.unitsToGive(page, used, links, step);
        for (let next = firstStretch(left); next !== 0; next = firstStretch(left)) {
          discard(page + firstUnit(next), countUnits(next));
          this.set(page, pages[page + UNTOUCHED]! | next);
          left -= next;
        }
        pages[page + LOOKED] = used + 1;
      }
    }
  }

  /** The units that a page with so many used slots has to give: multiples of `step` units at such multiples. */
  unitsToGive(page: number, used: number, links: Uint16Array, step: number): number {
    const { pages } = this.#range;
    const untouched = pages[page + UNTOUCHED]!;
    // An OS page is resident as a whole once one of its units was written.
    const resident = inSteps(ALL_UNITS & ~untouched, step);
    const free = PAGE_UNITS * UNIT_GRANULES - used * (pages[page + SHAPE]! & GRANULES_MASK);
    if (free < (PAGE_UNITS - countUnits(resident) + step) * UNIT_GRANULES) return 0;
    return wholeSteps(unusedUnits(pages, links, page) & resident, step);
  }
}

/** The units of a page in which slots below EXTENDED lie. */
export function extendedUnits(pages: Int32Array, page: number): number {
  const granules = pages[page + EXTENDED]! * (pages[page + SHAPE]! & GRANULES_MASK);
  return unitsOf(0, Math.ceil(granules / UNIT_GRANULES));
}

/** The units of a page in which no live or delayed slot lies. */
export function unusedUnits(pages: Int32Array, links: Uint16Array, page: number): number {
  const base = pages[page + LINKS]!;
  const extended = pages[page + EXTENDED]!;
  const granules = pages[page + SHAPE]! & GRANULES_MASK;
  let unused = ALL_UNITS;
  for (let slot = 0; slot < extended;) {
    if (links[base + slot]! < LIVE) {
      slot++;
      continue;
    }
    const end = Math.ceil((slot + 1) * granules / UNIT_GRANULES);
    unused &= ~unitsOf(Math.floor(slot * granules / UNIT_GRANULES), end);
    // The first slot that is not wholly in the units up to there.
    slot = Math.floor(end * UNIT_GRANULES / granules);
  }
  return unused;
}

/** The units from `from` to `to`. */
export function unitsOf(from: number, to: number): number {
  return (1 << to) - (1 << from);
}

/** The units, and all others that share a multiple of `step` units with one of them. */
export function inSteps(units: number, step: number): number {
  if (step === 1) return units;
  let all = 0;
  for (let unit = 0; unit < PAGE_UNITS; unit += step) {
    const whole = unitsOf(unit, Math.min(unit + step, PAGE_UNITS));
    if ((units & whole) !== 0) all |= whole;
  }
  return all;
}

/** Of the units, the groups of `step`, at multiples of `step`, that are whole. */
export function wholeSteps(units: number, step: number): number {
  if (step === 1) return units;
  let whole = 0;
  for (let unit = 0; unit + step <= PAGE_UNITS; unit += step) {
    const group = unitsOf(unit, unit + step);
    if ((units & group) === group) whole |= group;
  }
  return whole;
}

/** The first stretch of consecutive units; 0 when there are none. */
export function firstStretch(units: number): number {
  const first = units & -units;
  // Adding to the lowest bit carries through all that follow it without a gap.
  return units & ~(units + first);
}

/** The longest stretch of consecutive units, the last of several; 0 when there are none. */
export function longestStretch(units: number): number {
  let longest = 0;
  let left = units;
  for (let next = firstStretch(left); next !== 0; next = firstStretch(left)) {
    if (countUnits(next) >= countUnits(longest)) longest = next;
    left -= next;
  }
  return longest;
}

/** The number of the first of some units. */
export function firstUnit(units: number): number {
  return 31 - Math.clz32(units & -units);
}

/** How many units there are. */
export function countUnits(units: number): number {
  let sums = units - ((units >>> 1) & 0x5555);
  sums = (sums & 0x3333) + ((sums >>> 2) & 0x3333);
  sums = (sums + (sums >>> 4)) & 0x0f0f;
  return (sums + (sums >>> 8)) & 31;
}
