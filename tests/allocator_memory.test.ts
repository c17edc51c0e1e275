/**
 * What the simple allocators do when the memory of a block that they have just placed cannot be written.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Allocator,
  Arena,
  BucketAllocator,
  BumpAllocator,
  CorruptionError,
  FreeListAllocator,
  Heap,
  PoolAllocator,
} from "../mod.ts";

const SIMPLE: readonly [name: string, make: () => Allocator][] = [
  ["PoolAllocator", () => new PoolAllocator({ slotSize: 256, capacity: 8 })],
  ["Arena", () => new Arena()],
  ["BumpAllocator", () => new BumpAllocator()],
  ["FreeListAllocator", () => new FreeListAllocator()],
  ["BucketAllocator", () => new BucketAllocator()],
  ["Heap", () => new Heap()],
];

/** Detaches the ArrayBuffer that the block at `address` lies in, as a program can do by mistake. */
function detach(allocator: Allocator, address: number): void {
  const buffer = allocator.view(address).buffer as ArrayBuffer;
  structuredClone(buffer, { transfer: [buffer] });
}

describe("a region whose ArrayBuffer was detached from outside", () => {
  for (const [name, make] of SIMPLE) {
    it(`${name}: what fails to clear a block does not keep it`, () => {
      using allocator = make();
      const kept = allocator.allocate(64);
      const freed = allocator.allocate(64);
      allocator.view(freed).fill(1);
      allocator.free(freed);
      detach(allocator, kept);
      for (let i = 0; i < 20; i++) {
        assertThrows(() => allocator.allocateZeroed(64), CorruptionError, "detached from outside");
        assertThrows(() => allocator.buffer(64), CorruptionError, "detached from outside");
        assertEquals(allocator.stats().liveBlocks, 1);
      }
    });
  }

  it("Arena: a block that cannot be moved stays where it was, and nothing else is live", () => {
    using arena = new Arena({ chunkSize: 65_536 });
    const moving = arena.allocate(1000);
    let last = moving;
    while (arena.stats().regions === 1) last = arena.allocate(1000);
    detach(arena, last);
    const before = [...arena.blocks()];
    assertThrows(() => arena.reallocate(moving, 2000), CorruptionError, "detached from outside");
    assertEquals([...arena.blocks()], before);
  });
});
