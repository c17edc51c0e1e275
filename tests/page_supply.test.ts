/**
 * Where pages of small blocks come from and go: idle ones, runs, and what fails on the way.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, fixedPageSource } from "../mod.ts";
import { NO_PAGE } from "../src/page_table.ts";
import { CLASS_SLOTS } from "../src/size_class.ts";
import { SmallPages } from "../src/small_pages.ts";
import { rangeOver } from "./support/ranges.ts";
import { checkPages, freeSlot, LAST_CLASS, LINK, makePages, takeSlots } from "./support/small_pages.ts";

describe("PageSupply", () => {
  it("an idle page is taken as it is by its own class", () => {
    const pages = makePages();
    const first = takeSlots(pages, LAST_CLASS, 5);
    for (const granule of [1, 0, 2, 3]) freeSlot(pages, first[granule]!);
    takeSlots(pages, LAST_CLASS, 3);
    const again = takeSlots(pages, LAST_CLASS, 4);
    assertEquals(again.toSorted((a, b) => a - b), first.slice(0, 4));
    checkPages(pages);
  });

  it("four idle pages are kept; more go back to the runs", () => {
    const pages = makePages(40);
    const granules = takeSlots(pages, LAST_CLASS, 4 * 30);
    const freeUnits = pages.range.runs.freeUnits;
    for (const granule of granules) freeSlot(pages, granule);
    // The first page took the place of the thirtieth, which was used up, and is current; four are idle.
    assertEquals(pages.range.runs.freeUnits - freeUnits, (30 - 1 - 4) * 16);
    checkPages(pages);
  });

  it("releaseIdle() gives idle pages, and with `all` empty current ones, back to the runs", () => {
    const pages = makePages();
    const granules = takeSlots(pages, LAST_CLASS, 5);
    const kept = pages.allocate(3, LINK);
    for (const granule of granules) freeSlot(pages, granule);
    const { runs } = pages.range;
    const before = runs.freeUnits;
    pages.releaseIdle(false);
    assertEquals(runs.freeUnits - before, 16);
    checkPages(pages);
    pages.releaseIdle(true);
    assertEquals(runs.freeUnits - before, 32);
    assertEquals(pages.current(LAST_CLASS), NO_PAGE);
    checkPages(pages);
    assert(pages.liveLink(kept) !== 0);
    assertEquals(pages.allocate(LAST_CLASS, LINK) !== -1, true);
    checkPages(pages);
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
    checkPages(pages);
    source.rearm(Infinity);
    assert(pages.allocate(0, LINK) !== -1);
    checkPages(pages);
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
    checkPages(pages);
  });

  it("a class has no current page when the links of an idle page of another class cannot be had", () => {
    const inner = fixedPageSource(new ArrayBuffer(2 ** 24));
    const source = failingPageSource({ ...inner, lazy: true }, Infinity, { operations: ["commit"] });
    const pages = new SmallPages(source, rangeOver(source, 2 ** 20, 2 ** 20));
    const small = takeSlots(pages, 0, CLASS_SLOTS[0]!);
    const large = takeSlots(pages, LAST_CLASS, 5);
    for (const slot of [1, 0, 2, 3]) freeSlot(pages, large[slot]!);
    assertEquals(pages.idleUnits, 16);
    source.rearm(0);
    assertEquals([pages.allocate(0, LINK), pages.allocate(0, LINK)], [-1, -1]);
    assertEquals(pages.current(0), NO_PAGE);
    checkPages(pages);
    source.rearm(Infinity);
    freeSlot(pages, small[7]!);
    assertEquals(pages.allocate(0, LINK), small[7]!);
    checkPages(pages);
  });
});
