/**
 * The policies of the reference systems, one by one, in numbers: what docs/references.md says of them and no other test
 * shows.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type AllocatorEvent,
  basicalloc,
  fixedPageSource,
  FreeListAllocator,
  memAlloc,
  type PageSource,
  rulloc,
  rustyMalloc,
  systemPageSource,
} from "../mod.ts";

function fixed(pageSize = 4096): PageSource {
  return fixedPageSource(new ArrayBuffer(2 ** 20), { pageSize });
}

describe("policies of the reference systems", () => {
  it("freed blocks are used by address, last first, or first first", () => {
    for (const [order, expected] of [["address", 1], ["lifo", 5], ["fifo", 3]] as const) {
      // Pages of a block each: nothing is ever left over.
      using allocator = new FreeListAllocator({ source: fixed(64), order, header: 0, joinRegions: true });
      const blocks = Array.from({ length: 7 }, () => allocator.allocate(64)).sort((a, b) => a - b);
      for (const i of [3, 1, 5]) allocator.free(blocks[i]!);
      assertEquals(allocator.allocate(64), blocks[expected], order);
    }
  });

  it("headers of 0, 8, 24 and 40 bytes: what a block of 16 bytes takes", () => {
    for (const [header, size] of [[0, 16], [8, 32], [24, 48], [40, 64]] as const) {
      using allocator = new FreeListAllocator({ source: fixed(), header });
      assertEquals(-allocator.allocate(16) + allocator.allocate(16), size, `header ${header}`);
    }
  });

  it("a leftover becomes a block when it can hold one, and a part of the block when not", () => {
    using allocator = rustyMalloc({ source: fixed() });
    const hole = allocator.allocate(120);
    allocator.allocate(16);
    allocator.free(hole);
    const absorbed = allocator.allocate(104);
    assertEquals([absorbed, allocator.usableSize(absorbed)], [hole, 120]);
    allocator.free(absorbed);
    const { count } = allocator.freeStats();
    const split = allocator.allocate(88);
    assertEquals([split, allocator.usableSize(split), allocator.freeStats().count], [hole, 88, count]);
  });

  it("basicalloc takes the end of a free block, the others the start", () => {
    for (const make of [basicalloc, rustyMalloc, memAlloc]) {
      using allocator = make({ source: fixed() });
      // A fresh region is taken from its start in all of them.
      assertEquals(allocator.allocate(16) % 4096 < 64, true);
      const before = allocator.allocate(16);
      const after = allocator.allocate(16);
      assertEquals(after < before, make === basicalloc);
    }
  });

  it("lazy: free() merges nothing, and the next search merges what it comes by", () => {
    const seen: string[] = [];
    const onEvent = ({ type }: AllocatorEvent): void => void seen.push(type);
    using allocator = rustyMalloc({ source: fixed(), onEvent });
    const blocks = Array.from({ length: 4 }, () => allocator.allocate(1000));
    seen.length = 0;
    for (const i of [2, 1, 0]) allocator.free(blocks[i]!);
    assertEquals(seen, []);
    assertEquals(allocator.allocate(3000), blocks[0]);
    assertEquals(seen.filter((type) => type === "merge").length >= 1, true);
    assertEquals(seen.includes("grow"), false);
  });

  it("eager: free() merges with both sides at once", () => {
    const merged: number[] = [];
    const onEvent = ({ type, size }: AllocatorEvent): void => void (type === "merge" && merged.push(size));
    using allocator = memAlloc({ source: fixed(), onEvent });
    const [a, b, c] = Array.from({ length: 4 }, () => allocator.allocate(216)) as [number, number, number];
    allocator.free(a);
    allocator.free(c);
    allocator.free(b);
    assertEquals(merged, [768]);
  });

  it("a search that finds nothing is reported with the address 0 and the blocks that it came by", () => {
    const searches: AllocatorEvent[] = [];
    const onEvent = (event: AllocatorEvent): void => void (event.type === "search" && searches.push(event));
    using allocator = basicalloc({ source: fixed(64), onEvent });
    const blocks = Array.from({ length: 9 }, () => allocator.allocate(64));
    for (let i = 1; i < 9; i += 2) allocator.free(blocks[i]!);
    allocator.allocate(128);
    const { address, count, size } = searches.at(-1)!;
    assertEquals([address, count, size], [0, 4, 128]);
  });

  it("growth is by whole pages, with every header counted", () => {
    using exact = basicalloc({ source: fixed(64) });
    exact.allocate(100);
    assertEquals(exact.stats().committedBytes, 128);
    using headers = memAlloc({ source: fixed() });
    headers.allocate(4096);
    assertEquals(headers.stats().committedBytes, 8192);
  });

  it("a thousand small blocks take one mapping, and large heaps few", () => {
    for (const make of [basicalloc, rustyMalloc, memAlloc]) {
      let maps = 0;
      const onEvent = ({ type }: AllocatorEvent): void => void (type === "grow" && maps++);
      using allocator = make({ source: systemPageSource(), onEvent });
      for (let i = 0; i < 1000; i++) allocator.allocate(16);
      assertEquals(maps, 1);
      for (let i = 0; i < 1000; i++) allocator.allocate(10_000);
      assert(maps < 200, `${maps} mappings`);
    }
    let maps = 0;
    using buckets = rulloc(undefined, { onEvent: ({ type }) => void (type === "grow" && maps++) });
    for (let i = 0; i < 1000; i++) buckets.allocate(16);
    assertEquals(maps, 1);
  });

  it("reallocate() moves nothing when it shrinks, and grows where there is room behind", () => {
    for (const make of [rustyMalloc, memAlloc, rulloc.bind(undefined, [4096])]) {
      using allocator = make({ source: fixed() });
      const address = allocator.allocate(1000);
      allocator.view(address).fill(5);
      assertEquals(allocator.reallocate(address, 100), address);
      assertEquals(allocator.reallocate(address, 2000), address);
      assert(allocator.view(address, 100).every((byte) => byte === 5));
    }
  });
});
