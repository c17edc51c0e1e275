/**
 * A wrapped allocator that is used directly, behind its wrapper's back: freed from, reset, disposed. The ArrayBuffers
 * of the wrapper's NativeBuffers must be empty before the memory goes, the next call must say what has happened, and
 * the inner allocator must stay whole. The same at random is in used_directly_random.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import {
  type Address,
  type Allocator,
  Arena,
  BucketAllocator,
  BumpAllocator,
  CorruptionError,
  fixedPageSource,
  FreeListAllocator,
  GuardAllocator,
  Heap,
  InvalidFreeError,
  limitedPageSource,
  type PageSource,
  PoolAllocator,
  QuarantineAllocator,
  setViolationHook,
  SharedHeap,
  UseAfterFreeError,
} from "../mod.ts";
import { rootUrl, runSource } from "./support/runtime.ts";
import { modestSource } from "./support/scarce_source.ts";
import { collectViolations } from "./support/violations.ts";
import { type Inner, WRAPPERS } from "./support/wrappers.ts";

const MIB = 2 ** 20;

afterEach(() => void setViolationHook());

/** Everything that a program may have put a wrapper around. */
const INNER: readonly { readonly name: string; make(source: PageSource): Inner; readonly size?: number }[] = [
  { name: "a heap", make: (source) => new Heap({ source }) },
  { name: "a secure heap", make: (source) => new Heap({ source, secure: true }) },
  { name: "a heap, large blocks", make: (source) => new Heap({ source }), size: 100_000 },
  { name: "a FreeListAllocator", make: (source) => new FreeListAllocator({ source }) },
  { name: "a BucketAllocator", make: (source) => new BucketAllocator({ source, sizes: [64, 4096] }) },
  { name: "an arena", make: (source) => new Arena({ source, chunkSize: 65_536 }) },
  { name: "a bump allocator", make: (source) => new BumpAllocator({ source, size: 2 ** 18 }) },
  { name: "a pool", make: (source) => new PoolAllocator({ source, slotSize: 4096, capacity: 8 }) },
];

/** Those that need the system's memory. */
const NATIVE: typeof INNER = [
  { name: "a heap, huge blocks", make: (source) => new Heap({ source }), size: 6 * MIB },
  { name: "guarded blocks", make: (source) => new GuardAllocator({ source }) },
  {
    name: "blocks of which some are guarded",
    make: (source) => new GuardAllocator({ source, sampleRate: 2, seed: 1 }),
  },
  { name: "a shared heap", make: () => SharedHeap.create({ reserve: 16 * MIB }) },
  { name: "a heap, limited", make: (source) => new Heap({ source: limitedPageSource(source, 16 * MIB) }) },
];

/** The block of `inner` that has `address` in it. */
function blockAround(inner: Allocator, address: Address): Address {
  for (const block of inner.blocks()) {
    if (block.address <= address && address < block.address + Math.max(1, block.usableSize)) return block.address;
  }
  throw new Error(`no block of the inner allocator has 0x${address.toString(16)} in it`);
}

