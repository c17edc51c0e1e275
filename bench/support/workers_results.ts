/**
 * The figures of bench/workers.ts: what is kept of a run, and the ratios that the project has bars for.
 *
 * @module
 */
import type { Bar, Results, Side } from "./results.ts";
import { net, rowsWith, type Spread, spread } from "./statistics.ts";
import type { Load } from "./worker_loads.ts";

/** One process that ran one load: medians of its rounds, in nanoseconds. */
export interface WorkersResult {
  readonly side: Side;
  readonly load: Load;
  /** `"null"`, `"heap"`, `"shared-heap"`; natively `"null"`, `"glibc"`, `"mimalloc"`. */
  readonly subject: string;
  readonly workers: number;
  readonly round: number;
  /** CPU time of all threads per operation, which is an allocation or a free. */
  readonly process: number;
  /** Elapsed time per operation of one worker, while all are at work. */
  readonly wall: number;
  /** CPU time of the thread that allocates, per block: of `local` and `remote`, otherwise 0. */
  readonly allocating: number;
  /** The same of the one that frees. */
  readonly freeing: number;
}

/** One process of bench/workers_scaling.ts: what two workers do in the time of one, one = 1. */
export interface ScalingResult {
  readonly side: Side;
  /** `"shared-heap"`, or `"heap"` when each worker has one of its own. */
  readonly subject: string;
  readonly round: number;
  /** Of replacing blocks. */
  readonly replace: number;
  /** Of computing, in between. */
  readonly compute: number;
}

/** One of the times of a {@link WorkersResult}. */
export type WorkersClock = "process" | "wall" | "allocating" | "freeing";

/** The loads that have a native counterpart for two threads. */
export const NATIVE_LOADS = ["larson", "handoff", "mstress"] as const satisfies readonly Load[];

/** Nanoseconds with the loop taken off: the least that any process needed for it without an allocator. */
export function netWorkersTime(
  results: Results,
  side: Side,
  load: Load,
  subject: string,
  workers: number,
  clock: WorkersClock = "process",
): Spread | undefined {
  const gross = (name: string) =>
    spread(rowsWith(results.workers, { side, load, subject: name, workers }).map((result) => result[clock]));
  return net(gross(subject), gross("null")?.least);
}

function over(own: Spread | undefined, base: Spread | undefined): number | undefined {
  return own === undefined || base === undefined ? undefined : own.median / base.median;
}

/** How long one worker takes on the shared heap; on a `Heap` of its own = 1. */
export function oneWorkerRatio(results: Results, side: Side, load: "pair" | "churn"): number | undefined {
  return over(netWorkersTime(results, side, load, "shared-heap", 1), netWorkersTime(results, side, load, "heap", 1));
}

/** How many times the operations of one worker two do in the same elapsed time, each by itself. */
export function scaling(
  results: Results,
  side: Side,
  subject: string,
  what: "replace" | "compute" = "replace",
): Spread | undefined {
  return spread(rowsWith(results.scaling, { side, subject }).map((result) => result[what]));
}

/** The same by CPU time, net: what it would be if each had a processor to itself all the time. */
export function scalingByCpu(results: Results, side: Side): number | undefined {
  const ratio = over(
    netWorkersTime(results, side, "churn", "shared-heap", 1),
    netWorkersTime(results, side, "churn", "shared-heap", 2),
  );
  return ratio === undefined ? undefined : 2 * ratio;
}

/** The time of freeing another worker's blocks; one's own = 1. `allocating`: what it costs their owner to get them back. */
export function remoteRatio(
  results: Results,
  side: Side,
  subject: string,
  clock: "freeing" | "allocating" = "freeing",
): number | undefined {
  return over(
    netWorkersTime(results, side, "remote", subject, 2, clock),
    netWorkersTime(results, side, "local", subject, 1, clock),
  );
}

/** The time of two workers; two native threads with `base` = 1. */
export function nativeRatio(
  results: Results,
  side: Side,
  load: Load,
  base: string,
  clock: WorkersClock = "process",
): number | undefined {
  return over(
    netWorkersTime(results, side, load, "shared-heap", 2, clock),
    netWorkersTime(results, "native", load, base, 2, clock),
  );
}

/** The bars of shared heaps. */
const LIMITS = { oneWorker: 1.2, scaling: 1.8, remote: 3, native: 1.5 } as const;

/** The bars, with what this run measured; none when it measured no workers. */
export function findWorkersBars(results: Results, side: Side): Bar[] {
  if ((results.workers ?? []).length === 0) return [];
  const bar = (name: string, value: number | undefined, limit: number, sense: Bar["sense"] = "at most"): Bar => ({
    name,
    value,
    limit,
    sense,
    pass: value === undefined ? undefined : sense === "at most" ? value <= limit : value >= limit,
  });
  return [
    bar(`one worker on ${side}: SharedHeap / Heap, pairs`, oneWorkerRatio(results, side, "pair"), LIMITS.oneWorker),
    bar(`one worker on ${side}: SharedHeap / Heap, churn`, oneWorkerRatio(results, side, "churn"), LIMITS.oneWorker),
    bar(
      `two workers on ${side}: operations of one, elapsed`,
      scaling(results, side, "shared-heap")?.median,
      LIMITS.scaling,
      "at least",
    ),
    bar(`remote free on ${side}: / local free`, remoteRatio(results, side, "shared-heap"), LIMITS.remote),
    ...NATIVE_LOADS.map((load) =>
      bar(`${load} on ${side}, two workers: / glibc`, nativeRatio(results, side, load, "glibc"), LIMITS.native)
    ),
  ];
}
