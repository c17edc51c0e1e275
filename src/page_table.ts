/**
 * The records of pages and slots: layout and constants.
 *
 * A page is 64 KiB of a region that holds blocks of one size class in slots of equal size. Its record is one cache line
 * of sixteen 32-bit words. All records are in one table, so that a line is addressed by its page number times 16 (which
 * is also the number of the page's first unit), and the table starts with a header: by size class the two ends of its
 * list of partial pages, by size the current page:
 *
 * ```text
 *   word    0 ....... 15   16 ........... 63   64 .......... 111   112 ........... 268    272 ..... 287   288 ...
 *         ┌──────────────┬───────────────────┬───────────────────┬──────────────────────┬───────────────┬────────
 *         │ no page:     │ first PARTIAL     │ LAST partial      │ CURRENT page,        │ page 0        │ page 1
 *         │ zero         │ page, by class    │ page, by class    │ by size              │               │
 *         └──────────────┴───────────────────┴───────────────────┴──────────────────────┴───────────────┴────────
 *
 *   of a page's record    STATE SHAPE LINKS CLASS CAPACITY EXTENDED NEXT PREV DELAYED UNTOUCHED LOOKED - - - - -
 *
 *   STATE   bit 31 .................. 12 11 ........ 0
 *          │ used                       │ first free  │
 *            used: live and delayed slots; one more while the page is current (the heap's own hold), 65536 less while
 *                  it is full
 *            first free: slot + 1; 0 when the free list is empty
 *   SHAPE   bit 27 .................. 11 10 ........ 0
 *          │ inverse                    │ granules    │   of a slot; inverse: 2^16 / granules, rounded up. 0: no page
 * ```
 *
 * Two words hold what four could, because each access of a typed array costs five instructions, and the bits cost one
 * each. CURRENT is by size, not by class, which saves the way from size to class: an entry for each granule up to 2 KiB, for
 * every 512 bytes above (`sizeEntry` in size_class.ts).
 *
 * An entry of CURRENT is where the record of the page starts, `page + STATE`, so that 0 stands for no page and the fast
 * path adds nothing. (A `SharedHeap` has records of the same form, and no header: see shared_layout.ts.)
 *
 * A page number times 16 is called `page` in the code; `NO_PAGE` is the number whose fields are read from the line of
 * zeros, so that the fast path needs no test for it: it looks like a page whose free list is empty.
 *
 * Each slot has a link of 16 bits, out of line, in a table packed page after page:
 *
 * ```text
 *   link of slot s, at links[LINKS + s]
 *      0              free, the last of the list            (or never used yet)
 *      1 .. 4095      free; the next free slot is this - 1
 *      4096 ..        live: (1 + k) * 4096 + slack
 *                       k = 0..6: alignment 16 << k; 7..13: the same, and a NativeBuffer owns the block
 *                       slack = bytes of the slot that were not asked for
 *      61440          freed, and its reuse delayed: in no list, and not live
 * ```
 *
 * So one load says whether an address is the start of a live block, and no write through a block, however wild, can
 * change the answer. A page of 16-byte slots has 4095 of them, so that every slot number plus one fits below 4096.
 *
 * A slot's offset in the page is found, and checked, without a division: `slot = (offset * inverse) >>> 16` is exact
 * for offsets that are multiples of the slot size, and for any other `slot * granules` is not the offset.
 *
 * A page is always one of: current (the one its class allocates from), partial (in its class's list), full, or idle
 * (empty and kept for the next class that needs a page).
 *
 * @module
 */
import { CLASS_COUNT, FIRST_ENTRY, LAST_ENTRY } from "./size_class.ts";

/** Words at the start of the table that are always zero: the fields of {@link NO_PAGE}. */
export const ZERO_WORDS = 16;

/** Where the first partial page of each class is; add the class. */
export const PARTIAL = 16;

/** Where the last partial page of each class is; add the class. */
export const LAST = 64;

/** Where the current page for each size is; add the `sizeEntry`: up to 2 KiB the size in granules. */
export const CURRENT = 112;

/** Words of the table before the first page's record: a whole number of lines, which CURRENT's 157 entries end in. */
const HEADER = 272;

// V8 reads an imported or exported constant from memory at each use, but folds one of this file: for `setCurrent`.
const CURRENT_AT = CURRENT;
const STATE_AT = HEADER;
const FIRST_ENTRIES = FIRST_ENTRY;
const LAST_ENTRIES = LAST_ENTRY;

