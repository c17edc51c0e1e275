/**
 * Runs of units: placement, merging, parking, and that they do what a map of single units does. Which units were
 * written is in runs_written.test.ts, what `check` finds in runs_check.test.ts.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  FREE_RUN,
  INFO_ALIGNMENT,
  INFO_OWNED,
  LARGE_RUN,
  PAGE_RUN,
  PARKED_RUN,
  UNIT,
  UNIT_RECORD,
} from "../src/run_record.ts";
import { Runs } from "../src/runs.ts";
import { Prng } from "./support/prng.ts";
import { type Extent, makeRuns, tiling } from "./support/runs.ts";

describe("Runs", () => {
  it("has units of 4 KiB and records of 16 bytes", () => {
    assertEquals([UNIT, UNIT_RECORD], [4096, 16]);
  });

  it("take() takes from the start of a free run and leaves the rest free", () => {
    const { runs, regions } = makeRuns(16);
    assertEquals(runs.take(3, 1, 0, LARGE_RUN), 0);
    assertEquals(runs.take(4, 1, 0, PAGE_RUN), 3);
    assertEquals(tiling(runs, regions), "large 3, page 4, free 9");
    assertEquals(runs.freeUnits, 9);
    runs.check(regions);
  });

  it("take() takes a run that fits exactly", () => {
    const { runs, regions } = makeRuns(5);
    assertEquals(runs.take(5, 1, 0, LARGE_RUN), 0);
    assertEquals(runs.freeUnits, 0);
    assertEquals(runs.take(1, 1, 0, LARGE_RUN), -1);
    runs.check(regions);
  });

  it("take() takes the shortest run that fits", () => {
    const { runs, regions } = makeRuns(100, 7, 5, 6);
    assertEquals(runs.take(5, 1, 0, LARGE_RUN), 107);
    assertEquals(runs.take(6, 1, 0, LARGE_RUN), 112);
    assertEquals(runs.take(2, 1, 0, LARGE_RUN), 100);
    runs.check(regions);
  });

  it("take() takes the shortest of one bin above 64 units", () => {
    const { runs, regions } = makeRuns(127, 120, 113, 126);
    assertEquals(runs.take(112, 1, 0, LARGE_RUN), 247);
    assertEquals(runs.take(112, 1, 0, LARGE_RUN), 127);
    runs.check(regions);
  });

  it("take() finds the only run that fits behind many in its bin that do not", () => {
    const lengths = [127, ...Array.from({ length: 40 }, () => 112)];
    const { runs, regions } = makeRuns(...lengths);
    // The long one was added first, so it is the last of its bin.
    assertEquals(runs.take(127, 1, 0, LARGE_RUN), 0);
    runs.check(regions);
  });

  it("take() places by alignment, and frees what it skips on both sides", () => {
    const { runs, regions } = makeRuns(64);
    runs.take(1, 1, 0, LARGE_RUN);
    assertEquals(runs.take(4, 16, 0, LARGE_RUN), 16);
    assertEquals(tiling(runs, regions), "large 1, free 15, large 4, free 44");
    runs.check(regions);
  });

  it("take() places by alignment from a base that is not aligned", () => {
    for (const bias of [0, 1, 5, 15]) {
      const { runs, regions } = makeRuns(64);
      const unit = runs.take(4, 16, bias, LARGE_RUN);
      assertEquals((unit + bias) % 16, 0);
      assertEquals(unit, (16 - bias) % 16);
      runs.check(regions);
    }
  });

  it("take() returns -1 and changes nothing when only the alignment stands in the way", () => {
    const { runs, regions } = makeRuns(24);
    assertEquals(runs.take(16, 16, 1, LARGE_RUN), -1);
    assertEquals(runs.take(25, 1, 0, LARGE_RUN), -1);
    assertEquals(tiling(runs, regions), "free 24");
    runs.check(regions);
  });

  it("release() merges with neither, the next, the previous and both neighbours", () => {
    const { runs, regions } = makeRuns(8);
    for (let unit = 0; unit < 8; unit += 2) assertEquals(runs.take(2, 1, 0, LARGE_RUN), unit);
    runs.release(2, 0, 8);
    assertEquals(tiling(runs, regions), "large 2, free 2, large 2, large 2");
    runs.check(regions);
    runs.release(0, 0, 8);
    assertEquals(tiling(runs, regions), "free 4, large 2, large 2");
    runs.check(regions);
    runs.release(6, 0, 8);
    assertEquals(tiling(runs, regions), "free 4, large 2, free 2");
    runs.check(regions);
    runs.release(4, 0, 8);
    assertEquals(tiling(runs, regions), "free 8");
    runs.check(regions);
  });

  it("release() does not merge across regions", () => {
    const { runs, regions } = makeRuns(4, 4);
    const units = [runs.take(4, 1, 0, LARGE_RUN), runs.take(4, 1, 0, LARGE_RUN)].sort((a, b) => a - b);
    assertEquals(units, [0, 4]);
    runs.release(0, 0, 4);
    runs.release(4, 4, 8);
    assertEquals(tiling(runs, regions), "free 4, free 4");
    runs.check(regions);
  });

  it("release() does not merge with a parked run", () => {
    const { runs, regions } = makeRuns(8);
    for (let i = 0; i < 4; i++) runs.take(2, 1, 0, LARGE_RUN);
    assert(runs.parked.put(0));
    runs.release(2, 0, 8);
    assertEquals(tiling(runs, regions), "parked 2, free 2, large 2, large 2");
    runs.check(regions);
  });

  it("every length from 1 to 1,100 units, and every power of two above, goes into a bin and comes out again", () => {
    const lengths: number[] = [];
    for (let length = 1; length <= 1100; length++) lengths.push(length);
    for (const length of lengths) {
      const { runs, regions } = makeRuns(length);
      assertEquals(runs.take(length + 1, 1, 0, LARGE_RUN), -1);
      assertEquals(runs.take(length, 1, 0, LARGE_RUN), 0);
      runs.release(0, 0, length);
      assertEquals(runs.freeUnits, length);
      runs.check(regions);
    }
    for (let log = 11; log <= 16; log++) {
      for (const length of [2 ** log - 1, 2 ** log, 2 ** log + 1, 1.25 * 2 ** log, 1.75 * 2 ** log]) {
        const { runs } = makeRuns(length);
        assertEquals(runs.take(length, 1, 0, LARGE_RUN), 0, `${length}`);
      }
    }
  });

  it("the last bin is of lengths that no region has, and may be searched in vain", () => {
    const length = 1.9 * 2 ** 20 | 0;
    const runs = new Runs();
    runs.units = new Int32Array(4 * length);
    runs.add(0, length);
    assertEquals(runs.take(length, 2, 1, LARGE_RUN), -1);
    assertEquals(runs.take(length, 2, 0, LARGE_RUN), 0);
  });

  it("resize() shrinks in place and merges the rest with what follows", () => {
    const { runs, regions } = makeRuns(16);
    runs.take(8, 1, 0, LARGE_RUN);
    assert(runs.resize(0, 5, 16));
    assertEquals(tiling(runs, regions), "large 5, free 11");
    runs.check(regions);
    runs.take(11, 1, 0, LARGE_RUN);
    assert(runs.resize(0, 1, 16));
    assertEquals(tiling(runs, regions), "large 1, free 4, large 11");
    runs.check(regions);
  });

  it("resize() grows into free space behind, wholly or in part, and refuses otherwise", () => {
    const { runs, regions } = makeRuns(16);
    runs.take(4, 1, 0, LARGE_RUN);
    runs.take(4, 1, 0, LARGE_RUN);
    assert(!runs.resize(0, 5, 16));
    runs.release(4, 0, 16);
    runs.take(10, 2, 0, LARGE_RUN);
    assertEquals(tiling(runs, regions), "large 4, large 10, free 2");
    assert(!runs.resize(4, 13, 16));
    assert(runs.resize(4, 11, 16));
    assertEquals(tiling(runs, regions), "large 4, large 11, free 1");
    assert(runs.resize(4, 12, 16));
    assert(!runs.resize(4, 13, 16));
    assert(runs.resize(4, 12, 16));
    assertEquals(tiling(runs, regions), "large 4, large 12");
    runs.check(regions);
  });

  it("resize() does not grow into the next region", () => {
    const { runs, regions } = makeRuns(4, 4);
    const unit = runs.take(4, 1, 0, LARGE_RUN);
    assert(!runs.resize(unit, 5, unit + 4));
    runs.check(regions);
  });

  it("parked.put() keeps a run at its length for parked.take(), last in first out", () => {
    const { runs, regions } = makeRuns(12);
    for (let i = 0; i < 4; i++) runs.take(3, 1, 0, LARGE_RUN);
    assert(runs.parked.put(3));
    assert(runs.parked.put(9));
    assertEquals(runs.kindAt(3), PARKED_RUN);
    assertEquals([runs.parked.total, runs.freeUnits, runs.largeAt(3)], [6, 0, 0]);
    runs.check(regions);
    assertEquals(runs.parked.take(2), -1);
    assertEquals(runs.parked.take(3), 9);
    assertEquals(runs.largeAt(9), 3);
    assertEquals(runs.parked.take(3), 3);
    assertEquals(runs.parked.take(3), -1);
    assertEquals(runs.parked.total, 0);
    runs.check(regions);
  });

  it("parked.put() refuses runs above 64 units and more than 256 units together", () => {
    const { runs, regions } = makeRuns(400);
    const long = runs.take(65, 1, 0, LARGE_RUN);
    assert(!runs.parked.put(long));
    assertEquals(runs.parked.take(65), -1);
    const units = Array.from({ length: 5 }, () => runs.take(64, 1, 0, LARGE_RUN));
    for (const unit of units.slice(0, 4)) assert(runs.parked.put(unit));
    assert(!runs.parked.put(units[4]!));
    assertEquals(runs.parked.total, 256);
    runs.check(regions);
  });

  it("parked.takeAny() takes every parked run, the shortest first, and then none", () => {
    const { runs, regions } = makeRuns(100);
    for (const count of [64, 1, 7]) assert(runs.parked.put(runs.take(count, 1, 0, LARGE_RUN)));
    const taken = [runs.parked.takeAny(), runs.parked.takeAny(), runs.parked.takeAny()];
    assertEquals(taken.map((unit) => runs.lengthAt(unit)), [1, 7, 64]);
    assertEquals(runs.parked.takeAny(), -1);
    runs.check(regions);
  });

  it("describe(), slack() and info() keep what a large block's record says", () => {
    const { runs, regions } = makeRuns(4);
    runs.take(2, 1, 0, LARGE_RUN);
    runs.describe(0, 4095, 20 | INFO_OWNED);
    assertEquals([runs.slack(0), runs.info(0) & INFO_ALIGNMENT, runs.info(0) & INFO_OWNED], [4095, 20, INFO_OWNED]);
    runs.check(regions);
  });

  it("lengthAt(), kindAt(), largeAt() and startOf() say what is where", () => {
    const { runs } = makeRuns(16);
    runs.take(3, 1, 0, LARGE_RUN);
    runs.take(4, 1, 0, PAGE_RUN);
    assertEquals([0, 1, 3, 4, 7, 8].map((unit) => runs.lengthAt(unit)), [3, 0, 4, 0, 9, 0]);
    assertEquals([0, 3, 7].map((unit) => runs.kindAt(unit)), [LARGE_RUN, PAGE_RUN, FREE_RUN]);
    assertEquals([0, 1, 3, 7].map((unit) => runs.largeAt(unit)), [3, 0, 0, 0]);
    assertEquals([0, 2, 3, 6, 7, 15].map((unit) => runs.startOf(unit, 0)), [0, 0, 3, 3, 7, 7]);
    assertEquals(runs.startOf(15, 10), 10);
  });

  it("take() finds a place with room behind, or else one without", () => {
    const { runs, regions } = makeRuns(70);
    const units = [6, 1, 12, 1, 50].map((length) => runs.take(length, 1, 0, LARGE_RUN));
    runs.release(units[0]!, 0, 70);
    runs.release(units[2]!, 0, 70);
    const first = runs.take(6, 1, 0, LARGE_RUN, 12);
    assertEquals(first, 7, "not where it fits exactly");
    assert(runs.resize(first, 12, 70));
    assertEquals(runs.take(6, 1, 0, LARGE_RUN, 12), 0);
    runs.check(regions);
  });

  it("remove() takes the free run of a region out again", () => {
    const { runs, regions } = makeRuns(4, 8);
    runs.remove(4);
    assertEquals(runs.freeUnits, 4);
    assertEquals(runs.take(5, 1, 0, LARGE_RUN), -1);
    runs.check(regions.slice(0, 1));
  });
});

describe("Runs at random", () => {
  /** The regions' units: 0 is free, otherwise the number of the run; parked runs are negative. */
  const LENGTHS = [200, 37, 1, 130];

  for (const seed of [1, 2, 3, 4]) {
    it(`does what a map of single units does, check() after each of 2,000 steps, seed ${seed}`, () => {
      const { runs, regions } = makeRuns(...LENGTHS);
      const owner = new Int32Array(regions.at(-1)!.endUnit);
      const used: number[] = [];
      const random = new Prng(seed);
      const regionOf = (unit: number): Extent => regions.find(({ endUnit }) => unit < endUnit)!;
      const place = (unit: number, count: number, value: number): void => void owner.fill(value, unit, unit + count);
      const isFree = (unit: number, count: number): boolean => {
        for (let at = unit; at < unit + count; at++) if (owner[at] !== 0) return false;
        return unit + count <= regionOf(unit).endUnit;
      };
      for (let step = 1; step <= 2000; step++) {
        const action = random.below(10);
        if (action < 4 || used.length === 0) {
          const count = random.chance(70) ? random.between(1, 12) : random.between(1, 140);
          const alignment = random.chance(60) ? 1 : 1 << random.below(6);
          const bias = random.below(alignment);
          const unit = runs.take(count, alignment, bias, random.chance(50) ? LARGE_RUN : PAGE_RUN);
          if (unit === -1) {
            for (let at = 0; at < owner.length; at++) {
              if ((at + bias) % alignment === 0 && isFree(at, count)) fail(`step ${step}: ${count} units fit at ${at}`);
            }
          } else {
            assert(isFree(unit, count), `step ${step}: ${count} units at ${unit} are not free`);
            assertEquals((unit + bias) % alignment, 0);
            place(unit, count, step);
            used.push(unit);
          }
        } else {
          const index = random.below(used.length);
          const unit = used[index]!;
          const count = runs.lengthAt(unit);
          const { firstUnit, endUnit } = regionOf(unit);
          if (action < 7) {
            used.splice(index, 1);
            runs.release(unit, firstUnit, endUnit);
            place(unit, count, 0);
          } else if (action === 7) {
            const parks = count <= 64 && runs.parked.total + count <= 256;
            assertEquals(runs.parked.put(unit), parks);
            if (parks) {
              used.splice(index, 1);
              place(unit, count, -count);
            }
          } else if (action === 8) {
            const any = random.chance(30);
            const parked = any ? runs.parked.takeAny() : runs.parked.take(random.between(1, 12));
            if (parked !== -1) {
              assertEquals(owner[parked], -runs.lengthAt(parked));
              place(parked, runs.lengthAt(parked), step);
              used.push(parked);
            } else if (any) assertEquals(runs.parked.total, 0);
          } else if (runs.largeAt(unit) !== 0) {
            const wanted = random.between(1, count * 2);
            const fits = wanted <= count || isFree(unit + count, wanted - count) && unit + wanted <= endUnit;
            assertEquals(runs.resize(unit, wanted, endUnit), fits, `step ${step}: ${unit}, ${count} to ${wanted}`);
            if (fits) {
              place(unit, count, 0);
              place(unit, wanted, step);
            }
          }
        }
        runs.check(regions);
        assertEquals(runs.freeUnits, owner.reduce((sum, value) => sum + Number(value === 0), 0));
      }
    });
  }
});
