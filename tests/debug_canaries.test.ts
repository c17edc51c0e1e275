/**
 * Canaries of a `DebugAllocator`, to the byte, and that what it has reported is not reported again.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import { BucketAllocator, CorruptionError, DebugAllocator, DisposedError, Heap, setViolationHook } from "../mod.ts";
import { framesOf } from "../src/allocation_site.ts";
import { poke } from "./support/blocks.ts";
import { collectViolations } from "./support/violations.ts";

afterEach(() => void setViolationHook());

/** A byte as `poke` would find it. */
function peek(debug: DebugAllocator, address: number, offset: number): number | undefined {
  const { buffer, byteOffset } = debug.view(address);
  return new Uint8Array(buffer)[byteOffset + offset];
}

/** Fails unless the error says that this byte of a block is wrong. */
function assertByte(error: CorruptionError, address: number, offset: number, found: number): void {
  assertEquals([error.byte?.address, error.byte?.offset, error.byte?.found], [address, offset, found]);
  assert(error.message.includes(`offset ${offset} `), error.message);
  assert(error.message.includes(`is 0x${found.toString(16).padStart(2, "0")} instead of 0xd`), error.message);
}

describe("DebugAllocator canaries", () => {
  for (const size of [1, 13, 16, 100, 5000, 70_000]) {
    it(`find a byte written 1, 8 and 32 bytes beyond a block of ${size} bytes at free, check, resize and dispose`, () => {
      for (const offset of [-1, -8, -16, size, size + 7, size + 15]) {
        const debug = new DebugAllocator(new Heap());
        const address = debug.allocate(size);
        debug.check();
        poke(debug, address, offset, 0x41);
        const actions = [
          () => debug.check(),
          () => debug.free(address),
          () => debug.free(address),
          () => debug.resize(address, size + 1),
          () => debug.reallocate(address, size * 3),
          () => debug.reallocate(address, 0),
        ];
        for (const action of actions) assertByte(assertThrows(action, CorruptionError), address, offset, 0x41);
        assertEquals([debug.stats().liveBlocks, debug.view(address).length], [1, size]);
        debug[Symbol.dispose](); // it was reported
        assertThrows(() => debug.allocate(1), DisposedError);

        const other = new DebugAllocator(new Heap());
        const block = other.allocate(size);
        poke(other, block, offset, 0x41);
        assertByte(assertThrows(() => other[Symbol.dispose](), CorruptionError), block, offset, 0x41);
        assertThrows(() => other.allocate(1), DisposedError);
        other[Symbol.dispose]();
      }
    });
  }

  it("give the lowest byte of an overrun of 32, and the stack of the allocation", () => {
    const debug = new DebugAllocator(new Heap());
    function victim(): number {
      const address = debug.allocate(100);
      return address + 0; // so that Bun keeps the frame
    }
    const address = victim();
    for (let i = 0; i < 32; i++) poke(debug, address, 100 + i, 1);
    const error = assertThrows(() => debug.free(address), CorruptionError);
    assertByte(error, address, 100, 1);
    assertEquals(framesOf(error.byte?.allocatedAt)[0]?.functionName, "victim");
    assertMatch(error.message, /allocated\n {4}at victim \(.*debug_canaries\.test\.ts:\d+:\d+\)/);
    // Mended, it can be freed.
    for (let i = 0; i < 16; i++) poke(debug, address, 100 + i, 0xdc);
    for (let i = 16; i < 32; i++) poke(debug, address, 100 + i, 0xde);
    debug.free(address);
    debug[Symbol.dispose]();
  });

  it("watch the padding up to the end of the inner block, and the whole alignment before it", () => {
    const debug = new DebugAllocator(new BucketAllocator({ sizes: [1024] }), { stacks: false });
    const address = debug.allocate(50, 256);
    assertEquals([peek(debug, address, -256), peek(debug, address, 50), peek(debug, address, 66)], [0xdc, 0xdc, 0xde]);
    for (const offset of [-256, 70]) {
      const before = peek(debug, address, offset)!;
      poke(debug, address, offset, 7);
      assertByte(assertThrows(() => debug.check(), CorruptionError), address, offset, 7);
      poke(debug, address, offset, before);
    }
    debug[Symbol.dispose]();
  });

  it("report every damaged block at dispose, in one error", () => {
    const debug = new DebugAllocator(new Heap());
    const blocks = [10, 20, 30].map((size) => debug.allocate(size));
    poke(debug, blocks[0]!, -1, 1);
    poke(debug, blocks[2]!, 30, 2);
    const error = assertThrows(() => debug[Symbol.dispose](), CorruptionError);
    assertByte(error, blocks[0]!, -1, 1);
    assertMatch(error.message, /and 1 more/);
    const { errors } = error.cause as AggregateError;
    assertEquals(errors.map(({ byte }) => byte.address), [blocks[0], blocks[2]]);
  });

  it("give each to a hook that returns, and go on", () => {
    const seen = collectViolations();
    const debug = new DebugAllocator(new Heap());
    const address = debug.allocate(10);
    poke(debug, address, 10, 1);
    debug.free(address);
    debug.free(address);
    assert(debug.owns(address));
    poke(debug, debug.allocate(20), 20, 1);
    debug.check();
    poke(debug, debug.allocate(30), 30, 1);
    debug[Symbol.dispose]();
    assertEquals(seen.map((violation) => (violation as CorruptionError).byte?.offset), [10, 10, 20, 30]);
  });

  it("notice an inner allocator that was used directly, and dispose it all the same", () => {
    const inner = new Heap();
    const debug = new DebugAllocator(inner);
    const address = debug.allocate(10);
    inner.free(address - 16);
    const second = debug.allocate(1000);
    assertThrows(() => debug.check(), CorruptionError, "the inner allocator has freed it");
    inner.free(second - 16);
    const error = assertThrows(() => debug[Symbol.dispose](), CorruptionError, "the inner allocator has freed it");
    assertEquals([error.message.includes(second.toString(16)), error.cause], [true, undefined]);
    assertThrows(() => inner.allocate(1), DisposedError);
  });
});

