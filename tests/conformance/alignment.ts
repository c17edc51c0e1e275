/**
 * Conformance, section B: alignment.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import type { Allocator } from "../../src/allocator.ts";
import { OutOfMemoryError } from "../../src/errors.ts";
import type { Address } from "../../src/page_source.ts";
import type { ConformanceCase, Trial } from "./case.ts";
import {
  assertHoldsNoMore,
  assertRejected,
  assertUsable,
  fillPattern,
  liveSnapshot,
  shown,
  verifyPattern,
} from "./support.ts";

/** The alignment that the allocator says a block was given. */
function recordedAlignment(allocator: Allocator, address: Address): number {
  for (const block of allocator.blocks()) {
    if (block.address === address) return block.alignment;
  }
  fail(`blocks() does not have ${address}`);
}

function everySizeAndAlignment(trial: Trial): void {
  const allocator = trial.make();
  const { stride, budget, largestAlignment } = trial.expected;
  const group: Address[] = [];
  for (let size = 1; size <= 32_768; size += size < 512 ? 1 : stride) {
    for (let alignment = 1; alignment <= Math.min(4096, largestAlignment); alignment *= 2) {
      if ((size + alignment) * 20 > budget) break;
      for (let i = 0; i < 10; i++) {
        const address = allocator.allocate(size, alignment);
        if (address % alignment !== 0) fail(`allocate(${size}, ${alignment}) gave ${address}`);
        if (address % 16 !== 0) fail(`allocate(${size}, ${alignment}) gave ${address}, which is not aligned to 16`);
        group.push(address);
      }
      for (const address of group) allocator.free(address);
      group.length = 0;
    }
  }
  assertEquals(allocator.stats().liveBlocks, 0);
  allocator.check();
}

/** Allocates at every large alignment; one beyond what must be had may fail, cleanly. */
function largeAlignments(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const { budget, largestBlock, largestAlignment } = trial.expected;
  for (const alignment of [4096, 16_384, 65_536, 2 ** 20, 2 ** 25, 2 ** 30]) {
    for (const size of [0, 1, 100, 5000, 40_000, 3_000_000]) {
      if (size > largestBlock / 2) continue;
      const mustSucceed = alignment <= largestAlignment && 2 * (size + alignment) < Math.max(budget, largestAlignment);
      const before = liveSnapshot(allocator);
      const held = allocator.stats();
      const what = `allocate(${size}, ${alignment})`;
      let address: Address;
      try {
        address = allocator.allocate(size, alignment);
      } catch (error) {
        if (mustSucceed || !(error instanceof OutOfMemoryError)) throw error;
        assertHoldsNoMore(allocator, before, held, what);
        continue;
      }
      assertEquals(address % alignment, 0, what);
      assertEquals(recordedAlignment(allocator, address), Math.max(16, alignment), what);
      fillPattern(allocator.view(address), size);
      const second = allocator.tryAllocate(size, alignment);
      if (mustSucceed && alignment < 2 ** 30) assert(second !== 0, `a second ${what} failed`);
      if (second !== 0) {
        assertEquals(second % alignment, 0, what);
        fillPattern(allocator.view(second), size + 1);
        verifyPattern(allocator.view(second), size + 1);
        allocator.free(second);
      }
      verifyPattern(allocator.view(address), size, size, what);
      allocator.check();
      allocator.free(address);
    }
  }
  assertEquals(allocator.stats().liveBlocks, 0);
  assert(recorder.committedBytes <= 2 * budget + 2 ** 25, "alignment was reached by committing memory");
}

function hugeAndHuge(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  for (const [size, alignment] of [[2 ** 20, 2 ** 30], [2 ** 33, 2 ** 30], [2 ** 48, 2 ** 30], [2 ** 52, 2 ** 30]]) {
    const before = recorder.reservedBytes;
    const address = allocator.tryAllocate(size as number, alignment as number);
    if (address === 0) {
      assert(
        recorder.reservedBytes <= before,
        `tryAllocate(${size}, ${alignment}) failed and left address space behind`,
      );
      continue;
    }
    assertEquals(address % (alignment as number), 0);
    assert(allocator.usableSize(address) >= (size as number));
    allocator.free(address);
  }
  assertUsable(allocator);
}

