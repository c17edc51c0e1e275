/**
 * `FreeListAllocator`: options, corruption of what lies in band, sizes handed back, events, joined regions.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError, fixedPageSource, type PageSource, setViolationHook } from "../mod.ts";
import type { AllocatorEvent } from "../src/bucket_policy.ts";
import { SizeMismatchError } from "../src/errors.ts";
import { FreeListAllocator, type FreeListOptions } from "../src/free_list_allocator.ts";
import { basicalloc, memAlloc, rustyMalloc } from "../src/systems.ts";

function fixed(bytes = 2 ** 18, pageSize = 4096): PageSource {
  return fixedPageSource(new ArrayBuffer(bytes), { pageSize });
}

/** All bytes of the region that `address` is in, as a caller could reach them. */
function regionBytes(allocator: FreeListAllocator, address: number): { words: Int32Array; word: number } {
  const { buffer, byteOffset } = allocator.view(address);
  return { words: new Int32Array(buffer), word: byteOffset / 4 };
}

describe("options of FreeListAllocator", () => {
  it("options of a wrong type or value are refused, with their name", () => {
    const wrong: [unknown, ErrorConstructor, string][] = [
      [{ order: "random" }, RangeError, "order"],
      [{ order: 1 }, TypeError, "order"],
      [{ fit: "worst" }, RangeError, "fit"],
      [{ header: 16 }, RangeError, "header"],
      [{ header: "8" }, TypeError, "header"],
      [{ split: "middle" }, RangeError, "split"],
      [{ coalesce: true }, TypeError, "coalesce"],
      [{ joinRegions: 1 }, TypeError, "joinRegions"],
      [{ releaseRegions: "yes" }, TypeError, "releaseRegions"],
      [{ growDown: null }, TypeError, "growDown"],
      [{ regionSize: -1 }, RangeError, "regionSize"],
      [{ onEvent: 3 }, TypeError, "onEvent"],
    ];
    for (const [options, errorClass, name] of wrong) {
      const make = () => new FreeListAllocator({ source: fixed(), ...(options as FreeListOptions) });
      assertThrows(make, errorClass, name);
    }
  });
});

describe("corruption is detected before it is followed", () => {
  for (const header of [8, 24, 40] as const) {
    it(`free() throws CorruptionError when a header of ${header} bytes was written to, whichever word of it`, () => {
      const used = header === 24 ? [1, 2, 3, 4, 5] : header === 8 ? [0, 1] : [0, 2, 4, 6, 8];
      for (const field of used) {
        for (const change of [1, 2, 64, -1, 0x7fffffff]) {
          using allocator = new FreeListAllocator({ source: fixed(), header });
          allocator.allocate(64);
          const address = allocator.allocate(64);
          allocator.allocate(64);
          const { words, word } = regionBytes(allocator, address);
          const at = header === 24 ? word - 7 + field : word - header / 4 + field;
          words[at] = words[at]! ^ change;
          assertThrows(() => allocator.free(address), CorruptionError, "written to");
          assertThrows(() => allocator.check(), CorruptionError);
          words[at] = words[at]! ^ change;
          allocator.check();
          allocator.free(address);
        }
      }
    });
  }

  for (const order of ["address", "lifo", "fifo"] as const) {
    it(`allocate() and free() throw CorruptionError when a free block was written to, order ${order}`, () => {
      for (let field = 0; field < 4; field++) {
        for (const change of [1, 16, 4096, -1]) {
          using allocator = new FreeListAllocator({ source: fixed(), order, header: 8 });
          const blocks = Array.from({ length: 7 }, () => allocator.allocate(64));
          const { words, word } = regionBytes(allocator, blocks[3]!);
          for (const i of [1, 3, 5]) allocator.free(blocks[i]!);
          words[word + field] = words[word + field]! ^ change;
          assertThrows(() => allocator.check(), CorruptionError);
          assertThrows(() => {
            // The walk comes by all three, or the merge with the written one does.
            allocator.allocate(100_000);
            allocator.free(blocks[2]!);
          }, CorruptionError);
        }
      }
    });
  }
});

describe("violations go through the hook, each once", () => {
  /** What a hook that only listens was given during `action`, by code. */
  function reported(action: () => unknown): string[] {
    const codes: string[] = [];
    const previous = setViolationHook(({ code }) => void codes.push(code));
    try {
      action();
    } finally {
      setViolationHook(previous);
    }
    return codes;
  }

  it("free() of a block whose header was written to, or of another size, does nothing when the hook returns", () => {
    using allocator = new FreeListAllocator({ source: fixed(), header: 8 });
    const [address] = [64, 64, 64].map((size) => allocator.allocate(size));
    assertEquals(reported(() => allocator.free(address!, 65)), ["ERR_SIZE_MISMATCH"]);
    const { words, word } = regionBytes(allocator, address!);
    words[word - 2] = words[word - 2]! ^ 8;
    const before = allocator.freeStats();
    assertEquals(reported(() => allocator.free(address!)), ["ERR_CORRUPTION"]);
    assertEquals(allocator.freeStats(), before);
    words[word - 2] = words[word - 2]! ^ 8;
    assertEquals(reported(() => allocator.free(address!)), []);
    allocator.check();
  });

  it("calls that owe a result throw after the hook returned", () => {
    const owing: [string, (allocator: FreeListAllocator, address: number) => unknown][] = [
      ["check", (allocator) => allocator.check()],
      ["layout", (allocator) => allocator.layout()],
      ["usableSize", (allocator, address) => allocator.usableSize(address)],
      ["owns", (allocator, address) => allocator.owns(address)],
      ["view", (allocator, address) => allocator.view(address)],
      ["resize", (allocator, address) => allocator.resize(address, 10)],
      ["reallocate", (allocator, address) => allocator.reallocate(address, 1000)],
    ];
    for (const [name, call] of owing) {
      using allocator = new FreeListAllocator({ source: fixed(), header: 24 });
      const [, address] = [64, 64, 64].map((size) => allocator.allocate(size));
      const { words, word } = regionBytes(allocator, address!);
      words[word - 3] = words[word - 3]! ^ 64;
      const codes = reported(() => assertThrows(() => call(allocator, address!), CorruptionError));
      assertEquals(codes, ["ERR_CORRUPTION"], name);
    }
  });

  it("allocate() reports a free block that was written to, and a region that was detached is reported once", () => {
    using allocator = new FreeListAllocator({ source: fixed(), header: 8 });
    const [first] = [64, 64].map((size) => allocator.allocate(size));
    const { words, word } = regionBytes(allocator, first!);
    allocator.free(first!);
    words[word] = words[word]! ^ 2;
    assertEquals(reported(() => assertThrows(() => allocator.allocate(64), CorruptionError)), ["ERR_CORRUPTION"]);
    words[word] = words[word]! ^ 2;
    allocator.check();
    structuredClone(words.buffer, { transfer: [words.buffer as ArrayBuffer] });
    assertEquals(reported(() => assertThrows(() => allocator.check(), CorruptionError)), ["ERR_CORRUPTION"]);
  });
});