describe("what a DebugAllocator has reported", () => {
  it("is not thrown again on leaving the scope: the error of free() arrives as it is, and not a SuppressedError", () => {
    const error = assertThrows(() => {
      using debug = new DebugAllocator(new Heap());
      const address = debug.allocate(100);
      poke(debug, address, 100, 7);
      debug.free(address);
    });
    assert(error instanceof CorruptionError, `${error}`);
    assertMatch(error.message, /^Cannot free /);
  });

  for (const method of ["free", "check"] as const) {
    it(`does not hide the program's own error when ${method}() has reported it`, () => {
      const mine = new Error("mine");
      const error = assertThrows(() => {
        using debug = new DebugAllocator(new Heap());
        const address = debug.allocate(100);
        poke(debug, address, 100, 7);
        assertThrows(() => debug[method](address), CorruptionError);
        throw mine;
      });
      assertEquals(error, mine);
    });
  }

  it("by the free of a NativeBuffer is not thrown again by the DebugAllocator that it is of", () => {
    const mine = new Error("mine");
    const error = assertThrows(() => {
      using debug = new DebugAllocator(new Heap());
      using buffer = debug.buffer(100);
      const beside = debug.allocate(100); // a view of the buffer itself ends where that does
      poke(debug, beside, buffer.address + 100 - beside, 7);
      throw mine;
    }) as SuppressedError;
    assert(error.error instanceof CorruptionError, `${error.error}`);
    assertEquals(error.suppressed, mine);
  });

  it("what was not reported is, at dispose: with another error on its way, both are in a SuppressedError", () => {
    const mine = new Error("mine");
    const error = assertThrows(() => {
      using debug = new DebugAllocator(new Heap());
      poke(debug, debug.allocate(100), 100, 7);
      throw mine;
    }) as SuppressedError;
    assertEquals([error.name, error.suppressed === mine], ["SuppressedError", true]);
    assert(error.error instanceof CorruptionError, `${error.error}`);
  });

  it("is reported again by check() when another byte or value is found, or the block was intact in between", () => {
    using debug = new DebugAllocator(new Heap());
    const address = debug.allocate(100);
    const seen: [number, number][] = [];
    setViolationHook((violation) => {
      const { offset, found } = (violation as CorruptionError).byte!;
      seen.push([offset, found]);
    });
    const write = (offset: number, value: number): void => {
      poke(debug, address, offset, value);
      debug.check();
      debug.check();
    };
    write(110, 1);
    write(110, 2);
    write(105, 1);
    write(107, 1); // behind the first that was changed: the block is known to be damaged
    assertEquals(seen, [[110, 1], [110, 2], [105, 1]]);
    for (const offset of [105, 107, 110]) poke(debug, address, offset, 0xdc);
    debug.check();
    write(105, 1);
    assertEquals(seen.length, 4);
    poke(debug, address, 105, 0xdc);
    assert(debug.resize(address, 101)); // looks at the block, too
    write(105, 1);
    assertEquals(seen.length, 5);
  });

  it("of a block that was lost is not reported again when its address is given out", () => {
    const inner = new Heap();
    using debug = new DebugAllocator(inner);
    const address = debug.allocate(100);
    inner.free(address - 16);
    assertThrows(() => debug.check(), CorruptionError, "the inner allocator has freed it");
    assertEquals(debug.allocate(100), address);
    assertEquals(debug.stats().liveBlocks, 1);
    debug.free(address);
  });
});
