/**
 * The frame of a program that measures one subject by itself and not as a phase of `bench/run.ts`: its options, the search
 * for the runtimes, and the results file, which has the form of all others.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { Children, progress } from "./children.ts";
import type { Figure } from "./figures.ts";
import type { Runtime } from "./libc.ts";
import { describeMachine } from "./machine.ts";
import { formatMachine, formatMissing } from "./report.ts";
import { type Results, RESULTS_VERSION, writeResults } from "./results.ts";
import type { Section } from "./text.ts";

/** What a program measures, and what it prints of that. */
export interface Program {
  /** The name of its file. */
  readonly name: string;
  /** Names of parts that `--only` can choose from. */
  readonly parts: readonly string[];
  /** Measures. */
  measure(run: Run): Promise<Figure[]> | Figure[];
  /** The tables. */
  sections(results: Results): readonly Section[];
}

/** What a program is told. */
export interface Run {
  readonly children: Children;
  /** A directory that is removed in the end. */
  readonly scratch: string;
  /** The module that exports `Heap`, as a URL. */
  readonly module: string;
  readonly quick: boolean;
  /** Processes per figure, if somebody said so. */
  readonly processes: number | undefined;
  /** Whether a part is wanted. */
  readonly wants: (part: string) => boolean;
}

const OPTIONS = {
  quick: { type: "boolean", default: false },
  only: { type: "string" },
  processes: { type: "string" },
  runtimes: { type: "string", default: "deno,bun" },
  module: { type: "string" },
  deno: { type: "string" },
  bun: { type: "string" },
  output: { type: "string" },
  "no-write": { type: "boolean", default: false },
} as const;

/** Runs a program from the command line to its results file. */
export async function runProgram(program: Program): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "offheap-bench-"));
  try {
    await run(program, scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function run(program: Program, scratch: string): Promise<void> {
  const { values } = parseArgs({ options: OPTIONS });
  const chosen = values.only?.split(",") ?? program.parts;
  for (const part of chosen) {
    if (!program.parts.includes(part)) throw new Error(`No part ${part}: there are ${program.parts.join(", ")}`);
  }
  const children = new Children({
    runtimes: values.runtimes.split(",") as Runtime[],
    given: { deno: values.deno, bun: values.bun },
    module: values.module,
    scratch,
  });
  const figures = await program.measure({
    children,
    scratch,
    module: values.module === undefined
      ? new URL("../../mod.ts", import.meta.url).href
      : pathToFileURL(resolve(values.module)).href,
    quick: values.quick,
    processes: values.processes === undefined ? undefined : Number(values.processes),
    wants: (part) => chosen.includes(part),
  });
  const results: Results = {
    version: RESULTS_VERSION,
    date: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC",
    // Without directories: results are published, and the paths of a machine are nobody's business.
    command: [`bench/${program.name}`, ...process.argv.slice(2).map((argument) => basename(argument))].join(" "),
    machine: describeMachine(children.versions),
    runtimes: children.runtimes,
    traces: [],
    replays: [],
    micro: [],
    memory: [],
    figures,
    missing: children.missing,
  };
  progress("");
  const tables = program.sections(results).map(({ title, text }) => `## ${title}\n\n${text}`);
  const missing = results.missing.length === 0 ? [] : [`Left out:\n${formatMissing(results)}`];
  console.log([formatMachine(results), ...tables, ...missing].join("\n\n"));
  if (values["no-write"]) return;
  const directory = resolve(values.output ?? fileURLToPath(new URL("../results/", import.meta.url)));
  mkdirSync(directory, { recursive: true });
  const name = program.name.replace(".ts", "");
  const base = join(directory, `${results.date.slice(0, 16).replace(/[ :]/g, "-")}-${name}-${results.machine.host}`);
  console.log(`\n${writeResults(base, results).join("\n")}`);
}
