/**
 * Conformance, sections I and J: structure, as far as it shows from outside, and the dealings with the page source.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import type { Allocator } from "../../src/allocator.ts";
import { CorruptionError, OutOfMemoryError } from "../../src/errors.ts";
import type { Address } from "../../src/page_source.ts";
import { Prng } from "../support/prng.ts";
import { assertDisjoint } from "./allocation.ts";
import type { ConformanceCase, Expectations, Trial } from "./case.ts";
import {
  allocateMany,
  assertInvalid,
  assertUsable,
  describeError,
  fillPattern,
  snapshot,
  thrownBy,
  UNKNOWN_KINDS,
  usedSizes,
  verifyPattern,
  verifyZero,
} from "./support.ts";

function observableOnly(expected: Expectations): string | undefined {
  return expected.observable ? undefined : "its source is out of sight";
}

function checkAfterEveryStep(trial: Trial): void {
  const allocator = trial.make();
  const random = new Prng(31);
  const live: { address: Address; seed: number }[] = [];
  for (let step = 0; step < 400; step++) {
    if (live.length > 0 && random.chance(45)) {
      const [block] = live.splice(random.below(live.length), 1);
      if (block === undefined) break;
      verifyPattern(allocator.view(block.address), block.seed);
      allocator.free(block.address);
    } else {
      const size = random.chance(70) ? random.below(600) : random.below(40_000);
      const address = allocator.tryAllocate(size, random.chance(80) ? 16 : 2 ** random.below(13));
      if (address !== 0) {
        fillPattern(allocator.view(address), step);
        live.push({ address, seed: step });
      }
    }
    allocator.check();
  }
  assertDisjoint(allocator);
  for (const { address, seed } of live) {
    verifyPattern(allocator.view(address), seed);
    allocator.free(address);
    allocator.check();
  }
}

/** Small free pieces must become one large piece again, in whichever order they came back. */
function merges(trial: Trial): void {
  for (const size of [20_000, 70_000].filter((size) => size * 32 <= trial.expected.budget)) {
    for (const seed of [1, 2, 3, 4]) {
      const { allocator } = trial.open();
      const blocks = allocateMany(allocator, 16, size);
      const committed = allocator.stats().committedBytes;
      for (const address of new Prng(seed).shuffle(blocks)) {
        allocator.free(address);
        allocator.check();
      }
      const large = allocator.allocate(size * 7);
      fillPattern(allocator.view(large), 1);
      const now = allocator.stats().committedBytes;
      assert(
        now <= committed,
        `16 freed blocks of ${size} bytes did not merge: ${now} bytes committed, ${committed} before`,
      );
      verifyPattern(allocator.view(large), 1);
      allocator[Symbol.dispose]();
    }
  }
}

function manyRegions(trial: Trial): void {
  const { allocator } = trial.open();
  const size = 30_000;
  const count = Math.min(2000, Math.floor(trial.expected.budget / 2 / (size + 4096)));
  for (let round = 0; round < 2; round++) {
    const blocks: Address[] = [];
    for (let i = 0; i < count; i++) {
      const address = allocator.allocate(size);
      const view = allocator.view(address);
      if (view.length !== size) fail(`the view of block ${i} has ${view.length} bytes`);
      view[0] = i & 255;
      view[size - 1] = i >>> 8;
      blocks.push(address);
    }
    blocks.forEach((address, i) => {
      const view = allocator.view(address);
      if (view[0] !== (i & 255) || view[size - 1] !== i >>> 8) fail(`block ${i} of ${count} lost its ends`);
    });
    assertDisjoint(allocator);
    allocator.check();
    for (const address of new Prng(round).shuffle(blocks)) allocator.free(address);
    // Pieces of neighbouring regions must not have become one: no view could cover it.
    for (const large of [size * 10, size * 40, size * 100]) {
      if (large > trial.expected.largestBlock || large * 2 > trial.expected.budget) continue;
      const address = allocator.tryAllocate(large);
      if (address === 0) continue;
      const view = allocator.view(address);
      assertEquals(view.length, large);
      view[0] = 1;
      view[large - 1] = 1;
      allocator.free(address);
    }
    allocator.check();
  }
}

