/**
 * `FreeList` and `SegregatedFreeLists` by themselves: their order against a model, through several regions, and every
 * word of a node written to.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError, fixedPageSource } from "../mod.ts";
import { layoutFor, writeFree } from "../src/block.ts";
import type { FreeBlock, FreeBlocks } from "../src/free_blocks.ts";
import { FreeList, type FreeOrder } from "../src/free_list.ts";
import { END, FREE } from "../src/marks.ts";
import { type Region, RegionList } from "../src/region_list.ts";
import { SegregatedFreeLists } from "../src/segregated_free_lists.ts";
import { Prng } from "./support/prng.ts";

/** Granules from one place for a block to the next; blocks have fewer, so that none touch. */
const STRIDE = 12;
const LAYOUT = layoutFor(8);

function threeRegions(): RegionList {
  const regions = new RegionList(fixedPageSource(new ArrayBuffer(2 ** 16)), LAYOUT);
  for (let i = 0; i < 3; i++) regions.map(8192, 0);
  return regions;
}

/** A place for a free block: all that a list looks at is written. */
function mark(region: Region, p: number, n: number): void {
  region.marks[p] = FREE;
  region.marks[p + n - 1] = region.marks[p + n - 1]! | END;
  writeFree(region, LAYOUT, p, n);
}

function unmark(region: Region, p: number, n: number): void {
  region.marks.fill(0, p, p + n);
}

function contents(list: FreeBlocks): FreeBlock[] {
  return [...list].map(({ region, p, n }) => ({ region, p, n }));
}

/** What is compared, as text: regions are large objects. */
function names(blocks: readonly FreeBlock[]): string[] {
  return blocks.map(({ region, p, n }) => `${region.number}:${p}+${n}`);
}

function byAddress(a: FreeBlock, b: FreeBlock): number {
  return a.region.address - b.region.address || a.p - b.p;
}

/** Where `block` goes in a list of that order. */
function insertInto(model: FreeBlock[], block: FreeBlock, order: FreeOrder): void {
  if (order === "lifo") model.unshift(block);
  else model.push(block);
  if (order === "address") model.sort(byAddress);
}

/** The node of a block: its four words. */
function wordOf({ region, p }: FreeBlock, field: number): { get(): number; set(value: number): void } {
  const at = 4 * p + field;
  return { get: () => region.words[at]!, set: (value) => region.words[at] = value };
}

