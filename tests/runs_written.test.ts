/**
 * Runs of units and what of them was written: free runs know it, and `take()` goes by it.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { LARGE_RUN } from "../src/run_record.ts";
import { Prng } from "./support/prng.ts";
import { makeRuns } from "./support/runs.ts";

describe("Runs and what was written", () => {
  it("free runs know where nothing was written, in both parts when they are split", () => {
    const { runs, regions } = makeRuns(64);
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
      const { runs, regions } = makeRuns(lengths.reduce((sum, length) => sum + length, 0));
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
    const { runs, regions } = makeRuns(40);
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
      const { runs, regions } = makeRuns(40);
      for (const length of [20, 10, 10]) runs.take(length, 1, 0, LARGE_RUN);
      runs.release(0, 0, 40, 20);
      runs.release(20, 0, 40);
      // One run of 30 units, of which the last ten were written.
      assertEquals([runs.take(4, 1, 0, LARGE_RUN, room), runs.freshUnits], [unit, fresh], `room ${room}`);
      runs.check(regions);
    }
    // What is skipped for the alignment is no room.
    const { runs, regions } = makeRuns(40);
    for (const length of [1, 20, 10, 9]) runs.take(length, 1, 0, LARGE_RUN);
    runs.release(1, 0, 40, 20);
    runs.release(21, 0, 40);
    assertEquals([runs.take(4, 8, 0, LARGE_RUN, 27), runs.freshUnits], [24, 0]);
    runs.check(regions);
  });

  it("take() prefers a longer run that was written to a shorter one that was not", () => {
    const { runs, regions } = makeRuns(60);
    const units = [10, 1, 20, 1, 28].map((length) => runs.take(length, 1, 0, LARGE_RUN));
    runs.release(units[0]!, 0, 60, 10);
    runs.release(units[2]!, 0, 60);
    assertEquals([runs.take(8, 1, 0, LARGE_RUN), runs.freshUnits], [11, 0]);
    assertEquals([runs.take(13, 1, 0, LARGE_RUN), runs.freshUnits], [-1, 0], "nothing fits");
    assertEquals([runs.take(12, 1, 0, LARGE_RUN), runs.freshUnits], [19, 0]);
    assertEquals([runs.take(8, 1, 0, LARGE_RUN), runs.freshUnits], [0, 8], "at last the one that was not");
    runs.check(regions);
  });

  it("what was written is counted, at random, and nothing is left of it when all was given back", () => {
    const seed = Date.now() % 2 ** 31;
    const random = new Prng(seed);
    const { runs, regions } = makeRuns(300);
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
});
