/**
 * The `secure` options of `Heap`: clearing, random placement, delayed reuse; and the queue behind the last.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Address,
  CorruptionError,
  DebugAllocator,
  fixedPageSource,
  Heap,
  type HeapOptions,
  InvalidFreeError,
  type SecureOptions,
} from "../mod.ts";
import { Blocks } from "../src/blocks.ts";
import { DelayedFrees } from "../src/delayed_frees.ts";
import { DELAYED, DELAYED_LINK } from "../src/page_table.ts";
import { RandomNumbers } from "../src/random_numbers.ts";
import { allocateMany } from "./support/blocks.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** One of the three alone. */
const ONLY = {
  zero: { randomPlacement: false, delayedReuse: false },
  random: { zeroOnFree: false, delayedReuse: false },
  delay: { zeroOnFree: false, randomPlacement: false },
} as const satisfies Record<string, SecureOptions>;

/** Small, large and parked, and large and merged. */
const SIZES = [48, 5000, 100_000, 2 * MIB];

function isZero(bytes: Uint8Array): boolean {
  return bytes.length > 0 && bytes.every((byte) => byte === 0);
}

describe("Heap options", () => {
  it("refuse secure options of the wrong type or value, naming them", () => {
    const cases: [unknown, typeof TypeError | typeof RangeError, string][] = [
      [1, TypeError, "Cannot use 1 as secure: it must be a boolean or an object of options"],
      [null, TypeError, "Cannot use null as secure"],
      [{ zeroOnFree: 1 }, TypeError, "Cannot use 1 as secure.zeroOnFree: it must be a boolean"],
      [{ randomPlacement: "yes" }, TypeError, 'Cannot use "yes" as secure.randomPlacement'],
      [{ delayedReuse: 5 }, TypeError, "Cannot use 5 as secure.delayedReuse"],
      [{ delayedReuse: { blocks: 0 } }, RangeError, "Cannot use 0 as secure.delayedReuse.blocks"],
      [{ delayedReuse: { blocks: 2 ** 20 + 1 } }, RangeError, "it must be from 1 to 2^20"],
      [{ delayedReuse: { bytes: -1 } }, RangeError, "Cannot use -1 as secure.delayedReuse.bytes"],
      [{ seed: 0.5 }, RangeError, "Cannot use 0.5 as secure.seed"],
    ];
    for (const [secure, type, message] of cases) {
      assertThrows(() => new Heap({ secure } as HeapOptions), type, message);
    }
  });

  it("secure: false is a plain heap", () => {
    using heap = new Heap({ secure: false });
    const address = heap.allocate(64);
    heap.view(address).fill(7);
    heap.free(address);
    assertEquals(heap.allocate(64), address);
    assertEquals(heap.view(address)[63], 7);
  });
});

describe("a secure Heap clears", () => {
  for (const [name, options] of Object.entries({ secure: { secure: ONLY.zero }, zeroOnFree: { zeroOnFree: true } })) {
    it(`what is freed (${name})`, () => {
      using heap = new Heap(options);
      for (const size of SIZES) {
        const address = heap.allocate(size);
        const view = heap.view(address, heap.usableSize(address));
        view.fill(7);
        heap.free(address);
        assert(isZero(view), `${size} bytes`);
      }
    });

    it(`what is cut off a block, and where a block moved from (${name})`, () => {
      using heap = new Heap(options);
      for (const size of SIZES) {
        const address = heap.allocate(size);
        const view = heap.view(address, heap.usableSize(address));
        view.fill(7);
        assert(heap.resize(address, size - 8));
        assert(isZero(view.subarray(size - 8)) && view[size - 9] === 7, `the end of ${size} bytes`);
        const moved = heap.reallocate(address, 3 * MIB);
        if (moved !== address) assert(isZero(view), `${size} bytes after they moved`);
        assertEquals(heap.view(moved)[size - 9], 7);
        heap.free(moved);
      }
      heap.check();
    });

    it(`what a wrapper fills when it is freed (${name})`, () => {
      using heap = new Heap(options);
      using wrapper = new DebugAllocator(heap);
      for (const size of SIZES) {
        for (const make of [() => wrapper.allocate(size), () => wrapper.buffer(size).address]) {
          const address = make();
          const [block] = heap.blocks();
          const view = heap.view(block!.address, block!.usableSize);
          wrapper.free(address);
          assert(isZero(view), `${size} bytes`);
        }
      }
      heap.check();
    });
  }

  it("what a limit counts", () => {
    using heap = new Heap({ limit: 1000, secure: true });
    for (let i = 0; i < 5000; i++) heap.free(heap.allocate(900));
    const address = heap.allocate(1000);
    assertEquals(heap.tryAllocate(1), 0);
    heap.free(address);
    heap.free(heap.allocate(1000));
    heap.check();
  });
});

