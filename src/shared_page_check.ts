/**
 * The verification of the pages of a shared heap, as one attachment can make it.
 *
 * What is verified, in this order; the units must have been checked, and the caller holds the lock:
 *
 * - the lists of this attachment: each partial page in the list of its class, linked both ways, each idle page once;
 * - each page of ours is exactly one of current, partial, full and idle, and no page of others is any of that here; a record
 *   is that of its class, whoever owns the page, and says that the page is held when it is our current one;
 * - each slot: what holds at any moment of all pages, and of ours that STATE and the free list count all that are below
 *   EXTENDED, and that none is free and freed again;
 * - the links of no two pages overlap.
 *
 * Owners change STATE and the free lists of their pages without the lock, so that these are not looked at in pages of others.
 *
 * @module
 */
import { CorruptionError } from "./errors.ts";
import {
  CAPACITY,
  CLASS,
  EXTENDED,
  FREE_MASK,
  GRANULES_MASK,
  LINKS,
  LIVE,
  NEXT,
  NO_PAGE,
  PREV,
  SHAPE,
  shapeOf,
  SLACK_MASK,
  STATE,
} from "./page_table.ts";
import { HELD, OWNER, OWNER_MASK } from "./shared_layout.ts";
import type { SharedPages } from "./shared_pages.ts";
import { isFreedRemotely } from "./shared_remote.ts";
import type { SharedSpace } from "./shared_space.ts";
import type { SharedTables } from "./shared_tables.ts";
import { CLASS_COUNT, CLASS_GRANULES, CLASS_SLOTS, GRANULE, LAST_ENTRY } from "./size_class.ts";

/** What only the pages of an attachment themselves know. */
export interface SharedPageLists {
  /** The first partial page of each class. */
  readonly partial: Int32Array;
  /** The last one. */
  readonly last: Int32Array;
  /** The idle pages. */
  readonly idle: readonly number[];
}

/**
 * Verifies every page of `own`, and of what is not its own the parts that hold at any moment. Time in the number of slots.
 *
 * @param all The first units of all pages of the heap.
 * @throws {CorruptionError} When two records disagree.
 */
export function checkSharedPages(
  { tables, number }: SharedSpace,
  own: SharedPages,
  lists: SharedPageLists,
  all: readonly number[],
): void {
  const { pages } = tables;
  const listed = listedPages(pages, lists);
  const chunks: [number, number][] = [];
  for (const page of all) {
    const sizeClass = pages[page + CLASS]!;
    const isOurs = (pages[page + OWNER]! & OWNER_MASK) === number;
    if (
      pages[page + SHAPE] !== shapeOf(CLASS_GRANULES[sizeClass]!) || pages[page + CAPACITY] !== CLASS_SLOTS[sizeClass]
    ) {
      throw corrupt(page, `its slots are not those of class ${sizeClass}`);
    }
    const isCurrent = own.current[LAST_ENTRY[sizeClass]!] === page;
    const isFull = isOurs && pages[page + STATE]! < 0;
    if (Number(listed.delete(page)) + Number(isCurrent) + Number(isFull) !== Number(isOurs)) {
      throw corrupt(page, "it is not exactly one of current, partial, full and idle");
    }
    if (isOurs && pages[page + HELD] !== Number(isCurrent)) {
      throw corrupt(page, "it is held and not current, or otherwise");
    }
    const live = checkSlots(tables, page, isOurs);
    if (isOurs) checkCounts(tables, page, live, own.usedSlots(page));
    chunks.push([pages[page + LINKS]!, pages[page + LINKS]! + CLASS_SLOTS[sizeClass]!]);
  }
  for (const page of listed) throw corrupt(page, "it is in a list and not a page of ours");
  checkChunks(chunks);
}

/** The idle pages, and the partial ones of all classes. */
function listedPages(pages: Int32Array, { partial, last, idle }: SharedPageLists): Set<number> {
  const listed = new Set<number>(idle);
  if (listed.size !== idle.length) throw corrupt(NO_PAGE, "a page is idle twice");
  for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
    let prev = NO_PAGE;
    for (let page = partial[sizeClass]!; page !== NO_PAGE; prev = page, page = pages[page + NEXT]!) {
      if (listed.has(page) || pages[page + CLASS] !== sizeClass || pages[page + PREV] !== prev) {
        throw corrupt(page, `it is wrongly linked among the partial pages of class ${sizeClass}`);
      }
      listed.add(page);
    }
    if (last[sizeClass] !== prev) throw corrupt(prev, "it should be the last partial page of its class");
  }
  return listed;
}

/** Verifies the links of a page; how many of them say that their slot is live. */
function checkSlots(tables: SharedTables, page: number, isOurs: boolean): number {
  const { pages, links } = tables;
  const base = pages[page + LINKS]!;
  const size = (pages[page + SHAPE]! & GRANULES_MASK) * GRANULE;
  let live = 0;
  for (let slot = 0; slot < pages[page + CAPACITY]!; slot++) {
    const link = links[base + slot]!;
    if (link < LIVE) {
      if (isOurs && isFreedRemotely(tables, page, slot)) {
        throw corrupt(page, `slot ${slot} is free and was freed again`);
      }
      continue;
    }
    if ((link & SLACK_MASK) > size) throw corrupt(page, `slot ${slot} has more slack than bytes`);
    if (slot >= pages[page + EXTENDED]!) throw corrupt(page, `slot ${slot} is live and was never free`);
    live++;
  }
  return live;
}

/** Verifies what a page of ours with so many live slots counts, and its free list. */
function checkCounts({ pages, links }: SharedTables, page: number, live: number, used: number): void {
  if (used !== live) throw corrupt(page, `${live} slots are live, and others are counted`);
  const base = pages[page + LINKS]!;
  const extended = pages[page + EXTENDED]!;
  let free = 0;
  for (let link = pages[page + STATE]! & FREE_MASK; link !== 0; link = links[base + link - 1]!, free++) {
    if (link > extended || free > extended) throw corrupt(page, `its free list leaves the page at slot ${link - 1}`);
  }
  if (free + live !== extended) throw corrupt(page, `${free} free and ${live} live slots are not ${extended}`);
}

/** Verifies that no two pages have links in common. */
function checkChunks(chunks: [number, number][]): void {
  chunks.sort((a, b) => a[0] - b[0]);
  chunks.reduce((end, [from, to]) => {
    if (from < end) throw corrupt(NO_PAGE, `the links from ${from} overlap others`);
    return to;
  }, 0);
}

function corrupt(page: number, what: string): CorruptionError {
  const subject = page < 0 ? "the pages of small blocks" : `the page at unit ${page}`;
  return new CorruptionError(`Cannot trust ${subject}: ${what}`);
}