function regionDetachedFromOutside(trial: Trial): void {
  const allocator = trial.make();
  const address = allocator.allocate(100);
  const view = allocator.view(address);
  (view.buffer as ArrayBuffer).transfer(0);
  assertEquals(view.length, 0);
  for (const call of [() => allocator.check(), () => allocator.view(address)]) {
    const error = thrownBy(call, "a call after a region was detached from outside");
    if (!(error instanceof CorruptionError)) fail(`a region detached from outside gave ${describeError(error)}`);
    assertEquals([error.code, error.name], ["ERR_CORRUPTION", "CorruptionError"]);
    assert(/detached/.test(error.message), `the message does not say what happened: ${error.message}`);
  }
  // Nothing else may crash, hang or hand out memory that cannot be seen.
  for (const call of [() => allocator.reallocate(address, 50_000), () => allocator.allocateZeroed(200)]) {
    try {
      const block = call();
      assertEquals(allocator.view(block).length > 0, true);
    } catch (error) {
      assert(error instanceof CorruptionError, describeError(error));
    }
  }
  allocator[Symbol.dispose]();
}

/** Something of everything, to bring all dealings with the page source about. */
export function workload(allocator: Allocator, expected: Expectations): void {
  const random = new Prng(41);
  const live: Address[] = [];
  const sizes = [10, 100, 1000, 10_000, 70_000, 500_000, 5_000_000]
    .filter((size) => size <= expected.largestBlock && size * 4 <= expected.budget);
  for (let step = 0; step < 300; step++) {
    const size = sizes[random.below(sizes.length)] as number;
    const room = expected.budget / 3 - allocator.stats().liveBytes;
    const choice = random.below(10);
    if (choice < 4 && size < room) live.push(allocator.allocate(size, 2 ** random.below(13)));
    else if (choice === 4 && size < room) live.push(allocator.allocateZeroed(size));
    else if (choice === 5 && size < room && live.length > 0) {
      live.push(allocator.reallocate(live.pop() as Address, size));
    } else if (choice === 6) allocator.buffer(Math.min(1000, size)).free();
    else if (choice === 7 && step % 5 === 0) allocator.trim();
    else if (live.length > 0) allocator.free(live.splice(random.below(live.length), 1)[0] as Address);
    const last = live[live.length - 1];
    if (last !== undefined) allocator.view(last)[0] = step;
  }
  allocator.check();
  for (const address of live) allocator.free(address);
  allocator.check();
}

function keepsProtocol(trial: Trial): void {
  for (const pageSize of [undefined, 16_384, 65_536]) {
    if (pageSize !== undefined && trial.expected.budget < 2 ** 22) continue;
    const { allocator, recorder } = trial.open({}, (source) => source, pageSize === undefined ? {} : { pageSize });
    workload(allocator, trial.expected);
    assertEquals(recorder.violations, []);
    allocator[Symbol.dispose]();
    assertEquals(
      recorder.complaint(),
      "",
      `after dispose, with OS pages of ${pageSize ?? recorder.source.pageSize} bytes`,
    );
    assertEquals([recorder.reservedBytes, recorder.committedBytes, recorder.wrappedBytes], [0, 0, 0]);
  }
}

function refusedMapping(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const size = usedSizes(trial.expected, 2).at(-1) as number;
  recorder.failAfter(0);
  const before = recorder.reservedBytes;
  const blocks: Address[] = [];
  let failure: unknown;
  for (let i = 0; i < 10_000 && failure === undefined; i++) {
    try {
      blocks.push(allocator.allocate(size));
    } catch (error) {
      failure = error;
    }
  }
  if (recorder.failedRequests > 0) {
    assert(failure instanceof OutOfMemoryError, `a refused request became ${describeError(failure)}`);
    assert(failure.message.startsWith("Cannot "), failure.message);
    assert(recorder.reservedBytes <= before, "a refused request left address space behind");
  }
  recorder.rearm();
  for (const address of blocks) allocator.free(address);
  allocator.free(allocator.allocate(size));
  allocator.check();
}

