/**
 * Fault injection: on every allocator and in every scenario, the i-th request of the page source fails, for all i, once
 * or for ever after. The reference systems are in faults_systems.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Address,
  type Allocator,
  failingPageSource,
  Heap,
  OutOfMemoryError,
  type PageSource,
  systemPageSource,
} from "../mod.ts";
import { FAULT_MODES, type FaultMode, faultTests, runWithFault, SCENARIOS } from "./fault_scenarios.ts";
import { type Subject, SUBJECTS } from "./subjects.ts";
import { Recorder } from "./support/recording_source.ts";

faultTests(SUBJECTS.filter(({ linear }) => linear !== true));

/** Ways for an allocator to fail badly, each put over a heap. */
const FLAWS: readonly (readonly [name: string, says: string, spoil: (heap: Heap, source: PageSource) => Allocator])[] =
  [
    ["keeps what it took for a block that it could not make", "after dispose", (heap, source) => {
      return spoiled(heap, (size) => {
        source.reserve(source.granularity, source.granularity);
        return heap.allocate(size);
      });
    }],
    ["throws an error of another class", "threw Error (no memory)", (heap) => {
      return spoiled(heap, (size) => {
        const address = heap.tryAllocate(size);
        if (address === 0) throw new Error("no memory");
        return address;
      });
    }],
    ["spoils a block when it finds no memory", "holds", (heap) => {
      return spoiled(heap, (size) => {
        const address = heap.tryAllocate(size);
        for (const block of address === 0 ? heap.blocks() : []) heap.view(block.address).fill(0);
        return address === 0 ? heap.allocate(size) : address;
      });
    }],
    ["frees a block when it finds no memory", "InvalidFreeError", (heap) => {
      return spoiled(heap, (size) => {
        const address = heap.tryAllocate(size);
        for (const block of address === 0 ? heap.blocks() : []) heap.free(block.address);
        return address === 0 ? heap.allocate(size) : address;
      });
    }],
  ];

/** A heap with another `allocate`, behind which all other ways to allocate go on as before. */
function spoiled(heap: Heap, allocate: (size: number) => Address): Allocator {
  return new Proxy(heap, {
    get(target, key) {
      if (key === "allocate") return allocate;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

describe("a huge block whose OS pages cannot be moved", () => {
  const source = systemPageSource();
  const MIB = 2 ** 20;
  const pattern = new Uint8Array(5 * MIB).map((_, i) => i % 251);

  for (const moves of ["refuse", "throw"] as const) {
    it(moves === "refuse" ? "is copied" : "stays as it was when that is an error, and moves the next time", () => {
      const recorder = new Recorder(source);
      const failing = failingPageSource(recorder.source, 0, { operations: ["move"], times: 1, moves });
      const heap = new Heap({ source: failing });
      const before = heap.allocate(pattern.length);
      const view = heap.view(before);
      view.set(pattern);
      let after = before;
      if (moves === "throw") {
        const { committedBytes } = recorder;
        assertThrows(() => heap.reallocate(before, 12 * MIB), OutOfMemoryError, "request 1 fails on purpose");
        assertEquals([heap.stats().liveBlocks, heap.usableSize(before)], [1, pattern.length]);
        assertEquals(recorder.committedBytes, committedBytes);
        assertEquals(view, pattern);
      } else {
        after = heap.reallocate(before, 12 * MIB);
        assertNotEquals(after, before);
      }
      assertEquals([failing.requests, failing.failures, recorder.moves], [1, 1, 0]);
      after = heap.reallocate(after, 30 * MIB);
      assertEquals(recorder.moves, source.move === undefined ? 0 : 1);
      assertEquals(heap.view(after, pattern.length), pattern);
      heap.check();
      heap[Symbol.dispose]();
      assertEquals(recorder.complaint(), "");
    });
  }
});

describe("the fault tests on trial", () => {
  for (const [name, says, spoil] of FLAWS) {
    it(`find an allocator that ${name}`, () => {
      const subject: Subject = { name: "spoiled", make: (source) => spoil(new Heap({ source }), source) };
      const scenario = SCENARIOS[0]!;
      const mode = FAULT_MODES.find(({ name }) => name === "what takes memory, for ever")!;
      let found = "";
      for (let i = 0; i < 60 && found === ""; i++) {
        try {
          runWithFault(subject, scenario, mode, i);
        } catch (error) {
          found = (error as Error).message;
        }
      }
      assert(found.includes(says), `they said: ${found}`);
    });
  }

  it("reach the moves of OS pages, by an error and by a refusal", () => {
    const heap = SUBJECTS.find(({ name }) => name === "heap")!;
    for (const name of ["growing and shrinking by reallocate", "owned buffers"]) {
      const scenario = SCENARIOS.find((one) => one.name === name)!;
      for (const moves of ["throw", "refuse"] as const) {
        const mode: FaultMode = { name: moves, operations: ["move"], times: Infinity, moves };
        const { injected, failures } = runWithFault(heap, scenario, mode, 0);
        const isMoved = name !== "owned buffers"; // resizing a buffer copies
        assertEquals([injected > 0, failures > 0], [isMoved, isMoved && moves === "throw"], `${name}: ${moves}`);
      }
    }
  });

  it("no scenario is over before the records of a heap grow", () => {
    const heap = SUBJECTS.find(({ name }) => name === "heap")!;
    const scenario = SCENARIOS.find(({ name }) => name === "records that grow")!;
    let tables = 0;
    const subject: Subject = {
      ...heap,
      make: (source) => {
        const made = heap.make(source);
        tables = made.stats().tableBytes;
        return spoiled(made as Heap, (size) => {
          const address = made.allocate(size);
          tables = Math.max(tables, made.stats().tableBytes);
          return address;
        });
      },
    };
    const before = subject.make(systemPageSource()).stats().tableBytes;
    runWithFault(subject, scenario, { name: "none", operations: [], times: 0 }, 0);
    assert(tables >= 4 * before, `${before} bytes of tables became ${tables}`);
  });
});
