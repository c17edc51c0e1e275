/**
 * What `BumpAllocator` does beyond the contract: K1 and K5 of the catalogue, and the article's own figures.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { BumpAllocator, CorruptionError, fixedPageSource, InvalidFreeError, OutOfMemoryError } from "../mod.ts";
import { alignUp } from "../src/arguments.ts";
import { Prng } from "./support/prng.ts";
import { rootUrl, runSource } from "./support/runtime.ts";

function bumpOf(size: number): BumpAllocator {
  return new BumpAllocator({ source: fixedPageSource(new ArrayBuffer(size)), size });
}

describe("the article's bump allocator", () => {
  it("has 1 MiB unless told otherwise", () => {
    using bump = new BumpAllocator();
    assertEquals([bump.capacity, bump.used, bump.available], [2 ** 20, 0, 2 ** 20]);
    bump.allocate(2 ** 20);
    assertThrows(() => bump.allocate(0), OutOfMemoryError);
  });

  it("alignUp() is the article's align_up", () => {
    for (const align of [1, 2, 4, 8, 16, 4096]) {
      for (let address = 0; address < 3 * align + 3; address++) {
        assertEquals(alignUp(address, align), (address + align - 1) & ~(align - 1));
      }
    }
  });

  it("u16, u32 and u64 arrays are aligned to their elements", () => {
    using bump = bumpOf(4096);
    for (const type of [Uint16Array, Uint32Array, BigUint64Array]) {
      bump.allocate(1);
      const array = bump.array<Uint16Array | Uint32Array | BigUint64Array>(type, 3);
      assertEquals(bump.addressOf(array) % type.BYTES_PER_ELEMENT, 0);
    }
  });
});

describe("BumpAllocator K1", () => {
  it("blocks follow each other, and the accounting is exact", () => {
    using bump = bumpOf(65_536);
    const random = new Prng(71);
    let end = bump.allocate(0) + 16;
    for (let i = 0; i < 500; i++) {
      const size = random.below(200);
      const alignment = 2 ** random.below(9);
      const address = bump.tryAllocate(size, alignment);
      if (address === 0) break;
      assertEquals(address, alignUp(end, Math.max(16, alignment)));
      end = address + Math.max(16, alignUp(size, 16));
      assertEquals([bump.used + bump.available, bump.used], [65_536, end - [...bump.blocks()][0]!.address]);
    }
    bump.check();
  });

  it("the last block grows and shrinks in place, another does not grow", () => {
    using bump = bumpOf(4096);
    const first = bump.allocate(100);
    const last = bump.allocate(100);
    assertEquals([bump.resize(first, 112), bump.resize(first, 113)], [true, false]);
    assertEquals([bump.resize(last, 1000), bump.used], [true, 112 + 1008]);
    assertEquals([bump.resize(last, 10), bump.used], [true, 112 + 16]);
    assertEquals([bump.resize(last, 4096 - 112), bump.available], [true, 0]);
    assertEquals(bump.resize(last, 4096 - 111), false);
    bump.check();
  });

  it("reallocate() of the last block stays, of another moves", () => {
    using bump = bumpOf(4096);
    const first = bump.allocate(32);
    const last = bump.allocate(32);
    assertEquals(bump.reallocate(last, 500), last);
    bump.view(first).fill(3);
    const moved = bump.reallocate(first, 500);
    assert(moved > last);
    assertEquals([...bump.view(moved, 32)], new Array(32).fill(3));
    assertEquals(bump.owns(first), false);
  });

  it("free() of the last block gives its bytes back, of another not until all behind it are free", () => {
    using bump = bumpOf(4096);
    const [a, b, c, d] = [bump.allocate(64), bump.allocate(64), bump.allocate(64), bump.allocate(64)];
    bump.free(d);
    assertEquals(bump.used, 192);
    bump.free(b);
    assertEquals([bump.used, bump.stats().liveBlocks], [192, 2]);
    assertThrows(() => bump.free(b), InvalidFreeError, "already freed");
    bump.free(c);
    assertEquals(bump.used, 64, "the cursor falls back over b as well");
    for (const freed of [b, c, d]) assertThrows(() => bump.free(freed), InvalidFreeError, "already freed");
    assertEquals(bump.allocate(100), b);
    const interior = assertThrows(() => bump.free(c), InvalidFreeError);
    assertEquals(interior.kind, "interior");
    bump.free(a);
    bump.free(b);
    assertEquals(bump.used, 0);
    bump.check();
  });

  it("the padding of an aligned block comes back with it", () => {
    using bump = bumpOf(8192);
    bump.allocate(1);
    const aligned = bump.allocate(1, 1024);
    assertEquals(bump.used, 1040);
    bump.free(aligned);
    assertEquals(bump.used, 16);
  });

  it("ten thousand blocks: every bad address is found, freed in random order all bytes come back", () => {
    using bump = bumpOf(2 ** 20);
    const random = new Prng(72);
    const blocks = Array.from({ length: 10_000 }, () => bump.allocate(random.below(60)));
    for (const address of random.shuffle([...blocks]).slice(0, 500)) {
      assertThrows(() => bump.free(address + 8), InvalidFreeError);
      assertThrows(() => bump.free(address + 0.5), InvalidFreeError);
    }
    for (const address of random.shuffle(blocks)) {
      bump.free(address);
      assertThrows(() => bump.free(address), InvalidFreeError);
    }
    assertEquals([bump.used, bump.stats().liveBlocks], [0, 0]);
    bump.check();
  });
});

describe("BumpAllocator K5", () => {
  it("a fixed buffer is exhausted exactly", () => {
    using bump = bumpOf(4096);
    const blocks = Array.from({ length: 256 }, () => bump.allocate(16));
    const error = assertThrows(() => bump.allocate(0), OutOfMemoryError);
    assert(error.message.includes("0 of the 4096 bytes"), error.message);
    assertEquals([bump.tryAllocate(1), bump.available, new Set(blocks).size], [0, 0, 256]);
    bump.free(blocks[255]!);
    assertEquals(bump.allocate(16), blocks[255]);
  });
});

describe("BumpAllocator", () => {
  it("reset() frees everything, detaches owned buffers, and starts again at the same address", () => {
    using bump = new BumpAllocator();
    const first = bump.allocate(100);
    const buffer = bump.buffer(100);
    const { bytes } = buffer;
    const view = bump.view(first);
    bump.reset();
    assertEquals([buffer.freed, bytes.length, view.length, bump.used], [true, 0, 100, 0]);
    assertThrows(() => bump.free(first), InvalidFreeError, "already freed");
    assertThrows(() => buffer.free(), InvalidFreeError);
    assertEquals(bump.allocate(50), first);
    bump.check();
  });

  it("allocateZeroed() clears what was used before, also where a stale view wrote after trim()", () => {
    using bump = new BumpAllocator();
    const stale = bump.view(bump.allocate(100_000));
    stale.fill(9);
    bump.reset();
    assert(bump.trim() > 0);
    assertEquals(bump.trim(), 0);
    stale.fill(9);
    assert(bump.view(bump.allocateZeroed(200_000)).every((byte) => byte === 0));
  });

  it("bytes written through a view of the whole region cannot corrupt its record", () => {
    using bump = bumpOf(4096);
    const blocks = [bump.allocate(32), bump.allocate(32), bump.allocate(32)];
    new Uint8Array(bump.view(blocks[0]!).buffer).fill(0xff);
    bump.check();
    assertThrows(() => bump.free(blocks[1]! + 16), InvalidFreeError);
    for (const address of blocks) bump.free(address);
    bump.check();
  });

  it("a size that is none is a RangeError that names it", () => {
    const source = fixedPageSource(new ArrayBuffer(65_536));
    for (const size of [0, -1, 1.5, NaN, 2 ** 40]) {
      const error = assertThrows(() => new BumpAllocator({ source, size }), RangeError);
      assert(error.message.includes(`${size}`), error.message);
    }
    assertThrows(() => new BumpAllocator({ source, size: "8" as unknown as number }), TypeError);
    new BumpAllocator({ source, size: 65_536 })[Symbol.dispose]();
    using whole = new BumpAllocator({ source, size: 65_536 });
    assertThrows(() => new BumpAllocator({ source, size: 1 }), OutOfMemoryError);
    assertEquals(whole.capacity, 65_536);
  });

  it("a region that was detached from outside is found by check(), reallocate() and view()", () => {
    using bump = new BumpAllocator();
    const address = bump.allocate(10);
    bump.allocate(10);
    (bump.view(address).buffer as ArrayBuffer).transfer(0);
    for (const call of [() => bump.check(), () => bump.view(address), () => bump.reallocate(address, 100)]) {
      assertThrows(call, CorruptionError, "detached");
    }
  });

  it("bump, arena and pool work over a fixed buffer without any permission", async () => {
    const source = `
      import { Arena, BumpAllocator, fixedPageSource, PoolAllocator, setGlobalAllocator, Vec } from "${rootUrl}mod.ts";
      const make = () => fixedPageSource(new ArrayBuffer(65536), { pageSize: 64 });
      const allocators = [
        new BumpAllocator({ source: make(), size: 65536 }),
        new Arena({ source: make(), chunkSize: 1024 }),
        new PoolAllocator({ source: make(), slotSize: 2048, capacity: 32, growable: false }),
      ];
      for (const allocator of allocators) {
        setGlobalAllocator(allocator);
        const vec = new Vec(Float64Array);
        for (let i = 0; i < 200; i++) vec.push(i);
        const buffer = allocator.buffer(100);
        allocator.check();
        console.log([...vec].reduce((sum, value) => sum + value), allocator.stats().liveBlocks, buffer.byteLength);
        allocator[Symbol.dispose]();
      }`;
    const { code, stdout, stderr } = await runSource(source, { denoFlags: ["--no-prompt"] });
    assertEquals([code, stdout.replaceAll("\r", ""), stderr], [0, "19900 2 100\n".repeat(3), ""]);
  });
});
