/**
 * Records what a program asks of its allocator, as a trace that `bench/run.ts --traces` and `examples/replay.ts` replay. For
 * Linux with glibc and a C compiler; for programs that use the C library's malloc, from any number of threads.
 *
 *     deno run -A bench/record.ts --output traces -- jq . file.json
 *     deno task bench --traces traces
 *
 *     --output DIRECTORY   where NAME.trace.gz goes (.)
 *     --name NAME          what it is called (the program's name)
 *     --records N          stop recording after so many events of a process; the program goes on (2,500,000)
 *     --process N          of the processes that the program started, the one with the Nth most events (1)
 *
 * Standard input and output are the program's, this one's own lines go to standard error. It ends with the program's status, 128
 * and the signal's number when a signal ended it, and with 1 when there is no trace. Interrupting it interrupts the program, and
 * what was recorded until then is kept. The order of events between threads is the order in which they took the recorder's lock:
 * valid, and not the only one.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { accessSync, constants as access, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { parseTrace } from "../examples/support/trace.ts";
import { withScratch } from "./support/frame.ts";
import { buildRecorder, MissingError } from "./support/machine.ts";
import { type RecordedTrace, toTrace } from "./support/recording.ts";

/** The numbers of signals; undefined for those without a name, the real-time ones. */
const signals: { readonly [name: string]: number | undefined } = constants.signals;

const OPTIONS = {
  output: { type: "string", default: "." },
  name: { type: "string" },
  records: { type: "string", default: "2500000" },
  process: { type: "string", default: "1" },
} as const;

interface Options {
  readonly output: string;
  readonly name: string;
  readonly records: number;
  readonly process: number;
  readonly command: readonly string[];
}

async function main(): Promise<void> {
  const options = readOptions();
  if (options === undefined) {
    console.error(
      "usage: bench/record.ts [--output DIRECTORY] [--name NAME] [--records N] [--process N] -- PROGRAM ARGUMENT...",
    );
    process.exitCode = 2;
    return;
  }
  await withScratch(async (scratch) => {
    try {
      process.exitCode = await record(options, scratch);
    } catch (error) {
      if (!(error instanceof MissingError)) throw error;
      console.error(`record: ${error.message}`);
      process.exitCode = 1;
    }
  });
}

/** Undefined when they are not what the usage says. */
function readOptions(): Options | undefined {
  let parsed;
  try {
    parsed = parseArgs({ allowPositionals: true, options: OPTIONS });
  } catch {
    return undefined;
  }
  const { values, positionals } = parsed;
  const [program] = positionals;
  const name = values.name ?? basename(program ?? "");
  const options = {
    output: values.output,
    name,
    records: Number(values.records),
    process: Number(values.process),
    command: positionals,
  };
  const isWhole = Number.isSafeInteger(options.records) && Number.isSafeInteger(options.process);
  const isUsual = program !== undefined && name === basename(name) && name !== "" && isWhole;
  return isUsual && options.records > 0 && options.process > 0 ? options : undefined;
}

/** Runs the program and writes its trace. Returns the status to end with. */
async function record(options: Options, scratch: string): Promise<number> {
  const { output, records, process: rank } = options;
  if (process.platform !== "linux") throw new MissingError("the recorder is for Linux with glibc");
  // Before the program runs, which can take long.
  prepareOutput(output);
  const library = buildRecorder(join(scratch, "native"));
  if (/[\s:]/.test(library)) {
    throw new MissingError(`no library can be preloaded from ${scratch}: set TMPDIR to another`);
  }
  const events = join(scratch, "events");
  mkdirSync(events);
  const before = process.env["LD_PRELOAD"];
  const status = await run(options.command, {
    ...process.env,
    LD_PRELOAD: before === undefined ? library : `${library}:${before}`,
    OFFHEAP_RECORD: events,
    OFFHEAP_RECORD_LIMIT: `${records}`,
  });
  const traces = readdirSync(events)
    .map((file) => toTrace(readFileSync(join(events, file))))
    .filter(({ bytes }) => bytes.length > 0)
    .sort((a, b) => b.bytes.length - a.bytes.length);
  const chosen = traces[rank - 1];
  if (chosen === undefined) throw new MissingError(traces.length === 0 ? NOTHING : noSuch(rank, traces.length));
  const file = join(output, `${options.name}.trace.gz`);
  writeFileSync(file, gzipSync(chosen.bytes));
  console.error(describe(file, chosen, options, traces.length));
  return status;
}

const NOTHING = "nothing was recorded: the program allocates nothing with glibc's malloc, is linked statically, " +
  "may not be preloaded, or could not write";

function noSuch(rank: number, processes: number): string {
  return `there is no process ${rank}: ${processes} were recorded`;
}

function prepareOutput(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, access.W_OK);
  } catch (error) {
    throw new MissingError(`cannot write to ${directory}: ${(error as Error).message}`);
  }
}

/** Runs the program to its end, whatever signals come, and gives its status. */
function run([program, ...args]: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const child = spawn(program!, args, { stdio: "inherit", env });
  // A terminal interrupts the program as well; who sends a signal to this process alone means the program.
  const interrupt = () => {};
  const terminate = () => void child.kill("SIGTERM");
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", terminate);
  return new Promise<number>((resolve, reject) => {
    child.on("error", (error) => reject(new MissingError(`cannot run ${program}: ${error.message}`)));
    child.on("close", (status, signal) => resolve(status ?? 128 + (signals[signal!] ?? 0)));
  }).finally(() => {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", terminate);
  });
}

function describe(
  file: string,
  { bytes, events, leftOut }: RecordedTrace,
  { records, process: rank }: Options,
  processes: number,
): string {
  const trace = parseTrace(file, bytes);
  return [
    `${file}: ${trace.records} records`,
    `at most ${trace.peakLiveBytes} bytes live in ${trace.peakLiveBlocks} blocks`,
    `${trace.endLiveBlocks} live at the end`,
    ...(leftOut > 0 ? [`${leftOut} events left out`] : []),
    ...(events === records ? ["recording stopped there (--records)"] : []),
    ...(processes > 1 ? [`process ${rank} of ${processes}, by events`] : []),
  ].join(", ");
}

await main();
