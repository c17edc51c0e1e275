/**
 * What a `QuarantineAllocator` finds: writes after free, blocks that were freed behind its back, and blocks that the
 * allocator below refuses to free. Who is told, how often, and that it goes on afterwards.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import {
  type Address,
  CorruptionError,
  DebugAllocator,
  DisposedError,
  GuardAllocator,
  Heap,
  InvalidFreeError,
  QuarantineAllocator,
  setViolationHook,
  systemPageSource,
} from "../mod.ts";
import { allocateHere, allocateMany, freeHere } from "./support/blocks.ts";
import { Recorder } from "./support/recording_source.ts";
import { collectViolations } from "./support/violations.ts";

afterEach(() => void setViolationHook());

/** 960 of 1024 bytes in quarantine, 512 of them written to: a block of 256 bytes lets those out first. */
function aboutToReport(): { allocator: QuarantineAllocator; block: Address } {
  const allocator = new QuarantineAllocator(new GuardAllocator(), { maxBytes: 1024 });
  const [written, other, block] = [allocator.allocate(512), allocator.allocate(448), allocator.allocate(256)];
  const stale = allocator.view(written);
  allocator.free(written);
  allocator.free(other);
  stale[0] = 1;
  return { allocator, block };
}

function assertWhole(allocator: QuarantineAllocator, quarantined: number): void {
  setViolationHook();
  allocator.check();
  const { liveBlocks, liveBytes } = allocator.stats();
  assertEquals([liveBlocks, liveBytes, allocator.quarantinedBytes], [0, 0, quarantined]);
  allocator.trim();
  assertEquals([allocator.quarantinedBlocks, allocator.quarantinedBytes], [0, 0]);
  allocator[Symbol.dispose]();
}

describe("a write after free", () => {
  it("is found when the block leaves, with offset, value and both stacks", () => {
    using allocator = new QuarantineAllocator(new Heap(), { maxBlocks: 1, stacks: true });
    const address = allocateHere(allocator, 200);
    const other = allocator.allocate(200);
    const stale = allocator.view(address);
    freeHere(allocator, address);
    stale[123] = 0x41;
    const error = assertThrows(() => allocator.free(other), CorruptionError);
    const { allocatedAt, freedAt, ...byte } = error.byte!;
    assertEquals(byte, { address, offset: 123, expected: 0xdf, found: 0x41 });
    assert(allocatedAt instanceof Error && freedAt instanceof Error);
    assertStringIncludes(error.message, `at offset 123 (0x${(address + 123).toString(16)}) is 0x41 instead of 0xdf`);
    const [allocated, freed] = error.message.split("\n  freed\n") as [string, string];
    assertStringIncludes(allocated, "allocateHere");
    assertStringIncludes(freed, "freeHere");

    // That call did nothing else, and the block that was written to is gone.
    assertEquals([allocator.owns(other), allocator.quarantinedBlocks], [true, 0]);
    allocator.free(other);
    assertEquals(allocator.trim() >= 0, true);
  });

  it("at any byte, the slack behind the size asked for included, is found", () => {
    using allocator = new QuarantineAllocator(new Heap());
    for (const size of [1, 20, 100, 5000, 70_000]) {
      const address = allocator.allocate(size);
      const usable = allocator.usableSize(address);
      const stale = allocator.view(address, usable);
      allocator.free(address);
      for (const offset of [0, size - 1, size, usable - 1].filter((offset) => offset < usable)) {
        stale[offset] = 0xde;
        assertEquals(assertThrows(() => allocator.check(), CorruptionError).byte?.offset, offset);
        stale[offset] = 0xdf;
        allocator.check();
      }
    }
  });

  it("is reported once, by check(), trim() or by dispose when everything was given back", () => {
    const recorder = new Recorder(systemPageSource());
    const allocator = new QuarantineAllocator(new Heap({ source: recorder.source }));
    const addresses = allocateMany(allocator, 3, 50);
    const views = addresses.map((address) => allocator.view(address));
    for (const address of addresses) allocator.free(address);
    const violations = collectViolations();
    views[1]![0] = 1;
    allocator.check();
    allocator.check();
    assertEquals(violations.length, 1);
    views[2]![0] = 1;
    allocator.trim();
    assertEquals([violations.length, allocator.quarantinedBlocks], [2, 0]);
    allocator.check();
    assertEquals(violations.map((violation) => (violation as CorruptionError).byte?.address), addresses.slice(1));

    const last = allocator.allocate(50);
    const stale = allocator.view(last);
    allocator.free(last);
    stale[49] = 2;
    setViolationHook();
    assertEquals(assertThrows(() => allocator[Symbol.dispose](), CorruptionError).byte?.offset, 49);
    assertEquals(recorder.complaint(), "");
    allocator[Symbol.dispose]();
  });

  it("with a hook that returns, the call that found it goes on", () => {
    using allocator = new QuarantineAllocator(new Heap(), { maxBlocks: 1 });
    const [first, second] = [allocator.allocate(32), allocator.allocate(32)];
    const stale = allocator.view(first);
    allocator.free(first);
    stale.fill(9);
    const violations = collectViolations();
    allocator.free(second);
    assertEquals(violations.map((violation) => violation.code), ["ERR_CORRUPTION"]);
    assertEquals([allocator.owns(second), allocator.quarantinedBlocks, allocator.stats().liveBlocks], [false, 1, 0]);
  });
});

