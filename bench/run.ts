/**
 * The benchmark: `deno task bench`. Runs every measurement in processes of its own, interleaved, prints the tables and
 * the bars, and writes `bench/results/DATE-HOST.json` and `.csv`. See README.md for the method.
 *
 *     --quick               fewer processes, loops and replays: under two minutes
 *     --traces DIRECTORY    replay every NAME.trace.gz there instead of the bundled ones
 *     --only-traces A,B     of these, only some
 *     --processes N         processes per figure (5, quick 3)
 *     --runtimes deno,bun   which runtimes
 *     --phases LIST         of traces,micro,memory
 *     --peers, --no-peers   whether to replay the other JavaScript allocators on the traces too (yes unless --quick)
 *     --allocators A,B      exactly these JavaScript allocators on the traces, besides heap
 *     --module FILE         measure the Heap that this module exports
 *     --deno FILE, --bun FILE   the runtimes' binaries
 *     --output DIRECTORY    where the results go (bench/results)
 *     --no-write            write no results
 *     --check               exit with status 1 when a bar is missed
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs, type ParseArgsConfig } from "node:util";
import { gunzipSync } from "node:zlib";
import { readTrace, traceName } from "../examples/support/trace.ts";
import { CASES } from "./micro.ts";
import type { LoopReport } from "./support/measure.ts";
import type { ReplayReport } from "./replay.ts";
import type { Runtime } from "./support/libc.ts";
import {
  buildNative,
  describeMachine,
  findMimalloc,
  findRuntime,
  libcVersion,
  MissingError,
  runtimeVersion,
} from "./support/machine.ts";
import { peakGrowth } from "./support/resident.ts";
import { findBars, formatReport } from "./support/report.ts";
import {
  type MemoryResult,
  type MicroResult,
  type Missing,
  type ReplayResult,
  type Results,
  RESULTS_VERSION,
  summarize,
  type TraceInfo,
  writeResults,
} from "./support/results.ts";
import { median } from "./support/statistics.ts";

/** How much is run. */
interface Effort {
  readonly processes: number;
  readonly replays: number;
  readonly minMs: number;
  readonly rounds: number;
  readonly roundMs: number;
  readonly memoryProcesses: number;
}

/** A program that replays traces: a runtime with an allocator, or the native replayer with one. */
interface Player {
  readonly side: string;
  readonly allocator: string;
  readonly processes: number;
  /** Stop a first replay after so long; for peers that would take minutes. */
  readonly limitMs?: number;
}

/** A trace on disk, unpacked for both sides. */
interface TraceFile extends TraceInfo {
  readonly file: string;
}

const PEERS = ["ffi-malloc", "uint8array", "buffer", "thi.ng"] as const;
const PEER_PROCESSES = 2;
const PEER_LIMIT_MS = 2000;
/** The small loops and subjects of a quick run. */
const QUICK_CASES: { readonly [name: string]: readonly string[] } = {
  "pair-64": ["heap", "ffi-malloc"],
  "replace-64-10k": ["heap", "ffi-malloc", "uint8array", "buffer", "null"],
  "view-64k": ["heap", "uint8array", "buffer"],
  "view": ["heap", "bare"],
  "native-buffer": ["heap", "bare"],
};
/** Records between two readings of the resident set. The peak itself is the kernel's and misses nothing. */
const SAMPLE_RECORDS = 2048;

const options = readOptions({
  quick: { type: "boolean", default: false },
  traces: { type: "string" },
  "only-traces": { type: "string" },
  processes: { type: "string" },
  runtimes: { type: "string", default: "deno,bun" },
  phases: { type: "string", default: "traces,micro,memory" },
  peers: { type: "boolean", default: false },
  "no-peers": { type: "boolean", default: false },
  allocators: { type: "string" },
  module: { type: "string" },
  deno: { type: "string" },
  bun: { type: "string" },
  output: { type: "string" },
  "no-write": { type: "boolean", default: false },
  check: { type: "boolean", default: false },
});

const effort: Effort = {
  processes: Number(options.processes ?? (options.quick ? 3 : 5)),
  replays: options.quick ? 5 : 7,
  minMs: options.quick ? 250 : 700,
  rounds: options.quick ? 10 : 15,
  roundMs: options.quick ? 10 : 20,
  memoryProcesses: options.quick ? 1 : 3,
};
const withPeers = options.peers || (!options.quick && !options["no-peers"]);
const scratch = mkdtempSync(join(tmpdir(), "offheap-bench-"));
const missing: Missing[] = [];
const versions: { [name: string]: string } = {};
const binaries: { [runtime: string]: string } = {};
let nativePath: string | undefined;
let mimallocPath: string | undefined;

/** Parses the command line; a mistake in it is one line, not a stack. */
function readOptions<const T extends NonNullable<ParseArgsConfig["options"]>>(options: T) {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    console.error(
      `bench: ${error instanceof Error ? error.message : error} (the options are at the top of bench/run.ts)`,
    );
    process.exit(2);
  }
}

