/**
 * The reference systems' own tests, restated: each name ends in that of the original.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type Allocator, fixedPageSource, OutOfMemoryError, type PageSource, systemPageSource } from "../mod.ts";
import { contiguousPageSource } from "../src/contiguous_page_source.ts";
import { basicalloc, memAlloc, rulloc, rustyMalloc } from "../src/systems.ts";
import { Prng } from "./support/prng.ts";

/** basicalloc's toy heap: 256 KiB in pages of 64 bytes. */
function toyHeap(): PageSource {
  return fixedPageSource(new ArrayBuffer(2 ** 18), { pageSize: 64 });
}

function fixed(bytes = 2 ** 18): PageSource {
  return fixedPageSource(new ArrayBuffer(bytes));
}

function filled(allocator: Allocator, address: number, byte: number): boolean {
  return allocator.view(address).every((value) => value === byte);
}

describe("basicalloc", () => {
  it("places side by side, takes exact fits, splits from the end, counts pages (test_basic)", () => {
    using allocator = basicalloc({ source: toyHeap() });
    const a = allocator.allocate(64);
    assertEquals([allocator.stats().committedBytes, allocator.freeStats().count], [64, 0]);
    const b = allocator.allocate(64);
    assertEquals(b, a + 64);
    assert(allocator.validity().isValid);
    allocator.free(a, 64);
    assertEquals(allocator.freeStats(), { count: 1, bytes: 64 });
    const end = allocator.allocate(16);
    assertEquals(end, a + 48);
    const exact = allocator.allocate(48);
    assertEquals(exact, a);
    assertEquals([allocator.freeStats().count, allocator.stats().committedBytes], [0, 128]);
    for (const address of [end, b, exact]) {
      allocator.free(address);
      assert(allocator.validity().isValid);
    }
    assertEquals(allocator.freeStats(), { count: 1, bytes: 128 });
  });

  it("is valid after each of 10,240 random operations over 128 slots (test_stress)", () => {
    using allocator = basicalloc({ source: toyHeap() });
    const random = new Prng(1);
    const slots: (number | undefined)[] = new Array(128).fill(undefined);
    const sizes: number[] = new Array(128).fill(0);
    for (let step = 0; step < 10_240; step++) {
      const slot = random.below(128);
      const held = slots[slot];
      if (held !== undefined) {
        allocator.free(held, sizes[slot]!);
        slots[slot] = undefined;
      } else {
        sizes[slot] = 1 + random.below(1024);
        slots[slot] = allocator.allocate(sizes[slot]!, 2 ** random.below(5));
      }
      const { liveBytes, committedBytes } = allocator.stats();
      assertEquals(liveBytes, committedBytes - allocator.freeStats().bytes);
      if (step % 16 === 0) assert(allocator.validity().isValid);
      if (step % 256 === 0) allocator.check();
    }
  });
});

