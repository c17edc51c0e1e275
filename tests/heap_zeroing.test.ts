/**
 * What a `Heap` clears: memory that `allocateZeroed()` gives out again, and with `zeroOnFree` what is freed.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, Heap, systemPageSource } from "../mod.ts";
import { recordedHeap } from "./support/heaps.ts";
import { Recorder } from "./support/recording_source.ts";
import { isEmulated } from "./support/runtime.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

describe("Heap.allocateZeroed()", () => {
  it("clears what was used, in every kind of block", { ignore: isEmulated }, () => {
    using heap = new Heap();
    for (const size of [1, 16, 100, 256, 257, 5000, 16 * KIB, 20_000, 64 * KIB, MIB, 4 * MIB, 5 * MIB]) {
      for (const alignment of size > MIB ? [16] : [16, 64, 4096]) {
        const address = heap.allocate(size, alignment);
        heap.view(address).fill(255);
        heap.free(address);
        const zeroed = heap.allocateZeroed(size, alignment);
        assertEquals(heap.view(zeroed).findIndex((byte) => byte !== 0), -1, `${size} at ${alignment}`);
        heap.view(zeroed).fill(255);
        heap.free(zeroed);
      }
    }
  });

  it("does not touch memory that is fresh: a huge block is not even wrapped", () => {
    const { heap, recorder } = recordedHeap(systemPageSource());
    heap.allocate(1);
    const { calls } = recorder;
    heap.allocateZeroed(64 * MIB);
    assertEquals(recorder.calls - calls, 2, "reserve and commit");
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  it("is right with OS pages of 16 KiB, after trim() too", () => {
    const recorder = new Recorder(systemPageSource(), { pageSize: 16 * KIB });
    const heap = new Heap({ source: recorder.source });
    try {
      heap.allocate(32 * KIB);
      const address = heap.allocate(20 * KIB);
      heap.view(address).fill(255);
      heap.free(address);
      heap.trim();
      const zeroed = heap.view(heap.allocateZeroed(20 * KIB));
      assertEquals(zeroed.findIndex((byte) => byte !== 0), -1);
    } finally {
      heap[Symbol.dispose]();
    }
    assertEquals(recorder.complaint(), "");
  });
});

describe("Heap zeroOnFree", () => {
  it("clears freed blocks of every kind at once", () => {
    const buffer = new ArrayBuffer(16 * MIB);
    using heap = new Heap({ source: fixedPageSource(buffer), zeroOnFree: true });
    heap.allocate(1);
    for (const size of [1, 16, 300, 5000, 16 * KIB, 50_000, 100_000, 5 * MIB]) {
      const address = heap.allocate(size);
      // The buffer is not isolating, so that the view stays readable whatever the block was.
      const view = heap.view(address, heap.usableSize(address));
      view.fill(255);
      heap.free(address);
      assertEquals(view.findIndex((byte) => byte !== 0), -1, `${size}`);
    }
  });

  it("clears what resize() and reallocate() cut off or leave", () => {
    const buffer = new ArrayBuffer(16 * MIB);
    using heap = new Heap({ source: fixedPageSource(buffer), zeroOnFree: true });
    for (const [from, to] of [[200, 150], [16_000, 13_000], [50_000, 20_000], [200_000, 100], [5 * MIB, 5 * MIB - 9]]) {
      const address = heap.allocate(from!);
      const view = heap.view(address, heap.usableSize(address));
      view.fill(255);
      const resized = heap.resize(address, to!);
      if (resized) {
        assertEquals(view.subarray(0, to).findIndex((byte) => byte !== 255), -1, `${from} to ${to}`);
        assertEquals(view.subarray(to).findIndex((byte) => byte !== 0), -1, `${from} to ${to}`);
      }
      const moved = heap.reallocate(address, 300_000);
      assertEquals(heap.view(moved)[99], 255);
      if (moved !== address) assertEquals(view.findIndex((byte) => byte !== 0), -1, `${from} moved`);
      heap.free(moved);
    }
    heap.check();
  });

  it("what reallocate() cuts off in place is cleared too", () => {
    using heap = new Heap({ zeroOnFree: true });
    const address = heap.allocate(1000);
    const view = heap.view(address, heap.usableSize(address));
    view.fill(255);
    assertEquals(heap.reallocate(address, 900), address);
    assertEquals(view.subarray(900).findIndex((byte) => byte !== 0), -1);
    assertEquals(view.subarray(0, 900).findIndex((byte) => byte !== 255), -1);
  });
});