function main(): void {
  const phases = options.phases.split(",");
  const runtimes = findPrograms();
  const traces = phases.includes("micro") && phases.length === 1 ? [] : unpackTraces();
  const results: Results = {
    version: RESULTS_VERSION,
    date: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC",
    // Without directories: results are published, and the paths of a machine are nobody's business.
    command: ["bench/run.ts", ...process.argv.slice(2).map((argument) => basename(argument))].join(" "),
    machine: describeMachine(versions),
    runtimes,
    traces: traces.map(({ name, records, peakLiveBytes, peakLiveBlocks }) => ({
      name,
      records,
      peakLiveBytes,
      peakLiveBlocks,
    })),
    replays: phases.includes("traces") ? runReplays(traces, runtimes) : [],
    micro: phases.includes("micro") ? runMicro(runtimes) : [],
    memory: phases.includes("memory") ? runMemory(traces, runtimes) : [],
    missing,
  };
  progress("");
  console.log(formatReport(results));
  if (!options["no-write"]) {
    const directory = resolve(options.output ?? fileURLToPath(new URL("results/", import.meta.url)));
    mkdirSync(directory, { recursive: true });
    const base = join(directory, `${results.date.slice(0, 16).replace(/[ :]/g, "-")}-${results.machine.host}`);
    console.log(`\n${writeResults(base, results).join("\n")}`);
  }
  if (options.check && findBars(results).some((bar) => bar.pass === false)) process.exitCode = 1;
}

/** Finds the runtimes and the native side; what is not there is left out, and said. */
function findPrograms(): string[] {
  const runtimes: string[] = [];
  for (const runtime of options.runtimes.split(",") as Runtime[]) {
    const path = attempt(runtime, () => findRuntime(runtime, options[runtime]));
    if (path === undefined) continue;
    binaries[runtime] = path;
    versions[runtime] = runtimeVersion(path);
    runtimes.push(runtime);
  }
  const native = attempt("native allocators", () => buildNative(scratch));
  if (native !== undefined) {
    nativePath = native.path;
    versions["libc"] = libcVersion();
    versions["cc"] = native.compiler;
    mimallocPath = attempt("mimalloc", findMimalloc);
  }
  return runtimes;
}

function attempt<T>(what: string, action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof MissingError)) throw error;
    missing.push({ what, why: error.message });
    return undefined;
  }
}

/** Verifies the traces and writes them unpacked, so that both sides read the same plain bytes. */
function unpackTraces(): TraceFile[] {
  const directory = options.traces ?? fileURLToPath(new URL("../examples/traces/", import.meta.url));
  const only = options["only-traces"]?.split(",");
  const files = readdirSync(directory)
    .filter((file) => file.endsWith(".trace.gz") && (only === undefined || only.includes(traceName(file))))
    .sort();
  if (files.length === 0) throw new Error(`No traces (NAME.trace.gz) in ${directory}`);
  return files.map((file) => {
    progress(`unpacking ${file}`);
    const source = join(directory, file);
    const { name, records, peakLiveBytes, peakLiveBlocks } = readTrace(source);
    const plain = join(scratch, `${name}.trace`);
    writeFileSync(plain, gunzipSync(readFileSync(source)));
    return { name, records, peakLiveBytes, peakLiveBlocks, file: plain };
  });
}

/** All players on all traces, one process at a time, interleaved: A B C A B C, trace by trace. */
function runReplays(traces: readonly TraceFile[], runtimes: readonly string[]): ReplayResult[] {
  const results: ReplayResult[] = [];
  const players = listPlayers(runtimes);
  const failed = new Set<string>();
  for (const trace of traces) {
    for (let round = 0; round < effort.processes; round++) {
      for (const player of players) {
        const who = `${player.side} ${player.allocator}`;
        if (round >= player.processes || failed.has(`${trace.name} ${who}`)) continue;
        progress(`${trace.name}: ${who}, process ${round + 1} of ${player.processes}`);
        const report = tryRun<ReplayReport>(who, replayCommand(player, trace, timingArguments(player)));
        if (report === undefined) {
          failed.add(`${trace.name} ${who}`);
          continue;
        }
        results.push({
          trace: trace.name,
          side: player.side,
          allocator: player.allocator,
          round,
          records: report.records,
          replays: report.replays.length,
          ...summarize(report.replays, report.records),
        });
      }
    }
  }
  return results;
}

function listPlayers(runtimes: readonly string[]): Player[] {
  const { processes } = effort;
  const players: Player[] = [];
  if (nativePath !== undefined) {
    players.push({ side: "native", allocator: "null", processes }, { side: "native", allocator: "glibc", processes });
    if (mimallocPath !== undefined) players.push({ side: "native", allocator: "mimalloc", processes });
  }
  const others = options.allocators?.split(",") ?? (withPeers ? PEERS : []);
  for (const side of runtimes) {
    players.push({ side, allocator: "null", processes }, { side, allocator: "heap", processes });
    if (others.length > 0) players.push({ side, allocator: "null-handles", processes: PEER_PROCESSES });
    for (const allocator of others) {
      players.push({ side, allocator, processes: PEER_PROCESSES, limitMs: PEER_LIMIT_MS });
    }
  }
  return players;
}

