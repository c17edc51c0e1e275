/**
 * The records of pages and slots: layout and constants.
 *
 * A page is 64 KiB of a region that holds blocks of one size class in slots of equal size. Its record is one cache line of sixteen
 * 32-bit words. All records are in one table, so that a line is addressed by its page number times 16 (which is also the number of
 * the page's first unit), and the table starts with a header that holds two lists by size class:
 *
 * ```text
 *   word    0 ........ 15   16 ................ 63   64 ................ 111   112 ... 127   128 ...... 143   144 ...
 *         ┌───────────────┬────────────────────────┬─────────────────────────┬─────────────┬────────────────┬────────
 *         │ no page: zero │ CURRENT page, by class │ PARTIAL pages, by class │ unused      │ page 0         │ page 1
 *         └───────────────┴────────────────────────┴─────────────────────────┴─────────────┴────────────────┴────────
 *
 *   of a page's record    FREE USED LINKS INVERSE GRANULES CLASS CAPACITY EXTENDED NEXT PREV - - - - - -
 * ```
 *
 * A page number times 16 is called `page` in the code; `NO_PAGE` is -128, so that a field of "no page" is read from the line of
 * zeros and the fast path needs no test for it.
 *
 * Each slot has a link of 16 bits, out of line, in a table packed page after page:
 *
 * ```text
 *   link of slot s, at links[LINKS + s]
 *      0              free, the last of the list            (or never used yet)
 *      1 .. 4095      free; the next free slot is this - 1
 *      4096 ..        live: (1 + k) * 4096 + slack           k = 0..6: alignment 16 << k; 7..13: the same, and a NativeBuffer owns it
 *                                                           slack = bytes of the slot that were not asked for
 * ```
 *
 * So one load says whether an address is the start of a live block, and no write through a block, however wild, can change the
 * answer. A page of 16-byte slots has 4095 of them, so that every slot number plus one fits below 4096.
 *
 * A slot's offset in the page is found, and checked, without a division: `slot = (offset * INVERSE) >>> 16` is exact for
 * offsets that are multiples of the slot size, and for any other `slot * GRANULES` is not the offset.
 *
 * A page is always one of: current (the one its class allocates from), partial (in its class's list), full, or idle (empty
 * and kept for the next class that needs a page).
 *
 * @module
 */
import { CLASS_COUNT } from "./size_class.ts";

/** Words of the table before the first page's record. */
const HEADER = 128;

/** Words of a page's record: one cache line. */
const RECORD = 16;

/** The page that there is not. Its fields read as zero. */
export const NO_PAGE = -HEADER;

/** Where the current page of each class is; add the class. */
export const CURRENT = 16;

/** Where the first partial page of each class is; add the class. */
export const PARTIAL = 64;

/** First free slot plus one; 0 when the list is empty. Add the page, as for all fields. */
export const FREE: number = HEADER + 0;

/** Live slots; one more while the page is current (the heap's own hold), {@link FULL} less while it is full. */
export const USED: number = HEADER + 1;

/** Index of the link of slot 0. 0 for what is no page of small blocks: links[0] is never live. */
export const LINKS: number = HEADER + 2;

/** 2^16 divided by GRANULES, rounded up. */
export const INVERSE: number = HEADER + 3;

/** Granules of a slot. 0 for what is no page of small blocks. */
export const GRANULES: number = HEADER + 4;

/** The size class. */
export const CLASS: number = HEADER + 5;

/** Count of slots. */
export const CAPACITY: number = HEADER + 6;

/** Slots from 0 that were ever in the free list; the memory of the others was never handed out by this page. */
export const EXTENDED: number = HEADER + 7;

/** The next page in the list of partial pages, or the stack of idle ones. */
export const NEXT: number = HEADER + 8;

/** The page before in the list of partial pages. */
export const PREV: number = HEADER + 9;

/** What USED of a full page is less by: so "became empty" and "was full" are one test, `USED <= 0`, after a free. */
export const FULL = 65536;

/** The least link of a live slot. */
export const LIVE = 4096;

/** Count of alignments that a link can name: 16 to 1024. */
const ALIGNMENT_COUNT = 7;

/** Links of live slots from here on are of blocks owned by a NativeBuffer. */
export const OWNED: number = LIVE * (1 + ALIGNMENT_COUNT);

/** Bits of a live link that are the slack. */
export const SLACK_MASK = 4095;

/** The link of a live slot with `slack` bytes not asked for, at an alignment from 16 to 1024. */
export function liveLink(alignment: number, slack: number): number {
  return LIVE * (1 + Math.log2(alignment) - 4) + slack;
}

/** The alignment that a live link names. */
export function alignmentOfLink(link: number): number {
  return 16 << (((link >>> 12) - 1) % ALIGNMENT_COUNT);
}

/** A live link with the owned mark set or cleared. */
export function linkWithOwned(link: number, owned: boolean): number {
  const plain = link >= OWNED ? link - LIVE * ALIGNMENT_COUNT : link;
  return owned ? plain + LIVE * ALIGNMENT_COUNT : plain;
}

/** Bytes of the table for pages that cover `units` units. */
export function pageTableBytes(units: number): number {
  return (HEADER + Math.ceil(units / 16) * RECORD) * 4;
}

/** Writes the header of a new table: no class has a page. */
export function initializePageTable(table: Int32Array): void {
  table.fill(NO_PAGE, CURRENT, CURRENT + CLASS_COUNT);
  table.fill(NO_PAGE, PARTIAL, PARTIAL + CLASS_COUNT);
}

/** Clears the record of a page, which then is no page of small blocks. */
export function clearPageRecord(table: Int32Array, page: number): void {
  table.fill(0, HEADER + page, HEADER + page + RECORD);
}
