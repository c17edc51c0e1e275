/**
 * The lists of partial pages, and which of these is worth allocating from. Changing to a page costs cache misses on its
 * record and its links, so the question is how many free slots it has for them.
 *
 * A replacement frees one slot and takes one, so the free slots of a heap do not grow with it: ten thousand free slots in
 * twelve thousand pages are less than one a page, and every other allocation would change pages. A large heap therefore
 * leaves pages with hardly a free slot in the list until more of theirs are free, and takes a fresh page meanwhile: a third
 * less time for 1.4 % more pages (5 million blocks of 16 to 128 bytes on Deno; docs/scale.md). It does so only where free
 * space is committed anyway.
 *
 * A page that was full a moment ago need not come here at all: see `settle` in small_pages.ts.
 *
 * @module
 */
import type { AddressRange } from "./address_range.ts";
import {
  CAPACITY,
  CLASS,
  EXTENDED,
  FREE_MASK,
  GRANULES_MASK,
  LAST,
  NEXT,
  NO_PAGE,
  PARTIAL,
  PREV,
  SHAPE,
  STATE,
} from "./page_table.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file.
const CAPACITY_AT = CAPACITY;
const CLASS_AT = CLASS;
const EXTENDED_AT = EXTENDED;
const NEXT_AT = NEXT;
const PREV_AT = PREV;
const SHAPE_AT = SHAPE;
const STATE_AT = STATE;
const FIRST_PARTIAL_AT = PARTIAL;
const LAST_PARTIAL_AT = LAST;
const NONE = NO_PAGE;
const FREE_BITS = FREE_MASK;
const GRANULES_BITS = GRANULES_MASK;

/**
 * Granules that a partial page must have free to be preferred to slots that were never used: 1 KiB, in two slots at least. With
 * less, changing pages costs more than it saves (a tenth of the time of one trace when any free slot was enough; 37 ns a pair
 * instead of 18 on Deno with 100 blocks of 1 KiB, when one such slot was).
 */
const WORTH_CHANGING = 64;

/** Units of a large heap, more than: 64 MiB. Below, pages are few, and one more of each class would be much. */
const LARGE_UNITS = 16_384;

/** One unit in 2^5 must be free, so that a fresh page does not cost a region. */
const SPACE_SHIFT = 5;

/**
 * A page with less than one slot in 2^6 free is thin. One in 2^5 gains some hundredths more time for 8 % of memory, one in
 * 2^8 half as much.
 */
const THIN_SHIFT = 6;

/** Slots of a partial page that were used before and are free. */
function freeSlots(pages: Int32Array, page: number): number {
  return pages[page + EXTENDED_AT]! - (pages[page + STATE_AT]! >>> 12);
}

/** Whether a partial page, if there is one, has enough free slots to go there before new memory is touched. */
export function isWorthChanging(pages: Int32Array, page: number): boolean {
  if (page === NONE) return false;
  const free = freeSlots(pages, page);
  return free > 1 && free * (pages[page + SHAPE_AT]! & GRANULES_BITS) >= WORTH_CHANGING;
}

/** Whether a partial page has so few free slots that a fresh page is the better choice, and can be had. */
export function isThin(range: AddressRange, page: number): boolean {
  const { endUnit, runs, pages } = range;
  if (endUnit <= LARGE_UNITS || runs.freeUnits <= endUnit >>> SPACE_SHIFT) return false;
  return freeSlots(pages, page) < pages[page + CAPACITY_AT]! >>> THIN_SHIFT;
}

/** The first partial page of a class, with a free slot if any has one; `NO_PAGE` when there is none. */
export function firstPartial(pages: Int32Array, sizeClass: number): number {
  const page = pages[FIRST_PARTIAL_AT + sizeClass]!;
  if (page === NONE || page === pages[LAST_PARTIAL_AT + sizeClass] || (pages[page + STATE_AT]! & FREE_BITS) !== 0) {
    return page;
  }
  // All that it has left was never used: it goes behind the others, of which each has a free slot.
  removePartial(pages, page);
  insertPartial(pages, page);
  return pages[FIRST_PARTIAL_AT + sizeClass]!;
}

/** Puts a page at the end of its class's list. (`settle` of small_pages.ts has this written out, for pages that were full.) */
export function insertPartial(pages: Int32Array, page: number): void {
  const sizeClass = pages[page + CLASS_AT]!;
  const last = pages[LAST_PARTIAL_AT + sizeClass]!;
  pages[page + NEXT_AT] = NONE;
  pages[page + PREV_AT] = last;
  if (last === NONE) pages[FIRST_PARTIAL_AT + sizeClass] = page;
  else pages[last + NEXT_AT] = page;
  pages[LAST_PARTIAL_AT + sizeClass] = page;
}

/** Takes a page out of its class's list. */
export function removePartial(pages: Int32Array, page: number): void {
  const sizeClass = pages[page + CLASS_AT]!;
  const next = pages[page + NEXT_AT]!;
  const prev = pages[page + PREV_AT]!;
  if (prev === NONE) pages[FIRST_PARTIAL_AT + sizeClass] = next;
  else pages[prev + NEXT_AT] = next;
  if (next === NONE) pages[LAST_PARTIAL_AT + sizeClass] = prev;
  else pages[next + PREV_AT] = prev;
}
