/**
 * Conformance, section L as far as it concerns every allocator: figures, the walk, and the limit.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Allocator, AllocatorStats, BlockInfo } from "../../src/allocator.ts";
import type { Address } from "../../src/page_source.ts";
import { Prng } from "../support/prng.ts";
import type { Recorder } from "../support/recording_source.ts";
import type { ConformanceCase, Expectations, Trial } from "./case.ts";
import {
  allocateMany,
  assertOutOfMemory,
  assertUsable,
  fillPattern,
  snapshot,
  usedSizes,
  verifyPattern,
} from "./support.ts";

/** Every figure of the statistics. */
const KEYS: readonly (keyof AllocatorStats)[] = [
  "liveBlocks",
  "liveBytes",
  "committedBytes",
  "peakCommittedBytes",
  "tableBytes",
  "reservedBytes",
  "wrappedBytes",
  "regions",
  "limit",
];

/** Compares all figures with a model of the live blocks and with what the page source saw. */
function assertFigures(
  allocator: Allocator,
  model: ReadonlyMap<Address, BlockInfo>,
  recorder: Recorder,
  expected: Expectations,
  peak: number,
): void {
  const stats = allocator.stats();
  let liveBytes = 0;
  for (const address of model.keys()) liveBytes += allocator.usableSize(address);
  assertEquals([stats.liveBlocks, stats.liveBytes], [model.size, liveBytes]);
  assert(stats.peakCommittedBytes >= Math.max(stats.committedBytes, peak), "the peak is below what it has been");
  if (!expected.observable) return;
  // Where a byte reserved is a byte spent, an allocator may keep its tables elsewhere.
  const elsewhere = recorder.source.lazy ? 0 : stats.committedBytes + stats.tableBytes - recorder.committedBytes;
  assert(elsewhere === 0 || elsewhere === stats.tableBytes, `${elsewhere} bytes are committed, but not by the source`);
  assertEquals(stats.committedBytes + stats.tableBytes - elsewhere, recorder.committedBytes, "committed");
  assertEquals(stats.reservedBytes - elsewhere, recorder.reservedBytes, "reserved");
  assertEquals(stats.wrappedBytes - elsewhere, recorder.wrappedBytes, "wrapped");
}

function figuresAtEveryStep(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const model = new Map<Address, BlockInfo>();
  const random = new Prng(51);
  const sizes = [0, 5, 64, 700, 5000, 20_000, 300_000, 5_000_000]
    .filter((size) => size <= trial.expected.largestBlock && size * 6 <= trial.expected.budget);
  let peak = 0;
  for (let step = 0; step < 600; step++) {
    const requestedSize = sizes[random.below(sizes.length)] as number;
    const alignment = 2 ** random.below(11);
    const live = [...model.keys()];
    const some = live[random.below(Math.max(1, live.length))];
    const choice = random.below(10);
    const fits = allocator.stats().liveBytes + requestedSize < trial.expected.budget / 3;
    let address: Address = 0;
    if (choice < 5 && fits) {
      address = allocator.allocate(requestedSize, alignment);
      model.set(address, { address, requestedSize, usableSize: 0, alignment: Math.max(16, alignment) });
    } else if (some !== undefined && choice < 7 && fits && requestedSize > 0) {
      address = allocator.reallocate(some, requestedSize);
      const before = model.get(some) as BlockInfo;
      model.delete(some);
      model.set(address, { ...before, address, requestedSize });
    } else if (some !== undefined && choice === 7) {
      const before = model.get(some) as BlockInfo;
      if (allocator.resize(some, requestedSize)) model.set(some, { ...before, requestedSize });
    } else if (some !== undefined) {
      allocator.free(some);
      model.delete(some);
      if (choice === 9) allocator.trim();
    }
    // Half of the blocks are looked at, which may be what makes the allocator wrap them.
    if (address !== 0 && step % 2 === 0) allocator.view(address).fill(step);
    assertFigures(allocator, model, recorder, trial.expected, peak);
    peak = allocator.stats().peakCommittedBytes;
    if (step % 20 === 0) assertWalk(allocator, model);
  }
  for (const address of model.keys()) allocator.free(address);
  assertFigures(allocator, new Map(), recorder, trial.expected, peak);
}