describe("every write after free", () => {
  it("is reported by check() and dispose, in one error, although the hook throws", () => {
    for (const method of ["check", Symbol.dispose] as const) {
      const allocator = new QuarantineAllocator(new Heap());
      const views = allocateMany(allocator, 4, 50).map((address) => allocator.view(address));
      for (const view of views) allocator.freeArray(view);
      views[0]![0] = views[2]![1] = views[3]![2] = 1;
      const seen = collectViolations(false);
      const error = assertThrows(() => allocator[method](), CorruptionError, "and 2 more");
      assertEquals((error.cause as AggregateError).errors, seen);
      assertEquals(seen.map((violation) => (violation as CorruptionError).byte?.offset), [0, 1, 2]);
      allocator[Symbol.dispose]();
      assertEquals(seen.length, 3);
    }
  });

  it("that check() has reported is not thrown again on leaving the scope", () => {
    const error = assertThrows(() => {
      using allocator = new QuarantineAllocator(new Heap());
      const stale = allocator.view(allocator.allocate(100));
      allocator.freeArray(stale);
      stale[5] = 42;
      allocator.check();
    }, Error);
    assert(error instanceof CorruptionError, `${error}`);
    assertStringIncludes(error.message, "Cannot check 0x");
  });

  it("that check() has reported is let out in silence by the free that has no room, which goes on", () => {
    using allocator = new QuarantineAllocator(new Heap(), { maxBlocks: 1 });
    const [first, second] = [allocator.allocate(100), allocator.allocate(100)];
    const stale = allocator.view(first);
    allocator.free(first);
    stale[5] = 42;
    assertThrows(() => allocator.check(), CorruptionError);
    allocator.free(second);
    assertEquals([allocator.owns(second), allocator.quarantinedBlocks], [false, 1]);
  });
});

describe("a block that somebody has freed in the inner allocator", () => {
  it("is reported once: by free() and not by check(), by check() and not when its address is given out", () => {
    const heap = new Heap();
    using allocator = new QuarantineAllocator(heap);
    const [first, second] = [allocator.allocate(100), allocator.allocate(5000)];
    heap.free(first);
    assertThrows(() => allocator.free(first), CorruptionError, "the inner allocator has freed it");
    allocator.check();
    heap.free(second);
    assertThrows(() => allocator.check(), CorruptionError, "the inner allocator has freed it");
    assertEquals(allocator.allocate(5000), second);
    assertEquals(allocator.allocate(100), first);
    assertEquals(allocator.stats().liveBlocks, 2);
  });
});

describe("a QuarantineAllocator over a DebugAllocator", () => {
  it("has freed blocks that are no leaks of that one, at dispose or before; live ones are", () => {
    const reports: number[] = [];
    const debugs = [1, 2].map(() => {
      return new DebugAllocator(new Heap(), { reportLeaks: ({ count }) => void reports.push(count) });
    }) as [DebugAllocator, DebugAllocator];
    const above = new DebugAllocator(debugs[1], { reportLeaks: ({ count }) => void reports.push(count) });
    for (const [debug, inner] of [[debugs[0], new QuarantineAllocator(debugs[0])], [debugs[1], above]] as const) {
      const allocator = new QuarantineAllocator(inner);
      const scope = debug.scope(({ count }) => void reports.push(count));
      for (const address of allocateMany(allocator, 100, 50)) allocator.free(address);
      const native = allocator.buffer(100);
      assertEquals(debug.leaks().count, 1);
      native.free();
      assertEquals([debug.leaks().count, debug.stats().liveBlocks, allocator.quarantinedBlocks], [0, 101, 101]);
      scope[Symbol.dispose]();
      allocator[Symbol.dispose]();
      assertEquals(reports, []);
      assertThrows(() => debug.leaks(), DisposedError);
    }

    const debug = new DebugAllocator(new Heap(), { reportLeaks: ({ count }) => void reports.push(count) });
    const allocator = new QuarantineAllocator(debug, { maxBlocks: 1 });
    const [first, second] = [allocator.allocate(50), allocator.allocate(50)];
    allocator.free(first);
    allocator.free(second);
    assertEquals(allocator.allocate(50), first); // a new life of the block, which is not held
    assertEquals(debug.leaks().sites[0]?.blocks.map(({ address }) => address), [first]);
    allocator[Symbol.dispose]();
    assertEquals(reports, [1]);
  });

  it("reports what either finds once: by check(), or at dispose when everything was given back", () => {
    const recorder = new Recorder(systemPageSource());
    const allocator = new QuarantineAllocator(new DebugAllocator(new Heap({ source: recorder.source })));
    const [written, overrun, known] = allocateMany(allocator, 3, 64).map((address) => allocator.view(address));
    const poke = (view: Uint8Array | undefined, offset: number, value: number): void => {
      new Uint8Array(view!.buffer)[view!.byteOffset + offset] = value;
    };
    for (const view of [written!, overrun!, known!]) allocator.freeArray(view);
    const violations = collectViolations();
    poke(written, 3, 1);
    poke(overrun, 64, 2);
    poke(known, 65, 3);
    allocator.check();
    poke(written, 2, 4);
    poke(overrun, -1, 5);
    allocator[Symbol.dispose]();
    const bytes = violations.map((violation) => (violation as CorruptionError).byte!);
    assertEquals(bytes.map(({ offset, found }) => [offset, found]), [[3, 1], [64, 2], [65, 3], [-1, 5], [2, 4]]);
    assertEquals(recorder.complaint(), "");
  });
});

