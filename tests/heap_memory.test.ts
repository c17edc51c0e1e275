/**
 * What the operating system sees of a `Heap`: resident memory, mappings, huge blocks that grow, many heaps. The largest
 * sizes and alignments are in heap_extremes.test.ts.
 *
 * Resident memory is compared with wide margins, as a garbage collector works beside.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Buffer } from "node:buffer";
import { type Address, Heap, OutOfMemoryError } from "../mod.ts";
import { isEmulated, isLinux, mappingCount, rssBytes } from "./support/runtime.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** Whether resident memory and mappings are those of this process alone. */
const MEASURED = isLinux && !isEmulated;

/** Resident memory that an action added, in MiB. */
function grown(action: () => void): number {
  const before = rssBytes();
  action();
  return (rssBytes() - before) / MIB;
}

/** Writes one byte to every OS page of a block. */
function touch(heap: Heap, address: Address): void {
  const view = heap.view(address);
  for (let offset = 0; offset < view.length; offset += 4096) view[offset] = 1;
}

describe("Heap and resident memory", { ignore: !MEASURED }, () => {
  // Warms up what the first heap of a process loads.
  {
    using heap = new Heap();
    touch(heap, heap.allocate(100_000));
    heap.check();
  }

  it("an idle heap with one live block takes less than 200 KiB", () => {
    const heaps: Heap[] = [];
    const added = grown(() => {
      for (let i = 0; i < 50; i++) {
        const heap = new Heap();
        heap.view(heap.allocate(64)).fill(1);
        heaps.push(heap);
      }
    });
    for (const heap of heaps) heap[Symbol.dispose]();
    assert(added / 50 < 200 / 1024, `${Math.round(added * 1024 / 50)} KiB a heap`);
  });

  it("what lies between the last blocks of many pages goes back when the heap grows", () => {
    using heap = new Heap();
    const all = new Float64Array(64 * 1024);
    const added = grown(() => {
      for (let i = 0; i < all.length; i++) touch(heap, all[i] = heap.allocate(1024));
      // One block of sixteen stays, in an OS page of four.
      for (let i = 0; i < all.length; i++) if (i % 16 !== 0) heap.free(all[i]!);
      for (let i = 0; i < 16; i++) for (let k = 0; k < 4096; k++) touch(heap, heap.allocate(512));
    });
    // 16 of 64 MiB stay, and 32 are new: 96 without.
    assert(added < 68, `${Math.round(added)} MiB`);
    heap.check();
  });

  it("memory is taken when it is touched, not when it is allocated", () => {
    using heap = new Heap();
    let address = 0;
    const allocated = grown(() => address = heap.allocate(256 * MIB));
    assert(allocated < 16, `${allocated} MiB for an untouched block`);
    const touched = grown(() => heap.view(address, 128 * MIB).fill(1));
    assert(touched > 120, `${touched} MiB for 128`);
    const freed = grown(() => heap.free(address));
    assert(freed < -120, `${freed} MiB when it was freed`);
  });

  it("allocateZeroed() does not touch fresh memory", () => {
    using heap = new Heap();
    heap.allocate(3 * MIB);
    const added = grown(() => {
      for (let i = 0; i < 64; i++) heap.allocateZeroed(3 * MIB);
    });
    assert(added < 32, `${added} MiB for 192 untouched`);
  });

  it("trim() gives back what is free and keeps what is live", () => {
    using heap = new Heap();
    const kept: Address[] = [];
    const freed: Address[] = [];
    const added = grown(() => {
      for (let i = 0; i < 24 * 1024; i++) {
        const address = heap.allocate(1000);
        heap.view(address).fill(i & 255);
        (i % 1024 === 0 ? kept : freed).push(address);
      }
      for (let i = 0; i < 100; i++) {
        const address = heap.allocate(80 * KIB);
        heap.view(address).fill(1);
        freed.push(address);
      }
    });
    assert(added > 28, `${added} MiB for 32`);
    for (const address of freed) heap.free(address);
    let given = 0;
    const change = grown(() => given = heap.trim());
    assert(change < -12, `${change} MiB by trim()`);
    assert(given >= -change * MIB * 0.8, `${given} bytes said, ${-change} MiB seen`);
    for (let i = 0; i < kept.length; i++) assertEquals(heap.view(kept[i]!)[999], (i * 1024) & 255);
    heap.check();
  });

  it("memory goes back by itself after a run of frees, without trim()", () => {
    using heap = new Heap();
    const addresses: Address[] = [];
    const added = grown(() => {
      for (let i = 0; i < 150; i++) {
        const address = heap.allocate(MIB);
        touch(heap, address);
        addresses.push(address);
      }
    });
    assert(added > 140, `${added} MiB for 150`);
    const change = grown(() => {
      for (const address of addresses) heap.free(address);
    });
    assert(change < -100, `${change} MiB after all was freed`);
    const view = heap.view(heap.allocateZeroed(4 * MIB));
    assertEquals(view.findIndex((byte) => byte !== 0), -1);
    heap.check();
  });

  it("small blocks give theirs back too", () => {
    using heap = new Heap();
    const addresses: Address[] = [];
    const added = grown(() => {
      for (let i = 0; i < 100_000; i++) {
        const address = heap.allocate(1000);
        heap.view(address)[0] = 1;
        addresses.push(address);
      }
    });
    assert(added > 90, `${added} MiB for 100`);
    const change = grown(() => {
      for (const address of addresses) heap.free(address);
    });
    assert(change < -50, `${change} MiB after all was freed`);
    heap.check();
  });

  it("after dispose() mappings and resident memory are where they were", () => {
    const round = (): void => {
      using heap = new Heap();
      for (let i = 0; i < 3000; i++) heap.view(heap.allocate(i * 7)).fill(1);
      for (let i = 0; i < 20; i++) touch(heap, heap.allocate(500_000 + i * 4096));
      for (let i = 0; i < 5; i++) touch(heap, heap.allocate(6 * MIB));
      for (let i = 0; i < 20; i++) heap.buffer(10_000).bytes.fill(1);
      heap.allocate(100, 4 * MIB);
    };
    round();
    round();
    const mappings = mappingCount();
    const change = grown(() => {
      for (let i = 0; i < 8; i++) round();
    });
    // A leak of one of the mappings of each heap would be 8 or more.
    assert(mappingCount() - mappings < 8, `${mappings} mappings before, ${mappingCount()} after`);
    assert(change < 60, `${change} MiB more, of 8 times 60`);
  });

  it("mappings come back exactly when a heap of many huge blocks is disposed", () => {
    const heap = new Heap();
    const before = mappingCount();
    const addresses = Array.from({ length: 200 }, () => heap.allocate(5 * MIB));
    for (const address of addresses) heap.view(address)[0] = 1;
    for (let i = 0; i < 100; i++) heap.free(addresses[i]!);
    heap[Symbol.dispose]();
    assert(mappingCount() <= before, `${before} mappings before, ${mappingCount()} after`);
  });
});

