/**
 * The short ways of `SharedHeap` for zeroed and moved small blocks: what they do, and what they leave to the general way.
 *
 * Everything goes through the public methods; `SharedMoves` is only listened to, so that each test knows which way was taken.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import {
  type Address,
  CorruptionError,
  DisposedError,
  failingPageSource,
  InvalidFreeError,
  OutOfMemoryError,
  setViolationHook,
  SharedHeap,
  systemPageSource,
} from "../mod.ts";
import { createAttachment } from "../src/shared_attachment.ts";
import { SharedMoves } from "../src/shared_moves.ts";
import { freeLate } from "./shared/free_late.ts";

const RESERVE = 2 ** 28;

/** Sizes around those where words give way to calls, and to another size class. */
const SIZES = [1, 16, 17, 48, 127, 128, 129, 144, 255, 256, 257, 1023, 1025, 4000, 4097, 16_384];

/** Two attachments to one heap. */
function pair(): [SharedHeap, SharedHeap] {
  const first = SharedHeap.create({ reserve: RESERVE });
  return [first, SharedHeap.attach(first.handle)];
}

/** Fills a block with bytes that say which it is. */
function mark(heap: SharedHeap, address: Address, seed: number): void {
  const bytes = heap.view(address);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 1 + ((i * 13 + seed) % 251);
}

/** Whether the first `length` bytes of a block are still those of {@link mark}. */
function isMarked(heap: SharedHeap, address: Address, seed: number, length: number): boolean {
  return heap.view(address, length).every((byte, i) => byte === 1 + ((i * 13 + seed) % 251));
}

/** Calls `call`, and says whether the short ways were asked and have answered: "short", "general", or "not asked". */
function wayOf<T>(call: () => T): { way: string; result: T } {
  const { zeroed, reallocate } = SharedMoves.prototype;
  const answers: Address[] = [];
  const listen = <A extends unknown[]>(method: (this: SharedMoves, ...args: A) => Address) =>
    function (this: SharedMoves, ...args: A): Address {
      // Before the call: what throws has not answered.
      const at = answers.push(0) - 1;
      return answers[at] = method.apply(this, args);
    };
  Object.assign(SharedMoves.prototype, { zeroed: listen(zeroed), reallocate: listen(reallocate) });
  try {
    const result = call();
    return { way: answers.length === 0 ? "not asked" : answers[0] === 0 ? "general" : "short", result };
  } finally {
    Object.assign(SharedMoves.prototype, { zeroed, reallocate });
  }
}

/** The result of a call that takes the short way. */
function shortly<T>(call: () => T): T {
  const { way, result } = wayOf(call);
  assertEquals(way, "short");
  return result;
}

/** The result of a call that is refused by the short way, and done by the general one. */
function generally<T>(call: () => T): T {
  const { way, result } = wayOf(call);
  assertEquals(way, "general");
  return result;
}

/** The kind of the `InvalidFreeError` that a call throws which the short ways leave to the general one. */
function kindOf(call: () => unknown): string {
  return generally(() => assertThrows(call, InvalidFreeError).kind);
}

describe("small blocks of a SharedHeap that move", () => {
  it("keep what was asked for, and their neighbours, from each size to each other", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (const before of SIZES) {
      for (const after of SIZES) {
        const what = `${before} to ${after}`;
        const neighbours = [before, after].map((size) => [0, 1, 2].map(() => heap.allocate(size))).flat();
        neighbours.forEach((address, i) => mark(heap, address, i));
        const [from, to] = [neighbours[1]!, neighbours[4]!];
        heap.free(to);
        const moved = shortly(() => heap.reallocate(from, after));
        assert(isMarked(heap, moved, 1, Math.min(before, after)), what);
        assertEquals(heap.view(moved).length, after);
        assertEquals(heap.owns(from), moved === from, what);
        for (const i of [0, 2, 3, 5]) {
          assert(isMarked(heap, neighbours[i]!, i, i < 3 ? before : after), `neighbour ${i} of ${what}`);
        }
        heap.check();
        for (const address of [moved, ...[0, 2, 3, 5].map((i) => neighbours[i]!)]) heap.free(address);
      }
    }
    assertEquals(heap.stats().liveBlocks, 0);
  });

  it("move from one region to another and back", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (const size of [48, 600, 3000, 8000]) {
      const address = heap.allocate(size);
      mark(heap, address, 3);
      // More than all regions so far: the class of the double size gets its next page behind it.
      const ballast = heap.allocate(heap.stats().committedBytes);
      const filler: Address[] = [];
      while (filler.length === 0 || filler.at(-1)! < ballast) filler.push(heap.allocate(size * 2));
      const moved = shortly(() => heap.reallocate(address, size * 2));
      assert(moved > ballast && isMarked(heap, moved, 3, size), `${size}`);
      const back = shortly(() => heap.reallocate(moved, size));
      assert(back < ballast && isMarked(heap, back, 3, size), `${size}`);
      heap.check();
      for (const block of [back, ballast, ...filler]) heap.free(block);
    }
    assertEquals(heap.stats().liveBlocks, 0);
  });

  it("leave a full page, or an empty one, in the list where it belongs", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    let committed = 0;
    for (let round = 0; round < 6; round++) {
      const blocks = Array.from({ length: 3000 }, () => heap.allocate(200));
      blocks.forEach((address, at) => {
        blocks[at] = shortly(() => heap.reallocate(address, 500));
        if (at % 500 === 0) heap.check();
      });
      heap.check();
      for (const address of blocks) heap.free(address);
      if (round === 0) committed = heap.stats().committedBytes;
    }
    assertEquals(heap.stats().committedBytes, committed);
    assertEquals(heap.stats().liveBlocks, 0);
    heap.trim();
    heap.check();
  });

  it("stay in place as long as the block keeps half of its size, and its link can say how much", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (
      const [before, after, stays] of [
        [16_384, 16_384 - 4095, true],
        [16_384, 16_384 - 4096, false],
        [512, 257, true],
        [512, 256, false],
        [512, 513, false],
        [500, 512, true],
        [16, 1, true],
      ] as const
    ) {
      const block = heap.allocate(before);
      mark(heap, block, 2);
      const moved = shortly(() => heap.reallocate(block, after));
      assertEquals(moved === block, stays, `${before} to ${after}`);
      assert(isMarked(heap, moved, 2, Math.min(before, after)));
      assertEquals([...heap.blocks()].map((live) => [live.requestedSize, live.alignment]), [[after, 16]]);
      heap.free(moved);
    }
  });

  it("take the short way too while others have freed blocks of their page", () => {
    const [owner, other] = pair();
    const [a, b, c] = [owner.allocate(100), owner.allocate(100), owner.allocate(100)];
    const target = owner.allocate(300);
    mark(owner, b, 1);
    for (const address of [a, target]) other.free(address);
    assertEquals(shortly(() => owner.reallocate(b, 90)), b);
    const moved = shortly(() => owner.reallocate(b, 300));
    assert(isMarked(other, moved, 1, 90));
    assertEquals(shortly(() => owner.allocateZeroed(100)), b);
    for (const address of [a, target]) {
      for (const size of [90, 20]) assertEquals(kindOf(() => owner.reallocate(address, size)), "double");
    }
    assertEquals(owner.stats().liveBlocks, 3);
    owner.free(c);
    for (const heap of [owner, other]) heap.check();
    for (const heap of [owner, other]) heap.detach();
  });
});

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
    for (const heap of [owner, other]) heap.check();
    for (const heap of [owner, other]) heap.detach();
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
    for (const heap of [owner, other]) heap.check();
    for (const heap of [owner, other]) heap.detach();
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

