/**
 * What `PoolAllocator` does beyond the contract: K6 of the catalogue.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, InvalidFreeError, OutOfMemoryError, PoolAllocator, systemPageSource } from "../mod.ts";
import type { PageSource } from "../mod.ts";
import { Prng } from "./support/prng.ts";
import { Recorder } from "./support/recording_source.ts";

function fixed(byteLength: number, pageSize = 4096): PageSource {
  return fixedPageSource(new ArrayBuffer(byteLength), { pageSize });
}

describe("PoolAllocator K6", () => {
  it("slots are distinct, aligned and do not overlap", () => {
    for (const [slotSize, alignment] of [[1, 16], [16, 16], [24, 16], [100, 64], [4096, 4096], [5000, 512]] as const) {
      using pool = new PoolAllocator({ slotSize, alignment, source: fixed(2 ** 20) });
      const slots = Array.from({ length: 50 }, () => pool.allocateSlot()).sort((a, b) => a - b);
      slots.forEach((address, i) => {
        assertEquals(address % alignment, 0);
        if (i > 0) assert(address - slots[i - 1]! >= slotSize, `slots of ${slotSize} bytes overlap`);
        pool.view(address).fill(i);
      });
      slots.forEach((address, i) => assert(pool.view(address).every((byte) => byte === i)));
      pool.check();
    }
  });

  it("the slot freed last is the next one, across regions", () => {
    using pool = new PoolAllocator({ slotSize: 1024, capacity: 4 });
    const slots = Array.from({ length: 40 }, () => pool.allocateSlot());
    const order = new Prng(91).shuffle([...slots]);
    for (const address of order) pool.free(address);
    assertEquals(Array.from({ length: 40 }, () => pool.allocateSlot()), order.reverse());
    assert(pool.stats().regions > 1);
    pool.check();
  });

  it("growable: false has exactly the capacity", () => {
    for (const capacity of [0, 1, 7, 1000]) {
      using pool = new PoolAllocator({ slotSize: 48, capacity, growable: false, source: fixed(65_536) });
      assertEquals([pool.capacity, pool.available], [capacity, capacity]);
      const slots = Array.from({ length: capacity }, () => pool.allocateSlot());
      const error = assertThrows(() => pool.allocateSlot(), OutOfMemoryError);
      assert(error.message.startsWith("Cannot allocate 48 bytes: "), error.message);
      assert(error.message.includes(`${capacity} of ${capacity} are in use`), error.message);
      assertEquals([pool.tryAllocate(1), pool.available], [0, 0]);
      assertEquals(pool.trim(), 0);
      if (capacity > 0) {
        pool.free(slots[0]!);
        assertEquals(pool.allocateSlot(), slots[0]);
      }
      pool.check();
    }
    assertThrows(() => new PoolAllocator({ slotSize: 8, growable: false }), TypeError, "without a capacity");
  });

  it("a growable pool ends only where its source ends", () => {
    using pool = new PoolAllocator({ slotSize: 64, source: fixed(65_536, 64) });
    let slots = 0;
    while (pool.tryAllocate(64) !== 0) slots++;
    assertEquals(slots, 1024);
    pool.check();
  });

  it("preheat() takes the memory at once; the allocations need nothing more, and a failure takes nothing", () => {
    const recorder = new Recorder(systemPageSource());
    using pool = new PoolAllocator({ slotSize: 1000, source: recorder.source });
    pool.preheat(5000);
    assert(pool.available >= 5000);
    const { calls } = recorder;
    for (let i = 0; i < 5000; i++) pool.allocateSlot();
    assertEquals(recorder.calls, calls);
    const before = pool.stats();
    recorder.failAfter(0);
    assertThrows(() => pool.preheat(100_000), OutOfMemoryError);
    assertThrows(() => pool.preheat(2 ** 50), OutOfMemoryError);
    recorder.rearm();
    assertEquals(pool.stats(), before);
    using small = new PoolAllocator({ slotSize: 8, capacity: 10, growable: false, source: fixed(4096) });
    small.preheat(10);
    assertThrows(() => small.preheat(11), OutOfMemoryError);
  });

  it("writes to freed slots and to the whole region corrupt nothing", () => {
    using pool = new PoolAllocator({ slotSize: 32, capacity: 100, growable: false, source: fixed(4096) });
    const slots = Array.from({ length: 100 }, () => pool.allocateSlot());
    const view = pool.view(slots[50]!);
    for (let i = 0; i < 100; i += 2) pool.free(slots[i]!);
    view.fill(0xff);
    new Uint8Array(view.buffer).fill(0x41);
    pool.check();
    const again = Array.from({ length: 50 }, () => pool.allocateSlot());
    assertEquals(new Set([...again, ...slots.filter((_, i) => i % 2 === 1)]).size, 100);
    pool.check();
  });

  it("a second, an interior and a foreign free are told apart; so is the gap behind a slot", () => {
    using pool = new PoolAllocator({ slotSize: 40, source: fixed(65_536) });
    const [a, b] = [pool.allocateSlot(), pool.allocateSlot()];
    pool.free(a);
    const kinds = [a, b + 8, b + 39, b + 40, b + 48, b + 4800, 16].map((address) =>
      assertThrows(() => pool.free(address), InvalidFreeError).kind
    );
    assertEquals(kinds, ["double", "interior", "interior", "foreign", "foreign", "foreign", "foreign"]);
  });
});

describe("PoolAllocator", () => {
  it("array() without a length covers the slot, and RangeError says what fits", () => {
    using pool = new PoolAllocator({ slotSize: 3 * 8 + 4, source: fixed(65_536) });
    assertEquals(pool.array(Float64Array).length, 3);
    assertEquals(pool.array(Uint8Array).length, 28);
    assertEquals(pool.array(Uint16Array, 5).length, 5);
    assertEquals(pool.array(Float64Array, 0).length, 0);
    const error = assertThrows(() => pool.array(Float64Array, 4), RangeError);
    assert(error.message.includes("4 elements") && error.message.includes("3 fit"), error.message);
    assertThrows(() => pool.array(Float64Array, undefined), TypeError);
    using tiny = new PoolAllocator({ slotSize: 4, source: fixed(4096) });
    assertThrows(() => tiny.array(Float64Array), RangeError);
    assertEquals(pool.stats().liveBlocks, 4);
  });

  it("trim() gives empty regions back, keeps the others, and keeps the order of the free list", () => {
    using pool = new PoolAllocator({ slotSize: 4096, capacity: 16 });
    const slots = Array.from({ length: 200 }, () => pool.allocateSlot());
    const kept = slots[100]!;
    pool.view(kept).fill(5);
    for (const address of slots) if (address !== kept) pool.free(address);
    const before = pool.stats();
    const given = pool.trim();
    const after = pool.stats();
    assertEquals([after.regions, before.committedBytes - after.committedBytes], [1, given]);
    assertEquals([pool.trim(), pool.owns(kept), pool.view(kept)[9]], [0, true, 5]);
    pool.check();
    // The freed neighbours that are still there come back in reverse order.
    const inRegion = slots.filter((address) => address !== kept && Math.abs(address - kept) < after.committedBytes);
    const again = pool.allocateSlot();
    assert(inRegion.includes(again) || slots.includes(again));
    pool.free(kept);
    pool.free(again);
    assertEquals([pool.trim(), pool.stats().committedBytes], [after.committedBytes, 0]);
    pool.free(pool.allocateSlot());
    pool.check();
  });

  it("a walk survives trim() and frees", () => {
    using pool = new PoolAllocator({ slotSize: 4096, capacity: 4 });
    for (let i = 0; i < 60; i++) pool.allocateSlot();
    let seen = 0;
    for (const { address } of pool.blocks()) {
      pool.free(address);
      if (seen++ % 7 === 0) pool.trim();
    }
    assertEquals([seen, pool.stats().liveBlocks], [60, 0]);
    pool.check();
  });

  it("wrong options are TypeError or RangeError", () => {
    const source = fixed(4096);
    for (const slotSize of [0, -1, 1.5, NaN, 2 ** 26]) {
      assertThrows(() => new PoolAllocator({ slotSize, source }), RangeError, `${slotSize}`);
    }
    assertThrows(() => new PoolAllocator({ slotSize: "8" as unknown as number, source }), TypeError);
    assertThrows(() => new PoolAllocator({ slotSize: 8, alignment: 24, source }), RangeError, "24");
    assertThrows(() => new PoolAllocator({ slotSize: 8, capacity: -1, source }), RangeError);
    assertThrows(() => new PoolAllocator({ slotSize: 8, growable: 1 as unknown as boolean, source }), TypeError);
    assertThrows(() => new PoolAllocator({ slotSize: 8, capacity: 4096, source }), OutOfMemoryError);
    new PoolAllocator({ slotSize: 8, capacity: 256, source })[Symbol.dispose]();
  });
});
