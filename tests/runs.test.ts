/**
 * Runs of units: placement, merging, parking, and what `check` finds.
 *
 * @module
 */
import { assert, assertEquals, assertThrows, fail } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError } from "../src/errors.ts";
import {
  FREE_RUN,
  INFO_ALIGNMENT,
  INFO_OWNED,
  LARGE_RUN,
  PAGE_RUN,
  PARKED_RUN,
  Runs,
  UNIT,
  UNIT_RECORD,
} from "../src/runs.ts";
import { Prng } from "./support/prng.ts";

/** In HEAD of a free run: all of it was written. */
const WRITTEN = 4;

/** Words of a record. */
const HEAD = 0;
const TAIL = 1;
const NEXT = 2;
const PREV = 3;

interface Extent {
  readonly firstUnit: number;
  readonly endUnit: number;
}

/** Runs over regions of the given lengths, all free. */
function make(...lengths: number[]): { runs: Runs; regions: Extent[] } {
  const runs = new Runs();
  runs.units = new Int32Array(4 * lengths.reduce((sum, length) => sum + length, 0));
  const regions: Extent[] = [];
  let unit = 0;
  for (const length of lengths) {
    runs.add(unit, unit + length);
    regions.push({ firstUnit: unit, endUnit: unit + length });
    unit += length;
  }
  runs.check(regions);
  return { runs, regions };
}

/** What the runs are, as text: `free 3, large 2, ...`. */
function tiling(runs: Runs, regions: readonly Extent[]): string {
  const names = ["free", "large", "page", "parked"];
  const parts: string[] = [];
  for (const { firstUnit, endUnit } of regions) {
    for (let unit = firstUnit; unit < endUnit; unit += runs.lengthAt(unit)) {
      parts.push(`${names[runs.kindAt(unit)]} ${runs.lengthAt(unit)}`);
    }
  }
  return parts.join(", ");
}

