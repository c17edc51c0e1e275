/**
 * One regression test for every bug that was found in the reference systems: none of them is here.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Allocator,
  failingPageSource,
  fixedPageSource,
  OutOfMemoryError,
  type PageSource,
  systemPageSource,
} from "../mod.ts";
import { basicalloc, memAlloc, rulloc, rustyMalloc } from "../src/systems.ts";

const SYSTEMS: readonly { name: string; make: (source: PageSource) => Allocator }[] = [
  { name: "basicalloc", make: (source) => basicalloc({ source }) },
  { name: "rustyMalloc", make: (source) => rustyMalloc({ source }) },
  { name: "memAlloc", make: (source) => memAlloc({ source }) },
  { name: "rulloc", make: (source) => rulloc(undefined, { source }) },
];

function fixed(bytes = 2 ** 20): PageSource {
  return fixedPageSource(new ArrayBuffer(bytes));
}

/** Runs a test on each system. */
function onEach(name: string, run: (allocator: Allocator) => void, makeSource: () => PageSource = fixed): void {
  for (const { name: system, make } of SYSTEMS) {
    it(`${system}: ${name}`, () => {
      using allocator = make(makeSource());
      run(allocator);
      allocator.check();
    });
  }
}

describe("bugs of basicalloc", () => {
  onEach("alignments above 16 are honoured", (allocator) => {
    const live: number[] = [];
    for (let alignment = 32; alignment <= 4096; alignment *= 2) {
      for (let i = 0; i < 12; i++) {
        const address = allocator.allocate(1 + i * 37, alignment);
        assertEquals(address % alignment, 0, `${alignment}`);
        live.push(address);
      }
    }
    for (const address of live) allocator.free(address);
  });

  onEach("two blocks of no bytes are distinct, and freeing them writes over nobody", (allocator) => {
    const guard = allocator.allocate(64);
    allocator.view(guard).fill(0xaa);
    const a = allocator.allocate(0);
    const b = allocator.allocate(0);
    assert(a !== b);
    allocator.free(a);
    allocator.free(b);
    assert(allocator.view(guard).every((byte) => byte === 0xaa));
  });

  it("basicalloc: free memory can be given back to the system", () => {
    using allocator = basicalloc({ source: systemPageSource() });
    const blocks = Array.from({ length: 100 }, () => allocator.allocate(10_000));
    for (const address of blocks) allocator.free(address);
    const { committedBytes } = allocator.stats();
    assertEquals(allocator.trim(), committedBytes);
    assertEquals(allocator.stats().committedBytes, 0);
  });
});

describe("bugs of rusty_malloc", () => {
  it("rustyMalloc: a buffer that does not go on where it ended is a second region, not corruption", () => {
    const source = fixed();
    using allocator = rustyMalloc({ source });
    const blocks = [allocator.allocate(3000)];
    const foreign = source.reserve(4096, 4096);
    for (let i = 0; i < 10; i++) blocks.push(allocator.allocate(3000));
    assertEquals(allocator.stats().regions, 2);
    for (const address of blocks) {
      allocator.view(address).fill(1);
      assert(!(address < foreign + 4096 && address + 3000 > foreign), "a block lies in foreign memory");
    }
    allocator.check();
    source.unmap(foreign, 4096);
  });

  it("rustyMalloc: memory is given back", () => {
    using allocator = rustyMalloc();
    const blocks = Array.from({ length: 100 }, (_, i) => allocator.allocate(i * 100));
    for (const address of blocks) allocator.free(address);
    assert(allocator.trim() > 0);
    assertEquals(allocator.stats().committedBytes, 0);
  });
});

