/**
 * Conformance, section A: allocate and free.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import type { Allocator } from "../../src/allocator.ts";
import { OutOfMemoryError } from "../../src/errors.ts";
import type { Address } from "../../src/page_source.ts";
import { Prng } from "../support/prng.ts";
import type { ConformanceCase, Expectations, Trial } from "./case.ts";
import { allocateMany, assertUsable, fillPattern, usedSizes, verifyPattern } from "./support.ts";

/** Sizes around everything that an allocator may treat as a boundary: 2^k, OS pages and headers. */
export function boundarySizes(expected: Expectations): number[] {
  const sizes = new Set<number>();
  for (let power = 0; power <= 20; power++) {
    for (let delta = -32; delta <= 32; delta++) sizes.add(2 ** power + delta);
  }
  for (const page of [4096, 16_384, 65_536]) {
    for (const count of [1, 2, 3, 5, 8, 16, 17]) {
      for (const delta of [-64, -48, -40, -16, -8, -1, 0, 1, 8, 16, 40, 48, 64]) sizes.add(page * count + delta);
    }
  }
  return [...sizes].filter((size) => size >= 0 && size <= expected.largestBlock && size * 2 <= expected.budget);
}

/** Blocks of many sizes, alive at one time within the budget. */
function mixedSizes(trial: Trial): number[] {
  const sizes: number[] = [];
  for (let size = 0; size <= 2048; size += 13) sizes.push(size);
  for (const size of [4095, 4096, 4097, 16_384, 16_385, 65_536, 100_000, 262_144, 1_000_000]) sizes.push(size, size);
  let left = trial.expected.budget / 2;
  return sizes.filter((size) => {
    if (size > trial.expected.largestBlock || size + 4096 > left) return false;
    left -= size + 4096;
    return true;
  });
}

/** Fails when two of the live blocks overlap, going by what the allocator says they are. */
export function assertDisjoint(allocator: Allocator): void {
  const blocks = [...allocator.blocks()].sort((a, b) => a.address - b.address);
  let end = 0;
  for (const block of blocks) {
    if (block.address < end) fail(`the block at ${block.address} starts below ${end}, inside the one before`);
    // A block of size 0 still has an address that no other block has.
    end = block.address + Math.max(1, block.usableSize);
  }
}

function assertEmpty(allocator: Allocator, what: string): void {
  const stats = allocator.stats();
  assertEquals([stats.liveBlocks, stats.liveBytes, [...allocator.blocks()].length], [0, 0, 0], what);
  allocator.check();
}

/** The orders in which blocks come back. */
const ORDERS: readonly { name: string; order: (blocks: Address[]) => Address[] }[] = [
  { name: "the same order", order: (blocks) => [...blocks] },
  { name: "reverse order", order: (blocks) => [...blocks].reverse() },
  { name: "random order", order: (blocks) => new Prng(4).shuffle([...blocks]) },
  {
    name: "every other, then the rest",
    order: (blocks) => [...blocks.filter((_, i) => i % 2 === 0), ...blocks.filter((_, i) => i % 2 === 1)],
  },
  {
    name: "the middle third, then outwards",
    order: (blocks) => {
      const third = Math.floor(blocks.length / 3);
      return [...blocks.slice(third, 2 * third), ...blocks.slice(2 * third), ...blocks.slice(0, third).reverse()];
    },
  },
];

