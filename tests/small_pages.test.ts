/**
 * Pages of small blocks: the life of a page, its slots, and what `check` finds.
 *
 * @module
 */
import { assert, assertEquals, assertThrows, fail } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, fixedPageSource, type PageSource, systemPageSource } from "../mod.ts";
import { AddressRange } from "../src/address_range.ts";
import { CorruptionError } from "../src/errors.ts";
import {
  alignmentOfLink,
  CAPACITY,
  CLASS,
  CURRENT,
  EXTENDED,
  LAST,
  LINKS,
  linkWithOwned,
  LIVE,
  liveLink,
  NEXT,
  NO_PAGE,
  ONE_USED,
  OWNED,
  PARTIAL,
  PREV,
  SHAPE,
  SLACK_MASK,
  STATE,
  UNTOUCHED,
} from "../src/page_table.ts";
import { reserveRange } from "../src/region.ts";
import { LARGE_RUN, PAGE_RUN } from "../src/runs.ts";
import { CLASS_COUNT, CLASS_GRANULES, CLASS_SLOTS, classFor, GRANULE } from "../src/size_class.ts";
import { countLiveSlots, liveSlotsOf, slotAround, wasSlotLive } from "../src/slot_lookup.ts";
import { SmallPages } from "../src/small_pages.ts";
import { Prng } from "./support/prng.ts";

const LINK = liveLink(16, 0);
/** The class of 16 KiB: four slots a page. */
const LAST_CLASS = CLASS_COUNT - 1;

/** A range of at least `least` bytes. */
function rangeOver(source: PageSource, byteLength: number, least: number): AddressRange {
  return new AddressRange(source, reserveRange(source, byteLength, least));
}

/** Pages over a fixed buffer of `count` pages. */
function make(count = 16): SmallPages {
  const byteLength = count * 65_536;
  const source = fixedPageSource(new ArrayBuffer(byteLength));
  return new SmallPages(source, rangeOver(source, byteLength, byteLength));
}

/** Verifies both layers. */
function check(pages: SmallPages): void {
  pages.range.check();
  pages.check();
}

/** Allocates slots of a class; their granules. */
function take(pages: SmallPages, sizeClass: number, count: number): number[] {
  return Array.from({ length: count }, () => pages.allocate(sizeClass, LINK));
}

function free(pages: SmallPages, granule: number): void {
  const index = pages.liveLink(granule);
  assert(index !== 0, `granule ${granule} is not live`);
  pages.free(granule, index);
}

/** The page of a granule. */
function pageOf(granule: number): number {
  return (granule >>> 8) & -16;
}

describe("links", () => {
  it("say alignment, slack and owner", () => {
    for (let alignment = 16; alignment <= 1024; alignment *= 2) {
      for (const slack of [0, 1, 4095]) {
        const link = liveLink(alignment, slack);
        assert(link >= LIVE && link < OWNED);
        assertEquals([alignmentOfLink(link), link & SLACK_MASK], [alignment, slack]);
        const owned = linkWithOwned(link, true);
        assert(owned >= OWNED && owned <= 0xffff);
        assertEquals([alignmentOfLink(owned), owned & SLACK_MASK], [alignment, slack]);
        assertEquals([linkWithOwned(owned, true), linkWithOwned(owned, false), linkWithOwned(link, false)], [
          owned,
          link,
          link,
        ]);
      }
    }
  });
});

