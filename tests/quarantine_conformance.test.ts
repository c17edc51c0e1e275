/**
 * The conformance suite and the random test applied to `QuarantineAllocator`: over a heap, with a short and a long
 * queue, over the in-band allocators, and over guarded blocks.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import {
  type Allocator,
  basicalloc,
  DebugAllocator,
  fixedPageSource,
  FreeListAllocator,
  GuardAllocator,
  Heap,
  limitedPageSource,
  memAlloc,
  QuarantineAllocator,
  type QuarantineAllocatorOptions,
  systemPageSource,
} from "../mod.ts";
import type { PageSource } from "../mod.ts";
import { conformance, type ConformanceOptions, type MakeAllocator } from "./conformance.ts";
import { fromEnvironment, randomTest } from "./random.ts";

const MIB = 2 ** 20;

type Inner = Allocator & { readonly source: PageSource };

function over(
  make: (source: PageSource) => Inner,
  makeSource: () => PageSource,
  options: QuarantineAllocatorOptions = {},
): MakeAllocator {
  return ({ wrapSource = (source: PageSource) => source } = {}) =>
    new QuarantineAllocator(make(wrapSource(makeSource())), options);
}

/** What every quarantine documents beyond the contract. */
const WAITING = {
  A5: "what is in quarantine is committed; that it does not grow is in quarantine_allocator.test.ts",
  A6: "a freed block is not used again before others have followed it into quarantine",
  V4: "a write to freed memory is reported",
};

/** What is different where the memory in quarantine is more than what the allocator below has lying idle. */
const MUCH_WAITING = {
  ...WAITING,
  A3: "which block is used again decides what is usable, and freed ones are not used again at once",
  A4: "what is in quarantine is committed",
  A9: "which block is used again decides what is usable, and freed ones are not used again at once",
  I2: "what is in quarantine does not merge; run with a short queue",
};

/** What `QuarantineAllocator` documents beyond the contract. */
const OVER_HEAP: ConformanceOptions = {
  limitable: false,
  zeroing: false,
  refusesToShrink: (usableSize, size) => usableSize <= 16_384 && usableSize - size > 4095,
  largestBlock: 2 ** 21,
  budget: 6 * MIB,
  sizes: [64, 40_000, 1_500_000],
  stride: 1511,
  without: WAITING,
};

function heap(source: PageSource): Inner {
  return new Heap({ source });
}

function limited(bytes = 12 * MIB): PageSource {
  return limitedPageSource(systemPageSource(), bytes);
}

conformance("QuarantineAllocator over a Heap", over(heap, limited), {
  ...OVER_HEAP,
  without: MUCH_WAITING,
});

conformance(
  "QuarantineAllocator over a Heap, a queue of four blocks",
  over(heap, limited, { maxBlocks: 4 }),
  OVER_HEAP,
);

/** What the in-band allocators document; see systems_conformance.test.ts. */
const OVER_LISTS: ConformanceOptions = {
  limitable: false,
  zeroing: false,
  isolating: false,
  largestBlock: MIB / 4,
  budget: MIB,
  sizes: [64, 9000],
  largestAlignment: 4096,
  stride: 1511,
  without: MUCH_WAITING,
};

function fixed(): PageSource {
  return fixedPageSource(new ArrayBuffer(1.5 * MIB));
}

conformance(
  "QuarantineAllocator over basicalloc() and a fixed buffer, a queue of four blocks, with stacks",
  over((source) => basicalloc({ source }), fixed, { maxBlocks: 4, stacks: true }),
  { ...OVER_LISTS, joining: true },
);

conformance(
  "QuarantineAllocator over memAlloc() and a fixed buffer, a queue of 20,000 bytes",
  over((source) => memAlloc({ source }), fixed, { maxBytes: 20_000 }),
  { ...OVER_LISTS, without: { ...MUCH_WAITING, J7: "free regions are given back at once, not by trim()" } },
);

conformance(
  "QuarantineAllocator over a FreeListAllocator and a fixed buffer",
  over((source) => new FreeListAllocator({ source, fit: "best", header: 8, coalesce: "lazy" }), fixed),
  OVER_LISTS,
);

conformance(
  "QuarantineAllocator over a DebugAllocator over a Heap, a queue of four blocks",
  over((source) => new DebugAllocator(new Heap({ source }), { stacks: false }), () => limited(3 * MIB), {
    maxBlocks: 4,
  }),
  { ...OVER_LISTS, isolating: true, budget: 1_500_000 },
);

describe("random operations on a QuarantineAllocator", () => {
  const options = { operations: 20_000, maxLiveBlocks: 100, maxLiveBytes: 2 ** 21, maxAlignment: 4096, checkEvery: 50 };

  it("20,000 operations over a Heap", () => {
    randomTest(() => new QuarantineAllocator(new Heap()), fromEnvironment({ ...options, seed: 81 }));
  });

  it("20,000 operations over a Heap with few blocks and a queue of three, check() after each second one", () => {
    const make = (): Allocator => new QuarantineAllocator(new Heap(), { maxBlocks: 3 });
    randomTest(make, fromEnvironment({ ...options, maxLiveBlocks: 20, checkEvery: 2, seed: 82 }));
  });

  it("20,000 operations over a limited source that is too small", () => {
    const make = (): Allocator => {
      const source = limitedPageSource(systemPageSource(), 4 * MIB);
      return new QuarantineAllocator(new Heap({ source }), { maxBytes: MIB });
    };
    randomTest(make, fromEnvironment({ ...options, maxLiveBytes: 2 ** 23, seed: 83, mayRunOut: true }));
  });

  it("20,000 operations over a fixed buffer that is too small", () => {
    const buffer = new ArrayBuffer(MIB / 2);
    const make = (): Allocator => new QuarantineAllocator(basicalloc({ source: fixedPageSource(buffer) }));
    randomTest(make, fromEnvironment({ ...options, seed: 84, mayRunOut: true, isolating: false }));
  });

  it("5,000 operations over guarded blocks, with stacks", () => {
    const make = (): Allocator => new QuarantineAllocator(new GuardAllocator(), { maxBlocks: 50, stacks: true });
    randomTest(make, fromEnvironment({ ...options, operations: 5000, maxLiveBlocks: 40, seed: 85 }));
  });
});
