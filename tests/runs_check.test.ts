/**
 * What `Runs.check()` finds in damaged records of runs, to the bit.
 *
 * @module
 */
import { assert, assertEquals, assertThrows, fail } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError } from "../src/errors.ts";
import { FREE_RUN, LARGE_RUN, PARKED_RUN } from "../src/run_record.ts";
import type { Runs } from "../src/runs.ts";
import { type Extent, makeRuns, tiling } from "./support/runs.ts";

/** In HEAD of a free run: all of it was written. */
const WRITTEN = 4;

/** Words of a record. */
const HEAD = 0;
const TAIL = 1;
const NEXT = 2;
const PREV = 3;

describe("Runs.check()", () => {
  /** Two free runs of 3 units, one of 5, two parked, and used ones between. */
  function populated(): { runs: Runs; regions: Extent[] } {
    const { runs, regions } = makeRuns(40);
    const lengths = [2, 3, 2, 3, 2, 5, 2, 4, 2, 4, 2];
    const units = lengths.map((length) => runs.take(length, 1, 0, LARGE_RUN));
    for (const index of [1, 3, 5]) runs.release(units[index]!, 0, 40);
    for (const index of [7, 9]) assert(runs.parked.put(units[index]!));
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

  const DAMAGES: readonly (readonly [what: string, damage: (runs: Runs) => void, message: string])[] = [
    [
      "a head inside a run",
      ({ units }) => units[1 * 4 + HEAD] = (1 << 8) | LARGE_RUN,
      "Cannot trust unit 1: it is inside a run and has a head",
    ],
    [
      "a wrong count of free units",
      (runs) => runs.freeUnits++,
      "Cannot trust unit 0: 20 units are free, 21 are counted",
    ],
    [
      "a wrong back link",
      ({ units }) => units[2 * 4 + PREV] = 0,
      "Cannot trust unit 2: its back link in bin 2 is wrong",
    ],
    [
      "a free run in no bin",
      ({ units }) => units[7 * 4 + NEXT] = 0,
      "Cannot trust unit 2: it is free but in no bin",
    ],
    [
      "a wrong count of parked units",
      (runs) => runs.parked.total++,
      "Cannot trust unit 0: the parked runs are not all in their stacks",
    ],
    [
      "a length without its bit",
      (runs) => runs.parked.lengths[0] = 0,
      "Cannot trust unit 0: the bit for parked runs of 4 units is wrong",
    ],
    [
      "a bit without a run",
      (runs) => runs.parked.lengths[2] = 1,
      "Cannot trust unit 0: the bit for parked runs of 64 units is wrong",
    ],
  ];
  for (const [what, damage, message] of DAMAGES) {
    it(`finds ${what}`, () => {
      const { runs, regions } = populated();
      damage(runs);
      assertFinds(runs, regions, message);
    });
  }

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

  it("finds a wrong bit of a bin", () => {
    const { runs, regions } = makeRuns(20);
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

  it("finds runs in use that are marked as written, and a wrong sum of what is written", () => {
    const { runs, regions } = makeRuns(64);
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
      const { runs, regions } = makeRuns(64);
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
    const { runs, regions } = makeRuns(64);
    runs.units[HEAD]! |= 12;
    assertThrows(() => runs.check(regions), CorruptionError, "unit 0: its gap is not a part of it");
  });
});
