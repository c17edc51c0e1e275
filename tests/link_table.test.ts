/**
 * The table of links: chunks, and how they are used again.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, fixedPageSource, OutOfMemoryError, systemPageSource } from "../mod.ts";
import { FIRST_LINK, LINKS_PER_PAGE_MAX, LinkTable } from "../src/link_table.ts";
import { CLASS_COUNT, CLASS_SLOTS, PAGE_SIZE } from "../src/size_class.ts";
import { Prng } from "./support/prng.ts";
import { Recorder } from "./support/recording_source.ts";

describe("LinkTable", () => {
  it("reserves the chunks of all classes for every page, as their number says", () => {
    assertEquals(LINKS_PER_PAGE_MAX, CLASS_SLOTS.reduce((sum, slots) => sum + slots + 1, 0));
    // To the last link: each class once on each of three pages.
    const table = new LinkTable(systemPageSource(), 3 * PAGE_SIZE);
    for (let page = 0; page < 3; page++) {
      for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) table.take(sizeClass);
    }
    assertEquals(table.end, FIRST_LINK + 3 * LINKS_PER_PAGE_MAX);
    table.dispose();
  });

  it("take() cuts chunks of one link a slot and one more, all zero, behind the eight that stay zero", () => {
    const table = new LinkTable(systemPageSource(), 2 ** 24);
    let end = 8;
    for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
      const chunk = table.take(sizeClass);
      assertEquals(chunk, end);
      end += CLASS_SLOTS[sizeClass]! + 1;
      assertEquals(table.end, end);
      assert(table.links.length >= end);
      assert(table.links.subarray(0, end).every((link) => link === 0));
    }
    table.dispose();
    assertEquals(table.links.length, 0);
  });

  it("give() keeps a chunk for the next take() of its class, cleared", () => {
    const table = new LinkTable(systemPageSource(), 2 ** 24);
    const first = table.take(5);
    const second = table.take(5);
    const other = table.take(6);
    table.links.fill(0xffff, first, other);
    table.give(5, first);
    table.give(5, second);
    const { end } = table;
    assert(table.take(6) >= end, "another class gets a chunk of its own");
    assertEquals(table.take(5), second);
    assertEquals(table.take(5), first);
    assert(table.links.subarray(first, other).every((link) => link === 0));
    table.dispose();
  });

  it("chunks above the 65,536th link are found again", () => {
    const table = new LinkTable(systemPageSource(), 2 ** 26);
    const chunks = Array.from({ length: 40 }, () => table.take(0));
    assert(chunks.at(-1)! > 2 * 65_536);
    for (const chunk of chunks) table.give(0, chunk);
    for (const chunk of chunks.toReversed()) assertEquals(table.take(0), chunk);
    table.dispose();
  });

  it("chunks never overlap, at random", () => {
    const table = new LinkTable(fixedPageSource(new ArrayBuffer(4096)), 2 ** 24);
    const random = new Prng(7);
    const taken: { sizeClass: number; chunk: number; mark: number }[] = [];
    for (let step = 1; step <= 2000; step++) {
      if (taken.length < 60 && random.chance(55)) {
        const sizeClass = random.below(CLASS_COUNT);
        const chunk = table.take(sizeClass);
        const links = table.links.subarray(chunk, chunk + CLASS_SLOTS[sizeClass]! + 1);
        assert(links.every((link) => link === 0), `step ${step}`);
        links.fill(step);
        taken.push({ sizeClass, chunk, mark: step });
      } else if (taken.length > 0) {
        const { sizeClass, chunk, mark } = taken.splice(random.below(taken.length), 1)[0]!;
        const links = table.links.subarray(chunk, chunk + CLASS_SLOTS[sizeClass]! + 1);
        assert(links.every((link) => link === mark), `step ${step}`);
        table.give(sizeClass, chunk);
      }
    }
    assert(table.links.subarray(0, 8).every((link) => link === 0));
    table.dispose();
  });

  it("has room for every page to go through every class", () => {
    const pages = 4;
    const table = new LinkTable(systemPageSource(), pages * PAGE_SIZE);
    try {
      for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
        const chunks = Array.from({ length: pages }, () => table.take(sizeClass));
        assert(table.links.length >= table.end, `class ${sizeClass}: ${table.links.length} links of ${table.end}`);
        for (const chunk of chunks) table.give(sizeClass, chunk);
      }
    } finally {
      table.dispose();
    }
  });

  it("take() throws OutOfMemoryError when the table cannot grow, and changes nothing", () => {
    const recorder = new Recorder(systemPageSource());
    const failing = failingPageSource(recorder.source, Infinity, { operations: ["commit"] });
    const table = new LinkTable(failing, 2 ** 24);
    const { end, byteLength } = table;
    failing.rearm(0);
    assertThrows(() => {
      for (;;) table.take(0);
    }, OutOfMemoryError);
    assertEquals(table.byteLength, byteLength);
    assert(table.end - end <= byteLength / 2);
    failing.rearm(Infinity);
    const before = table.end;
    assertEquals(table.take(0), before);
    table.dispose();
    assertEquals(recorder.complaint(), "");
  });

  it("gives its reservation back when the first links cannot be had", () => {
    const recorder = new Recorder(systemPageSource());
    assertThrows(() => new LinkTable(failingPageSource(recorder.source, 1), 2 ** 24), OutOfMemoryError);
    assertEquals(recorder.complaint(), "");
  });

  it("says what it reserves and commits", () => {
    const table = new LinkTable(systemPageSource(), 2 ** 30);
    assert(table.reservedBytes >= 2 ** 27);
    assert(table.byteLength >= 16 && table.byteLength <= 2 ** 16);
    table.dispose();
  });
});
