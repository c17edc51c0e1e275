/**
 * The measurements of a run, phase by phase: which processes are started, in which order, and what is kept of what they
 * print.
 *
 * Everything that is compared in one table is interleaved: all players once, one after the other, then all again.
 *
 * @module
 */
import process from "node:process";
import type { ChurnReport } from "../churn.ts";
import { CASES } from "../micro.ts";
import type { ReplayReport } from "../replay.ts";
import type { SharedReport } from "../shared.ts";
import { type Group, subjectsOf } from "./catalogue.ts";
import { type Children, type Environment, progress } from "./children.ts";
import type { Times } from "./clock.ts";
import type { LoopReport } from "./measure.ts";
import { peakGrowth } from "./resident.ts";
import {
  type GrowthResult,
  type MemoryResult,
  type MicroResult,
  nullOf,
  type ReplayResult,
  type SharedResult,
  summarize,
  type TraceInfo,
} from "./results.ts";
import { DESIGNS, WORKLOADS } from "./shared_designs.ts";
import { median } from "./statistics.ts";

/** How much is run. */
export interface Effort {
  /** Processes per figure. */
  readonly processes: number;
  /** The same for the allocators of the groups. */
  readonly groupProcesses: number;
  /** A replay of an allocator of the groups is stopped after so long. */
  readonly groupLimitMs: number;
  readonly replays: number;
  readonly minMs: number;
  readonly rounds: number;
  readonly roundMs: number;
  readonly memoryProcesses: number;
  /** Whether the memory of the groups is looked at too. */
  readonly groupMemory: boolean;
  /** Blocks that are live in the growth table. */
  readonly live: readonly number[];
  readonly growthProcesses: number;
  readonly ageMs: number;
  readonly workers: readonly number[];
  readonly sharedProcesses: number;
  readonly sharedMs: number;
  /** The small loops and their subjects; all when absent. */
  readonly cases?: { readonly [name: string]: readonly string[] };
}

/** A program that replays traces: a runtime with an allocator, or the native replayer with one. */
interface Player {
  readonly side: string;
  readonly allocator: string;
  readonly processes: number;
  /** Which table it is in, when it is not the main one. */
  readonly group?: Group;
}

/** A trace on disk, unpacked for both sides. */
export interface TraceFile extends TraceInfo {
  readonly file: string;
}

/** Records between two readings of the resident set. The peak itself is the kernel's and misses nothing. */
const SAMPLE_RECORDS = 2048;
/** Watching the memory of an allocator of the groups is given up after so long. */
const GROUP_MEMORY_LIMIT_MS = 15_000;
/** The systems whose cost grows with what is live, and what they are compared with. */
const GROWTH_SUBJECTS = ["null", "heap", "basicalloc", "rustyMalloc", "memAlloc", "rulloc"] as const;

/** All players on all traces, one process at a time, interleaved: A B C A B C, trace by trace. */
export function runReplays(
  children: Children,
  traces: readonly TraceFile[],
  groups: ReadonlyMap<Group, readonly string[]>,
  effort: Effort,
): ReplayResult[] {
  const results: ReplayResult[] = [];
  const players = listPlayers(children, groups, effort);
  const failed = new Set<string>();
  for (const trace of traces) {
    for (let round = 0; round < effort.processes; round++) {
      for (const player of players) {
        const { side, allocator, group } = player;
        const who = `${side} ${allocator}`;
        if (round >= player.processes || failed.has(`${trace.name} ${who}`)) continue;
        progress(`${trace.name}: ${who}, process ${round + 1} of ${player.processes}`);
        const limit = group === undefined ? [] : ["--limit-ms", `${effort.groupLimitMs}`];
        const report = replay(children, player, trace, `${who} on ${trace.name}`, [
          ...["--replays", `${effort.replays}`, "--min-ms", `${effort.minMs}`],
          ...limit,
        ]);
        if (report === undefined) {
          failed.add(`${trace.name} ${who}`);
          continue;
        }
        const { records, replays } = report;
        const figures = summarize(replays, records);
        results.push({ trace: trace.name, side, allocator, round, records, replays: replays.length, ...figures });
      }
    }
  }
  return results;
}

function listPlayers(children: Children, groups: ReadonlyMap<Group, readonly string[]>, effort: Effort): Player[] {
  const { processes, groupProcesses } = effort;
  const players: Player[] = children.native.map((allocator) => ({ side: "native", allocator, processes }));
  for (const side of children.runtimes) {
    players.push({ side, allocator: "null", processes }, { side, allocator: "heap", processes });
    const others = [...groups].flatMap(([group, names]) => names.map((allocator) => ({ group, allocator })));
    if (others.some(({ allocator }) => nullOf(side, allocator) === "null-handles")) {
      players.push({ side, allocator: "null-handles", processes: groupProcesses });
    }
    for (const { group, allocator } of others) {
      players.push({ side, allocator, group, processes: groupProcesses });
    }
  }
  return players;
}

function replay(
  children: Children,
  { side, allocator }: Player,
  trace: TraceFile,
  who: string,
  args: readonly string[],
  environment?: Environment,
): ReplayReport | undefined {
  if (side === "native") return children.runNative("replay", allocator, who, [trace.file, ...args]);
  const all = ["--allocator", allocator, "--trace", trace.file, ...args];
  return children.runScript(side, "replay.ts", who, all, environment);
}

/**
 * For watching memory: Bun's optimising compilers off. They work whenever some function has been called often enough, if need
 * be in the sixth replay, and take 0.3 to 1 MiB for the moment, which is much beside a trace of 2 MiB.
 */
const UNOPTIMIZED: Environment = { BUN_JSC_useDFGJIT: "0" };

