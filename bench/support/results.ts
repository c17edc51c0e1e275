/**
 * The results of a run as data: what is in a results file, and the figures that tables and bars are made of.
 *
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { isHandleSubject } from "./catalogue.ts";
import type { Times } from "./clock.ts";
import type { Figure } from "./figures.ts";
import type { Machine } from "./machine.ts";
import type { ResidentFigures } from "./resident.ts";
import { geometricMean, median, net, rowsWith, type Spread, spread } from "./statistics.ts";
import type { ScalingResult, WorkersResult } from "./workers_results.ts";

/** The version of the results file's format. */
export const RESULTS_VERSION = 1;

/** Who ran something: `"deno"`, `"bun"` or `"native"`. */
export type Side = string;

/** A trace that was replayed. */
export interface TraceInfo {
  readonly name: string;
  readonly records: number;
  readonly peakLiveBytes: number;
  readonly peakLiveBlocks: number;
}

/** One process that replayed one trace on one allocator, in nanoseconds of CPU time of the process per record. */
export interface ReplayResult {
  readonly trace: string;
  readonly side: Side;
  readonly allocator: string;
  /** Which of the interleaved rounds it was, from 0. */
  readonly round: number;
  /** Records replayed: fewer than the trace has when the peer was too slow for the whole. */
  readonly records: number;
  /** Count of replays in the process. */
  readonly replays: number;
  /** The first replay. */
  readonly cold: number;
  /** The median of the others. */
  readonly warm: number;
  /** The same of the JavaScript thread alone. */
  readonly warmThread: number;
  /** The same in elapsed time. */
  readonly warmWall: number;
  /** The first replay in elapsed time. Absent in files from before it was kept. */
  readonly coldWall?: number;
}

/** One process that replayed one trace once with its resident set watched, in bytes. */
export interface MemoryResult extends ResidentFigures {
  readonly trace: string;
  readonly side: Side;
  readonly allocator: string;
  readonly round: number;
  /** Peak growth of the resident set over peak live bytes. */
  readonly ratio: number;
  /** The most resident bytes of the allocator's own mappings over peak live bytes, where they can be told apart. */
  readonly ownRatio?: number;
  /** The allocator's own figures after the last record. */
  readonly stats?: object;
}

/** One process that ran one small loop on one subject, in nanoseconds per operation: medians of its rounds. */
export interface MicroResult {
  readonly case: string;
  readonly side: Side;
  readonly subject: string;
  readonly round: number;
  readonly process: number;
  readonly thread: number;
  readonly wall: number;
}

/**
 * One process that replaced random blocks with so many live, in nanoseconds per operation: medians of its rounds. An
 * operation is an allocation or a free, so a replacement is two.
 */
export interface GrowthResult {
  readonly side: Side;
  readonly allocator: string;
  /** Blocks that are live all the time. */
  readonly live: number;
  readonly round: number;
  readonly process: number;
  readonly thread: number;
  readonly wall: number;
  /** How often each slot was replaced before the first round, on average: the heap has aged by as much. */
  readonly aged: number;
}

/** One process in which several workers shared memory. */
export interface SharedResult {
  readonly side: Side;
  /** Which design of a shared allocator; see bench/shared.ts. */
  readonly design: string;
  readonly workload: string;
  readonly workers: number;
  readonly round: number;
  /** Operations (allocations and frees) of all workers in a second of elapsed time. */
  readonly rate: number;
  /** Nanoseconds of CPU time of the process per operation. */
  readonly process: number;
}

/** Something that was asked for and could not be run. */
export interface Missing {
  readonly what: string;
  readonly why: string;
}

/** A bar of the project, and whether this run cleared it. */
export interface Bar {
  readonly name: string;
  /** What was measured; `undefined` when this run did not. */
  readonly value: number | undefined;
  readonly limit: number;
  /** Whether the value must be at most the limit, or at least. */
  readonly sense: "at most" | "at least";
  readonly pass: boolean | undefined;
}

/** Everything that a run found out: the results file. */
export interface Results {
  readonly version: number;
  readonly date: string;
  readonly command: string;
  readonly machine: Machine;
  readonly runtimes: readonly string[];
  readonly traces: readonly TraceInfo[];
  readonly replays: readonly ReplayResult[];
  readonly memory: readonly MemoryResult[];
  readonly micro: readonly MicroResult[];
  /** Absent in files from before it was measured, as those below. */
  readonly growth?: readonly GrowthResult[];
  readonly shared?: readonly SharedResult[];
  readonly workers?: readonly WorkersResult[];
  readonly scaling?: readonly ScalingResult[];
  /** Whether the traces are the bundled ones. */
  readonly bundled?: boolean;
  /** What programs of their own measured. */
  readonly figures?: readonly Figure[];
  readonly missing: readonly Missing[];
}