/** What may be the first thing that happens to an allocator. */
const FIRST_OPERATIONS: readonly { name: string; run: (allocator: Allocator, expected: Expectations) => void }[] = [
  { name: "allocate() of a small block", run: (a) => a.free(a.allocate(24)) },
  { name: "allocate() of a large block", run: (a, e) => a.free(a.allocate(Math.min(100_000, e.largestBlock))) },
  { name: "allocate() of a huge block", run: (a, e) => a.free(a.allocate(Math.min(16_000_000, e.largestBlock))) },
  { name: "allocate(0)", run: (a) => a.free(a.allocate(0)) },
  { name: "allocate() aligned to an OS page", run: (a) => a.free(a.allocate(1, 4096)) },
  { name: "allocateZeroed()", run: (a) => a.free(a.allocateZeroed(5000)) },
  { name: "tryAllocate()", run: (a) => a.free(a.tryAllocate(8)) },
  { name: "free(0)", run: (a) => a.free(0) },
  { name: "reallocate(0, n)", run: (a) => a.free(a.reallocate(0, 300)) },
  { name: "reallocate(0, 0)", run: (a) => a.free(a.reallocate(0, 0)) },
  { name: "array()", run: (a) => a.freeArray(a.array(Float64Array, 10)) },
  { name: "buffer()", run: (a) => a.buffer(100).free() },
  { name: "owns()", run: (a) => assertEquals(a.owns(4096), false) },
  { name: "blocks()", run: (a) => assertEquals([...a.blocks()], []) },
  { name: "stats()", run: (a) => assertEquals(a.stats().liveBlocks, 0) },
  { name: "check()", run: (a) => a.check() },
  { name: "trim()", run: (a) => assert(a.trim() >= 0) },
  { name: "dispose", run: (a) => a[Symbol.dispose]() },
];

function sweepSizes(trial: Trial): void {
  const allocator = trial.make();
  for (const size of boundarySizes(trial.expected)) {
    const first = allocator.allocate(size);
    const second = allocator.allocate(size);
    const firstView = allocator.view(first);
    const secondView = allocator.view(second);
    if (firstView.length !== size || secondView.length !== size) fail(`view() of ${size} bytes has another length`);
    firstView.fill(0xa5);
    secondView.fill(0x5a);
    for (let i = 0; i < size; i = i < 64 || i >= size - 64 ? i + 1 : Math.min(i + 4093, size - 64)) {
      if (firstView[i] !== 0xa5 || secondView[i] !== 0x5a) fail(`two blocks of ${size} bytes share byte ${i}`);
    }
    allocator.free(first);
    allocator.free(second);
  }
  assertEmpty(allocator, "after the sweep");
}

function freeInEveryOrder(trial: Trial): void {
  for (const size of usedSizes(trial.expected, 60)) {
    const allocator = trial.make();
    const count = size > 1_000_000 ? 6 : 60;
    let committed = 0;
    for (const { name, order } of ORDERS) {
      const blocks = allocateMany(allocator, count, size);
      const what = `${count} blocks of ${size} bytes freed in ${name}`;
      for (const address of order(blocks)) {
        verifyPattern(allocator.view(address), blocks.indexOf(address));
        allocator.free(address);
      }
      assertEmpty(allocator, what);
      const now = allocator.stats().committedBytes;
      if (committed === 0) committed = allocator.stats().peakCommittedBytes;
      assert(now <= committed, `${what}: ${now} bytes are committed, more than the ${committed} of the first round`);
    }
    allocator.trim();
    assertEmpty(allocator, "after trim()");
    allocator[Symbol.dispose]();
  }
}

function survivesTraffic(trial: Trial): void {
  const allocator = trial.make();
  const random = new Prng(2);
  const residents = allocateMany(allocator, 20, 333);
  for (let round = 0; round < 1000; round++) {
    const size = random.chance(90) ? random.below(2000) : random.below(60_000);
    const address = allocator.allocate(size);
    allocator.view(address).fill(0xee);
    if (random.chance(50) && allocator.stats().liveBytes < trial.expected.budget / 4) continue;
    allocator.free(address);
  }
  residents.forEach((address, seed) => verifyPattern(allocator.view(address), seed));
  allocator.check();
}

function usableSizeIsGood(trial: Trial): void {
  const allocator = trial.make();
  const { usableBound, stride } = trial.expected;
  let before = 0;
  const sizes = new Set(boundarySizes(trial.expected));
  for (let size = 0; size < 70_000; size += size < 1024 ? 1 : stride) sizes.add(size);
  for (const size of [...sizes].sort((a, b) => a - b)) {
    if (size > trial.expected.largestBlock) continue;
    const address = allocator.allocate(size);
    const usable = allocator.usableSize(address);
    if (usable < size) fail(`usableSize() of a block of ${size} bytes is ${usable}`);
    if (usable < before) fail(`usableSize() of ${size} bytes is ${usable}, but a smaller block had ${before}`);
    if (usableBound !== undefined && usable > usableBound(size)) {
      fail(`usableSize() of ${size} bytes is ${usable}; the documented bound is ${usableBound(size)}`);
    }
    before = usable;
    if (size > 0) {
      const whole = allocator.view(address, usable);
      whole[0] = 1;
      whole[usable - 1] = 2;
    }
    allocator.free(address);
    if (usable > trial.expected.largestBlock) continue;
    const again = allocator.allocate(usable);
    const usableAgain = allocator.usableSize(again);
    if (usableAgain !== usable) fail(`usableSize() of ${usable} bytes, itself a usable size, is ${usableAgain}`);
    allocator.free(again);
  }
}

