/**
 * The conformance suite and the random test applied to `GuardAllocator`: every block guarded, at the end and at the
 * start of its pages, to the byte, and one in three beside a heap.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import { GuardAllocator, type GuardAllocatorOptions, limitedPageSource, systemPageSource } from "../mod.ts";
import type { PageSource } from "../mod.ts";
import { conformance, type ConformanceOptions, type MakeAllocator } from "./conformance.ts";
import { fromEnvironment, randomTest } from "./random.ts";

const MIB = 2 ** 20;

/** Guard allocators that keep few freed blocks: the recorder of the suite takes time in the number of reservations. */
function guardOver(options: GuardAllocatorOptions, budget = 16 * MIB): MakeAllocator {
  return ({ wrapSource = (source: PageSource) => source } = {}) => {
    const source = wrapSource(limitedPageSource(systemPageSource(), budget));
    return new GuardAllocator({ maxFreedBlocks: 64, ...options, source });
  };
}

const KEEPS = "the address space of freed blocks is kept on purpose; see guard_allocator.test.ts";

/** What `GuardAllocator` documents beyond the contract, for blocks that are guarded. */
const GUARDED: ConformanceOptions = {
  limitable: false,
  zeroing: false,
  usableBound: (size) => size,
  without: {
    A5: KEEPS,
    A6: KEEPS,
    D3: "a block that changes its size moves, so that it touches its guard page again",
    J7: "the memory of a freed block goes back at once, and not by trim()",
  },
};

/** So few blocks at a time that section M can let every single request for memory fail. */
const FEW: ConformanceOptions = {
  ...GUARDED,
  largestBlock: 8192,
  budget: 131_072,
  sizes: [64, 5000],
  without: {
    ...GUARDED.without,
    A9: "run for all sizes with a larger budget",
    A10: "run with a larger budget: a block of one byte takes a page of this one",
    B1: "run for all sizes with a larger budget",
  },
};

conformance("GuardAllocator", guardOver({}), {
  ...GUARDED,
  largestBlock: 2 ** 22,
  budget: 2 ** 23,
  stride: 1511,
  without: { ...GUARDED.without, M: "a budget of blocks in thousands is one of requests; M is run with a smaller one" },
});

conformance("GuardAllocator, at the start of its pages", guardOver({ placement: "start" }), FEW);

const UNALIGNED = "addresses and alignments are not multiples of 16; see guard_allocator.test.ts";

conformance("GuardAllocator, to the byte", guardOver({ precise: true }), {
  ...FEW,
  without: { ...FEW.without, B3: UNALIGNED, B4: UNALIGNED, F2: UNALIGNED, L1: UNALIGNED, V1: UNALIGNED },
});

conformance("GuardAllocator, one block in three", guardOver({ sampleRate: 3, seed: 1 }), {
  ...FEW,
  usableBound: (size) => Math.max(16, size * 1.25 + 16),
  without: {
    ...FEW.without,
    A3: "what is usable depends on whether the block is guarded",
    A9: "what is usable depends on whether the block is guarded",
    D6: "what resize() can do depends on whether the block is guarded",
  },
});

describe("random operations on a GuardAllocator", () => {
  const options = { operations: 10_000, maxLiveBlocks: 60, maxLiveBytes: 2 ** 20, maxAlignment: 8192, checkEvery: 50 };

  it("10,000 operations, every block guarded", () => {
    randomTest(() => new GuardAllocator(), fromEnvironment({ ...options, seed: 71 }));
  });

  it("10,000 operations, one block in four guarded at the start of its pages, with stacks", () => {
    const make = (): GuardAllocator => new GuardAllocator({ sampleRate: 4, seed: 9, placement: "start", stacks: true });
    randomTest(make, fromEnvironment({ ...options, seed: 72 }));
  });

  it("10,000 operations over a limited source that is too small, with at most 40 blocks", () => {
    const make = (): GuardAllocator =>
      new GuardAllocator({ source: limitedPageSource(systemPageSource(), MIB / 2), maxBlocks: 40, maxFreedBlocks: 0 });
    randomTest(make, fromEnvironment({ ...options, seed: 73, mayRunOut: true }));
  });
});
