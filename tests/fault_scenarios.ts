/**
 * Programs that an allocator must survive while its page source fails, and the ways in which it fails.
 *
 * Each program is run again and again on fresh allocators, and each time one more request succeeds before the source
 * fails, until a run passes without a failure: so every request of the program fails once. What must be the case then is in
 * fault_run.ts.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Address,
  type Allocator,
  Arena,
  failingPageSource,
  Heap,
  OutOfMemoryError,
  type PageOperation,
  PoolAllocator,
  SharedHeap,
  systemPageSource,
  Vec,
} from "../mod.ts";
import { describeError } from "./conformance/support.ts";
import { FaultRun } from "./fault_run.ts";
import type { Subject } from "./subjects.ts";
import { Recorder } from "./support/recording_source.ts";

/** More requests than any scenario makes. */
const MOST_REQUESTS = 3000;

/** Which requests fail, and how often. */
export interface FaultMode {
  /** For test names. */
  readonly name: string;
  /** The operations that count, and fail. */
  readonly operations: readonly PageOperation[];
  /** How many fail before they succeed again. */
  readonly times: number;
  /** How a move of OS pages fails. @defaultValue "throw" */
  readonly moves?: "throw" | "refuse";
}

/** The operations that take something. When one fails, nothing was taken. */
export const TAKING: readonly PageOperation[] = ["reserve", "commit", "wrap", "protect", "move"];
/** The operations that give something back. When one fails, it is still held. */
export const GIVING: readonly PageOperation[] = ["decommit", "discard", "unmap"];

/** Not even what an allocator does to undo a failure succeeds. */
const EVERYTHING: FaultMode = { name: "any request, for ever", operations: [...TAKING, ...GIVING], times: Infinity };

/** The ways to fail. `i` is added by the test: how many requests succeed first. */
export const FAULT_MODES: readonly FaultMode[] = [
  { name: "any request, once", operations: [...TAKING, ...GIVING], times: 1 },
  EVERYTHING,
  { name: "what takes memory, for ever", operations: TAKING, times: Infinity },
  { name: "what gives memory back, for ever", operations: GIVING, times: Infinity },
  { name: "a move of OS pages, which is refused, once", operations: ["move"], times: 1, moves: "refuse" },
];

/** A program. */
export interface Scenario {
  /** For test names. */
  readonly name: string;
  /** Whether it means anything on this allocator. @defaultValue on all */
  readonly applies?: (allocator: Allocator) => boolean;
  /** Does it. */
  readonly run: (run: FaultRun) => void;
}

/** Sizes below, at and above the borders of classes, runs, huge blocks and the reference systems' regions. */
const MIXED = [0, 1, 40, 700, 3000, 9000, 16_384, 20_000, 130_000, 700_000, 4_300_000];

/** Counts and sizes of blocks that make the records of an allocator grow. */
function manyBlocks({ allocator, subject }: FaultRun): readonly (readonly [count: number, size: number])[] {
  // The links of small blocks are two bytes each, the records of units and pages some dozen: OS pages of each.
  if (allocator instanceof Heap || allocator instanceof SharedHeap) return [[6000, 16], [700, 16_000]];
  // Their records are on JavaScript's heap, and each of their requests is one more run of the scenario.
  return subject.mapsBlocks === true ? [[12, 16], [10, 16_000]] : [[300, 16], [10, 16_000]];
}

