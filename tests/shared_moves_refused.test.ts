/**
 * What the short ways of `SharedHeap` for zeroed and moved small blocks leave to the general way: blocks of other
 * workers, aligned, owned and large ones, wrong addresses, and double frees by two workers at once.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Address,
  CorruptionError,
  DisposedError,
  InvalidFreeError,
  setViolationHook,
  SharedHeap,
} from "../mod.ts";
import { freeLate } from "./shared/free_late.ts";
import { generally, kindOf, shortly, wayOf } from "./shared/heard_moves.ts";
import { checkAndDetach, pair, RESERVE } from "./shared/pair.ts";
import { isMarked, mark } from "./support/blocks.ts";

/** Calls that take a slot of the class of 600 bytes. */
const USES: Readonly<Record<string, (heap: SharedHeap, small: Address) => Address>> = {
  "an allocateZeroed": (heap) => heap.allocateZeroed(590),
  "a reallocate": (heap, small) => heap.reallocate(small, 590),
};

describe("what SharedHeap.reallocate has no short way for", () => {
  it("a block of another worker's page: the sizes of both workers are right", () => {
    const [owner, other] = pair();
    const block = owner.allocate(100);
    other.free(other.allocate(100));
    mark(owner, block, 7);
    assertEquals(generally(() => other.reallocate(block, 90)), block);
    assertEquals(owner.view(block).length, 90);
    const moved = generally(() => other.reallocate(block, 1000));
    assert(isMarked(owner, moved, 7, 90));
    assertEquals([owner.owns(block), owner.view(moved).length, owner.stats().liveBlocks], [false, 1000, 1]);
    assertEquals(kindOf(() => owner.reallocate(block, 50)), "double");
    const back = generally(() => owner.reallocate(moved, 200));
    assert(isMarked(other, back, 7, 90));
    owner.free(back);
    checkAndDetach(owner, other);
  });

  it("an aligned block that must move: it stays aligned, and is resized in place the short way", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (const alignment of [32, 256, 1024]) {
      const block = heap.allocate(3000, alignment);
      mark(heap, block, 1);
      assertEquals(shortly(() => heap.reallocate(block, 2900)), block);
      const moved = generally(() => heap.reallocate(block, 9000));
      assertNotEquals(moved, block);
      assertEquals(moved % alignment, 0);
      assert(isMarked(heap, moved, 1, 2900));
      assertEquals([...heap.blocks()].map((live) => live.alignment), [alignment]);
      heap.free(moved);
    }
  });

  it("a block that a NativeBuffer owns", () => {
    const [first, second] = pair();
    const buffer = first.buffer(100);
    second.free(second.allocate(100));
    for (const heap of [first, second]) {
      for (const size of [90, 1000, 0]) assertEquals(kindOf(() => heap.reallocate(buffer.address, size)), "foreign");
    }
    assertEquals([buffer.bytes.length, first.stats().liveBlocks], [100, 1]);
    for (const heap of [first, second]) heap.detach();
  });

  it("large blocks, and blocks that become large", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    const block = heap.allocate(16_000);
    mark(heap, block, 5);
    const { way, result: large } = wayOf(() => heap.reallocate(block, 5_000_000));
    assertEquals(way, "not asked");
    assert(isMarked(heap, large, 5, 16_000));
    const small = generally(() => heap.reallocate(large, 3000));
    assert(isMarked(heap, small, 5, 3000));
    assertEquals(heap.usableSize(small), 3072);
    heap.free(small);
    assertEquals(heap.stats().liveBlocks, 0);
  });

  it("a size of 0, which frees, and address 0, which allocates", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    const { way, result: block } = wayOf(() => heap.reallocate(0, 40));
    assertEquals([way, heap.view(block).length], ["not asked", 40]);
    assertEquals(generally(() => heap.reallocate(block, 0)), 0);
    assertEquals([heap.owns(block), heap.stats().liveBlocks], [false, 0]);
  });

  it("addresses where no live block starts, and arguments that are none", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    const block = heap.allocate(64);
    const freed = heap.allocate(64);
    heap.free(freed);
    assertEquals(kindOf(() => heap.reallocate(freed, 10)), "double");
    assertEquals(kindOf(() => heap.reallocate(block + 16, 10)), "interior");
    for (const address of [block + 1, block + 0.5, block + RESERVE, -16, 16, 2 ** 53]) {
      assertThrows(() => heap.reallocate(address, 10), Error);
    }
    for (const size of [-1, 0.5, NaN, Infinity]) {
      assertThrows(() => heap.reallocate(block, size), RangeError, `${size}`);
    }
    for (const [address, size] of [[block, "8"], [`${block}`, 8], [block, undefined], [null, 8]] as [never, never][]) {
      assertThrows(() => heap.reallocate(address, size), TypeError);
    }
    for (const size of ["8", null, 8n] as never[]) assertThrows(() => heap.allocateZeroed(size), TypeError);
    assertEquals([heap.stats().liveBlocks, heap.usableSize(block)], [1, 64]);
    heap.check();
  });

  it("a block that another worker frees while it is copied: the double free is found, and nothing is allocated", () => {
    const [owner, other] = pair();
    const block = owner.allocate(1000);
    // Makes the page of the new size, so that the other's free comes in the copy and not before.
    owner.free(owner.allocate(3000));
    const { copyWithin } = Uint8Array.prototype;
    let copies = 0;
    Object.assign(Uint8Array.prototype, {
      copyWithin(this: Uint8Array, ...args: Parameters<typeof copyWithin>) {
        if (copies++ === 0) other.free(block);
        return copyWithin.apply(this, args);
      },
    });
    try {
      assertEquals(kindOf(() => owner.reallocate(block, 3000)), "double");
    } finally {
      Object.assign(Uint8Array.prototype, { copyWithin });
    }
    assertEquals([copies, owner.stats().liveBlocks], [1, 0]);
    checkAndDetach(owner, other);
  });

  it("a region that was detached from outside", () => {
    const heap = SharedHeap.create({ reserve: RESERVE });
    const block = heap.allocate(100);
    mark(heap, block, 1);
    (heap.view(block).buffer as ArrayBuffer).transfer(0);
    for (const call of [() => heap.reallocate(block, 2000), () => heap.allocateZeroed(100)]) {
      generally(() => assertThrows(call, CorruptionError, "detached"));
      assertEquals([...heap.blocks()].map(({ address, requestedSize }) => [address, requestedSize]), [[block, 100]]);
    }
    // Nothing of the region is touched.
    assertEquals(shortly(() => heap.reallocate(block, 101)), block);
    heap.free(block);
    heap.detach();
  });

  it("a heap that was detached", () => {
    const heap = SharedHeap.create({ reserve: RESERVE });
    const block = heap.allocate(100);
    heap.detach();
    for (const call of [() => heap.reallocate(block, 90), () => heap.allocateZeroed(90)]) {
      assertEquals(wayOf(() => assertThrows(call, DisposedError)).way, "not asked");
    }
  });
});