describe("sizes that are handed back", () => {
  it("free(address, size) throws SizeMismatchError for any other size, and the block stays live", () => {
    using allocator = basicalloc({ source: fixed() });
    const address = allocator.allocate(100);
    for (const size of [0, 99, 101, 112]) {
      const error = assertThrows(() => allocator.free(address, size), SizeMismatchError, "100");
      assertEquals([error.code, error.size, error.requestedSize, error.address], [
        "ERR_SIZE_MISMATCH",
        size,
        100,
        address,
      ]);
      assert(allocator.owns(address));
    }
    assertThrows(() => allocator.free(address, -1), RangeError);
    allocator.free(address, 100);
    const other = allocator.allocate(7);
    allocator.free(other);
    allocator.check();
  });
});

describe("events", () => {
  it("searches, splits, merges, growth and releases are reported, and what the hook throws is ignored", () => {
    const seen: AllocatorEvent[] = [];
    const onEvent = (event: AllocatorEvent): void => {
      seen.push(event);
      throw new Error("ignored");
    };
    using allocator = memAlloc({ source: fixed(), onEvent });
    const a = allocator.allocate(100);
    const b = allocator.allocate(100);
    assertEquals(seen.map(({ type }) => type), ["search", "grow", "split", "search", "split"]);
    seen.length = 0;
    allocator.free(a);
    allocator.free(b);
    assertEquals(seen.map(({ type }) => type), ["merge", "release"]);
    allocator.check();
  });
});

describe("regions", () => {
  it("regions that touch are joined, in both directions, and views of before stay", () => {
    const source = fixed(64 * 1024);
    using allocator = basicalloc({ source });
    const gap = source.reserve(8192, 4096);
    const high = allocator.allocate(4000);
    const view = allocator.view(high);
    view.fill(3);
    source.unmap(gap, 8192);
    const low = allocator.allocate(8192);
    assertEquals(low, gap);
    assertEquals(allocator.stats().regions, 1);
    assert(allocator.view(high).every((byte) => byte === 3));
    assert(view.every((byte) => byte === 3));
    allocator.check();
    allocator.free(low);
    allocator.free(high);
    assertEquals(allocator.freeStats(), { count: 1, bytes: 12_288 });
    const whole = allocator.allocate(12_288);
    assertEquals(whole, gap);
    allocator.check();
  });

  it("a region between two others joins both, free lists included", () => {
    for (const order of ["address", "lifo", "fifo"] as const) {
      for (const header of [0, 8] as const) {
        const source = fixed(64 * 1024);
        using allocator = new FreeListAllocator({ source, order, header, joinRegions: true });
        const a = allocator.allocate(1000);
        const gap = source.reserve(4096, 4096);
        const b = Array.from({ length: 3 }, () => allocator.allocate(1500));
        allocator.free(b[1]!);
        source.unmap(gap, 4096);
        const c = allocator.allocate(4000);
        assertEquals(allocator.stats().regions, 1);
        allocator.check();
        for (const address of [a, c, b[0]!, b[2]!]) allocator.free(address);
        allocator.check();
        assertEquals(allocator.freeStats().count, 1);
      }
    }
  });

  it("validity() counts overlaps, neighbours that touch, and what is out of order", () => {
    using lazy = rustyMalloc({ source: fixed() });
    const blocks = Array.from({ length: 4 }, () => lazy.allocate(100));
    lazy.free(blocks[0]!);
    lazy.free(blocks[1]!);
    lazy.free(blocks[3]!);
    assertEquals(lazy.validity(), { overlaps: 0, adjacents: 2, outOfOrder: 2, isValid: true });
    using sorted = basicalloc({ source: fixed() });
    const others = Array.from({ length: 9 }, () => sorted.allocate(100));
    for (const i of [7, 1, 5, 3]) sorted.free(others[i]!);
    assertEquals(sorted.validity(), { overlaps: 0, adjacents: 0, outOfOrder: 0, isValid: true });
  });

  it("trim() discards whole pages inside free blocks, once", () => {
    using allocator = basicalloc({ source: fixed() });
    const low = allocator.allocate(20_000);
    const high = allocator.allocate(16);
    allocator.free(low);
    const given = allocator.trim();
    assert(given >= 12_288, `${given}`);
    assertEquals(allocator.trim(), 0);
    allocator.check();
    allocator.free(allocator.allocate(20_000));
    assert(allocator.trim() > 0);
    allocator.free(high);
  });
});