describe("Runs", () => {
  it("has units of 4 KiB and records of 16 bytes", () => {
    assertEquals([UNIT, UNIT_RECORD], [4096, 16]);
  });

  it("take() takes from the start of a free run and leaves the rest free", () => {
    const { runs, regions } = make(16);
    assertEquals(runs.take(3, 1, 0, LARGE_RUN), 0);
    assertEquals(runs.take(4, 1, 0, PAGE_RUN), 3);
    assertEquals(tiling(runs, regions), "large 3, page 4, free 9");
    assertEquals(runs.freeUnits, 9);
    runs.check(regions);
  });

  it("take() takes a run that fits exactly", () => {
    const { runs, regions } = make(5);
    assertEquals(runs.take(5, 1, 0, LARGE_RUN), 0);
    assertEquals(runs.freeUnits, 0);
    assertEquals(runs.take(1, 1, 0, LARGE_RUN), -1);
    runs.check(regions);
  });

  it("take() takes the shortest run that fits", () => {
    const { runs, regions } = make(100, 7, 5, 6);
    assertEquals(runs.take(5, 1, 0, LARGE_RUN), 107);
    assertEquals(runs.take(6, 1, 0, LARGE_RUN), 112);
    assertEquals(runs.take(2, 1, 0, LARGE_RUN), 100);
    runs.check(regions);
  });

  it("take() takes the shortest of one bin above 64 units", () => {
    const { runs, regions } = make(127, 120, 113, 126);
    assertEquals(runs.take(112, 1, 0, LARGE_RUN), 247);
    assertEquals(runs.take(112, 1, 0, LARGE_RUN), 127);
    runs.check(regions);
  });

  it("take() finds the only run that fits behind many in its bin that do not", () => {
    const lengths = [127, ...Array.from({ length: 40 }, () => 112)];
    const { runs, regions } = make(...lengths);
    // The long one was added first, so it is the last of its bin.
    assertEquals(runs.take(127, 1, 0, LARGE_RUN), 0);
    runs.check(regions);
  });

  it("take() places by alignment, and frees what it skips on both sides", () => {
    const { runs, regions } = make(64);
    runs.take(1, 1, 0, LARGE_RUN);
    assertEquals(runs.take(4, 16, 0, LARGE_RUN), 16);
    assertEquals(tiling(runs, regions), "large 1, free 15, large 4, free 44");
    runs.check(regions);
  });

  it("take() places by alignment from a base that is not aligned", () => {
    for (const bias of [0, 1, 5, 15]) {
      const { runs, regions } = make(64);
      const unit = runs.take(4, 16, bias, LARGE_RUN);
      assertEquals((unit + bias) % 16, 0);
      assertEquals(unit, (16 - bias) % 16);
      runs.check(regions);
    }
  });

  it("take() returns -1 and changes nothing when only the alignment stands in the way", () => {
    const { runs, regions } = make(24);
    assertEquals(runs.take(16, 16, 1, LARGE_RUN), -1);
    assertEquals(runs.take(25, 1, 0, LARGE_RUN), -1);
    assertEquals(tiling(runs, regions), "free 24");
    runs.check(regions);
  });

  it("release() merges with neither, the next, the previous and both neighbours", () => {
    const { runs, regions } = make(8);
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
    const { runs, regions } = make(4, 4);
    const units = [runs.take(4, 1, 0, LARGE_RUN), runs.take(4, 1, 0, LARGE_RUN)].sort((a, b) => a - b);
    assertEquals(units, [0, 4]);
    runs.release(0, 0, 4);
    runs.release(4, 4, 8);
    assertEquals(tiling(runs, regions), "free 4, free 4");
    runs.check(regions);
  });

  it("release() does not merge with a parked run", () => {
    const { runs, regions } = make(8);
    for (let i = 0; i < 4; i++) runs.take(2, 1, 0, LARGE_RUN);
    assert(runs.park(0));
    runs.release(2, 0, 8);
    assertEquals(tiling(runs, regions), "parked 2, free 2, large 2, large 2");
    runs.check(regions);
  });

  it("every length from 1 to 1,100 units, and every power of two above, goes into a bin and comes out again", () => {
    const lengths: number[] = [];
    for (let length = 1; length <= 1100; length++) lengths.push(length);
    for (const length of lengths) {
      const { runs, regions } = make(length);
      assertEquals(runs.take(length + 1, 1, 0, LARGE_RUN), -1);
      assertEquals(runs.take(length, 1, 0, LARGE_RUN), 0);
      runs.release(0, 0, length);
      assertEquals(runs.freeUnits, length);
      runs.check(regions);
    }
    for (let log = 11; log <= 16; log++) {
      for (const length of [2 ** log - 1, 2 ** log, 2 ** log + 1, 1.25 * 2 ** log, 1.75 * 2 ** log]) {
        const { runs } = make(length);
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
    const { runs, regions } = make(16);
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
    const { runs, regions } = make(16);
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
    const { runs, regions } = make(4, 4);
    const unit = runs.take(4, 1, 0, LARGE_RUN);
    assert(!runs.resize(unit, 5, unit + 4));
    runs.check(regions);
  });

  it("park() keeps a run at its length for unpark(), last in first out", () => {
    const { runs, regions } = make(12);
    for (let i = 0; i < 4; i++) runs.take(3, 1, 0, LARGE_RUN);
    assert(runs.park(3));
    assert(runs.park(9));
    assertEquals(runs.kindAt(3), PARKED_RUN);
    assertEquals([runs.parkedUnits, runs.freeUnits, runs.largeAt(3)], [6, 0, 0]);
    runs.check(regions);
    assertEquals(runs.unpark(2), -1);
    assertEquals(runs.unpark(3), 9);
    assertEquals(runs.largeAt(9), 3);
    assertEquals(runs.unpark(3), 3);
    assertEquals(runs.unpark(3), -1);
    assertEquals(runs.parkedUnits, 0);
    runs.check(regions);
  });

  it("park() refuses runs above 64 units and more than 256 units together", () => {
    const { runs, regions } = make(400);
    const long = runs.take(65, 1, 0, LARGE_RUN);
    assert(!runs.park(long));
    assertEquals(runs.unpark(65), -1);
    const units = Array.from({ length: 5 }, () => runs.take(64, 1, 0, LARGE_RUN));
    for (const unit of units.slice(0, 4)) assert(runs.park(unit));
    assert(!runs.park(units[4]!));
    assertEquals(runs.parkedUnits, 256);
    runs.check(regions);
  });

  it("unparkAny() takes every parked run, and then none", () => {
    const { runs, regions } = make(100);
    for (const count of [64, 1, 7]) assert(runs.park(runs.take(count, 1, 0, LARGE_RUN)));
    const lengths = [runs.unparkAny(), runs.unparkAny(), runs.unparkAny()].map((unit) => runs.lengthAt(unit));
    assertEquals(lengths, [1, 7, 64]);
    assertEquals(runs.unparkAny(), -1);
    runs.check(regions);
  });

  it("describe(), slack() and info() keep what a large block's record says", () => {
    const { runs, regions } = make(4);
    runs.take(2, 1, 0, LARGE_RUN);
    runs.describe(0, 4095, 20 | INFO_OWNED);
    assertEquals([runs.slack(0), runs.info(0) & INFO_ALIGNMENT, runs.info(0) & INFO_OWNED], [4095, 20, INFO_OWNED]);
    runs.check(regions);
  });

  it("lengthAt(), kindAt(), largeAt() and startOf() say what is where", () => {
    const { runs } = make(16);
    runs.take(3, 1, 0, LARGE_RUN);
    runs.take(4, 1, 0, PAGE_RUN);
    assertEquals([0, 1, 3, 4, 7, 8].map((unit) => runs.lengthAt(unit)), [3, 0, 4, 0, 9, 0]);
    assertEquals([0, 3, 7].map((unit) => runs.kindAt(unit)), [LARGE_RUN, PAGE_RUN, FREE_RUN]);
    assertEquals([0, 1, 3, 7].map((unit) => runs.largeAt(unit)), [3, 0, 0, 0]);
    assertEquals([0, 2, 3, 6, 7, 15].map((unit) => runs.startOf(unit, 0)), [0, 0, 3, 3, 7, 7]);
    assertEquals(runs.startOf(15, 10), 10);
  });

  it("free runs know where nothing was written, in both parts when they are split", () => {
    const { runs, regions } = make(64);
    assertEquals([runs.writtenUnits, runs.writtenRuns(1)], [0, []]);
    assertEquals(runs.take(16, 16, 0, LARGE_RUN), 0);
    assertEquals(runs.freshUnits, 16);
    runs.release(0, 0, 64);
    assertEquals([runs.writtenUnits, runs.writtenRuns(1), runs.writtenRuns(17)], [16, [0], []]);
    assertEquals([runs.take(20, 1, 0, LARGE_RUN), runs.freshUnits, runs.writtenUnits], [0, 4, 0]);
    runs.release(0, 0, 64);
    assertEquals([runs.take(4, 1, 0, LARGE_RUN), runs.freshUnits, runs.writtenUnits], [0, 0, 16]);
    assertEquals([runs.take(8, 32, 0, LARGE_RUN), runs.freshUnits, runs.writtenUnits], [32, 8, 16]);
    assertEquals(runs.writtenRuns(1), [4]);
    runs.check(regions);
    assert(runs.resize(0, 30, 64));
    assertEquals([runs.freshUnits, runs.writtenUnits], [10, 0]);
    // Three of its eight units were not written; they touch the gap behind it, and the two units before it do not.
    runs.release(32, 0, 64, 3);
    assertEquals([runs.writtenUnits, runs.writtenRuns(1)], [2 + 5, [30]]);
    runs.release(0, 0, 64);
    assertEquals([runs.writtenUnits, runs.writtenRuns(1)], [30 + 2 + 5, [0]]);
    runs.check(regions);
    runs.markDiscarded(0);
    assertEquals([runs.writtenUnits, runs.writtenRuns(1)], [0, []]);
    runs.check(regions);
  });

  it("release() makes one gap of two that touch, on either side, and keeps the longer of two that do not", () => {
    // Each of the runs has units that were not written at its end only.
    const around = (lengths: readonly number[], gaps: readonly number[], order: readonly number[]): number => {
      const { runs, regions } = make(lengths.reduce((sum, length) => sum + length, 0));
      const units = lengths.map((length) => runs.take(length, 1, 0, LARGE_RUN));
      for (const i of order) runs.release(units[i]!, 0, 64, gaps[i]!);
      runs.check(regions);
      return runs.freeUnits - runs.writtenUnits;
    };
    assertEquals(around([4, 4, 4], [1, 4, 0], [0, 2, 1]), 5, "the gap before it, and its own");
    assertEquals(around([4, 4, 4], [0, 3, 4], [0, 2, 1]), 7, "its own, and the one behind it");
    assertEquals(around([4, 4, 4], [1, 4, 4], [0, 2, 1]), 9, "all three");
    assertEquals(around([4, 8, 4], [3, 2, 1], [0, 2, 1]), 3, "the longest is before it");
    assertEquals(around([4, 8, 4], [1, 2, 1], [0, 2, 1]), 2, "the longest is its own");
    assertEquals(around([4, 8, 8], [2, 3, 4], [0, 2, 1]), 4, "the longest is behind it");
  });

  it("take() places at the end of a run when its start was not written, and what is there was", () => {
    const { runs, regions } = make(40);
    for (const length of [20, 10, 10]) runs.take(length, 1, 0, LARGE_RUN);
    runs.release(0, 0, 40, 20);
    runs.release(20, 0, 40);
    // 20 units that were not written, then 10 that were.
    assertEquals([runs.take(4, 1, 0, LARGE_RUN), runs.freshUnits], [26, 0]);
    assertEquals([runs.take(4, 4, 0, LARGE_RUN), runs.freshUnits], [20, 0], "at a multiple of four");
    runs.release(26, 0, 40);
    assertEquals([runs.take(8, 1, 0, LARGE_RUN), runs.freshUnits], [0, 8], "the six behind are too few");
    runs.check(regions);
  });

  it("take() places at the end also when there is no room to grow, and at the start where there is", () => {
    for (const [room, unit, fresh] of [[31, 26, 0], [30, 0, 4], [9, 0, 4], [4, 26, 0]] as const) {
      const { runs, regions } = make(40);
      for (const length of [20, 10, 10]) runs.take(length, 1, 0, LARGE_RUN);
      runs.release(0, 0, 40, 20);
      runs.release(20, 0, 40);
      // One run of 30 units, of which the last ten were written.
      assertEquals([runs.take(4, 1, 0, LARGE_RUN, room), runs.freshUnits], [unit, fresh], `room ${room}`);
      runs.check(regions);
    }
    // What is skipped for the alignment is no room.
    const { runs, regions } = make(40);
    for (const length of [1, 20, 10, 9]) runs.take(length, 1, 0, LARGE_RUN);
    runs.release(1, 0, 40, 20);
    runs.release(21, 0, 40);
    assertEquals([runs.take(4, 8, 0, LARGE_RUN, 27), runs.freshUnits], [24, 0]);
    runs.check(regions);
  });

  it("take() prefers a longer run that was written to a shorter one that was not", () => {
    const { runs, regions } = make(60);
    const units = [10, 1, 20, 1, 28].map((length) => runs.take(length, 1, 0, LARGE_RUN));
    runs.release(units[0]!, 0, 60, 10);
    runs.release(units[2]!, 0, 60);
    assertEquals([runs.take(8, 1, 0, LARGE_RUN), runs.freshUnits], [11, 0]);
    assertEquals([runs.take(13, 1, 0, LARGE_RUN), runs.freshUnits], [-1, 0], "nothing fits");
    assertEquals([runs.take(12, 1, 0, LARGE_RUN), runs.freshUnits], [19, 0]);
    assertEquals([runs.take(8, 1, 0, LARGE_RUN), runs.freshUnits], [0, 8], "at last the one that was not");
    runs.check(regions);
  });

  it("take() finds a place with room behind, or else one without", () => {
    const { runs, regions } = make(70);
    const units = [6, 1, 12, 1, 50].map((length) => runs.take(length, 1, 0, LARGE_RUN));
    runs.release(units[0]!, 0, 70);
    runs.release(units[2]!, 0, 70);
    const first = runs.take(6, 1, 0, LARGE_RUN, 12);
    assertEquals(first, 7, "not where it fits exactly");
    assert(runs.resize(first, 12, 70));
    assertEquals(runs.take(6, 1, 0, LARGE_RUN, 12), 0);
    runs.check(regions);
  });

  it("what was written is counted, at random, and nothing is left of it when all was given back", () => {
    const seed = Date.now() % 2 ** 31;
    const random = new Prng(seed);
    const { runs, regions } = make(300);
    const used: number[] = [];
    for (let step = 0; step < 2000; step++) {
      if (random.chance(50)) {
        const count = random.between(1, 30);
        const before = runs.writtenUnits;
        const unit = runs.take(count, 1, 0, LARGE_RUN);
        if (unit === -1) continue;
        used.push(unit);
        const message = `seed ${seed}, step ${step}`;
        assert(runs.freshUnits >= 0 && runs.freshUnits <= count, message);
        assertEquals(before - runs.writtenUnits, count - runs.freshUnits, message);
      } else if (used.length > 0) {
        runs.release(used.splice(random.below(used.length), 1)[0]!, 0, 300, random.below(2));
      }
      if (random.chance(2)) {
        for (const unit of runs.writtenRuns(1)) runs.markDiscarded(unit);
        assertEquals(runs.writtenUnits, 0, `seed ${seed}, step ${step}`);
      }
      runs.check(regions);
    }
  });

  it("finds runs in use that are marked as written, and a wrong sum of what is written", () => {
    const { runs, regions } = make(64);
    runs.release(runs.take(16, 1, 0, LARGE_RUN), 0, 64);
    runs.take(4, 1, 0, LARGE_RUN);
    runs.units[HEAD]! |= 4;
    assertThrows(() => runs.check(regions), CorruptionError, "unit 0: it is in use and written as free runs are");
    runs.units[HEAD]! &= ~4;
    runs.writtenUnits++;
    assertThrows(() => runs.check(regions), CorruptionError, "units are written, not");
  });

  it("finds a gap that is not a part of its run", () => {
    for (const [from, to] of [[3, 8], [8, 65], [9, 9], [9, 8], [4, 64]] as const) {
      const { runs, regions } = make(64);
      const units = [4, 4].map((length) => runs.take(length, 1, 0, LARGE_RUN));
      runs.release(units[1]!, 0, 64);
      runs.check(regions);
      assertEquals(runs.units[63 * 4 + NEXT], 8);
      assertEquals(runs.units[63 * 4 + PREV], 64);
      runs.units[63 * 4 + NEXT] = from;
      runs.units[63 * 4 + PREV] = to;
      assertThrows(
        () => runs.check(regions),
        CorruptionError,
        "unit 4: its gap is not a part of it",
        `${from} to ${to}`,
      );
    }
    const { runs, regions } = make(64);
    runs.units[HEAD]! |= 12;
    assertThrows(() => runs.check(regions), CorruptionError, "unit 0: its gap is not a part of it");
  });

  it("remove() takes the free run of a region out again", () => {
    const { runs, regions } = make(4, 8);
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
      const { runs, regions } = make(...LENGTHS);
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
            const parks = count <= 64 && runs.parkedUnits + count <= 256;
            assertEquals(runs.park(unit), parks);
            if (parks) {
              used.splice(index, 1);
              place(unit, count, -count);
            }
          } else if (action === 8) {
            const any = random.chance(30);
            const parked = any ? runs.unparkAny() : runs.unpark(random.between(1, 12));
            if (parked !== -1) {
              assertEquals(owner[parked], -runs.lengthAt(parked));
              place(parked, runs.lengthAt(parked), step);
              used.push(parked);
            } else if (any) assertEquals(runs.parkedUnits, 0);
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

describe("Runs.check()", () => {
  /** Two free runs of 3 units, one of 5, two parked, and used ones between. */
  function populated(): { runs: Runs; regions: Extent[] } {
    const { runs, regions } = make(40);
    const lengths = [2, 3, 2, 3, 2, 5, 2, 4, 2, 4, 2];
    const units = lengths.map((length) => runs.take(length, 1, 0, LARGE_RUN));
    for (const index of [1, 3, 5]) runs.release(units[index]!, 0, 40);
    for (const index of [7, 9]) assert(runs.park(units[index]!));
    runs.check(regions);
    assertEquals(
      tiling(runs, regions),
      "large 2, free 3, large 2, free 3, large 2, free 5, large 2, parked 4, large 2, parked 4, large 2, free 9",
    );
    return { runs, regions };
  }

  function assertFinds(runs: Runs, regions: readonly Extent[], message: string): void {
    assertThrows(() => runs.check(regions), CorruptionError, message);
  }

  it("finds a run that has no length, or leaves its region", () => {
    for (const head of [0, (1000 << 8) | LARGE_RUN]) {
      const { runs, regions } = populated();
      runs.units[0 * 4 + HEAD] = head;
      assertFinds(runs, regions, "Cannot trust unit 0: its run does not end inside its region");
    }
  });

  it("finds a head inside a run", () => {
    const { runs, regions } = populated();
    runs.units[1 * 4 + HEAD] = (1 << 8) | LARGE_RUN;
    assertFinds(runs, regions, "Cannot trust unit 1: it is inside a run and has a head");
  });

  it("finds a wrong tail, and one where none belongs", () => {
    const { runs, regions } = populated();
    runs.units[4 * 4 + TAIL] = 2;
    assertFinds(runs, regions, "Cannot trust unit 4: its tail is not 3");
    runs.units[4 * 4 + TAIL] = 3;
    runs.units[1 * 4 + TAIL] = 2;
    assertFinds(runs, regions, "Cannot trust unit 1: its tail is not 0");
  });

  it("finds two free runs that touch", () => {
    const { runs, regions } = populated();
    const { units } = runs;
    units[2 * 4 + HEAD] = (1 << 8) | WRITTEN;
    units[2 * 4 + TAIL] = 1;
    units[3 * 4 + HEAD] = (2 << 8) | WRITTEN;
    units[4 * 4 + TAIL] = 2;
    assertFinds(runs, regions, "Cannot trust unit 3: two free runs touch");
  });

  it("finds a wrong count of free units", () => {
    const { runs, regions } = populated();
    runs.freeUnits++;
    assertFinds(runs, regions, "Cannot trust unit 0: 20 units are free, 21 are counted");
  });

  it("finds a wrong bit of a bin", () => {
    const { runs, regions } = make(20);
    for (const length of [5, 1, 5, 1, 8]) runs.take(length, 1, 0, LARGE_RUN);
    runs.release(0, 0, 20);
    runs.release(6, 0, 20);
    // With a forged length, the run is taken out of the wrong bin, which gets the rest of its list but no bit.
    runs.units[6 * 4 + HEAD] = (3 << 8) | WRITTEN;
    runs.remove(6);
    runs.units[6 * 4 + HEAD] = (5 << 8) | LARGE_RUN;
    runs.units[10 * 4 + TAIL] = 0;
    runs.freeUnits -= 2;
    assertFinds(runs, regions, "Cannot trust unit 0: the bit of bin 2 is wrong");
  });

  it("finds what is in a bin and not free, and what is in it twice", () => {
    for (const link of [1, 8]) {
      const { runs, regions } = populated();
      // The list of bin 2 is units 7 and 2.
      assertEquals(runs.units[7 * 4 + NEXT], 3);
      runs.units[7 * 4 + NEXT] = link;
      assertFinds(runs, regions, `Cannot trust unit ${link - 1}: it is in bin 2 but not a free run, or twice`);
    }
  });

  it("finds a run in the wrong bin", () => {
    const { runs, regions } = populated();
    const { units } = runs;
    // A free run of 3 units that has become one of 2; the block behind it begins a unit earlier.
    units[7 * 4 + HEAD] = (2 << 8) | WRITTEN;
    units[8 * 4 + TAIL] = 2;
    units[9 * 4 + TAIL] = 0;
    units[9 * 4 + HEAD] = (3 << 8) | LARGE_RUN;
    units[10 * 4 + HEAD] = 0;
    runs.freeUnits--;
    assertFinds(runs, regions, "Cannot trust unit 7: it is in the wrong bin 2");
  });

  it("finds a wrong back link", () => {
    const { runs, regions } = populated();
    runs.units[2 * 4 + PREV] = 0;
    assertFinds(runs, regions, "Cannot trust unit 2: its back link in bin 2 is wrong");
  });

  it("finds a free run in no bin", () => {
    const { runs, regions } = populated();
    runs.units[7 * 4 + NEXT] = 0;
    assertFinds(runs, regions, "Cannot trust unit 2: it is free but in no bin");
  });

  it("finds a parked run in the wrong stack, twice in one, or in none", () => {
    const { runs, regions } = populated();
    assertEquals([runs.kindAt(19), runs.kindAt(25), runs.units[25 * 4 + NEXT]], [PARKED_RUN, PARKED_RUN, 20]);
    runs.units[25 * 4 + NEXT] = 26;
    assertFinds(runs, regions, "Cannot trust unit 25: it is not a parked run of 4 units, or twice");
    runs.units[25 * 4 + NEXT] = 1;
    assertFinds(runs, regions, "Cannot trust unit 0: it is not a parked run of 4 units, or twice");
    runs.units[25 * 4 + NEXT] = 0;
    assertFinds(runs, regions, "Cannot trust unit 0: the parked runs are not all in their stacks");
  });

  it("finds a wrong count of parked units", () => {
    const { runs, regions } = populated();
    runs.parkedUnits++;
    assertFinds(runs, regions, "Cannot trust unit 0: the parked runs are not all in their stacks");
  });

  it("finds every flipped bit of every record that means something", () => {
    const { runs, regions } = populated();
    const { units } = runs;
    let found = 0;
    for (let unit = 0; unit < 40; unit++) {
      for (let word = 0; word < 4; word++) {
        for (let bit = 0; bit < 31; bit++) {
          // What a large block says of itself is not for Runs to know.
          const isLinked = runs.lengthAt(unit) > 0 &&
            (runs.kindAt(unit) === FREE_RUN || runs.kindAt(unit) === PARKED_RUN);
          if (word >= NEXT && (!isLinked || (word === PREV && runs.kindAt(unit) === PARKED_RUN))) continue;
          units[unit * 4 + word]! ^= 1 << bit;
          try {
            runs.check(regions);
          } catch (error) {
            if (!(error instanceof CorruptionError)) throw error;
            found++;
            continue;
          } finally {
            units[unit * 4 + word]! ^= 1 << bit;
          }
          fail(`bit ${bit} of word ${word} of unit ${unit} was flipped, and nothing was found`);
        }
      }
    }
    assertEquals(found, 40 * 31 + 40 * 31 + 6 * 31 + 4 * 31);
    runs.check(regions);
  });
});
