/**
 * `BucketAllocator`: which bucket a block goes to, moves between buckets, growth in place, the dynamic bucket.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, type PageSource, systemPageSource } from "../mod.ts";
import { BucketAllocator } from "../src/bucket_allocator.ts";
import type { AllocatorEvent } from "../src/bucket_policy.ts";

const MIB = 2 ** 20;

function fixed(bytes = MIB): PageSource {
  return fixedPageSource(new ArrayBuffer(bytes));
}

function bucketsOf(allocator: BucketAllocator): number[] {
  return allocator.layout().map(({ regions }) => regions.length);
}

describe("buckets", () => {
  it("sizes of a wrong type, not ascending, or too many are refused", () => {
    const wrong: [unknown, ErrorConstructor][] = [
      [128, TypeError],
      [["8"], TypeError],
      [[0], RangeError],
      [[16, 16], RangeError],
      [[32, 16], RangeError],
      [[1.5], RangeError],
      [Array.from({ length: 65 }, (_, i) => i + 1), RangeError],
    ];
    for (const [sizes, errorClass] of wrong) {
      assertThrows(() => new BucketAllocator({ source: fixed(), sizes: sizes as number[] }), errorClass);
    }
    new BucketAllocator({ source: fixed(), sizes: [] })[Symbol.dispose]();
  });

  it("a block goes to the first bucket that is large enough, and to the dynamic one above all", () => {
    using allocator = new BucketAllocator({ source: fixed(), sizes: [8, 16, 24] });
    assertEquals([0, 8, 9, 16, 17, 24, 25, 10_000].map((size) => allocator.bucketOf(size)), [0, 0, 1, 1, 2, 2, 3, 3]);
    const addresses = [8, 16, 24].map((size) => allocator.allocate(size));
    assertEquals(bucketsOf(allocator), [1, 1, 1, 0]);
    assertEquals([addresses[1]! - addresses[0]!, addresses[2]! - addresses[1]!], [4096, 4096]);
    allocator.allocate(25);
    assertEquals(bucketsOf(allocator), [1, 1, 1, 1]);
    allocator.check();
  });

  it("reallocate() moves a block whose size changes bucket, and keeps one in place whose size does not", () => {
    using allocator = new BucketAllocator({ source: fixed(), sizes: [128, 1024] });
    const address = allocator.allocate(100);
    allocator.view(address).fill(5);
    assertEquals(allocator.reallocate(address, 120), address);
    const moved = allocator.reallocate(address, 500);
    assertEquals(bucketsOf(allocator), [0, 1, 0]);
    assert(allocator.view(moved, 100).every((byte) => byte === 5));
    const back = allocator.reallocate(moved, 50);
    assertEquals(bucketsOf(allocator), [1, 0, 0]);
    assert(allocator.view(back).every((byte) => byte === 5));
    allocator.check();
  });

  it("a region is unmapped when its last block is freed", () => {
    using allocator = new BucketAllocator({ source: fixed(), sizes: [128] });
    const blocks = Array.from({ length: 100 }, (_, i) => allocator.allocate(i * 5));
    assert(allocator.stats().regions > 1);
    for (const address of blocks) allocator.free(address);
    assertEquals([allocator.stats().regions, allocator.stats().reservedBytes], [0, 0]);
  });
});

describe("growing by neighbours", () => {
  function five(allocator: BucketAllocator): number[] {
    return Array.from({ length: 5 }, (_, i) => {
      const address = allocator.allocate(104);
      allocator.view(address).fill(i + 1);
      return address;
    });
  }

  for (const header of [0, 8, 24, 40] as const) {
    it(`by the next, the previous, and both, with contents moved, header ${header}`, () => {
      const options = { sizes: [1000], header };
      for (const [freed, size, lands] of [[[2], 200, 1], [[0], 200, 0], [[0, 2], 320, 0]] as const) {
        using allocator = new BucketAllocator({ source: fixed(), ...options });
        const blocks = five(allocator);
        for (const i of freed) allocator.free(blocks[i]!);
        const grown = allocator.reallocate(blocks[1]!, size);
        assertEquals(grown, blocks[lands]);
        assert(allocator.view(grown, 104).every((byte) => byte === 2));
        assert(allocator.view(blocks[3]!).every((byte) => byte === 4));
        allocator.view(grown).fill(9);
        assert(allocator.view(blocks[3]!).every((byte) => byte === 4));
        allocator.check();
        if (lands === 0) assertThrows(() => allocator.free(blocks[1]!));
      }
    });
  }

  it("alignment survives growing into the block below", () => {
    using allocator = new BucketAllocator({ source: fixed(), sizes: [4096] });
    const below = allocator.allocate(1000);
    const address = allocator.allocate(500, 256);
    allocator.view(address).fill(7);
    allocator.allocate(16);
    allocator.free(below);
    const grown = allocator.reallocate(address, 900);
    assertEquals(grown % 256, 0);
    assert(allocator.view(grown, 500).every((byte) => byte === 7));
    allocator.check();
  });
});

describe("the dynamic bucket", () => {
  it("a large request does not walk past small free blocks", () => {
    const searches: number[] = [];
    const onEvent = ({ type, count }: AllocatorEvent): void => {
      if (type === "search") searches.push(count);
    };
    using allocator = new BucketAllocator({ source: systemPageSource(), sizes: [], onEvent });
    const blocks = Array.from({ length: 4000 }, (_, i) => allocator.allocate(200 + (i % 8) * 10));
    blocks.forEach((address, i) => i % 2 === 0 && allocator.free(address));
    const large = allocator.allocate(3 * MIB);
    allocator.free(large);
    searches.length = 0;
    for (let i = 0; i < 10; i++) allocator.allocate(100_000 + i);
    assert(Math.max(...searches) <= 16, `a search came by ${Math.max(...searches)} blocks`);
    allocator.check();
  });

  it("in order of address too, each of its lists holds the free blocks of one size range only", () => {
    using allocator = new BucketAllocator({ source: fixed(), sizes: [], order: "address", releaseRegions: false });
    const blocks = [100, 50, 5000, 50, 300, 50, 100, 50, 5000, 50].map((size) => allocator.allocate(size));
    for (const i of [0, 2, 4, 6, 8]) {
      allocator.free(blocks[i]!);
      allocator.check();
    }
    // Each in the place of a block of its size, which a search of that list must find.
    const again = [5000, 100, 300, 5000, 100].map((size) => allocator.allocate(size));
    assertEquals(again, [2, 0, 4, 8, 6].map((i) => blocks[i]!));
    allocator.check();
  });

  it("alignment above 512 wastes nothing: what is skipped stays free", () => {
    using allocator = new BucketAllocator({ source: systemPageSource(), sizes: [] });
    const blocks = [1024, 4096, 65_536, MIB].map((alignment) => {
      const address = allocator.allocate(100, alignment);
      assertEquals(address % alignment, 0);
      assert(allocator.usableSize(address) < 160);
      return address;
    });
    const { committedBytes } = allocator.stats();
    for (let i = 0; i < 20; i++) blocks.push(allocator.allocate(2000));
    assert(allocator.stats().committedBytes <= committedBytes + 65_536);
    for (const address of blocks) allocator.free(address);
    assertEquals(allocator.stats().committedBytes, 0);
  });
});
