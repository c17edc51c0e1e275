/**
 * The runs of a shared heap, and what is left of them when whoever changes them dies.
 *
 * The records of units are handed to `SharedRuns` as an array that throws at the n-th write, for every n: what a worker that
 * was terminated there would have left. Then the rest is derived anew, as the next holder of the lock does.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError } from "../src/errors.ts";
import { FREE_RUN, LARGE_RUN, PAGE_RUN } from "../src/run_record.ts";
import { CONTROL_WORDS } from "../src/shared_layout.ts";
import { HELD_RUN, SharedRuns } from "../src/shared_runs.ts";
import { Prng } from "./support/prng.ts";
import { envInteger } from "./support/runtime.ts";

const SEED = envInteger("OFFHEAP_SEED", 20_261_121);
const UNITS = 128;

/** Thrown by {@link cutAfter}. */
class Cut extends Error {}

/** An array that throws before the write after `writes`. Atomics are not used on it: its users hold the lock. */
function cutAfter(words: Int32Array, writes: { left: number }): Int32Array {
  return new Proxy(words, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown;
      if (name === "fill") {
        return (word: number, from: number, to: number) => {
          for (let at = from; at < to; at++) write(target, at, word, writes);
        };
      }
      return value;
    },
    set(target, name, value: number) {
      write(target, Number(name), value, writes);
      return true;
    },
  });
}

function write(target: Int32Array, at: number, value: number, writes: { left: number }): void {
  if (writes.left-- === 0) throw new Cut();
  target[at] = value;
}

/** Runs over plain arrays, of one region. */
class Subject {
  readonly units: Int32Array = new Int32Array(UNITS * 4);
  readonly control: Int32Array = new Int32Array(CONTROL_WORDS);
  readonly runs: SharedRuns = new SharedRuns(this);

  constructor() {
    this.runs.prepare(0, UNITS);
    this.runs.add(0);
  }

  /** The used runs: their first units and lengths. */
  used(): Map<number, number> {
    const found = new Map<number, number>();
    for (let unit = 0; unit < UNITS; unit += this.runs.lengthAt(unit)) {
      if (this.runs.kindAt(unit) !== FREE_RUN) found.set(unit, this.runs.lengthAt(unit));
    }
    return found;
  }

  check(): void {
    this.runs.check([[0, UNITS]]);
  }

  /** Derives everything anew, keeping all used runs. */
  recover(): void {
    this.runs.clear();
    this.runs.rebuild(0, UNITS, () => true);
  }

  copy(): Subject {
    const copy = new Subject();
    copy.units.set(this.units);
    copy.control.set(this.control);
    return copy;
  }
}

/** What can be done to runs. */
type Step =
  | {
    readonly do: "take";
    readonly count: number;
    readonly alignment: number;
    readonly kind: typeof LARGE_RUN | typeof PAGE_RUN;
  }
  | { readonly do: "release"; readonly unit: number }
  | { readonly do: "resize"; readonly unit: number; readonly count: number };

function perform(runs: SharedRuns, step: Step): void {
  if (step.do === "take") runs.take(step.count, step.alignment, 0, step.kind, 5, 4);
  else if (step.do === "resize") runs.resize(step.unit, step.count, 0, UNITS);
  else runs.release(step.unit, 0, UNITS);
}

function drawStep(random: Prng, subject: Subject): Step {
  const used = [...subject.used().keys()];
  const unit = used[random.below(Math.max(1, used.length))];
  const choice = random.below(10);
  if (unit === undefined || choice < 4) {
    const isPage = random.chance(30);
    return isPage
      ? { do: "take", count: 16, alignment: 16, kind: PAGE_RUN }
      : { do: "take", count: random.between(1, 20), alignment: 2 ** random.below(5), kind: LARGE_RUN };
  }
  if (choice < 8 || subject.runs.kindAt(unit) !== LARGE_RUN) return { do: "release", unit };
  return { do: "resize", unit, count: random.between(1, 30) };
}

