/**
 * The benchmark of shared heaps: that every load runs, in JavaScript and in C, that both draw the same steps, and what is made
 * of the figures.
 *
 * @module
 */
import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildNative, MissingError } from "../bench/support/machine.ts";
import { formatWorkers } from "../bench/support/report_workers.ts";
import { type Load, LOAD_NUMBERS, LOADS, makePlan, PLAN } from "../bench/support/worker_loads.ts";
import {
  findWorkersBars,
  netWorkersTime,
  remoteRatio,
  scaling,
  scalingByCpu,
  type WorkersResult,
} from "../bench/support/workers_results.ts";
import type { WorkersReport, WorkersRound } from "../bench/workers.ts";
import type { ScalingReport } from "../bench/workers_scaling.ts";
import { sampleResults } from "./fixtures/bench_results.ts";
import { cannotMeasure, runBench } from "./support/bench.ts";
import { isLinux, runFile } from "./support/runtime.ts";

function assertReport(load: Load, json: string): void {
  const { rounds } = JSON.parse(json) as WorkersReport;
  assertEquals(rounds.length, 2);
  // A machine with other work to do can let a whole round go by.
  const sum = (figure: keyof WorkersRound) => rounds.reduce((total, round) => total + round[figure], 0);
  assert(sum("operations") > 0 && sum("process") > 0 && sum("wall") >= 16e6, `${load}: ${json}`);
  const takesTurns = load === "local" || load === "remote";
  assertEquals([sum("allocating") > 0, sum("freeing") > 0], [takesTurns, takesTurns], `${load}: ${json}`);
}

describe("bench/workers.ts", { ignore: cannotMeasure }, () => {
  for (const load of LOADS) {
    it(`runs ${load}`, async () => {
      for (const subject of ["null", "shared-heap"]) {
        const args = ["--load", load, "--subject", subject, "--rounds", "2", "--round-ms", "20"];
        assertReport(load, await runBench("workers.ts", args));
      }
    });
  }

  it("compares two workers with one by turns", async () => {
    for (const subject of ["heap", "shared-heap"]) {
      const args = ["--subject", subject, "--cycles", "3", "--slice-ms", "20"];
      const stdout = await runBench("workers_scaling.ts", args);
      const { cycles } = JSON.parse(stdout) as ScalingReport;
      assertEquals(cycles.length, 3);
      for (const what of ["replaceOne", "replaceTwo", "computeOne", "computeTwo"] as const) {
        assert(cycles.some((cycle) => cycle[what] > 0), `${what}: ${stdout}`);
      }
    }
  });

  it("refuses to hand over blocks that others cannot free", async () => {
    const { code, stderr } = await runFile("bench/workers.ts", { args: ["--load", "larson", "--subject", "heap"] });
    assertEquals(code, 1);
    assertMatch(stderr, /a worker cannot free another heap's blocks/);
  });
});

describe("bench/native/workers.c", { ignore: !isLinux }, () => {
  it("runs every load, with and without malloc", () => {
    const directory = mkdtempSync(join(tmpdir(), "offheap-bench-"));
    try {
      const { workers } = buildNative(directory).paths;
      for (const load of LOADS) {
        for (const mode of ["null", "malloc"]) {
          const { status, stdout, stderr } = spawnSync(workers, [mode, load, "2", "2", "20"], { encoding: "utf8" });
          assertEquals(status, 0, stderr);
          assertReport(load, stdout);
        }
      }
      assertEquals(spawnSync(workers, ["malloc", "unknown", "2"]).status, 1);
    } catch (error) {
      // A machine without a compiler measures without the native side, and says so.
      if (!(error instanceof MissingError) || !/there is no C compiler/.test(error.message)) throw error;
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("has the numbers of worker_loads.ts", () => {
    const source = readFileSync(new URL("../bench/native/workers.c", import.meta.url), "utf8");
    for (const load of LOADS) {
      const { slots, least, most, chunks, ends } = LOAD_NUMBERS[load];
      const line = `{"${load}", ${slots}, ${least}, ${most}, ${chunks}, ${Number(ends)}}`;
      assert(source.includes(line), `${line} is not in workers.c`);
    }
  });
});

describe("bench loads", () => {
  it("draw slots and sizes within their numbers, other ones for each worker", () => {
    for (const load of LOADS) {
      const { slots, least, most } = LOAD_NUMBERS[load];
      const plan = makePlan(load, 0);
      assertEquals([plan.slots.length, plan.sizes.length], [PLAN, PLAN]);
      const places = load === "mstress" ? plan.slots.map((step) => step & 1023) : plan.slots;
      assert(places.every((slot) => slot >= 0 && slot < slots), load);
      assert(
        plan.sizes.every((size) => size < 65_536 && (load === "mstress" || (size >= least && size <= most))),
        load,
      );
      if (most > least) assert(makePlan(load, 1).sizes.some((size, at) => size !== plan.sizes[at]), load);
    }
  });
});

function measured(side: string, load: Load, subject: string, workers: number, time: number): WorkersResult {
  return { side, load, subject, workers, round: 0, process: time, wall: 2 * time, allocating: time, freeing: time };
}

describe("bench workers' results", () => {
  const workers = [
    measured("deno", "churn", "null", 1, 2),
    measured("deno", "churn", "heap", 1, 12),
    measured("deno", "churn", "shared-heap", 1, 13),
    measured("deno", "churn", "null", 2, 3),
    measured("deno", "churn", "shared-heap", 2, 14),
    measured("deno", "local", "null", 1, 1),
    measured("deno", "local", "shared-heap", 1, 6),
    measured("deno", "remote", "null", 2, 1),
    measured("deno", "remote", "shared-heap", 2, 21),
    measured("native", "larson", "null", 2, 1),
    measured("native", "larson", "glibc", 2, 11),
    measured("deno", "larson", "null", 2, 2),
    measured("deno", "larson", "shared-heap", 2, 14),
  ];
  const results = sampleResults({
    workers,
    scaling: [
      { side: "deno", subject: "shared-heap", round: 0, replace: 1.9, compute: 2 },
      { side: "deno", subject: "heap", round: 0, replace: 1.7, compute: 2 },
    ],
  });

  it("are net of the same loop with as many workers", () => {
    assertEquals(netWorkersTime(results, "deno", "churn", "shared-heap", 2)?.median, 11);
    assertAlmostEquals(scalingByCpu(results, "deno")!, 2);
    assertEquals(scaling(results, "deno", "heap")?.median, 1.7);
    assertAlmostEquals(remoteRatio(results, "deno", "shared-heap")!, 4);
    assertEquals(netWorkersTime(results, "deno", "mstress", "shared-heap", 2), undefined);
  });

  it("are held against the bars, and none are asked for when nothing was measured", () => {
    const bars = findWorkersBars(results, "deno").map(({ name, pass }) => [name.split(" on ")[0], pass] as const);
    const verdicts = new Map(bars);
    assertEquals(verdicts.get("two workers"), true);
    assertEquals(verdicts.get("remote free"), false);
    assertEquals(verdicts.get("larson"), true);
    assertEquals(verdicts.get("mstress"), undefined);
    assertEquals(findWorkersBars(sampleResults(), "deno"), []);
  });

  it("are two tables", () => {
    const [ratios, native] = formatWorkers(results);
    assertMatch(ratios!.text, /^\| the same: 10,000 live, 16 to 512 bytes +\| +1\.2 \| 1\.10 \|$/m);
    assertMatch(native!.text, /^\| larson +\| +10\.0 \| +- \| +12\.0 \| +1\.20x \|/m);
  });
});
