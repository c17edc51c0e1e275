/**
 * The conformance suite and the random test applied to `DebugAllocator`: over every kind of allocator, over the system and
 * over a fixed buffer.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import {
  Arena,
  BucketAllocator,
  DebugAllocator,
  type DebugAllocatorOptions,
  fixedPageSource,
  FreeListAllocator,
  Heap,
  limitedPageSource,
  PoolAllocator,
  QuarantineAllocator,
  systemPageSource,
} from "../mod.ts";
import type { Allocator, PageSource } from "../mod.ts";
import { conformance, type ConformanceOptions, type MakeAllocator } from "./conformance.ts";
import { fromEnvironment, randomTest } from "./random.ts";

const MIB = 2 ** 20;

type Inner = Allocator & { readonly source: PageSource };

function over(
  make: (source: PageSource) => Inner,
  makeSource: () => PageSource,
  options: DebugAllocatorOptions = {},
): MakeAllocator {
  return ({ wrapSource = (source: PageSource) => source, limit = Infinity } = {}) => {
    const inner = make(wrapSource(makeSource()));
    try {
      return new DebugAllocator(inner, { stacks: false, limit, ...options });
    } catch (error) {
      inner[Symbol.dispose](); // it belongs to the wrapper only once there is one
      throw error;
    }
  };
}

function fixed(): PageSource {
  return fixedPageSource(new ArrayBuffer(3 * MIB));
}

/** Every block is filled, so it costs what it has bytes. */
const DEBUG: ConformanceOptions = {
  zeroing: false,
  usableBound: (size) => size,
  largestBlock: 2 ** 23,
  budget: 2 ** 24,
  sizes: [64, 40_000],
  largestAlignment: 2 ** 20,
  stride: 1511,
};

const SMALL: ConformanceOptions = {
  ...DEBUG,
  largestBlock: MIB / 4,
  budget: MIB / 2,
  sizes: [64, 9000],
  largestAlignment: 4096,
  isolating: false,
};

/** Every byte of a block is filled: the source must not have more than the machine can spare. */
function limited(): PageSource {
  return limitedPageSource(systemPageSource(), 48 * MIB);
}

/** What the in-band allocators leave out, and how far their blocks reach. */
function inBand(options: ConformanceOptions, ...left: string[]): ConformanceOptions {
  const reasons: Record<string, string> = {
    A9: "what is left over by a split and too small for a block makes the block larger",
    I2: "regions are not joined",
    V4: "a write to freed memory hits the free list, and is reported as corruption",
    J7: "free regions are given back at once, not by trim()",
  };
  return { ...options, without: Object.fromEntries(left.map((id) => [id, reasons[id] as string])) };
}

conformance("DebugAllocator over a Heap", over((source) => new Heap({ source }), limited), DEBUG);

conformance(
  "DebugAllocator over a Heap over a fixed buffer, with stacks",
  over((source) => new Heap({ source }), fixed, { stacks: 2 }),
  SMALL,
);

conformance(
  "DebugAllocator over a FreeListAllocator",
  over((source) => new FreeListAllocator({ source, header: 8 }), fixed),
  inBand(SMALL, "V4", "I2"),
);

conformance(
  "DebugAllocator over a BucketAllocator",
  over((source) => new BucketAllocator({ source }), fixed),
  inBand(SMALL, "V4", "I2", "J7"),
);

conformance("DebugAllocator over an Arena", over((source) => new Arena({ source }), fixed), SMALL);

describe("random operations on a DebugAllocator", () => {
  it("20,000 operations over a Heap", () => {
    const options = { seed: 71, operations: 20_000, maxLiveBlocks: 300, maxLiveBytes: 2 ** 23 };
    randomTest(() => new DebugAllocator(new Heap(), { stacks: false }), fromEnvironment(options));
  });

  it("5000 operations over a Heap, with stacks and sums", () => {
    const options = { seed: 72, operations: 5000, maxLiveBlocks: 40, maxLiveBytes: 2 ** 20, checkEvery: 5 };
    randomTest(() => new DebugAllocator(new Heap(), { stacks: 3, totals: true }), fromEnvironment(options));
  });

  it("10,000 operations over a BucketAllocator over a fixed buffer that is too small, with a limit", () => {
    const buffer = new ArrayBuffer(2 * MIB);
    const options = { seed: 73, operations: 10_000, maxLiveBlocks: 200, maxLiveBytes: 2 ** 23, checkEvery: 20 };
    const make = (): Allocator =>
      new DebugAllocator(new BucketAllocator({ source: fixedPageSource(buffer) }), { stacks: false, limit: MIB });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true, isolating: false }));
  });

  it("10,000 operations over a PoolAllocator; what does not fit in a slot with the bytes around it runs out", () => {
    const options = { seed: 76, operations: 10_000, maxLiveBlocks: 300, maxAlignment: 64, arrays: false };
    const make = (): Allocator =>
      new DebugAllocator(new PoolAllocator({ slotSize: 4000, alignment: 64 }), { stacks: false });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true }));
  });

  it("10,000 operations over a QuarantineAllocator over a Heap, and the other way round", () => {
    const options = { operations: 10_000, maxLiveBlocks: 100, maxLiveBytes: 2 ** 21, checkEvery: 50 };
    const quarantine = { maxBytes: 2 ** 20, maxBlocks: 100 };
    randomTest(
      () => new DebugAllocator(new QuarantineAllocator(new Heap(), quarantine), { stacks: false }),
      fromEnvironment({ ...options, seed: 74 }),
    );
    randomTest(
      () => new QuarantineAllocator(new DebugAllocator(new Heap(), { stacks: false }), quarantine),
      fromEnvironment({ ...options, seed: 75 }),
    );
  });
});
