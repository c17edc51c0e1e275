/**
 * What every program has that writes a results file: the options for it, a scratch directory, the search for the runtimes,
 * and the head and the name of the file.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Children } from "./children.ts";
import type { Runtime } from "./libc.ts";
import { describeMachine } from "./machine.ts";
import { type Results, RESULTS_VERSION, writeResults } from "./results.ts";

/** The options, for `parseArgs`. `bench/run.ts` says what they mean. */
export const FRAME_OPTIONS = {
  quick: { type: "boolean", default: false },
  processes: { type: "string" },
  runtimes: { type: "string", default: "deno,bun" },
  module: { type: "string" },
  deno: { type: "string" },
  bun: { type: "string" },
  output: { type: "string" },
  "no-write": { type: "boolean", default: false },
} as const;

/** Their values, as far as they are needed here. */
export interface FrameValues {
  readonly runtimes: string;
  readonly module?: string | undefined;
  readonly deno?: string | undefined;
  readonly bun?: string | undefined;
  readonly output?: string | undefined;
  readonly "no-write": boolean;
}

/** Calls `program` with a directory that is removed in the end. */
export async function withScratch(program: (scratch: string) => Promise<void> | void): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "offheap-bench-"));
  try {
    await program(scratch);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Finds the runtimes and the native allocators. */
export function openChildren(values: FrameValues, scratch: string): Children {
  return new Children({
    runtimes: values.runtimes.split(",") as Runtime[],
    given: { deno: values.deno, bun: values.bun },
    module: values.module,
    scratch,
  });
}

/** What stands in a results file whatever was measured. `program` is the name of a file in bench/. */
export function headOf(
  program: string,
  children: Children,
): Pick<Results, "version" | "date" | "command" | "machine" | "runtimes"> {
  return {
    version: RESULTS_VERSION,
    date: new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC",
    // Without directories: results are published, and the paths of a machine are nobody's business.
    command: [`bench/${program}`, ...process.argv.slice(2).map((argument) => basename(argument))].join(" "),
    machine: describeMachine(children.versions),
    runtimes: children.runtimes,
  };
}

/** Writes the results file, unless it is not wanted, and says where. `name` tells programs of the same minute apart. */
export function keepResults(results: Results, values: FrameValues, name?: string): void {
  if (values["no-write"]) return;
  const directory = resolve(values.output ?? fileURLToPath(new URL("../results/", import.meta.url)));
  mkdirSync(directory, { recursive: true });
  const date = results.date.slice(0, 16).replace(/[ :]/g, "-");
  const parts = name === undefined ? [date, results.machine.host] : [date, name, results.machine.host];
  console.log(`\n${writeResults(join(directory, parts.join("-")), results).join("\n")}`);
}