/** Cold and warm figures of a list of replays, per record. */
export function summarize(replays: readonly Times[], records: number): {
  cold: number;
  warm: number;
  warmThread: number;
  warmWall: number;
  coldWall: number;
} {
  const warm = replays.length > 1 ? replays.slice(1) : replays;
  return {
    cold: replays[0]!.process / records,
    warm: median(warm.map((times) => times.process)) / records,
    warmThread: median(warm.map((times) => times.thread)) / records,
    warmWall: median(warm.map((times) => times.wall)) / records,
    coldWall: replays[0]!.wall / records,
  };
}

/** The null allocator that goes with an allocator's kind on a side. */
export function nullOf(side: Side, allocator: string): string {
  return side !== "native" && isHandleSubject(side, allocator) ? "null-handles" : "null";
}

/** Which replay of a process: the first, or the median of the others. */
export type Temperature = "cold" | "warm";

/** Which clock of a replay: CPU time of the process, or elapsed time. */
export type ReplayClock = "process" | "wall";

const REPLAY_FIELDS = {
  cold: { process: "cold", wall: "coldWall" },
  warm: { process: "warm", wall: "warmWall" },
} as const;

/**
 * Nanoseconds per record with the loop taken off, over all processes of a run. The loop's cost is the least median of
 * any process: noise only adds to it, and what is taken off too much would flatter.
 */
export function netReplay(
  results: Results,
  trace: string,
  side: Side,
  allocator: string,
  temperature: Temperature = "warm",
  clock: ReplayClock = "process",
): Spread | undefined {
  const field = REPLAY_FIELDS[temperature][clock];
  const own = rowsWith(results.replays, { trace, side, allocator });
  const loop = rowsWith(results.replays, { trace, side, allocator: nullOf(side, allocator) });
  const gross = spread(own.map((result) => result[field]).filter((value) => value !== undefined));
  return net(gross, spread(loop.map((result) => result[REPLAY_FIELDS.warm[clock]]))?.least);
}

/** Geometric mean over all traces of one allocator's net time over another's. */
export function replayRatio(
  results: Results,
  side: Side,
  allocator: string,
  baseSide: Side,
  base: string,
  temperature: Temperature = "warm",
  clock: ReplayClock = "process",
): number | undefined {
  const ratios: number[] = [];
  for (const { name } of results.traces) {
    const own = netReplay(results, name, side, allocator, temperature, clock);
    const other = netReplay(results, name, baseSide, base, temperature, clock);
    if (own !== undefined && other !== undefined) ratios.push(own.median / other.median);
  }
  return ratios.length === 0 ? undefined : geometricMean(ratios);
}

/** The fewest records that any process replayed of a trace; `undefined` when none did. */
export function replayedRecords(results: Results, trace: string, side: Side, allocator: string): number | undefined {
  return spread(rowsWith(results.replays, { trace, side, allocator }).map(({ records }) => records))?.least;
}

/** Whether an allocator was too slow for the whole of a trace. */
export function isCut(results: Results, trace: string, side: Side, allocator: string): boolean {
  const records = replayedRecords(results, trace, side, allocator);
  const whole = results.traces.find(({ name }) => name === trace)?.records;
  return records !== undefined && whole !== undefined && records < whole;
}

/** Nanoseconds per operation with so many blocks live, net of the same loop without an allocator. */
export function growthTime(results: Results, side: Side, allocator: string, live: number): Spread | undefined {
  const of = (name: string) =>
    spread(rowsWith(results.growth, { side, allocator: name, live }).map(({ process }) => process));
  return net(of(allocator), of("null")?.least);
}

/** Which load of which design, by how many workers. */
export type SharedLoad = Pick<SharedResult, "side" | "design" | "workload" | "workers">;

/** Operations per second of all workers together. */
export function sharedRate(results: Results, of: SharedLoad): Spread | undefined {
  return spread(rowsWith(results.shared, of).map(({ rate }) => rate));
}

/** Nanoseconds of CPU time, of all threads, per operation of the workers: what contention makes of it. */
export function sharedTime(results: Results, of: SharedLoad): Spread | undefined {
  return spread(rowsWith(results.shared, of).map(({ process }) => process));
}

/** Live bytes that a trace needs at its peak to count for the memory figure. */
export const MEMORY_LIVE_BYTES = 2 ** 20;

/** Which memory figure: the growth of the process, or the allocator's own OS pages. */
export type MemoryFigure = "ratio" | "ownRatio";

/** Median of a memory figure of one trace. */
export function memoryRatio(
  results: Results,
  trace: string,
  side: Side,
  allocator: string,
  figure: MemoryFigure = "ratio",
): Spread | undefined {
  return spread(
    rowsWith(results.memory, { trace, side, allocator })
      .map((result) => result[figure])
      .filter((ratio) => ratio !== undefined),
  );
}

