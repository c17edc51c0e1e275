/**
 * `Vec` on every allocator.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, fixedPageSource, Heap, systemPageSource } from "../mod.ts";
import type { Allocator } from "../mod.ts";
import { Arena } from "../src/arena.ts";
import { BumpAllocator } from "../src/bump_allocator.ts";
import { OutOfMemoryError, UseAfterFreeError } from "../src/errors.ts";
import { globalAllocator, setGlobalAllocator } from "../src/global_allocator.ts";
import { PoolAllocator } from "../src/pool_allocator.ts";
import { basicalloc, memAlloc, rulloc, rustyMalloc } from "../src/systems.ts";
import { Vec } from "../src/vec.ts";
import { Prng } from "./support/prng.ts";

const MIB = 2 ** 20;

/** Every allocator that a vector of a million doubles fits in. */
const ALLOCATORS: readonly { name: string; make: () => Allocator }[] = [
  { name: "Heap", make: () => new Heap() },
  { name: "BumpAllocator", make: () => new BumpAllocator({ size: 32 * MIB }) },
  { name: "Arena", make: () => new Arena() },
  { name: "basicalloc()", make: () => basicalloc() },
  { name: "rustyMalloc()", make: () => rustyMalloc() },
  { name: "memAlloc()", make: () => memAlloc() },
  { name: "rulloc()", make: () => rulloc() },
  { name: "Arena over a fixed buffer", make: () => new Arena({ source: fixedPageSource(new ArrayBuffer(32 * MIB)) }) },
];

function onGlobal(allocator: Allocator, action: () => void): void {
  const previous = setGlobalAllocator(allocator);
  try {
    action();
  } finally {
    setGlobalAllocator(previous);
    allocator[Symbol.dispose]();
  }
}

describe("Vec with a million elements on the global allocator", () => {
  for (const { name, make } of ALLOCATORS) {
    it(`${name}: push, read, pop, free`, () => {
      onGlobal(make(), () => {
        const count = 1_000_000;
        {
          using vec = new Vec(Float64Array);
          for (let i = 0; i < count; i++) vec.push(i * 0.5);
          assertEquals([vec.length, vec.allocator === globalAllocator()], [count, true]);
          let sum = 0;
          for (let i = 0; i < count; i++) sum += vec.at(i);
          assertEquals(sum, (count * (count - 1)) / 4);
          const array = vec.asArray();
          assertEquals([array.length, array[0], array[count - 1]], [count, 0, (count - 1) / 2]);
          assertEquals(globalAllocator().addressOf(array), vec.address);
          for (let i = count; i-- > count - 1000;) assertEquals(vec.pop(), i * 0.5);
          globalAllocator().check();
        }
        assertEquals(globalAllocator().stats().liveBlocks, 0);
      });
    });
  }
});