function failingUnmap(trial: Trial): void {
  const { allocator } = trial.open({}, (source) => ({
    ...source,
    unmap(address, byteLength) {
      source.unmap(address, byteLength);
      throw new Error("Cannot unmap: the system says no");
    },
  }));
  const view = allocator.view(allocator.allocate(100));
  const error = thrownBy(() => allocator[Symbol.dispose](), "dispose over a source that cannot unmap");
  assert(error instanceof Error && /the system says no/.test(error.message), describeError(error));
  if (trial.expected.isolating) assertEquals(view.length, 0, "a view outlived a dispose that failed");
  allocator[Symbol.dispose]();
}

function trims(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const { budget, observable } = trial.expected;
  const size = 3000;
  const count = Math.min(3000, Math.floor(budget / 2 / (size + 200)));
  const blocks = allocateMany(allocator, count, size);
  const kept = blocks.filter((_, i) => i % 500 === 0);
  for (const address of blocks) if (!kept.includes(address)) allocator.free(address);
  const live = [...allocator.blocks()].length;
  const releasedBefore = recorder.releasedBytes;
  const given = allocator.trim();
  assert(Number.isSafeInteger(given) && given >= 0, `trim() returned ${given}`);
  if (observable) {
    assertEquals(given, recorder.releasedBytes - releasedBefore, "trim() miscounts what it gave back");
    assert(given > 0, `trim() gave nothing back of ${count} freed blocks of ${size} bytes`);
  }
  assertEquals([...allocator.blocks()].length, live);
  for (const address of kept) verifyPattern(allocator.view(address), blocks.indexOf(address));
  allocator.check();
  assertEquals(allocator.trim(), 0, "a second trim() found something");
  for (const address of blocks) {
    if (!kept.includes(address)) assertInvalid(allocator, address, UNKNOWN_KINDS, "a block freed before trim()", []);
  }
  for (const address of allocateMany(allocator, count >>> 1, size)) allocator.free(address);
  for (const bytes of [10, 5000, 200_000]) {
    if (bytes * 8 > budget) continue;
    const zeroed = allocator.allocateZeroed(bytes);
    verifyZero(allocator.view(zeroed), `allocateZeroed(${bytes}) after trim()`);
    allocator.view(zeroed).fill(0xff);
    allocator.free(zeroed);
  }
  for (const address of kept) allocator.free(address);
  const committed = allocator.stats().committedBytes;
  allocator.trim();
  assert(allocator.stats().committedBytes <= committed, "trim() committed memory");
  assertUsable(allocator);
}

/** The cases of sections I and J. */
export const STRUCTURE_CASES: readonly ConformanceCase[] = [
  { id: "I", name: "check() is clean after every step of a random run", run: checkAfterEveryStep },
  {
    id: "I",
    name: "check() changes nothing",
    run(trial) {
      const { allocator, recorder } = trial.open();
      workload(allocator, trial.expected);
      allocateMany(allocator, 10, 100);
      const before = snapshot(allocator);
      const calls = recorder.calls;
      allocator.check();
      assertEquals(snapshot(allocator), before);
      assertEquals(recorder.calls, calls);
    },
  },
  { id: "I2", name: "free neighbours merge, whichever came back first", run: merges },
  { id: "I3", name: "blocks of many regions are whole, and never merge across regions", run: manyRegions },
  {
    id: "I4",
    name: "a region that was detached from outside is CorruptionError and never a crash",
    unless: (expected) => expected.isolating ? undefined : "the caller's buffer stands behind its views",
    run: regionDetachedFromOutside,
  },
  {
    id: "J1",
    name: "the page source gets whole OS pages, exact pairs, and everything back, for OS pages of 4, 16 and 64 KiB",
    unless: observableOnly,
    run: keepsProtocol,
  },
  {
    id: "J3",
    name: "a refused mapping is OutOfMemoryError and leaves nothing behind",
    unless: observableOnly,
    run: refusedMapping,
  },
  { id: "J4", name: "a failing unmap is reported, and no view survives it", unless: observableOnly, run: failingUnmap },
  { id: "J7", name: "trim() gives memory back, says how much, and keeps live blocks", run: trims },
];