/** The programs. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: "a mixed set",
    run(run) {
      for (const size of MIXED) run.allocate(size);
      run.freeSome((place) => place % 2 === 0);
      for (const size of MIXED.slice(0, -1)) run.allocate(size, size % 3 === 0 ? 4096 : 64);
      run.freeSome((place) => place % 3 !== 0);
      for (const size of [4_300_000, 20_000, 500]) run.allocate(size);
    },
  },
  {
    name: "growing and shrinking by reallocate",
    run(run) {
      for (let i = 0; i < 3; i++) run.allocate(30 + i * 400);
      for (const size of [600, 3000, 9000, 16_385, 70_000, 500_000, 4_300_000, 5_000_000, 900_000, 9000, 10]) {
        // Two blocks side by side, so that neither can always grow in place; the second up to the border of huge ones.
        const growing = run.blocks.slice(0, size > 1_000_000 ? 1 : 2);
        for (const held of growing) run.reallocate(held, size);
        run.allocate(100);
      }
    },
  },
  {
    name: "trim",
    run(run) {
      for (let round = 0; round < 2; round++) {
        for (let i = 0; i < 9; i++) run.allocate(i % 3 === 0 ? 9000 : 200_000);
        run.freeSome((place) => place % 4 !== round);
        run.trim();
        run.allocate(5000);
        run.allocate(600_000);
      }
      run.freeSome(() => true);
      run.trim();
      run.allocate(200);
    },
  },
  {
    name: "owned buffers",
    run(run) {
      for (const size of [0, 100, 9000, 200_000, 4_300_000]) run.buffer(size, size === 9000 ? 64 : 16);
      for (let place = 0; place < 5; place++) run.resizeBuffer(place, 8000 - place);
      run.resizeBuffer(0, 4_300_000);
      run.resizeBuffer(1, 300_000);
      for (const place of [3, 1, 0]) run.freeBuffer(place);
      run.buffer(2000);
    },
  },
  {
    name: "a vector that grows",
    run(run) {
      const vec = new Vec(Float64Array, { allocator: run.allocator });
      run.vecs.push(vec);
      const most = run.fits(8 * 100_000) ? 100_000 : 1000;
      for (let length = 0; length < most;) {
        const next = Math.min(most, length * 3 + 50);
        // A slice at a time: pushing is an operation only where the vector must grow.
        if (!run.attempt(`reserve(${next - vec.length})`, () => vec.reserve(next - vec.length))) {
          if (!run.attempt("push()", () => void vec.push(vec.length))) break;
        }
        while (vec.length < Math.min(next, vec.capacity)) vec.push(vec.length);
        length = next;
        run.allocate(64);
      }
      vec.truncate(Math.floor(vec.length / 3));
      run.attempt("shrinkToFit()", () => vec.shrinkToFit());
    },
  },
  {
    name: "records that grow",
    run(run) {
      const { allocator } = run;
      for (const [count, size] of manyBlocks(run)) {
        const addresses: Address[] = [];
        run.attempt(`${count} blocks of ${size} bytes`, () => {
          try {
            while (addresses.length < count && run.fits(size)) addresses.push(allocator.allocate(size));
          } finally {
            for (const address of addresses) allocator.free(address);
          }
        });
        run.allocate(16);
      }
      run.trim();
    },
  },
  {
    name: "marks, rewinding and resetting an arena",
    applies: (allocator) => allocator instanceof Arena,
    run(run) {
      const arena = run.allocator as Arena;
      run.allocate(1000);
      const kept = run.blocks.length;
      const mark = arena.mark();
      for (const size of [20_000, 50_000, 400_000, 70_000]) run.allocate(size);
      run.freeSome((place) => place === kept + 1);
      arena.rewind(mark);
      run.blocks.length = kept;
      run.verify("rewind(), which cannot fail,");
      for (const size of [30_000, 300_000, 900_000]) run.allocate(size);
      run.freeAllBy('reset("keep-capacity")', () => arena.reset("keep-capacity"));
      for (const size of [30_000, 300_000]) run.allocate(size);
      run.freeAllBy("reset({ keep: 100000 })", () => arena.reset({ keep: 100_000 }));
      for (const size of [30_000, 300_000]) run.allocate(size);
      run.freeAllBy('reset("free-all")', () => arena.reset("free-all"));
      run.allocate(500);
    },
  },
  {
    name: "a pool that is preheated and grows",
    applies: (allocator) => allocator instanceof PoolAllocator && allocator.growable,
    run(run) {
      const pool = run.allocator as PoolAllocator;
      run.attempt("preheat(30)", () => pool.preheat(30));
      for (let i = 0; i < 60; i++) run.allocate(8000 + i);
      run.attempt("preheat(100)", () => pool.preheat(100));
      run.freeSome((place) => place >= 6);
      run.trim();
      for (let i = 0; i < 20; i++) run.allocate(100);
    },
  },
  {
    name: "dispose in the middle",
    run(run) {
      for (const size of MIXED) run.allocate(size);
      run.freeSome((place) => place % 3 === 0);
      for (const size of [100, 4_300_000]) run.buffer(size);
      run.dispose();
    },
  },
];

/** How one run went. */
export interface FaultOutcome {
  /** Requests that failed on purpose. */
  readonly injected: number;
  /** Operations that failed. */
  readonly failures: number;
}

/** Runs a scenario on a fresh allocator whose source fails after `succeed` requests. */
export function runWithFault(subject: Subject, scenario: Scenario, mode: FaultMode, succeed: number): FaultOutcome {
  const { joining = false } = subject;
  const recorder = new Recorder(systemPageSource(), { joining });
  const { operations, times, moves = "throw" } = mode;
  const source = failingPageSource(recorder.source, succeed, { operations, times, moves });
  let allocator: Allocator;
  try {
    allocator = subject.make(source);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) fail(`making the allocator threw ${describeError(error)}`);
    // Where both what was needed and what would undo it failed, nobody is left to try again.
    const left = recorder.mappings();
    assert(mode === EVERYTHING || left.length === 0, "a mapping is left of an allocator that could not be made");
    for (const { address, byteLength } of left) recorder.source.unmap(address, byteLength);
    assertEquals(recorder.complaint(), "", "after the allocator could not be made");
    return { injected: source.failures, failures: 1 };
  }
  const run = new FaultRun(allocator, subject, recorder, source);
  let passed = false;
  try {
    scenario.run(run);
    const { failures } = source;
    run.finish();
    passed = true;
    return { injected: failures, failures: run.failures };
  } finally {
    if (!passed) run.abandon();
  }
}

/** The scenarios that mean something on a subject. */
export function scenariosFor(subject: Subject): readonly Scenario[] {
  using allocator = subject.make(systemPageSource());
  return SCENARIOS.filter(({ applies }) => applies?.(allocator) ?? true);
}

/** Registers the fault tests of some allocators. */
export function faultTests(subjects: readonly Subject[]): void {
  for (const subject of subjects) {
    describe(`${subject.name} over a page source that fails`, () => {
      for (const scenario of scenariosFor(subject)) {
        for (const mode of FAULT_MODES) {
          it(`${scenario.name}; fails: ${mode.name}`, () => everyRequestFails(subject, scenario, mode));
        }
      }
    });
  }
}

function everyRequestFails(subject: Subject, scenario: Scenario, mode: FaultMode): void {
  for (let i = 0; i < MOST_REQUESTS; i++) {
    try {
      if (runWithFault(subject, scenario, mode, i).injected === 0) return;
    } catch (error) {
      throw new Error(`${i} requests succeed: ${(error as Error).message}`, { cause: error });
    }
  }
  fail(`the scenario still fails after ${MOST_REQUESTS} requests that succeeded`);
}
