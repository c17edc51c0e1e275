/**
 * The phase of bench/run.ts that runs bench/workers.ts and native/workers.c: every load that is compared, interleaved.
 *
 * @module
 */
import type { WorkersReport } from "../workers.ts";
import type { ScalingReport } from "../workers_scaling.ts";
import { type Children, progress } from "./children.ts";
import { median } from "./statistics.ts";
import type { Load, LoadSubject } from "./worker_loads.ts";
import { NATIVE_LOADS, type ScalingResult, type WorkersResult } from "./workers_results.ts";

/** How much is run. */
export interface WorkersEffort {
  /** Processes per figure. */
  readonly workersProcesses: number;
  /** Rounds of a process, after a warm-up of two. */
  readonly workersRounds: number;
  readonly workersMs: number;
  /** Cycles of bench/workers_scaling.ts. */
  readonly scalingCycles: number;
}

/** A load, who runs it, and in how many workers. */
type Run = readonly [load: Load, subject: LoadSubject, workers: number];

/** What is compared lies close together. */
const RUNS: readonly Run[] = [
  ...(["pair", "churn"] as const).flatMap((load) =>
    (["null", "heap", "shared-heap"] as const).map((subject): Run => [load, subject, 1])
  ),
  ["churn", "null", 2],
  ["churn", "shared-heap", 2],
  ...(["null", "shared-heap"] as const).flatMap((subject): Run[] => [["local", subject, 1], ["remote", subject, 2]]),
  ...NATIVE_LOADS.flatMap((load) => (["null", "shared-heap"] as const).map((subject): Run => [load, subject, 2])),
];

/** The loads that run natively too, and in how many threads. */
const NATIVE_RUNS: ReadonlyMap<Load, number> = new Map<Load, number>([
  ["local", 1],
  ["remote", 2],
  ...NATIVE_LOADS.map((load) => [load, 2] as const),
]);

/** All loads, one process at a time: all of them once, then all again. */
export function runWorkers(children: Children, effort: WorkersEffort): WorkersResult[] {
  const results: WorkersResult[] = [];
  const { workersProcesses, workersRounds, workersMs } = effort;
  for (let round = 0; round < workersProcesses; round++) {
    const keep = (side: string, load: Load, subject: string, workers: number, report: WorkersReport | undefined) => {
      if (report !== undefined) results.push({ side, load, subject, workers, round, ...perOperation(report, workers) });
    };
    for (const [load, subject, workers] of RUNS) {
      for (const side of children.runtimes) {
        const who = `${side} ${subject}, ${load} with ${workers}`;
        progress(`workers: ${who}, process ${round + 1} of ${workersProcesses}`);
        const args = ["--load", load, "--subject", subject, "--workers", `${workers}`];
        args.push("--rounds", `${workersRounds}`, "--round-ms", `${workersMs}`);
        keep(side, load, subject, workers, children.runScript<WorkersReport>(side, "workers.ts", who, args));
      }
      const threads = subject === "null" ? NATIVE_RUNS.get(load) : undefined;
      if (threads === undefined) continue;
      for (const allocator of children.native) {
        const who = `native ${allocator}, ${load} with ${threads}`;
        const args = [load, `${threads}`, `${workersRounds}`, `${workersMs}`];
        keep("native", load, allocator, threads, children.runNative<WorkersReport>("workers", allocator, who, args));
      }
    }
  }
  return results;
}

function perOperation({ rounds }: WorkersReport, workers: number) {
  const per = (time: (round: WorkersReport["rounds"][number]) => number) =>
    median(rounds.filter(({ operations }) => operations > 0).map((round) => time(round) / round.operations));
  return {
    process: per(({ process }) => process),
    wall: per(({ wall }) => wall * workers),
    // Half of the operations are allocations, half are frees.
    allocating: per(({ allocating }) => 2 * allocating),
    freeing: per(({ freeing }) => 2 * freeing),
  };
}

/** What two workers do in the time of one, on the shared heap and with a heap each. */
export function runScaling(
  children: Children,
  { workersProcesses, workersMs, scalingCycles }: WorkersEffort,
): ScalingResult[] {
  const results: ScalingResult[] = [];
  const args = ["--cycles", `${scalingCycles}`, "--slice-ms", `${workersMs / 4}`];
  for (let round = 0; round < workersProcesses; round++) {
    for (const side of children.runtimes) {
      for (const subject of ["shared-heap", "heap"]) {
        const who = `${side} ${subject}, scaling`;
        progress(`workers: ${who}, process ${round + 1} of ${workersProcesses}`);
        const report = children.runScript<ScalingReport>(side, "workers_scaling.ts", who, [
          "--subject",
          subject,
          ...args,
        ]);
        if (report !== undefined) results.push({ side, subject, round, ...ratiosOf(report) });
      }
    }
  }
  return results;
}

/** Of sums over the cycles: a single slice can be one in which the machine had nothing to give. */
function ratiosOf({ cycles }: ScalingReport): { replace: number; compute: number } {
  const sum = (what: keyof ScalingReport["cycles"][number]) => cycles.reduce((total, cycle) => total + cycle[what], 0);
  return { replace: sum("replaceTwo") / sum("replaceOne"), compute: sum("computeTwo") / sum("computeOne") };
}