describe("rusty_malloc", () => {
  it("gives the same address again for each alignment and size (test_1)", () => {
    using allocator = rustyMalloc({ source: fixed() });
    for (let alignment = 1; alignment <= 4096; alignment *= 2) {
      for (const size of [1, 8, 13, 100, 1000, 4096]) {
        const address = allocator.allocate(size, alignment);
        assertEquals(address % alignment, 0);
        allocator.free(address);
        assertEquals(allocator.allocate(size, alignment), address);
        allocator.free(address);
      }
    }
  });

  it("merges two free blocks in whichever order they were freed (test_2, test_3, test_4)", () => {
    for (const order of [[0, 1], [1, 0], [0, 1, 2], [2, 1, 0], [1, 0, 2]]) {
      using allocator = rustyMalloc({ source: fixed() });
      const blocks = [0, 1, 2, 3].map(() => allocator.allocate(1000));
      for (const i of order) allocator.free(blocks[i]!);
      const { committedBytes } = allocator.stats();
      assert(blocks.includes(allocator.allocate(2000)));
      assertEquals(allocator.stats().committedBytes, committedBytes);
    }
  });

  it("fails when the buffer is exactly full, and not before (test_5)", () => {
    using allocator = rustyMalloc({ source: fixed(4096) });
    const blocks = [allocator.allocate(2024), allocator.allocate(2040)];
    assertEquals(allocator.tryAllocate(1), 0);
    allocator.free(blocks[0]!);
    assertEquals(allocator.allocate(2024), blocks[0]);
  });

  it("reallocates in place over freed neighbours, and moves otherwise (test_6, test_8)", () => {
    using allocator = rustyMalloc({ source: fixed() });
    const blocks = [0, 1, 2, 3].map((_, i) => {
      const address = allocator.allocate(200);
      allocator.view(address).fill(i);
      return address;
    });
    allocator.free(blocks[1]!);
    allocator.free(blocks[2]!);
    assertEquals(allocator.reallocate(blocks[0]!, 600), blocks[0]);
    const moved = allocator.reallocate(blocks[0]!, 900);
    assert(moved !== blocks[0]);
    assert(allocator.view(moved, 200).every((byte) => byte === 0));
    assert(filled(allocator, blocks[3]!, 3));
  });

  it("never hands a block out twice (test_7)", () => {
    using allocator = rustyMalloc({ source: fixed() });
    const seen = new Set<number>();
    for (let i = 0; i < 200; i++) seen.add(allocator.allocate(i));
    assertEquals(seen.size, 200);
  });

  it("shrinks to nothing in place, and uses what was cut off (test_9)", () => {
    using allocator = rustyMalloc({ source: fixed(4096) });
    const address = allocator.allocate(3000);
    allocator.allocate(1000);
    assert(allocator.resize(address, 0));
    assert(allocator.tryAllocate(2900) !== 0);
  });

  it("gives distinct addresses for blocks of no bytes (test_10)", () => {
    using allocator = rustyMalloc({ source: fixed() });
    assertEquals(new Set([0, 0, 0, 0].map((size) => allocator.allocate(size))).size, 4);
  });

  it("shrinks and grows in place, into the slack of the last growth (test_11, test_12)", () => {
    using allocator = rustyMalloc({ source: fixed(), regionSize: 65_536 });
    const address = allocator.allocate(1000);
    assertEquals(allocator.reallocate(address, 100), address);
    assertEquals(allocator.reallocate(address, 60_000), address);
    assertEquals(allocator.stats().regions, 1);
  });

  it("works over a contiguous reservation, which is given back whole (test_arena_grower)", () => {
    const source = contiguousPageSource(systemPageSource(), 2 ** 20);
    const allocator = rustyMalloc({ source });
    const blocks = Array.from({ length: 300 }, (_, i) => allocator.allocate(i * 10));
    assertEquals(allocator.stats().regions, 1);
    // More than the reservation has: a second one, which may happen to touch the first.
    blocks.push(allocator.allocate(2 ** 21));
    assert(allocator.stats().regions <= 2);
    for (const address of blocks) allocator.free(address);
    allocator.check();
    allocator[Symbol.dispose]();
  });
});

describe("MemAlloc", () => {
  it("allocates, writes, frees and uses again (basic_allocation_and_write, alloc_dealloc_reuse)", () => {
    using allocator = memAlloc({ source: fixed() });
    const keep = allocator.allocate(8);
    const address = allocator.allocate(100);
    allocator.view(address).fill(0xab);
    assert(filled(allocator, address, 0xab));
    allocator.free(address);
    // The free list is FIFO: what was split off earlier comes first, so fill that.
    const blocks = Array.from({ length: 40 }, () => allocator.allocate(100));
    assert(blocks.includes(address));
    allocator.free(keep);
  });

  it("ignores free(0) (dealloc_null)", () => {
    using allocator = memAlloc({ source: fixed() });
    allocator.free(0);
    assertEquals(allocator.stats().liveBlocks, 0);
  });

  it("merges with the next and the previous block (block_merging)", () => {
    using allocator = memAlloc({ source: fixed() });
    const blocks = [0, 1, 2, 3].map(() => allocator.allocate(100));
    const before = allocator.freeStats().count;
    allocator.free(blocks[1]!);
    assertEquals(allocator.freeStats().count, before + 1);
    allocator.free(blocks[2]!);
    assertEquals(allocator.freeStats().count, before + 1);
    allocator.free(blocks[0]!);
    assertEquals(allocator.freeStats().count, before + 1);
    allocator.free(blocks[3]!);
    assertEquals(allocator.stats().regions, 0);
  });

  it("unmaps a region when its only block is free, of several (munmap_region_when_needed, multiple_regions_allocation)", () => {
    using allocator = memAlloc({ source: fixed() });
    const blocks = [0, 1, 2].map(() => allocator.allocate(5000));
    assertEquals(allocator.stats().regions, 3);
    allocator.free(blocks[1]!);
    assertEquals(allocator.stats().regions, 2);
    allocator.free(blocks[0]!);
    allocator.free(blocks[2]!);
    assertEquals([allocator.stats().regions, allocator.stats().reservedBytes], [0, 0]);
  });

  it("gives blocks of no bytes, and alignment (zero_sized_type_allocation, requested_high_alignment)", () => {
    using allocator = memAlloc({ source: fixed() });
    assert(allocator.allocate(0) !== 0);
    assertEquals(allocator.allocate(10, 64) % 64, 0);
  });

  it("reallocates: grows, shrinks, keeps alignment, null and zero (realloc_*)", () => {
    using allocator = memAlloc({ source: fixed() });
    const address = allocator.reallocate(0, 64);
    allocator.view(address).fill(9);
    allocator.allocate(16);
    const grown = allocator.reallocate(address, 3000);
    assert(allocator.view(grown, 64).every((byte) => byte === 9));
    const shrunk = allocator.reallocate(grown, 10);
    assert(filled(allocator, shrunk, 9));
    assertEquals(allocator.reallocate(shrunk, 0), 0);
    const aligned = allocator.allocate(100, 256);
    allocator.allocate(16);
    assertEquals(allocator.reallocate(aligned, 2000) % 256, 0);
    // Theirs returns null for null and zero; ours allocates, as reallocate(0, n) does for every n.
    assert(allocator.reallocate(0, 0) !== 0);
  });
});

