/**
 * What is particular to `Heap`: regions, recycling, several ranges, odd budgets, the limit, clearing, and every message.
 * What holds for every allocator is in heap_conformance.test.ts, what the operating system sees in heap_memory.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import process from "node:process";
import {
  type Address,
  CorruptionError,
  DebugAllocator,
  DisposedError,
  fixedPageSource,
  Heap,
  type HeapOptions,
  InvalidFreeError,
  type NativeBuffer,
  OutOfMemoryError,
  type PageSource,
  systemPageSource,
  UseAfterFreeError,
} from "../mod.ts";
import { fromEnvironment, randomTest } from "./random.ts";
import { Prng } from "./support/prng.ts";
import { Recorder } from "./support/recording_source.ts";
import { scarceSource } from "./support/scarce_source.ts";

/** Whether an emulator runs this, on which the long tests would take minutes and find nothing more. */
const EMULATED = (process.env["OFFHEAP_RUNTIME"] ?? "") !== "";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** A heap over a recorded source. */
function recorded(source: PageSource, options: HeapOptions = {}): { heap: Heap; recorder: Recorder } {
  const recorder = new Recorder(source);
  return { heap: new Heap({ ...options, source: recorder.source }), recorder };
}

/** Allocates until memory runs out. */
function fillUp(heap: Heap, size: number): Address[] {
  const addresses: Address[] = [];
  for (let address = heap.tryAllocate(size); address !== 0; address = heap.tryAllocate(size)) addresses.push(address);
  return addresses;
}

function hex(address: Address): string {
  return `0x${address.toString(16)}`;
}

