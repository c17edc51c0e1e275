/**
 * The verification of the pages of small blocks: every record against every other.
 *
 * What is verified, in this order:
 *
 * - the table's header: the line of zeros, one current page for all sizes of a class;
 * - the lists: each partial page in the list of its class, linked both ways; each idle page in the stack;
 * - each page is exactly one of current, partial, full and idle, and its record that of its class;
 * - each slot below EXTENDED is live, delayed or in the free list, and STATE and DELAYED count them; the others, and the
 *   link after the last, were never used; none that is live or delayed lies in an untouched unit, and none below EXTENDED does
 *   in a current page;
 * - the chunks of links, of pages and free ones, tile the table.
 *
 * @module
 */
import { CorruptionError } from "./errors.ts";
import type { LinkChunk } from "./link_table.ts";
import {
  CAPACITY,
  CLASS,
  CURRENT,
  DELAYED,
  DELAYED_LINK,
  EXTENDED,
  FREE_MASK,
  isLiveLink,
  LAST,
  LINKS,
  LIVE,
  NEXT,
  NO_PAGE,
  PARTIAL,
  PREV,
  SHAPE,
  shapeOf,
  SLACK_MASK,
  STATE,
  UNTOUCHED,
  ZERO_WORDS,
} from "./page_table.ts";
import { countUnits, extendedUnits, unusedUnits } from "./page_units.ts";
import { PAGE_RUN, PAGE_UNITS } from "./run_record.ts";
import { CLASS_COUNT, CLASS_GRANULES, CLASS_SLOTS, FIRST_ENTRY, GRANULE, LAST_ENTRY } from "./size_class.ts";
import { countLiveSlots } from "./slot_lookup.ts";
import type { SmallPages } from "./small_pages.ts";

/** What only the pages themselves know. */
export interface PageLists {
  /** The page on top of the stack of idle ones. */
  readonly firstIdle: number;
  /** How many idle pages there are. */
  readonly idleCount: number;
  /** The free chunks of links. */
  readonly freeChunks: readonly LinkChunk[];
  /** Where the chunks of links begin. */
  readonly linksStart: number;
  /** Where the chunks of links end. */
  readonly linksEnd: number;
}

/**
 * Verifies every page, slot and list. Time in the number of slots.
 *
 * @returns The count of delayed slots.
 * @throws {CorruptionError} When two records disagree.
 */
export function checkPages(small: SmallPages, lists: PageLists): number {
  checkHeader(small);
  const listed = partialPages(small);
  const idle = idlePages(small, lists, listed);
  const pages = small.range.pages;
  const chunks: LinkChunk[] = [...lists.freeChunks];
  let delayed = 0;
  let untouched = 0;
  const { runs, regions } = small.range;
  for (const { firstUnit, endUnit } of regions) {
    for (let unit = firstUnit; unit < endUnit; unit += runs.lengthAt(unit)) {
      if (runs.kindAt(unit) !== PAGE_RUN) continue;
      if (runs.lengthAt(unit) !== PAGE_UNITS || unit % PAGE_UNITS !== 0) throw corrupt(unit, "its run is no page");
      const isCurrent = small.current(pages[unit + CLASS]!) === unit;
      const isFull = pages[unit + STATE]! < 0;
      if (Number(listed.delete(unit)) + Number(idle.delete(unit)) + Number(isCurrent) + Number(isFull) !== 1) {
        throw corrupt(unit, "it is not exactly one of current, partial, full and idle");
      }
      checkPage(small, unit);
      checkUnits(small, unit, isCurrent);
      delayed += pages[unit + DELAYED]!;
      untouched += countUnits(pages[unit + UNTOUCHED]!);
      const start = pages[unit + LINKS]!;
      chunks.push({ start, end: start + pages[unit + CAPACITY]! + 1 });
    }
  }
  for (const page of [...listed, ...idle]) throw corrupt(page, "it is in a list and not a page");
  if (untouched !== small.untouchedUnits) {
    throw corrupt(NO_PAGE, `${untouched} units are untouched, ${small.untouchedUnits} are counted`);
  }
  checkChunks(chunks, lists);
  return delayed;
}

function checkHeader(small: SmallPages): void {
  const pages = small.range.pages;
  for (let word = 0; word < ZERO_WORDS; word++) {
    if (pages[word] !== 0) throw corrupt(NO_PAGE, `word ${word} of the page that there is not is ${pages[word]}`);
  }
  for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
    const current = small.current(sizeClass);
    if (current !== NO_PAGE && pages[current + CLASS] !== sizeClass) {
      throw corrupt(current, `it is current for class ${sizeClass}, and not of it`);
    }
    for (let entry = FIRST_ENTRY[sizeClass]!; entry <= LAST_ENTRY[sizeClass]!; entry++) {
      if (pages[CURRENT + entry]! - STATE === current) continue;
      throw corrupt(
        pages[CURRENT + entry]! - STATE,
        `it is current for some sizes, and not for all of class ${sizeClass}`,
      );
    }
  }
}

