/**
 * Units of pages that hold nothing live: which they are, that they go back and nothing else does, and what is noted of
 * it. What a heap does with them is in heap_page_units.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { OutOfMemoryError } from "../mod.ts";
import { CorruptionError } from "../src/errors.ts";
import { EXTENDED, LINKS, LIVE, LOOKED, NO_PAGE, STATE, UNTOUCHED } from "../src/page_table.ts";
import {
  countUnits,
  firstStretch,
  firstUnit,
  inSteps,
  longestStretch,
  unitsOf,
  unusedUnits,
  wholeSteps,
} from "../src/page_units.ts";
import { CLASS_COUNT, CLASS_GRANULES, CLASS_SLOTS, classFor } from "../src/size_class.ts";
import type { SmallPages } from "../src/small_pages.ts";
import { Prng } from "./support/prng.ts";
import { checkPages, freeSlot, LINK, makePages, pageOf, takeSlots } from "./support/small_pages.ts";

/** The stretches of `step` units and more, as the first unit and the one after the last. */
function stretches(units: number, step: number): { readonly from: number; readonly to: number }[] {
  const found: { readonly from: number; readonly to: number }[] = [];
  let left = wholeSteps(units, step);
  for (let next = firstStretch(left); next !== 0; next = firstStretch(left)) {
    found.push({ from: firstUnit(next), to: firstUnit(next) + countUnits(next) });
    left -= next;
  }
  return found;
}

/** What goes back of the pages now: the units. */
function discarded(pages: SmallPages, step = 1): number[] {
  const units: number[] = [];
  pages.discardUnused((unit, count) => units.push(...Array.from({ length: count }, (_, i) => unit + i)), step);
  checkPages(pages);
  return units;
}

/** A full page of slots of `size` bytes that is not current, and the granules of its slots. */
function fullPage(pages: SmallPages, size: number): { readonly page: number; readonly slots: number[] } {
  const sizeClass = classFor(size, 16);
  const slots = takeSlots(pages, sizeClass, CLASS_SLOTS[sizeClass]!);
  pages.allocate(sizeClass, LINK);
  return { page: pageOf(slots[0]!), slots };
}

describe("units of a page", () => {
  it("are counted", () => {
    for (let units = 0; units < 2 ** 16; units++) {
      const count = units.toString(2).replaceAll("0", "").length;
      if (countUnits(units) !== count) assertEquals(countUnits(units), count, units.toString(2));
    }
  });

  it("form stretches of multiples of an OS page", () => {
    const units = 0b1111_1110_0001_1100;
    assertEquals(stretches(units, 1), [{ from: 2, to: 5 }, { from: 9, to: 16 }]);
    assertEquals(stretches(units, 2), [{ from: 2, to: 4 }, { from: 10, to: 16 }]);
    assertEquals(stretches(units, 4), [{ from: 12, to: 16 }]);
    assertEquals([stretches(units, 16), stretches(0xffff, 16)], [[], [{ from: 0, to: 16 }]]);
    const wholes = [1, 2, 4, 8, 16, 32].map((step) => inSteps(0b0001_0000_0010_0000, step));
    assertEquals(wholes, [0x1020, 0x3030, 0xf0f0, 0xffff, 0xffff, 0xffff]);
    assertEquals([inSteps(0, 4), inSteps(0, 16)], [0, 0]);
    assertEquals([stretches(0xffff, 32), stretches(0, 1)], [[], []]);
    for (const seed of [1, 2, 3]) {
      const random = new Prng(seed);
      for (let round = 0; round < 300; round++) {
        const units = random.below(2 ** 16);
        const found = stretches(units, 1);
        const sum = found.reduce((sum, { from, to }) => sum | unitsOf(from, to), 0);
        assertEquals(sum, units, `seed ${seed}`);
        const longest = longestStretch(units);
        assertEquals(countUnits(longest), Math.max(0, ...found.map(({ from, to }) => to - from)), `seed ${seed}`);
        assertEquals(longest & ~units, 0);
      }
    }
    assertEquals(longestStretch(0), 0);
    assertEquals(longestStretch(0b0111_0111), 0b0111_0000);
  });

  for (const seed of [1, 2]) {
    it(`are unused when no live or delayed slot reaches into them, for every class, seed ${seed}`, () => {
      const random = new Prng(seed);
      const pages = makePages(CLASS_COUNT * 2);
      for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
        const granules = CLASS_GRANULES[sizeClass]!;
        const { page, slots } = fullPage(pages, granules * 16);
        const kept = slots.filter((granule) => {
          if (random.chance(300 / slots.length)) return true;
          freeSlot(pages, granule);
          return false;
        });
        for (const granule of kept) if (random.chance(50)) pages.delay(granule, pages.liveLink(granule));
        let unused = 0xffff;
        for (const granule of kept) {
          for (let at = granule; at < granule + granules; at++) unused &= ~(1 << ((at >>> 8) & 15));
        }
        const what = `class ${sizeClass}, kept ${kept}`;
        if (pages.range.pages[page + LINKS] === 0) assertEquals(kept, [], what);
        else assertEquals(unusedUnits(pages.range.pages, pages.links, page), unused, what);
      }
      checkPages(pages);
    });
  }
});

