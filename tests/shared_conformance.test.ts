/**
 * The conformance suite and the random test applied to `SharedHeap`, with one attachment and alone in its process.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import type { PageSource } from "../src/page_source.ts";
import { createAttachment } from "../src/shared_attachment.ts";
import { SharedHeap } from "../src/shared_heap.ts";
import { conformance, type MakeOverrides } from "./conformance.ts";
import { fromEnvironment, randomTest } from "./random.ts";
import { isWindows } from "./support/runtime.ts";

function makeHeap({ wrapSource = (source: PageSource) => source }: MakeOverrides = {}): SharedHeap {
  const platform = systemSharedPlatform();
  return new SharedHeap(createAttachment(wrapSource(platform.source), platform, 2 ** 35));
}

conformance("SharedHeap", makeHeap, {
  // One of 2^28 would mean that blocks are unmapped when they are freed, and they are not.
  largestBlock: 2 ** 28 - 1,
  limitable: false,
  zeroing: false,
  usableBound: (size) => size <= 16_384 ? Math.max(16, size * 1.25 + 16) : Math.ceil(size / 65_536) * 65_536,
  refusesToShrink: (usableSize, size) => usableSize <= 16_384 && usableSize - size > 4095,
  without: {
    A10: "it has no limit, and 32 GiB of address space are more than the budget",
    ...(isWindows ? { J7: "it gives nothing back on Windows" } : {}),
  },
});

describe("random operations on a SharedHeap", () => {
  it("50,000 operations", () => {
    randomTest(makeHeap, fromEnvironment({ seed: 20_261_121, operations: 50_000 }));
  });

  it("10,000 operations with few blocks, check() and blocks() after each", () => {
    const options = { seed: 5, operations: 10_000, maxLiveBlocks: 40, maxLiveBytes: 2 ** 20, checkEvery: 2 };
    randomTest(makeHeap, fromEnvironment(options));
  });
});
