/**
 * What the benchmarks make of their figures: statistics, what is taken off, ratios, the results file.
 *
 * @module
 */
import { assertAlmostEquals, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { mkdtempSync, readFileSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findBars } from "../bench/support/bars.ts";
import { isHandleSubject, SUBJECTS, subjectsOf } from "../bench/support/catalogue.ts";
import { formatGroupMean, groupMean } from "../bench/support/report_groups.ts";
import {
  growthTime,
  isCut,
  memoryMean,
  type MicroResult,
  microSpeedup,
  netReplay,
  nullOf,
  readResults,
  replayRatio,
  sharedRate,
  summarize,
  writeResults,
} from "../bench/support/results.ts";
import { geometricMean, median, spread } from "../bench/support/statistics.ts";
import { sampleResults } from "./fixtures/bench_results.ts";

describe("bench statistics", () => {
  it("median() is the middle value, or the mean of the two middle ones, whatever the order", () => {
    assertEquals(median([9, 1, 5]), 5);
    assertEquals(median([8, 1, 3, 100]), 5.5);
    assertEquals(median([7]), 7);
    assertEquals(median([]), NaN);
  });

  it("geometricMean() lets 2x and 0.5x cancel out", () => {
    assertAlmostEquals(geometricMean([2, 0.5]), 1);
    assertAlmostEquals(geometricMean([1, 10, 100]), 10);
    assertEquals(geometricMean([]), NaN);
  });

  it("spread() has the extremes beside the median", () => {
    assertEquals(spread([3, 1, 8]), { median: 3, least: 1, most: 8 });
    assertEquals(spread([]), undefined);
  });
});

describe("bench results", () => {
  const results = sampleResults();

  it("summarize() keeps the first replay apart", () => {
    const times = [100, 10, 30, 20].map((time) => ({ process: time, thread: time / 2, wall: time * 2 }));
    assertEquals(summarize(times, 10), { cold: 10, warm: 2, warmThread: 1, warmWall: 4, coldWall: 20 });
    assertEquals(summarize(times.slice(0, 1), 10).warm, 10);
  });

  it("netReplay() takes the least loop of the same side off", () => {
    assertEquals(netReplay(results, "one", "deno", "heap"), { median: 10, least: 9, most: 13 });
    assertEquals(netReplay(results, "one", "native", "glibc")?.median, 10);
    assertEquals(netReplay(results, "one", "deno", "heap", "cold")?.median, 118);
    assertEquals(netReplay(results, "one", "deno", "heap", "warm", "wall")?.median, 20);
    assertEquals(netReplay(results, "one", "deno", "heap", "cold", "wall")?.median, 236);
    assertEquals(netReplay(results, "one", "bun", "heap"), undefined);
  });

  it("netReplay() never falls to zero, and needs a loop to take off", () => {
    const loop = results.replays.map((r) => r.allocator === "null" && r.side === "deno" ? { ...r, warm: 99 } : r);
    assertEquals(netReplay({ ...results, replays: loop }, "one", "deno", "heap")?.median, 0.1);
    const without = results.replays.filter(({ allocator }) => allocator !== "null");
    assertEquals(netReplay({ ...results, replays: without }, "one", "deno", "heap"), undefined);
  });

  it("nullOf() goes by what a subject gives on a side", () => {
    assertEquals(nullOf("deno", "ffi-malloc"), "null-handles");
    assertEquals(nullOf("bun", "ffi-malloc"), "null");
    assertEquals(nullOf("bun", "native-buffer"), "null-handles");
    assertEquals(nullOf("native", "glibc"), "null");
    assertEquals(isHandleSubject("deno", "heap"), false);
  });

  it("replayRatio() is the geometric mean over the traces", () => {
    assertAlmostEquals(replayRatio(results, "deno", "heap", "native", "glibc")!, Math.SQRT2);
    assertEquals(replayRatio(results, "bun", "heap", "native", "glibc"), undefined);
  });

  it("a replay that was stopped makes its mean a lower bound", () => {
    assertEquals(isCut(results, "one", "deno", "basicalloc"), false);
    assertEquals(isCut(results, "two", "deno", "basicalloc"), true);
    const mean = groupMean(results, "deno", "basicalloc")!;
    assertAlmostEquals(mean.ratio, geometricMean([100 / 10, 4000 / 40]));
    assertEquals([mean.atLeast, mean.absent], [true, 0]);
    assertEquals(formatGroupMean(mean), ">32x");
    assertEquals(groupMean(results, "deno", "heap"), { ratio: 1, atLeast: false, absent: 0 });
    const replays = results.replays.filter(({ trace, allocator }) => trace === "one" || allocator !== "basicalloc");
    assertEquals(formatGroupMean(groupMean({ ...results, replays }, "deno", "basicalloc")), "10x (-1)");
    assertEquals(groupMean(results, "deno", "rulloc"), undefined);
  });

  it("memoryMean() leaves out traces with little live", () => {
    assertAlmostEquals(memoryMean(results, "deno", "heap")!, 1.5);
    assertAlmostEquals(memoryMean(results, "deno", "heap", "ownRatio")!, 1.25);
    assertEquals(memoryMean(results, "native", "glibc"), undefined);
  });

  it("growthTime() is net, microSpeedup() takes the clock that says less, sharedRate() is by workers", () => {
    assertEquals(growthTime(results, "deno", "heap", 1000)?.median, 8);
    assertEquals(growthTime(results, "deno", "heap", 10_000), undefined);
    assertAlmostEquals(microSpeedup(results, "replace-64-10k", "deno", "heap", "ffi-malloc")!, 3);
    const lock = { side: "deno", design: "one-lock", workload: "larson" };
    assertEquals(sharedRate(results, { ...lock, workers: 2 })?.median, 2e7);
    assertEquals(sharedRate(results, { ...lock, workers: 4 }), undefined);
  });

  it("bars are passed, failed, or not run", () => {
    const bars = new Map(findBars(results).map((bar) => [bar.name, bar]));
    const named = (start: string) => [...bars.values()].find(({ name }) => name.startsWith(start))?.pass;
    assertEquals(named("traces on deno: heap / glibc, geometric mean"), false);
    assertEquals(named("traces on deno: heap / mimalloc"), undefined);
    assertEquals(named("a view on deno"), undefined);
    assertEquals(named("64 B at 10,000 live on deno"), true);
    assertEquals(named("64 KiB with a view on deno"), undefined);
    assertEquals(named("traces on bun"), undefined);
  });

  it("bars: the worst trace is the one with the largest ratio, a small loop is held against the runtime's own", () => {
    const slow = results.replays.map((r) =>
      r.trace === "one" && r.allocator === "heap" ? { ...r, warm: r.warm * 10 } : r
    );
    const micro = [["heap", 30], ["bare", 20]].map(([subject, time]) =>
      ({ ...results.micro[0]!, case: "view", side: "deno", subject, process: time, thread: time }) as MicroResult
    );
    const bars = findBars({ ...results, replays: slow, micro });
    const named = (start: string) => bars.find(({ name }) => name.startsWith(start));
    const own = netReplay({ ...results, replays: slow }, "one", "deno", "heap")!;
    assertAlmostEquals(
      named("traces on deno: heap / glibc, the worst")!.value!,
      own.median / netReplay(results, "one", "native", "glibc")!.median,
    );
    assertEquals(named("traces on deno: heap / glibc, the worst")!.pass, false);
    assertAlmostEquals(named("a view on deno")!.value!, 1.5);
    assertEquals(named("a view on deno")!.pass, false);
  });

  it("writes a file that reads the same, a table beside it, and refuses another version", () => {
    const directory = mkdtempSync(join(tmpdir(), "offheap-bench-"));
    const base = join(directory, "r");
    try {
      assertEquals(writeResults(base, results), [`${base}.json`, `${base}.csv`]);
      assertEquals(readResults(`${base}.json`), results);
      const csv = readFileSync(`${base}.csv`, "utf8").trimEnd().split("\n");
      assertEquals(csv[0], "kind,subject,side,allocator,round,metric,value");
      assertEquals(csv.filter((line) => line.split(",").length !== 7), []);
      assertMatch(csv.join("\n"), /^replay,one,deno,heap,1,warm ns\/record,12\.00$/m);
      assertMatch(csv.join("\n"), /^growth,1000,deno,heap,0,process ns\/op,10\.00$/m);
      assertMatch(csv.join("\n"), /^shared,larson 2,deno,one-lock,0,op\/s,20000000$/m);
      writeFileSync(`${base}.json`, JSON.stringify({ ...results, version: 99 }));
      assertThrows(() => readResults(`${base}.json`), Error, "version 99");
    } finally {
      for (const ending of ["json", "csv"]) unlinkSync(`${base}.${ending}`);
      rmdirSync(directory);
    }
  });

  it("every name is in the catalogue once, in one group", () => {
    const names = SUBJECTS.map(({ name }) => name);
    assertEquals(new Set(names).size, names.length);
    assertEquals(subjectsOf("systems"), ["basicalloc", "rustyMalloc", "memAlloc", "rulloc", "arena"]);
  });
});
