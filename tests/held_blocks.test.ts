/**
 * Who is told of blocks that a wrapper holds on to. What becomes of that is in quarantine_violations.test.ts.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { DebugAllocator, Heap, QuarantineAllocator } from "../mod.ts";
import { holdIn, onHeldBlocks } from "../src/held_blocks.ts";

describe("holdIn()", () => {
  it("is what the allocator wants to be told with, and nothing where it does not care", () => {
    using heap = new Heap();
    assertEquals(holdIn(heap), undefined);
    const told: number[] = [];
    onHeldBlocks(heap, (address) => void told.push(address));
    holdIn(heap)!(4096);
    assertEquals(told, [4096]);
  });

  it("is nothing for a quarantine over an allocator that does not care, and goes through one over one that does", () => {
    using indifferent = new QuarantineAllocator(new Heap());
    assertEquals(holdIn(indifferent), undefined);
    const heap = new Heap();
    const told: number[] = [];
    onHeldBlocks(heap, (address) => void told.push(address));
    using debug = new DebugAllocator(new QuarantineAllocator(heap));
    using allocator = new QuarantineAllocator(debug);
    const address = allocator.allocate(100);
    allocator.free(address);
    assertEquals(told, [address - 16]);
    holdIn(debug)!(4096); // not a block of it
    assertEquals(told.length, 1);
  });
});