describe("a secure Heap places at random", () => {
  it("the blocks of a page, each slot once", () => {
    using heap = new Heap({ secure: ONLY.random });
    for (const size of [16, 64, 1000, 16 * KIB]) {
      const slots = Math.min(4095, Math.floor(65_536 / heap.usableSize(heap.allocate(size))));
      const rest = allocateMany(heap, slots - 1, size);
      const first = [...heap.blocks()].map((block) => block.address).filter((address) => !rest.includes(address)).at(
        -1,
      )!;
      const all = [first, ...rest];
      assertEquals(new Set(all).size, slots);
      assertEquals(new Set(all.map((address) => Math.floor(address / 65_536))).size, 1, "one page");
      if (slots > 4) assertNotEquals(all, [...all].sort((a, b) => a - b), `${size} bytes`);
    }
    heap.check();
  });

  it("every slot of a page first, equally often", () => {
    // 64 slots of 1 KiB; the first block of 1,280 heaps: 20 for each slot.
    const counts = new Array<number>(64).fill(0);
    const random = new RandomNumbers(3);
    for (let i = 0; i < 1280; i++) {
      using blocks = disposable(new Blocks(fixedPageSource(new ArrayBuffer(128 * KIB)), { random, delay: undefined }));
      const address = blocks.value.allocate(KIB, 16);
      counts[(address % 65_536) / KIB]!++;
    }
    // Chi-squared with 63 degrees of freedom: above 130 once in a million seeds.
    const chi = counts.reduce((sum, count) => sum + (count - 20) ** 2 / 20, 0);
    assert(chi < 130, `${chi}: ${counts}`);
  });

  it("and hands a freed slot out again soon, but not next", () => {
    using heap = new Heap({ secure: { ...ONLY.random, seed: 4 } });
    allocateMany(heap, 500, 64);
    let next = 0;
    for (let i = 0; i < 1600; i++) {
      const address = heap.allocate(64);
      heap.free(address);
      const again = heap.allocate(64);
      if (again === address) next++;
      heap.free(again);
    }
    // One in sixteen, give or take.
    assert(next > 40 && next < 200, `${next} of 1600`);
    heap.check();
  });

  it("the same again from the same seed, and otherwise from another", () => {
    const orderOf = (secure: SecureOptions): number[] => {
      using heap = new Heap({ secure });
      const [first, ...others] = allocateMany(heap, 100, 64);
      return others.map((address) => address - first!);
    };
    assertEquals(orderOf({ ...ONLY.random, seed: 5 }), orderOf({ ...ONLY.random, seed: 5 }));
    assertNotEquals(orderOf({ ...ONLY.random, seed: 5 }), orderOf({ ...ONLY.random, seed: 6 }));
    assertNotEquals(orderOf(ONLY.random), orderOf(ONLY.random));
  });
});