describe("FreeList", () => {
  for (const order of ["lifo", "fifo", "address"] as const) {
    it(`keeps the order ${order} through insert(), remove(), replace() and search(), as a model does`, () => {
      const seed = 71;
      const random = new Prng(seed);
      const { sorted } = threeRegions();
      const regions = threeRegions();
      const list = new FreeList(regions, order, "first");
      const model: FreeBlock[] = [];
      const taken = new Set<string>();
      const places = Math.floor((sorted[0]!.end - 1) / STRIDE);
      for (let step = 0; step < 4000; step++) {
        const region = regions.sorted[random.below(3)]!;
        const p = region.first + random.below(places) * STRIDE;
        const key = `${region.number}:${p}`;
        const at = model.length === 0 ? -1 : random.below(model.length);
        const turn = random.below(10);
        if (turn < 5 && !taken.has(key)) {
          const block = { region, p, n: 4 + random.below(STRIDE - 5) };
          list.insert(region, p);
          mark(region, p, block.n);
          insertInto(model, block, order);
          taken.add(key);
        } else if (turn < 8 && at !== -1) {
          const [{ region, p, n }] = model.splice(at, 1) as [FreeBlock];
          list.remove(region, p);
          unmark(region, p, n);
          taken.delete(`${region.number}:${p - (p - region.first) % STRIDE}`);
        } else if (turn === 8 && at !== -1 && model[at]!.n > 3) {
          const { region, p, n } = model[at]!;
          list.replace(region, p, n, p + 1);
          unmark(region, p, n);
          mark(region, p + 1, n - 1);
          model[at] = { region, p: p + 1, n: n - 1 };
        } else {
          const need = 2 + random.below(STRIDE);
          const first = model.find(({ n }) => n >= need);
          assertEquals(list.search(need, undefined, undefined), first !== undefined, `seed ${seed}, step ${step}`);
          if (first !== undefined) assertEquals([list.foundRegion.number, list.found], [first.region.number, first.p]);
          assertEquals(list.visited, first === undefined ? model.length : model.indexOf(first) + 1);
        }
        assertEquals(names(contents(list)), names(model), `seed ${seed}, step ${step}`);
        assertEquals(list.count, model.length);
      }
    });
  }

  it("a link that was written to is never followed: remove(), replace() and search() throw, and nothing has changed", () => {
    for (const apart of [false, true]) {
      const regions = threeRegions();
      const list = new FreeList(regions, "fifo", "first");
      for (let i = 0; i < 5; i++) {
        const region = regions.sorted[apart ? i % 3 : 0]!;
        const p = region.first + i * STRIDE;
        list.insert(region, p);
        mark(region, p, 5);
      }
      const before = contents(list);
      for (const block of before) {
        for (const field of [1, 2, 3]) {
          for (const change of [1, 12, STRIDE, 4096, 0x1000000, -1]) {
            const word = wordOf(block, field);
            const value = word.get();
            word.set(value ^ change);
            const { region, p, n } = block;
            const at = `word ${field} of ${region.number}:${p}, ${change}`;
            const isEnd = (field === 1 && block === before[4]) || (field === 2 && block === before[0]);
            // What stands in a link that is none is never read.
            if (!isEnd) {
              assertThrows(() => list.remove(region, p), CorruptionError, undefined, at);
              assertThrows(() => list.replace(region, p, n, p + 1), CorruptionError, undefined, at);
              assertThrows(() => list.search(100, undefined, undefined), CorruptionError, undefined, at);
            }
            word.set(value);
            assertEquals(names(contents(list)), names(before));
          }
        }
      }
    }
  });

  it("the same place in another region is another place", () => {
    const regions = threeRegions();
    const [one, two] = regions.sorted as [Region, Region];
    const list = new FreeList(regions, "fifo", "first");
    const [q, p, a, b] = [0, 1, 2, 3].map((i) => one.first + i * STRIDE) as [number, number, number, number];
    for (const [region, at] of [[one, q], [two, p], [one, a], [one, p], [one, b]] as const) {
      list.insert(region, at);
      mark(region, at, 5);
    }
    // The block at q does lead to place p, but of the other region.
    const word = wordOf({ region: one, p, n: 5 }, 2);
    word.set(q);
    assertThrows(() => list.remove(one, p), CorruptionError);
    assertThrows(() => list.replace(one, p, 5, p + 1), CorruptionError);
    word.set(a);
    list.remove(one, p);
    assertEquals(names(contents(list)), [`1:${q}+5`, `2:${p}+5`, `1:${a}+5`, `1:${b}+5`]);
  });
});

describe("SegregatedFreeLists", () => {
  it("finds a block in the first bin that has a large enough one, and keeps each block in the bin of its size", () => {
    const regions = threeRegions();
    const [region] = regions.sorted as [Region];
    const lists = new SegregatedFreeLists(regions, "fifo");
    const blocks = [2, 3, 9, 5, 8].map((n, i) => ({ region, p: region.first + i * STRIDE, n }));
    for (const { region, p, n } of blocks) {
      lists.insert(region, p, n);
      mark(region, p, n);
    }
    const found = (need: number) => lists.search(need, undefined, undefined) ? lists.found : -1;
    assertEquals([2, 4, 6, 9, 10].map(found), [blocks[0]!.p, blocks[3]!.p, blocks[2]!.p, blocks[2]!.p, -1]);
    // Out of the bin of 8 to 15 granules into that of 2 and 3.
    const { p } = blocks[2]!;
    lists.resize(region, p, 9, 3);
    unmark(region, p, 9);
    mark(region, p, 3);
    assertEquals(names(contents(lists)).map((name) => name.split("+")[1]), ["2", "3", "3", "5", "8"]);
    assertEquals([found(8), lists.count], [blocks[4]!.p, 5]);
  });
});
