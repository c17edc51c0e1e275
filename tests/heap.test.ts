/**
 * What is particular to `Heap`: regions, recycling, walks over the blocks, several ranges and odd budgets.
 *
 * What holds for every allocator is in heap_conformance.test.ts, what the operating system sees in heap_memory.test.ts.
 * The rest of `Heap` has files of its own: heap_detached.test.ts, heap_extremes.test.ts, heap_limit.test.ts,
 * heap_messages.test.ts, heap_reallocate.test.ts, heap_zeroing.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type Address, fixedPageSource, Heap, InvalidFreeError, OutOfMemoryError, systemPageSource } from "../mod.ts";
import { formatAddress } from "../src/errors.ts";
import { fromEnvironment, randomTest } from "./random.ts";
import { fillUp, recordedHeap } from "./support/heaps.ts";
import { Prng } from "./support/prng.ts";
import { isEmulated } from "./support/runtime.ts";
import { scarceSource } from "./support/scarce_source.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

describe("Heap regions", () => {
  it("an idle heap with one live block wraps a region of 1 MiB and some tables", () => {
    for (const size of [1, 16 * KIB, 100 * KIB]) {
      using heap = new Heap();
      heap.allocate(size);
      const { regions, committedBytes, wrappedBytes, tableBytes } = heap.stats();
      assertEquals([regions, committedBytes], [1, MIB]);
      assertEquals(wrappedBytes, committedBytes + tableBytes);
      assert(wrappedBytes <= 8 * MIB);
      assert(tableBytes <= 128 * KIB, `${tableBytes} bytes of tables`);
    }
  });

  it("a heap that was never used has no region", () => {
    using heap = new Heap();
    const { regions, committedBytes, liveBlocks, peakCommittedBytes } = heap.stats();
    assertEquals([regions, committedBytes, liveBlocks, peakCommittedBytes], [0, 0, 0, 0]);
    heap.check();
  });

  it("start at 1 MiB, and each doubles the heap", () => {
    using heap = new Heap();
    const committed: number[] = [];
    while (heap.stats().committedBytes < 31 * MIB) {
      for (let i = 0; i < 8; i++) heap.allocate(64 * KIB);
      const now = heap.stats().committedBytes / MIB;
      if (committed.at(-1) !== now) committed.push(now);
    }
    assertEquals(committed, [1, 3, 7, 15, 31]);
    assertEquals(heap.layout().regions.map(({ byteLength }) => byteLength / MIB), [1, 2, 4, 8, 16]);
    heap.check();
  });

  it("are kept when they are empty, and given back by trim()", () => {
    using heap = new Heap();
    const addresses = Array.from({ length: 160 }, () => heap.allocate(64 * KIB));
    assertEquals(heap.stats().committedBytes, 15 * MIB);
    const view = heap.view(addresses.at(-1)!);
    for (const address of addresses) heap.free(address);
    assertEquals(heap.stats().committedBytes, 15 * MIB);
    heap.check();
    assert(heap.trim() >= 15 * MIB);
    assertEquals([heap.stats().committedBytes, heap.stats().regions, view.byteLength], [0, 0, 0]);
    assertEquals(heap.stats().peakCommittedBytes, 15 * MIB);
    heap.check();
    assertEquals(heap.trim(), 0);
    heap.free(heap.allocate(1));
    heap.check();
  });

  it("100,000 pairs of allocate and free of every kind leave the memory as it was", { ignore: isEmulated }, () => {
    using heap = new Heap();
    const kept = [100, 10_000, 100_000].map((size) => heap.allocate(size));
    const random = new Prng(5);
    for (let i = 0; i < 20_000; i++) heap.free(heap.allocate(random.below(i % 2 === 0 ? 2000 : 200_000)));
    const { committedBytes, tableBytes, regions } = heap.stats();
    for (let i = 0; i < 100_000; i++) {
      heap.free(heap.allocate(random.chance(90) ? random.below(2000) : random.below(200_000)));
    }
    const after = heap.stats();
    assertEquals([after.committedBytes, after.tableBytes, after.regions], [committedBytes, tableBytes, regions]);
    assertEquals(after.liveBlocks, kept.length);
    heap.check();
  });
});

describe("Heap recycling", () => {
  it("a freed run of 64 KiB is parked, and the next block of its length lies there", () => {
    using heap = new Heap();
    heap.allocate(20 * KIB);
    const address = heap.allocate(64 * KIB);
    heap.allocate(20 * KIB);
    heap.free(address);
    heap.check();
    assertEquals(heap.allocate(61 * KIB), address);
    assertEquals([...heap.blocks()].find((block) => block.address === address)!.requestedSize, 61 * KIB);
    heap.free(address);
    assertEquals(
      assertThrows(() => heap.free(address), InvalidFreeError).message,
      `Cannot free ${formatAddress(address)}: the block is already freed`,
    );
    heap.check();
  });

  it("parked runs are merged when something else needs the space", () => {
    using heap = new Heap();
    const addresses = Array.from({ length: 16 }, () => heap.allocate(64 * KIB));
    assertEquals(heap.stats().committedBytes, MIB);
    for (const address of addresses) heap.free(address);
    assertEquals(heap.allocate(MIB), addresses[0]!);
    assertEquals(heap.stats().committedBytes, MIB);
    heap.check();
  });

  it("parked runs serve pages of small blocks", () => {
    using heap = new Heap();
    const addresses = Array.from({ length: 16 }, () => heap.allocate(64 * KIB));
    for (const address of addresses) heap.free(address);
    for (let i = 0; i < 64; i++) heap.allocate(16 * KIB);
    assertEquals(heap.stats().committedBytes, MIB);
    heap.check();
  });

  it("pages go from one size class to any other", () => {
    using heap = new Heap();
    const sizes = [16, 48, 64, 176, 1000, 2500, 5000, 16 * KIB];
    for (const size of [...sizes, ...sizes.toReversed()]) {
      const addresses = Array.from({ length: Math.floor((400 * KIB) / (size * 1.25 + 16)) }, () => heap.allocate(size));
      assertEquals(heap.stats().committedBytes, MIB, `${size}`);
      heap.check();
      for (const address of addresses) heap.free(address);
      heap.check();
    }
  });

  it("small blocks that no page can serve are served as runs before memory runs out", () => {
    using heap = new Heap({ source: fixedPageSource(new ArrayBuffer(60 * KIB)) });
    const addresses = fillUp(heap, 100);
    assertEquals(addresses.length, 15);
    assertEquals(heap.usableSize(addresses[0]!), 4096);
    heap.check();
  });

  it("idle pages of other classes are given up before memory runs out", () => {
    using heap = new Heap({ source: fixedPageSource(new ArrayBuffer(MIB)) });
    for (const address of fillUp(heap, 64)) heap.free(address);
    assert(heap.tryAllocate(MIB) !== 0);
    heap.check();
  });

  it("alignments below the least are as good as it", () => {
    using heap = new Heap();
    for (const alignment of [1, 2, 4, 8, 16]) {
      const address = heap.allocate(24, alignment);
      assertEquals(address % 16, 0);
      assertEquals([...heap.blocks()].map((block) => block.alignment), [16]);
      heap.free(address);
    }
    heap.check();
  });
});

describe("Heap.blocks()", () => {
  it("may be walked while every block it gives is freed", () => {
    using heap = new Heap();
    const sizes = [10, 3000, 16 * KIB, 20_000, 70_000, 5 * MIB];
    for (let i = 0; i < 300; i++) heap.allocate(sizes[i % sizes.length]!);
    let count = 0;
    for (const { address } of heap.blocks()) {
      heap.free(address);
      count++;
    }
    assertEquals([count, heap.stats().liveBlocks], [300, 0]);
    heap.check();
  });

  it("gives only live blocks while others come and go, and ends", () => {
    using heap = new Heap();
    const random = new Prng(3);
    const live = new Set<Address>();
    for (let i = 0; i < 500; i++) live.add(heap.allocate(random.below(30_000)));
    let steps = 0;
    for (const { address, requestedSize } of heap.blocks()) {
      assert(live.has(address), `${formatAddress(address)} is not live`);
      assert(heap.usableSize(address) >= requestedSize);
      assert(++steps < 3000, "the walk does not end");
      for (let i = 0; i < 3; i++) {
        const victim = [...live][random.below(live.size)]!;
        heap.free(victim);
        live.delete(victim);
        live.add(heap.allocate(random.below(30_000)));
      }
      if (random.chance(5)) heap.trim();
    }
    heap.check();
    assertEquals(new Set([...heap.blocks()].map(({ address }) => address)), live);
  });

  it("ends when the heap is disposed in the middle", () => {
    const heap = new Heap();
    for (let i = 0; i < 10; i++) heap.allocate(1000);
    heap.allocate(20_000);
    heap.allocate(5 * MIB);
    let steps = 0;
    for (const _ of heap.blocks()) {
      steps++;
      heap[Symbol.dispose]();
    }
    assertEquals(steps, 1);
  });
});

describe("Heap over many ranges", () => {
  it("takes range after range, and finds blocks in all of them", { ignore: isEmulated }, () => {
    const { heap, recorder } = recordedHeap(scarceSource(2 * MIB));
    const addresses: Address[] = [];
    for (const size of [50, 1000, 9000, 30_000, 300_000]) {
      for (let i = 0; i < 20 * MIB / size / 5; i++) addresses.push(heap.allocate(size));
    }
    heap.check();
    assert(heap.stats().regions >= 10);
    for (const address of addresses) {
      assert(heap.owns(address) && !heap.owns(address + 1) && !heap.owns(address + 8));
      assertEquals(heap.addressOf(heap.view(address)), address);
    }
    assertEquals(heap.stats().liveBlocks, addresses.length);
    const block = addresses.at(-1)!;
    assertEquals(assertThrows(() => heap.free(block + 4096), InvalidFreeError).kind, "interior");
    for (const address of new Prng(1).shuffle(addresses)) heap.free(address);
    assertEquals(assertThrows(() => heap.free(block), InvalidFreeError).kind, "double");
    heap.check();
    heap.trim();
    assertEquals([heap.stats().liveBlocks, heap.stats().committedBytes], [0, 0]);
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  it("every page can go through every size class", { ignore: isEmulated }, () => {
    const { heap, recorder } = recordedHeap(scarceSource(2 * MIB));
    try {
      for (const size of [16, 32, 48, 64, 80, 4096, 16]) {
        const addresses = Array.from({ length: Math.floor(1.9 * MIB / size) }, () => heap.allocate(size));
        heap.check();
        for (const address of addresses) heap.free(address);
        heap.check();
        assertEquals(heap.stats().liveBlocks, 0);
      }
    } finally {
      heap[Symbol.dispose]();
    }
    assertEquals(recorder.complaint(), "");
  });

  it("a range that cannot serve the alignment it was made for is not followed by another and another", () => {
    const inner = systemPageSource();
    let reserves = 0;
    const wasted: Address[] = [];
    // Every range begins beside a multiple of a mebibyte, so that none has an aligned mebibyte; and no mapping is aligned by itself.
    const { heap, recorder } = recordedHeap({
      ...inner,
      reserve(byteLength, alignment) {
        if (byteLength > MIB || alignment >= MIB || ++reserves > 200) {
          throw new OutOfMemoryError("Cannot reserve: on purpose", byteLength);
        }
        for (;;) {
          const address = inner.reserve(byteLength, alignment);
          if (byteLength !== MIB || address % MIB !== 0) return address;
          // Keep it, so that the next one is elsewhere.
          inner.unmap(address, byteLength);
          wasted.push(inner.reserve(64 * KIB, 16));
        }
      },
    });
    try {
      heap.allocate(100);
      const before = heap.stats();
      assertThrows(() => heap.allocate(MIB, MIB), OutOfMemoryError);
      assertEquals(recorder.violations, []);
      assertEquals(heap.stats().committedBytes, before.committedBytes);
      assert(reserves < 50, `${reserves} reservations`);
      heap.check();
    } finally {
      heap[Symbol.dispose]();
      for (const address of wasted) inner.unmap(address, 64 * KIB);
    }
    assertEquals(recorder.complaint(), "");
  });

  it("20,000 random operations, check() often", { ignore: isEmulated }, () => {
    const options = {
      seed: 11,
      operations: 20_000,
      maxLiveBlocks: 300,
      maxLiveBytes: 2 ** 24,
      checkEvery: 50,
      mayRunOut: true,
    };
    randomTest(() => new Heap({ source: scarceSource(2 * MIB) }), fromEnvironment(options));
  });

  it("20,000 random operations of small blocks", { ignore: isEmulated }, () => {
    const options = {
      seed: 12,
      operations: 20_000,
      maxLiveBlocks: 2000,
      maxLiveBytes: 2 ** 21,
      checkEvery: 200,
      mayRunOut: true,
    };
    randomTest(() => new Heap({ source: scarceSource(256 * KIB) }), fromEnvironment(options));
  });
});

describe("Heap over odd budgets", () => {
  for (const budget of [4 * KIB, 16 * KIB, 100 * KIB, MIB + 4 * KIB, 3 * MIB - 4 * KIB]) {
    it(`${budget} bytes: hands out most of them, and all of them again`, () => {
      using heap = new Heap({ source: fixedPageSource(new ArrayBuffer(budget)) });
      const first = fillUp(heap, 4096).length;
      assert(first * 4096 >= budget * 0.8, `${first} blocks of 4 KiB`);
      heap.check();
      for (const { address } of [...heap.blocks()]) heap.free(address);
      heap.check();
      for (let i = 0; i < 3; i++) {
        const addresses = fillUp(heap, 4096);
        assertEquals(addresses.length, first);
        for (const address of addresses) heap.free(address);
      }
      heap.trim();
      heap.check();
      assertEquals(heap.stats().liveBlocks, 0);
    });

    // The least and the largest are much the same, and each run takes a second.
    if (budget === 4 * KIB || budget > 2 * MIB) continue;
    it(`${budget} bytes: 20,000 random operations`, { ignore: isEmulated }, () => {
      const buffer = new ArrayBuffer(budget);
      const options = {
        seed: budget,
        operations: 20_000,
        maxLiveBlocks: 200,
        maxLiveBytes: budget,
        checkEvery: 100,
      };
      const make = (): Heap => new Heap({ source: fixedPageSource(buffer) });
      randomTest(make, fromEnvironment({ ...options, mayRunOut: true, isolating: false }));
    });
  }

  it("less than a page: no heap", () => {
    const source = fixedPageSource(new ArrayBuffer(1024), { pageSize: 64 });
    assertThrows(() => new Heap({ source }), OutOfMemoryError, "Cannot reserve");
  });

  it("after everything is freed and trimmed, one block can have nearly all of it", () => {
    using heap = new Heap({ source: fixedPageSource(new ArrayBuffer(16 * MIB)) });
    for (const address of fillUp(heap, 4096)) heap.free(address);
    heap.trim();
    assert(heap.tryAllocate(12 * MIB) !== 0);
  });
});