function survivesReallocate(trial: Trial): void {
  const allocator = trial.make();
  const alignments = [1, 16, 32, 64, 128, 512, 4096, 65_536];
  for (const alignment of alignments.filter((a) => a <= trial.expected.largestAlignment)) {
    let address = allocator.allocate(10, alignment);
    let size = 10;
    fillPattern(allocator.view(address), alignment);
    const steps = [11, 100, 300, 20, 4000, 4100, 1000, 20_000, 16_384, 70_000, 300_000, 40, 90_000, 33, 1]
      .filter((step) => (step + alignment) * 4 <= trial.expected.budget && step <= trial.expected.largestBlock);
    const blockers: Address[] = [];
    for (const step of steps) {
      blockers.push(allocator.allocate(size)); // in the way of growing in place, so that blocks do move
      address = allocator.reallocate(address, step);
      const what = `reallocate() from ${size} to ${step} bytes, aligned to ${alignment}`;
      assertEquals(address % alignment, 0, what);
      assertEquals(recordedAlignment(allocator, address), Math.max(16, alignment), what);
      verifyPattern(allocator.view(address), alignment, Math.min(size, step), what);
      fillPattern(allocator.view(address), alignment);
      size = step;
    }
    allocator.free(address);
    for (const blocker of blockers) allocator.free(blocker);
  }
  allocator.check();
}

/** Zig's case: a block that is aligned exactly as asked and no better, shrunk through every boundary. */
function alignedShrink(trial: Trial): void {
  const allocator = trial.make();
  const alignment = Math.min(2048, trial.expected.largestAlignment);
  for (const size of [9000, 40_000].filter((size) => size * 40 <= trial.expected.budget)) {
    const tries: Address[] = [];
    let address = allocator.allocate(size, alignment);
    while (address % (2 * alignment) === 0 && tries.length < 16) {
      tries.push(address);
      address = allocator.allocate(size, alignment);
    }
    fillPattern(allocator.view(address), 3);
    for (const smaller of [8000, 4097, 4096, 2049, 500, 17, 1]) {
      address = allocator.reallocate(address, smaller);
      assertEquals(address % alignment, 0);
      verifyPattern(allocator.view(address), 3, smaller, `a block shrunk from ${size} to ${smaller} bytes`);
    }
    allocator.free(address);
    for (const other of tries) allocator.free(other);
  }
}

/** Alignments of the right type that are none. */
const BAD_ALIGNMENTS = [
  0,
  -0,
  3,
  48,
  100,
  -8,
  -16,
  1.5,
  16.5,
  NaN,
  Infinity,
  -Infinity,
  2 ** 31,
  2 ** 32,
  2 ** 32 + 16,
];

/** The cases of section B. */
export const ALIGNMENT_CASES: readonly ConformanceCase[] = [
  { id: "B1", name: "every size at every alignment up to an OS page, ten live at a time", run: everySizeAndAlignment },
  { id: "B2", name: "allocate() at 4 KiB, 64 KiB, 1 MiB, 32 MiB and 1 GiB", run: largeAlignments },
  { id: "B2", name: "a huge size at a huge alignment works or leaves nothing behind", run: hugeAndHuge },
  {
    id: "B3",
    name: "an alignment that is no power of two up to 2^30 is a RangeError that names it",
    run(trial) {
      const allocator = trial.make();
      const live = allocator.allocate(100);
      for (const alignment of BAD_ALIGNMENTS) {
        for (const size of [0, 64, 100_000]) {
          const say = shown(alignment);
          const what = `(${size}, ${say})`;
          assertRejected(allocator, () => allocator.allocate(size, alignment), RangeError, `allocate${what}`, say);
          assertRejected(
            allocator,
            () => allocator.tryAllocate(size, alignment),
            RangeError,
            `tryAllocate${what}`,
            say,
          );
          assertRejected(
            allocator,
            () => allocator.allocateZeroed(size, alignment),
            RangeError,
            `allocateZeroed${what}`,
            say,
          );
          assertRejected(allocator, () => allocator.buffer(size, { alignment }), RangeError, `buffer${what}`, say);
        }
      }
      allocator.free(live);
      assertUsable(allocator);
    },
  },
  {
    id: "B3",
    name: "an alignment below 16 gives 16 and is recorded as 16",
    run(trial) {
      const allocator = trial.make();
      for (const alignment of [1, 2, 4, 8, 16, undefined]) {
        const address = allocator.allocate(24, alignment);
        assertEquals(address % 16, 0);
        assertEquals(recordedAlignment(allocator, address), 16);
      }
    },
  },
  { id: "B4", name: "reallocate() keeps the alignment when it grows, shrinks and moves", run: survivesReallocate },
  {
    id: "B5",
    name: "reallocate() to a smaller size keeps contents and alignment of a barely aligned block",
    run: alignedShrink,
  },
];