describe("Heap and huge blocks that grow", () => {
  it("contents come along from a run and from a mapping, and nothing beside them changes", () => {
    using heap = new Heap();
    const before = heap.allocate(20_000);
    const inRun = heap.allocate(3 * MIB + 12_345);
    const after = heap.allocate(20_000);
    const own = heap.allocate(5 * MIB + 12_345);
    for (const address of [before, after]) heap.view(address).fill(9);
    for (const address of [inRun, own]) {
      const bytes = heap.view(address);
      const { length } = bytes;
      for (let i = 0; i < length; i += 1021) bytes[i] = 1 + i % 251;
      bytes[length - 1] = 252;
      const expected = bytes.slice();
      const moved = heap.reallocate(address, 20 * MIB);
      assert(moved !== address);
      assertEquals(Buffer.compare(heap.view(moved, length), expected), 0, `${length} bytes`);
      const shrunk = heap.reallocate(moved, 2 * MIB);
      assertEquals(Buffer.compare(heap.view(shrunk), expected.subarray(0, 2 * MIB)), 0);
      heap.check();
    }
    for (const address of [before, after]) {
      assertEquals(heap.view(address).every((byte) => byte === 9), true);
    }
  });
});

describe("Heap beside other heaps", () => {
  it("64 at once do not know each other's blocks", { ignore: isEmulated }, () => {
    const heaps = Array.from({ length: 64 }, () => new Heap());
    const addresses = heaps.map((heap, index) =>
      [10, 20_000].map((size) => {
        const address = heap.allocate(size + index);
        heap.view(address).fill(index);
        return address;
      })
    );
    for (const [index, heap] of heaps.entries()) {
      const [small, large] = addresses[index]!;
      assertEquals([heap.view(small!)[9], heap.view(large!)[19_999]], [index, index]);
      for (const other of [heaps[(index + 1) % 64]!, heaps[(index + 63) % 64]!]) {
        assert(!other.owns(small!) && !other.owns(large!));
        assertThrows(() => other.free(small!), "had none");
        assertThrows(() => other.addressOf(heap.view(large!)), "not of this heap's memory");
      }
      heap.check();
    }
    for (const heap of heaps.filter((_, index) => index % 2 === 0)) heap[Symbol.dispose]();
    for (const [index, heap] of heaps.entries()) {
      if (index % 2 === 0) continue;
      assertEquals(heap.view(addresses[index]![1]!)[0], index);
      heap[Symbol.dispose]();
    }
  });

  it("a heap that the machine cannot serve says so, and goes on", () => {
    using heap = new Heap();
    const address = heap.allocate(100);
    const error = assertThrows(() => heap.allocate(2 ** 50), OutOfMemoryError);
    assertEquals(error.requested, 2 ** 50);
    assert(error.message.startsWith(`Cannot allocate ${2 ** 50} bytes at alignment 16: `), error.message);
    assertEquals(heap.tryAllocate(2 ** 50), 0);
    heap.free(address);
    heap.check();
  });
});