/** Every trace once per process with the resident set watched. */
export function runMemory(
  children: Children,
  traces: readonly TraceFile[],
  groups: ReadonlyMap<Group, readonly string[]>,
  effort: Effort,
): MemoryResult[] {
  const results: MemoryResult[] = [];
  if (process.platform !== "linux") {
    children.missing.push({ what: "memory", why: "the resident set is read from /proc, which only Linux has" });
    return results;
  }
  for (const trace of traces) {
    for (let round = 0; round < effort.memoryProcesses; round++) {
      for (const player of listPlayers(children, groups, effort)) {
        const { side, allocator, group } = player;
        // Their own OS pages are what is asked of the groups, and those are counted exactly: once is enough.
        if (group !== undefined && (group === "peers" || round > 0 || !effort.groupMemory)) continue;
        if (allocator === "null-handles" || (side === "native" && allocator === "null")) continue;
        const who = `memory of ${side} ${allocator} on ${trace.name}`;
        progress(`${who}, process ${round + 1} of ${effort.memoryProcesses}`);
        const watch = ["--touch", "pages", "--sample", `${SAMPLE_RECORDS}`];
        if (group !== undefined) watch.push("--rehearsals", "0", "--limit-ms", `${GROUP_MEMORY_LIMIT_MS}`);
        const report = replay(children, player, trace, who, watch, group === undefined ? UNOPTIMIZED : undefined);
        if (report?.rss === undefined) continue;
        const { ownPages } = report.rss;
        results.push({
          trace: trace.name,
          side,
          allocator,
          round,
          ...report.rss,
          ratio: peakGrowth(report.rss) / trace.peakLiveBytes,
          ...(ownPages === undefined ? {} : { ownRatio: ownPages / trace.peakLiveBytes }),
          ...(report.stats === undefined ? {} : { stats: report.stats }),
        });
      }
    }
  }
  return results;
}

/** Every small loop on every subject meant for it. */
export function runMicro(children: Children, effort: Effort): MicroResult[] {
  const results: MicroResult[] = [];
  for (const { name, subjects } of CASES) {
    const chosen = effort.cases === undefined ? subjects : effort.cases[name] ?? [];
    for (let round = 0; round < effort.processes; round++) {
      for (const side of children.runtimes) {
        for (const subject of chosen) {
          const who = `${side} ${subject}`;
          progress(`${name}: ${who}, process ${round + 1} of ${effort.processes}`);
          const args = ["--case", name, "--subject", subject];
          args.push("--rounds", `${effort.rounds}`, "--round-ms", `${effort.roundMs}`);
          const report = children.runScript<LoopReport>(side, "micro.ts", `${who} in ${name}`, args);
          if (report !== undefined) results.push({ case: name, side, subject, round, ...perOperation(report) });
        }
      }
    }
  }
  return results;
}

/** Random replacement with more and more blocks live. */
export function runGrowth(children: Children, effort: Effort): GrowthResult[] {
  const results: GrowthResult[] = [];
  const players = [
    ...children.native.map((allocator) => ["native", allocator] as const),
    ...children.runtimes.flatMap((side) => GROWTH_SUBJECTS.map((allocator) => [side, allocator] as const)),
  ];
  for (const live of effort.live) {
    for (let round = 0; round < effort.growthProcesses; round++) {
      for (const [side, allocator] of players) {
        const who = `${side} ${allocator} with ${live} live`;
        progress(`growth: ${who}, process ${round + 1} of ${effort.growthProcesses}`);
        const { rounds, roundMs } = effort;
        const report = side === "native"
          ? children.runNative<ChurnReport>("churn", allocator, who, [`${live}`, `${rounds}`, `${roundMs}`])
          : children.runScript<ChurnReport>(side, "churn.ts", who, [
            ...["--allocator", allocator, "--live", `${live}`, "--age-ms", `${effort.ageMs}`],
            ...["--rounds", `${rounds}`, "--round-ms", `${roundMs}`],
          ]);
        if (report === undefined) continue;
        results.push({ side, allocator, live, round, ...perOperation(report), aged: report.aged });
      }
    }
  }
  return results;
}

function perOperation({ rounds, operations }: LoopReport): { process: number; thread: number; wall: number } {
  const per = (clock: keyof Times) => median(rounds.map((times, i) => times[clock] / operations[i]!));
  return { process: per("process"), thread: per("thread"), wall: per("wall") };
}

/** Several workers on one shared allocator, in each design. */
export function runShared(children: Children, effort: Effort): SharedResult[] {
  const results: SharedResult[] = [];
  for (const workload of WORKLOADS) {
    for (const workers of effort.workers) {
      for (let round = 0; round < effort.sharedProcesses; round++) {
        for (const side of children.runtimes) {
          for (const { name: design } of DESIGNS) {
            // Nobody can free another heap's blocks.
            if (design === "own-heap" && workload === "larson") continue;
            const who = `${side} ${design}, ${workload}, ${workers} workers`;
            progress(`shared: ${who}, process ${round + 1} of ${effort.sharedProcesses}`);
            const args = ["--design", design, "--workload", workload, "--workers", `${workers}`];
            const report = children.runScript<SharedReport>(side, "shared.ts", who, [
              ...args,
              ...["--ms", `${effort.sharedMs}`],
            ]);
            if (report === undefined) continue;
            const { operations, times } = report;
            const rate = operations / times.wall * 1e9;
            results.push({ side, design, workload, workers, round, rate, process: times.process / operations });
          }
        }
      }
    }
  }
  return results;
}

/** The allocators of the groups that are asked for. */
export function chooseGroups(names: readonly Group[]): ReadonlyMap<Group, readonly string[]> {
  return new Map(names.map((group) => [group, subjectsOf(group)]));
}