describe("a double free by two workers at once", () => {
  for (const [name, use] of Object.entries(USES)) {
    it(`is reported by ${name} that would take the slot, which takes no short way`, () => {
      const [owner, other] = pair();
      const small = owner.allocate(16);
      owner.allocate(600);
      const block = owner.allocate(600);
      freeLate(other, block, () => owner.free(block));
      const error = generally(() => assertThrows(() => use(owner, small), InvalidFreeError));
      assertEquals([error.kind, error.address, owner.stats().liveBlocks], ["double", block, 2]);
      assertEquals(owner.owns(small), true);
      const live = shortly(() => use(owner, small));
      assertEquals(live, block);
      checkAndDetach(owner, other);
    });

    for (const goesOn of [false, true]) {
      it(`is reported by ${name} that gets the page it is in${goesOn ? ", and somebody says to go on" : ""}`, () => {
        const [owner, other] = pair();
        const small = owner.allocate(16);
        const block = owner.allocate(600);
        const later = owner.allocate(600);
        freeLate(other, later, () => {
          owner.free(block);
          owner.free(later);
          owner.trim();
        });
        const reported: Address[] = [];
        const previous = setViolationHook((error) => {
          reported.push((error as InvalidFreeError).address);
          if (!goesOn) throw error;
        });
        try {
          if (goesOn) assertEquals(owner.view(generally(() => use(owner, small))).length, 590);
          else generally(() => assertThrows(() => use(owner, small), InvalidFreeError, "at the same moment"));
        } finally {
          setViolationHook(previous);
        }
        assertEquals(reported, [later]);
        assertEquals(owner.owns(small), !goesOn || name === "an allocateZeroed");
        checkAndDetach(owner, other);
      });
    }
  }
});