function exhaust(trial: Trial): void {
  const { limitable } = trial.expected;
  for (const size of usedSizes(trial.expected, 10)) {
    const budget = Math.min(trial.expected.budget, limitable ? Math.min(2 ** 26, size * 20_000) : Infinity);
    const { allocator, recorder } = trial.open(limitable ? { limit: budget } : {});
    const blocks: Address[] = [];
    let failure: unknown;
    while (failure === undefined && blocks.length * size <= 2 * budget) {
      try {
        blocks.push(allocator.allocate(size));
      } catch (error) {
        failure = error;
      }
    }
    if (failure === undefined) {
      fail(`${blocks.length} blocks of ${size} bytes were had from a budget of ${budget}`);
    }
    if (!(failure instanceof OutOfMemoryError)) throw failure;
    const had = blocks.length * size;
    assert(
      had >= budget / 2 || recorder.failedRequests > 0,
      `out of memory after ${had} of ${budget} bytes in blocks of ${size}, and no request for memory had failed`,
    );
    assertEquals(allocator.tryAllocate(size), 0, "tryAllocate() after allocate() failed");
    allocator.check();
    assertEquals(allocator.stats().liveBlocks, blocks.length);
    for (const address of blocks) allocator.free(address);
    assertEmpty(allocator, "after everything was freed");
    assertUsable(allocator);
    assertEquals(new Set(blocks).size, blocks.length, "an address was given out twice");
    allocator[Symbol.dispose]();
  }
}

function manyAllocators(trial: Trial): void {
  const allocators = Array.from({ length: 8 }, () => trial.make());
  const random = new Prng(6);
  const live: { allocator: Allocator; address: Address; seed: number }[] = [];
  for (let step = 0; step < 800; step++) {
    const allocator = allocators[step % allocators.length] as Allocator;
    if (live.length < 200 || random.chance(50)) {
      const address = allocator.allocate(random.below(3000));
      fillPattern(allocator.view(address), step);
      live.push({ allocator, address, seed: step });
    } else {
      const [block] = live.splice(random.below(live.length), 1);
      if (block === undefined) break;
      verifyPattern(block.allocator.view(block.address), block.seed);
      block.allocator.free(block.address);
    }
    if (step === 400) (allocators.pop() as Allocator)[Symbol.dispose]();
    if (step === 400) live.splice(0, live.length, ...live.filter((block) => allocators.includes(block.allocator)));
  }
  for (const { allocator, address, seed } of live) verifyPattern(allocator.view(address), seed);
  for (const allocator of allocators) {
    assertEquals(allocator.stats().liveBlocks, live.filter((block) => block.allocator === allocator).length);
    allocator.check();
  }
}

