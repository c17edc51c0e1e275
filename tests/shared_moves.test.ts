/**
 * The short ways of `SharedHeap` for zeroed and moved small blocks: what they do. What they leave to the general way is
 * in shared_moves_refused.test.ts.
 *
 * Everything goes through the public methods; `SharedMoves` is only listened to, so that each test knows which way was
 * taken.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import { type Address, failingPageSource, OutOfMemoryError, SharedHeap, systemPageSource } from "../mod.ts";
import { createAttachment } from "../src/shared_attachment.ts";
import { generally, kindOf, shortly, wayOf } from "./shared/heard_moves.ts";
import { checkAndDetach, pair, RESERVE } from "./shared/pair.ts";
import { isMarked, mark } from "./support/blocks.ts";

/** Sizes around those where words give way to calls, and to another size class. */
const SIZES = [1, 16, 17, 48, 127, 128, 129, 144, 255, 256, 257, 1023, 1025, 4000, 4097, 16_384];

describe("small blocks of a SharedHeap that move", () => {
  it("keep what was asked for, and their neighbours, from each size to each other", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (const before of SIZES) {
      for (const after of SIZES) {
        const what = `${before} to ${after}`;
        const neighbours = [before, after].map((size) => [0, 1, 2].map(() => heap.allocate(size))).flat();
        neighbours.forEach((address, i) => mark(heap, address, i));
        const [from, to] = [neighbours[1]!, neighbours[4]!];
        heap.free(to);
        const moved = shortly(() => heap.reallocate(from, after));
        assert(isMarked(heap, moved, 1, Math.min(before, after)), what);
        assertEquals(heap.view(moved).length, after);
        assertEquals(heap.owns(from), moved === from, what);
        for (const i of [0, 2, 3, 5]) {
          assert(isMarked(heap, neighbours[i]!, i, i < 3 ? before : after), `neighbour ${i} of ${what}`);
        }
        heap.check();
        for (const address of [moved, ...[0, 2, 3, 5].map((i) => neighbours[i]!)]) heap.free(address);
      }
    }
    assertEquals(heap.stats().liveBlocks, 0);
  });

  it("move from one region to another and back", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (const size of [48, 600, 3000, 8000]) {
      const address = heap.allocate(size);
      mark(heap, address, 3);
      // More than all regions so far: the class of the double size gets its next page behind it.
      const ballast = heap.allocate(heap.stats().committedBytes);
      const filler: Address[] = [];
      while (filler.length === 0 || filler.at(-1)! < ballast) filler.push(heap.allocate(size * 2));
      const moved = shortly(() => heap.reallocate(address, size * 2));
      assert(moved > ballast && isMarked(heap, moved, 3, size), `${size}`);
      const back = shortly(() => heap.reallocate(moved, size));
      assert(back < ballast && isMarked(heap, back, 3, size), `${size}`);
      heap.check();
      for (const block of [back, ballast, ...filler]) heap.free(block);
    }
    assertEquals(heap.stats().liveBlocks, 0);
  });

  it("leave a full page, or an empty one, in the list where it belongs", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    let committed = 0;
    for (let round = 0; round < 6; round++) {
      const blocks = Array.from({ length: 3000 }, () => heap.allocate(200));
      blocks.forEach((address, at) => {
        blocks[at] = shortly(() => heap.reallocate(address, 500));
        if (at % 500 === 0) heap.check();
      });
      heap.check();
      for (const address of blocks) heap.free(address);
      if (round === 0) committed = heap.stats().committedBytes;
    }
    assertEquals(heap.stats().committedBytes, committed);
    assertEquals(heap.stats().liveBlocks, 0);
    heap.trim();
    heap.check();
  });

  it("stay in place as long as the block keeps half of its size, and its link can say how much", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (
      const [before, after, stays] of [
        [16_384, 16_384 - 4095, true],
        [16_384, 16_384 - 4096, false],
        [512, 257, true],
        [512, 256, false],
        [512, 513, false],
        [500, 512, true],
        [16, 1, true],
      ] as const
    ) {
      const block = heap.allocate(before);
      mark(heap, block, 2);
      const moved = shortly(() => heap.reallocate(block, after));
      assertEquals(moved === block, stays, `${before} to ${after}`);
      assert(isMarked(heap, moved, 2, Math.min(before, after)));
      assertEquals([...heap.blocks()].map((live) => [live.requestedSize, live.alignment]), [[after, 16]]);
      heap.free(moved);
    }
  });

  it("take the short way too while others have freed blocks of their page", () => {
    const [owner, other] = pair();
    const [a, b, c] = [owner.allocate(100), owner.allocate(100), owner.allocate(100)];
    const target = owner.allocate(300);
    mark(owner, b, 1);
    for (const address of [a, target]) other.free(address);
    assertEquals(shortly(() => owner.reallocate(b, 90)), b);
    const moved = shortly(() => owner.reallocate(b, 300));
    assert(isMarked(other, moved, 1, 90));
    assertEquals(shortly(() => owner.allocateZeroed(100)), b);
    for (const address of [a, target]) {
      for (const size of [90, 20]) assertEquals(kindOf(() => owner.reallocate(address, size)), "double");
    }
    assertEquals(owner.stats().liveBlocks, 3);
    owner.free(c);
    checkAndDetach(owner, other);
  });
});