describe("a block that the allocator below refuses to free", () => {
  for (const hookReturns of [false, true]) {
    it(`is set aside and the queue goes on, with a hook that ${hookReturns ? "returns" : "throws"}`, () => {
      const debug = new DebugAllocator(new Heap());
      const allocator = new QuarantineAllocator(debug, { maxBlocks: 1 });
      const [damaged, second, third, fourth] = allocateMany(allocator, 4, 64) as [Address, Address, Address, Address];
      const { buffer, byteOffset } = allocator.view(damaged);
      allocator.free(damaged);
      new Uint8Array(buffer)[byteOffset + 64] = 1;
      const seen = collectViolations(hookReturns);
      if (!hookReturns) {
        assertThrows(() => allocator.free(second), CorruptionError, "behind the end");
        assertEquals([allocator.owns(second), allocator.quarantinedBlocks], [true, 0]);
      }
      allocator.free(second);
      allocator.free(third);
      assertEquals([seen.length, debug.owns(damaged), allocator.quarantinedBlocks], [1, true, 1]);
      setViolationHook();
      const error = assertThrows(() => allocator.free(damaged), InvalidFreeError, "refused to do");
      assertEquals(error.kind, "double");
      allocator.check(); // it was reported
      allocator.free(fourth);
      allocator.trim();
      assertEquals([debug.stats().liveBlocks, allocator.stats().liveBlocks], [1, 0]);
      allocator[Symbol.dispose]();
    });
  }

  it("as it is too large for the queue stays as it is, its NativeBuffer too", () => {
    const debug = new DebugAllocator(new Heap());
    const allocator = new QuarantineAllocator(debug, { maxBytes: 100 });
    const native = allocator.buffer(1000);
    native.bytes.fill(7);
    const inner = debug.view([...debug.blocks()][0]!.address);
    const tail = new Uint8Array(inner.buffer);
    tail[inner.byteOffset + 1000] = 1;
    assertThrows(() => native.free(), CorruptionError, "behind the end");
    setViolationHook(() => {});
    native.free();
    assertEquals([native.freed, native.bytes.every((byte) => byte === 7), allocator.stats().liveBlocks], [
      false,
      true,
      1,
    ]);
    tail[inner.byteOffset + 1000] = 0xdc;
    setViolationHook();
    native.free();
    assertEquals([native.freed, debug.stats().liveBlocks], [true, 0]);
    allocator[Symbol.dispose]();
  });
});

describe("a hook that uses the block that is being freed", () => {
  it("can free it: the free that was interrupted is the second, and does nothing", () => {
    const { allocator, block } = aboutToReport();
    const codes: string[] = [];
    setViolationHook(({ code }) => {
      codes.push(code);
      if (allocator.owns(block)) allocator.free(block);
    });
    allocator.free(block);
    assertEquals(codes, ["ERR_CORRUPTION", "ERR_INVALID_FREE"]);
    assertWhole(allocator, 448 + 256);
  });

  it("can resize it: what is freed is as long as it is then", () => {
    const { allocator, block } = aboutToReport();
    setViolationHook(() => void allocator.resize(block, 200));
    allocator.free(block);
    const { quarantinedBytes } = allocator;
    assertEquals(quarantinedBytes, 448 + 200);
    assertWhole(allocator, quarantinedBytes);
  });

  it("can free it during reallocate(), which throws then and has allocated nothing", () => {
    const allocator = new QuarantineAllocator(new Heap({ limit: 3000 }));
    const [written, block] = [allocator.allocate(1000), allocator.allocate(1000)];
    const stale = allocator.view(written);
    allocator.free(written);
    stale[0] = 1;
    setViolationHook(() => {
      if (allocator.owns(block)) allocator.free(block);
    });
    const error = assertThrows(() => allocator.reallocate(block, 1900), InvalidFreeError, "Cannot reallocate");
    assertEquals([error.kind, error.address], ["double", block]);
    assertWhole(allocator, 0);
  });

  it("can dispose the allocator", () => {
    const { allocator, block } = aboutToReport();
    setViolationHook(() => allocator[Symbol.dispose]());
    assertThrows(() => allocator.free(block), DisposedError, "quarantine allocator");
  });
});