describe("SharedRuns", () => {
  it("keeps its records in order through random steps", () => {
    const random = new Prng(SEED);
    const subject = new Subject();
    for (let at = 0; at < 5000; at++) {
      perform(subject.runs, drawStep(random, subject));
      subject.check();
    }
  });

  it("loses nothing and gives nothing out twice when a step is cut at any write", () => {
    const random = new Prng(SEED);
    const subject = new Subject();
    let cuts = 0;
    for (let at = 0; at < 400; at++) {
      const step = drawStep(random, subject);
      const before = subject.used();
      const whole = subject.copy();
      perform(whole.runs, step);
      const after = whole.used();
      for (let left = 0;; left++) {
        const damaged = subject.copy();
        const writes = { left };
        const tables = { units: cutAfter(damaged.units, writes), control: cutAfter(damaged.control, writes) };
        let isCut = false;
        try {
          perform(new SharedRuns(tables), step);
        } catch (error) {
          assert(error instanceof Cut, `${error}`);
          isCut = true;
          cuts++;
        }
        damaged.recover();
        damaged.check();
        const found = JSON.stringify([...damaged.used()]);
        const wanted = isCut ? [before, after] : [after];
        assert(
          wanted.some((runs) => JSON.stringify([...runs]) === found),
          `${JSON.stringify(step)} cut at write ${left}: ${found}; seed ${SEED}`,
        );
        if (!isCut) break;
      }
      perform(subject.runs, step);
    }
    assert(cuts > 2000, `${cuts} cuts`);
  });

  it("can be derived anew from damaged records, and from a rebuild that was itself cut", () => {
    const random = new Prng(SEED);
    const subject = new Subject();
    for (let at = 0; at < 60; at++) perform(subject.runs, drawStep(random, subject));
    const used = JSON.stringify([...subject.used()]);
    for (let left = 0; left < 200; left++) {
      const damaged = subject.copy();
      for (let unit = 0; unit < UNITS; unit++) {
        if (damaged.runs.kindAt(unit) !== LARGE_RUN) damaged.units[unit * 4 + 1] = random.below(100);
        if (damaged.runs.lengthAt(unit) > 0 && damaged.runs.kindAt(unit) === FREE_RUN) damaged.units[unit * 4 + 2] = 77;
      }
      const writes = { left };
      const runs = new SharedRuns({
        units: cutAfter(damaged.units, writes),
        control: cutAfter(damaged.control, writes),
      });
      try {
        runs.clear();
        runs.rebuild(0, UNITS, () => true);
      } catch (error) {
        assert(error instanceof Cut, `${error}`);
      }
      damaged.recover();
      damaged.check();
      assertEquals(JSON.stringify([...damaged.used()]), used, `seed ${SEED}`);
    }
  });

  it("frees what is not to be kept", () => {
    const { runs, control, units } = new Subject();
    runs.take(16, 16, 0, PAGE_RUN, 0, 0);
    runs.take(10, 1, 0, LARGE_RUN, 0, 4);
    runs.clear();
    runs.rebuild(0, UNITS, (_unit, kind) => kind === LARGE_RUN);
    runs.check([[0, UNITS]]);
    assertEquals(runs.freeUnits, UNITS - 10);
    assertEquals([control.length, units.length], [CONTROL_WORDS, UNITS * 4]);
  });

  it("holds a free run, and gives it back as one that reads as zero", () => {
    const { runs } = new Subject();
    const unit = runs.take(40, 1, 0, LARGE_RUN, 0, 4);
    runs.release(unit, 0, UNITS);
    assertEquals(runs.isZeroed(0), false);
    runs.hold(0, 3);
    assertEquals([runs.kindAt(0) as number, runs.info(0), runs.freeUnits], [HELD_RUN, 3, 0]);
    runs.release(0, 0, UNITS, true);
    assertEquals([runs.isZeroed(0), runs.freeUnits], [true, UNITS]);
    runs.check([[0, UNITS]]);
  });

  it("check() finds damage", () => {
    const damages: ((subject: Subject) => void)[] = [
      ({ units }) => units[0] = 0,
      ({ units }) => units[1] = 3,
      ({ units }) => units[40 * 4] = 9,
      ({ control }) => control[40] = 1,
      ({ control }) => control.fill(0, 64, 72),
      ({ control }) => control.fill(0, 72, 208),
      ({ units }) => units[20 * 4 + 3] = 50,
    ];
    for (const damage of damages) {
      const subject = new Subject();
      const unit = subject.runs.take(20, 1, 0, LARGE_RUN, 0, 4);
      assertEquals(unit, 0);
      subject.check();
      damage(subject);
      assertThrows(() => subject.check(), CorruptionError);
    }
  });
});
