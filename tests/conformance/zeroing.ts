/**
 * Conformance, section E: memory that must be zero.
 *
 * @module
 */
import { assert, fail } from "@std/assert";
import type { Allocator } from "../../src/allocator.ts";
import type { Address } from "../../src/page_source.ts";
import { Prng } from "../support/prng.ts";
import type { ConformanceCase, Trial } from "./case.ts";
import { usedSizes, verifyZero } from "./support.ts";

/** Fills freed memory with 0xff, as far as the allocator will give it out again. */
function makeDirty(trial: Trial, allocator: Allocator): void {
  const random = new Prng(11);
  const blocks: Address[] = [];
  let bytes = 0;
  for (let i = 0; i < 4096; i++) {
    const size = random.chance(90) ? random.below(3000) : random.below(50_000);
    bytes += size + 4096;
    if (bytes > trial.expected.budget / 2) break;
    blocks.push(allocator.allocate(size));
  }
  for (const size of [100_000, 1_000_000, 6_000_000]) {
    bytes += size * 2;
    if (bytes <= trial.expected.budget / 2 && size <= trial.expected.largestBlock) {
      blocks.push(allocator.allocate(size));
    }
  }
  for (const address of blocks) allocator.view(address, allocator.usableSize(address)).fill(0xff);
  for (const address of random.shuffle(blocks)) allocator.free(address);
}

function zeroedOnDirtyHeap(trial: Trial): void {
  const allocator = trial.make();
  const kept: Address[] = [];
  const sizes = [0, 1, 3, 8, 15, 16, 17, 100, 127, 128, 129, 130, 131, 1000, 4096, 5001, 16_384, 16_385, 40_000, 99_999]
    .concat([250_000, 1_000_001, 5_999_999])
    .filter((size) => size <= trial.expected.largestBlock && size * 8 <= trial.expected.budget);
  for (let round = 0; round < 3; round++) {
    makeDirty(trial, allocator);
    if (round === 2) allocator.trim();
    for (const alignment of [16, 64, 4096]) {
      for (const size of sizes) {
        const what = `allocateZeroed(${size}, ${alignment}) on a dirty allocator`;
        const address = allocator.allocateZeroed(size, alignment);
        verifyZero(allocator.view(address), what);
        allocator.view(address, allocator.usableSize(address)).fill(0xff);
        if (size <= 1000) kept.push(address);
        else allocator.free(address);
        const { buffer, free } = ownedBuffer(allocator, size, alignment);
        verifyZero(buffer, `buffer(${size}) on a dirty allocator`);
        buffer.fill(0xff);
        free();
      }
    }
    for (const address of kept.splice(0)) allocator.free(address);
  }
  for (let i = 0; i < 4096; i++) {
    const size = (i * 37) % 1500;
    const address = allocator.allocateZeroed(size);
    verifyZero(allocator.view(address), `allocateZeroed(${size}), the ${i}th`);
    allocator.view(address).fill(0xff);
    if (i % 3 !== 0) allocator.free(address);
  }
  allocator.check();
}

/** Memory that a block grew into and gave up again is dirty, although no block ever started there. */
function zeroedAfterGrowth(trial: Trial): void {
  const most = Math.min(400_000, trial.expected.largestBlock, Math.floor(trial.expected.budget / 16));
  for (const size of [20, 3000, 20_000, 70_000].filter((size) => size < most)) {
    for (const grown of [most >>> 3, most >>> 1, most].filter((grown) => grown > size)) {
      for (const zeroed of [1, 100, 4096, 20_000, 50_000, grown].filter((bytes) => bytes <= most)) {
        for (const byReallocate of [false, true]) {
          const allocator = trial.make();
          let address = allocator.allocate(size);
          if (byReallocate) address = allocator.reallocate(address, grown);
          else allocator.resize(address, grown);
          allocator.view(address, allocator.usableSize(address)).fill(0xff);
          if (byReallocate) address = allocator.reallocate(address, size);
          else allocator.resize(address, size);
          const block = allocator.allocateZeroed(zeroed);
          verifyZero(allocator.view(block), `allocateZeroed(${zeroed}) where a block of ${grown} bytes had been`);
          allocator[Symbol.dispose]();
        }
      }
    }
  }
}

function ownedBuffer(allocator: Allocator, size: number, alignment: number): { buffer: Uint8Array; free: () => void } {
  const buffer = allocator.buffer(size, { alignment });
  return { buffer: buffer.bytes, free: () => buffer.free() };
}

function zeroOnFree(trial: Trial): void {
  for (const size of usedSizes(trial.expected, 8).filter((size) => size <= 100_000)) {
    const allocator = trial.make({ zeroOnFree: true });
    const keep = allocator.allocate(16); // so that the memory of the others is not given back with the last of them
    const freed = allocator.allocate(size);
    const freedView = allocator.view(freed, allocator.usableSize(freed));
    freedView.fill(0xff);
    allocator.free(freed);
    verifyZero(freedView, `a block of ${size} bytes, freed with zeroOnFree,`);

    const shrunk = allocator.allocate(size);
    const shrunkView = allocator.view(shrunk, allocator.usableSize(shrunk));
    shrunkView.fill(0xff);
    if (allocator.resize(shrunk, 8)) {
      verifyZero(shrunkView.subarray(8), `the tail of a block of ${size} bytes, shrunk to 8 with zeroOnFree,`);
    }
    allocator.free(shrunk);

    const moving = allocator.allocate(size);
    const movingView = allocator.view(moving, allocator.usableSize(moving));
    movingView.fill(0xff);
    allocator.allocate(size);
    const moved = allocator.reallocate(moving, size * 4);
    if (moved !== moving) verifyZero(movingView, `the old place of a block of ${size} bytes, moved with zeroOnFree,`);
    for (let i = 0; i < size; i++) {
      if (allocator.view(moved)[i] !== 0xff) fail(`zeroOnFree lost byte ${i} of a block that moved`);
      if (i > 200) i += 61;
    }
    allocator.free(moved);

    const buffer = allocator.buffer(size);
    const place = allocator.view(buffer.address);
    buffer.bytes.fill(0xff);
    if (place.buffer !== buffer.arrayBuffer) {
      buffer.free();
      verifyZero(place, `an owned buffer of ${size} bytes, freed with zeroOnFree,`);
    }
    assert(allocator.owns(keep));
    allocator[Symbol.dispose]();
  }
}

/** The cases of section E. */
export const ZEROING_CASES: readonly ConformanceCase[] = [
  {
    id: "E1",
    name: "allocateZeroed() and buffer() give zeros from dirty memory of every size",
    run: zeroedOnDirtyHeap,
  },
  { id: "E1", name: "allocateZeroed() gives zeros where a block had grown and shrunk", run: zeroedAfterGrowth },
  {
    id: "E3",
    name: "zeroOnFree clears freed blocks, cut-off tails and the places that blocks moved from",
    unless: (expected) => expected.zeroing ? undefined : "it has no zeroOnFree",
    run: zeroOnFree,
  },
];