describe("small zeroed blocks of a SharedHeap", () => {
  it("are zero in slots that were written before, and nothing else is", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (const size of SIZES) {
      const blocks = [0, 1, 2, 3].map(() => heap.allocate(size));
      blocks.forEach((address, i) => mark(heap, address, i));
      heap.free(blocks[2]!);
      assertEquals(shortly(() => heap.allocateZeroed(size)), blocks[2]);
      assertEquals(heap.view(blocks[2]!).length, size);
      assert(heap.view(blocks[2]!).every((byte) => byte === 0), `${size}`);
      for (const i of [0, 1, 3]) assert(isMarked(heap, blocks[i]!, i, size), `neighbour ${i} of ${size}`);
    }
    assertEquals(heap.view(shortly(() => heap.allocateZeroed(0))).length, 0);
    heap.check();
  });

  it("are zero in slots that another worker has written and freed", () => {
    const [owner, other] = pair();
    const blocks = Array.from({ length: 500 }, () => owner.allocate(100));
    blocks.forEach((address) => mark(other, address, 1));
    blocks.forEach((address) => other.free(address));
    for (let at = 0; at < 2000; at++) {
      assert(owner.view(shortly(() => owner.allocateZeroed(100))).every((byte) => byte === 0), `block ${at}`);
    }
    owner.check();
    for (const heap of [owner, other]) heap.detach();
  });

  it("are left to the general way when they are aligned or large", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (const [size, alignment] of [[100, 64], [100, 8], [20_000, 16], [20_000, 4096]] as const) {
      const block = heap.allocate(size, alignment);
      heap.view(block).fill(9);
      heap.free(block);
      const { way, result } = wayOf(() => heap.allocateZeroed(size, alignment));
      assertEquals(way, "not asked");
      assertEquals(result % alignment, 0);
      assert(heap.view(result).every((byte) => byte === 0));
    }
  });

  it("are not allocated when there is no memory, or their region cannot be wrapped", () => {
    const source = failingPageSource(systemPageSource(), Infinity, { operations: ["wrap"] });
    const platform = { ...systemSharedPlatform(), source };
    const heap = new SharedHeap(createAttachment(source, platform, 2 ** 20));
    heap.allocate(16);
    source.rearm(0);
    // The tables are wrapped, the region not yet.
    assertThrows(() => heap.allocateZeroed(16), OutOfMemoryError);
    const block = heap.allocate(16);
    heap.allocate(32);
    assertThrows(() => heap.reallocate(block, 32), OutOfMemoryError);
    assertEquals(heap.stats().liveBlocks, 3);
    source.rearm(Infinity);
    const blocks = [16_000].flatMap((size) => {
      const found: Address[] = [];
      for (let address = heap.tryAllocate(size); address !== 0; address = heap.tryAllocate(size)) found.push(address);
      return found;
    });
    generally(() => assertThrows(() => heap.allocateZeroed(16_000), OutOfMemoryError));
    generally(() => assertThrows(() => heap.reallocate(block, 16_000), OutOfMemoryError));
    assert(heap.owns(block));
    assertEquals(heap.stats().liveBlocks, 3 + blocks.length);
    heap.check();
    heap.detach();
  });
});
