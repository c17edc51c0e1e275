/**
 * Frees by other workers: a bitmap for each page, and a bit for each page whose bitmap has news.
 *
 * ```text
 *   who frees a block of another's page           the owner of the page
 *     link is not LIVE: not a live block            1  dirty bit := 0, then NEWS := 0
 *     1  old := or(bitmap, bit)     the free        2  for each bit of the bitmap:
 *        old has the bit: a double free                  link LIVE: free the slot, as one of its own
 *     2  if NEWS is 0: NEWS := 1,                        else: a double free
 *        then dirty bit := 1,                       3  bitmap := bitmap and not the bits it has seen
 *        then the owner's SIGNAL := 1
 * ```
 *
 * A single read-modify-write is both the claim of the block and its publication, so that of any number of frees exactly one
 * finds the bit clear; a bitmap has no links that a terminated worker could leave dangling, and an entry cannot be there
 * twice. What that costs the owner's own allocate and free is one load of NEWS, from a line that they have at hand; only
 * while there is news do they look into the bitmap.
 *
 * When the owner and another worker free the same block in the same nanoseconds, both can have looked before either wrote. The
 * slot is then in the free list with its bit set. The owner finds that out when it collects, or when it takes the slot from
 * the list, whichever comes first, and reports the double free then; nothing is lost and nothing is given out twice. A free
 * that is delayed still longer between its look and its bit, until the slot is in use again, frees what is there then: as in
 * any heap, an address that is freed after its memory was given out again is that of the new block.
 *
 * All these words are read and written by `Atomics`: steps 1 and 2 on the left and 1 and 2 on the right must not be
 * reordered, and the dirty bit goes after NEWS on one side and before it on the other. tests/shared_model.test.ts goes through
 * all orders.
 *
 * @module
 */
import { CAPACITY, GRANULES_MASK, INVERSE_SHIFT, LINKS, LIVE, OWNED, SHAPE } from "./page_table.ts";
import { attachmentAt, BITMAP_WORDS, DIRTY_WORDS, NEWS, OWNER, SIGNAL } from "./shared_layout.ts";
import type { SharedTables } from "./shared_tables.ts";
import { PAGE_GRANULES } from "./size_class.ts";

/** Words of a bitmap for each unit of its page's number: `page * 8`. */
const BITMAP_SHIFT = 3;

/** Where the bitmap of a page begins. */
export function bitmapAt(page: number): number {
  return DIRTY_WORDS + (page << BITMAP_SHIFT);
}

/** Whether another worker has freed the slot, and the owner not collected it. */
export function isFreedRemotely({ remote }: SharedTables, page: number, slot: number): boolean {
  return ((remote[DIRTY_WORDS + (page << BITMAP_SHIFT) + (slot >>> 5)]! >>> (slot & 31)) & 1) !== 0;
}

/**
 * Frees the live block at `granule`, in a page that is somebody else's, or nobody's. False when it is not live.
 *
 * Nothing is looked at again once the bit is set: from then on the block is the owner's, who may have used its place for
 * another, or the page for another class, before this worker's next instruction.
 */
export function freeRemotely(tables: SharedTables, granule: number): boolean {
  const { pages, remote, links } = tables;
  const page = (granule >>> 8) & -16;
  const offset = granule & (PAGE_GRANULES - 1);
  const shape = pages[page + SHAPE]!;
  const slot = Math.imul(offset, shape >>> INVERSE_SHIFT) >>> 16;
  const link = Math.imul(slot, shape & GRANULES_MASK) === offset ? links[pages[page + LINKS]! + slot]! : 0;
  if (link < LIVE || link >= OWNED) return false;
  const bit = 1 << (slot & 31);
  if ((Atomics.or(remote, bitmapAt(page) + (slot >>> 5), bit) & bit) !== 0) return false;
  announceNews(tables, page);
  return true;
}

/** Says that the page's bitmap has news, if nobody has yet. */
export function announceNews(tables: SharedTables, page: number): void {
  if (Atomics.load(tables.pages, page + NEWS) === 0) raiseNews(tables, page);
}

/** Says so whatever was said before: on behalf of somebody who may have died in the middle of it. */
export function raiseNews({ control, pages, remote }: SharedTables, page: number): void {
  Atomics.store(pages, page + NEWS, 1);
  Atomics.or(remote, page >>> 9, 1 << ((page >>> 4) & 31));
  const owner = Atomics.load(pages, page + OWNER);
  if (owner === 0) return;
  const signal = attachmentAt(owner) + SIGNAL;
  if (Atomics.load(control, signal) === 0) Atomics.store(control, signal, 1);
}

/** Takes that back: before looking at the bitmap. */
export function acknowledgeNews({ pages, remote }: SharedTables, page: number): void {
  const bit = 1 << ((page >>> 4) & 31);
  if ((Atomics.load(remote, page >>> 9) & bit) !== 0) Atomics.and(remote, page >>> 9, ~bit);
  Atomics.store(pages, page + NEWS, 0);
}

/** Calls `visit` with every slot of a page whose bit is set, then clears those bits. */
export function collectSlots(tables: SharedTables, page: number, visit: (slot: number) => void): void {
  const { remote } = tables;
  const words = bitmapWords(tables, page);
  for (let word = 0, at = bitmapAt(page); word < words; word++, at++) {
    const seen = Atomics.load(remote, at);
    if (seen === 0) continue;
    for (let bits = seen; bits !== 0; bits &= bits - 1) visit(word * 32 + 31 - Math.clz32(bits & -bits));
    // Last: a worker that is terminated before this leaves bits of slots that are free, which is no harm to who adopts
    // the page.
    Atomics.and(remote, at, ~seen);
  }
}

/** How many slots of a page others have freed. */
export function countFreed(tables: SharedTables, page: number): number {
  let count = 0;
  const words = bitmapWords(tables, page);
  for (let at = bitmapAt(page), end = at + words; at < end; at++) {
    for (let bits = Atomics.load(tables.remote, at); bits !== 0; bits &= bits - 1) count++;
  }
  return count;
}

/** Clears the bitmap of a page that is not yet anybody's. */
export function clearBitmap(tables: SharedTables, page: number): void {
  const { remote } = tables;
  for (let at = bitmapAt(page), end = at + BITMAP_WORDS; at < end; at++) {
    if (Atomics.load(remote, at) !== 0) Atomics.store(remote, at, 0);
  }
  acknowledgeNews(tables, page);
}

function bitmapWords({ pages }: SharedTables, page: number): number {
  return (pages[page + CAPACITY]! + 31) >>> 5;
}
