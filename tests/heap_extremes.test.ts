/**
 * `Heap` where numbers are large: alignments up to 1 GiB, small blocks beyond 2 GiB and in the last pages of a range,
 * blocks above 4 GiB.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type Address, Heap, InvalidFreeError, systemPageSource } from "../mod.ts";
import { isEmulated, isWindows, runtimeName } from "./support/runtime.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

describe("Heap and large alignments", () => {
  const largest = isEmulated ? 2 ** 24 : GIB;

  it(`every power of two up to ${largest}, for small, large and huge blocks`, () => {
    using heap = new Heap();
    for (let alignment = 16; alignment <= largest; alignment *= 2) {
      const addresses = [1, 100, 5000, 20_000, 5 * MIB].map((size) => {
        const address = heap.allocate(size, alignment);
        assertEquals(address % alignment, 0, `${size} at ${alignment}`);
        const view = heap.view(address);
        view[0] = 1;
        view[size - 1] = 2;
        return address;
      });
      assertEquals([...heap.blocks()].map((block) => block.alignment), addresses.map(() => alignment));
      for (const address of addresses) heap.free(address);
    }
    heap.check();
    assertEquals(heap.stats().liveBlocks, 0);
  });

  it("alignment survives reallocate(), also of the largest", () => {
    using heap = new Heap();
    for (const alignment of [512, 4096, 2 ** 20, largest]) {
      let address = heap.allocate(10, alignment);
      heap.view(address).fill(9);
      for (const size of [1000, 30_000, 5 * MIB, 10]) {
        address = heap.reallocate(address, size);
        assertEquals([address % alignment, heap.view(address)[9]], [0, 9], `${size} at ${alignment}`);
      }
      heap.free(address);
    }
    heap.check();
  });

  it("above 1 GiB, and what is no power of two, is a RangeError", () => {
    using heap = new Heap();
    for (const alignment of [2 * GIB, 3, 0, -16, 24]) {
      assertThrows(() => heap.allocate(1, alignment), RangeError, `Cannot use ${alignment} as alignment`);
    }
  });
});

describe("Heap and small blocks beyond its first 2 GiB", { ignore: isEmulated || isWindows }, () => {
  // The short way of free() covers what a 32-bit integer can count in bytes; the rest has a way of its own.
  const far = 2 * GIB;

  it("they are freed, resized, viewed and checked like all others, on both sides of the border", () => {
    using heap = new Heap();
    const first = heap.allocate(16);
    let distance = 0;
    // Untouched: 2 GiB of address space. The last small pages before the border come from what is left of a region.
    while (distance < far) distance = Math.max(distance, heap.allocate(4 * MIB) - first);
    const sizes = [1, 16, 24, 100, 1000, 5000, 16_384, 20_000];
    const addresses = sizes.flatMap((size) => Array.from({ length: 400 }, () => heap.allocate(size)));
    assert(addresses.some((address) => address - first > far), "none is beyond the border");
    for (const address of addresses) heap.view(address)[0] = 7;
    const live = heap.stats().liveBlocks;
    for (const address of addresses) {
      assertThrows(() => heap.free(address + 8), InvalidFreeError);
      assertThrows(() => heap.free(address - 2 ** 32), InvalidFreeError);
      assertThrows(() => heap.free(first - (address - first) - 16), InvalidFreeError);
      assertThrows(() => heap.free(address + 2 ** 32), InvalidFreeError);
      assertThrows(() => heap.free(address + 0.5));
    }
    assertEquals(heap.stats().liveBlocks, live);
    const moved = addresses.map((address) => heap.reallocate(address, heap.usableSize(address) * 3));
    for (const address of moved) assertEquals(heap.view(address)[0], 7);
    for (const address of moved) {
      heap.free(address);
      assertThrows(() => heap.free(address), InvalidFreeError);
    }
    assertEquals(heap.stats().liveBlocks, live - addresses.length);
    heap.check();
  });
});

describe("Heap and the end of its first range", { ignore: isEmulated || isWindows }, () => {
  it("small blocks in its last pages are where it has them", () => {
    using heap = new Heap();
    const first = heap.allocate(4 * MIB);
    const runs = [first];
    // Untouched: 32 GiB of address space. Once the range is full, the next run lies in another.
    for (let run = heap.allocate(4 * MIB); run > first && run < first + 33 * GIB; run = heap.allocate(4 * MIB)) {
      runs.push(run);
    }
    for (const run of runs.sort((a, b) => a - b).slice(-3)) heap.free(run);
    const addresses = Array.from({ length: 12 * MIB / 64 }, () => heap.allocate(64));
    assertEquals(addresses.filter((address) => !heap.owns(address)).length, 0);
    assertEquals(new Set(addresses).size, addresses.length);
    assert(addresses.some((address) => address > runs.at(-2)!), "none is near the end");
    for (const address of addresses) heap.free(address);
    heap.check();
  });
});

describe("Heap and blocks above 4 GiB", { ignore: isEmulated || isWindows }, () => {
  const size = 5 * GIB + 4096;

  it("an allocation by address works, and is given back whole", () => {
    using heap = new Heap();
    const address = heap.allocate(size, 2 * MIB);
    assertEquals([address % (2 * MIB), heap.usableSize(address)], [0, size]);
    assertEquals([...heap.blocks()], [{ address, requestedSize: size, usableSize: size, alignment: 2 * MIB }]);
    assertEquals(assertKind(heap, address + 2 ** 32), "interior");
    heap.check();
    heap.free(address);
    assertEquals(heap.stats().liveBytes, 0);
    assertEquals(assertKind(heap, address), "double");
  });

  it("a view of all of it works, or is a RangeError that says why", () => {
    using heap = new Heap();
    const address = heap.allocate(size);
    const most = systemPageSource().maxWrapBytes;
    assertEquals(most < size, runtimeName === "bun");
    if (most < size) {
      const error = assertThrows(() => heap.view(address), RangeError);
      const message = `Cannot view ${size} bytes at 0x${
        address.toString(16)
      }: this runtime's largest ArrayBuffer has ${most} bytes`;
      assertEquals(error.message, message);
      const view = heap.view(address, most);
      view[most - 1] = 3;
      assertEquals([view.length, heap.view(address, 16).length], [most, 16]);
    } else {
      const view = heap.view(address);
      view[0] = 1;
      view[size - 1] = 2;
      assertEquals([view.length, view[0], view[size - 1], view[2 ** 32]], [size, 1, 2, 0]);
      assertEquals(heap.addressOf(view.subarray(2 ** 32 + 7)), address + 2 ** 32 + 7);
    }
    assertThrows(() => heap.view(address, size + 1), RangeError, `the block has ${size}`);
    heap.free(address);
    heap.check();
  });

  it("reallocate() copies beyond the largest wrap", () => {
    using heap = new Heap();
    const address = heap.allocate(3 * MIB);
    const view = heap.view(address);
    view[0] = 1;
    view[3 * MIB - 1] = 2;
    const moved = heap.reallocate(address, size);
    assertEquals([heap.view(moved, 1)[0], heap.view(moved, 3 * MIB)[3 * MIB - 1]], [1, 2]);
    assertEquals(heap.view(heap.reallocate(moved, 3 * MIB))[3 * MIB - 1], 2);
    heap.check();
  });

  function assertKind(heap: Heap, address: Address): string {
    try {
      heap.free(address);
    } catch (error) {
      return (error as { kind: string }).kind;
    }
    return "freed";
  }
});