describe("small zeroed blocks of a SharedHeap", () => {
  it("are zero in slots that were written before, and nothing else is", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (const size of SIZES) {
      const blocks = [0, 1, 2, 3].map(() => heap.allocate(size));
      blocks.forEach((address, i) => mark(heap, address, i));
      heap.free(blocks[2]!);
      assertEquals(shortly(() => heap.allocateZeroed(size)), blocks[2]);
      assertEquals(heap.view(blocks[2]!).length, size);
      assert(heap.view(blocks[2]!).every((byte) => byte === 0), `${size}`);
      for (const i of [0, 1, 3]) assert(isMarked(heap, blocks[i]!, i, size), `neighbour ${i} of ${size}`);
    }
    assertEquals(heap.view(shortly(() => heap.allocateZeroed(0))).length, 0);
    heap.check();
  });

  it("are zero in slots that another worker has written and freed", () => {
    const [owner, other] = pair();
    const blocks = Array.from({ length: 500 }, () => owner.allocate(100));
    blocks.forEach((address) => mark(other, address, 1));
    blocks.forEach((address) => other.free(address));
    for (let at = 0; at < 2000; at++) {
      assert(owner.view(shortly(() => owner.allocateZeroed(100))).every((byte) => byte === 0), `block ${at}`);
    }
    owner.check();
    for (const heap of [owner, other]) heap.detach();
  });

  it("are left to the general way when they are aligned or large", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    for (const [size, alignment] of [[100, 64], [100, 8], [20_000, 16], [20_000, 4096]] as const) {
      const block = heap.allocate(size, alignment);
      heap.view(block).fill(9);
      heap.free(block);
      const { way, result } = wayOf(() => heap.allocateZeroed(size, alignment));
      assertEquals(way, "not asked");
      assertEquals(result % alignment, 0);
      assert(heap.view(result).every((byte) => byte === 0));
    }
  });

  it("are not allocated when there is no memory, or their region cannot be wrapped", () => {
    const source = failingPageSource(systemPageSource(), Infinity, { operations: ["wrap"] });
    const platform = { ...systemSharedPlatform(), source };
    const heap = new SharedHeap(createAttachment(source, platform, 2 ** 20));
    heap.allocate(16);
    source.rearm(0);
    // The tables are wrapped, the region not yet.
    assertThrows(() => heap.allocateZeroed(16), OutOfMemoryError);
    const block = heap.allocate(16);
    heap.allocate(32);
    assertThrows(() => heap.reallocate(block, 32), OutOfMemoryError);
    assertEquals(heap.stats().liveBlocks, 3);
    source.rearm(Infinity);
    const blocks = [16_000].flatMap((size) => {
      const found: Address[] = [];
      for (let address = heap.tryAllocate(size); address !== 0; address = heap.tryAllocate(size)) found.push(address);
      return found;
    });
    generally(() => assertThrows(() => heap.allocateZeroed(16_000), OutOfMemoryError));
    generally(() => assertThrows(() => heap.reallocate(block, 16_000), OutOfMemoryError));
    assert(heap.owns(block));
    assertEquals(heap.stats().liveBlocks, 3 + blocks.length);
    heap.check();
    heap.detach();
  });
});

/** Calls that take a slot of the class of 600 bytes. */
const USES: Readonly<Record<string, (heap: SharedHeap, small: Address) => Address>> = {
  "an allocateZeroed": (heap) => heap.allocateZeroed(590),
  "a reallocate": (heap, small) => heap.reallocate(small, 590),
};

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
      for (const heap of [owner, other]) heap.check();
      for (const heap of [owner, other]) heap.detach();
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
        for (const heap of [owner, other]) heap.check();
        for (const heap of [owner, other]) heap.detach();
      });
    }
  }
});
