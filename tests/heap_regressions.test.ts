/**
 * One test for each defect of `Heap` that was found by measuring and reading, named after what went wrong.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Address,
  CorruptionError,
  failingPageSource,
  fixedPageSource,
  Heap,
  limitedPageSource,
  OutOfMemoryError,
  type PageSource,
  systemPageSource,
} from "../mod.ts";
import { fillUp } from "./support/heaps.ts";
import { unevenSource } from "./support/scarce_source.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** A source that counts what it is asked for. */
function counting(
  source: PageSource,
): { source: PageSource; counts: { reserve: number; commit: number; discard: number } } {
  const counts = { reserve: 0, commit: 0, discard: 0 };
  return {
    counts,
    source: {
      ...source,
      reserve(byteLength, alignment) {
        counts.reserve++;
        return source.reserve(byteLength, alignment);
      },
      commit(address, byteLength) {
        counts.commit++;
        source.commit(address, byteLength);
      },
      discard(address, byteLength) {
        counts.discard += byteLength;
        source.discard(address, byteLength);
      },
    },
  };
}

/** From large to small. */
const FILLING = [MIB, 64 * KIB, 4 * KIB, 64];

describe("defects of Heap that were mended", () => {
  const budgets: readonly [string, () => PageSource][] = [
    ["a limited source", () => limitedPageSource(systemPageSource(), 16 * MIB)],
    ["a fixed buffer", () => fixedPageSource(new ArrayBuffer(16 * MIB))],
  ];
  for (const [name, make] of budgets) {
    it(`a failing tryAllocate() over ${name} searched in twenty steps, each an exception`, () => {
      const { source, counts } = counting(make());
      using heap = new Heap({ source });
      fillUp(heap, ...FILLING);
      for (const size of [64, 4 * KIB, 64 * KIB, MIB, 8 * MIB]) {
        const before = { ...counts };
        for (let i = 0; i < 10; i++) assertEquals(heap.tryAllocate(size), 0);
        const requests = counts.reserve + counts.commit - before.reserve - before.commit;
        assert(requests <= 10 * 3, `${requests} requests for 10 times ${size} bytes`);
      }
      heap.check();
    });
  }

  it("memory that a source has again was found again, whole, and must be after the search was shortened", () => {
    const source = limitedPageSource(systemPageSource(), 32 * MIB);
    using heap = new Heap({ source });
    {
      using other = new Heap({ source });
      fillUp(other, ...FILLING);
      assertEquals(heap.tryAllocate(64), 0);
      assertEquals(heap.tryAllocate(3 * MIB), 0);
    }
    const addresses = Array.from({ length: 6 }, () => heap.allocate(3 * MIB));
    assertEquals(new Set(addresses).size, 6);
    assert(heap.stats().regions < 6, `${heap.stats().regions} regions`);
    heap.check();
  });

  it("a fixed buffer whose memory comes back was found again too", () => {
    const source = fixedPageSource(new ArrayBuffer(8 * MIB));
    using heap = new Heap({ source });
    const piece = source.reserve(4 * MIB, 65_536);
    const before = fillUp(heap, ...FILLING);
    assertEquals(heap.tryAllocate(64), 0);
    source.unmap(piece, 4 * MIB);
    const after = fillUp(heap, ...FILLING);
    const bytes = (addresses: Address[]): number => addresses.reduce((sum, one) => sum + heap.usableSize(one), 0);
    assert(bytes(after) > 3 * MIB, `${bytes(before)} bytes before, ${bytes(after)} after`);
    heap.check();
  });

  it("bursts above 32 MiB gave their memory back and faulted it in again each time", () => {
    const { source, counts } = counting(systemPageSource());
    using heap = new Heap({ source });
    const burst = (mib: number): void => {
      const addresses = Array.from({ length: mib * 4 }, () => heap.allocate(256 * KIB));
      for (const address of addresses) heap.free(address);
    };
    burst(100);
    assert(counts.discard > 64 * MIB, "the first time it goes back");
    for (let i = 0; i < 4; i++) burst(100);
    const learned = counts.discard;
    for (let i = 0; i < 10; i++) burst(100);
    assertEquals(counts.discard, learned, "then it is kept");
    for (let i = 0; i < 2000; i++) burst(10);
    assert(counts.discard - learned > 64 * MIB, "and goes back when the program does with less");
    heap.check();
  });

  it("an allocation that fails changes no figure, whatever it fails of", () => {
    for (const size of [16, 5000, 20_000, 3 * MIB, 8 * MIB]) {
      for (const alignment of [16, 4096, MIB]) {
        for (let succeed = 0; succeed < 12; succeed++) {
          const failing = failingPageSource(systemPageSource(), Infinity, {
            operations: ["commit", "wrap", "reserve"],
          });
          using heap = new Heap({ source: failing });
          heap.allocate(3000);
          const before = heap.stats();
          failing.rearm(succeed);
          const address = heap.tryAllocate(size, alignment);
          failing.rearm(Infinity);
          if (address !== 0) break;
          const { tableBytes: _before, wrappedBytes: _wrappedBefore, ...expected } = before;
          const { tableBytes: _after, wrappedBytes: _wrappedAfter, ...actual } = heap.stats();
          assertEquals(actual, expected, `${size} bytes at ${alignment} with ${succeed} requests granted`);
          heap.check();
        }
      }
    }
  });

  it("after 255 regions of a source with small wraps every block became a mapping", () => {
    const source: PageSource = { ...systemPageSource(), maxWrapBytes: 128 * KIB };
    using heap = new Heap({ source });
    const addresses = Array.from({ length: 700 }, (_, i) => heap.allocate(60 * KIB + i));
    for (let i = 0; i < 3000; i++) addresses.push(heap.allocate(8 * KIB));
    assert(heap.stats().regions > 500, `${heap.stats().regions} regions`);
    assertEquals(heap.layout().huge.length, 0);
    for (const address of addresses) heap.view(address)[0] = 1;
    heap.check();
    for (const address of addresses) heap.free(address);
    heap.trim();
    heap.check();
  });

  it("messages of exhausted memory said Cannot twice", () => {
    for (const source of [limitedPageSource(systemPageSource(), 2 * MIB), fixedPageSource(new ArrayBuffer(MIB))]) {
      using heap = new Heap({ source });
      for (const size of [64 * KIB, MIB, 100 * MIB]) {
        const error = assertThrows(() => {
          for (;;) heap.allocate(size);
        }, OutOfMemoryError);
        assertEquals(error.message.match(/Cannot/g)?.length, 1, error.message);
        assert(error.message.startsWith(`Cannot allocate ${size} bytes at alignment 16: `), error.message);
        assert(error.cause instanceof OutOfMemoryError && error.cause.message.startsWith("Cannot "));
      }
    }
  });

  it("an aligned block that did not fit left the region behind that was committed for it", () => {
    let failures = 0;
    for (let limit = MIB; limit < 8 * MIB; limit += 64 * KIB) {
      for (const first of [1_100_000, 1_300_000, 2_200_000]) {
        using heap = new Heap({ source: limitedPageSource(unevenSource(), limit) });
        heap.tryAllocate(first);
        const before = heap.stats().committedBytes;
        if (heap.tryAllocate(16, MIB) !== 0) continue;
        failures++;
        assertEquals(heap.stats().committedBytes, before, `limit ${limit}, ${first} bytes before`);
      }
    }
    assert(failures > 0);
  });

  it("a block of a detached region lost its contents when it could not grow to a huge one", () => {
    for (const options of [{}, { zeroOnFree: true }, { secure: true }]) {
      const heap = new Heap(options);
      const address = heap.allocate(MIB);
      const view = heap.view(address).fill(7);
      const { byteOffset } = view;
      const elsewhere = new Uint8Array((view.buffer as ArrayBuffer).transfer(), byteOffset, MIB);
      assertThrows(() => heap.reallocate(address, 6 * MIB), CorruptionError, "detached from outside");
      assertEquals(elsewhere, new Uint8Array(MIB).fill(7));
      assertEquals([...heap.blocks()].length, 1);
      heap[Symbol.dispose]();
    }
  });

  it("a block that became huge took half as much again of a budget as it needed", () => {
    const source = limitedPageSource(systemPageSource(), 20 * MIB);
    using heap = new Heap({ source });
    const address = heap.reallocate(heap.allocate(3 * MIB), 8 * MIB);
    heap.allocate(5 * MIB);
    heap.free(address);
  });
});
