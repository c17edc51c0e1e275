/**
 * Zeroed and moved small blocks: contents and neighbours at every length where another loop is used.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Heap } from "../mod.ts";
import { isMarked, mark } from "./support/blocks.ts";

/** Sizes around those where words give way to calls, and to another size class. */
const SIZES = [
  1,
  15,
  16,
  17,
  47,
  48,
  112,
  127,
  128,
  129,
  144,
  240,
  255,
  256,
  257,
  272,
  512,
  1023,
  1024,
  1025,
  4000,
  16_384,
];

describe("small blocks that move", () => {
  for (
    const [name, options] of [["plain", {}], ["secure", { secure: true }], ["cleared", { zeroOnFree: true }]] as const
  ) {
    it(`keep what was asked for, and their neighbours, from each size to each other (${name})`, () => {
      using heap = new Heap(options);
      for (const before of SIZES) {
        for (const after of SIZES) {
          const neighbours = [before, after].map((size) => [0, 1, 2].map(() => heap.allocate(size))).flat();
          neighbours.forEach((address, i) => mark(heap, address, i));
          const [from, to] = [neighbours[1]!, neighbours[4]!];
          heap.free(to);
          const moved = heap.reallocate(from, after);
          assert(isMarked(heap, moved, 1, Math.min(before, after)), `${before} to ${after}`);
          assertEquals(heap.view(moved).length, after);
          const others = neighbours.filter((_, i) => i !== 1 && i !== 4);
          const sizes = [before, before, after, after];
          others.forEach((address, i) => {
            const seed = neighbours.indexOf(address);
            assert(isMarked(heap, address, seed, sizes[i]!), `neighbour ${i} of ${before} to ${after}`);
          });
          heap.check();
          [moved, ...others].forEach((address) => heap.free(address));
        }
      }
      assertEquals(heap.stats().liveBlocks, 0);
    });
  }

  it("move from one region to another", () => {
    using heap = new Heap();
    // Enough that the classes that follow get their pages in later regions.
    const first = SIZES.filter((size) => size < 8192).map((size) => heap.allocate(size));
    first.forEach((address, i) => mark(heap, address, i));
    const ballast = Array.from({ length: 200 }, () => heap.allocate(256 * 1024));
    assert(heap.layout().regions.length > 1);
    first.forEach((address, i) => {
      const size = heap.view(address).length;
      // Fills the pages that the class has: the move needs one of a later region.
      const filler = Array.from({ length: 65_536 / (size * 2) + 2 }, () => heap.allocate(size * 2));
      const moved = heap.reallocate(address, size * 2);
      assert(isMarked(heap, moved, i, size), `${size}`);
      filler.forEach((block) => heap.free(block));
      heap.free(moved);
    });
    ballast.forEach((address) => heap.free(address));
    heap.check();
  });
});

describe("small zeroed blocks", () => {
  it("are zero in slots that were written before, and nothing else is", () => {
    using heap = new Heap();
    for (const size of SIZES) {
      const blocks = [0, 1, 2, 3].map(() => heap.allocate(size));
      blocks.forEach((address, i) => mark(heap, address, i));
      heap.free(blocks[2]!);
      const zeroed = heap.allocateZeroed(size);
      assertEquals(zeroed, blocks[2]);
      assert(heap.view(zeroed).every((byte) => byte === 0), `${size}`);
      for (const i of [0, 1, 3]) assert(isMarked(heap, blocks[i]!, i, size), `neighbour ${i} of ${size}`);
    }
    heap.check();
  });
});
