/**
 * Pages of small blocks to be tested, and what is done to them.
 *
 * @module
 */
import { assert } from "@std/assert";
import { fixedPageSource } from "../../mod.ts";
import { liveLink } from "../../src/page_table.ts";
import { CLASS_COUNT } from "../../src/size_class.ts";
import { SmallPages } from "../../src/small_pages.ts";
import { rangeOver } from "./ranges.ts";

/** The link of a live slot, aligned to 16 bytes and used to its end. */
export const LINK: number = liveLink(16, 0);

/** The class of 16 KiB: four slots a page. */
export const LAST_CLASS: number = CLASS_COUNT - 1;

/** Pages over a fixed buffer of `count` pages. */
export function makePages(count = 16): SmallPages {
  const byteLength = count * 65_536;
  const source = fixedPageSource(new ArrayBuffer(byteLength));
  return new SmallPages(source, rangeOver(source, byteLength, byteLength));
}

/** Verifies both layers. */
export function checkPages(pages: SmallPages): void {
  pages.range.check();
  pages.check();
}

/** Allocates slots of a class; their granules. */
export function takeSlots(pages: SmallPages, sizeClass: number, count: number): number[] {
  return Array.from({ length: count }, () => pages.allocate(sizeClass, LINK));
}

/** Frees the slot that begins at a granule. */
export function freeSlot(pages: SmallPages, granule: number): void {
  const index = pages.liveLink(granule);
  assert(index !== 0, `granule ${granule} is not live`);
  pages.free(granule, index);
}

/** The page of a granule. */
export function pageOf(granule: number): number {
  return (granule >>> 8) & -16;
}
