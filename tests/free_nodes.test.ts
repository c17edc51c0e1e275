/**
 * The nodes of free lists by themselves: walking from node to node, and giving their regions other names.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError, fixedPageSource } from "../mod.ts";
import { layoutFor, writeFree } from "../src/block.ts";
import { PREVIOUS_SHIFT, regionOf, renumberNodes, walkNodes } from "../src/free_nodes.ts";
import { END, FREE } from "../src/marks.ts";
import { RegionList } from "../src/region_list.ts";

const LAYOUT = layoutFor(8);

/** Free blocks of five granules at these places, each of which leads to the next. */
function chain(...places: readonly (readonly [number: number, p: number])[]): RegionList {
  const regions = new RegionList(fixedPageSource(new ArrayBuffer(2 ** 16)), LAYOUT);
  for (let i = 0; i < 3; i++) regions.map(8192, 0);
  places.forEach(([number, p], at) => {
    const region = regionOf(regions, number, 0, 0);
    const [previousRegion, previous] = places[at - 1] ?? [0, 0];
    const [nextRegion, next] = places[at + 1] ?? [0, 0];
    region.words.set([0, next, previous, previousRegion << PREVIOUS_SHIFT | nextRegion], 4 * p);
    region.marks[p] = FREE;
    region.marks[p + 4] = END;
    writeFree(region, LAYOUT, p, 5);
  });
  return regions;
}

/** The places on a walk, then the place that the walk ended at. */
function walk(regions: RegionList, number: number, p: number): string[] {
  const found: string[] = [];
  const nodes = walkNodes(regions, number, p);
  for (let step = nodes.next();; step = nodes.next()) {
    if (step.done === true) return [...found, `end at ${step.value.number}:${step.value.p}`];
    found.push(`${step.value.region.number}:${step.value.p}+${step.value.n}`);
  }
}

describe("walkNodes()", () => {
  it("goes from region to region, and returns where it ended", () => {
    assertEquals(walk(chain([1, 10], [2, 30], [2, 20]), 1, 10), ["1:10+5", "2:30+5", "2:20+5", "end at 2:20"]);
    assertEquals(walk(chain(), 0, 0), ["end at 0:0"]);
  });

  it("throws at a node that does not lead back, and at a region that there is not", () => {
    const regions = chain([1, 10], [2, 30], [3, 20]);
    const { words } = regions.byNumber[2]!;
    words[4 * 30 + 2] = 11;
    assertThrows(() => walk(regions, 1, 10), CorruptionError, "its neighbours in the free list disagree");
    words[4 * 30 + 2] = 10;
    words[4 * 30 + 3] = 1 << PREVIOUS_SHIFT | 9;
    assertThrows(() => walk(regions, 1, 10), CorruptionError, "it is free and leads to a region that does not exist");
  });
});

describe("renumberNodes()", () => {
  it("has every link into a region lead to where its blocks are now", () => {
    const regions = chain([1, 10], [2, 30], [3, 20], [2, 40]);
    const [one, two] = [regions.byNumber[1]!, regions.byNumber[2]!];
    // Region 2 becomes the upper part of region 1, as when both are joined.
    const shift = 200;
    for (const p of [30, 40]) {
      one.words.set(two.words.subarray(4 * p, 4 * (p + 5)), 4 * (p + shift));
      one.marks.set(two.marks.subarray(p, p + 5), p + shift);
    }
    renumberNodes(regions, 1, 10, 2, one, shift);
    assertEquals(walk(regions, 1, 10), ["1:10+5", "1:230+5", "3:20+5", "1:240+5", "end at 1:240"]);
  });
});