describe("a secure Heap delays reuse", () => {
  for (const size of SIZES) {
    it(`of blocks of ${size} bytes: a freed one is not given out before so many others were freed`, () => {
      const blocks = 10;
      using heap = new Heap({ secure: { ...ONLY.delay, delayedReuse: { blocks, bytes: 64 * MIB } } });
      for (let round = 0; round < 20; round++) {
        const address = heap.allocate(size);
        heap.free(address);
        for (let i = 0; i < blocks - 1; i++) {
          const other = heap.allocate(size);
          assertNotEquals(other, address);
          heap.free(other);
        }
        heap.check();
      }
      // Of eleven places, which are used in turn.
      const places = new Set(Array.from({ length: 100 }, () => {
        const address = heap.allocate(size);
        heap.free(address);
        return address;
      }));
      assertEquals(places.size, blocks + 1);
    });

    it(`of blocks of ${size} bytes: a delayed one is no live block in any way`, () => {
      using heap = new Heap({ secure: ONLY.delay });
      const kept = heap.allocate(size);
      const before = { blocks: [...heap.blocks()], layout: heap.layout(), stats: heap.stats() };
      const address = heap.allocate(size);
      heap.free(address);
      assert(!heap.owns(address));
      const double = assertThrows(() => heap.free(address), InvalidFreeError, "the block is already freed");
      assertEquals(double.kind, "double");
      for (const method of ["view", "usableSize"] as const) assertThrows(() => heap[method](address), InvalidFreeError);
      assertThrows(() => heap.reallocate(address, 1), InvalidFreeError);
      assertThrows(() => heap.free(address + 16), InvalidFreeError);
      assertEquals([...heap.blocks()], before.blocks);
      assertEquals([heap.stats().liveBlocks, heap.stats().liveBytes], [
        before.stats.liveBlocks,
        before.stats.liveBytes,
      ]);
      const live = (): number => heap.layout().sizeClasses.reduce((sum, { liveBlocks }) => sum + liveBlocks, 0);
      assertEquals(live(), before.layout.sizeClasses.reduce((sum, { liveBlocks }) => sum + liveBlocks, 0));
      heap.check();
      heap.free(kept);
      heap.check();
    });
  }

  it("of so many bytes at the most, and not at all of a block that is larger", () => {
    using heap = new Heap({ secure: { ...ONLY.delay, delayedReuse: { bytes: 10_000 } } });
    const small = heap.allocate(1000);
    heap.free(small);
    const large = heap.allocate(20_000);
    heap.free(large);
    assertEquals(heap.allocate(20_000), large, "too large to be delayed");
    const places = new Set<Address>();
    for (let i = 0; i < 100; i++) {
      const address = heap.allocate(1000);
      heap.free(address);
      places.add(address);
    }
    // Nine blocks of 1 KiB are delayed, and one is freed before it is asked for again.
    assertEquals(places.size, 10);
    heap.check();
  });

  it("of an owned block, whose views are detached at once", () => {
    using heap = new Heap({ secure: true });
    const buffer = heap.buffer(100);
    const { address, bytes } = buffer;
    buffer.free();
    assertEquals(bytes.length, 0);
    assertThrows(() => heap.free(address), InvalidFreeError, "already freed");
    assertNotEquals(heap.allocate(100), address);
    heap.check();
  });

  it("until trim(), which gives the memory back", () => {
    using heap = new Heap({ secure: { ...ONLY.delay, delayedReuse: { bytes: 64 * MIB } } });
    const addresses = allocateMany(heap, 40, MIB);
    for (const address of addresses) heap.free(address);
    heap.check();
    assert(heap.stats().committedBytes > 40 * MIB);
    assert(heap.trim() >= 40 * MIB);
    heap.check();
    assertEquals(heap.stats().committedBytes, 0);
  });

  it("until memory is short", () => {
    using heap = new Heap({
      source: fixedPageSource(new ArrayBuffer(MIB)),
      secure: { ...ONLY.delay, delayedReuse: { bytes: MIB } },
    });
    for (const size of [300_000, 1000, 900_000]) {
      const addresses: Address[] = [];
      for (let address = heap.tryAllocate(size); address !== 0; address = heap.tryAllocate(size)) {
        addresses.push(address);
      }
      assert(addresses.length * size > MIB / 2, `${addresses.length} blocks of ${size}`);
      for (const address of addresses) heap.free(address);
      heap.check();
    }
  });

  it("in every range", () => {
    const source = fixedPageSource(new ArrayBuffer(8 * MIB));
    using heap = new Heap({ source, secure: { ...ONLY.delay, delayedReuse: { blocks: 100, bytes: 8 * MIB } } });
    const addresses = [
      ...allocateMany(heap, 3, 2 * MIB - 100_000),
      ...allocateMany(heap, 40, 5000),
      ...allocateMany(heap, 5, 60_000),
    ];
    for (const address of addresses) heap.free(address);
    heap.check();
    for (const address of addresses) assertThrows(() => heap.free(address), InvalidFreeError, "already freed");
    heap.trim();
    heap.check();
    assertEquals(heap.stats().liveBlocks, 0);
  });
});