/** Words of a page's record: one cache line. */
const RECORD = 16;

/** The page that there is not. Its fields read as zero. */
export const NO_PAGE = -HEADER;

/** Used slots and the first free slot, see above. Add the page, as for all fields. */
export const STATE: number = HEADER + 0;

/** Inverse and granules of a slot, see above. */
export const SHAPE: number = HEADER + 1;

/** Index of the link of slot 0. 0 for what is no page of small blocks: links[0] is never live. */
export const LINKS: number = HEADER + 2;

/** The size class of its slots. */
export const CLASS: number = HEADER + 3;

/** The count of its slots. */
export const CAPACITY: number = HEADER + 4;

/** Slots from 0 that were ever in the free list; the memory of the others was never handed out by this page. */
export const EXTENDED: number = HEADER + 5;

/** The next page in the list of partial pages, or the stack of idle ones. */
export const NEXT: number = HEADER + 6;

/** The page before in the list of partial pages. */
export const PREV: number = HEADER + 7;

/** How many of its slots are delayed. */
export const DELAYED: number = HEADER + 8;

/** Which of its units were not written since their memory was last given back, or never: a bit each. See page_units.ts. */
export const UNTOUCHED: number = HEADER + 9;

/** How many of its slots were used, plus one, when it was last looked at by page_units.ts; 0 when not since it was current. */
export const LOOKED: number = HEADER + 10;

/** One used slot in STATE. */
export const ONE_USED = 4096;

/** The bits of STATE that are the first free slot. */
export const FREE_MASK = 4095;

/**
 * What STATE of a full page is less by. "Became empty" and "was full" are then one test after a free: STATE is below
 * {@link ONE_USED}.
 */
export const FULL: number = 65536 * ONE_USED;

/** The bits of SHAPE that are the granules. */
export const GRANULES_MASK = 2047;

/** How far up in SHAPE the inverse is. */
export const INVERSE_SHIFT = 11;

/** The least link of a live slot. */
export const LIVE = 4096;

/** Count of alignments that a link can name: 16 to 1024. */
const ALIGNMENT_COUNT = 7;

/** Links of live slots from here on are of blocks owned by a NativeBuffer. */
export const OWNED: number = LIVE * (1 + ALIGNMENT_COUNT);

/** The link of a slot that was freed and is not to be used again yet (delayed_frees.ts): the first that is not live. */
export const DELAYED_LINK: number = LIVE * (1 + 2 * ALIGNMENT_COUNT);

/** Bits of a live link that are the slack. */
export const SLACK_MASK = 4095;

/** Whether a slot of `usableSize` bytes can hold a block of `size`: it has room, and its link for what is left over. */
export function slotHolds(usableSize: number, size: number): boolean {
  return size <= usableSize && usableSize - size <= SLACK_MASK;
}

/** The link of a live slot with `slack` bytes not asked for, at an alignment from 16 to 1024. */
export function liveLink(alignment: number, slack: number): number {
  return LIVE * (28 - Math.clz32(alignment)) + slack;
}

/** Whether a link is that of a live slot. */
export function isLiveLink(link: number): boolean {
  return link >= LIVE && link < DELAYED_LINK;
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

/** Writes what is not zero in the header of a new table: no class has a partial page. */
export function initializePageTable(table: Int32Array): void {
  table.fill(NO_PAGE, PARTIAL, PARTIAL + CLASS_COUNT);
  table.fill(NO_PAGE, LAST, LAST + CLASS_COUNT);
}

/** Enters the page that a class allocates from, under each size of the class. */
export function setCurrent(table: Int32Array, sizeClass: number, page: number): void {
  const record = page + STATE_AT;
  const to = CURRENT_AT + LAST_ENTRIES[sizeClass]!;
  // At most sixteen (1,792 to 2,048 bytes): fewer than a call of fill pays for (bytes.ts).
  for (let at = CURRENT_AT + FIRST_ENTRIES[sizeClass]!; at <= to; at++) table[at] = record;
}

/** The SHAPE of pages with slots of so many granules. */
export function shapeOf(granules: number): number {
  return (Math.ceil(65536 / granules) << INVERSE_SHIFT) | granules;
}

/** Clears the record of a page, which then is no page of small blocks. */
export function clearPageRecord(table: Int32Array, page: number): void {
  table.fill(0, HEADER + page, HEADER + page + RECORD);
}
