/**
 * A program that measures one subject by itself and not as a phase of `bench/run.ts`: its options, what it is told, and its
 * results file, which has the form of all others.
 *
 * @module
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { type Children, progress } from "./children.ts";
import type { Figure } from "./figures.ts";
import { FRAME_OPTIONS, headOf, keepResults, openChildren, withScratch } from "./frame.ts";
import { formatMachine, formatMissing } from "./report.ts";
import type { Results } from "./results.ts";
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

/** Runs a program from the command line to its results file. */
export async function runProgram(program: Program): Promise<void> {
  await withScratch((scratch) => run(program, scratch));
}

async function run(program: Program, scratch: string): Promise<void> {
  const { values } = parseArgs({ options: { ...FRAME_OPTIONS, only: { type: "string" } } });
  const chosen = values.only?.split(",") ?? program.parts;
  for (const part of chosen) {
    if (!program.parts.includes(part)) throw new Error(`No part ${part}: there are ${program.parts.join(", ")}`);
  }
  const children = openChildren(values, scratch);
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
    ...headOf(program.name, children),
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
  keepResults(results, values, program.name.replace(".ts", ""));
}