describe("SmallPages.discardUnused()", () => {
  it("gives back what is between the live slots of partial pages, once", () => {
    const pages = makePages();
    const { page, slots } = fullPage(pages, 1024);
    assertEquals(discarded(pages), [], "a full page");
    // 64 slots, 4 a unit: those of units 0, 1 (its last) and 5 stay.
    for (const [slot, granule] of slots.entries()) if (![0, 7, 20].includes(slot)) freeSlot(pages, granule);
    const untouched = pages.untouchedUnits;
    assertEquals(discarded(pages), [2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].map((unit) => page + unit));
    assertEquals(pages.untouchedUnits - untouched, 13);
    assertEquals(discarded(pages), [], "nothing was freed since");
    freeSlot(pages, slots[7]!);
    assertEquals(discarded(pages), [page + 1]);
    assertEquals(pages.range.pages[page + UNTOUCHED], 0xffff & ~0b10_0001);
  });

  it("leaves idle and full pages alone, and makes a current one partial first", () => {
    const pages = makePages();
    const sizeClass = classFor(16_384, 16);
    const slots = takeSlots(pages, sizeClass, 12);
    for (const slot of [9, 10, 1, 2, 3]) freeSlot(pages, slots[slot]!);
    assertEquals(pages.current(sizeClass), pageOf(slots[8]!));
    // The second page is full, the third current: it goes to the end of the list.
    const units = (slot: number, count: number) => Array.from({ length: count }, (_, i) => (slots[slot]! >>> 8) + i);
    assertEquals(discarded(pages), [...units(1, 12), ...units(9, 8)]);
    assertEquals(pages.current(sizeClass), NO_PAGE);
    freeSlot(pages, slots[0]!);
    assert(pages.idleUnits > 0);
    assertEquals(discarded(pages), []);
    assertEquals(
      takeSlots(pages, sizeClass, 2).sort(),
      [slots[9]!, slots[10]!].sort(),
    );
    checkPages(pages);
  });

  it("leaves a current page alone that is empty, whose slots are all live, or that has nothing to give", () => {
    const pages = makePages();
    // Five slots of 12 KiB leave a unit that none reaches; it was written as another class's.
    const [sizeClass, other] = [classFor(12_288, 16), classFor(16_384, 16)];
    const written = takeSlots(pages, other, 5);
    for (const granule of written) freeSlot(pages, granule);
    const empty = pages.current(other);
    const slots = takeSlots(pages, sizeClass, 5);
    const page = pages.current(sizeClass);
    assertEquals([page, pages.range.pages[page + UNTOUCHED]], [pageOf(written[0]!), 0]);
    assertEquals(discarded(pages), []);
    assertEquals([pages.current(sizeClass), pages.current(other)], [page, empty]);
    freeSlot(pages, slots[4]!);
    assertEquals(discarded(pages), [12, 13, 14, 15].map((unit) => page + unit));
    assertEquals(pages.current(sizeClass), NO_PAGE);
    assertEquals(pages.allocate(sizeClass, LINK), slots[4]!);
    assertEquals(discarded(pages), [], "only what no slot reaches is left");
  });

  it("a slot that straddles two units keeps both, and slots that were never used go back where they were written before", () => {
    const pages = makePages(4);
    // The whole of a page is written as that of another class.
    const other = classFor(16_384, 16);
    const written = takeSlots(pages, other, 4);
    pages.allocate(other, LINK);
    for (const granule of written) freeSlot(pages, granule);
    const sizeClass = classFor(3584, 16);
    const first = pages.allocate(sizeClass, LINK);
    assertEquals(pageOf(first), pageOf(written[0]!));
    assertEquals(pages.range.pages[pageOf(first) + UNTOUCHED], 0);
    const slots = [first, ...takeSlots(pages, sizeClass, 17)];
    assert(pages.allocate(sizeClass, LINK) !== -1);
    for (const [slot, granule] of slots.entries()) if (slot !== 3) freeSlot(pages, granule);
    // Slot 3 is from byte 10,752 to 14,336.
    assertEquals(
      discarded(pages),
      [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].map((unit) => pageOf(first) + unit),
    );
  });

  it("delayed slots are not given back until they are free", () => {
    const pages = makePages();
    const { page, slots } = fullPage(pages, 4096);
    for (const granule of slots.slice(2)) pages.delay(granule, pages.liveLink(granule));
    freeSlot(pages, slots[1]!);
    assertEquals(discarded(pages), [page + 1]);
    for (const granule of slots.slice(8)) pages.freeDelayed(granule);
    assertEquals(discarded(pages), [8, 9, 10, 11, 12, 13, 14, 15].map((unit) => page + unit));
    freeSlot(pages, slots[0]!);
    for (const granule of slots.slice(2, 8)) pages.freeDelayed(granule);
    checkPages(pages);
  });

  it("whole OS pages only", () => {
    const pages = makePages();
    const { page, slots } = fullPage(pages, 1024);
    for (const [slot, granule] of slots.entries()) if (![0, 20].includes(slot)) freeSlot(pages, granule);
    assertEquals(discarded(pages, 16), []);
    assertEquals(discarded(pages, 32), []);
    const [table, looked] = [pages.range.pages, page + LOOKED];
    for (const [step, units] of [[4, [8, 9, 10, 11, 12, 13, 14, 15]], [2, [2, 3, 6, 7]], [1, [1, 4]]] as const) {
      table[looked] = 0;
      assertEquals(discarded(pages, step), units.map((unit) => page + unit), `${step} units an OS page`);
      assertEquals(discarded(pages), [], "nothing was freed since it was looked at");
    }
  });

  it("an OS page of which some units were never written goes back as a whole", () => {
    for (const [step, units] of [[1, [4]], [2, [4, 5]], [4, [4, 5, 6, 7]], [8, []]] as const) {
      const pages = makePages();
      // The list of the current page ends with unit 4.
      const slots = takeSlots(pages, classFor(1024, 16), 20);
      for (const granule of slots.slice(16)) freeSlot(pages, granule);
      const page = pageOf(slots[0]!);
      assertEquals(discarded(pages, step), units.map((unit) => page + unit), `${step} units an OS page`);
      assertEquals(discarded(pages, step), [], "once");
      assertEquals(pages.untouchedUnits, units.length > 0 ? 12 : 11);
    }
  });

  it("what is taken from again counts as written, and may go back once more", () => {
    const pages = makePages();
    const sizeClass = classFor(1024, 16);
    const { page, slots } = fullPage(pages, 1024);
    for (const granule of slots.slice(1)) freeSlot(pages, granule);
    const before = pages.untouchedUnits;
    assertEquals(discarded(pages).length, 15);
    // The current page has three slots in its list, then the partial one is the next.
    const taken = takeSlots(pages, sizeClass, 4);
    assertEquals([pages.current(sizeClass), pageOf(taken[3]!)], [page, page]);
    assertEquals([pages.untouchedUnits, pages.range.pages[page + UNTOUCHED]], [before, 0]);
    checkPages(pages);
    while (pages.current(sizeClass) === page) taken.push(pages.allocate(sizeClass, LINK));
    assertEquals(discarded(pages).length, 0, "it is full");
    for (const granule of taken) if (pageOf(granule) === page) freeSlot(pages, granule);
    assertEquals(discarded(pages).length, 15);
  });

  it("a page that is released tells the runs the longest stretch of what it gave back", () => {
    const pages = makePages();
    const sizeClass = classFor(4096, 16);
    const { page, slots } = fullPage(pages, 4096);
    for (const slot of [1, 4, 5, 6, 7, 12, 13, 14]) freeSlot(pages, slots[slot]!);
    assertEquals(discarded(pages).length, 8);
    for (const slot of [0, 2, 3, 8, 9, 10, 11, 15]) freeSlot(pages, slots[slot]!);
    const { runs } = pages.range;
    const [written, untouched] = [runs.writtenUnits, pages.untouchedUnits];
    pages.releaseIdle(false);
    checkPages(pages);
    // The run after it is the current page.
    assertEquals([runs.writtenUnits - written, pages.untouchedUnits - untouched], [16 - 4, -8]);
    assert(pages.current(sizeClass) !== page);
    const again = pages.allocate(classFor(16_384, 16), LINK);
    assertEquals(pageOf(again), page);
    assertEquals(pages.range.pages[page + UNTOUCHED], 0b1111_0000, "the gap is known where it is");
    checkPages(pages);
  });

  it("what cannot be given back stays as it is, is counted as that, and is tried again", () => {
    const pages = makePages();
    const { page, slots } = fullPage(pages, 4096);
    for (const slot of [1, 5, 9]) freeSlot(pages, slots[slot]!);
    const given: number[] = [];
    const refuse = (unit: number) => {
      if (given.length === 1) throw new OutOfMemoryError("no", 4096);
      given.push(unit);
    };
    assertThrows(() => pages.discardUnused(refuse, 1), OutOfMemoryError);
    checkPages(pages);
    assertEquals(given, [page + 1]);
    assertEquals(pages.range.pages[page + UNTOUCHED], 0b10);
    assertEquals(discarded(pages), [page + 5, page + 9]);
  });

  for (const seed of [1, 2, 3]) {
    it(`never gives a live byte back, check() after each of 2,000 steps, seed ${seed}`, () => {
      const pages = makePages(40);
      const random = new Prng(seed);
      const live = new Map<number, number>();
      let given = 0;
      for (let step = 0; step < 2000; step++) {
        const what = `seed ${seed}, step ${step}`;
        if (random.chance(step % 500 < 300 ? 80 : 10) || live.size === 0) {
          const sizeClass = classFor([640, 2048, 5120][random.below(3)]!, 16);
          const granule = pages.allocate(sizeClass, LINK);
          if (granule !== -1) live.set(granule, CLASS_GRANULES[sizeClass]!);
        } else {
          const granule = [...live.keys()][random.below(live.size)]!;
          live.delete(granule);
          freeSlot(pages, granule);
        }
        if (random.chance(5)) {
          pages.discardUnused((unit, count) => {
            given += count;
            for (const [granule, length] of live) {
              assert(granule + length <= unit << 8 || granule >= (unit + count) << 8, `${what}: ${granule} is live`);
            }
          }, random.chance(80) ? 1 : 2);
        }
        if (random.chance(1)) pages.releaseIdle(random.chance(50));
        checkPages(pages);
      }
      assert(given > 10, `seed ${seed}: ${given} units`);
    });
  }
});

