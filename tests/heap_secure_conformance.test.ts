/**
 * The conformance suite and the random test applied to `Heap` with the `secure` options, each alone and all together.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import {
  fixedPageSource,
  Heap,
  limitedPageSource,
  type PageSource,
  type SecureOptions,
  systemPageSource,
} from "../mod.ts";
import { conformance, type ConformanceOptions, type MakeAllocator } from "./conformance.ts";
import { fromEnvironment, randomTest } from "./random.ts";

const MIB = 2 ** 20;

/** Makes secure heaps over fresh page sources. */
function secureHeap(secure: boolean | SecureOptions, makeSource: () => PageSource): MakeAllocator {
  return ({ wrapSource = (source: PageSource) => source, ...options } = {}) =>
    new Heap({ source: wrapSource(makeSource()), secure, ...options });
}

/** What `Heap` documents beyond the contract. */
const HEAP: ConformanceOptions = {
  largestBlock: 2 ** 24,
  budget: 2 ** 25,
  usableBound: (size) => size <= 16_384 ? Math.max(16, size * 1.25 + 16) : Math.ceil(size / 65_536) * 65_536,
  refusesToShrink: (usableSize, size) => usableSize <= 16_384 && usableSize - size > 4095,
  stride: 509,
};

/** What delaying reuse is for: tests/heap_secure.test.ts says when the memory is used again. */
const DELAYS: ConformanceOptions = {
  without: Object.fromEntries(["A4", "A5", "A6"].map((id) => [id, "the reuse of freed blocks is delayed"])),
};

const FIXED: ConformanceOptions = {
  ...HEAP,
  largestBlock: 2 ** 23,
  budget: 2 ** 24,
  largestAlignment: 2 ** 16,
  isolating: false,
};

conformance("a secure Heap over the system", secureHeap(true, systemPageSource), {
  ...HEAP,
  ...DELAYS,
  stride: 97,
});

conformance(
  "a secure Heap over a fixed ArrayBuffer",
  secureHeap({ seed: 1 }, () => fixedPageSource(new ArrayBuffer(32 * MIB))),
  { ...FIXED, ...DELAYS },
);

conformance(
  "a Heap with randomPlacement alone",
  secureHeap(
    { zeroOnFree: false, delayedReuse: false, seed: 2 },
    () => limitedPageSource(systemPageSource(), 64 * MIB),
  ),
  HEAP,
);

conformance(
  "a Heap with delayedReuse alone, of many bytes",
  secureHeap(
    { zeroOnFree: false, randomPlacement: false, delayedReuse: { blocks: 5000, bytes: 8 * MIB } },
    () => fixedPageSource(new ArrayBuffer(32 * MIB)),
  ),
  { ...FIXED, ...DELAYS },
);

describe("random operations on a secure Heap", () => {
  const cases: readonly [string, SecureOptions][] = [
    ["everything", { seed: 10 }],
    ["randomPlacement", { zeroOnFree: false, delayedReuse: false, seed: 11 }],
    ["delayedReuse of a few blocks", { zeroOnFree: false, randomPlacement: false, delayedReuse: { blocks: 3 } }],
    ["delayedReuse of many bytes", { delayedReuse: { blocks: 4096, bytes: 4 * MIB }, seed: 12 }],
  ];
  for (const [index, [name, secure]] of cases.entries()) {
    it(`20,000 operations with ${name}`, () => {
      const options = {
        seed: 100 + index,
        operations: 20_000,
        maxLiveBlocks: 600,
        maxLiveBytes: 2 ** 24,
        checkEvery: 100,
      };
      randomTest(() => new Heap({ secure }), fromEnvironment(options));
    });

    it(`10,000 operations over a fixed buffer that is too small, with ${name}`, () => {
      const buffer = new ArrayBuffer(2 * MIB);
      const options = {
        seed: 200 + index,
        operations: 10_000,
        maxLiveBlocks: 300,
        maxLiveBytes: 2 ** 22,
        checkEvery: 50,
      };
      const make = (): Heap => new Heap({ source: fixedPageSource(buffer), secure });
      randomTest(make, fromEnvironment({ ...options, mayRunOut: true, isolating: false }));
    });
  }
});
