/**
 * The conformance suite and the random test applied to the allocators of the article: bump, arena and pool.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, systemPageSource } from "../mod.ts";
import type { PageSource } from "../mod.ts";
import { Arena } from "../src/arena.ts";
import { BumpAllocator } from "../src/bump_allocator.ts";
import { PoolAllocator } from "../src/pool_allocator.ts";
import { conformance, type ConformanceOptions, type MakeAllocator, type MakeOverrides } from "./conformance.ts";
import { fromEnvironment, randomTest } from "./random.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** What rounding up to granules of 16 bytes costs. */
function usableBound(size: number): number {
  return Math.max(16, size + 15);
}

function bumpOver(makeSource: () => PageSource, size: number): MakeAllocator {
  return ({ wrapSource = (source: PageSource) => source } = {}) =>
    new BumpAllocator({ source: wrapSource(makeSource()), size });
}

const BUMP: ConformanceOptions = { usableBound, limitable: false, zeroing: false };

conformance("BumpAllocator over the system", bumpOver(systemPageSource, 128 * MIB), {
  ...BUMP,
  largestBlock: 32 * MIB,
  budget: 64 * MIB,
  largestAlignment: MIB,
});

conformance(
  "BumpAllocator over a fixed ArrayBuffer",
  bumpOver(() => fixedPageSource(new ArrayBuffer(2 * MIB)), 2 * MIB),
  {
    ...BUMP,
    largestBlock: MIB,
    budget: MIB,
    largestAlignment: 64 * KIB,
    isolating: false,
  },
);

describe("random operations on a BumpAllocator", () => {
  it("50,000 operations on 64 MiB, which run out", () => {
    const options = { seed: 61, operations: 50_000, maxLiveBlocks: 300, maxLiveBytes: 2 ** 24, mayRunOut: true };
    randomTest(() => new BumpAllocator({ size: 64 * MIB }), fromEnvironment(options));
  });
});

function arenaOver(makeSource: () => PageSource): MakeAllocator {
  return ({ wrapSource = (source: PageSource) => source, limit = Infinity } = {}) =>
    new Arena({ source: wrapSource(makeSource()), limit });
}

const ARENA: ConformanceOptions = { usableBound, zeroing: false };

conformance("Arena over the system", arenaOver(systemPageSource), {
  ...ARENA,
  largestBlock: 64 * MIB,
  budget: 128 * MIB,
});

conformance("Arena over a fixed ArrayBuffer", arenaOver(() => fixedPageSource(new ArrayBuffer(16 * MIB))), {
  ...ARENA,
  largestBlock: 2 * MIB,
  budget: 4 * MIB,
  largestAlignment: 64 * KIB,
  isolating: false,
});

describe("random operations on an Arena", () => {
  it("50,000 operations over the system", () => {
    const options = { seed: 62, operations: 50_000, maxLiveBlocks: 300, maxLiveBytes: 2 ** 24 };
    randomTest(() => new Arena(), fromEnvironment(options));
  });

  it("20,000 operations with few blocks, check() after each second one", () => {
    const options = { seed: 63, operations: 20_000, maxLiveBlocks: 30, maxLiveBytes: 2 ** 20, checkEvery: 2 };
    randomTest(() => new Arena({ chunkSize: 4096 }), fromEnvironment(options));
  });

  it("30,000 operations over a fixed buffer that is too small, with a limit", () => {
    const buffer = new ArrayBuffer(4 * MIB);
    const options = { seed: 64, operations: 30_000, maxLiveBlocks: 500, maxLiveBytes: 2 ** 24, checkEvery: 50 };
    const make = (): Arena => new Arena({ source: fixedPageSource(buffer), limit: 2 * MIB });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true, isolating: false }));
  });
});

function makePool({ wrapSource = (source: PageSource) => source }: MakeOverrides = {}): PoolAllocator {
  return new PoolAllocator({ source: wrapSource(systemPageSource()), slotSize: 512 * KIB, alignment: 64 * KIB });
}

// Whatever its size, a block takes a slot: so many of them fit over the system only, where untouched memory is free.
conformance("PoolAllocator over the system", makePool, {
  largestBlock: 512 * KIB,
  budget: 8 * MIB,
  largestAlignment: 64 * KIB,
  limitable: false,
  zeroing: false,
  without: {
    A10: "a budget of bytes is none of slots; see pool_allocator.test.ts",
    D4: "a slot never moves",
    D5: "no memory makes a block larger than a slot",
  },
});

describe("random operations on a PoolAllocator", () => {
  it("50,000 operations over the system; what does not fit in a slot runs out", () => {
    const options = { seed: 65, operations: 50_000, maxLiveBlocks: 1000, maxAlignment: 64, arrays: false };
    const make = (): PoolAllocator => new PoolAllocator({ slotSize: 4000, alignment: 64 });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true }));
  });

  it("20,000 operations with few blocks that cannot grow, check() after each second one", () => {
    const options = { seed: 66, operations: 20_000, maxLiveBlocks: 40, maxAlignment: 64, arrays: false, checkEvery: 2 };
    const make = (): PoolAllocator => new PoolAllocator({ slotSize: 1000, capacity: 20, growable: false });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true }));
  });

  it("20,000 operations over a fixed buffer that is too small", () => {
    const buffer = new ArrayBuffer(MIB);
    const options = {
      seed: 67,
      operations: 20_000,
      maxLiveBlocks: 600,
      maxAlignment: 64,
      arrays: false,
      checkEvery: 50,
    };
    const make = (): PoolAllocator => new PoolAllocator({ slotSize: 4000, source: fixedPageSource(buffer) });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true, isolating: false }));
  });
});
