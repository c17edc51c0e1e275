/**
 * The programs that measure scale, start-up and the collector: that they run, and what is made of their figures.
 *
 * @module
 */
import { assert, assertAlmostEquals, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { STEPS_BEGIN, STEPS_END } from "../bench/support/collector_load.ts";
import { readJscLog, readV8Log } from "../bench/support/collector_log.ts";
import { distinct, type Figure, figure, hasFigures } from "../bench/support/figures.ts";
import { formatCollector } from "../bench/support/report_collector.ts";
import { formatLoop, formatSpace, growth, loopTime } from "../bench/support/report_scale.ts";
import { formatStartup } from "../bench/support/report_startup.ts";
import type { Results } from "../bench/support/results.ts";
import { sampleResults } from "./fixtures/bench_results.ts";
import { cannotMeasure, runBench } from "./support/bench.ts";
import { runFile, runtimeName } from "./support/runtime.ts";

function withFigures(...figures: Partial<Figure>[]): Results {
  return sampleResults({
    figures: figures.map((figure) => ({
      kind: "scale",
      subject: "small 1000",
      side: "deno",
      allocator: "heap",
      round: 0,
      metric: "process ns/op",
      value: 0,
      ...figure,
    })),
  });
}

describe("bench figures", () => {
  const results = withFigures({ value: 3 }, { value: 1, round: 1 }, { value: 8, round: 2 }, { side: "bun", value: 50 });

  it("figure() is the median of the processes that the filter lets through", () => {
    assertEquals(figure(results, { kind: "scale", side: "deno" }), { median: 3, least: 1, most: 8 });
    assertEquals(figure(results, { kind: "startup" }), undefined);
    assertEquals(distinct(results, "side", { kind: "scale" }), ["deno", "bun"]);
    assertEquals([hasFigures(results, "scale"), hasFigures(sampleResults(), "scale")], [true, false]);
  });
});

describe("bench scale tables", () => {
  const results = withFigures(
    { allocator: "null", value: 2 },
    { allocator: "null", value: 3, round: 1 },
    { value: 7 },
    { subject: "small 10000000", allocator: "null", value: 10 },
    { subject: "small 10000000", value: 60 },
    { subject: "idle", metric: "own resident bytes", value: 20_480 },
  );

  it("times are net of the least loop, and growth is of the last count over the first", () => {
    assertEquals(loopTime(results, "small", 1000, "deno", "heap")?.median, 5);
    assertAlmostEquals(growth(results, "small", "deno", "heap")!, 10);
    assertEquals(growth(results, "mixed", "deno", "heap"), undefined);
    const [table, ...others] = formatLoop(results);
    assertEquals(others, []);
    assertMatch(table!.text, /\| heap, deno +\| +5\.00 \| +50\.0 \| +10\.0x \|/);
    assertMatch(table!.text, /\| glibc, native +\| +- \| +- \| +- \|/);
  });

  it("a load that was not run has no table", () => {
    const [table, ...others] = formatSpace(results);
    assertEquals(others, []);
    assertMatch(table!.text, /\| own resident bytes \| 20\.0 KiB \|/);
  });
});

describe("bench start-up table", () => {
  it("CPU time is the median of the differences, elapsed time the difference of the shortest", () => {
    const of = (round: number, subject: string, cpu: number, wall: number) => [
      { kind: "startup", round, subject, metric: "cpu ms", value: cpu },
      { kind: "startup", round, subject, metric: "wall ms", value: wall },
    ];
    const { text } = formatStartup(withFigures(
      ...of(0, "empty program", 14, 25),
      ...of(0, "first block", 26, 50),
      ...of(1, "empty program", 40, 15),
      ...of(1, "first block", 52.5, 31.5),
      ...of(2, "empty program", 10, 90),
      ...of(2, "first block", 90, 90),
    ));
    assertMatch(text, /\| empty program \| +14\.0 \| +15\.0 \|/);
    assertMatch(text, /\| first block +\| +12\.5 \| +16\.5 \|/);
  });
});

describe("bench collector logs", () => {
  it("V8's: young and full collections between the two asked for, steps of marking among the pauses", () => {
    const scavenge = "[1:0x55a9]      200 ms: Scavenge 28.3 (36.4) -> 21.5 (39.4) MB, pooled: 0.0 MB, 2.50 / 0.00 ms";
    const marking =
      "[1:0x55a9]      300 ms: Incremental Mark-Compact 255.5 (264.7) -> 12.3 (28.4) MB, pooled: 0.0 MB, 5.25 / 0.00 ms " +
      "(+ 10.0 ms in 7 steps since start of marking, biggest step 6.5 ms, walltime since start of marking 8 ms)";
    const full = "[1:0x55a9]      400 ms: Mark-Compact 255.5 (264.7) -> 12.3 (28.4) MB, pooled: 0.0 MB, 9.00 / 0.00 ms";
    const asked = `${full} (average mu = 1.000, current mu = 1.000) testing; GC in old space requested`;
    const log = [full, scavenge, asked, scavenge, "something else", marking, asked, scavenge].join("\n");
    assertEquals(readV8Log(log), { young: 1, full: 1, paused: 17.75, longestPause: 6.5 });
    assertEquals(readV8Log([asked, asked].join("\n")), { young: 0, full: 0, paused: 0, longestPause: 0 });
  });

  it("V8's: a collection that had begun when another was asked for is logged apart, and was asked for too", () => {
    const asked =
      "[1:0x55a9]      304 ms: Mark-Compact 24.2 (42.1) -> 23.9 (42.1) MB, pooled: 0.0 MB, 42.36 / 0.00 ms " +
      "(average mu = 0.7, current mu = 0.7) testing; GC in old space requested";
    const begun =
      "[1:0x55a9]      262 ms: Incremental Mark-Compact 32.0 (41.9) -> 24.2 (42.1) MB, pooled: 0.0 MB, 18.10 / 0.00 ms " +
      "(+ 12.2 ms in 110 steps since start of marking, biggest step 1.2 ms, walltime since start of marking 70 ms) " +
      "(average mu = 0.9, current mu = 0.9) testing; GC in old space requested";
    const scavenge = "[1:0x55a9]      350 ms: Scavenge 28.3 (36.4) -> 21.5 (39.4) MB, pooled: 0.0 MB, 2.50 / 0.00 ms";
    const log = [begun, asked, scavenge, begun, asked].join("\n");
    assertEquals(readV8Log(log), { young: 1, full: 0, paused: 2.5, longestPause: 2.5 });
  });

  it("without the marks nothing is counted as nothing: reading fails", () => {
    for (const log of ["", "testing; GC in old space requested"]) {
      assertThrows(() => readV8Log(log), Error, "no two collections");
    }
    for (const log of ["", STEPS_BEGIN, STEPS_END]) {
      assertThrows(() => readJscLog(log), Error, "when the steps began and ended");
    }
  });

  it("JavaScriptCore's: what is logged between the marks", () => {
    const young =
      "[GC<0x1>: START M 1kb => EdenCollection, v=0kb 0+0 p=2.5ms (max 2.5)... P<x>Pbc => 3kb, p=1ms (max 2.5), " +
      "cycle 5.6ms END]";
    const full = "[GC<0x1>: START M 1kb => FullCollection, v=0kb i#1 => 3kb, p=4.25ms (max 4.25), cycle 6ms END]";
    const log = [full, STEPS_BEGIN, young, full, young, STEPS_END, young].join("\n");
    assertEquals(readJscLog(log), { young: 2, full: 1, paused: 11.25, longestPause: 4.25 });
  });

  it("the table has a row for each neighbour, and memory in MiB", () => {
    const of = (subject: string, metric: string, value: number) => ({ kind: "collector", subject, metric, value });
    const [table, ...others] = formatCollector(withFigures(
      of("none", "residentBytes", 2 ** 21),
      of("heap", "residentBytes", 2 ** 22),
      of("heap", "full", 3),
    ));
    assertEquals(others, []);
    assertMatch(table!.text, /\| none +\| +2\.00 \| +- \|/);
    assertMatch(table!.text, /\| heap +\| +4\.00 \| +- \| 3\.00 \|/);
  });
});

describe("bench programs of their own", { ignore: cannotMeasure }, () => {
  it("scale_loop.ts and scale.c replace with so many live, net of a loop that looks at what it frees", async () => {
    const args = ["--live", "1000", "--age", "1", "--rounds", "2", "--round-ms", "2"];
    for (
      const more of [["--allocator", "null"], ["--sizes", "mixed"], ["--sizes", "large"], ["--allocator", "rulloc"]]
    ) {
      const report = JSON.parse(await runBench("support/scale_loop.ts", [...args, ...more]));
      assertEquals([report.operations.length, report.rounds.length, report.aged], [2, 2, 1]);
      assert(report.operations.every((count: number) => count > 0), JSON.stringify(report));
    }
    const { code, stderr } = await runFile("bench/support/scale_loop.ts", { args: ["--sizes", "all"] });
    assertEquals(code, 1);
    assertMatch(stderr, /Unknown sizes all; known are small, mixed, large/);
  });

  it("scale.ts --quick prints its tables", async () => {
    const args = ["--quick", "--no-write", "--runtimes", runtimeName, "--only", "loop,many,idle"];
    const text = await runBench("scale.ts", args);
    for (const title of ["16 to 128 bytes", "16 to 992 bytes", "many heaps at once", "a heap that holds one block"]) {
      assertStringIncludes(text, title);
    }
    assertMatch(text, new RegExp(`\\| heap, ${runtimeName} +\\| +\\d`));
    // The bar: an idle heap costs less than 200 KiB.
    const [, idle] = /\| own resident bytes +\| +([\d.]+) KiB/.exec(text) ?? [];
    assert(Number(idle) > 0 && Number(idle) < 200, text);
  });

  it("a big heap has several regions, keeps what was written, and gives everything back", async () => {
    const args = ["--load", "big", "--bytes", `${2 ** 26}`, "--block", "256"];
    const report = JSON.parse(await runBench("support/scale_space.ts", args));
    assertEquals(report["live blocks"], 2 ** 18);
    assert(report["regions"] > 4, JSON.stringify(report));
    assertEquals(report["committed bytes after trim"], 0);
  });

  it("startup.ts --quick prints its table", async () => {
    const args = ["--processes", "1", "--no-write", "--runtimes", runtimeName];
    const text = await runBench("startup.ts", args);
    assertMatch(text, /\| empty program +\| +\d/);
    assertMatch(text, /\| first block +\| +-?\d/);
    // Without npm the package cannot be built, and is said to be left out.
    if (!text.includes("Left out")) assertMatch(text, /\| first block, its heap\.js +\| +-?\d/);
  });

  it("collector.ts --quick prints its table, with collections counted", async () => {
    const args = ["--quick", "--no-write", "--runtimes", runtimeName];
    const text = await runBench("collector.ts", args);
    for (const beside of ["none", "heap", "views", "buffers", "uint8arrays"]) {
      assertMatch(text, new RegExp(`\\| ${beside} +\\| +\\d`), text);
    }
    const [, young, full] = /\| none +\| +[\d.]+ \| +([\d.]+) \| +([\d.]+) \|/.exec(text) ?? [];
    assert(Number(young) + Number(full) > 0, text);
  });
});
