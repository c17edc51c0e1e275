/**
 * The conformance suite and the random test applied to `Heap`, over every page source.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, fixedPageSource, Heap, limitedPageSource, systemPageSource } from "../mod.ts";
import type { PageSource } from "../mod.ts";
import { conformance, type ConformanceOptions, type MakeAllocator } from "./conformance.ts";
import { fromEnvironment, randomTest } from "./random.ts";
import { isEmulated } from "./support/runtime.ts";
import { scarceSource } from "./support/scarce_source.ts";

/** Makes heaps over fresh page sources. */
function heapOver(makeSource: () => PageSource): MakeAllocator {
  return ({ wrapSource = (source: PageSource) => source, ...options } = {}) =>
    new Heap({ source: wrapSource(makeSource()), ...options });
}

/** What `Heap` documents beyond the contract. */
const HEAP: ConformanceOptions = {
  // Rounding to size classes wastes less than a fifth, to units less than 4 KiB, to mappings up to 64 KiB.
  usableBound: (size) => size <= 16_384 ? Math.max(16, size * 1.25 + 16) : Math.ceil(size / 65_536) * 65_536,
  refusesToShrink: (usableSize, size) => usableSize <= 16_384 && usableSize - size > 4095,
};

const MIB = 2 ** 20;

/**
 * The system's memory; under emulation in pieces of at most 256 MiB, to which heaps adapt. qemu-user never reuses addresses
 * and keeps some megabytes of records for every GiB that was ever mapped, so that the hundreds of heaps made here, at 36 GiB
 * of address space each, would need more memory than there is.
 */
function systemSource(): PageSource {
  return isEmulated ? scarceSource(256 * MIB) : systemPageSource();
}

conformance("Heap over the system", heapOver(systemSource), {
  ...HEAP,
  ...(isEmulated ? { largestBlock: 2 ** 26, budget: 2 ** 26 } : { stride: 7 }),
});

conformance("Heap over a fixed ArrayBuffer", heapOver(() => fixedPageSource(new ArrayBuffer(32 * MIB))), {
  ...HEAP,
  largestBlock: 2 ** 23,
  budget: 2 ** 24,
  largestAlignment: 2 ** 16,
  isolating: false,
  faulty: faultySource,
});

conformance("Heap over a fixed SharedArrayBuffer", heapOver(() => fixedPageSource(new SharedArrayBuffer(4 * MIB))), {
  ...HEAP,
  largestBlock: 2 ** 20,
  budget: 2 ** 21,
  largestAlignment: 2 ** 12,
  isolating: false,
});

conformance("Heap over a fixed buffer in pages of 64 bytes", heapOver(smallPages), {
  ...HEAP,
  largestBlock: 2 ** 20,
  budget: 2 ** 21,
  largestAlignment: 2 ** 12,
  sizes: [24, 700, 20_000],
  isolating: false,
});

conformance("Heap over a limited source", heapOver(() => limitedPageSource(systemSource(), 64 * MIB)), {
  ...HEAP,
  largestBlock: 2 ** 24,
  budget: 2 ** 25,
  faulty: faultySource,
});

/** Pages of 64 bytes, as an embedded budget may have them. */
function smallPages(): PageSource {
  return fixedPageSource(new ArrayBuffer(8 * MIB), { pageSize: 64 });
}

describe("random operations on a Heap", () => {
  it("200,000 operations over the system", () => {
    randomTest(() => new Heap(), fromEnvironment({ seed: 20_250_101, operations: 200_000 }));
  });

  it("20,000 operations with few blocks, check() and blocks() after each", () => {
    const options = { seed: 2, operations: 20_000, maxLiveBlocks: 40, maxLiveBytes: 2 ** 20, checkEvery: 2 };
    randomTest(() => new Heap(), fromEnvironment(options));
  });

  it("20,000 operations over a limit, with zeroOnFree", () => {
    const options = { seed: 3, operations: 20_000, maxLiveBlocks: 400, maxLiveBytes: 2 ** 23, checkEvery: 100 };
    const make = (): Heap => new Heap({ limit: 2 ** 22, zeroOnFree: true });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true }));
  });

  it("50,000 operations over a fixed buffer that is too small", () => {
    const buffer = new ArrayBuffer(8 * MIB);
    const options = { seed: 4, operations: 50_000, maxLiveBlocks: 1000, maxLiveBytes: 2 ** 24, checkEvery: 250 };
    const make = (): Heap => new Heap({ source: fixedPageSource(buffer) });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true, isolating: false }));
  });

  it("20,000 operations over a fixed buffer of 200 KiB in pages of 64 bytes, check() and blocks() after each", () => {
    const buffer = new SharedArrayBuffer(200 * 1024);
    const options = { seed: 6, operations: 20_000, maxLiveBlocks: 60, maxLiveBytes: 2 ** 18, checkEvery: 2 };
    const make = (): Heap => new Heap({ source: fixedPageSource(buffer, { pageSize: 64 }) });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true, isolating: false }));
  });

  it("50,000 operations over a limited source that is too small", () => {
    const options = { seed: 5, operations: 50_000, maxLiveBlocks: 1000, maxLiveBytes: 2 ** 25, checkEvery: 250 };
    const make = (): Heap => new Heap({ source: limitedPageSource(systemSource(), 12 * MIB) });
    randomTest(make, fromEnvironment({ ...options, mayRunOut: true }));
  });
});

/** The package's own way to fail. */
function faultySource(source: PageSource, succeed: number, times: number): { source: PageSource; rearm: () => void } {
  const failing = failingPageSource(source, succeed, { times });
  return { source: failing, rearm: () => failing.rearm(Infinity) };
}
