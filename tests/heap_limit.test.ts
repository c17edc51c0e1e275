/**
 * The `limit` of a `Heap`: what counts, and that it is exact.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Heap, OutOfMemoryError } from "../mod.ts";

describe("Heap limit", () => {
  it("is exact at the boundary, in every kind of block", () => {
    for (const size of [100, 40_000, 6_000_000]) {
      using heap = new Heap({ limit: size });
      const address = heap.allocate(size);
      const message = assertThrows(() => heap.allocate(1), OutOfMemoryError).message;
      assertEquals(
        message,
        `Cannot allocate 1 bytes: ${size} of the limit of ${size} bytes are live, and 1 more would exceed it`,
      );
      assertEquals(heap.tryAllocate(1), 0);
      heap.free(heap.allocate(0));
      heap.free(address);
      const parts = [heap.allocate(size - 1), heap.allocate(1)];
      assertThrows(() => heap.allocate(1), OutOfMemoryError);
      for (const part of parts) heap.free(part);
      heap.free(heap.allocate(size));
      heap.check();
    }
  });

  it("counts the difference of resize() and reallocate(), also when the block moves", () => {
    using heap = new Heap({ limit: 100_000 });
    let address = heap.allocate(60_000);
    address = heap.reallocate(address, 100_000);
    assertEquals(heap.resize(address, 100_001), false);
    const error = assertThrows(() => heap.reallocate(address, 100_001), OutOfMemoryError);
    assertEquals([error.requested, error.limit], [100_001, 100_000]);
    assert(heap.resize(address, 99_999));
    assertThrows(() => heap.allocate(2), OutOfMemoryError);
    const one = heap.allocate(1);
    heap.free(one);
    address = heap.reallocate(address, 10);
    const other = heap.allocate(99_990);
    assertThrows(() => heap.reallocate(address, 11), OutOfMemoryError);
    assertEquals(heap.reallocate(other, 0), 0);
    assertEquals(heap.reallocate(address, 100_000) !== 0, true);
    heap.check();
  });

  it("counts a NativeBuffer by what was asked for, and its resize() by the difference", () => {
    using heap = new Heap({ limit: 10_000 });
    const buffer = heap.buffer(6000);
    buffer.bytes.fill(7);
    buffer.resize(10_000);
    assertEquals([buffer.bytes[5999], buffer.bytes[6000]], [7, 0]);
    assertThrows(
      () => buffer.resize(10_001),
      OutOfMemoryError,
      "10000 of the limit of 10000 bytes are live, and 1 more",
    );
    assertEquals(buffer.byteLength, 10_000);
    assertThrows(() => heap.allocate(1), OutOfMemoryError);
    buffer.resize(1);
    heap.free(heap.allocate(9999));
    buffer.free();
    heap.free(heap.allocate(10_000));
    heap.check();
  });

  it("may be 0, or Infinity", () => {
    using none = new Heap({ limit: 0 });
    none.free(none.allocate(0));
    assertEquals(none.tryAllocate(1), 0);
    using all = new Heap({ limit: Infinity });
    assertEquals(all.stats().limit, Infinity);
  });

  it("arguments are checked", () => {
    assertThrows(() => new Heap({ limit: -1 }), RangeError, "Cannot use -1 as limit");
    assertThrows(() => new Heap({ limit: 1.5 }), RangeError, "Cannot use 1.5 as limit");
    assertThrows(() => new Heap({ limit: NaN }), RangeError, "Cannot use NaN as limit");
    assertThrows(() => new Heap({ limit: "1" as never }), TypeError, 'Cannot use "1" as limit: it must be a number');
    assertThrows(
      () => new Heap({ zeroOnFree: 1 as never }),
      TypeError,
      "Cannot use 1 as zeroOnFree: it must be a boolean",
    );
  });
});