/** Fails unless the walk yields exactly the model. */
function assertWalk(allocator: Allocator, model: ReadonlyMap<Address, BlockInfo>): void {
  const seen = new Set<Address>();
  for (const block of allocator.blocks()) {
    const wanted = model.get(block.address);
    assert(wanted !== undefined, `blocks() has ${block.address}, which is not live`);
    assert(!seen.has(block.address), `blocks() has ${block.address} twice`);
    seen.add(block.address);
    assertEquals([block.requestedSize, block.alignment], [wanted.requestedSize, wanted.alignment]);
    assertEquals(block.usableSize, allocator.usableSize(block.address));
    assert(allocator.owns(block.address));
  }
  assertEquals(seen.size, model.size, "blocks() leaves live blocks out");
}

function statsArePlain(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  allocateMany(allocator, 5, 100);
  const calls = recorder.calls;
  const stats = allocator.stats();
  assertEquals(Object.keys(stats).sort(), [...KEYS].sort());
  for (const key of KEYS) {
    const value: unknown = stats[key];
    assert(typeof value === "number" && value >= 0, `${key} is ${String(value)}`);
    assert(key === "limit" || Number.isSafeInteger(value), `${key} is ${value}`);
  }
  assertEquals(structuredClone(stats), stats);
  assertEquals(stats.limit, Infinity);
  assertEquals(allocator.stats(), stats);
  assert(allocator.stats() !== stats, "stats() gives the same object twice");
  assertEquals(recorder.calls, calls, "stats() touched the page source");
  allocator.free([...allocator.blocks()][0]?.address ?? 0);
  assertEquals(stats.liveBlocks, 5, "figures that were given out change");
}

function walkSurvives(trial: Trial): void {
  for (const size of usedSizes(trial.expected, 40)) {
    const allocator = trial.make();
    const count = size > 1_000_000 ? 8 : 40;
    const blocks = new Set(allocateMany(allocator, count, size));
    let seen = 0;
    for (const block of allocator.blocks()) {
      assert(blocks.has(block.address));
      allocator.free(block.address);
      blocks.delete(block.address);
      seen++;
    }
    assertEquals([seen, blocks.size, allocator.stats().liveBlocks], [count, 0, 0], "a walk that frees what it sees");
    allocator.check();

    const residents = allocateMany(allocator, 10, size);
    const visits = new Map<Address, number>();
    const others = allocateMany(allocator, 4, 50);
    for (const block of allocator.blocks()) {
      visits.set(block.address, (visits.get(block.address) ?? 0) + 1);
      const other = others.pop();
      if (other !== undefined) allocator.free(other);
      if (visits.size < 20) allocator.allocate(30);
      if (visits.size > 1000) break;
    }
    for (const resident of residents) {
      assertEquals(
        visits.get(resident),
        1,
        `a block of ${size} bytes that lived through a walk was seen so many times`,
      );
    }
    allocator.check();

    const walk = allocator.blocks()[Symbol.iterator]();
    walk.next();
    for (const block of [...allocator.blocks()]) allocator.free(block.address);
    allocator.trim();
    for (let i = 0; i < 100 && walk.next().done !== true; i++);
    assertEquals([...allocator.blocks()], []);
    allocator[Symbol.dispose]();
  }
}

/** Fails unless the action is refused for the limit, with the figures of it in the error. */
function assertLimited(
  allocator: Allocator,
  action: () => unknown,
  requested: number,
  limit: number,
  what: string,
): void {
  const error = assertOutOfMemory(allocator, action, what);
  assertEquals([error.requested, error.limit], [requested, limit], what);
  for (const figure of [requested, limit]) {
    assert(error.message.includes(`${figure}`), `${what}: the message does not say ${figure}: ${error.message}`);
  }
}