describe("bugs of MemAlloc", () => {
  onEach("nothing is written over a header: freed memory is used again", (allocator) => {
    for (let i = 0; i < 2000; i++) allocator.free(allocator.allocate(500));
    const live = Array.from({ length: 20 }, () => allocator.allocate(500));
    const { committedBytes } = allocator.stats();
    for (let round = 0; round < 20; round++) {
      for (const address of live.splice(0)) allocator.free(address);
      for (let i = 0; i < 20; i++) live.push(allocator.allocate(500));
      for (const address of live) allocator.view(address).fill(round);
      allocator.check();
    }
    assertEquals(allocator.stats().committedBytes, committedBytes);
  });

  for (const { name, make } of SYSTEMS) {
    it(`${name}: a region counts every header: all sizes from 1 to 20,000`, () => {
      const source = fixed();
      for (let size = 1; size <= 20_000; size += size % 4096 > 3980 || size % 4096 < 60 ? 1 : 17) {
        using allocator = make(source);
        const view = allocator.view(allocator.allocate(size));
        assertEquals(view.length, size);
        view.fill(255);
        allocator.check();
      }
    });
  }

  onEach("alignment counts in the search: aligned blocks do not overrun", (allocator) => {
    const holes = Array.from({ length: 40 }, () => allocator.allocate(200));
    holes.forEach((address, i) => i % 2 === 0 && allocator.free(address));
    const live: number[] = [];
    for (let i = 0; i < 40; i++) {
      const address = allocator.allocate(190, 128);
      allocator.view(address).fill(i);
      live.push(address);
      allocator.check();
    }
    live.forEach((address, i) => assert(allocator.view(address).every((byte) => byte === i)));
  });

  for (const { name, make } of SYSTEMS) {
    it(`${name}: a failed mapping is an error, and the allocator goes on`, () => {
      const source = failingPageSource(fixed(), 2, { times: 4 });
      using allocator = make(source);
      const first = allocator.allocate(100);
      assertThrows(() => allocator.allocate(200_000), OutOfMemoryError);
      allocator.check();
      source.rearm(Infinity);
      allocator.free(allocator.allocate(200_000));
      allocator.free(first);
      allocator.check();
    });
  }

  it("memAlloc: dispose unmaps every region", () => {
    const source = fixed();
    const allocator = memAlloc({ source });
    for (let i = 0; i < 20; i++) allocator.allocate(9000);
    allocator[Symbol.dispose]();
    source.unmap(source.reserve(2 ** 20, 4096), 2 ** 20);
  });
});

describe("bugs of Rulloc", () => {
  onEach("growing beside a live neighbour leaves the neighbour alone", (allocator) => {
    // One system places from the end: of three blocks the upper two touch in all of them.
    const blocks = Array.from({ length: 3 }, () => allocator.allocate(64)).sort((x, y) => x - y);
    const [, a, b] = blocks as [number, number, number];
    allocator.view(a).fill(0xaa);
    allocator.view(b).fill(0xbb);
    assertEquals(allocator.resize(a, 120), false);
    const grown = allocator.reallocate(a, 120);
    allocator.view(grown).fill(0xaa);
    assert(allocator.view(b).every((byte) => byte === 0xbb));
  });

  onEach("shrinking beside a live block, with a free one behind it, merges neither", (allocator) => {
    const a = allocator.allocate(120);
    const b = allocator.allocate(64);
    const c = allocator.allocate(64);
    const d = allocator.allocate(64);
    allocator.view(b).fill(0xbb);
    allocator.free(c);
    assert(allocator.resize(a, 16));
    allocator.check();
    assert(allocator.view(b).every((byte) => byte === 0xbb));
    for (const address of [a, b, d]) allocator.free(address);
  });

  onEach("reallocate() from 16 bytes to 16 MiB and back keeps 16 bytes", (allocator) => {
    const small = allocator.allocate(16);
    allocator.view(small).fill(7);
    const large = allocator.reallocate(small, 2 ** 24);
    assertEquals(allocator.view(large).length, 2 ** 24);
    assert(allocator.view(large, 16).every((byte) => byte === 7));
    const back = allocator.reallocate(large, 16);
    assert(allocator.view(back).every((byte) => byte === 7));
  }, systemPageSource);

  it("rulloc: a failing unmap is not lost: free() succeeds, trim() tries again", () => {
    const inner = fixed();
    let broken = true;
    const source: PageSource = {
      ...inner,
      unmap(address, byteLength) {
        if (broken) throw new Error("Cannot unmap: the system says no");
        inner.unmap(address, byteLength);
      },
    };
    using allocator = rulloc(undefined, { source });
    allocator.free(allocator.allocate(100));
    const { committedBytes, reservedBytes } = allocator.stats();
    assertEquals(committedBytes, 0);
    assertEquals(reservedBytes, 4096);
    assertEquals(allocator.trim(), 0);
    broken = false;
    assertEquals(allocator.trim(), 4096);
    assertEquals(allocator.stats().reservedBytes, 0);
  });
});
