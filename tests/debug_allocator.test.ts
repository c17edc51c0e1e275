/**
 * DebugAllocator beyond the contract: canaries to the byte, fills, sized frees, three stacks, leaks, scopes and reports.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import {
  AlignmentMismatchError,
  type AllocatorError,
  BucketAllocator,
  CorruptionError,
  DebugAllocator,
  DisposedError,
  fixedPageSource,
  Heap,
  InvalidFreeError,
  type LeakReport,
  OutOfMemoryError,
  QuarantineAllocator,
  setViolationHook,
  SizeMismatchError,
} from "../mod.ts";
import { framesOf } from "../src/allocation_site.ts";
import { rootUrl, runSource } from "./support/runtime.ts";

afterEach(() => void setViolationHook());

/** A byte at any distance from a block, through the region that it lies in. */
function poke(debug: DebugAllocator, address: number, offset: number, value: number): void {
  const { buffer, byteOffset } = debug.view(address);
  new Uint8Array(buffer)[byteOffset + offset] = value;
}

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
    assertMatch(error.message, /allocated\n {4}at victim \(.*debug_allocator\.test\.ts:\d+:\d+\)/);
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
    const seen: AllocatorError[] = [];
    setViolationHook((violation) => void seen.push(violation));
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
      const seen: AllocatorError[] = [];
      setViolationHook((violation) => {
        seen.push(violation);
        if (!hookReturns) throw violation;
      });
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
      const seen: AllocatorError[] = [];
      setViolationHook((violation) => {
        seen.push(violation);
        if (!hookReturns) throw violation;
      });
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

describe("DebugAllocator leaks", () => {
  it("are the live blocks by site, and reported at dispose to a function", () => {
    const reports: LeakReport[] = [];
    const debug = new DebugAllocator(new Heap(), { reportLeaks: (report) => void reports.push(report) });
    const blocks: number[] = [];
    function leaky(): void {
      blocks.push(debug.allocate(1000));
      blocks.push(debug.allocate(1000));
    }
    for (let i = 0; i < 3; i++) leaky();
    debug.free(debug.allocate(50));
    debug.allocate(7);
    const report = debug.leaks();
    assertEquals([report.count, report.bytes, report.sites.length], [7, 6007, 3]);
    assertEquals(report.sites.map(({ count, bytes }) => [count, bytes]), [[3, 3000], [3, 3000], [1, 7]]);
    assertEquals(report.sites[0]!.frames[0]!.functionName, "leaky");
    assertEquals(report.sites[0]!.blocks.map(({ address }) => address), blocks.filter((_, i) => i % 2 === 0));
    assertEquals(reports, []);
    debug[Symbol.dispose]();
    debug[Symbol.dispose]();
    assertEquals(reports.map(({ count, bytes }) => [count, bytes]), [[7, 6007]]);
  });

  it("are not reported where there are none, nor where nobody asked", () => {
    let reports = 0;
    new DebugAllocator(new Heap(), { reportLeaks: () => void reports++ })[Symbol.dispose]();
    const written: unknown[] = [];
    const { error } = console;
    console.error = (...words: unknown[]) => void written.push(words);
    try {
      const debug = new DebugAllocator(new Heap());
      debug.allocate(10);
      debug[Symbol.dispose]();
      assertEquals([reports, written], [0, []]);
      const asked = new DebugAllocator(new Heap(), { reportLeaks: true });
      asked.allocate(10);
      asked[Symbol.dispose]();
    } finally {
      console.error = error;
    }
    assertEquals(written.length, 1);
    assertMatch(`${written[0]}`, /1 site, 1 block, 10 bytes are not freed/);
  });

  it("of a scope are the blocks that were allocated in it, reallocated ones as old as they were", () => {
    using debug = new DebugAllocator(new Heap());
    const old = debug.allocate(10);
    const reports: LeakReport[] = [];
    let moved = 0;
    {
      using scope = debug.scope((report) => void reports.push(report));
      moved = debug.reallocate(old, 100_000);
      assert(moved !== old);
      assertEquals(scope.leaks().count, 0);
      debug.free(debug.allocate(30));
      debug.allocate(20);
    }
    assertEquals(reports.map(({ count, bytes }) => [count, bytes]), [[1, 20]]);
    {
      using _clean = debug.scope((report) => void reports.push(report));
      debug.free(debug.allocate(1));
      debug.free(moved);
    }
    assertEquals(reports.length, 1);
  });

  it("are reported although the report throws, and damage beside it", () => {
    const debug = new DebugAllocator(new Heap(), {
      reportLeaks() {
        throw new Error("no room in the log");
      },
    });
    const inner = debug.allocate(10);
    assertThrows(() => debug[Symbol.dispose](), Error, "no room in the log");
    assertThrows(() => debug.free(inner), DisposedError);
  });

  it("are written when the program ends, by itself or by exit(), unless it was disposed", async () => {
    for (const end of ["", "process.exit(0);"]) {
      const { code, stdout, stderr } = await runSource(`
        import process from "node:process";
        import { DebugAllocator, Heap } from "${rootUrl}mod.ts";
        const options = { leaksAtExit: true };
        const left = new DebugAllocator(new Heap(), options);
        function forgets() { const block = [left.allocate(1234)]; return block.length; }
        forgets();
        new DebugAllocator(new Heap(), options).free(0);
        const disposed = new DebugAllocator(new Heap(), { leaksAtExit: true, reportLeaks() {} });
        disposed.allocate(99);
        disposed[Symbol.dispose]();
        console.log("the end");
        ${end}
      `);
      assertEquals([code, stdout.trim()], [0, "the end"]);
      assertMatch(
        stderr,
        /^1 site, 1 block, 1,234 bytes are not freed\n\n1,234 bytes in 1 block: 0x\w+\n {4}at forgets /,
      );
      assert(!stderr.includes(" 99 "), stderr);
    }
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
