/**
 * The global allocator and the functions that use it.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Heap } from "../mod.ts";
import { Arena } from "../src/arena.ts";
import { InvalidFreeError, OutOfMemoryError } from "../src/errors.ts";
import {
  allocate,
  allocateZeroed,
  free,
  globalAllocator,
  reallocate,
  setGlobalAllocator,
  tryAllocate,
} from "../src/global_allocator.ts";

describe("the global allocator", () => {
  it("is a Heap, made when first needed, and the same every time", () => {
    const before = setGlobalAllocator(undefined);
    const heap = globalAllocator();
    assert(heap instanceof Heap);
    assert(globalAllocator() === heap);
    assert(setGlobalAllocator(before) === heap);
    heap[Symbol.dispose]();
  });

  it("can be set, and setting it returns the one before", () => {
    const before = setGlobalAllocator(undefined);
    using arena = new Arena();
    using heap = new Heap();
    assertEquals(setGlobalAllocator(arena), undefined);
    assert(globalAllocator() === arena);
    assert(setGlobalAllocator(heap) === arena);
    assert(setGlobalAllocator(before) === heap);
    for (const wrong of [null, 5, {}, "heap"]) {
      assertThrows(() => setGlobalAllocator(wrong as unknown as Heap), TypeError);
    }
  });

  it("allocate(), tryAllocate(), allocateZeroed(), reallocate() and free() work on it", () => {
    using heap = new Heap({ limit: 10_000 });
    const before = setGlobalAllocator(heap);
    try {
      const address = allocate(100, 256);
      assertEquals([address % 256, heap.owns(address)], [0, true]);
      heap.view(address).fill(7);
      const moved = reallocate(address, 5000);
      assertEquals([heap.view(moved)[99], heap.usableSize(moved) >= 5000], [7, true]);
      assertEquals([...heap.view(allocateZeroed(3))], [0, 0, 0]);
      assertEquals(tryAllocate(20_000), 0);
      assertThrows(() => allocate(20_000), OutOfMemoryError);
      free(0);
      free(moved);
      assertThrows(() => free(moved), InvalidFreeError);
      assertEquals(heap.stats().liveBlocks, 1);
    } finally {
      setGlobalAllocator(before);
    }
  });

  it("does not take blocks of the one before", () => {
    using first = new Heap();
    using second = new Heap();
    const before = setGlobalAllocator(first);
    const address = allocate(10);
    setGlobalAllocator(second);
    assertThrows(() => free(address), InvalidFreeError);
    setGlobalAllocator(before);
    assert(first.owns(address));
  });
});