function partialPages(small: SmallPages): Set<number> {
  const pages = small.range.pages;
  const listed = new Set<number>();
  for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
    let prev = NO_PAGE;
    for (let page = pages[PARTIAL + sizeClass]!; page !== NO_PAGE; prev = page, page = pages[page + NEXT]!) {
      if (listed.has(page) || pages[page + CLASS] !== sizeClass || pages[page + PREV] !== prev) {
        throw corrupt(page, `it is wrongly linked among the partial pages of class ${sizeClass}`);
      }
      listed.add(page);
    }
    if (pages[LAST + sizeClass] !== prev) throw corrupt(prev, `it should be the last partial page of its class`);
  }
  return listed;
}

function idlePages(small: SmallPages, { firstIdle, idleCount }: PageLists, listed: Set<number>): Set<number> {
  const idle = new Set<number>();
  for (let page = firstIdle; page !== NO_PAGE; page = small.range.pages[page + NEXT]!) {
    if (idle.has(page) || listed.has(page)) throw corrupt(page, "it is twice among the idle and partial pages");
    idle.add(page);
  }
  if (idle.size !== idleCount) throw corrupt(firstIdle, `${idle.size} pages are idle, not ${idleCount}`);
  return idle;
}

function checkPage(small: SmallPages, page: number): void {
  const pages = small.range.pages;
  const links = small.links;
  const sizeClass = pages[page + CLASS]!;
  const capacity = pages[page + CAPACITY]!;
  const extended = pages[page + EXTENDED]!;
  const base = pages[page + LINKS]!;
  if (pages[page + SHAPE] !== shapeOf(CLASS_GRANULES[sizeClass]!) || capacity !== CLASS_SLOTS[sizeClass]) {
    throw corrupt(page, `its slots are not those of class ${sizeClass}`);
  }
  let live = 0;
  let delayed = 0;
  for (let slot = 0; slot <= capacity; slot++) {
    const link = links[base + slot]!;
    if (slot >= extended && link !== 0) {
      throw corrupt(page, `slot ${slot} is ${link < LIVE ? "linked" : "live"} and was never free`);
    }
    if (link === DELAYED_LINK) delayed++;
    if (!isLiveLink(link)) continue;
    if ((link & SLACK_MASK) > CLASS_GRANULES[sizeClass]! * GRANULE) {
      throw corrupt(page, `slot ${slot} has more slack than bytes`);
    }
    live++;
  }
  if (pages[page + DELAYED] !== delayed) {
    throw corrupt(page, `${delayed} slots are delayed, ${pages[page + DELAYED]} are counted`);
  }
  if (countLiveSlots(small, page) !== live) {
    throw corrupt(page, `${live} slots are live, ${countLiveSlots(small, page)} are counted`);
  }
  let free = 0;
  for (let link = pages[page + STATE]! & FREE_MASK; link !== 0; link = links[base + link - 1]!, free++) {
    if (link > extended || free > extended) throw corrupt(page, `its free list leaves the page at slot ${link - 1}`);
  }
  if (free + live + delayed !== extended) {
    throw corrupt(page, `${free} free, ${live} live and ${delayed} delayed slots are not ${extended}`);
  }
  if (pages[page + STATE]! < 0 && extended < capacity) throw corrupt(page, "it is full and has slots never used");
}

function checkUnits(small: SmallPages, page: number, isCurrent: boolean): void {
  const { pages } = small.range;
  const untouched = pages[page + UNTOUCHED]!;
  if (untouched >>> PAGE_UNITS !== 0) throw corrupt(page, `it has no units ${untouched.toString(2)}`);
  const written = isCurrent ? extendedUnits(pages, page) : ~unusedUnits(pages, small.links, page);
  const both = untouched & written;
  if (both === 0) return;
  const unit = 31 - Math.clz32(both);
  throw corrupt(
    page,
    `its unit ${unit} is untouched, and ${isCurrent ? "slots of its list lie" : "a live slot lies"} in it`,
  );
}

function checkChunks(chunks: LinkChunk[], { linksStart, linksEnd }: PageLists): void {
  chunks.sort((a, b) => a.start - b.start);
  const last = chunks.at(-1);
  if (last !== undefined && last.end > linksEnd) {
    throw corrupt(NO_PAGE, `the links from ${last.start} to ${last.end} leave the table`);
  }
  let at = linksStart;
  for (const { start, end } of chunks) {
    if (start < at) throw corrupt(NO_PAGE, `the links from ${start} to ${end} overlap others`);
    if (start > at) throw corrupt(NO_PAGE, `the links from ${at} to ${start} are of no page and not free`);
    at = end;
  }
  if (at < linksEnd) throw corrupt(NO_PAGE, `the links from ${at} to ${linksEnd} are of no page and not free`);
}

function corrupt(page: number, what: string): CorruptionError {
  const subject = page < 0 ? "the pages of small blocks" : `the page at unit ${page}`;
  return new CorruptionError(`Cannot trust ${subject}: ${what}`);
}
