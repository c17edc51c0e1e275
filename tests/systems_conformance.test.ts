/**
 * The conformance suite and the random test applied to the in-band allocators: every combination of policies, and the
 * four reference systems over every page source.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import type { Allocator, PageSource } from "../mod.ts";
import { fixedPageSource, limitedPageSource, systemPageSource } from "../mod.ts";
import { BucketAllocator } from "../src/bucket_allocator.ts";
import { contiguousPageSource } from "../src/contiguous_page_source.ts";
import { FreeListAllocator, type FreeListOptions } from "../src/free_list_allocator.ts";
import { basicalloc, memAlloc, rulloc, rustyMalloc } from "../src/systems.ts";
import { conformance, type ConformanceOptions, type MakeAllocator } from "./conformance.ts";
import { fromEnvironment, randomTest } from "./random.ts";

type Make = (source: PageSource) => Allocator;

const MIB = 2 ** 20;

/** The factories. */
const SYSTEMS: readonly { name: string; make: Make }[] = [
  { name: "basicalloc()", make: (source) => basicalloc({ source }) },
  { name: "rustyMalloc()", make: (source) => rustyMalloc({ source }) },
  { name: "memAlloc()", make: (source) => memAlloc({ source }) },
  { name: "rulloc()", make: (source) => rulloc(undefined, { source }) },
];

/** Every combination of order, fit, header, coalescing and joining. */
const COMBINATIONS: FreeListOptions[] = [];
for (const order of ["address", "lifo", "fifo"] as const) {
  for (const fit of ["first", "best", "next"] as const) {
    for (const header of [0, 8, 24, 40] as const) {
      for (const coalesce of ["eager", "lazy"] as const) {
        // What remains is spread over the combinations, so that all of it is met often.
        const turn = COMBINATIONS.length;
        COMBINATIONS.push({
          ...{ order, fit, header, coalesce },
          joinRegions: turn % 2 === 0,
          releaseRegions: turn % 3 === 0,
          split: turn % 5 < 2 ? "end" : "start",
          growDown: turn % 4 < 2,
        });
      }
    }
  }
}

function over(make: Make, makeSource: () => PageSource): MakeAllocator {
  return ({ wrapSource = (source: PageSource) => source } = {}) => make(wrapSource(makeSource()));
}

/** What the in-band allocators document beyond the contract: no limit, no clearing on free, headers in the blocks. */
const IN_BAND: ConformanceOptions = {
  limitable: false,
  zeroing: false,
  usableBound: (size) => size + 16 + 64,
  without: {
    A9: "what is left over by a split and too small for a block makes the block larger",
    V4: "a write to freed memory hits the free list, and is reported as corruption",
  },
};

/** What is left out for these policies. */
function without(releaseRegions = false, joinRegions = false): Record<string, string> {
  const reasons: Record<string, string> = { ...IN_BAND.without };
  if (!joinRegions) reasons.I2 = "regions are not joined";
  if (releaseRegions) reasons.J7 = "free regions are given back at once, not by trim()";
  return reasons;
}

const NATIVE: ConformanceOptions = {
  ...IN_BAND,
  largestBlock: 2 ** 22,
  budget: 2 ** 23,
  sizes: [64, 40_000, 1_500_000],
  largestAlignment: 2 ** 22,
  stride: 211,
};

const SMALL: ConformanceOptions = {
  ...IN_BAND,
  largestBlock: MIB / 4,
  budget: MIB,
  sizes: [64, 9000],
  largestAlignment: 4096,
  isolating: false,
  stride: 1511,
};

function fixed(): PageSource {
  return fixedPageSource(new ArrayBuffer(1.5 * MIB));
}

function limited(): PageSource {
  return limitedPageSource(systemPageSource(), 2 ** 24);
}

for (const { name, make } of SYSTEMS) {
  const joining = /basic|rusty/.test(name);
  const options = { joining, without: without(!joining, joining) };
  // The system gives an address that was given back to the next who asks, and to both it is one that they had; and it
  // may map something of the runtime's between two regions.
  const shared: Record<string, string> = joining
    ? { I2: "regions need not touch; I2 is run over the fixed buffer" }
    : { F2: "another allocator may have its memory now; F2 is run over the fixed buffer" };
  const native = { ...NATIVE, joining, without: { ...options.without, ...shared } };
  conformance(`${name} over the system`, over(make, limited), native);
  conformance(`${name} over a fixed buffer`, over(make, fixed), { ...SMALL, ...options });
}

conformance(
  "rustyMalloc() over a contiguous reservation",
  over((source) => rustyMalloc({ source }), () => contiguousPageSource(limited())),
  { ...NATIVE, joining: true },
);

conformance(
  "rulloc([8, 16, 24]) over a fixed buffer",
  over((source) => rulloc([8, 16, 24], { source }), fixed),
  { ...SMALL, without: without(true) },
);

for (const options of COMBINATIONS) {
  const name = Object.values(options).join(" ");
  const make = (source: PageSource): Allocator => new FreeListAllocator({ ...options, source, regionSize: 16_384 });
  const small = (): PageSource => fixedPageSource(new ArrayBuffer(1.5 * MIB));
  conformance(`FreeListAllocator, ${name}`, over(make, small), {
    ...SMALL,
    largestBlock: MIB / 8,
    budget: MIB * 0.75,
    joining: options.joinRegions === true,
    without: {
      ...without(options.releaseRegions, options.joinRegions),
      // Whether a rest is left over that is too small for a block depends on what a search has merged.
      ...(options.coalesce === "lazy" ? { A3: "the same size again may get a block with what is left over" } : {}),
    },
  });
}

describe("random operations on the in-band allocators, check() after each", () => {
  const few = { operations: 4000, maxLiveBlocks: 40, maxLiveBytes: 2 ** 19, maxAlignment: 4096, checkEvery: 1 };

  for (const { name, make } of SYSTEMS) {
    it(`${name} over the system`, () => {
      randomTest(() => make(systemPageSource()), fromEnvironment({ ...few, seed: 11 }));
    });

    it(`${name} over a fixed buffer that is too small`, () => {
      const buffer = new ArrayBuffer(MIB / 4);
      const tight = { ...few, seed: 12, mayRunOut: true, isolating: false };
      randomTest(() => make(fixedPageSource(buffer, { pageSize: 64 })), fromEnvironment(tight));
    });

    it(`${name} over a limited source that is too small`, () => {
      const tight = { ...few, seed: 13, mayRunOut: true };
      randomTest(() => make(limitedPageSource(systemPageSource(), MIB / 2)), fromEnvironment(tight));
    });
  }

  it("every combination of policies over a fixed buffer", () => {
    const buffer = new ArrayBuffer(MIB / 2);
    COMBINATIONS.forEach((options, i) => {
      const make = (): Allocator => new FreeListAllocator({ ...options, source: fixedPageSource(buffer) });
      randomTest(make, { ...few, operations: 500, seed: 100 + i, mayRunOut: true, isolating: false });
    });
  });

  it("buckets with every order, fit and header", () => {
    const buffer = new ArrayBuffer(MIB);
    COMBINATIONS.forEach(({ order, fit, header, releaseRegions, growDown }, i) => {
      const options = { order, fit, header, releaseRegions, growDown, sizes: [16, 64, 300] } as const;
      const make = (): Allocator => new BucketAllocator({ ...options, source: fixedPageSource(buffer) } as never);
      randomTest(make, { ...few, operations: 300, seed: 200 + i, mayRunOut: true, isolating: false });
    });
  });
});