function limitIsExact(trial: Trial): void {
  const limit = 1000;
  const allocator = trial.make({ limit });
  assertEquals(allocator.stats().limit, limit);
  const whole = allocator.allocate(limit);
  assertLimited(allocator, () => allocator.allocate(1), 1, limit, "allocate(1) at the limit");
  assertEquals(allocator.tryAllocate(1), 0);
  allocator.free(allocator.allocate(0));
  allocator.free(whole);
  assertLimited(allocator, () => allocator.allocate(limit + 1), limit + 1, limit, "allocate() above the limit");
  assertLimited(allocator, () => allocator.allocateZeroed(1001), 1001, limit, "allocateZeroed() above the limit");
  assertLimited(allocator, () => allocator.buffer(1001), 1001, limit, "buffer() above the limit");
  assertLimited(allocator, () => allocator.array(Float64Array, 126), 1008, limit, "array() above the limit");
  allocator.freeArray(allocator.array(Float64Array, 125));

  // A thousand blocks of one byte each are a thousand requested bytes, whatever they occupy.
  const ones = Array.from({ length: limit }, () => allocator.allocate(1));
  assertLimited(allocator, () => allocator.allocate(1), 1, limit, "allocate(1) after a thousand of it");
  allocator.free(ones.pop() as Address);
  ones.push(allocator.allocate(1));
  for (const address of ones) allocator.free(address);

  const first = allocator.allocate(400);
  fillPattern(allocator.view(first), 1);
  const second = allocator.allocate(500);
  assertLimited(
    allocator,
    () => allocator.reallocate(first, 501),
    501,
    limit,
    "reallocate() to one byte above the limit",
  );
  verifyPattern(allocator.view(first), 1);
  const grown = allocator.reallocate(first, 500);
  verifyPattern(allocator.view(grown), 1, 400);
  assertEquals(allocator.resize(grown, 501), false, "resize() passed the limit");
  assertEquals(allocator.view(grown).length, 500);
  assert(allocator.resize(grown, 480));
  allocator.free(allocator.allocate(20));
  assertLimited(allocator, () => allocator.allocate(21), 21, limit, "allocate() after resize() made 20 bytes room");
  assertEquals(allocator.reallocate(second, 0), 0);
  const third = allocator.allocate(520);
  assertLimited(allocator, () => allocator.allocate(1), 1, limit, "allocate(1) at the limit again");
  allocator.free(third);
  allocator.free(grown);
  assertUsable(allocator);
}

function limitAcrossKinds(trial: Trial): void {
  const sizes = usedSizes(trial.expected, 4);
  const limit = sizes.reduce((sum, size) => sum + size, 0);
  const allocator = trial.make({ limit });
  const blocks = sizes.map((size) => allocator.allocate(size));
  assertLimited(allocator, () => allocator.allocate(1), 1, limit, "allocate(1) above a limit of small to huge blocks");
  blocks.forEach((address, i) => {
    const size = sizes[i] as number;
    allocator.free(address);
    assertLimited(allocator, () => allocator.allocate(size + 1), size + 1, limit, `allocate(${size + 1})`);
    const buffer = allocator.buffer(size);
    assertLimited(allocator, () => buffer.resize(size + 1), size + 1, limit, `resize(${size + 1}) of a buffer`);
    buffer.free();
    blocks[i] = allocator.allocate(size);
  });
  for (const address of blocks) allocator.free(address);
  assertUsable(allocator);
}

/** The cases of section L. */
export const STATISTICS_CASES: readonly ConformanceCase[] = [
  {
    id: "L1",
    name: "stats() and blocks() agree with a model and with the page source at every step",
    run: figuresAtEveryStep,
  },
  { id: "L1", name: "stats() is plain data of its moment and changes nothing", run: statsArePlain },
  {
    id: "L5",
    name: "blocks() yields each live block once, and survives allocating and freeing on the way",
    run: walkSurvives,
  },
  {
    id: "L6",
    name: "the limit counts requested bytes and is exact",
    unless: (expected) => expected.limitable ? undefined : "it has no limit",
    run: limitIsExact,
  },
  {
    id: "L6",
    name: "the limit counts small, large and huge blocks and buffers alike",
    unless: (expected) => expected.limitable ? undefined : "it has no limit",
    run: limitAcrossKinds,
  },
  {
    id: "L6",
    name: "resize() of a buffer at the limit needs no room for two",
    unless: (expected) => expected.limitable ? undefined : "it has no limit",
    run(trial) {
      const allocator = trial.make({ limit: 1000 });
      const buffer = allocator.buffer(600);
      fillPattern(buffer.bytes, 1);
      buffer.resize(1000);
      verifyPattern(buffer.bytes, 1, 600);
      buffer.resize(700);
      const before = snapshot(allocator);
      assertLimited(allocator, () => buffer.resize(1001), 1001, 1000, "resize() of a buffer above the limit");
      assertEquals(snapshot(allocator), before);
      buffer.free();
    },
  },
];
