/**
 * The conformance suite and the random test applied to the allocators of the article: bump, arena and pool.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, systemPageSource } from "../mod.ts";
import type { PageSource } from "../mod.ts";
import { BumpAllocator } from "../src/bump_allocator.ts";
import { conformance, type ConformanceOptions, type MakeAllocator } from "./conformance.ts";
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
