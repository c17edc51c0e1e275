/**
 * Frees by other workers: a bitmap for each page, and a bit for each page whose bitmap has news.
 *
 * ```text
 *   who frees a block of another's page           the owner of the page
 *     link is not LIVE: not a live block            1  dirty bit := 0, then NEWS := 0
 *     1  old := or(word, bit)       the free        2  for each bit of each word:
 *        old has the bit: a double free                  link LIVE: free the slot, as one of its own
 *     2  if old has not ANNOUNCED:                       else: a double free
 *        if NEWS is 0: NEWS := 1, dirty bit := 1,   3  old := and(word, not ANNOUNCED and not the bits it has seen)
 *                      the owner's SIGNAL := 1         old has more bits: 2 again with these
 *        if the bit is still there: ANNOUNCED := 1
 *
 *   a word    bit 31 ...... 17   16          15 ................ 0
 *            │ 0               │ ANNOUNCED │ sixteen slots        │
 * ```
 *
 * A single read-modify-write is both the claim of the block and its publication, so that of any number of frees exactly one
 * finds the bit clear; a bitmap has no links that a terminated worker could leave dangling, and an entry cannot be there
 * twice. ANNOUNCED makes it the only one for most frees. It is set only beside a bit that the owner has not collected, and goes
 * with the bits: a word without slots is 0. Who finds it knows one of three things:
 *
 * - NEWS is set;
 * - NEWS was set, and the owner is collecting and has not yet come to this word;
 * - somebody announced late: its bit had been collected, the slot used and freed again, and ANNOUNCED is beside the bit of that
 *   second free. Who made it has found no ANNOUNCED, so it is about to set NEWS, and if it dies before, who clears up does.
 *
 * What that costs the owner's own allocate and free is one load of OWNER, which has NEWS in it, from a line that they have at
 * hand; only while there is news do they look into the bitmap.
 *
 * When the owner and another worker free the same block in the same nanoseconds, both can have looked before either wrote. The
 * slot is then free with its bit set. Whoever collects the bit finds that out, once, and reports the double free; nothing is
 * lost and nothing is given out twice:
 *
 * - the owner, when it collects, or when it takes the slot from the list;
 * - who adopts or sweeps the page when the owner has gone, by {@link collectPage};
 * - who finds the bit in a place that is no page any more, by {@link collectLate}.
 *
 * An owner that is terminated while it collects leaves bits of slots that it has freed already, which are no double frees;
 * COLLECTING says that this may be so, and then none is reported. A free that is delayed still longer between its look and its
 * bit, until the slot is in use again, frees what is there then: as in any heap, an address that is freed after its memory
 * was given out again is that of the new block.
 *
 * All these words are written by `Atomics`: the steps on the left, and 1 and 2 on the right, must not be reordered, and the
 * dirty bit goes after NEWS on one side and before it on the other. Words are read plainly where an atomic load came before
 * that nothing may be read ahead of ({@link acknowledgeNews}), as V8 needs 8 ns for each. tests/shared_model.test.ts goes
 * through all orders.
 *
 * @module
 */
import { CAPACITY, CLASS, LINKS, LIVE, OWNED } from "./page_table.ts";
import {
  ANNOUNCED,
  attachmentAt,
  BITMAP_WORDS,
  COLLECTING,
  DIRTY_WORDS,
  NEWS,
  OWNER,
  OWNER_MASK,
  SIGNAL,
  SLOT_BITS,
} from "./shared_layout.ts";
import type { SharedTables } from "./shared_tables.ts";
import { CLASS_GRANULES } from "./size_class.ts";

// Folded by V8, which reads imported constants from memory.
const LINKS_AT = LINKS;
const LIVE_FROM = LIVE;
const OWNED_FROM = OWNED;
const BITMAPS = DIRTY_WORDS;
const IS_ANNOUNCED = ANNOUNCED;

const PAGE_GRANULES = 4096;

/** Where the bitmap of a page begins: 256 words a page, whose number counts by 16. */
export function bitmapAt(page: number): number {
  return BITMAPS + (page << 4);
}

/** Whether another worker has freed the slot, and the owner not collected it. */
export function isFreedRemotely({ remote }: SharedTables, page: number, slot: number): boolean {
  return ((remote[BITMAPS + (page << 4) + (slot >>> 4)]! >>> (slot & 15)) & 1) !== 0;
}

/**
 * Frees a slot of a page that is somebody else's, or nobody's. False when it is not live, as far as this worker's wraps reach,
 * or a NativeBuffer owns the block.
 *
 * Nothing is looked at again once the bit is set, but the bit: from then on the block is the owner's, who may have used its
 * place for another, or the page for another class, before this worker's next instruction.
 */
export function freeRemotely(tables: SharedTables, page: number, slot: number): boolean {
  const { pages, remote, links } = tables;
  const link = links[pages[page + LINKS_AT]! + slot];
  if (link === undefined || link < LIVE_FROM || link >= OWNED_FROM) return false;
  const at = BITMAPS + (page << 4) + (slot >>> 4);
  const bit = 1 << (slot & 15);
  const old = Atomics.or(remote, at, bit);
  if ((old & bit) !== 0) return false;
  if ((old & IS_ANNOUNCED) === 0) announce(tables, page, at, bit);
  return true;
}

