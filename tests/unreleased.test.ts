/**
 * What becomes of memory that cannot be given back, and of what a request that failed had already taken.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Allocator,
  Arena,
  contiguousPageSource,
  type FailingPageSource,
  failingPageSource,
  fixedPageSource,
  Heap,
  OutOfMemoryError,
  PoolAllocator,
  systemPageSource,
} from "../mod.ts";
import { Table } from "../src/table.ts";
import { Unreleased } from "../src/unreleased.ts";
import { failingHeap } from "./support/heaps.ts";
import { Recorder } from "./support/recording_source.ts";

const MIB = 2 ** 20;

function failingUnmaps(): { recorder: Recorder; source: FailingPageSource } {
  const recorder = new Recorder(systemPageSource());
  return { recorder, source: failingPageSource(recorder.source, Infinity, { operations: ["unmap"] }) };
}

describe("Unreleased", () => {
  it("keeps what cannot be unmapped, until it can", () => {
    const { recorder, source } = failingUnmaps();
    const kept = new Unreleased(source);
    const size = source.granularity;
    const mappings = [1, 2, 3].map((n) => ({ address: source.reserve(n * size, 16), byteLength: n * size }));
    source.rearm(1);
    assertEquals(mappings.map((mapping) => kept.unmap(mapping)), [size, 0, 0]);
    assertEquals([kept.byteLength, recorder.reservedBytes], [5 * size, 5 * size]);
    source.rearm(0, 1);
    assertEquals([kept.retry(), kept.byteLength], [3 * size, 2 * size]);
    assertEquals([kept.retry(), kept.byteLength, kept.retry()], [2 * size, 0, 0]);
    assertEquals(recorder.complaint(), "");
  });

  it("dispose() unmaps what is left and what was kept, and throws what fails when everything was tried", () => {
    const { recorder, source } = failingUnmaps();
    const kept = new Unreleased(source);
    const size = source.granularity;
    const [a, b, c] = [1, 2, 3].map((n) => ({ address: source.reserve(n * size, 16), byteLength: n * size }));
    source.rearm(0, 2);
    kept.unmap(c!);
    assertThrows(() => kept.dispose([a!, b!]), OutOfMemoryError);
    assertEquals([recorder.reservedBytes, kept.byteLength], [size, 0]);
    kept.dispose([a!]);
    assertEquals(recorder.complaint(), "");
  });

  it("keeps quiet whatever the source throws; dispose reports it", () => {
    const source = {
      ...fixedPageSource(new ArrayBuffer(65_536)),
      unmap() {
        throw new EvalError("broken");
      },
    };
    assertEquals(new Unreleased(source).unmap({ address: 4096, byteLength: 4096 }), 0);
    const arena = new Arena({ source, chunkSize: 4096 });
    arena.allocate(1);
    arena.reset("free-all");
    assertThrows(() => arena[Symbol.dispose](), EvalError, "broken");
  });
});

describe("memory that the system does not take back", () => {
  const makers: readonly [string, (source: FailingPageSource) => Allocator, size: number][] = [
    ["Heap", (source) => new Heap({ source }), 5 * MIB],
    ["Heap with zeroOnFree", (source) => new Heap({ source, zeroOnFree: true }), 5 * MIB],
    ["Arena", (source) => new Arena({ source }), 5 * MIB],
    ["PoolAllocator", (source) => new PoolAllocator({ source, slotSize: MIB }), MIB],
  ];
  for (const [name, make, size] of makers) {
    it(`${name}: free() and trim() go on, stats() says it, and trim() or dispose gives it back`, () => {
      for (const way of ["trim", "dispose"] as const) {
        const { recorder, source } = failingUnmaps();
        const allocator = make(source);
        const views = [size, size, size].map((n) => allocator.view(allocator.allocate(n)));
        const addresses = [...allocator.blocks()].map(({ address }) => address);
        source.rearm(0);
        for (const address of addresses) allocator.free(address);
        allocator.trim();
        allocator.check();
        assertEquals(allocator.stats().liveBlocks, 0);
        assert(allocator.stats().reservedBytes >= 3 * size, "what could not be unmapped is not counted");
        assertEquals(allocator.stats().reservedBytes, recorder.reservedBytes);
        for (const view of views) assertEquals(view.length, 0, "a view is left of what was to be unmapped");
        source.rearm(Infinity);
        if (way === "trim") {
          assert(allocator.trim() >= 3 * size, "trim() did not try again");
          assertEquals(allocator.stats().reservedBytes, recorder.reservedBytes);
        }
        allocator[Symbol.dispose]();
        assertEquals(recorder.complaint(), "");
      }
    });
  }

  it("an owned buffer is freed all the same", () => {
    const { recorder, source } = failingUnmaps();
    const heap = new Heap({ source });
    const buffer = heap.buffer(5 * MIB);
    source.rearm(0);
    buffer.resize(6 * MIB);
    buffer.free();
    assertEquals([buffer.freed, heap.stats().liveBlocks], [true, 0]);
    source.rearm(Infinity);
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });
});

describe("what a request that failed leaves behind", () => {
  it("a heap gives a region up that could be neither decommitted nor wrapped again, and clears what it takes of it", () => {
    const { heap, failing, recorder } = failingHeap("decommit", "wrap");
    const fill = (): number[] => Array.from({ length: 12 }, () => heap.allocate(250_000));
    for (const address of fill()) {
      heap.view(address).fill(9);
      heap.free(address);
    }
    failing.rearm(0);
    assertThrows(() => heap.trim(), OutOfMemoryError);
    heap.check();
    failing.rearm(Infinity);
    for (let i = 0; i < 12; i++) {
      const view = heap.view(heap.allocateZeroed(250_000));
      assert(view.every((byte) => byte === 0), "memory that could not be decommitted is called zero");
    }
    heap.check();
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  it("a table decommits what it could not wrap", () => {
    const recorder = new Recorder(systemPageSource());
    const source = failingPageSource(recorder.source, Infinity, { operations: ["wrap"] });
    const table = new Table(source, MIB);
    table.ensure(1);
    const before = recorder.committedBytes;
    source.rearm(0, 1);
    assertThrows(() => table.ensure(before + 1), OutOfMemoryError);
    assertEquals([recorder.committedBytes, table.bytes.byteLength], [before, before]);
    table.ensure(before + 1);
    assert(recorder.committedBytes > before);
    table.dispose();
    assertEquals(recorder.complaint(), "");
  });

  it("a buffer whose contents cannot be viewed is as before its resize", () => {
    const recorder = new Recorder(systemPageSource());
    // Without `move`, so that contents are copied, piece by piece through wraps.
    const { move: _, ...copying } = recorder.source;
    const source = failingPageSource(copying, Infinity, { operations: ["wrap"] });
    const heap = new Heap({ source });
    const buffer = heap.buffer(5 * MIB);
    const { address, bytes } = buffer;
    bytes.fill(7);
    for (const successes of [0, 1, 2]) {
      source.rearm(successes, 1);
      assertThrows(() => buffer.resize(6 * MIB), OutOfMemoryError, "fails on purpose");
      assertEquals([buffer.address, buffer.byteLength, bytes.length, bytes[MIB]], [address, 5 * MIB, 5 * MIB, 7]);
      assertEquals(heap.stats().liveBlocks, 1);
      heap.check();
    }
    buffer.resize(6 * MIB);
    assertEquals([buffer.bytes[MIB], buffer.bytes[5 * MIB], bytes.length], [7, 0, 0]);
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  it("a contiguous source decommits of a piece what was committed only", () => {
    const recorder = new Recorder(systemPageSource());
    const source = contiguousPageSource(recorder.source, MIB);
    const { pageSize, granularity } = source;
    const pieces = [0, 1, 2].map(() => source.reserve(granularity * 4, 16));
    source.commit(pieces[1]! + pageSize, pageSize);
    source.commit(pieces[1]! + 3 * pageSize, pageSize);
    source.unmap(pieces[0]!, granularity * 4);
    source.unmap(pieces[1]!, granularity * 4);
    assertEquals(recorder.committedBytes, 0);
    source.unmap(pieces[2]!, granularity * 4);
    assertEquals(recorder.complaint(), "");
  });
});
