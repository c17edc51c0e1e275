/**
 * What the pages of small blocks say of a slot where it need not be fast: to find why an address is not a block's, to
 * walk over all blocks, and to count them. Fields of a page's record and of a link are drawn in page_table.ts.
 *
 * @module
 */
import {
  CAPACITY,
  CLASS,
  DELAYED,
  EXTENDED,
  FULL,
  GRANULES_MASK,
  isLiveLink,
  LINKS,
  SHAPE,
  STATE,
} from "./page_table.ts";
import { PAGE_GRANULES } from "./size_class.ts";
import type { SmallPages } from "./small_pages.ts";

/** The first granule of the live slot that `granule` lies in; -1 when there is none. */
export function slotAround({ range: { pages }, links }: SmallPages, granule: number): number {
  const page = (granule >>> 8) & -16;
  const granules = pages[page + SHAPE]! & GRANULES_MASK;
  if (granules === 0) return -1;
  const slot = Math.floor((granule & (PAGE_GRANULES - 1)) / granules);
  if (slot >= pages[page + CAPACITY]! || !isLiveLink(links[pages[page + LINKS]! + slot]!)) return -1;
  return (page << 8) + slot * granules;
}

/** Whether `granule` is the start of a slot that was live before. */
export function wasSlotLive({ range: { pages } }: SmallPages, granule: number): boolean {
  const page = (granule >>> 8) & -16;
  const granules = pages[page + SHAPE]! & GRANULES_MASK;
  const slot = (granule & (PAGE_GRANULES - 1)) / granules;
  return granules !== 0 && Number.isInteger(slot) && slot < pages[page + EXTENDED]!;
}

/** The count of live slots of a page. */
export function countLiveSlots(small: SmallPages, page: number): number {
  const { pages } = small.range;
  const state = pages[page + STATE]!;
  const delayed = pages[page + DELAYED]!;
  if (state < 0) return ((state + FULL) >>> 12) - delayed;
  return (state >>> 12) - delayed - (small.current(pages[page + CLASS]!) === page ? 1 : 0);
}

/** The first granules of the live slots of a page, as they are now. Time in its slots. */
export function liveSlotsOf({ range: { pages }, links }: SmallPages, page: number): number[] {
  const base = pages[page + LINKS]!;
  const granules: number[] = [];
  for (let slot = 0; slot < pages[page + EXTENDED]!; slot++) {
    if (isLiveLink(links[base + slot]!)) granules.push((page << 8) + slot * (pages[page + SHAPE]! & GRANULES_MASK));
  }
  return granules;
}