describe("SmallPages.check() and units", () => {
  /** A page of which units were given back, and the current one. */
  function populated(): { pages: SmallPages; page: number; current: number } {
    const pages = makePages();
    const { page, slots } = fullPage(pages, 4096);
    for (const granule of slots.slice(3)) freeSlot(pages, granule);
    assertEquals(discarded(pages).length, 13);
    return { pages, page, current: pages.current(classFor(4096, 16)) };
  }

  it("finds a live slot in a unit that was given back", () => {
    const { pages, page } = populated();
    // The count stays the same.
    pages.range.pages[page + UNTOUCHED]! ^= 0b1100;
    const message = `Cannot trust the page at unit ${page}: its unit 2 is untouched, and a live slot lies in it`;
    assertThrows(() => pages.check(), CorruptionError, message);
  });

  it("finds a delayed slot in a unit that was given back", () => {
    const { pages, page } = populated();
    const granule = (page << 8) + 512;
    pages.delay(granule, pages.liveLink(granule));
    checkPages(pages);
    pages.range.pages[page + UNTOUCHED]! ^= 0b1100;
    assertThrows(() => pages.check(), CorruptionError, "its unit 2 is untouched, and a live slot lies in it");
  });

  it("finds a slot of the current page's list in a unit that was given back", () => {
    const { pages, current } = populated();
    const table = pages.range.pages;
    assertEquals([table[current + EXTENDED], table[current + UNTOUCHED]], [1, 0xfffe]);
    table[current + UNTOUCHED] = 0x7fff;
    const message =
      `Cannot trust the page at unit ${current}: its unit 0 is untouched, and slots of its list lie in it`;
    assertThrows(() => pages.check(), CorruptionError, message);
  });

  it("finds units that there are not, and a wrong count", () => {
    const { pages, page } = populated();
    const table = pages.range.pages;
    for (let bit = 16; bit < 32; bit++) {
      table[page + UNTOUCHED]! ^= 1 << bit;
      assertThrows(() => pages.check(), CorruptionError, `Cannot trust the page at unit ${page}: it has no units`);
      table[page + UNTOUCHED]! ^= 1 << bit;
    }
    table[page + UNTOUCHED]! ^= 1 << 9;
    assertThrows(() => pages.check(), CorruptionError, "units are untouched, ");
    table[page + UNTOUCHED]! ^= 1 << 9;
    checkPages(pages);
    assert((table[page + STATE]! >>> 12) === 3 && pages.links[table[page + LINKS]!]! >= LIVE);
  });
});