function timingArguments(player: Player): string[] {
  const limit = player.limitMs === undefined ? [] : ["--limit-ms", `${player.limitMs}`];
  return ["--replays", `${effort.replays}`, "--min-ms", `${effort.minMs}`, ...limit];
}

/** Every trace once per process with the resident set watched. */
function runMemory(traces: readonly TraceFile[], runtimes: readonly string[]): MemoryResult[] {
  const results: MemoryResult[] = [];
  if (process.platform !== "linux") {
    missing.push({ what: "memory", why: "the resident set is read from /proc, which only Linux has" });
    return results;
  }
  for (const trace of traces) {
    for (let round = 0; round < effort.memoryProcesses; round++) {
      for (const player of listPlayers(runtimes)) {
        const who = `${player.side} ${player.allocator}`;
        if (player.limitMs !== undefined || player.allocator === "null-handles") continue;
        if (player.side === "native" && player.allocator === "null") continue;
        progress(`memory of ${trace.name}: ${who}, process ${round + 1} of ${effort.memoryProcesses}`);
        const watch = ["--touch", "pages", "--sample", `${SAMPLE_RECORDS}`];
        const report = tryRun<ReplayReport>(who, replayCommand(player, trace, watch));
        if (report?.rss === undefined) continue;
        const { ownPages } = report.rss;
        results.push({
          trace: trace.name,
          side: player.side,
          allocator: player.allocator,
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

/** Every small loop on every subject meant for it, interleaved: all subjects of a loop once, then again. */
function runMicro(runtimes: readonly string[]): MicroResult[] {
  const results: MicroResult[] = [];
  for (const { name, subjects } of CASES) {
    const chosen = options.quick ? QUICK_CASES[name] ?? [] : subjects;
    for (let round = 0; round < effort.processes; round++) {
      for (const side of runtimes) {
        for (const subject of chosen) {
          const who = `${side} ${subject}`;
          progress(`${name}: ${who}, process ${round + 1} of ${effort.processes}`);
          const args = ["--case", name, "--subject", subject];
          args.push("--rounds", `${effort.rounds}`, "--round-ms", `${effort.roundMs}`);
          const report = tryRun<LoopReport>(who, runtimeCommand(side, "micro.ts", args));
          if (report === undefined) continue;
          const per = (clock: "process" | "thread" | "wall") =>
            median(report.rounds.map((times, i) => times[clock] / report.operations[i]!));
          results.push({
            case: name,
            side,
            subject,
            round,
            process: per("process"),
            thread: per("thread"),
            wall: per("wall"),
          });
        }
      }
    }
  }
  return results;
}

/** A command line and what its environment has more than ours. */
interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly environment?: { readonly [name: string]: string };
}

function replayCommand(player: Player, trace: TraceFile, args: readonly string[]): Command {
  if (player.side === "native") {
    const mode = player.allocator === "null" ? "null" : "malloc";
    const preload = player.allocator === "mimalloc" ? { environment: { LD_PRELOAD: mimallocPath! } } : {};
    return { command: nativePath!, args: [mode, trace.file, ...args], ...preload };
  }
  return runtimeCommand(player.side, "replay.ts", ["--allocator", player.allocator, "--trace", trace.file, ...args]);
}

function runtimeCommand(runtime: string, script: string, args: readonly string[]): Command {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const module = options.module === undefined ? [] : ["--module", pathToFileURL(resolve(options.module)).href];
  const head = runtime === "deno" ? ["run", "-A", "--quiet", "--v8-flags=--expose-gc"] : ["run"];
  return { command: binaries[runtime]!, args: [...head, file, ...args, ...module] };
}

/** Runs a child and parses its line. A failure is said, once per reason. */
function tryRun<T extends object>(who: string, { command, args, environment }: Command): T | undefined {
  const env = { ...process.env, NO_COLOR: "1", ...environment };
  const child = spawnSync(command, args, { encoding: "utf8", env, maxBuffer: 2 ** 28 });
  if (child.status === 0) {
    const report = JSON.parse(child.stdout) as T & { readonly preloaded?: string; readonly version?: number };
    if (environment?.["LD_PRELOAD"] !== undefined) {
      if (report.preloaded !== "mimalloc") {
        throw new Error(`${environment["LD_PRELOAD"]} was not loaded into ${command}`);
      }
      versions["mimalloc"] = formatMimallocVersion(report.version ?? 0);
    }
    return report;
  }
  const said = child.error?.message ?? child.stderr.trim().split("\n").find((line) => line.includes("rror")) ??
    "no output";
  const why = `${said} (status ${child.status ?? child.signal})`;
  if (!missing.some((one) => one.what === who && one.why === why)) missing.push({ what: who, why });
  return undefined;
}

/** 209 is 2.0.9. */
function formatMimallocVersion(version: number): string {
  return `${Math.floor(version / 100)}.${Math.floor(version / 10) % 10}.${version % 10}`;
}

/** A line that is written over, on a terminal only. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

try {
  main();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
