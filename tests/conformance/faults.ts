/**
 * Conformance, section M: the page source fails at every place where it can.
 *
 * The same scenario is run again and again, and each time one more request for memory succeeds before the source gives
 * up: once for good, and once for a single request. Whatever happens, an operation either works or throws
 * `OutOfMemoryError`; the blocks keep their contents, the records agree, and in the end everything is given back.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import type { Allocator } from "../../src/allocator.ts";
import { OutOfMemoryError } from "../../src/errors.ts";
import type { NativeBuffer } from "../../src/native_buffer.ts";
import type { Address, PageSource } from "../../src/page_source.ts";
import type { ConformanceCase, Expectations, FaultySource, Opened, Trial } from "./case.ts";
import {
  assertHoldsNoMore,
  assertUsable,
  describeError,
  fillPattern,
  liveSnapshot,
  verifyPattern,
  verifyZero,
} from "./support.ts";

/** The most requests that the scenario can be expected to make. */
const MOST_REQUESTS = 400;

/** The blocks of a run of the scenario, and what has become of its operations. */
interface Run {
  readonly allocator: Allocator;
  readonly blocks: { address: Address; size: number; seed: number }[];
  readonly buffers: { buffer: NativeBuffer; seed: number }[];
  /** One letter an operation: `+` for success, `-` for out of memory. */
  outcome: string;
}

/** Does one operation that may run out of memory, and verifies everything when it does. */
function attempt(run: Run, what: string, operation: () => void): void {
  const { allocator } = run;
  const before = liveSnapshot(allocator);
  const held = allocator.stats();
  try {
    operation();
    run.outcome += "+";
    return;
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) fail(`${what} over a failing source threw ${describeError(error)}`);
  }
  run.outcome += "-";
  assertHoldsNoMore(allocator, before, held, `${what} over a failing source`);
  assertContents(run, what);
}

function assertContents(run: Run, what: string): void {
  for (const { address, size, seed } of run.blocks) {
    verifyPattern(run.allocator.view(address), seed, size, `a block of ${size} bytes after ${what}`);
  }
  for (const { buffer, seed } of run.buffers) {
    verifyPattern(buffer.bytes, seed, buffer.byteLength, `a buffer after ${what}`);
  }
}

function keep(run: Run, address: Address, size: number): void {
  const seed = run.outcome.length;
  fillPattern(run.allocator.view(address), seed);
  run.blocks.push({ address, size, seed });
}

/** Every entry point that can need memory, at sizes of every kind. */
function scenario(run: Run, expected: Expectations): void {
  const { allocator } = run;
  const within = (size: number): boolean => size <= expected.largestBlock && size * 12 <= expected.budget;
  for (const size of [16, 500, 9000, 40_000, 800_000, 5_000_000].filter(within)) {
    attempt(run, `allocate(${size})`, () => keep(run, allocator.allocate(size), size));
    attempt(run, `allocateZeroed(${size})`, () => {
      const address = allocator.allocateZeroed(size);
      verifyZero(allocator.view(address), `allocateZeroed(${size}) over a failing source`);
      keep(run, address, size);
    });
    attempt(run, `tryAllocate(${size})`, () => {
      const before = liveSnapshot(allocator);
      const address = allocator.tryAllocate(size);
      if (address !== 0) return keep(run, address, size);
      assertEquals(liveSnapshot(allocator), before);
      throw new OutOfMemoryError("Cannot allocate: tryAllocate() said so", size);
    });
    attempt(run, `allocate(${size}, 8192)`, () => keep(run, allocator.allocate(size, 8192), size));
    attempt(run, `array(${size})`, () => keep(run, allocator.addressOf(allocator.array(Uint8Array, size)), size));
    attempt(run, `buffer(${size})`, () => {
      const buffer = allocator.buffer(size);
      fillPattern(buffer.bytes, size);
      run.buffers.push({ buffer, seed: size });
    });
    const last = run.buffers.at(-1);
    if (last !== undefined && within(size * 3)) {
      attempt(run, `resize(${size * 3}) of a buffer`, () => {
        last.buffer.resize(size * 3);
        fillPattern(last.buffer.bytes, last.seed);
      });
    }
    for (const larger of [size + 1, size * 3, size * 20]) {
      const block = run.blocks.at(-1);
      if (block === undefined || !within(larger)) continue;
      attempt(run, `reallocate(${larger})`, () => {
        block.address = allocator.reallocate(block.address, larger);
        const kept = Math.min(block.size, larger);
        verifyPattern(allocator.view(block.address), block.seed, kept, `a block of ${kept} bytes, now of ${larger},`);
        block.size = larger;
        fillPattern(allocator.view(block.address), block.seed);
      });
      if (block.size === larger && allocator.resize(block.address, larger + 3000)) {
        block.size = larger + 3000;
        fillPattern(allocator.view(block.address), block.seed);
      }
    }
    attempt(run, "trim()", () => void allocator.trim());
    const first = run.blocks.shift();
    if (first !== undefined) attempt(run, "free()", () => allocator.free(first.address));
  }
  // Many small blocks, until the tables have to grow as well.
  const many: Address[] = [];
  const count = Math.min(4000, expected.budget / 4 / 300);
  try {
    while (many.length < count) many.push(allocator.allocate(250));
    run.outcome += "+";
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) fail(`allocate() over a failing source threw ${describeError(error)}`);
    run.outcome += "-";
    allocator.check();
    assertEquals(allocator.stats().liveBlocks, run.blocks.length + run.buffers.length + many.length);
  }
  for (const address of many) allocator.free(address);
  assertContents(run, "the scenario");
  allocator.check();
}