/** Says that the page's bitmap has news, and in the word that this has been said, unless the owner has collected the bit. */
function announce(tables: SharedTables, page: number, at: number, bit: number): void {
  raiseNews(tables, page);
  const { remote } = tables;
  const seen = remote[at]!;
  // When others change the word meanwhile, they announce their bits by themselves.
  if ((seen & bit) !== 0) Atomics.compareExchange(remote, at, seen, seen | ANNOUNCED);
}

/** Says that the page's bitmap has news, if nobody has yet. */
export function raiseNews(tables: SharedTables, page: number): void {
  const old = Atomics.or(tables.pages, page + OWNER, NEWS);
  if ((old & NEWS) === 0) tellOwner(tables, page, old & OWNER_MASK);
}

/** Says so whatever was said before: on behalf of somebody who may have died in the middle of it. */
export function raiseNewsAgain(tables: SharedTables, page: number): void {
  tellOwner(tables, page, Atomics.or(tables.pages, page + OWNER, NEWS) & OWNER_MASK);
}

function tellOwner({ control, remote }: SharedTables, page: number, owner: number): void {
  Atomics.or(remote, page >>> 9, 1 << ((page >>> 4) & 31));
  if (owner === 0) return;
  const signal = attachmentAt(owner) + SIGNAL;
  if (Atomics.load(control, signal) === 0) Atomics.store(control, signal, 1);
}

/** Takes that back: before looking at the bitmap. Whatever is read after this call was read after it. */
export function acknowledgeNews({ pages, remote }: SharedTables, page: number): void {
  const bit = 1 << ((page >>> 4) & 31);
  if ((Atomics.load(remote, page >>> 9) & bit) !== 0) Atomics.and(remote, page >>> 9, ~bit);
  Atomics.and(pages, page + OWNER, ~NEWS);
  // Not for its value: on some processors a plain load can be served before an atomic operation is done, but not before this.
  Atomics.load(pages, page + OWNER);
}

/** Calls `visit` with every page that has a dirty bit, whoever owns it. */
export function visitDirty({ remote, endUnit }: SharedTables, visit: (page: number) => void): void {
  const words = (endUnit + 511) >>> 9;
  for (let word = 0; word < words; word++) {
    for (let bits = Atomics.load(remote, word); bits !== 0; bits &= bits - 1) {
      visit((word * 32 + 31 - Math.clz32(bits & -bits)) * 16);
    }
  }
}

/**
 * Collects what was freed of a page that belongs to the caller: the links of those slots are 0 then, and in no list. What was
 * freed twice is added to `doubles`, unless whoever collected last did not come to the end of it.
 */
export function collectPage(tables: SharedTables, page: number, doubles: number[]): void {
  const { pages, links } = tables;
  const base = pages[page + LINKS]!;
  const isSure = pages[page + COLLECTING] === 0;
  acknowledgeNews(tables, page);
  pages[page + COLLECTING] = 1;
  collectBits(tables, page, bitmapWords(tables, page), (slot) => {
    if (links[base + slot]! >= LIVE) links[base + slot] = 0;
    else if (isSure) doubles.push(granuleOf(page, slot, pages[page + CLASS]!));
  });
  pages[page + COLLECTING] = 0;
}

/**
 * Collects what came too late in a place that has no live slots, and is no page or not yet one: double frees, all of them, of
 * blocks of the size class that the place had last.
 */
export function collectLate(
  tables: SharedTables,
  page: number,
  doubles: number[],
  sizeClass: number = tables.pages[page + CLASS]!,
): void {
  acknowledgeNews(tables, page);
  collectBits(tables, page, BITMAP_WORDS, (slot) => doubles.push(granuleOf(page, slot, sizeClass)));
}

/** Calls `visit` with every slot whose bit is set in so many words, then clears those bits. */
function collectBits({ remote }: SharedTables, page: number, words: number, visit: (slot: number) => void): void {
  for (let word = 0, at = bitmapAt(page); word < words; word++, at++) {
    for (let seen = remote[at]!; seen !== 0;) {
      for (let bits = seen & SLOT_BITS; bits !== 0; bits &= bits - 1) visit(word * 16 + 31 - Math.clz32(bits & -bits));
      // Last: a worker that is terminated before this leaves bits of slots that are free, which is no harm to who adopts
      // the page. Bits that have come since are the next to be visited, as who set them relies on ANNOUNCED.
      const clear = ~(seen | ANNOUNCED);
      seen = Atomics.and(remote, at, clear) & clear;
    }
  }
}

/** The granule where a slot of the class begins; the page's own for a slot that only another class has. */
export function granuleOf(page: number, slot: number, sizeClass: number): number {
  const offset = slot * CLASS_GRANULES[sizeClass]!;
  return (page << 8) + (offset < PAGE_GRANULES ? offset : 0);
}

/** How many slots of a page others have freed. */
export function countFreed(tables: SharedTables, page: number): number {
  const { remote } = tables;
  let count = 0;
  const words = bitmapWords(tables, page);
  // Nothing is read ahead of an atomic load, see acknowledgeNews.
  Atomics.load(tables.pages, page + OWNER);
  for (let at = bitmapAt(page), end = at + words; at < end; at++) {
    for (let bits = remote[at]! & SLOT_BITS; bits !== 0; bits &= bits - 1) count++;
  }
  return count;
}

function bitmapWords({ pages }: SharedTables, page: number): number {
  return (pages[page + CAPACITY]! + 15) >>> 4;
}