describe("Rulloc", () => {
  it("keeps contents of small and large blocks apart (internal_allocator_wrapper)", () => {
    using allocator = rulloc(undefined, { source: fixed() });
    const small = allocator.allocate(50);
    const large = allocator.allocate(8192);
    allocator.view(small).fill(1);
    allocator.view(large).fill(2);
    assert(filled(allocator, small, 1) && filled(allocator, large, 2));
  });

  it("has regions by bucket, and reallocates across buckets (buckets)", () => {
    using allocator = rulloc([128, 256, 512], { source: fixed() });
    let address = allocator.allocate(100);
    allocator.view(address).fill(3);
    for (const [bucket, size] of [200, 400, 5000, 400, 200, 100].entries()) {
      address = allocator.reallocate(address, size);
      const regions = allocator.layout().map((layout) => layout.regions.length);
      assertEquals(regions.reduce((sum, count) => sum + count), 1);
      assertEquals(regions[[1, 2, 3, 2, 1, 0][bucket]!], 1);
      assert(allocator.view(address, 100).every((byte) => byte === 3));
    }
  });

  it("allocates and frees 10 sizes at alignments 16 to 8192 (strictly_aligned_allocs_and_deallocs)", () => {
    using allocator = rulloc(undefined, { source: fixed(2 ** 20) });
    for (let alignment = 16; alignment <= 8192; alignment *= 2) {
      const blocks = Array.from({ length: 10 }, (_, i) => {
        const address = allocator.allocate(8 + i * 100, alignment);
        assertEquals(address % alignment, 0);
        allocator.view(address).fill(i);
        return address;
      });
      blocks.forEach((address, i) => assert(filled(allocator, address, i)));
      for (const address of blocks) allocator.free(address);
      assertEquals(allocator.stats().regions, 0);
    }
  });

  it("reallocates to another alignment: in place when the address allows it, else moved with its contents (shrink, grow)", () => {
    using allocator = rulloc(undefined, { source: fixed() });
    const address = allocator.allocate(96);
    allocator.allocate(16);
    allocator.view(address).forEach((_, i, bytes) => bytes[i] = i);
    let block = address;
    for (const alignment of [8, 64, 512, 4096, 16]) {
      for (const size of [64, 96, 40]) {
        const before = block;
        block = allocator.reallocate(before, size, alignment);
        assertEquals(block % alignment, 0);
        if (before % alignment === 0 && size !== 96) assertEquals(block, before, `${size} bytes at ${alignment}`);
        assert(allocator.view(block, 40).every((byte, i) => byte === i), `${size} bytes at ${alignment}`);
        assertEquals([...allocator.blocks()].find((b) => b.address === block)!.alignment, Math.max(16, alignment));
        allocator.check();
      }
    }
    assertThrows(() => allocator.reallocate(block, 40, 48), RangeError, "48");
    // From now on without one: the last is kept.
    block = allocator.reallocate(allocator.reallocate(block, 40, 1024), 100);
    assertEquals(block % 1024, 0);
  });

  it("shrinks in place and keeps contents (shrink)", () => {
    using allocator = rulloc(undefined, { source: fixed() });
    const address = allocator.allocate(120);
    allocator.view(address).fill(4);
    assertEquals(allocator.reallocate(address, 40), address);
    assert(filled(allocator, address, 4));
  });

  it("disposes of everything at once, with blocks still live (Drop)", () => {
    const source = fixed();
    const allocator = rulloc(undefined, { source });
    for (let i = 0; i < 50; i++) allocator.allocate(i * 97);
    allocator[Symbol.dispose]();
    source.unmap(source.reserve(2 ** 18, 4096), 2 ** 18);
  });

  it("reports memory that is used up as an error, which a caller can handle", () => {
    using allocator = rulloc(undefined, { source: fixed(16_384) });
    let failure: unknown;
    try {
      for (;;) allocator.allocate(500);
    } catch (error) {
      failure = error;
    }
    assert(failure instanceof OutOfMemoryError);
    allocator.check();
  });
});
