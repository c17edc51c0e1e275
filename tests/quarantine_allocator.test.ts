/**
 * `QuarantineAllocator` beyond the contract: its options, the order and the bounds of the queue, and what an address in
 * it is called. What is found in the queue, and when, is in quarantine_violations.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Address,
  basicalloc,
  CorruptionError,
  DisposedError,
  failingPageSource,
  fixedPageSource,
  GuardAllocator,
  Heap,
  InvalidFreeError,
  OutOfMemoryError,
  QuarantineAllocator,
  type QuarantineAllocatorOptions,
  systemPageSource,
  UseAfterFreeError,
} from "../mod.ts";
import { allocateMany } from "./support/blocks.ts";
import { Recorder } from "./support/recording_source.ts";

/** A heap that says which addresses were really freed, in order. */
function tracedHeap(): { heap: Heap; freed: Address[] } {
  const heap = new Heap();
  const freed: Address[] = [];
  const free = heap.free.bind(heap);
  heap.free = (address) => {
    free(address);
    freed.push(address);
  };
  return { heap, freed };
}

describe("the queue of a QuarantineAllocator", () => {
  it("lets blocks out in the order in which they were freed, when there are more than maxBlocks", () => {
    const { heap, freed } = tracedHeap();
    using allocator = new QuarantineAllocator(heap, { maxBlocks: 3 });
    const addresses = allocateMany(allocator, 8, 100);
    const order = [3, 1, 7, 0, 5, 2].map((i) => addresses[i]!);
    order.forEach((address, i) => {
      allocator.free(address);
      assertEquals(freed, order.slice(0, Math.max(0, i - 2)));
      assertEquals(allocator.quarantinedBlocks, Math.min(3, i + 1));
    });
    assertEquals(allocator.quarantinedBytes, 3 * heap.usableSize(addresses[6]!));
    assertEquals([allocator.stats().liveBlocks, heap.stats().liveBlocks], [2, 5]);
  });

  it("lets blocks out until no more than maxBytes are left, and does not take a larger block", () => {
    const { heap, freed } = tracedHeap();
    using allocator = new QuarantineAllocator(heap, { maxBytes: 10_000 });
    const [a, b, c] = [allocator.allocate(4096), allocator.allocate(4096), allocator.allocate(1024)] as const;
    for (const address of [a, b, c]) allocator.free(address);
    assertEquals([allocator.quarantinedBytes, freed], [9216, []]);
    const d = allocator.allocate(2048);
    allocator.free(d);
    assertEquals([allocator.quarantinedBytes, freed], [4096 + 1024 + 2048, [a]]);
    const large = allocator.allocate(20_000);
    allocator.free(large);
    assertEquals([allocator.quarantinedBytes, freed], [4096 + 1024 + 2048, [a, large]]);
    const error = assertThrows(() => allocator.free(large), InvalidFreeError);
    assertEquals(error.kind, "double");
  });

  it("with maxBlocks 0 takes nothing, with Infinity everything", () => {
    for (const [maxBlocks, waiting] of [[0, 0], [Infinity, 500]] as const) {
      using allocator = new QuarantineAllocator(new Heap(), { maxBlocks, maxBytes: Infinity });
      const addresses = allocateMany(allocator, 500, 1000);
      for (const address of addresses) allocator.free(address);
      assertEquals(allocator.quarantinedBlocks, waiting);
      const again = allocateMany(allocator, 500, 1000).filter((address) => addresses.includes(address)).length;
      assert(waiting === 0 ? again > 400 : again === 0, `${again} of 500 addresses were given out again`);
    }
  });

  it("holds no more memory after a hundred thousand blocks than after a thousand", () => {
    using allocator = new QuarantineAllocator(new Heap(), { maxBlocks: 100 });
    for (const size of [64, 40_000]) {
      for (let i = 0; i < 1000; i++) allocator.free(allocator.allocate(size));
      const { committedBytes, reservedBytes } = allocator.stats();
      for (let i = 0; i < (size === 64 ? 100_000 : 5000); i++) allocator.free(allocator.allocate(size));
      assertEquals([allocator.stats().committedBytes, allocator.stats().reservedBytes], [
        committedBytes,
        reservedBytes,
      ]);
    }
  });

  it("is emptied by trim(), which counts what goes back, and by dispose", () => {
    const recorder = new Recorder(systemPageSource());
    const allocator = new QuarantineAllocator(new Heap({ source: recorder.source }));
    for (const address of [...allocateMany(allocator, 200, 3000), allocator.allocate(6_000_000)]) {
      allocator.free(address);
    }
    assertEquals(allocator.quarantinedBlocks, 201);
    const before = recorder.releasedBytes;
    const released = allocator.trim();
    assertEquals([allocator.quarantinedBlocks, allocator.quarantinedBytes], [0, 0]);
    assertEquals(released, recorder.releasedBytes - before);
    assert(released > 6_000_000);
    allocator.free(allocator.allocate(100));
    allocator[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
    assertThrows(() => allocator.trim(), DisposedError, "quarantine allocator");
  });

  it("is emptied when there is no other memory", () => {
    const source = fixedPageSource(new ArrayBuffer(2 ** 17));
    using allocator = new QuarantineAllocator(basicalloc({ source }));
    for (let i = 0; i < 50; i++) allocator.free(allocator.allocate(30_000));
    const address = allocator.allocate(90_000);
    assertEquals(allocator.quarantinedBlocks, 0);
    assertThrows(() => allocator.allocate(90_000), OutOfMemoryError);
    allocator.free(address);
    // Both places at once are more than there is; the block moves or grows all the same.
    const small = allocator.allocate(20_000);
    allocator.view(small).fill(5);
    const grown = allocator.reallocate(small, 80_000);
    assert(allocator.view(grown, 20_000).every((byte) => byte === 5));
  });
});

describe("blocks() of a QuarantineAllocator", () => {
  it("is in order of allocation", () => {
    using allocator = new QuarantineAllocator(new Heap(), { maxBlocks: 2 });
    const addresses = allocateMany(allocator, 60, 100);
    for (let i = 0; i < 60; i += 3) allocator.free(addresses[i]!);
    const later = allocateMany(allocator, 20, 100);
    const expected = [...addresses.filter((_address, i) => i % 3 !== 0), ...later];
    assertEquals([...allocator.blocks()].map(({ address }) => address), expected);
  });
});

describe("a block in quarantine", () => {
  it("is not live, and its address is a double free in every method", () => {
    using allocator = new QuarantineAllocator(new Heap());
    const address = allocator.allocate(100);
    const usable = allocator.usableSize(address);
    allocator.free(address);
    assertEquals([allocator.owns(address), [...allocator.blocks()], allocator.stats().liveBytes], [false, [], 0]);
    for (
      const call of [
        () => allocator.free(address),
        () => allocator.view(address),
        () => allocator.reallocate(address, 50),
        () => allocator.resize(address, 50),
        () => allocator.usableSize(address),
      ]
    ) {
      const error = assertThrows(call, InvalidFreeError, "the block of 100 bytes is already freed and in quarantine");
      assertEquals([error.kind, error.address], ["double", address]);
    }
    for (const offset of [1, 16, usable - 1]) {
      const error = assertThrows(
        () => allocator.free(address + offset),
        InvalidFreeError,
        `it is ${offset} byte`,
      );
      assertEquals(error.kind, "foreign");
    }
    assertEquals(allocator.quarantinedBlocks, 1);
  });

  it("is a double free also when it has left, until its address is given out again", () => {
    using allocator = new QuarantineAllocator(new Heap(), { maxBlocks: 1 });
    const [first, second] = [allocator.allocate(64), allocator.allocate(64)];
    allocator.free(first);
    allocator.free(second);
    const error = assertThrows(() => allocator.free(first), InvalidFreeError);
    assertEquals([error.kind, error.message.endsWith("is already freed")], ["double", true]);
    assertEquals(allocator.allocate(64), first);
    allocator.free(first);
  });

  it("holds 0xdf in every usable byte, for views from before too; those of a NativeBuffer are empty", () => {
    using allocator = new QuarantineAllocator(new Heap());
    for (const size of [1, 100, 5000, 100_000]) {
      const address = allocator.allocate(size);
      const view = allocator.view(address, allocator.usableSize(address)).fill(7);
      allocator.free(address);
      assert(view.every((byte) => byte === 0xdf), `${size} bytes`);
      const buffer = allocator.buffer(size);
      const { bytes } = buffer;
      buffer.free();
      assertEquals(bytes.length, 0);
      assertThrows(() => buffer.bytes, UseAfterFreeError);
    }
  });

  it("that reallocate() moved away from is one as well", () => {
    using allocator = new QuarantineAllocator(new Heap());
    const address = allocator.allocate(100, 64);
    const stale = allocator.view(address).fill(3);
    const moved = allocator.reallocate(address, 5000);
    assert(moved !== address && moved % 64 === 0);
    assert(allocator.view(moved, 100).every((byte) => byte === 3) && stale.every((byte) => byte === 0xdf));
    assertThrows(() => allocator.free(address), InvalidFreeError, "in quarantine");
    stale[7] = 0;
    assertThrows(() => allocator.check(), CorruptionError, "at offset 7");
    stale[7] = 0xdf;
  });
});

describe("new QuarantineAllocator()", () => {
  it("refuses options that make no sense", () => {
    using heap = new Heap();
    const wrong: [object, new (message: string) => Error, string][] = [
      [{ maxBytes: -1 }, RangeError, "-1 as maxBytes"],
      [{ maxBytes: "1" }, TypeError, '"1" as maxBytes'],
      [{ maxBlocks: 1.5 }, RangeError, "1.5 as maxBlocks"],
      [{ stacks: "yes" }, TypeError, '"yes" as stacks'],
    ];
    for (const [options, type, text] of wrong) {
      assertThrows(() => new QuarantineAllocator(heap, options as QuarantineAllocatorOptions), type, text);
    }
    for (const inner of [undefined, {}, 5]) {
      assertThrows(() => new QuarantineAllocator(inner as unknown as Heap), TypeError, "must be an allocator");
    }
  });

  it("disposes the inner allocator, and has its source", () => {
    const heap = new Heap();
    const allocator = new QuarantineAllocator(heap);
    assertEquals(allocator.source, heap.source);
    allocator[Symbol.dispose]();
    assertThrows(() => heap.allocate(1), DisposedError);
  });

  it("wraps guarded blocks: they stay accessible in quarantine, and fault only afterwards", () => {
    using allocator = new QuarantineAllocator(new GuardAllocator(), { maxBlocks: 1 });
    const address = allocator.allocate(13);
    const view = allocator.view(address);
    allocator.free(address);
    assertEquals([view.length, view[0]], [13, 0xdf]);
    allocator.free(allocator.allocate(13));
    assertEquals(view.length, 0);
  });

  it("goes on when the system takes nothing back", () => {
    const recorder = new Recorder(systemPageSource());
    const failing = failingPageSource(recorder.source, Infinity, { operations: ["unmap", "decommit", "discard"] });
    const allocator = new QuarantineAllocator(new Heap({ source: failing }), { maxBlocks: 2 });
    const addresses = allocateMany(allocator, 6, 6_000_000);
    failing.rearm(0);
    for (const address of addresses) allocator.free(address);
    assertEquals([allocator.stats().liveBlocks, allocator.quarantinedBlocks], [0, 2]);
    failing.rearm(Infinity);
    allocator.trim();
    allocator[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });
});