/** Runs the scenario over a source that fails; returns the outcome, empty when not even the allocator could be made. */
function runScenario(trial: Trial, succeed: number, times: number): { outcome: string; failed: boolean } {
  const { expected } = trial;
  let faulty: FaultySource | undefined;
  let opened: Opened | undefined;
  const adapt = (source: PageSource): PageSource => {
    if (expected.faulty === undefined) return source;
    faulty = expected.faulty(source, succeed, times);
    return faulty.source;
  };
  try {
    opened = trial.open({}, adapt, expected.faulty === undefined ? { succeed, times } : {});
  } catch (error) {
    assert(error instanceof OutOfMemoryError, `making the allocator threw ${describeError(error)}`);
    return { outcome: "", failed: true };
  }
  const { allocator, recorder } = opened;
  const run: Run = { allocator, blocks: [], buffers: [], outcome: "" };
  scenario(run, expected);
  faulty?.rearm();
  recorder.rearm();
  assertContents(run, "the end of the failures");
  assertUsable(allocator);
  const size = Math.min(500_000, expected.largestBlock, Math.floor(expected.budget / 12));
  allocator.free(allocator.allocateZeroed(size));
  for (const { address } of run.blocks) allocator.free(address);
  for (const { buffer } of run.buffers) buffer.free();
  assertEquals(allocator.stats().liveBlocks, 0);
  allocator.check();
  allocator[Symbol.dispose]();
  assertEquals(recorder.complaint(), "", `after dispose, with ${succeed} requests that succeeded`);
  return { outcome: run.outcome, failed: run.outcome.includes("-") };
}

function everyRequestFails(trial: Trial, times: number): void {
  let quiet = 0;
  for (let succeed = 0; succeed < MOST_REQUESTS; succeed++) {
    const { failed } = runScenario(trial, succeed, times);
    // A single failure may be made good by the allocator; when none shows any more, all places were reached.
    quiet = failed ? 0 : quiet + 1;
    if (quiet === 12) return;
  }
  if (times === Infinity) fail(`the scenario still failed after ${MOST_REQUESTS} requests that succeeded`);
}

/** The cases of section M. */
export const FAULT_CASES: readonly ConformanceCase[] = [
  {
    id: "M",
    name: "every request for memory fails for good: OutOfMemoryError, nothing lost, nothing leaked",
    unless: (expected) => expected.observable ? undefined : "its source is out of sight",
    run: (trial) => everyRequestFails(trial, Infinity),
  },
  {
    id: "M",
    name: "every request for memory fails once: OutOfMemoryError or success, nothing lost, nothing leaked",
    unless: (expected) => expected.observable ? undefined : "its source is out of sight",
    run: (trial) => everyRequestFails(trial, 1),
  },
  {
    id: "M",
    name: "the same failure has the same outcome",
    unless: (expected) => expected.observable ? undefined : "its source is out of sight",
    run(trial) {
      for (const succeed of [0, 1, 2, 3, 5, 8, 13, 21]) {
        assertEquals(runScenario(trial, succeed, 1), runScenario(trial, succeed, 1), `${succeed} requests succeed`);
      }
    },
  },
];
