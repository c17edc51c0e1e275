/**
 * Sets of ranges, by hand and beside one bit per byte.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { RangeSet } from "../src/range_set.ts";
import { Prng } from "./support/prng.ts";

/** The set as `[start, end)` pairs, found through the public methods only. */
function rangesOf(set: RangeSet, start: number, end: number): [number, number][] {
  const ranges: [number, number][] = [];
  let from = start;
  for (const [gapStart, gapEnd] of set.gaps(start, end)) {
    if (gapStart > from) ranges.push([from, gapStart]);
    from = gapEnd;
  }
  if (from < end) ranges.push([from, end]);
  return ranges;
}

describe("RangeSet", () => {
  it("add() merges ranges that touch or overlap, and says how much is new", () => {
    const set = new RangeSet();
    assertEquals(set.add(10, 20), 10);
    assertEquals(set.add(30, 40), 10);
    assertEquals(set.count, 2);
    assertEquals(set.add(20, 30), 10);
    assertEquals(set.count, 1);
    assertEquals(set.add(5, 45), 10);
    assertEquals(set.add(6, 44), 0);
    assertEquals(rangesOf(set, 0, 100), [[5, 45]]);
    assertEquals(set.total, 40);
  });

  it("remove() splits ranges, and says how much was there", () => {
    const set = new RangeSet();
    set.add(0, 100);
    assertEquals(set.remove(20, 30), 10);
    assertEquals(set.remove(25, 40), 10);
    assertEquals(set.remove(25, 35), 0);
    assertEquals(set.remove(90, 200), 10);
    assertEquals(rangesOf(set, 0, 100), [[0, 20], [40, 90]]);
    assertEquals(set.remove(0, 100), 70);
    assertEquals(set.count, 0);
    assertEquals(set.total, 0);
  });

  it("touching a range from outside neither covers nor removes it", () => {
    const set = new RangeSet();
    set.add(10, 20);
    assertEquals(set.covered(0, 10), 0);
    assertEquals(set.covered(20, 30), 0);
    assertEquals(set.remove(0, 10), 0);
    assertEquals(set.remove(20, 30), 0);
    assertEquals(set.gaps(10, 20), []);
    assertEquals(set.gaps(20, 30), [[20, 30]]);
  });

  it("firstFit() gives the lowest aligned place that is long enough, or -1", () => {
    const set = new RangeSet();
    set.add(4, 20);
    set.add(33, 64);
    assertEquals(set.firstFit(16, 1), 4);
    assertEquals(set.firstFit(16, 16), 48);
    assertEquals(set.firstFit(12, 8), 8);
    assertEquals(set.firstFit(31, 1), 33);
    assertEquals(set.firstFit(32, 1), -1);
    assertEquals(set.longest(), 31);
    assertEquals(new RangeSet().longest(), 0);
  });

  it("agrees with one bit per byte over random operations", () => {
    const random = new Prng(20240607);
    const size = 96;
    const set = new RangeSet();
    const model = new Uint8Array(size);
    for (let step = 0; step < 20_000; step++) {
      const start = random.below(size);
      const end = start + 1 + random.below(Math.min(24, size - start));
      const before = model.subarray(start, end).reduce((sum, bit) => sum + bit, 0);
      assertEquals(set.covered(start, end), before);
      if (random.below(2) === 0) {
        assertEquals(set.add(start, end), end - start - before);
        model.fill(1, start, end);
      } else {
        assertEquals(set.remove(start, end), before);
        model.fill(0, start, end);
      }
      const ranges = rangesOf(set, 0, size);
      const rebuilt = new Uint8Array(size);
      for (const [from, to] of ranges) rebuilt.fill(1, from, to);
      assertEquals(rebuilt, model, `step ${step}`);
      assertEquals(set.count, ranges.length);
      assertEquals(set.total, model.reduce((sum, bit) => sum + bit, 0));
      assertEquals(set.longest(), Math.max(0, ...ranges.map(([from, to]) => to - from)));
    }
    assert(set.total >= 0);
  });
});