describe("SmallPages", () => {
  it("every slot of every class is found, and nothing between", () => {
    const pages = make(CLASS_COUNT);
    for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
      const granules = take(pages, sizeClass, CLASS_SLOTS[sizeClass]!);
      const page = pageOf(granules[0]!);
      const size = CLASS_GRANULES[sizeClass]!;
      assertEquals(granules, granules.map((_, slot) => (page << 8) + slot * size), `class ${sizeClass}`);
      const live = new Set(granules);
      for (let offset = 0; offset < 4096; offset++) {
        const granule = (page << 8) + offset;
        assertEquals(pages.liveLink(granule) !== 0, live.has(granule), `class ${sizeClass} at ${offset}`);
        const around = (page << 8) + Math.floor(offset / size) * size;
        assertEquals(slotAround(pages, granule), live.has(around) ? around : -1);
      }
      assertEquals([pages.slotSize(page << 8), countLiveSlots(pages, page)], [size * GRANULE, granules.length]);
      check(pages);
    }
  });

  it("a page goes from current to full to partial to idle, and is taken by another class", () => {
    const pages = make();
    const first = take(pages, LAST_CLASS, 4);
    const page = pageOf(first[0]!);
    assertEquals(pages.current(LAST_CLASS), page);
    const next = pages.allocate(LAST_CLASS, LINK);
    assert(pageOf(next) !== page, "a fifth slot is on another page");
    const table = pages.range.pages;
    assert(table[page + STATE]! < 0, "full");
    assertEquals(countLiveSlots(pages, page), 4);
    check(pages);

    free(pages, first[2]!);
    assertEquals([table[PARTIAL + LAST_CLASS], table[LAST + LAST_CLASS]], [page, page]);
    assertEquals(countLiveSlots(pages, page), 3);
    check(pages);

    for (const granule of [first[0]!, first[3]!, first[1]!]) free(pages, granule);
    assertEquals(table[PARTIAL + LAST_CLASS], NO_PAGE);
    assertEquals(countLiveSlots(pages, page), 0);
    assertEquals(pages.range.runs.kindAt(page), PAGE_RUN, "kept");
    check(pages);

    const small = pages.allocate(0, LINK);
    assertEquals(pageOf(small), page, "the idle page serves the next class that needs one");
    assertEquals(pages.liveLink(first[1]!), 0);
    check(pages);
  });

  it("an idle page is taken as it is by its own class", () => {
    const pages = make();
    const first = take(pages, LAST_CLASS, 5);
    for (const granule of [1, 0, 2, 3]) free(pages, first[granule]!);
    take(pages, LAST_CLASS, 3);
    const again = take(pages, LAST_CLASS, 4);
    assertEquals(again.toSorted((a, b) => a - b), first.slice(0, 4));
    check(pages);
  });

  it("partial pages are taken first in, first out", () => {
    const pages = make();
    const granules = take(pages, LAST_CLASS, 16);
    for (const slot of [5, 1, 9]) free(pages, granules[slot]!);
    check(pages);
    // The fourth page is current, and full.
    assertEquals(take(pages, LAST_CLASS, 3), [5, 1, 9].map((slot) => granules[slot]!));
    check(pages);
  });

  it("memory is touched an OS page at a time: slots join the list 4 KiB by 4 KiB", () => {
    const pages = make();
    const sizeClass = classFor(64, 16);
    const page = pageOf(pages.allocate(sizeClass, LINK));
    const table = pages.range.pages;
    assertEquals(table[page + EXTENDED], 64);
    take(pages, sizeClass, 63);
    assertEquals(table[page + EXTENDED], 64);
    pages.allocate(sizeClass, LINK);
    assertEquals(table[page + EXTENDED], 128);
    check(pages);
  });

  it("slots of a partial page are used again before slots that were never used, when they are 1 KiB or more", () => {
    const pages = make();
    const sizeClass = classFor(256, 16);
    const first = take(pages, sizeClass, 256);
    const current = pageOf(pages.allocate(sizeClass, LINK));
    take(pages, sizeClass, 15);
    const table = pages.range.pages;
    assertEquals([table[current + EXTENDED], countLiveSlots(pages, current)], [16, 16], "its list is empty");
    for (const granule of first.slice(100, 103)) free(pages, granule);
    assertEquals(pageOf(pages.allocate(sizeClass, LINK)), current, "three are not worth changing");
    take(pages, sizeClass, 15);
    free(pages, first[200]!);
    check(pages);
    assertEquals(take(pages, sizeClass, 4), [200, 102, 101, 100].map((slot) => first[slot]!));
    check(pages);
    assertEquals([table[PARTIAL + sizeClass], countLiveSlots(pages, current)], [current, 32], "it waits with the rest");
    // With nothing else left it goes on where it was.
    assertEquals(pageOf(pages.allocate(sizeClass, LINK)), current);
    assertEquals(table[current + EXTENDED], 48);
    check(pages);
  });

  it("a partial page whose list is empty lets those with free slots go first", () => {
    const pages = make();
    const sizeClass = classFor(256, 16);
    const [one, two] = [take(pages, sizeClass, 256), take(pages, sizeClass, 256)];
    const current = pageOf(take(pages, sizeClass, 16)[0]!);
    for (const granule of one.slice(0, 4)) free(pages, granule);
    assertEquals(pageOf(take(pages, sizeClass, 4)[0]!), pageOf(one[0]!));
    for (const granule of two.slice(0, 4)) free(pages, granule);
    assertEquals(pageOf(take(pages, sizeClass, 4)[3]!), pageOf(two[0]!));
    check(pages);
    assertEquals(pages.range.pages[PARTIAL + sizeClass], current);
    assertEquals(pageOf(pages.allocate(sizeClass, LINK)), current);
    check(pages);
  });

  it("knows how much of its pages was never written, and keeps that when they change their class or are released", () => {
    const pages = make(40);
    const sizeClass = classFor(64, 16);
    const granules = take(pages, sizeClass, 64 * 3);
    assertEquals([pages.untouchedUnits, pages.range.runs.writtenUnits], [13, 0]);
    take(pages, LAST_CLASS, 4);
    const [first] = take(pages, LAST_CLASS, 1);
    assertEquals(pages.untouchedUnits, 13 + 12, "one of 16 KiB was touched");
    free(pages, first!);
    check(pages);
    for (const granule of granules) free(pages, granule);
    pages.releaseIdle(true);
    // The first page of 16 KiB slots is still in use; the second had one.
    assertEquals([pages.untouchedUnits, pages.range.runs.writtenUnits >= 3 + 4], [0, true]);
    check(pages);
    take(pages, sizeClass, 1);
    assertEquals(pages.untouchedUnits, Math.min(pages.range.runs.freshUnits, 15));
    pages.range.pages[pages.current(sizeClass) + UNTOUCHED]! ^= 1 << 15;
    assertThrows(() => pages.check(), CorruptionError, "units are untouched");
  });

  it("four idle pages are kept; more go back to the runs", () => {
    const pages = make(40);
    const granules = take(pages, LAST_CLASS, 4 * 30);
    const freeUnits = pages.range.runs.freeUnits;
    for (const granule of granules) free(pages, granule);
    // The thirtieth page is current; four are idle.
    assertEquals(pages.range.runs.freeUnits - freeUnits, (30 - 1 - 4) * 16);
    check(pages);
  });

  it("empty current pages are given back before the range grows beyond what it ever had", () => {
    const source = systemPageSource();
    const pages = new SmallPages(source, rangeOver(source, 2 ** 28, 2 ** 24));
    const classes = Array.from({ length: CLASS_COUNT - 20 }, (_, i) => i + 20);
    const taken = classes.map((sizeClass) => take(pages, sizeClass, CLASS_SLOTS[sizeClass]! * 2));
    const kept = pages.allocate(0, LINK);
    for (const granules of taken) for (const granule of granules) free(pages, granule);
    const { range } = pages;
    assert(classes.every((sizeClass) => pages.current(sizeClass) !== NO_PAGE));
    range.take(2_000, 16, LARGE_RUN);
    assert(classes.every((sizeClass) => pages.current(sizeClass) !== NO_PAGE), "it has not grown yet");
    range.take(100, 16, LARGE_RUN);
    assertEquals(classes.filter((sizeClass) => pages.current(sizeClass) !== NO_PAGE), []);
    assertEquals([pages.idleUnits, range.runs.writtenUnits], [0, 0]);
    assert(pages.liveLink(kept) !== 0);
    check(pages);
    pages.dispose();
    range.dispose((giveBack) => giveBack());
  });

  it("releaseIdle() gives idle pages, and with `all` empty current ones, back to the runs", () => {
    const pages = make();
    const granules = take(pages, LAST_CLASS, 5);
    const kept = pages.allocate(3, LINK);
    for (const granule of granules) free(pages, granule);
    const { runs } = pages.range;
    const before = runs.freeUnits;
    pages.releaseIdle(false);
    assertEquals(runs.freeUnits - before, 16);
    check(pages);
    pages.releaseIdle(true);
    assertEquals(runs.freeUnits - before, 32);
    assertEquals(pages.current(LAST_CLASS), NO_PAGE);
    check(pages);
    assert(pages.liveLink(kept) !== 0);
    assertEquals(pages.allocate(LAST_CLASS, LINK) !== -1, true);
    check(pages);
  });

  it("allocate() gives -1 when no page can be had, and works again afterwards", () => {
    const pages = make(1);
    const granules = take(pages, LAST_CLASS, 4);
    assertEquals(pages.allocate(LAST_CLASS, LINK), -1);
    assertEquals(pages.allocate(0, LINK), -1);
    check(pages);
    for (const granule of granules) free(pages, granule);
    assert(pages.allocate(0, LINK) !== -1);
    check(pages);
  });

  it("allocate() gives -1 when the links of a page cannot be had, and the page goes back", () => {
    const inner = fixedPageSource(new ArrayBuffer(2 ** 24));
    // Lazy, so that tables are mappings too, which can fail.
    const source = failingPageSource({ ...inner, lazy: true }, Infinity, { operations: ["commit"] });
    const pages = new SmallPages(source, rangeOver(source, 2 ** 20, 2 ** 20));
    pages.allocate(LAST_CLASS, LINK);
    const before = pages.range.runs.freeUnits;
    source.rearm(0);
    assertEquals(pages.allocate(0, LINK), -1);
    assertEquals(pages.range.runs.freeUnits, before);
    assert(pages.range.failure !== undefined);
    check(pages);
    source.rearm(Infinity);
    assert(pages.allocate(0, LINK) !== -1);
    check(pages);
  });

  it("what is no OutOfMemoryError of the table of links goes through, and the page goes back", () => {
    const inner = fixedPageSource(new ArrayBuffer(2 ** 24));
    let wrong = false;
    const source = {
      ...inner,
      lazy: true,
      commit(address: number, byteLength: number): void {
        if (wrong) throw new EvalError("odd");
        inner.commit(address, byteLength);
      },
    };
    const pages = new SmallPages(source, rangeOver(source, 2 ** 20, 2 ** 20));
    pages.allocate(LAST_CLASS, LINK);
    const before = pages.range.runs.freeUnits;
    wrong = true;
    assertThrows(() => pages.allocate(0, LINK), EvalError, "odd");
    wrong = false;
    assertEquals(pages.range.runs.freeUnits, before);
    check(pages);
  });

  it("wasLive() is true of slots that were in the free list, and of nothing else", () => {
    const pages = make();
    const sizeClass = classFor(48, 16);
    const granule = pages.allocate(sizeClass, LINK);
    free(pages, granule);
    assertEquals([0, 1, 2, 3].map((offset) => wasSlotLive(pages, granule + offset)), [true, false, false, true]);
    assertEquals(wasSlotLive(pages, granule + 4095), false);
    const large = pages.range.take(1, 16, LARGE_RUN);
    assertEquals([wasSlotLive(pages, large << 8), slotAround(pages, large << 8)], [false, -1]);
  });

  it("liveSlotsOf() lists the live slots of a page", () => {
    const pages = make();
    const granules = take(pages, 10, 5);
    free(pages, granules[1]!);
    free(pages, granules[3]!);
    assertEquals(liveSlotsOf(pages, pageOf(granules[0]!)), [granules[0]!, granules[2]!, granules[4]!]);
  });

  for (const seed of [1, 2, 3]) {
    it(`does what a set of granules does, check() after each of 1,500 steps, seed ${seed}`, () => {
      const pages = make(24);
      const random = new Prng(seed);
      const live = new Map<number, number>();
      for (let step = 0; step < 1500; step++) {
        if (random.chance(step % 500 < 300 ? 65 : 25) || live.size === 0) {
          const sizeClass = random.chance(70) ? random.between(28, LAST_CLASS) : random.below(CLASS_COUNT);
          const granule = pages.allocate(sizeClass, LINK);
          if (granule === -1) continue;
          for (let at = granule; at < granule + CLASS_GRANULES[sizeClass]!; at++) {
            assert(!live.has(at), `step ${step}`);
          }
          live.set(granule, sizeClass);
        } else {
          const granule = [...live.keys()][random.below(live.size)]!;
          live.delete(granule);
          free(pages, granule);
          assertEquals(pages.liveLink(granule), 0);
        }
        if (random.chance(1)) pages.releaseIdle(random.chance(50));
        check(pages);
      }
      for (const [granule, sizeClass] of live) {
        assertEquals(pages.slotSize(granule), CLASS_GRANULES[sizeClass]! * GRANULE);
      }
    });
  }
});

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
    const pages = make();
    const granules = take(pages, LAST_CLASS, 18);
    const numbers = [0, 4, 8, 12, 16].map((slot) => pageOf(granules[slot]!));
    for (const slot of [4, 8, 9, 12, 13, 14, 15]) free(pages, granules[slot]!);
    const other = pageOf(take(pages, CLASS_13, 25)[0]!);
    check(pages);
    // The idle page went to the other class; make another.
    assertEquals(other, numbers[3]);
    const more = take(pages, LAST_CLASS, 6);
    for (const granule of more) free(pages, granule);
    const extra = take(pages, LAST_CLASS, 4 * 3);
    for (const granule of extra) free(pages, granule);
    check(pages);
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
    const pages = make();
    const granules = take(pages, LAST_CLASS, 16);
    const chunks = [0, 4, 8].map((slot) => pages.range.pages[pageOf(granules[slot]!) + LINKS]!);
    for (const granule of granules) free(pages, granule);
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
    check(pages);
  });

  it("finds a wrong entry of any size in the table of current pages", () => {
    const { pages, current } = populated();
    const table = pages.range.pages;
    // 15,361 to 16,384 bytes: the entries of one class.
    for (let granules = 961; granules <= 1024; granules++) {
      const at = CURRENT + granules;
      assertEquals(table[at], current + STATE);
      table[at] = NO_PAGE + STATE;
      const found = finds(pages);
      table[at] = current + STATE;
      if (!found) fail(`the current page for ${granules} granules was changed, and nothing was found`);
    }
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
