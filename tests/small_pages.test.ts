/**
 * Pages of small blocks: their links, the life of a page, and its slots. What `check` finds is in
 * small_pages_check.test.ts, what goes back to the system in page_units.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, systemPageSource } from "../mod.ts";
import { CorruptionError } from "../src/errors.ts";
import {
  alignmentOfLink,
  EXTENDED,
  LAST,
  linkWithOwned,
  LIVE,
  liveLink,
  NO_PAGE,
  OWNED,
  PARTIAL,
  SLACK_MASK,
  STATE,
  UNTOUCHED,
} from "../src/page_table.ts";
import { RandomNumbers } from "../src/random_numbers.ts";
import { LARGE_RUN, PAGE_RUN } from "../src/run_record.ts";
import { CLASS_COUNT, CLASS_GRANULES, CLASS_SLOTS, classFor, GRANULE } from "../src/size_class.ts";
import { countLiveSlots, liveSlotsOf, slotAround, wasSlotLive } from "../src/slot_lookup.ts";
import { SmallPages } from "../src/small_pages.ts";
import { Prng } from "./support/prng.ts";
import { rangeOver } from "./support/ranges.ts";
import { checkPages, freeSlot, LAST_CLASS, LINK, makePages, pageOf, takeSlots } from "./support/small_pages.ts";

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
    const pages = makePages(CLASS_COUNT);
    for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
      const granules = takeSlots(pages, sizeClass, CLASS_SLOTS[sizeClass]!);
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
      checkPages(pages);
    }
  });

  it("a page goes from current to full to partial to idle, and is taken by another class", () => {
    const pages = makePages();
    const first = takeSlots(pages, LAST_CLASS, 4);
    const page = pageOf(first[0]!);
    assertEquals(pages.current(LAST_CLASS), page);
    const next = pages.allocate(LAST_CLASS, LINK);
    assert(pageOf(next) !== page, "a fifth slot is on another page");
    const table = pages.range.pages;
    assert(table[page + STATE]! < 0, "full");
    assertEquals(countLiveSlots(pages, page), 4);
    checkPages(pages);

    freeSlot(pages, first[2]!);
    assertEquals([table[PARTIAL + LAST_CLASS], table[LAST + LAST_CLASS]], [page, page]);
    assertEquals(countLiveSlots(pages, page), 3);
    checkPages(pages);

    for (const granule of [first[0]!, first[3]!, first[1]!]) freeSlot(pages, granule);
    assertEquals(table[PARTIAL + LAST_CLASS], NO_PAGE);
    assertEquals(countLiveSlots(pages, page), 0);
    assertEquals(pages.range.runs.kindAt(page), PAGE_RUN, "kept");
    checkPages(pages);

    const small = pages.allocate(0, LINK);
    assertEquals(pageOf(small), page, "the idle page serves the next class that needs one");
    assertEquals(pages.liveLink(first[1]!), 0);
    checkPages(pages);
  });

  it("partial pages are taken first in, first out", () => {
    const pages = makePages();
    const granules = takeSlots(pages, LAST_CLASS, 16);
    // The fourth page is current, with a free slot: so the others wait.
    for (const slot of [15, 5, 1, 9]) freeSlot(pages, granules[slot]!);
    checkPages(pages);
    assertEquals(takeSlots(pages, LAST_CLASS, 4), [15, 5, 1, 9].map((slot) => granules[slot]!));
    checkPages(pages);
  });

  it("a page that was full is current at once where the current one is used up", () => {
    const pages = makePages();
    const slots = takeSlots(pages, LAST_CLASS, 12);
    assertEquals(pages.current(LAST_CLASS), pageOf(slots[8]!));
    for (const slot of [5, 1, 10]) {
      freeSlot(pages, slots[slot]!);
      checkPages(pages);
      assertEquals(pages.current(LAST_CLASS), pageOf(slots[slot]!));
      assertEquals(pages.range.pages[PARTIAL + LAST_CLASS], NO_PAGE);
      assertEquals(takeSlots(pages, LAST_CLASS, 1), [slots[slot]!]);
    }
    // The current page has a free slot: the next page with one waits.
    for (const slot of [9, 2, 6]) freeSlot(pages, slots[slot]!);
    assertEquals(pages.current(LAST_CLASS), pageOf(slots[8]!));
    assertEquals(takeSlots(pages, LAST_CLASS, 3), [slots[9]!, slots[2]!, slots[6]!]);
    checkPages(pages);
  });

  it("a page that was full is current at once where the first that waits has seven free slots", () => {
    const pages = makePages();
    const sizeClass = classFor(1024, 16);
    const slots = takeSlots(pages, sizeClass, 192);
    for (const slot of [128, 0, 1, 2, 3, 4, 5, 6]) freeSlot(pages, slots[slot]!);
    assertEquals(takeSlots(pages, sizeClass, 1), [slots[128]!]);
    freeSlot(pages, slots[64]!);
    assertEquals(pages.current(sizeClass), pageOf(slots[64]!));
    checkPages(pages);
  });

  it("a page that was full waits where the first that waits has eight free slots", () => {
    const pages = makePages();
    const sizeClass = classFor(1024, 16);
    const slots = takeSlots(pages, sizeClass, 192);
    const isCurrent = (slot: number) => pages.current(sizeClass) === pageOf(slots[slot]!);
    assert(isCurrent(128));
    // One slot of the current page, so that what follows is in the list: eight of the first page.
    for (const slot of [128, 0, 1, 2, 3, 4, 5, 6, 7]) freeSlot(pages, slots[slot]!);
    assertEquals(takeSlots(pages, sizeClass, 1), [slots[128]!]);
    freeSlot(pages, slots[64]!);
    assert(isCurrent(128));
    assertEquals(takeSlots(pages, sizeClass, 1), [slots[7]!]);
    assert(isCurrent(0));
    checkPages(pages);
  });

  it("a page that was full waits where the current one has slots that were never used", () => {
    const pages = makePages();
    const sizeClass = classFor(1024, 16);
    const slots = takeSlots(pages, sizeClass, 68);
    freeSlot(pages, slots[0]!);
    assertEquals(pages.current(sizeClass), pageOf(slots[64]!));
    assertEquals(pages.range.pages[PARTIAL + sizeClass], pageOf(slots[0]!));
    checkPages(pages);
  });

  it("a page that was full waits where the order of slots is random", () => {
    const source = fixedPageSource(new ArrayBuffer(8 * 65_536));
    const pages = new SmallPages(source, rangeOver(source, 8 * 65_536, 8 * 65_536), new RandomNumbers(3));
    const slots = takeSlots(pages, LAST_CLASS, 8);
    const current = pages.current(LAST_CLASS);
    const other = slots.find((granule) => pageOf(granule) !== current)!;
    freeSlot(pages, other);
    assertEquals([pages.current(LAST_CLASS), pages.range.pages[PARTIAL + LAST_CLASS]], [current, pageOf(other)]);
    checkPages(pages);
  });

  it("memory is touched an OS page at a time: slots join the list 4 KiB by 4 KiB", () => {
    const pages = makePages();
    const sizeClass = classFor(64, 16);
    const page = pageOf(pages.allocate(sizeClass, LINK));
    const table = pages.range.pages;
    assertEquals(table[page + EXTENDED], 64);
    takeSlots(pages, sizeClass, 63);
    assertEquals(table[page + EXTENDED], 64);
    pages.allocate(sizeClass, LINK);
    assertEquals(table[page + EXTENDED], 128);
    checkPages(pages);
  });

  it("slots of a partial page are used again before slots that were never used, when they are 1 KiB or more", () => {
    const pages = makePages();
    const sizeClass = classFor(256, 16);
    const first = takeSlots(pages, sizeClass, 256);
    const current = pageOf(pages.allocate(sizeClass, LINK));
    takeSlots(pages, sizeClass, 15);
    const table = pages.range.pages;
    assertEquals([table[current + EXTENDED], countLiveSlots(pages, current)], [16, 16], "its list is empty");
    for (const granule of first.slice(100, 103)) freeSlot(pages, granule);
    assertEquals(pageOf(pages.allocate(sizeClass, LINK)), current, "three are not worth changing");
    takeSlots(pages, sizeClass, 15);
    freeSlot(pages, first[200]!);
    checkPages(pages);
    assertEquals(takeSlots(pages, sizeClass, 4), [200, 102, 101, 100].map((slot) => first[slot]!));
    checkPages(pages);
    assertEquals([table[PARTIAL + sizeClass], countLiveSlots(pages, current)], [current, 32], "it waits with the rest");
    // With nothing else left it goes on where it was.
    assertEquals(pageOf(pages.allocate(sizeClass, LINK)), current);
    assertEquals(table[current + EXTENDED], 48);
    checkPages(pages);
  });

  it("one free slot of a partial page waits while there are slots that were never used, however large it is", () => {
    const pages = makePages();
    const slots = takeSlots(pages, LAST_CLASS, 5);
    const current = pages.current(LAST_CLASS);
    freeSlot(pages, slots[2]!);
    assertEquals(pageOf(pages.allocate(LAST_CLASS, LINK)), current);
    freeSlot(pages, slots[1]!);
    assertEquals(takeSlots(pages, LAST_CLASS, 2), [slots[1]!, slots[2]!]);
    checkPages(pages);
  });

  it("a partial page whose list is empty lets those with free slots go first", () => {
    const pages = makePages();
    const sizeClass = classFor(256, 16);
    const [one, two] = [takeSlots(pages, sizeClass, 256), takeSlots(pages, sizeClass, 256)];
    const current = pageOf(takeSlots(pages, sizeClass, 16)[0]!);
    for (const granule of one.slice(0, 4)) freeSlot(pages, granule);
    assertEquals(pageOf(takeSlots(pages, sizeClass, 4)[0]!), pageOf(one[0]!));
    for (const granule of two.slice(0, 4)) freeSlot(pages, granule);
    assertEquals(pageOf(takeSlots(pages, sizeClass, 4)[3]!), pageOf(two[0]!));
    checkPages(pages);
    assertEquals(pages.range.pages[PARTIAL + sizeClass], current);
    assertEquals(pageOf(pages.allocate(sizeClass, LINK)), current);
    checkPages(pages);
  });

  it("knows how much of its pages was never written, and keeps that when they change their class or are released", () => {
    const pages = makePages(40);
    const sizeClass = classFor(64, 16);
    const granules = takeSlots(pages, sizeClass, 64 * 3);
    assertEquals([pages.untouchedUnits, pages.range.runs.writtenUnits], [13, 0]);
    takeSlots(pages, LAST_CLASS, 4);
    const [first] = takeSlots(pages, LAST_CLASS, 1);
    assertEquals(pages.untouchedUnits, 13 + 12, "one of 16 KiB was touched");
    freeSlot(pages, first!);
    checkPages(pages);
    for (const granule of granules) freeSlot(pages, granule);
    pages.releaseIdle(true);
    // The first page of 16 KiB slots is still in use; the second had one.
    assertEquals([pages.untouchedUnits, pages.range.runs.writtenUnits >= 3 + 4], [0, true]);
    checkPages(pages);
    takeSlots(pages, sizeClass, 1);
    assertEquals(pages.untouchedUnits, Math.min(pages.range.runs.freshUnits, 15));
    pages.range.pages[pages.current(sizeClass) + UNTOUCHED]! ^= 1 << 15;
    assertThrows(() => pages.check(), CorruptionError, "units are untouched");
  });

  it("empty current pages are given back before the range grows beyond what it ever had", () => {
    const source = systemPageSource();
    const pages = new SmallPages(source, rangeOver(source, 2 ** 28, 2 ** 24));
    const classes = Array.from({ length: CLASS_COUNT - 20 }, (_, i) => i + 20);
    const taken = classes.map((sizeClass) => takeSlots(pages, sizeClass, CLASS_SLOTS[sizeClass]! * 2));
    const kept = pages.allocate(0, LINK);
    for (const granules of taken) for (const granule of granules) freeSlot(pages, granule);
    const { range } = pages;
    assert(classes.every((sizeClass) => pages.current(sizeClass) !== NO_PAGE));
    range.take(2_000, 16, LARGE_RUN);
    assert(classes.every((sizeClass) => pages.current(sizeClass) !== NO_PAGE), "it has not grown yet");
    range.take(100, 16, LARGE_RUN);
    assertEquals(classes.filter((sizeClass) => pages.current(sizeClass) !== NO_PAGE), []);
    assertEquals([pages.idleUnits, range.runs.writtenUnits], [0, 0]);
    assert(pages.liveLink(kept) !== 0);
    checkPages(pages);
    pages.dispose();
    range.dispose((giveBack) => giveBack());
  });

  it("allocate() gives -1 when no page can be had, and works again afterwards", () => {
    const pages = makePages(1);
    const granules = takeSlots(pages, LAST_CLASS, 4);
    assertEquals(pages.allocate(LAST_CLASS, LINK), -1);
    assertEquals(pages.allocate(0, LINK), -1);
    checkPages(pages);
    for (const granule of granules) freeSlot(pages, granule);
    assert(pages.allocate(0, LINK) !== -1);
    checkPages(pages);
  });

  it("wasSlotLive() is true of slots that were in the free list, and of nothing else", () => {
    const pages = makePages();
    const sizeClass = classFor(48, 16);
    const granule = pages.allocate(sizeClass, LINK);
    freeSlot(pages, granule);
    assertEquals([0, 1, 2, 3].map((offset) => wasSlotLive(pages, granule + offset)), [true, false, false, true]);
    assertEquals(wasSlotLive(pages, granule + 4095), false);
    const large = pages.range.take(1, 16, LARGE_RUN);
    assertEquals([wasSlotLive(pages, large << 8), slotAround(pages, large << 8)], [false, -1]);
  });

  it("liveSlotsOf() lists the live slots of a page", () => {
    const pages = makePages();
    const granules = takeSlots(pages, 10, 5);
    freeSlot(pages, granules[1]!);
    freeSlot(pages, granules[3]!);
    assertEquals(liveSlotsOf(pages, pageOf(granules[0]!)), [granules[0]!, granules[2]!, granules[4]!]);
  });

  for (const seed of [1, 2, 3]) {
    it(`does what a set of granules does, check() after each of 1,500 steps, seed ${seed}`, () => {
      const pages = makePages(24);
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
          freeSlot(pages, granule);
          assertEquals(pages.liveLink(granule), 0);
        }
        if (random.chance(1)) pages.releaseIdle(random.chance(50));
        checkPages(pages);
      }
      for (const [granule, sizeClass] of live) {
        assertEquals(pages.slotSize(granule), CLASS_GRANULES[sizeClass]! * GRANULE);
      }
    });
  }
});
