/**
 * `DebugAllocator` beyond the contract: fills, sized frees, three stacks, what it remembers, the limit and its options.
 * Canaries are in debug_canaries.test.ts, leaks in debug_leaks.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import {
  AlignmentMismatchError,
  CorruptionError,
  DebugAllocator,
  fixedPageSource,
  Heap,
  InvalidFreeError,
  OutOfMemoryError,
  QuarantineAllocator,
  setViolationHook,
  SizeMismatchError,
} from "../mod.ts";
import { framesOf } from "../src/allocation_site.ts";
import { poke } from "./support/blocks.ts";
import { collectViolations } from "./support/violations.ts";

afterEach(() => void setViolationHook());

describe("DebugAllocator fills", () => {
  it("fresh blocks with 0xD0 and freed ones with 0xDF, over their whole length, small and large and aligned", () => {
    using debug = new DebugAllocator(new Heap({ source: fixedPageSource(new ArrayBuffer(2 ** 23)) }));
    for (const size of [1, 100, 5000, 70_000, 1_000_000]) {
      for (const alignment of [16, 4096]) {
        const address = debug.allocate(size, alignment);
        const view = debug.view(address);
        assert(view.every((byte) => byte === 0xd0), `fresh ${size}`);
        debug.free(address);
        assert(view.every((byte) => byte === 0xdf), `freed ${size}`);
      }
    }
    const zeroed = debug.allocateZeroed(1000);
    assert(debug.view(zeroed).every((byte) => byte === 0));
    const grown = debug.reallocate(zeroed, 3000);
    assert(debug.view(grown).every((byte, i) => byte === (i < 1000 ? 0 : 0xd0)));
  });

  it("nothing with fill: false, but the canaries are there", () => {
    using debug = new DebugAllocator(new Heap(), { fill: false });
    const address = debug.allocate(100);
    debug.view(address).fill(5);
    const view = debug.view(address);
    debug.free(address);
    assertEquals(view[50], 5);
    const other = debug.allocate(100);
    poke(debug, other, 100, 1);
    assertThrows(() => debug.free(other), CorruptionError);
    poke(debug, other, 100, 0xdc);
  });
});

describe("DebugAllocator.free()", () => {
  it("takes the size and the alignment, and names both numbers when they are others", () => {
    using debug = new DebugAllocator(new Heap());
    const address = debug.allocate(100, 64);
    for (const wrong of [0, 99, 101, 112]) {
      const error = assertThrows(() => debug.free(address, wrong), SizeMismatchError, "100 were asked for");
      assertEquals([error.address, error.size, error.requestedSize], [address, wrong, 100]);
    }
    for (const wrong of [1, 16, 128]) {
      const error = assertThrows(() => debug.free(address, 100, wrong), AlignmentMismatchError, "alignment 64");
      assertEquals([error.address, error.alignment, error.requestedAlignment], [address, wrong, 64]);
    }
    for (const bad of [-1, 1.5, NaN]) assertThrows(() => debug.free(address, bad), RangeError);
    assertThrows(() => debug.free(address, 100, 3), RangeError);
    debug.resize(address, 90);
    debug.free(address, 90, 64);
    debug.free(debug.allocate(8, 4), 8, 8); // either is 16
    assertEquals(debug.stats().liveBlocks, 0);
  });

  it("reports a second free with the stacks of the allocation and of the first free", () => {
    using debug = new DebugAllocator(new Heap());
    const state = { address: 0 };
    function allocates(): void {
      state.address = debug.allocate(24);
    }
    function freesFirst(): void {
      debug.free(state.address);
      state.address += 0;
    }
    function freesAgain(): void {
      debug.free(state.address);
      state.address += 0;
    }
    allocates();
    freesFirst();
    const error = assertThrows(freesAgain, InvalidFreeError);
    assertEquals(error.kind, "double");
    const first = (stack: Error | undefined): string | undefined => framesOf(stack)[0]?.functionName;
    assertEquals([error.allocatedAt, error.freedAt, error].map(first), ["allocates", "freesFirst", "freesAgain"]);
    for (
      const [stack, what, by] of [[error.allocatedAt, "allocated", "allocates"], [error.freedAt, "freed", "freesFirst"]]
    ) {
      // The first frame is the caller's in the text that the engine makes, too.
      assertMatch(
        (stack as Error).stack!,
        new RegExp(`^Error: ${what}\\n +at ${by} .*debug_allocator\\.test\\.ts.*(\\n +at .*)*$`),
      );
    }
    const text = error.message.split("\n");
    assertEquals(text[0], `Cannot free 0x${state.address.toString(16)}: the block of 24 bytes is already freed`);
    assertMatch(error.message, /\n {2}allocated\n {4}at allocates .*(\n {4}at .*)*\n {2}freed\n {4}at freesFirst /);
    assertThrows(() => debug.view(state.address), InvalidFreeError, "at freesFirst");
  });

  it("remembers as many freed blocks as it is told to", () => {
    using debug = new DebugAllocator(new Heap(), { remember: 2, stacks: false });
    const blocks = [1, 2, 3].map(() => debug.allocate(100));
    for (const address of blocks) debug.free(address);
    const kinds = blocks.map((address) => assertThrows(() => debug.free(address), InvalidFreeError).kind);
    assertEquals(kinds, ["foreign", "double", "double"]);
    assertEquals(assertThrows(() => debug.free(blocks[2]!), InvalidFreeError).allocatedAt, undefined);
  });

  it("remembers a block that was freed twice in a row of lives as the one freed last", () => {
    using debug = new DebugAllocator(new Heap(), { remember: 2, stacks: false });
    const [again, other, last] = [debug.allocate(100), debug.allocate(5000), debug.allocate(100)];
    debug.free(again);
    debug.free(other);
    assertEquals(debug.allocate(100), again);
    debug.free(again);
    debug.free(last);
    assertEquals(assertThrows(() => debug.free(again), InvalidFreeError).kind, "double");
    assertEquals(assertThrows(() => debug.free(other), InvalidFreeError).kind, "foreign");
  });

  it("leaves a block live and unharmed when the inner allocator refuses to free it", () => {
    class Stubborn extends Heap {
      refuses = true;
      override free(address: number): void {
        if (this.refuses) throw new CorruptionError("Cannot free: not now");
        super.free(address);
      }
    }
    const inner = new Stubborn();
    using debug = new DebugAllocator(inner);
    const address = debug.allocate(100);
    assertThrows(() => debug.free(address), CorruptionError, "not now");
    debug.check();
    assert(debug.owns(address));
    inner.refuses = false;
    debug.free(address);
    assertEquals(debug.stats().liveBlocks, 0);
  });

  for (const hookReturns of [false, true]) {
    it(`changes nothing when the inner allocator refuses, with a hook that ${hookReturns ? "returns" : "throws"}`, () => {
      using debug = new DebugAllocator(new QuarantineAllocator(new Heap(), { maxBlocks: 1 }));
      const stale = debug.view(debug.allocate(100));
      const block = debug.allocate(100);
      const buffer = debug.buffer(100);
      debug.view(block).fill(5);
      buffer.bytes.fill(6);
      const { bytes } = buffer;
      debug.freeArray(stale);
      stale[3] = 1;
      const seen = collectViolations(hookReturns);
      if (hookReturns) {
        buffer.free(); // the violation is that of the block which leaves the quarantine
        assertEquals([buffer.freed, bytes.length], [true, 0]);
      } else {
        assertThrows(() => buffer.free(), CorruptionError, "after it was freed");
        assertEquals([buffer.freed, bytes.length, bytes.every((byte) => byte === 6)], [false, 100, true]);
        buffer.free();
        assertEquals(bytes.length, 0);
      }
      assertEquals([seen.length, debug.view(block).every((byte) => byte === 5)], [1, true]);
      setViolationHook();
      debug.check();
      debug.free(block);
    });

    it(`changes nothing over a damaged DebugAllocator, with a hook that ${hookReturns ? "returns" : "throws"}`, () => {
      const inner = new DebugAllocator(new Heap());
      const debug = new DebugAllocator(inner);
      const buffer = debug.buffer(100);
      buffer.bytes.fill(6);
      const moving = debug.allocate(100);
      debug.view(moving).fill(7);
      const [, beyond] = [...inner.blocks()];
      poke(inner, beyond!.address, beyond!.requestedSize, 1);
      poke(inner, [...inner.blocks()][0]!.address, -1, 1);
      const before = debug.stats();
      const seen = collectViolations(hookReturns);
      for (const action of [() => buffer.free(), () => debug.free(moving)]) {
        if (hookReturns) action();
        else assertThrows(action, CorruptionError);
      }
      assertThrows(() => debug.reallocate(moving, 0), CorruptionError);
      assertThrows(() => debug.reallocate(moving, 50_000), CorruptionError);
      assertThrows(() => buffer.resize(50_000), CorruptionError);
      assert(seen.length >= 5 && seen.every(({ code }) => code === "ERR_CORRUPTION"));
      assertEquals([buffer.freed, buffer.bytes.every((byte) => byte === 6)], [false, true]);
      assertEquals([debug.owns(moving), debug.view(moving).every((byte) => byte === 7)], [true, true]);
      const { liveBlocks, liveBytes } = debug.stats();
      assertEquals([liveBlocks, liveBytes], [before.liveBlocks, before.liveBytes]);
      setViolationHook(() => {});
      debug[Symbol.dispose]();
    });
  }

  it("says which block an address is inside of, or beside", () => {
    using debug = new DebugAllocator(new Heap());
    const address = debug.allocate(100);
    const inside = assertThrows(
      () => debug.free(address + 8),
      InvalidFreeError,
      "8 bytes inside the live block of 100",
    );
    assert(inside.kind === "interior" && inside.allocatedAt !== undefined);
    const beside = assertThrows(() => debug.free(address - 16), InvalidFreeError, "before the live block of 100 bytes");
    assertEquals(beside.kind, "foreign");
  });
});

describe("DebugAllocator limit", () => {
  it("counts the bytes asked for, and allows exactly as many", () => {
    using debug = new DebugAllocator(new Heap(), { limit: 1000 });
    const first = debug.allocate(600);
    const second = debug.allocate(400);
    const error = assertThrows(() => debug.allocate(1), OutOfMemoryError, "limit of 1000");
    assertEquals([error.requested, error.limit, debug.stats().limit, debug.allocate(0) > 0], [1, 1000, 1000, true]);
    assertEquals(debug.resize(second, 401), false);
    debug.free(first);
    debug.free(debug.reallocate(second, 1000));
  });
});

describe("DebugAllocator options", () => {
  it("are refused when they are of the wrong type or value", () => {
    const bad: [string, unknown, new (message: string) => Error][] = [
      ["stacks", "yes", TypeError],
      ["stacks", -1, RangeError],
      ["fill", 1, TypeError],
      ["remember", 1.5, RangeError],
      ["limit", "5", TypeError],
      ["reportLeaks", 1, TypeError],
      ["leaksAtExit", "yes", TypeError],
      ["totals", null, TypeError],
    ];
    using inner = new Heap();
    for (const [name, value, errorClass] of bad) {
      assertThrows(() => new DebugAllocator(inner, { [name]: value }), errorClass, name);
    }
    for (const value of [undefined, null, {}, 5]) assertThrows(() => new DebugAllocator(value as never), TypeError);
  });
});