describe("Vec", () => {
  it("does what an array does, over 20,000 random operations that make it move", () => {
    using heap = new Heap();
    const random = new Prng(81);
    using vec = new Vec(Int32Array, { allocator: heap });
    const model: number[] = [];
    const inTheWay: number[] = [];
    for (let step = 0; step < 20_000; step++) {
      const value = random.below(2 ** 31);
      const place = random.below(model.length + 1);
      const choice = random.below(100);
      if (choice < 55) {
        assertEquals(vec.push(value), model.push(value));
      } else if (choice < 70) {
        assertEquals(vec.pop(), model.pop());
      } else if (choice < 80) {
        vec.insert(place, value);
        model.splice(place, 0, value);
      } else if (choice < 90 && place < model.length) {
        vec.set(place, value);
        model[place] = value;
        assertEquals(vec.at(place - model.length), value);
      } else if (choice === 97) {
        vec.truncate(place);
        model.length = Math.min(model.length, place);
      } else if (choice === 98) {
        vec.reserve(random.below(1000));
        inTheWay.push(heap.allocate(random.below(5000)));
      } else if (choice === 99) {
        vec.shrinkToFit();
      }
      assertEquals(vec.length, model.length);
      if (step % 100 === 0) {
        assertEquals([...vec], model);
        assertEquals([...vec.asArray()], model);
      }
    }
    heap.check();
  });

  it("works with all eleven types", () => {
    using heap = new Heap();
    const types = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array];
    for (const type of [...types, Float32Array, Float64Array]) {
      using vec = new Vec<typeof type.prototype>(type, { allocator: heap });
      for (let i = 0; i < 100; i++) vec.push(i);
      assertEquals([vec.asArray() instanceof type, vec.at(99), vec.at(-1), vec.length], [true, 99, 99, 100]);
    }
    for (const type of [BigInt64Array, BigUint64Array]) {
      using vec = new Vec<typeof type.prototype>(type, { allocator: heap });
      for (let i = 0n; i < 100n; i++) vec.push(i);
      assertEquals([...vec].reduce((sum, value) => sum + value), 4950n);
      assertThrows(() => vec.push(1 as unknown as bigint), TypeError);
      assertThrows(() => vec.insert(0, 1 as unknown as bigint), TypeError);
      assertEquals([vec.length, vec.at(0)], [100, 0n]);
    }
    assertEquals(heap.stats().liveBlocks, 0);
  });

  it("at(), set() and insert() beyond the length throw RangeError that names index and length", () => {
    using heap = new Heap();
    using vec = new Vec(Uint8Array, { allocator: heap, capacity: 100 });
    for (const value of [1, 2, 3]) vec.push(value);
    for (const index of [3, 99, -4, 1.5, NaN, Infinity]) {
      for (const call of [() => vec.at(index), () => vec.set(index, 0)]) {
        const error = assertThrows(call, RangeError);
        assert(error.message.includes(`index ${index}`) && error.message.includes("length of 3"), error.message);
      }
    }
    for (const index of [4, -1, 0.5]) assertThrows(() => vec.insert(index, 9), RangeError, `index ${index}`);
    assertThrows(() => vec.set(-1, 9), RangeError);
    assertThrows(() => vec.at("1" as unknown as number), TypeError);
    assertEquals([...vec], [1, 2, 3]);
  });

  it("capacity, reserve(), truncate() and shrinkToFit()", () => {
    using heap = new Heap();
    using vec = new Vec(Float64Array, { allocator: heap, capacity: 1000 });
    assert(vec.capacity >= 1000);
    const { address } = vec;
    for (let i = 0; i < 1000; i++) vec.push(i);
    assertEquals(vec.address, address, "push() moved within the capacity");
    vec.reserve(5000);
    assert(vec.capacity >= 6000);
    vec.truncate(10);
    vec.truncate(20);
    assertEquals([vec.length, vec.capacity >= 6000], [10, true]);
    vec.shrinkToFit();
    assert(vec.capacity < 100, `${vec.capacity}`);
    assertEquals([...vec], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    vec.truncate(0);
    vec.shrinkToFit();
    assertEquals([vec.address, vec.capacity, vec.pop(), heap.stats().liveBlocks], [0, 0, undefined, 0]);
    vec.push(1);
    assertEquals([...vec], [1]);
  });

  it("an empty vector holds no block", () => {
    using heap = new Heap();
    using vec = new Vec(Float64Array, { allocator: heap });
    assertEquals([vec.length, vec.address, vec.asArray().length, [...vec], heap.stats().liveBlocks], [0, 0, 0, [], 0]);
  });

  it("iteration goes on when the vector moves meanwhile", () => {
    using heap = new Heap();
    using vec = new Vec(Uint32Array, { allocator: heap });
    for (let i = 0; i < 10; i++) vec.push(i);
    const seen: number[] = [];
    for (const value of vec) {
      seen.push(value);
      if (seen.length <= 1000) vec.push(value + 10);
      heap.allocate(64);
    }
    assertEquals(seen, Array.from({ length: 1010 }, (_, i) => i));
  });

  it("the last block of a bump allocator or arena grows in place", () => {
    for (const allocator of [new BumpAllocator(), new Arena()]) {
      using vec = new Vec(Float64Array, { allocator });
      vec.push(0);
      const { address } = vec;
      for (let i = 1; i < 2000; i++) vec.push(i);
      assertEquals([vec.address, vec.at(1999)], [address, 1999]);
      allocator[Symbol.dispose]();
    }
  });

  it("in a pool it grows up to the slot and then runs out, keeping its elements", () => {
    using pool = new PoolAllocator({ slotSize: 800 });
    using vec = new Vec(Float64Array, { allocator: pool });
    for (let i = 0; i < 100; i++) vec.push(i);
    assertThrows(() => vec.push(100), OutOfMemoryError);
    assertThrows(() => vec.reserve(1), OutOfMemoryError);
    assertEquals([vec.length, vec.at(99)], [100, 99]);
  });

  it("when memory runs out it keeps its elements, and takes what is left before that", () => {
    using bump = new BumpAllocator({ source: fixedPageSource(new ArrayBuffer(4096)), size: 4096 });
    using vec = new Vec(Uint8Array, { allocator: bump });
    assertThrows(() => {
      for (;;) vec.push(vec.length & 255);
    }, OutOfMemoryError);
    assertEquals([vec.length, vec.at(4095)], [4096, 255]);

    const source = failingPageSource(systemPageSource(), Infinity);
    using heap = new Heap({ source });
    using other = new Vec(Uint32Array, { allocator: heap });
    source.rearm(0);
    assertThrows(() => {
      for (;;) other.push(other.length);
    }, OutOfMemoryError);
    other.asArray().forEach((value, i) => assertEquals(value, i));
  });

  it("after dispose, and after its allocator's, it throws UseAfterFreeError and loses no store silently", () => {
    const heap = new Heap();
    const vec = new Vec(Float64Array, { allocator: heap });
    const orphan = new Vec(Float64Array, { allocator: heap });
    for (const each of [vec, orphan]) each.push(1);
    vec[Symbol.dispose]();
    vec[Symbol.dispose]();
    assertEquals(heap.stats().liveBlocks, 1);
    heap[Symbol.dispose]();
    assertThrows(() => orphan.at(0), UseAfterFreeError);
    assertThrows(() => orphan.set(0, 2), UseAfterFreeError);
    for (const each of [vec, orphan]) {
      assertThrows(() => each.push(2), UseAfterFreeError);
      assertThrows(() => each.asArray(), UseAfterFreeError);
      assertThrows(() => each.reserve(10), UseAfterFreeError);
    }
    orphan[Symbol.dispose]();
  });

  it("wrong arguments are TypeError or RangeError", () => {
    using heap = new Heap();
    for (const type of [DataView, Array, undefined, "Uint8Array"]) {
      assertThrows(() => new Vec(type as unknown as Uint8ArrayConstructor, { allocator: heap }), TypeError);
    }
    assertThrows(() => new Vec(Uint8Array, { allocator: heap, capacity: -1 }), RangeError);
    using vec = new Vec(Uint8Array, { allocator: heap });
    assertThrows(() => vec.reserve(1.5), RangeError);
    assertThrows(() => vec.truncate("1" as unknown as number), TypeError);
    assertThrows(() => vec.reserve(2 ** 52), OutOfMemoryError);
    assertEquals(vec.length, 0);
  });
});