describe("check() of a heap that delays reuse", () => {
  function delaying(): Blocks {
    const delay = { blocks: 10, bytes: MIB };
    return new Blocks(fixedPageSource(new ArrayBuffer(MIB)), { random: undefined, delay });
  }

  function free(blocks: Blocks, size: number): Address {
    const address = blocks.allocate(size, 16);
    blocks.release(blocks.find(address)!);
    blocks.check();
    return address;
  }

  it("finds a slot that is marked and not in the queue", () => {
    const blocks = delaying();
    const address = blocks.allocate(64, 16);
    const block = blocks.find(address)!;
    block.pages!.delay(block.granule, block.link);
    assertThrows(() => blocks.check(), CorruptionError, "1 are marked, 0 are in the queue");
    blocks.dispose();
  });

  it("finds a slot that is in the queue and not marked", () => {
    const blocks = delaying();
    const address = free(blocks, 64);
    const [pages] = blocks.ranges;
    const { base } = pages!.range;
    pages!.links[pages!.linkIndex((address - base) / 16)] = 4096;
    assertThrows(() => blocks.check(), CorruptionError, "0 slots are delayed, 1 are counted");
    pages!.range.pages[((address - base) / 4096 & -16) + DELAYED] = 0;
    assertThrows(() => blocks.check(), CorruptionError, "it is not delayed, or twice");
    pages!.links[pages!.linkIndex((address - base) / 16)] = DELAYED_LINK;
    assertThrows(() => blocks.check(), CorruptionError, "1 slots are delayed, 0 are counted");
    blocks.dispose();
  });

  it("finds a run that is marked and not counted", () => {
    const blocks = delaying();
    free(blocks, 100_000);
    blocks.ranges[0]!.range.runs.delayedRuns = 0;
    assertThrows(() => blocks.check(), CorruptionError, "1 runs are delayed, 0 are counted");
    blocks.dispose();
  });
});

describe("DelayedFrees", () => {
  it("gives out what was added first, when there are too many blocks or bytes", () => {
    const delayed = new DelayedFrees({ blocks: 3, bytes: 100 });
    const leaving: Address[] = [];
    for (const [address, size] of [[1, 10], [2, 10], [3, 10], [4, 10], [5, 75], [6, 100], [7, 1]] as const) {
      delayed.add(address, size);
      for (let oldest = delayed.surplus(); oldest !== 0; oldest = delayed.surplus()) leaving.push(oldest);
      delayed.check(() => true);
    }
    assertEquals(leaving, [1, 2, 3, 4, 5, 6]);
    assertEquals([delayed.count, delayed.byteLength, delayed.drain(), delayed.drain()], [1, 1, 7, 0]);
  });

  it("takes no block above its bytes", () => {
    const delayed = new DelayedFrees({ blocks: 3, bytes: 100 });
    assertEquals([delayed.takes(100), delayed.takes(101)], [true, false]);
  });

  it("check() finds a block that is twice in it, bytes that are miscounted, and a bound that is passed", () => {
    const twice = new DelayedFrees({ blocks: 3, bytes: 100 });
    twice.add(16, 10);
    twice.add(16, 10);
    assertThrows(() => twice.check(() => true), CorruptionError, "or twice");
    const miscounted = new DelayedFrees({ blocks: 3, bytes: 100 });
    miscounted.add(16, 10);
    miscounted.byteLength = 20;
    assertThrows(() => miscounted.check(() => true), CorruptionError, "miscounted");
    const many = new DelayedFrees({ blocks: 3, bytes: 100 });
    for (const address of [1, 2, 3, 4]) many.add(address, 1);
    assertThrows(() => many.check(() => true), CorruptionError, "too many");
  });
});

/** A value to be disposed at the end of a scope. */
function disposable(value: Blocks): Disposable & { readonly value: Blocks } {
  return { value, [Symbol.dispose]: () => value.dispose() };
}
