/**
 * `NativeBuffer.resize()`: what it keeps and what it clears, and that it changes nothing when it fails.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  CorruptionError,
  DebugAllocator,
  failingPageSource,
  GuardAllocator,
  Heap,
  OutOfMemoryError,
  type PageSource,
  QuarantineAllocator,
  setViolationHook,
  systemPageSource,
} from "../mod.ts";
import { formatAddress } from "../src/errors.ts";
import { failingHeap } from "./support/heaps.ts";
import { Recorder } from "./support/recording_source.ts";

const MIB = 2 ** 20;

describe("NativeBuffer.resize()", () => {
  it("keeps the contents, clears what is new, and detaches older views", () => {
    using heap = new Heap();
    // Both sides of the kinds of blocks, and the least.
    const sizes = [0, 1, 100, 16_384, 50_000, 5 * MIB];
    for (const from of sizes) {
      for (const to of sizes) {
        const buffer = heap.buffer(from, { alignment: 256 });
        for (let i = 0; i < from; i += 89) buffer.bytes[i] = i | 1;
        const { bytes } = buffer;
        buffer.resize(to);
        const after = buffer.bytes;
        assertEquals([buffer.byteLength, after.length, bytes.length, buffer.address % 256], [to, to, 0, 0]);
        const kept = Math.min(from, to);
        for (let i = 0; i < kept; i += 89) {
          if (after[i] !== ((i | 1) & 255)) assertEquals(after[i], (i | 1) & 255, `${from} to ${to} at ${i}`);
        }
        assertEquals(after.subarray(kept).findIndex((byte) => byte !== 0), -1, `${from} to ${to}`);
        assertEquals(heap.addressOf(after), buffer.address);
        buffer.free();
      }
    }
    assertEquals(heap.stats().liveBlocks, 0);
    heap.check();
  });

  it("leaves new bytes as they are when the buffer was made with zeroed: false", () => {
    using heap = new Heap();
    const buffer = heap.buffer(100, { zeroed: false });
    buffer.bytes.fill(3);
    buffer.resize(200);
    assertEquals(buffer.bytes.subarray(0, 100).every((byte) => byte === 3), true);
    assertEquals(buffer.byteLength, 200);
  });

  it("takes the OS pages of a huge block along where the source can move them, and copies where it cannot", () => {
    const { move, ...still } = systemPageSource();
    let moved = 0;
    const moving: PageSource = {
      ...still,
      move(from, to, byteLength) {
        moved += byteLength;
        return move!(from, to, byteLength);
      },
    };
    for (const source of move === undefined ? [still] : [moving, still]) {
      moved = 0;
      using heap = new Heap({ source });
      using buffer = heap.buffer(5 * MIB + 5);
      for (let i = 0; i < buffer.byteLength; i += 1021) buffer.bytes[i] = i | 1;
      const { bytes } = buffer;
      buffer.resize(300 * MIB + 1);
      assertEquals([bytes.length, buffer.bytes.at(-1), buffer.bytes[5 * MIB + 5]], [0, 0, 0]);
      for (let i = 0; i < 5 * MIB + 5; i += 1021) {
        if (buffer.bytes[i] !== ((i | 1) & 255)) assertEquals(buffer.bytes[i], (i | 1) & 255, `at ${i}`);
      }
      assertEquals(moved, source === moving ? 5 * MIB : 0);
      heap.check();
    }
  });

  it("changes nothing when OS pages cannot be moved", () => {
    const system = systemPageSource();
    if (system.move === undefined) return;
    const failing = failingPageSource(system, Infinity, { operations: ["move"] });
    using heap = new Heap({ source: failing });
    using buffer = heap.buffer(5 * MIB);
    buffer.bytes.fill(9);
    const { address, bytes } = buffer;
    failing.rearm(0);
    assertThrows(() => buffer.resize(40 * MIB), OutOfMemoryError, "fails on purpose");
    assertEquals([buffer.address, buffer.byteLength, bytes.length, bytes[0], bytes.at(-1)], [
      address,
      5 * MIB,
      5 * MIB,
      9,
      9,
    ]);
    assertEquals(heap.stats().liveBlocks, 1);
    heap.check();
  });

  it("changes nothing when memory or a wrap cannot be had", () => {
    for (const operations of [["reserve", "commit"], ["wrap"]] as const) {
      const { heap, failing, recorder } = failingHeap(...operations);
      const buffer = heap.buffer(100);
      buffer.bytes.fill(9);
      const { address, bytes } = buffer;
      failing.rearm(0);
      assertThrows(() => buffer.resize(6 * MIB), OutOfMemoryError, "fails on purpose");
      assertEquals([buffer.address, buffer.byteLength, buffer.freed], [address, 100, false]);
      assertStrictEquals(buffer.bytes, bytes);
      assertEquals([bytes.length, bytes[99], heap.stats().liveBlocks], [100, 9, 1]);
      failing.rearm(Infinity);
      buffer.resize(6 * MIB);
      assertNotEquals(buffer.address, address);
      heap.check();
      heap[Symbol.dispose]();
      assertEquals(recorder.complaint(), "");
    }
  });

  it("a buffer that cannot be wrapped is not made", () => {
    const { heap, failing, recorder } = failingHeap("wrap");
    heap.allocate(1);
    failing.rearm(0);
    assertThrows(() => heap.buffer(100), OutOfMemoryError, "fails on purpose");
    failing.rearm(Infinity);
    assertEquals(heap.stats().liveBlocks, 1);
    heap.check();
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  it("is a CorruptionError when the ArrayBuffer was transferred elsewhere; free() still works", () => {
    const recorder = new Recorder(systemPageSource());
    const heap = new Heap({ source: recorder.source });
    const buffer = heap.buffer(100);
    const { address } = buffer;
    (buffer.arrayBuffer as ArrayBuffer).transfer(0);
    const error = assertThrows(() => buffer.resize(10), CorruptionError);
    assertEquals(
      error.message,
      `Cannot resize the buffer at ${formatAddress(address)}: its ArrayBuffer was transferred elsewhere`,
    );
    assertEquals([buffer.byteLength, buffer.bytes.length], [100, 0]);
    buffer.free();
    heap.check();
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  for (
    const [name, make] of [["debug", () => new DebugAllocator(new Heap())], [
      "guard",
      () => new GuardAllocator(),
    ]] as const
  ) {
    it(`changes nothing when the ${name} allocator finds that something wrote behind the block`, () => {
      using allocator = make();
      const buffer = allocator.buffer(100);
      const { address, arrayBuffer } = buffer;
      buffer.bytes.fill(5);
      const outside = allocator.source.wrap(address, 101);
      const expected = outside[100]!;
      outside[100] = 1;
      for (const hook of [undefined, () => {}]) {
        setViolationHook(hook);
        assertThrows(() => buffer.resize(200), CorruptionError, hook && "for the reason just reported");
        setViolationHook();
        assertEquals([buffer.address, buffer.byteLength, allocator.stats().liveBlocks], [address, 100, 1]);
        assertStrictEquals(buffer.arrayBuffer, arrayBuffer);
        assert(buffer.bytes.every((byte) => byte === 5));
      }
      outside[100] = expected;
      allocator.source.unwrap(outside);
      buffer.resize(200);
      assertEquals([arrayBuffer.byteLength, buffer.byteLength, allocator.stats().liveBlocks], [0, 200, 1]);
      buffer.free();
      assertEquals(allocator.stats().liveBlocks, 0);
      allocator.check();
    });
  }

  it("changes nothing when a block that leaves the quarantine was written to", () => {
    using allocator = new QuarantineAllocator(new Heap(), { maxBlocks: 1 });
    const buffer = allocator.buffer(100);
    const { address } = buffer;
    const freed = allocator.allocate(100);
    const stale = allocator.view(freed);
    allocator.free(freed);
    stale[0] = 1;
    assertThrows(() => buffer.resize(200), CorruptionError);
    assertEquals([buffer.address, buffer.byteLength, allocator.stats().liveBlocks], [address, 100, 1]);
    buffer.resize(200);
    buffer.free();
    assertEquals(allocator.stats().liveBlocks, 0);
  });
});

describe("NativeBuffer.resize() to memory that is fresh", () => {
  it("clears what was used before, and nothing that the system has just given", () => {
    using heap = new Heap();
    const dirty = heap.allocate(600);
    heap.view(dirty).fill(9);
    heap.free(dirty);
    using small = heap.buffer(40);
    small.bytes.fill(3);
    small.resize(600);
    assertEquals(small.bytes.findIndex((byte, i) => byte !== (i < 40 ? 3 : 0)), -1);
  });

  it("does not clear the half a gibibyte that it asked for", () => {
    using heap = new Heap();
    using buffer = heap.buffer(40);
    buffer.bytes.fill(3);
    const fill = Uint8Array.prototype.fill;
    let cleared = 0;
    Uint8Array.prototype.fill = function (this: Uint8Array, value, start = 0, end = this.length) {
      cleared += end - start;
      return fill.call(this, value, start, end);
    };
    try {
      buffer.resize(2 ** 29);
    } finally {
      Uint8Array.prototype.fill = fill;
    }
    assertEquals([cleared, buffer.bytes[39], buffer.bytes[40], buffer.bytes.at(-1)], [0, 3, 0, 0]);
  });
});
