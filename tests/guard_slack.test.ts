/**
 * What is written into the slack of guarded blocks, before them or behind them: it is found, where, by which call and
 * how often.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import { CorruptionError, GuardAllocator, setViolationHook, systemPageSource } from "../mod.ts";
import { Recorder } from "./support/recording_source.ts";
import { collectViolations } from "./support/violations.ts";

const { pageSize } = systemPageSource();

afterEach(() => void setViolationHook());

/** Writes bytes behind the allocator's back, as native code would. */
function scribble(address: number, ...bytes: number[]): void {
  const source = systemPageSource();
  const wrapped = source.wrap(address, bytes.length);
  wrapped.set(bytes);
  source.unwrap(wrapped);
}

describe("slack of guarded blocks", () => {
  it("free() reports the first byte written behind a block or before it, with its offset, and leaves the block", () => {
    using guard = new GuardAllocator();
    for (const [offset, length] of [[13, 1], [14, 2], [15, 1], [-1, 1], [-8, 8], [-32, 32]] as const) {
      const address = guard.allocate(13);
      scribble(address + offset, ...new Array<number>(length).fill(0x41));
      const error = assertThrows(() => guard.free(address), CorruptionError);
      assertEquals(error.byte, {
        address,
        offset,
        expected: 0xde,
        found: 0x41,
        allocatedAt: undefined,
        freedAt: undefined,
      });
      assertStringIncludes(error.message, `at offset ${offset} (0x${(address + offset).toString(16)}) is 0x41`);
      assert(guard.owns(address), "a damaged block was freed");
      scribble(address + offset, ...new Array<number>(length).fill(0xde));
      guard.free(address);
    }
  });

  it("resize(), reallocate() and check() report it too, and a hook that returns leaves everything as it is", () => {
    using guard = new GuardAllocator({ placement: "start" });
    const address = guard.allocate(100);
    scribble(address + 100, 0);
    for (const call of [() => guard.check(), () => guard.resize(address, 50), () => guard.reallocate(address, 200)]) {
      assertEquals(assertThrows(call, CorruptionError).byte?.offset, 100);
    }
    const reported = collectViolations();
    guard.free(address);
    assertThrows(() => guard.reallocate(address, 0), CorruptionError);
    assertEquals([reported.length, guard.owns(address), guard.stats().liveBlocks], [2, true, 1]);
    scribble(address + 100, 0xde);
    guard.check();
    assertEquals(reported.length, 2);
  });

  it("what free() has thrown is not thrown again by check() and on leaving the scope", () => {
    const error = assertThrows(() => {
      using guard = new GuardAllocator();
      const address = guard.allocate(13);
      scribble(address + 13, 7);
      try {
        guard.free(address);
      } finally {
        guard.check();
      }
    }, Error);
    assert(error instanceof CorruptionError, `${error}`);
    assertStringIncludes(error.message, "Cannot free 0x");
  });

  it("is reported again when another byte or value is found, or it was mended in between", () => {
    using guard = new GuardAllocator({ placement: "start" });
    const address = guard.allocate(100);
    const reported = collectViolations();
    for (const [offset, value, count] of [[105, 1, 1], [105, 1, 1], [105, 2, 2], [101, 1, 3], [103, 1, 3]] as const) {
      scribble(address + offset, value);
      guard.check();
      assertEquals(reported.length, count);
    }
    scribble(address + 101, 0xde, 0xde, 0xde, 0xde, 0xde);
    assert(guard.resize(address, 100)); // looks at the block, too
    scribble(address + 101, 1);
    guard.check();
    assertEquals(reported.length, 4);
    scribble(address + 101, 0xde);
    guard.check();
    scribble(address + 101, 1);
    guard.check();
    assertEquals(reported.length, 5);
  });

  it("dispose reports it when everything was given back", () => {
    const recorder = new Recorder(systemPageSource());
    const guard = new GuardAllocator({ source: recorder.source });
    const [first, second] = [guard.allocate(5), guard.allocate(5)];
    scribble(first - 1, 1);
    scribble(second + 5, 2);
    const reported = collectViolations();
    guard[Symbol.dispose]();
    assertEquals(reported.map((error) => (error as CorruptionError).byte?.offset), [-1, 5]);
    assertEquals(recorder.complaint(), "");
  });

  it("of several blocks is reported by check() and dispose, in one error", () => {
    for (const method of ["check", Symbol.dispose] as const) {
      const guard = new GuardAllocator({ placement: "start" });
      for (const size of [10, 20, 30]) scribble(guard.allocate(size) + size, 1);
      const { cause } = assertThrows(() => guard[method](), CorruptionError, "and 2 more");
      assertEquals((cause as AggregateError).errors.map(({ byte }) => byte.offset), [10, 20, 30]);
      guard[Symbol.dispose]();
    }
  });

  it("what resize() cuts off is slack, and what it adds is not", () => {
    using guard = new GuardAllocator({ placement: "start" });
    const address = guard.allocate(100);
    const before = guard.view(address);
    assertEquals(guard.resize(address, 60), true);
    assertEquals([guard.usableSize(address), guard.view(address).length, before.length], [60, 60, 100]);
    before[99] = 1; // a view from before: such a write is found, and hits nobody
    assertEquals(assertThrows(() => guard.free(address), CorruptionError).byte?.offset, 99);
    before[99] = 0xde;
    assertEquals(guard.resize(address, pageSize), true);
    guard.view(address).fill(7);
    guard.check();
    assertEquals(guard.resize(address, pageSize + 1), false);
    guard.free(address);
    assertEquals(before.length, 0);
  });
});
