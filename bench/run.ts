/**
 * The benchmark: `deno task bench`. Runs every measurement in processes of its own, interleaved, prints the tables and
 * the bars, and writes `bench/results/DATE-HOST.json` and `.csv`. See README.md for the method.
 *
 *     --quick               fewer processes, loops and replays: under two minutes
 *     --phases LIST         of traces,micro,memory,growth,shared,workers
 *     --groups LIST         of peers,systems,modes, or none: which allocators besides heap replay the traces
 *     --allocators A,B      exactly these allocators on the traces besides heap
 *     --traces DIRECTORY    replay every NAME.trace.gz there instead of the bundled ones
 *     --only-traces A,B     of these, only some
 *     --processes N         processes per figure (5, quick 3)
 *     --runtimes deno,bun   which runtimes
 *     --module FILE         measure the Heap that this module exports
 *     --deno FILE, --bun FILE   the runtimes' binaries
 *     --output DIRECTORY    where the results go (bench/results)
 *     --no-write            write no results
 *     --check               exit with status 1 when a bar is missed
 *
 * `bench/tables.ts` puts the figures of a results file into the documents, `bench/chart.ts` draws them.
 *
 * @module
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs, type ParseArgsConfig } from "node:util";
import { gunzipSync } from "node:zlib";
import { readTrace, traceName } from "../examples/support/trace.ts";
import { findBars } from "./support/bars.ts";
import { type Group, GROUPS, SUBJECTS } from "./support/catalogue.ts";
import { progress } from "./support/children.ts";
import { FRAME_OPTIONS, headOf, keepResults, openChildren, withScratch } from "./support/frame.ts";
import { runScaling, runWorkers, type WorkersEffort } from "./support/phase_workers.ts";
import {
  chooseGroups,
  type Effort,
  runGrowth,
  runMemory,
  runMicro,
  runReplays,
  runShared,
  type TraceFile,
} from "./support/phases.ts";
import { formatReport } from "./support/report.ts";
import type { Results } from "./support/results.ts";

const FULL: Effort & WorkersEffort = {
  processes: 5,
  groupProcesses: 2,
  groupLimitMs: 2000,
  replays: 7,
  minMs: 2000,
  rounds: 15,
  roundMs: 20,
  memoryProcesses: 3,
  groupMemory: true,
  live: [100, 1000, 10_000],
  growthProcesses: 3,
  ageMs: 3000,
  workers: [1, 2, 4, 8],
  sharedProcesses: 3,
  sharedMs: 1000,
  workersProcesses: 5,
  workersRounds: 5,
  workersMs: 200,
  scalingCycles: 20,
};

const QUICK: Effort & WorkersEffort = {
  processes: 3,
  groupProcesses: 1,
  groupLimitMs: 600,
  replays: 4,
  minMs: 200,
  rounds: 8,
  roundMs: 10,
  memoryProcesses: 1,
  groupMemory: false,
  live: [100, 1000],
  growthProcesses: 1,
  ageMs: 200,
  workers: [1, 2],
  sharedProcesses: 1,
  sharedMs: 150,
  workersProcesses: 1,
  workersRounds: 3,
  workersMs: 30,
  scalingCycles: 5,
  cases: {
    "replace-64-10k": ["heap", "ffi-malloc", "uint8array"],
    "view-64k": ["heap", "uint8array"],
    "native-buffer": ["heap", "bare"],
  },
};

const options = readOptions({
  ...FRAME_OPTIONS,
  phases: { type: "string", default: "traces,micro,memory,growth,shared,workers" },
  groups: { type: "string" },
  allocators: { type: "string" },
  traces: { type: "string" },
  "only-traces": { type: "string" },
  check: { type: "boolean", default: false },
});

/** Parses the command line; a mistake in it is one line, not a stack. */
function readOptions<const T extends NonNullable<ParseArgsConfig["options"]>>(options: T) {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    fail(error instanceof Error ? error.message : `${error}`);
  }
}

function fail(what: string): never {
  console.error(`bench: ${what} (the options are at the top of bench/run.ts)`);
  process.exit(2);
}

function main(scratch: string): void {
  const effort = chooseEffort();
  const groups = readGroups();
  const phases = options.phases.split(",");
  const children = openChildren(options, scratch);
  const traces = phases.includes("traces") || phases.includes("memory") ? unpackTraces(scratch) : [];
  const results: Results = {
    ...headOf("run.ts", children),
    bundled: options.traces === undefined,
    traces: traces.map(({ file: _, ...info }) => info),
    replays: phases.includes("traces") ? runReplays(children, traces, groups, effort) : [],
    micro: phases.includes("micro") ? runMicro(children, effort) : [],
    memory: phases.includes("memory") ? runMemory(children, traces, groups, effort) : [],
    growth: phases.includes("growth") ? runGrowth(children, effort) : [],
    shared: phases.includes("shared") ? runShared(children, effort) : [],
    workers: phases.includes("workers") ? runWorkers(children, effort) : [],
    scaling: phases.includes("workers") ? runScaling(children, effort) : [],
    missing: children.missing,
  };
  progress("");
  console.log(formatReport(results));
  keepResults(results, options);
  if (options.check && findBars(results).some((bar) => bar.pass === false)) process.exitCode = 1;
}

function chooseEffort(): Effort & WorkersEffort {
  const effort = options.quick ? QUICK : FULL;
  if (options.processes === undefined) return effort;
  const processes = Number(options.processes);
  if (!(processes >= 1)) fail(`--processes ${options.processes} is no count`);
  const fewer = (count: number) => Math.min(count, processes);
  return {
    ...effort,
    processes,
    groupProcesses: fewer(effort.groupProcesses),
    memoryProcesses: fewer(effort.memoryProcesses),
    growthProcesses: fewer(effort.growthProcesses),
    sharedProcesses: fewer(effort.sharedProcesses),
    workersProcesses: fewer(effort.workersProcesses),
  };
}

/** The allocators besides heap, by group. Those named one by one are in the group they belong to. */
function readGroups(): ReadonlyMap<Group, readonly string[]> {
  if (options.allocators === undefined) {
    const names = options.groups?.split(",").filter((name) => name !== "none") ??
      (options.quick ? ["systems", "modes"] : GROUPS);
    return chooseGroups(names.map((name) => GROUPS.find((group) => group === name) ?? fail(`no group ${name}`)));
  }
  const chosen = new Map<Group, string[]>();
  for (const name of options.allocators.split(",")) {
    const group = SUBJECTS.find((subject) => subject.name === name)?.group ?? fail(`no allocator ${name} for traces`);
    chosen.set(group, [...chosen.get(group) ?? [], name]);
  }
  return chosen;
}

/** Verifies the traces and writes them unpacked, so that both sides read the same plain bytes. */
function unpackTraces(scratch: string): TraceFile[] {
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

await withScratch(main);
