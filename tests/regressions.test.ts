/**
 * One test for each bug that was found from outside, named after what went wrong.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {
  type Address,
  CorruptionError,
  Heap,
  OutOfMemoryError,
  type PageSource,
  rustyMalloc,
  systemPageSource,
} from "../mod.ts";

const MIB = 2 ** 20;

describe("bugs that were found from outside", () => {
  it("a view that native code was working on at dispose crashed when it was read afterwards (Bun)", async () => {
    const file = path.join(os.tmpdir(), `offheap-${Math.random().toString(36).slice(2)}`);
    const descriptor = fs.openSync(file, "w");
    const heap = new Heap();
    const view = heap.view(heap.allocate(2 * MIB)).fill(7);
    const written = new Promise<void>((resolve) => fs.write(descriptor, view, () => resolve()));
    heap[Symbol.dispose]();
    // Empty where it could be detached, readable where the runtime held on to it; never a crash.
    assert(view[0] === undefined || typeof view[0] === "number");
    await written;
    assert(view[0] === undefined || typeof view[0] === "number");
    fs.closeSync(descriptor);
    fs.rmSync(file);
  });

  it("a replaced transfer method left views of unmapped memory behind", () => {
    const heap = new Heap();
    const view = heap.view(heap.allocate(100));
    Object.defineProperty(view.buffer, "transfer", { value() {} });
    const buffer = heap.buffer(100);
    const { bytes } = buffer;
    Object.setPrototypeOf(bytes, {});
    heap[Symbol.dispose]();
    assertEquals(view.length, 0);
  });

  it("a heap's page source could be replaced", () => {
    using heap = new Heap();
    assertThrows(() => {
      (heap as { source: unknown }).source = {};
    }, TypeError);
    assertThrows(() => {
      (systemPageSource() as { unwrap: unknown }).unwrap = () => {};
    }, TypeError);
  });

  it("a heap could not be made when its tables did not fit beside the largest range", () => {
    const system = systemPageSource();
    let left = 3 * 2 ** 30;
    const held = new Map<number, number>();
    const scarce: PageSource = {
      ...system,
      reserve(byteLength, alignment) {
        if (byteLength > left) throw new OutOfMemoryError("Cannot reserve: no address space is left", byteLength);
        const address = system.reserve(byteLength, alignment);
        held.set(address, byteLength);
        left -= byteLength;
        return address;
      },
      unmap(address, byteLength) {
        system.unmap(address, byteLength);
        held.delete(address);
        left += byteLength;
      },
    };
    const heap = new Heap({ source: scarce });
    const addresses = [16, 5000, 100_000].map((size) => heap.allocate(size));
    for (const address of addresses) heap.free(address);
    heap.check();
    heap[Symbol.dispose]();
    assertEquals([held.size, left], [0, 3 * 2 ** 30]);
  });

  it("a huge block was copied at every step of its growth", () => {
    using heap = new Heap();
    let address = heap.allocate(5 * MIB);
    heap.view(address).fill(3);
    let moves = 0;
    for (let size = 5 * MIB; size <= 40 * MIB; size += 64 * 1024) {
      const next = heap.reallocate(address, size);
      if (next !== address) moves++;
      address = next;
    }
    assert(moves <= 8, `it moved ${moves} times`);
    assert(heap.view(address, 5 * MIB).every((byte) => byte === 3));
    heap.check();
  });

  it("a page source that allocated from its own heap corrupted it", () => {
    const system = systemPageSource();
    let heap: Heap | undefined;
    let thrown: unknown;
    const source: PageSource = {
      ...system,
      commit(address, byteLength) {
        const calledBack = heap;
        heap = undefined;
        try {
          calledBack?.allocate(50_000);
        } catch (error) {
          thrown = error;
        }
        system.commit(address, byteLength);
      },
    };
    using made = new Heap({ source });
    const first = made.allocate(50_000);
    heap = made;
    const large = Array.from({ length: 100 }, () => made.allocate(50_000));
    assert(thrown instanceof CorruptionError, `${thrown}`);
    made.check();
    for (const address of [first, ...large]) made.free(address);
    assertEquals(made.stats().liveBlocks, 0);
  });

  it("a subclass of a typed array ran its code in the middle of resize() and lost a block", () => {
    using heap = new Heap();
    const buffer = heap.buffer(1000);
    class Hostile extends Uint8Array {}
    Object.defineProperty(Hostile, Symbol.species, {
      get() {
        throw new Error("not here");
      },
    });
    Object.defineProperty(buffer.bytes, "constructor", { value: Hostile });
    buffer.bytes.fill(5);
    buffer.resize(100);
    assertEquals([buffer.byteLength, buffer.bytes[99], heap.stats().liveBlocks], [100, 5, 1]);
  });

  it("array() believed what a class said of the size of its elements", () => {
    using heap = new Heap();
    class Small extends Float64Array {
      static override readonly BYTES_PER_ELEMENT = 1 as 8;
    }
    assertThrows(() => heap.array(Small, 10), TypeError, "Cannot use the array type");
    assertEquals(heap.stats().liveBlocks, 0);
  });

  it("a page source that wrapped nothing was asked for ever", () => {
    const source: PageSource = { ...systemPageSource(), wrap: () => new Uint8Array(0) };
    assertThrows(() => new Heap({ source }), CorruptionError, "the page source wrapped 0 of them");
  });

  it("trim() of a region that had grown discarded across two reservations, which Windows refuses", () => {
    const system = systemPageSource();
    const base = system.reserve(64 * MIB, MIB);
    const reserved: [Address, Address][] = [];
    let discards = 0;
    const source: PageSource = {
      ...system,
      // One after the other, so that all touch.
      reserve(byteLength) {
        const from = reserved.at(-1)?.[1] ?? base;
        reserved.push([from, from + byteLength]);
        return from;
      },
      discard(address, byteLength) {
        discards++;
        const holds = ([from, to]: [Address, Address]): boolean => address >= from && address + byteLength <= to;
        assert(reserved.some(holds), "a discard across two reservations");
        system.discard(address, byteLength);
      },
      unmap(address, byteLength) {
        system.decommit(address, byteLength);
      },
    };
    const allocator = rustyMalloc({ source });
    const blocks = Array.from({ length: 40 }, () => allocator.allocate(200_000));
    assert(reserved.length > 1);
    for (const address of blocks.slice(0, -1)) allocator.free(address);
    allocator.trim();
    assert(discards > 0);
    allocator.check();
    allocator[Symbol.dispose]();
    system.unmap(base, 64 * MIB);
  });
});
