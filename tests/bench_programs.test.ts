/**
 * The measuring programs: that they measure what they say, and the small allocators that only they have.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { LockedHeap, type Locking, makeLockedMemory } from "../bench/support/locked_heap.ts";
import { measure } from "../bench/support/measure.ts";
import { openOneRange } from "../bench/support/one_range.ts";
import { DESIGNS, type Workload, WORKLOADS } from "../bench/support/shared_designs.ts";
import { Xorshift } from "../bench/support/xorshift.ts";
import * as offheap from "../mod.ts";
import { cannotMeasure, outputOf, runBench } from "./support/bench.ts";
import { Prng } from "./support/prng.ts";
import { runFile, type RunResult } from "./support/runtime.ts";

describe("bench LockedHeap", () => {
  for (const locking of ["one lock", "class locks"] satisfies Locking[]) {
    it(`${locking}: blocks do not overlap, and are used again`, () => {
      const heap = new LockedHeap(makeLockedMemory(64), locking);
      const seed = Date.now() % 2 ** 31;
      const random = new Prng(seed);
      const live = new Map<number, number>();
      for (let i = 0; i < 20_000; i++) {
        if (live.size > 500) {
          const address = [...live.keys()][random.below(live.size)]!;
          heap.free(address);
          live.delete(address);
        }
        const size = random.below(512) + 1;
        live.set(heap.allocate(size), size);
      }
      const sorted = [...live].sort(([a], [b]) => a - b);
      for (let i = 1; i < sorted.length; i++) {
        assert(sorted[i - 1]![0] + sorted[i - 1]![1] <= sorted[i]![0], `seed ${seed}: two blocks overlap`);
      }
      assertEquals(sorted.filter(([address]) => address % 16 !== 0), []);
    });

    it(`${locking}: finds bad frees, and holds no lock after one`, () => {
      const heap = new LockedHeap(makeLockedMemory(4), locking);
      const address = heap.allocate(64);
      heap.free(address);
      for (const bad of [address, address + 16, address + 8, 0, 2 ** 40, NaN]) {
        assertThrows(() => heap.free(bad), RangeError, `Cannot free ${bad}`);
      }
      assertEquals(heap.allocate(64), address);
    });

    it(`${locking}: full is an error, after which a free makes room`, () => {
      const heap = new LockedHeap(makeLockedMemory(1), locking);
      const blocks = Array.from({ length: 4 }, () => heap.allocate(16_384));
      assertEquals(new Set(blocks).size, 4);
      assertThrows(() => heap.allocate(16_384), Error, "all 1 pages are in use");
      assertThrows(() => heap.allocate(16_385), RangeError, "16 KiB is the most");
      heap.free(blocks[2]!);
      assertEquals(heap.allocate(16_384), blocks[2]);
    });
  }
});

describe("bench Xorshift", () => {
  it("gives the generator's published numbers: this stream starts from 1", () => {
    const numbers = new Xorshift(685_230_888);
    assertEquals(Array.from({ length: 4 }, () => numbers.next()), [270_369, 67_634_689, 2_647_435_461, 307_599_695]);
  });

  it("stays within its bounds, and repeats itself, but not those of another stream", () => {
    const table = new Xorshift(1).table(10_000, 16, 512);
    assertEquals([Math.min(...table), Math.max(...table)], [16, 512]);
    assertEquals(new Xorshift(1).table(10_000, 16, 512), table);
    assert(new Xorshift(2).table(10_000, 16, 512).some((size, at) => size !== table[at]));
    const numbers = new Xorshift();
    assertEquals(new Set(Array.from({ length: 1000 }, () => numbers.below(3))), new Set([0, 1, 2]));
  });
});

describe("bench measure()", () => {
  it("counts what it had done in each round, and warms up apart", () => {
    let done = 0;
    let now = 0;
    const clock = () => {
      now += 100;
      return { process: now, thread: now, wall: now };
    };
    const report = measure((count) => void (done += count), clock, 5, 1);
    assertEquals(report.rounds, Array.from({ length: 5 }, () => ({ process: 100, thread: 100, wall: 100 })));
    assertEquals(report.operations.length, 5);
    const counted = report.operations.reduce((sum, count) => sum + count, 0);
    assert(counted > 0 && counted < done, `${counted} of ${done}`);
  });
});

describe("bench programs", { ignore: cannotMeasure }, () => {
  it("openOneRange(): one view sees every piece, and pieces that were given back are zero", async () => {
    const { source, base, bytes } = await openOneRange(offheap.systemPageSource(), 2 ** 22);
    const pieces = [65_536, 131_072, 65_536].map((byteLength) => {
      const address = source.reserve(byteLength, 65_536);
      source.commit(address, byteLength);
      const wrapped = source.wrap(address, byteLength);
      wrapped[0] = 7;
      return { address, byteLength, wrapped };
    });
    assertEquals(pieces.map(({ address }) => bytes[address - base]), [7, 7, 7]);
    const [, middle] = pieces;
    source.unwrap(middle!.wrapped);
    source.unmap(middle!.address, middle!.byteLength);
    const again = source.reserve(65_536, 65_536);
    assertEquals(again, middle!.address);
    assertEquals(bytes[again - base], 0);
    assertThrows(() => source.reserve(2 ** 20, 4096), offheap.OutOfMemoryError, "the range is too small");
  });

  it("churn.ts ages the heap before it measures", async () => {
    const args = ["--live", "50", "--rounds", "2", "--round-ms", "2"];
    for (const allocator of ["null", "heap", "rulloc"]) {
      const report = JSON.parse(await runBench("churn.ts", ["--allocator", allocator, ...args]));
      assertEquals(report["operations"].length, 2);
      assert(report["aged"] >= 10, `${report["aged"]}`);
    }
  });

  it("replay.ts stops a replay at its limit, and says how far it came", async () => {
    const trace = "examples/traces/lua.trace.gz";
    const args = ["--allocator", "memAlloc", "--trace", trace, "--replays", "2", "--limit-ms", "50"];
    const report = JSON.parse(await runBench("replay.ts", args));
    assert(report["records"] > 0 && report["records"] < 250_000, `${report["records"]}`);
    assertEquals(report["replays"].length, 1);
  });

  for (const workload of WORKLOADS) {
    it(`shared.ts: every design runs ${workload}, or says why not`, async () => {
      for (const { name } of DESIGNS) {
        const args = ["--design", name, "--workload", workload, "--workers", "2", "--ms", "30"];
        const result = await runFile("bench/shared.ts", { args });
        if (cannotShare(name, workload, result)) continue;
        const report = JSON.parse(outputOf(result));
        assert(report["operations"] > 0 && report["times"].wall >= 30e6, result.stdout);
      }
    });
  }

  it("an allocator that the module has not is named", async () => {
    const empty = new URL("./support/prng.ts", import.meta.url).href;
    const args = ["--trace", "examples/traces/lua.trace.gz", "--module", empty];
    const { code, stderr } = await runFile("bench/replay.ts", { args });
    assertEquals(code, 1);
    assertMatch(stderr, /Cannot open Heap: the module has no such export/);
  });
});

function cannotShare(design: string, workload: Workload, { code, stderr }: RunResult): boolean {
  const reason = design === "own-heap" && workload === "larson"
    ? /a worker cannot free another heap's blocks/
    : design === "shared-heap" && !("SharedHeap" in offheap)
    ? /the module has no such export/
    : undefined;
  if (reason === undefined) return false;
  assertEquals(code, 1);
  assertMatch(stderr, reason);
  return true;
}