/** The cases of section A. */
export const ALLOCATION_CASES: readonly ConformanceCase[] = [
  {
    id: "A1",
    name: "live blocks never overlap and lie inside committed memory",
    run(trial) {
      const { allocator, recorder } = trial.open();
      const sizes = mixedSizes(trial);
      const blocks = sizes.map((size) => allocator.allocate(size));
      assertDisjoint(allocator);
      blocks.forEach((address, i) => fillPattern(allocator.view(address, allocator.usableSize(address)), i));
      blocks.forEach((address, i) => {
        const usable = allocator.usableSize(address);
        verifyPattern(allocator.view(address, usable), i, usable, `block ${i} of ${sizes[i]} bytes`);
        if (trial.expected.observable && usable > 0) {
          assert(recorder.isCommitted(address, usable), `block ${i} of ${sizes[i]} bytes is not in committed memory`);
        }
      });
      allocator.check();
    },
  },
  { id: "A2", name: "a block keeps its contents while a thousand others come and go", run: survivesTraffic },
  {
    id: "A2",
    name: "every byte of a block can be written, from the smallest to the largest",
    run(trial) {
      const allocator = trial.make();
      for (let size = 1; size <= trial.expected.largestBlock && size <= 2 ** 24; size = size * 3 + 1) {
        const address = allocator.allocate(size);
        fillPattern(allocator.view(address), size);
        verifyPattern(allocator.view(address), size);
        allocator.free(address);
      }
    },
  },
  {
    id: "A3",
    name: "usableSize() is at least the size, and allocating it gives the same again",
    run: usableSizeIsGood,
  },
  { id: "A4", name: "free() in any order brings the allocator back to where it was", run: freeInEveryOrder },
  {
    id: "A5",
    name: "allocate() and free() of one size a hundred thousand times hold no more memory",
    run(trial) {
      const allocator = trial.make();
      for (const size of usedSizes(trial.expected, 2)) {
        allocator.free(allocator.allocate(size));
        const before = allocator.stats();
        const rounds = size <= 100_000 ? 100_000 : 100;
        for (let i = 0; i < rounds; i++) allocator.free(allocator.allocate(size));
        assertEquals(allocator.stats().committedBytes, before.committedBytes, `blocks of ${size} bytes`);
        assertEquals(allocator.stats().reservedBytes, before.reservedBytes, `blocks of ${size} bytes`);
      }
      assertEmpty(allocator, "at the end");
    },
  },
  {
    id: "A6",
    name: "a freed block is used again within a thousand allocations",
    run(trial) {
      for (const size of usedSizes(trial.expected, 1000).filter((size) => size <= 100_000)) {
        const allocator = trial.make();
        allocateMany(allocator, 3, size);
        const freed = allocator.allocate(size);
        allocator.free(freed);
        let again = false;
        for (let i = 0; i < 1000 && !again; i++) again = allocator.allocate(size) === freed;
        assert(again, `a block of ${size} bytes was not used again`);
        allocator[Symbol.dispose]();
      }
    },
  },
  {
    id: "A7",
    name: "any operation may be the first",
    run(trial) {
      for (const first of FIRST_OPERATIONS) {
        const allocator = trial.make();
        first.run(allocator, trial.expected);
        if (first.name !== "dispose") {
          assertEmpty(allocator, `after ${first.name}`);
          assertUsable(allocator);
        }
        allocator[Symbol.dispose]();
      }
    },
  },
  { id: "A8", name: "sizes around every boundary, to the byte", run: sweepSizes },
  {
    id: "A8",
    name: "the largest block, one byte less, and one byte more than a power of two below it",
    run(trial) {
      const allocator = trial.make();
      const largest = trial.expected.largestBlock;
      for (const size of [largest, largest - 1, 2 ** Math.floor(Math.log2(largest - 1)) + 1, largest]) {
        const address = allocator.allocate(size);
        const view = allocator.view(address);
        assertEquals(view.length, size);
        view[0] = 1;
        view[size - 1] = 2;
        assertEquals([view[0], view[size - 1]], [1, 2]);
        allocator.free(address);
        allocator.trim();
      }
      assertEmpty(allocator, "at the end");
    },
  },
  {
    id: "A9",
    name: "usableSize() grows with the size over all sizes up to 32 KiB",
    run(trial) {
      const allocator = trial.make();
      let before = 0;
      for (let size = 0; size <= 32_768; size++) {
        const address = allocator.allocate(size);
        const usable = allocator.usableSize(address);
        if (usable < before || usable < size) fail(`usableSize() of ${size} bytes is ${usable}, after ${before}`);
        before = usable;
        allocator.free(address);
      }
    },
  },
  {
    id: "A11",
    name: "several allocators at once do not disturb each other, nor does disposing one",
    run: manyAllocators,
  },
  { id: "A10", name: "allocate() fails only when the memory is used up, and recovers", run: exhaust },
];