/** Geometric mean of {@link memoryRatio} over the traces that count. */
export function memoryMean(
  results: Results,
  side: Side,
  allocator: string,
  figure: MemoryFigure = "ratio",
): number | undefined {
  const ratios = results.traces
    .filter((trace) => trace.peakLiveBytes > MEMORY_LIVE_BYTES)
    .map((trace) => memoryRatio(results, trace.name, side, allocator, figure)?.median)
    .filter((ratio) => ratio !== undefined);
  return ratios.length === 0 ? undefined : geometricMean(ratios);
}

/** Nanoseconds per operation of a small loop, by one of the clocks. */
export function microTime(
  results: Results,
  name: string,
  side: Side,
  subject: string,
  clock: "process" | "thread" = "process",
): Spread | undefined {
  return spread(rowsWith(results.micro, { case: name, side, subject }).map((result) => result[clock]));
}

/** How many times as long as `other` the heap takes in a small loop, by CPU time of the process. */
export function microRatio(results: Results, name: string, side: Side, other: string): number | undefined {
  const own = microTime(results, name, side, "heap");
  const base = microTime(results, name, side, other);
  return own === undefined || base === undefined ? undefined : own.median / base.median;
}

/**
 * How many times faster `subject` is than `other` in a small loop: by CPU time of the process or of the thread,
 * whichever says less. (A collector on other threads makes garbage look cheap by the one and dear by the other.)
 */
export function microSpeedup(
  results: Results,
  name: string,
  side: Side,
  subject: string,
  other: string,
): number | undefined {
  const ratios: number[] = [];
  for (const clock of ["process", "thread"] as const) {
    const own = microTime(results, name, side, subject, clock);
    const base = microTime(results, name, side, other, clock);
    if (own === undefined || base === undefined) return undefined;
    ratios.push(base.median / own.median);
  }
  return Math.min(...ratios);
}

/** Reads a results file. */
export function readResults(file: string): Results {
  const results = JSON.parse(readFileSync(file, "utf8")) as Results;
  if (results.version !== RESULTS_VERSION) {
    throw new Error(`Cannot read results ${file}: version ${results.version}, expected ${RESULTS_VERSION}`);
  }
  return results;
}

/** Writes the results file and the table of the same figures beside it. Returns the names. */
export function writeResults(base: string, results: Results): string[] {
  writeFileSync(`${base}.json`, `${JSON.stringify(results, roundNumber, 1)}\n`);
  writeFileSync(`${base}.csv`, toCsv(results));
  return [`${base}.json`, `${base}.csv`];
}

function roundNumber(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
}

function toCsv(results: Results): string {
  const lines = ["kind,subject,side,allocator,round,metric,value"];
  for (const r of results.replays) {
    for (const metric of ["cold", "warm", "warmThread", "warmWall", "coldWall"] as const) {
      const value = r[metric]?.toFixed(2);
      if (value === undefined) continue;
      lines.push(["replay", r.trace, r.side, r.allocator, r.round, `${metric} ns/record`, value].join());
    }
  }
  for (const r of results.memory) {
    lines.push(["memory", r.trace, r.side, r.allocator, r.round, "growth/live", r.ratio.toFixed(3)].join());
    if (r.ownRatio === undefined) continue;
    lines.push(["memory", r.trace, r.side, r.allocator, r.round, "own pages/live", r.ownRatio.toFixed(3)].join());
  }
  for (const r of results.micro) {
    for (const metric of ["process", "thread", "wall"] as const) {
      lines.push(["micro", r.case, r.side, r.subject, r.round, `${metric} ns/op`, r[metric].toFixed(2)].join());
    }
  }
  for (const r of results.growth ?? []) {
    for (const metric of ["process", "thread", "wall"] as const) {
      lines.push(["growth", r.live, r.side, r.allocator, r.round, `${metric} ns/op`, r[metric].toFixed(2)].join());
    }
  }
  for (const r of results.shared ?? []) {
    const subject = `${r.workload} ${r.workers}`;
    lines.push(["shared", subject, r.side, r.design, r.round, "op/s", r.rate.toFixed(0)].join());
  }
  for (const r of results.workers ?? []) {
    for (const metric of ["process", "wall", "allocating", "freeing"] as const) {
      if (r[metric] === 0) continue;
      const subject = `${r.load} ${r.workers}`;
      lines.push(["workers", subject, r.side, r.subject, r.round, `${metric} ns/op`, r[metric].toFixed(2)].join());
    }
  }
  for (const r of results.scaling ?? []) {
    for (const what of ["replace", "compute"] as const) {
      lines.push(["scaling", what, r.side, r.subject, r.round, "two/one", r[what].toFixed(3)].join());
    }
  }
  for (const { kind, subject, side, allocator, round, metric, value } of results.figures ?? []) {
    lines.push([kind, subject, side, allocator, round, metric, roundNumber("", value)].join());
  }
  return `${lines.join("\n")}\n`;
}