for (const wrapper of WRAPPERS) {
  describe(`${wrapper.name}, and the inner allocator used directly`, () => {
    for (
      const [where, makeSource, inners] of [
        ["system memory", modestSource, [...INNER, ...NATIVE]],
        ["a fixed buffer", () => fixedPageSource(new ArrayBuffer(4 * MIB)), INNER],
      ] as const
    ) {
      for (const { name, make, size = 1000 } of inners) {
        it(`free(): buffers over ${name} are freed at once, on ${where}`, () => {
          const inner = make(makeSource());
          const outer = wrapper.wrap(inner);
          const [buffer, other] = [outer.buffer(size), outer.buffer(size)];
          const { address, bytes, isolated } = buffer;
          bytes.fill(1);
          other.bytes.fill(2);

          inner.free(blockAround(inner, address));

          assertEquals([buffer.freed, bytes.length], [true, isolated ? 0 : size]);
          assertThrows(() => buffer.bytes, UseAfterFreeError);
          assertThrows(() => buffer.free(), InvalidFreeError, "already freed");
          assertEquals([other.freed, other.bytes.every((byte) => byte === 2)], [false, true]);
          inner.check();

          // The wrapper takes the block for live, and says at the next look that it is not.
          const violations = collectViolations();
          outer.free(address);
          assertEquals(violations.map(({ code }) => code), ["ERR_CORRUPTION"]);
          assertStringIncludes(violations[0]!.message, "somebody has used that directly");
          outer.check(); // of two wrappers on top of each other, the lower one says it for itself
          setViolationHook();
          outer.check(); // it was reported
          assertThrows(() => outer.view(address, 1));
          const [first, second] = [outer.allocate(size), outer.allocate(size)];
          inner.free(blockAround(inner, first));
          assertThrows(() => outer.check(), CorruptionError, "the inner allocator has freed it");

          other.free();
          inner.free(blockAround(inner, second));
          inner.check();
          assertThrows(() => outer[Symbol.dispose](), CorruptionError, "the inner allocator has freed it");
          outer[Symbol.dispose]();
        });

        it(`dispose: buffers over ${name} are empty, and the wrapper can still be disposed, on ${where}`, () => {
          const inner = make(makeSource());
          const outer = wrapper.wrap(inner);
          const buffers = [outer.buffer(size), outer.buffer(10), outer.buffer(0)];
          const held = buffers.map((buffer) => buffer.bytes);
          inner[Symbol.dispose]();
          assertEquals(buffers.map(({ freed }) => freed), [true, true, true]);
          if (makeSource === modestSource) assertEquals(held.map(({ length }) => length), [0, 0, 0]);
          for (const buffer of buffers) assertThrows(() => buffer.view(DataView), UseAfterFreeError);
          outer[Symbol.dispose]();
        });

        it(`resize() and reallocate() of a buffer's block are refused over ${name}, on ${where}`, () => {
          const inner = make(makeSource());
          using outer = wrapper.wrap(inner);
          const buffer = outer.buffer(size);
          const block = blockAround(inner, buffer.address);
          assertThrows(() => inner.resize(block, 16), InvalidFreeError, "owns the block");
          assertThrows(() => inner.reallocate(block, 16), InvalidFreeError, "owns the block");
          buffer.resize(size / 2);
          buffer.free();
          inner.check();
        });
      }
    }

    it("reset() and rewind() of an arena, reset() of a bump allocator", () => {
      const arena = new Arena();
      const overArena = wrapper.wrap(arena);
      const before = overArena.buffer(100);
      const mark = arena.mark();
      const since = overArena.buffer(100);
      arena.rewind(mark);
      assertEquals([before.freed, since.freed], [false, true]);
      arena.reset("free-all");
      assertEquals(before.freed, true);
      arena.check();
      assertThrows(() => overArena[Symbol.dispose](), CorruptionError);

      const bump = new BumpAllocator();
      const overBump = wrapper.wrap(bump);
      const { bytes } = overBump.buffer(100);
      bump.reset();
      assertEquals(bytes.length, 0);
      assertThrows(() => overBump[Symbol.dispose](), CorruptionError);
    });

    it("a block that is given out again is reported, once, and the new one is whole", () => {
      const inner = new PoolAllocator({ slotSize: 4096, capacity: 1, growable: false });
      using outer = wrapper.wrap(inner);
      const lost = outer.buffer(100);
      const { address } = lost;
      inner.free(blockAround(inner, address));
      const violations = collectViolations();
      const again = outer.allocate(200);
      assertEquals(again, address);
      outer.view(again).fill(3);
      assert(violations.length >= 1 && violations.every(({ message }) => message.includes("used that directly")));
      setViolationHook();
      assertThrows(() => lost.bytes, UseAfterFreeError);
      outer.check();
      outer.free(again);
      outer.check();
    });

    it("the same with a hook that throws: nothing is allocated", () => {
      const inner = new PoolAllocator({ slotSize: 4096, capacity: 1, growable: false });
      const outer = wrapper.wrap(inner);
      const address = outer.allocate(100);
      inner.free(blockAround(inner, address));
      assertThrows(() => outer.allocate(200), CorruptionError, "used that directly");
      assertEquals(inner.stats().liveBlocks, 0);
      collectViolations();
      outer[Symbol.dispose]();
    });
  });
}