/** The message of what an action throws, which must be of this class. */
// deno-lint-ignore no-explicit-any
function messageOf(action: () => unknown, type: new (...args: any[]) => Error): string {
  return assertThrows(action, type).message;
}

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

  it("100,000 pairs of allocate and free of every kind leave the memory as it was", { ignore: EMULATED }, () => {
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
      messageOf(() => heap.free(address), InvalidFreeError),
      `Cannot free ${hex(address)}: the block is already freed`,
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

describe("Heap.allocateZeroed()", () => {
  it("clears what was used, in every kind of block", { ignore: EMULATED }, () => {
    using heap = new Heap();
    for (const size of [1, 16, 100, 256, 257, 5000, 16 * KIB, 20_000, 64 * KIB, MIB, 4 * MIB, 5 * MIB]) {
      for (const alignment of size > MIB ? [16] : [16, 64, 4096]) {
        const address = heap.allocate(size, alignment);
        heap.view(address).fill(255);
        heap.free(address);
        const zeroed = heap.allocateZeroed(size, alignment);
        assertEquals(heap.view(zeroed).findIndex((byte) => byte !== 0), -1, `${size} at ${alignment}`);
        heap.view(zeroed).fill(255);
        heap.free(zeroed);
      }
    }
  });

  it("does not touch memory that is fresh: a huge block is not even wrapped", () => {
    const { heap, recorder } = recorded(systemPageSource());
    heap.allocate(1);
    const { calls } = recorder;
    heap.allocateZeroed(64 * MIB);
    assertEquals(recorder.calls - calls, 2, "reserve and commit");
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  it("is right with OS pages of 16 KiB, after trim() too", () => {
    const recorder = new Recorder(systemPageSource(), { pageSize: 16 * KIB });
    const heap = new Heap({ source: recorder.source });
    try {
      heap.allocate(32 * KIB);
      const address = heap.allocate(20 * KIB);
      heap.view(address).fill(255);
      heap.free(address);
      heap.trim();
      const zeroed = heap.view(heap.allocateZeroed(20 * KIB));
      assertEquals(zeroed.findIndex((byte) => byte !== 0), -1);
    } finally {
      heap[Symbol.dispose]();
    }
    assertEquals(recorder.complaint(), "");
  });
});

describe("Heap.reallocate()", () => {
  it("keeps the bits of every NaN in blocks of every size", () => {
    using heap = new Heap();
    const patterns = [
      0x7ff0000000000001n,
      0xfff7ffffffffffffn,
      0x7ff8000000000001n,
      0xffffffffffffffffn,
      0xfff0dead0000beefn,
    ];
    for (const count of [1, 2, 7, 16, 17, 100, 3000]) {
      let address = heap.allocate(count * 8);
      const words = new BigUint64Array(heap.view(address).buffer, heap.view(address).byteOffset, count);
      for (let i = 0; i < count; i++) words[i] = patterns[i % patterns.length]!;
      const before = heap.view(address, count * 8).slice();
      // Through a Float64Array the engine may change them; nobody else does.
      assert(new Float64Array(words.buffer, words.byteOffset, count).every((value) => Number.isNaN(value)));
      for (const factor of [4, 40, 1]) {
        address = heap.reallocate(address, count * 8 * factor);
        assertEquals(heap.view(address, count * 8), before, `${count} doubles, ${factor} times as large`);
      }
    }
    heap.check();
  });

  it("moves between all kinds of blocks and keeps alignment and contents", { ignore: EMULATED }, () => {
    using heap = new Heap();
    const sizes = [10, 1000, 16 * KIB, 40_000, MIB, 5 * MIB];
    for (const from of sizes) {
      for (const to of sizes) {
        const first = heap.allocate(from, 256);
        const view = heap.view(first);
        for (let i = 0; i < from; i += 97) view[i] = i;
        const moved = heap.reallocate(first, to);
        const after = heap.view(moved);
        assertEquals([moved % 256, after.length], [0, to]);
        for (let i = 0; i < Math.min(from, to); i += 97) {
          if (after[i] !== (i & 255)) assertEquals(after[i], i & 255, `${from} to ${to} at ${i}`);
        }
        heap.free(moved);
      }
    }
    heap.check();
  });

  it("leaves no block behind when the contents cannot be copied", () => {
    const source = systemPageSource();
    let fails = false;
    const { heap, recorder } = recorded({
      ...source,
      wrap(address, byteLength) {
        if (fails) throw new OutOfMemoryError("Cannot wrap: on purpose", byteLength);
        return source.wrap(address, byteLength);
      },
      move: undefined,
    });
    const address = heap.allocate(5 * MIB);
    fails = true;
    assertThrows(() => heap.reallocate(address, 9 * MIB), OutOfMemoryError, "on purpose");
    fails = false;
    assertEquals([...heap.blocks()].map((block) => block.address), [address]);
    heap.check();
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  it("a block whose old place cannot be freed is as it was, also when its OS pages had been moved", () => {
    const { buffers: _, ...inner } = systemPageSource();
    for (const hasMove of [true, false]) {
      if (hasMove && inner.move === undefined) continue;
      let copied = false;
      const source: PageSource = {
        ...inner,
        move: hasMove
          ? (from, to, byteLength) => {
            copied = true;
            return inner.move!(from, to, byteLength);
          }
          : undefined,
        unwrap(bytes) {
          // The wrap of the block itself, which is ended when it is freed; pieces that are copied have one of their own.
          const isBlock = bytes.buffer === view.buffer;
          if (isBlock && copied) {
            copied = false;
            throw new EvalError("odd");
          }
          copied ||= !isBlock;
          inner.unwrap(bytes);
        },
      };
      using heap = new Heap({ source });
      const address = heap.allocate(5 * MIB);
      const view = heap.view(address);
      view.fill(7);
      assertThrows(() => heap.reallocate(address, 20 * MIB), EvalError, "odd");
      assertEquals([heap.owns(address), heap.stats().liveBlocks], [true, 1]);
      assertEquals([heap.view(address)[0], heap.view(address)[5 * MIB - 1]], [7, 7]);
      heap.check();
      heap.free(address);
    }
  });
});

describe("Heap over many ranges", () => {
  it("takes range after range, and finds blocks in all of them", { ignore: EMULATED }, () => {
    const { heap, recorder } = recorded(scarceSource(2 * MIB));
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

  it("every page can go through every size class", { ignore: EMULATED }, () => {
    const { heap, recorder } = recorded(scarceSource(2 * MIB));
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
    const { heap, recorder } = recorded({
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

  it("20,000 random operations, check() often", { ignore: EMULATED }, () => {
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

  it("20,000 random operations of small blocks", { ignore: EMULATED }, () => {
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
    it(`${budget} bytes: 20,000 random operations`, { ignore: EMULATED }, () => {
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

describe("Heap limit", () => {
  it("is exact at the boundary, in every kind of block", () => {
    for (const size of [100, 40_000, 6_000_000]) {
      using heap = new Heap({ limit: size });
      const address = heap.allocate(size);
      const message = messageOf(() => heap.allocate(1), OutOfMemoryError);
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

describe("Heap zeroOnFree", () => {
  it("clears freed blocks of every kind at once", () => {
    const buffer = new ArrayBuffer(16 * MIB);
    using heap = new Heap({ source: fixedPageSource(buffer), zeroOnFree: true });
    heap.allocate(1);
    for (const size of [1, 16, 300, 5000, 16 * KIB, 50_000, 100_000, 5 * MIB]) {
      const address = heap.allocate(size);
      // The buffer is not isolating, so that the view stays readable whatever the block was.
      const view = heap.view(address, heap.usableSize(address));
      view.fill(255);
      heap.free(address);
      assertEquals(view.findIndex((byte) => byte !== 0), -1, `${size}`);
    }
  });

  it("clears what resize() and reallocate() cut off or leave", () => {
    const buffer = new ArrayBuffer(16 * MIB);
    using heap = new Heap({ source: fixedPageSource(buffer), zeroOnFree: true });
    for (const [from, to] of [[200, 150], [16_000, 13_000], [50_000, 20_000], [200_000, 100], [5 * MIB, 5 * MIB - 9]]) {
      const address = heap.allocate(from!);
      const view = heap.view(address, heap.usableSize(address));
      view.fill(255);
      const resized = heap.resize(address, to!);
      if (resized) {
        assertEquals(view.subarray(0, to).findIndex((byte) => byte !== 255), -1, `${from} to ${to}`);
        assertEquals(view.subarray(to).findIndex((byte) => byte !== 0), -1, `${from} to ${to}`);
      }
      const moved = heap.reallocate(address, 300_000);
      assertEquals(heap.view(moved)[99], 255);
      if (moved !== address) assertEquals(view.findIndex((byte) => byte !== 0), -1, `${from} moved`);
      heap.free(moved);
    }
    heap.check();
  });

  it("what reallocate() cuts off in place is cleared too", () => {
    using heap = new Heap({ zeroOnFree: true });
    const address = heap.allocate(1000);
    const view = heap.view(address, heap.usableSize(address));
    view.fill(255);
    assertEquals(heap.reallocate(address, 900), address);
    assertEquals(view.subarray(900).findIndex((byte) => byte !== 0), -1);
    assertEquals(view.subarray(0, 900).findIndex((byte) => byte !== 255), -1);
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
      assert(live.has(address), `${hex(address)} is not live`);
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

describe("Heap whose buffers were detached from outside", () => {
  it("a region: CorruptionError from whatever needs its bytes; free, allocate and dispose work", () => {
    const heap = new Heap();
    const address = heap.allocate(100);
    const large = heap.allocate(50_000);
    (heap.view(address).buffer as ArrayBuffer).transfer(0);
    const blocks = [...heap.blocks()];
    const message = /Cannot use the region at 0x[0-9a-f]+: its ArrayBuffer was detached from outside/;
    for (
      const action of [
        () => heap.view(address),
        () => heap.view(large, 7),
        () => heap.array(Uint32Array, 5),
        () => heap.allocateZeroed(100),
        () => heap.allocateZeroed(100, 64),
        () => heap.reallocate(address, 1000),
        () => heap.check(),
      ]
    ) {
      assert(message.test(messageOf(action, CorruptionError)), String(action));
      assertEquals([...heap.blocks()], blocks, String(action));
    }
    heap.free(heap.allocate(100));
    heap.free(heap.allocate(50_000));
    heap.free(address);
    heap.free(large);
    heap[Symbol.dispose]();
  });

  it("a huge block: CorruptionError from view(); free and dispose work", () => {
    const heap = new Heap();
    const first = heap.allocate(5 * MIB);
    const second = heap.allocate(5 * MIB);
    for (const address of [first, second]) (heap.view(address).buffer as ArrayBuffer).transfer(0);
    try {
      assertThrows(() => heap.view(first), CorruptionError, "detached");
    } finally {
      heap.free(first);
      heap[Symbol.dispose]();
    }
  });

  it("an owned buffer: CorruptionError from resize(); free and dispose work", () => {
    const heap = new Heap();
    const first = heap.buffer(100);
    const second = heap.buffer(100);
    for (const { arrayBuffer } of [first, second]) (arrayBuffer as ArrayBuffer).transfer(0);
    assertThrows(() => first.resize(200), CorruptionError, "its ArrayBuffer was transferred elsewhere");
    first.free();
    heap.check();
    heap[Symbol.dispose]();
    assert(second.freed);
  });

  it("a page source that frees an owned block when it is to end its wrap: that is the only time", () => {
    const rules = [{}, { zeroOnFree: true }, { limit: 10 * MIB }];
    const frees = [
      (buffer: NativeBuffer) => buffer.free(),
      ({ address }: NativeBuffer, heap: Heap) => heap.free(address),
    ];
    for (
      const [size, options, free] of [100, 50_000, 5 * MIB].flatMap((size) =>
        rules.flatMap((options) => frees.map((free) => [size, options, free] as const))
      )
    ) {
      let unwrapping = (): void => {};
      const { buffers: _, ...source } = systemPageSource();
      const heap = new Heap({
        ...options,
        source: {
          ...source,
          unwrap(bytes) {
            source.unwrap(bytes);
            unwrapping();
          },
        },
      });
      const kept = heap.allocate(100);
      const buffer = heap.buffer(size);
      const { address } = buffer;
      unwrapping = () => {
        unwrapping = () => {};
        heap.free(address);
      };
      assertThrows(() => free(buffer, heap), InvalidFreeError, "already freed");
      heap.check();
      assertEquals([...heap.blocks()].map((block) => block.address), [kept]);
      heap[Symbol.dispose]();
    }
  });

  it("an owned buffer that cannot be cleared, and so not be freed, stays as it was", () => {
    for (const options of [{ zeroOnFree: true }, { secure: true }, { zeroOnFree: true, limit: MIB }]) {
      for (const size of [100, 50_000]) {
        const heap = new Heap(options);
        using debug = new DebugAllocator(heap);
        const allocators = [heap, debug];
        const buffers = allocators.map((allocator) => allocator.buffer(size));
        const plain = heap.allocate(10);
        (heap.view(plain).buffer as ArrayBuffer).transfer(0);
        const blocks = [...heap.blocks()];
        for (const [i, buffer] of buffers.entries()) {
          const allocator = allocators[i]!;
          const { address, bytes, arrayBuffer } = buffer;
          bytes.fill(7);
          for (
            const free of [
              () => buffer.free(),
              () => buffer[Symbol.dispose](),
              () => allocator.free(address),
              () => heap.free(blocks[i]!.address),
            ]
          ) {
            assertThrows(free, CorruptionError, "detached from outside", `${size}: ${free}`);
            assertEquals([buffer.freed, buffer.address, buffer.byteLength], [false, address, size], `${size}: ${free}`);
            assertEquals([arrayBuffer.byteLength, bytes.length, bytes[size - 1]], [size, size, 7]);
            assertEquals([...heap.blocks()], blocks);
          }
          // It is owned still.
          assertThrows(() => allocator.resize(address, 5), InvalidFreeError, "a NativeBuffer owns the block");
        }
        debug[Symbol.dispose]();
        for (const buffer of buffers) assert(buffer.freed);
      }
    }
  });

  it("a view that was taken from a detached buffer is no address", () => {
    using heap = new Heap();
    const view = heap.view(heap.allocate(5 * MIB));
    heap.free(heap.addressOf(view));
    assertEquals(view.length, 0);
    assertEquals(
      messageOf(() => heap.freeArray(view), UseAfterFreeError),
      "Cannot free the view: its memory was freed and its buffer detached",
    );
  });
});

describe("Heap error messages", () => {
  it("free(0) does nothing, and is no error", () => {
    using heap = new Heap();
    heap.free(0);
    heap.free(-0);
    heap.allocate(20_000);
    heap.free(0);
    assertEquals(heap.stats().liveBlocks, 1);
    heap.check();
  });

  it("name the address, and what is there instead", () => {
    using heap = new Heap();
    const small = heap.allocate(60);
    const large = heap.allocate(20_000);
    const huge = heap.allocate(5_000_000);
    const usable = heap.usableSize(huge);
    const cases: [Address, string][] = [
      [small + 8, `it is 8 bytes inside the live block of 64 bytes at ${hex(small)}`],
      [small + 1, `it is 1 byte inside the live block of 64 bytes at ${hex(small)}`],
      [large + 4096, `it is 4096 bytes inside the live block of 20480 bytes at ${hex(large)}`],
      [large + 16, `it is 16 bytes inside the live block of 20480 bytes at ${hex(large)}`],
      [huge + 64, `it is 64 bytes inside the live block of ${usable} bytes at ${hex(huge)}`],
      [4096, "this heap has no block there and had none"],
      [-1, "this heap has no block there and had none"],
      [NaN, "this heap has no block there and had none"],
      [2 ** 53, "this heap has no block there and had none"],
    ];
    for (const [address, detail] of cases) {
      const shown = address >= 0 ? hex(address) : `${address}`;
      assertEquals(messageOf(() => heap.free(address), InvalidFreeError), `Cannot free ${shown}: ${detail}`);
      assertEquals(messageOf(() => heap.view(address), InvalidFreeError), `Cannot view ${shown}: ${detail}`);
      assertEquals(messageOf(() => heap.usableSize(address), InvalidFreeError), `Cannot measure ${shown}: ${detail}`);
      assertEquals(messageOf(() => heap.resize(address, 1), InvalidFreeError), `Cannot resize ${shown}: ${detail}`);
      assertEquals(
        messageOf(() => heap.reallocate(address, 1), InvalidFreeError),
        `Cannot reallocate ${shown}: ${detail}`,
      );
    }
    for (const address of [small, large, huge]) {
      heap.free(address);
      const error = assertThrows(() => heap.free(address), InvalidFreeError);
      assertEquals([error.message, error.kind], [`Cannot free ${hex(address)}: the block is already freed`, "double"]);
    }
  });

  it("a view longer than its block", () => {
    using heap = new Heap();
    const address = heap.allocate(60);
    const message = messageOf(() => heap.view(address, 65), RangeError);
    assertEquals(message, `Cannot view 65 bytes at ${hex(address)}: the block has 64`);
  });

  it("an address that is no number, whatever it looks like", () => {
    using heap = new Heap();
    for (const size of [100, 20_000, 5_000_000]) {
      const address = heap.allocate(size);
      for (const wrong of [`${address}`, [address], new Number(address), { valueOf: () => address }]) {
        const error = assertThrows(() => heap.free(wrong as never), TypeError, "it must be a number");
        assert(error.message.startsWith("Cannot use "), error.message);
        assert(heap.owns(address), `free of ${typeof wrong} freed a block of ${size} bytes`);
      }
    }
  });

  it("blocks of a NativeBuffer", () => {
    using heap = new Heap();
    const { address } = heap.buffer(10);
    for (
      const [action, call] of [["resize", () => heap.resize(address, 9)], [
        "reallocate",
        () => heap.reallocate(address, 9),
      ]] as const
    ) {
      const error = assertThrows(call, InvalidFreeError);
      assertEquals(
        error.message,
        `Cannot ${action} ${hex(address)}: a NativeBuffer owns the block; use its resize method`,
      );
      assertEquals(error.kind, "foreign");
    }
  });

  it("views that are none, or not of this heap", () => {
    using heap = new Heap();
    assertEquals(
      messageOf(() => heap.addressOf(5 as never), TypeError),
      "Cannot take the address of 5: it must be a typed array or DataView",
    );
    assertEquals(
      messageOf(() => heap.freeArray([1] as never), TypeError),
      "Cannot free an array: it must be a typed array or DataView",
    );
    const error = assertThrows(
      () => heap.freeArray(new Uint8Array(4)),
      InvalidFreeError,
      "it is not of this heap's memory",
    );
    assertEquals(error.kind, "foreign");
  });

  it("memory that runs out says what the source says, with the source's error as its cause", () => {
    using heap = new Heap({ source: fixedPageSource(new ArrayBuffer(64 * KIB)) });
    const error = assertThrows(() => heap.allocate(100_000, 64), OutOfMemoryError);
    assertEquals(error.requested, 100_000);
    assertEquals(error.limit, 65_536);
    assert(error.cause instanceof OutOfMemoryError);
    assertEquals(
      error.message,
      "Cannot allocate 100000 bytes at alignment 64: the buffer of 65536 bytes has 0 free, the longest piece 0",
    );
    const impossible = assertThrows(() => new Heap().allocate(2 ** 53 - 1), OutOfMemoryError);
    assert(
      impossible.message.endsWith("at alignment 16: no machine addresses so many"),
      impossible.message,
    );
  });

  it("after dispose", () => {
    const heap = new Heap();
    const address = heap.allocate(10);
    const view = heap.view(address);
    const shown = hex(address);
    heap[Symbol.dispose]();
    heap[Symbol.dispose]();
    const cases: [string, () => unknown][] = [
      ["allocate", () => heap.allocate(1)],
      ["allocate", () => heap.allocate(20_000)],
      ["allocate", () => heap.tryAllocate(1)],
      ["allocate", () => heap.allocateZeroed(1)],
      ["allocate", () => heap.array(Int8Array, 1)],
      ["allocate", () => heap.reallocate(0, 1)],
      ["allocate a buffer", () => heap.buffer(1)],
      [`free ${shown}`, () => heap.free(address)],
      [`view ${shown}`, () => heap.view(address)],
      [`resize ${shown}`, () => heap.resize(address, 1)],
      [`reallocate ${shown}`, () => heap.reallocate(address, 1)],
      [`measure ${shown}`, () => heap.usableSize(address)],
      [`look up ${shown}`, () => heap.owns(address)],
      ["take the address of a view", () => heap.addressOf(view)],
      ["free a view", () => heap.freeArray(view)],
      ["walk the blocks", () => [...heap.blocks()]],
      ["report", () => heap.stats()],
      ["report", () => heap.layout()],
      ["check", () => heap.check()],
      ["trim", () => heap.trim()],
    ];
    for (const [action, call] of cases) {
      assertEquals(messageOf(call, DisposedError), `Cannot ${action}: the heap is disposed`);
    }
  });

  it("after dispose, blocks() throws when it is called and not when it is walked", () => {
    const heap = new Heap();
    heap[Symbol.dispose]();
    assertThrows(() => heap.blocks(), DisposedError, "Cannot walk the blocks: the heap is disposed");
  });
});
