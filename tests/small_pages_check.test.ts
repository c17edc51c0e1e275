/**
 * What `SmallPages.check()` finds in damaged tables of pages and links, to the bit. What it finds of units that were
 * given back is in page_units.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertThrows, fail } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError } from "../src/errors.ts";
import {
  CAPACITY,
  CLASS,
  CURRENT,
  EXTENDED,
  LAST,
  LINKS,
  liveLink,
  NEXT,
  NO_PAGE,
  ONE_USED,
  PARTIAL,
  PREV,
  SHAPE,
  STATE,
} from "../src/page_table.ts";
import { LARGE_RUN, PAGE_RUN } from "../src/run_record.ts";
import { CLASS_GRANULES, classFor, FIRST_ENTRY, GRANULE, LAST_ENTRY } from "../src/size_class.ts";
import { countLiveSlots } from "../src/slot_lookup.ts";
import type { SmallPages } from "../src/small_pages.ts";
import { checkPages, freeSlot, LAST_CLASS, LINK, makePages, pageOf, takeSlots } from "./support/small_pages.ts";

describe("SmallPages.check()", () => {
  const CLASS_13 = 13;

  /** Of the class of 16 KiB a full page, two partial ones, the current one, and one idle; of another class a current one. */
  function populated(): {
    pages: SmallPages;
    full: number;
    partial: number[];
    current: number;
    idle: number;
    other: number;
  } {
    const pages = makePages();
    const granules = takeSlots(pages, LAST_CLASS, 18);
    const numbers = [0, 4, 8, 12, 16].map((slot) => pageOf(granules[slot]!));
    for (const slot of [4, 8, 9, 12, 13, 14, 15]) freeSlot(pages, granules[slot]!);
    const other = pageOf(takeSlots(pages, CLASS_13, 25)[0]!);
    checkPages(pages);
    // The idle page went to the other class; make another.
    assertEquals(other, numbers[3]);
    const more = takeSlots(pages, LAST_CLASS, 6);
    for (const granule of more) freeSlot(pages, granule);
    const extra = takeSlots(pages, LAST_CLASS, 4 * 3);
    for (const granule of extra) freeSlot(pages, granule);
    checkPages(pages);
    const table = pages.range.pages;
    const partial: number[] = [];
    for (let page = table[PARTIAL + LAST_CLASS]!; page !== NO_PAGE; page = table[page + NEXT]!) partial.push(page);
    const all = new Set<number>();
    for (let unit = 0; unit < pages.range.endUnit; unit += pages.range.runs.lengthAt(unit)) {
      if (pages.range.runs.kindAt(unit) === PAGE_RUN) all.add(unit);
    }
    const full = [...all].find((page) => table[page + STATE]! < 0)!;
    const current = pages.current(LAST_CLASS);
    const idle = [...all].find((page) => countLiveSlots(pages, page) === 0 && page !== current)!;
    assert(full !== undefined && idle !== undefined && partial.length >= 2, "the pages are not as described");
    return { pages, full, partial, current, idle, other };
  }

  function assertFinds(pages: SmallPages, message: string): void {
    assertThrows(() => pages.check(), CorruptionError, message);
  }

  it("finds a page that is wrongly linked among the partial ones", () => {
    for (const field of [CLASS, PREV]) {
      const { pages, partial } = populated();
      const page = partial[1]!;
      pages.range.pages[page + field]! ^= 16;
      assertFinds(
        pages,
        `Cannot trust the page at unit ${page}: it is wrongly linked among the partial pages of class ${LAST_CLASS}`,
      );
    }
    const { pages, partial } = populated();
    pages.range.pages[partial[1]! + NEXT] = partial[0]!;
    assertFinds(pages, `it is wrongly linked among the partial pages of class ${LAST_CLASS}`);
  });

  it("finds a wrong last partial page", () => {
    const { pages, partial } = populated();
    pages.range.pages[LAST + LAST_CLASS] = partial[0]!;
    assertFinds(
      pages,
      `Cannot trust the page at unit ${partial.at(-1)}: it should be the last partial page of its class`,
    );
  });

  it("finds a page that is twice among the idle and partial ones", () => {
    const { pages, idle, partial } = populated();
    for (const next of [idle, partial[0]!]) {
      pages.range.pages[idle + NEXT] = next;
      assertFinds(pages, `Cannot trust the page at unit ${next}: it is twice among the idle and partial pages`);
    }
  });

  it("finds a wrong count of idle pages", () => {
    const { pages, current, idle } = populated();
    assertEquals(pages.range.pages[idle + NEXT], NO_PAGE);
    pages.range.pages[idle + NEXT] = current;
    pages.range.pages[current + NEXT] = NO_PAGE;
    assertFinds(pages, "2 pages are idle, not 1");
  });

  it("finds a run that is no page", () => {
    const { pages } = populated();
    const { range } = pages;
    const unit = range.take(3, 4096, PAGE_RUN);
    range.check();
    assertFinds(pages, `Cannot trust the page at unit ${unit}: its run is no page`);
  });

  it("finds a page that is in no state, or in two", () => {
    const { pages, full, partial } = populated();
    const table = pages.range.pages;
    const state = table[full + STATE]!;
    table[full + STATE] = 4 * ONE_USED;
    assertFinds(
      pages,
      `Cannot trust the page at unit ${full}: it is not exactly one of current, partial, full and idle`,
    );
    table[full + STATE] = state;
    pages.check();
    table[partial[0]! + STATE]! |= 1 << 31;
    assertFinds(pages, `Cannot trust the page at unit ${partial[0]}: it is not exactly one of`);
  });

  it("finds a page in a list that is no page", () => {
    const { pages, partial } = populated();
    const { range } = pages;
    const unit = range.take(16, 65_536, LARGE_RUN);
    const table = range.pages;
    table[unit + CLASS] = LAST_CLASS;
    table[unit + PREV] = partial.at(-1)!;
    table[unit + NEXT] = NO_PAGE;
    table[partial.at(-1)! + NEXT] = unit;
    table[LAST + LAST_CLASS] = unit;
    assertFinds(pages, `Cannot trust the page at unit ${unit}: it is in a list and not a page`);
  });

  it("finds links that overlap, or leave the table", () => {
    const { pages, other, full } = populated();
    const table = pages.range.pages;
    const links = table[other + LINKS]!;
    const count = table[other + CAPACITY]!;
    const { end } = populatedEnd(pages);
    // Moved with their contents, so that only the place is wrong.
    pages.links.copyWithin(end, links, links + count);
    table[other + LINKS] = end;
    assertFinds(pages, `the links from ${end} to ${end + count + 1} leave the table`);
    table[other + LINKS] = links;
    pages.links.fill(0, end, end + count);
    pages.check();
    const target = table[full + LINKS]!;
    const page = pages.current(LAST_CLASS);
    table[page + LINKS] = target;
    assertThrows(() => pages.check(), CorruptionError);
  });

  /** The end of the chunks: behind the last slot's link and the zero behind it. */
  function populatedEnd(pages: SmallPages): { end: number } {
    const table = pages.range.pages;
    let end = 0;
    for (let unit = 0; unit < pages.range.endUnit; unit += pages.range.runs.lengthAt(unit)) {
      if (pages.range.runs.kindAt(unit) !== PAGE_RUN) continue;
      end = Math.max(end, table[unit + LINKS]! + table[unit + CAPACITY]! + 1);
    }
    return { end };
  }

  /** Pages whose idle ones were given back: their links are in chunks that are free, here from the first in the list. */
  function withFreeChunks(): { pages: SmallPages; chunks: number[] } {
    const pages = makePages();
    const granules = takeSlots(pages, LAST_CLASS, 17);
    const chunks = [0, 4, 8].map((slot) => pages.range.pages[pageOf(granules[slot]!) + LINKS]!);
    for (const granule of granules) freeSlot(pages, granule);
    pages.releaseIdle(false);
    pages.check();
    assertEquals(pages.links[chunks[0]!], chunks[1], "the free chunks are not as described");
    return { pages, chunks };
  }

  it("finds links that are of no page and not free", () => {
    const { pages, chunks: [first, second] } = withFreeChunks();
    // The list ends early.
    pages.links[first!] = 0;
    assertFinds(pages, `the links from ${second} to `);
  });

  it("finds a free chunk of links that is not empty, or twice in the list", () => {
    const { pages, chunks: [first, second] } = withFreeChunks();
    pages.links[first! + 3] = LINK;
    assertFinds(pages, `Cannot trust the free chunk of links at ${first}: link 3 is used`);
    pages.links[first! + 3] = 0;
    pages.links[second!] = first!;
    assertFinds(pages, `Cannot trust the free chunk of links at ${first}: it is twice in the lists`);
  });

  it("finds a page that there is not that is written to", () => {
    const { pages } = populated();
    pages.range.pages[NO_PAGE + STATE] = 1;
    assertFinds(pages, "Cannot trust the pages of small blocks: word 0 of the page that there is not is 1");
  });

  it("finds slots that are not those of the class", () => {
    for (const field of [SHAPE, CAPACITY]) {
      const { pages, full } = populated();
      pages.range.pages[full + field]!++;
      assertFinds(pages, `Cannot trust the page at unit ${full}: its slots are not those of class ${LAST_CLASS}`);
    }
  });

  it("finds a live slot that was never free", () => {
    const { pages, other } = populated();
    const table = pages.range.pages;
    const slot = table[other + EXTENDED]!;
    pages.links[table[other + LINKS]! + slot] = LINK;
    assertFinds(pages, `Cannot trust the page at unit ${other}: slot ${slot} is live and was never free`);
  });

  it("finds a wrong count of live slots", () => {
    const { pages, other } = populated();
    pages.range.pages[other + STATE]! += ONE_USED;
    assertFinds(pages, `Cannot trust the page at unit ${other}: 25 slots are live, 26 are counted`);
  });

  it("finds a free list that leaves the page, or goes round", () => {
    const { pages, partial } = populated();
    const table = pages.range.pages;
    const page = partial[0]!;
    const first = (table[page + STATE]! & 4095) - 1;
    const index = table[page + LINKS]! + first;
    const link = pages.links[index]!;
    pages.links[index] = 5;
    assertFinds(pages, `Cannot trust the page at unit ${page}: its free list leaves the page at slot 4`);
    pages.links[index] = first + 1;
    assertFinds(pages, `Cannot trust the page at unit ${page}: its free list leaves the page at slot ${first}`);
    pages.links[index] = link;
    pages.check();
  });

  it("finds a slot that is lost", () => {
    const { pages, other } = populated();
    const table = pages.range.pages;
    const first = (table[other + STATE]! & 4095) - 1;
    pages.links[table[other + LINKS]! + first] = 0;
    const extended = table[other + EXTENDED]!;
    assertFinds(
      pages,
      `Cannot trust the page at unit ${other}: 1 free, 25 live and 0 delayed slots are not ${extended}`,
    );
  });

  it("finds a full page with slots that were never used", () => {
    const { pages, full } = populated();
    const table = pages.range.pages;
    pages.links[table[full + LINKS]! + 3] = 0;
    table[full + STATE] = table[full + STATE]! - ONE_USED;
    table[full + EXTENDED] = 3;
    assertFinds(pages, `Cannot trust the page at unit ${full}: it is full and has slots never used`);
  });

  it("finds every flipped bit of every field that means something", () => {
    const { pages, full, partial, current, idle, other } = populated();
    const table = pages.range.pages;
    const fields = { STATE, SHAPE, LINKS, CLASS, CAPACITY, EXTENDED, NEXT, PREV };
    const kinds = { full, partial: partial[0]!, last: partial.at(-1)!, current, idle, other };
    for (const [kind, page] of Object.entries(kinds)) {
      for (const [name, field] of Object.entries(fields)) {
        const isLinked = kind === "partial" || kind === "last";
        if (name === "PREV" && !isLinked) continue;
        if (name === "NEXT" && !isLinked && kind !== "idle") continue;
        for (let bit = 0; bit < 32; bit++) {
          table[page + field]! ^= 1 << bit;
          const found = finds(pages);
          table[page + field]! ^= 1 << bit;
          if (!found) fail(`bit ${bit} of ${name} of the ${kind} page was flipped, and nothing was found`);
        }
      }
    }
    for (const head of [PARTIAL, LAST]) {
      for (let bit = 0; bit < 32; bit++) {
        table[head + LAST_CLASS]! ^= 1 << bit;
        const found = finds(pages);
        table[head + LAST_CLASS]! ^= 1 << bit;
        if (!found) {
          fail(`bit ${bit} of the ${head === PARTIAL ? "first" : "last"} partial page was flipped, and nothing found`);
        }
      }
    }
    checkPages(pages);
  });

  it("finds a wrong entry of a class with several in the table of current pages", () => {
    const { pages, current } = populated();
    const table = pages.range.pages;
    // 15,361 to 15,872 bytes, and on to 16,384.
    assertEquals([FIRST_ENTRY[LAST_CLASS], LAST_ENTRY[LAST_CLASS]], [155, 156]);
    for (let entry = 155; entry <= 156; entry++) {
      const at = CURRENT + entry;
      assertEquals(table[at], current + STATE);
      table[at] = NO_PAGE + STATE;
      const found = finds(pages);
      table[at] = current + STATE;
      if (!found) fail(`entry ${entry} of the current pages was changed, and nothing was found`);
    }
  });

  it("finds a current page of another class, also where the class has one entry", () => {
    const { pages, current } = populated();
    const sizeClass = classFor(4096, 16);
    assertEquals(FIRST_ENTRY[sizeClass], LAST_ENTRY[sizeClass]);
    const at = CURRENT + LAST_ENTRY[sizeClass]!;
    assertEquals(pages.range.pages[at], NO_PAGE + STATE);
    pages.range.pages[at] = current + STATE;
    assertThrows(() => pages.check(), CorruptionError, "and not of it");
  });

  it("finds a live link that says more slack than its slot has", () => {
    const { pages, other } = populated();
    const base = pages.range.pages[other + LINKS]!;
    const slotSize = CLASS_GRANULES[CLASS_13]! * GRANULE;
    pages.links[base] = liveLink(16, slotSize + 1);
    assert(finds(pages), "nothing was found");
  });

  function finds(pages: SmallPages): boolean {
    try {
      pages.check();
    } catch (error) {
      if (error instanceof CorruptionError) return true;
      throw error;
    }
    return false;
  }
});
