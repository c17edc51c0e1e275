/**
 * Records what a program asks of its allocator, as a trace that `bench/run.ts --traces` and `examples/replay.ts` replay. For
 * Linux with glibc and a C compiler; for programs that use the C library's malloc, from any number of threads.
 *
 *     deno run -A bench/record.ts --output traces -- jq . file.json
 *     deno task bench --traces traces
 *
 *     --output DIRECTORY   where NAME.trace.gz goes (.)
 *     --name NAME          what it is called (the program's name)
 *     --records N          stop recording after so many events; the program goes on (2,500,000)
 *     --process N          of the processes that the program started, the one with the Nth most events (1)
 *
 * Standard input and output are the program's, this one's own lines go to standard error, and it ends with the program's status.
 * The order of events between threads is the order in which they took the recorder's lock: valid, and not the only one.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { parseTrace } from "../examples/support/trace.ts";
import { withScratch } from "./support/frame.ts";
import { buildRecorder, MissingError } from "./support/machine.ts";
import { type RecordedTrace, toTrace } from "./support/recording.ts";

interface Options {
  readonly output: string;
  readonly name: string;
  readonly records: number;
  readonly process: number;
  readonly command: readonly string[];
}

function main(): Promise<void> | void {
  const options = readOptions();
  if (options === undefined) {
    console.error(
      "usage: bench/record.ts [--output DIRECTORY] [--name NAME] [--records N] [--process N] -- PROGRAM ARGUMENT...",
    );
    process.exitCode = 2;
    return;
  }
  return withScratch((scratch) => {
    try {
      process.exitCode = record(options, scratch);
    } catch (error) {
      if (!(error instanceof MissingError)) throw error;
      console.error(`record: ${error.message}`);
      process.exitCode = 1;
    }
  });
}

function readOptions(): Options | undefined {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      output: { type: "string", default: "." },
      name: { type: "string" },
      records: { type: "string", default: "2500000" },
      process: { type: "string", default: "1" },
    },
  });
  const [program] = positionals;
  const options = {
    output: values.output,
    name: values.name ?? basename(program ?? ""),
    records: Number(values.records),
    process: Number(values.process),
    command: positionals,
  };
  const whole = Number.isSafeInteger(options.records) && Number.isSafeInteger(options.process);
  return program !== undefined && whole && options.records > 0 && options.process > 0 ? options : undefined;
}

/** Runs the program and writes its trace. Returns the status to end with. */
function record({ output, name, records, process: rank, command }: Options, scratch: string): number {
  if (process.platform !== "linux") throw new MissingError("the recorder is for Linux with glibc");
  const library = buildRecorder(join(scratch, "native"));
  const events = join(scratch, "events");
  mkdirSync(events);
  const [program, ...args] = command;
  const env = { ...process.env, LD_PRELOAD: library, OFFHEAP_RECORD: events, OFFHEAP_RECORD_LIMIT: `${records}` };
  const run = spawnSync(program!, args, { stdio: "inherit", env });
  if (run.error !== undefined) throw new MissingError(`cannot run ${program}: ${run.error.message}`);

  const traces = readdirSync(events)
    .map((file) => toTrace(readFileSync(join(events, file))))
    .sort((a, b) => b.bytes.length - a.bytes.length);
  const chosen = traces[rank - 1];
  if (chosen === undefined) {
    throw new MissingError(
      traces.length === 0
        ? `nothing was recorded: ${program} allocates nothing, is linked statically, or does not use glibc's malloc`
        : `there is no process ${rank}: ${traces.length} were recorded`,
    );
  }
  mkdirSync(output, { recursive: true });
  const file = join(output, `${name}.trace.gz`);
  writeFileSync(file, gzipSync(chosen.bytes));
  console.error(describe(file, chosen, rank, traces.length));
  return run.status ?? 128 + constants.signals[run.signal!];
}

function describe(file: string, { bytes, leftOut }: RecordedTrace, rank: number, processes: number): string {
  const trace = parseTrace(file, bytes);
  return [
    `${file}: ${trace.records} records`,
    `at most ${trace.peakLiveBytes} bytes live in ${trace.peakLiveBlocks} blocks`,
    `${trace.endLiveBlocks} live at the end`,
    ...(leftOut > 0 ? [`${leftOut} events left out`] : []),
    ...(processes > 1 ? [`process ${rank} of ${processes}, by events`] : []),
  ].join(", ");
}

await main();