describe("a QuarantineAllocator, and the inner allocator used directly", () => {
  it("lets a lost block out without touching what is there now", () => {
    const inner = new FreeListAllocator({ coalesce: "eager", fit: "first", order: "address" });
    const outer = new QuarantineAllocator(inner, { maxBlocks: 2 });
    const [first, second, other] = [outer.allocate(64), outer.allocate(64), outer.allocate(64)];
    outer.free(first);
    outer.free(second);
    inner.free(first);
    inner.free(second);
    // One block where two were: the second is inside of it.
    const joined = inner.allocate(120);
    assertEquals(joined, first);
    inner.view(joined).fill(7);
    const violations = collectViolations();
    outer.trim();
    assertEquals([violations.length, outer.quarantinedBlocks, outer.quarantinedBytes], [2, 0, 0]);
    assert(violations.every(({ message }) => message.includes("used that directly")));
    assertEquals([inner.owns(joined), inner.view(joined).every((byte) => byte === 7)], [true, true]);
    inner.check();
    outer.free(other);
    outer.check();
    outer[Symbol.dispose]();
    assertEquals(violations.length, 2);
  });

  it("reports a lost block once when its address comes back", () => {
    const inner = new Heap({ source: modestSource() });
    using outer = new QuarantineAllocator(inner);
    const address = outer.allocate(64);
    outer.free(address);
    inner.free(address);
    assertThrows(() => outer.allocate(64), CorruptionError, "Cannot keep");
    assertEquals([outer.quarantinedBlocks, outer.quarantinedBytes, inner.stats().liveBlocks], [0, 0, 0]);
    outer.free(outer.allocate(64));
    outer.check();
  });
});

/** An allocator of a program's own, which knows nothing of claims: a heap behind an interface. */
const OWN_ALLOCATOR = `
  class Own {
    heap = new Heap({ source: modest });
    source = this.heap.source;
    allocate(...rest) { return this.heap.allocate(...rest); }
    allocateZeroed(...rest) { return this.heap.allocateZeroed(...rest); }
    free(address) { this.heap.free(address); }
    owns(address) { return this.heap.owns(address); }
    usableSize(address) { return this.heap.usableSize(address); }
    view(...rest) { return this.heap.view(...rest); }
    blocks() { return this.heap.blocks(); }
    trim() { return this.heap.trim(); }
    [Symbol.dispose]() { this.heap[Symbol.dispose](); }
  }
`;

describe("views of a wrapper's NativeBuffers", () => {
  it("do not end the process, whatever was done to the inner allocator", async () => {
    const { code, stdout, stderr } = await runSource(`
      import {
        Arena, BumpAllocator, DebugAllocator, FreeListAllocator, GuardAllocator, Heap, PoolAllocator, QuarantineAllocator,
        OutOfMemoryError, SharedHeap, systemPageSource,
      } from "${rootUrl}mod.ts";
      const modest = {
        ...systemPageSource(),
        reserve(byteLength, alignment) {
          if (byteLength <= 2 ** 28) return systemPageSource().reserve(byteLength, alignment);
          throw new OutOfMemoryError("Cannot reserve so much: this test takes less", byteLength);
        },
      };
      ${OWN_ALLOCATOR}
      const inners = [
        () => new Heap({ source: modest }), () => new FreeListAllocator(), () => new Arena(), () => new BumpAllocator({ size: 2 ** 24 }),
        () => new PoolAllocator({ slotSize: 7_000_000 }), () => new GuardAllocator(), () => SharedHeap.create({ reserve: 2 ** 25 }),
        () => new Own(),
      ];
      const wrappers = [
        (inner) => new DebugAllocator(inner), (inner) => new QuarantineAllocator(inner),
        (inner) => new DebugAllocator(new QuarantineAllocator(inner)),
      ];
      let touched = 0;
      for (const make of inners) {
        for (const wrap of wrappers) {
          for (const size of [100, 50_000, 6_000_000]) {
            const inner = make();
            const outer = wrap(inner);
            const views = [outer.buffer(size).bytes, outer.buffer(size).view(DataView)];
            if (!(inner instanceof Own) || size > 5e6) for (const { address } of [...inner.blocks()]) inner.free(address);
            inner.trim();
            inner[Symbol.dispose]();
            for (let i = 0; i < size; i += 1000) touched += views[0][i] ?? 1;
            views[0][0] = 1;
            try { views[1].setUint8(0, 1); throw "DataView is not detached"; } catch (error) { if (typeof error === "string") throw error; }
            outer[Symbol.dispose]();
          }
        }
      }
      console.log(\`touched \${touched}\`);
    `);
    assertEquals([code, stdout.trim()], [0, `touched ${8 * 3 * (1 + 50 + 6000)}`], stderr);
  });
});
