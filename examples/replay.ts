/**
 * Replays what real programs asked of their allocator on a `Heap`, verifies every byte, and reports.
 *
 *     deno task demo
 *     deno run --allow-ffi --allow-read examples/replay.ts --trace examples/traces/lua.trace.gz
 *     bun examples/replay.ts --no-verify --repeat 20
 *
 * Each trace gets a heap of its own. First it is replayed with every block filled with a pattern, which is verified
 * before the block is freed and across each reallocate; then without, for the speed; then the heap is disposed, and the
 * operating system asked what is left.
 *
 * @module
 */
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { AllocatorError, type AllocatorStats, Heap, type HeapLayout, heapMap, systemPageSource } from "../mod.ts";
import {
  type ProcessMemory,
  processMemory,
  type RangesMemory,
  rangesMemory,
  type TrackedSource,
  trackedSource,
} from "./support/process_memory.ts";
import { ProgressBar } from "./support/progress_bar.ts";
import { CHUNK } from "./support/replay_loop.ts";
import { peakRecord, PlainReplay, VerificationError, VerifiedReplay } from "./support/replayer.ts";
import { bar, formatBytes, formatCount, formatRatio, row, table } from "./support/text.ts";
import {
  OP_ALLOCATE_ALIGNED,
  OP_ALLOCATE_ZEROED,
  OP_FREE,
  OP_REALLOCATE,
  readTrace,
  type Trace,
  TraceError,
} from "./support/trace.ts";

const HELP = `Replays recorded allocations of real programs on a Heap, and reports.

  --trace FILE    a trace to replay, FILE.trace or FILE.trace.gz; may be given several times
                  (the two beside this program: sqlite3 and lua)
  --verify        fill every block, and verify it before its free and across each reallocate (the default)
  --no-verify     only replay, as fast as it goes
  --repeat N      replay each trace N times (10)
  --help          this text
`;

const DEFAULT_REPEAT = "10";
const BUNDLED = ["sqlite3", "lua"];

interface Options {
  readonly files: readonly string[];
  readonly verify: boolean;
  readonly repeat: number;
}

/** A heap when it had the most bytes live. */
interface Peak {
  readonly stats: AllocatorStats;
  readonly layout: HeapLayout;
  readonly system: RangesMemory | undefined;
}

/** Returns the options, or undefined when only the help was asked for. Throws what parseArgs throws, or a RangeError. */
function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      trace: { type: "string", multiple: true },
      verify: { type: "boolean", default: true },
      repeat: { type: "string", default: DEFAULT_REPEAT },
      help: { type: "boolean", default: false },
    },
    allowNegative: true,
  });
  if (values.help) return undefined;
  const repeat = /^[0-9]+$/.test(values.repeat) ? Number(values.repeat) : 0;
  if (!Number.isSafeInteger(repeat) || repeat < 1) {
    throw new RangeError(`Cannot use '${values.repeat}' for --repeat: it must be a whole number from 1`);
  }
  const bundled = BUNDLED.map((name) => fileURLToPath(new URL(`./traces/${name}.trace.gz`, import.meta.url)));
  return { files: values.trace ?? bundled, verify: values.verify, repeat };
}

/** Replays one trace and reports on it. False when `dispose` did not give everything back. */
function replay(trace: Trace, { verify, repeat }: Options): boolean {
  const before = processMemory();
  const source = trackedSource(systemPageSource());
  const heap = new Heap({ source });
  const progress = new ProgressBar(trace.name, trace.records * repeat * (verify ? 2 : 1));
  const peakAt = peakRecord(trace) + 1;
  let peak: Peak | undefined;

  /** Drives one replay in chunks, with a stop at the peak of the first one, and gives the seconds spent in chunks. */
  function drive(replay: (from: number, to: number) => void, phase: string): number {
    let milliseconds = 0;
    for (let from = 0; from < trace.records;) {
      const stop = peak === undefined && from < peakAt ? peakAt : trace.records;
      const to = Math.min(from + CHUNK, stop);
      const started = performance.now();
      replay(from, to);
      milliseconds += performance.now() - started;
      if (to === peakAt) peak ??= { stats: heap.stats(), layout: heap.layout(), system: rangesMemory(source.ranges) };
      progress.advance(to - from, phase);
      from = to;
    }
    return milliseconds / 1000;
  }

  const verified = new VerifiedReplay(heap, trace);
  const plain = new PlainReplay(heap, trace);
  const verifiedSeconds: number[] = [];
  const plainSeconds: number[] = [];
  try {
    for (let turn = 0; verify && turn < repeat; turn++) {
      verifiedSeconds.push(drive((from, to) => verified.replay(from, to), "verifying"));
      verified.drain();
      heap.check();
    }
    for (let turn = 0; turn < repeat; turn++) {
      plainSeconds.push(drive((from, to) => plain.replay(from, to), "timing"));
      // What the program left live at its end is left to dispose.
      if (turn < repeat - 1) plain.drain();
    }
  } finally {
    progress.finish();
    if (plainSeconds.length < repeat) heap[Symbol.dispose]();
  }

  reportTrace(trace);
  if (verify) {
    const { blocks, bytesWritten, bytesVerified } = verified.work;
    console.log(
      row("Verified", `every byte of ${formatCount(blocks)} blocks, none wrong; heap.check() found no fault`),
    );
    console.log(row("", `${formatBytes(bytesWritten)} written, ${formatBytes(bytesVerified)} compared`));
  } else console.log(row("Verified", "nothing (--no-verify): blocks were neither written nor read"));
  reportSpeed(trace, plainSeconds, verifiedSeconds);
  if (peak !== undefined) reportPeak(trace, peak, verify);
  return reportDispose(heap, source, before);
}

function reportTrace(trace: Trace): void {
  const { name, records, op, endLiveBlocks } = trace;
  const counts = new Float64Array(256);
  for (let record = 0; record < records; record++) counts[op[record]!]!++;
  const frees = counts[OP_FREE]!;
  const moves = counts[OP_REALLOCATE]!;
  const zeroed = counts[OP_ALLOCATE_ZEROED]!;
  const aligned = counts[OP_ALLOCATE_ALIGNED]!;
  const parts = [`${formatCount(records - frees - moves)} allocate`];
  if (zeroed > 0) parts.push(`(${formatCount(zeroed)} of them zeroed)`);
  if (aligned > 0) parts.push(`(${formatCount(aligned)} of them aligned)`);
  parts.push(`+ ${formatCount(moves)} reallocate + ${formatCount(frees)} free`);
  console.log(`\n${name}`);
  console.log(row("Operations", `${formatCount(records)} = ${parts.join(" ")}`));
  console.log(row("Live at the end", `${formatCount(endLiveBlocks)} blocks`));
}

function reportSpeed({ records }: Trace, plain: readonly number[], verified: readonly number[]): void {
  if (records === 0) return;
  const seconds = median(plain);
  const count = plain.length === 1 ? "one replay" : `median of ${plain.length} replays`;
  const each = `${((seconds / records) * 1e9).toFixed(0)} ns each; ${count}`;
  console.log(row("Speed", `${rate(records / seconds)} operations per second (${each}, its loop included)`));
  if (verified.length > 0) console.log(row("", `${rate(records / median(verified))} while every byte is verified`));
}

function reportPeak(trace: Trace, { stats, layout, system }: Peak, verified: boolean): void {
  const { peakLiveBytes: live } = trace;
  const inUse = layout.regions.flatMap(({ spans }) => spans).filter(({ kind }) => kind !== "free");
  const hugeBytes = layout.huge.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const inUseBytes = inUse.reduce((sum, { byteLength }) => sum + byteLength, hugeBytes);
  console.log("\n  Memory when most was live");
  const rows = [
    ["peak live", formatBytes(live), "", `asked for, in ${formatCount(stats.liveBlocks)} blocks`],
    ["rounded up", formatBytes(stats.liveBytes), formatRatio(stats.liveBytes, live), "to size classes and runs"],
    ["in use", formatBytes(inUseBytes), formatRatio(inUseBytes, live), "pages and runs that hold a block"],
  ];
  if (verified && system?.residentBytes !== undefined && system.residentBytes > 0) {
    const ratio = formatRatio(system.residentBytes, live);
    rows.push(["resident", formatBytes(system.residentBytes), ratio, "overhead: all the heap has in RAM, tables too"]);
  }
  rows.push(
    [
      "peak committed",
      formatBytes(stats.peakCommittedBytes),
      formatRatio(stats.peakCommittedBytes, live),
      "for blocks; costs no RAM before it is touched",
    ],
    ["tables", formatBytes(stats.tableBytes), formatRatio(stats.tableBytes, live), "committed for the heap's records"],
  );
  for (const line of table(rows.map(([label = "", ...cells]) => [label.padEnd(14), ...cells]))) console.log(line);

  console.log("\n  Blocks by size class");
  const classes = layout.sizeClasses.filter(({ liveBlocks }) => liveBlocks > 0);
  const lines: [string, number, number, string][] = classes.map(({ size, liveBlocks, pages }) => {
    return [formatCount(size), liveBlocks, liveBlocks * size, formatCount(pages)];
  });
  const large = inUse.filter(({ kind }) => kind === "large");
  const largeBytes = large.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (large.length > 0) lines.push(["large", large.length, largeBytes, "-"]);
  if (layout.huge.length > 0) lines.push(["huge", layout.huge.length, hugeBytes, "-"]);
  const most = Math.max(...lines.map(([, , bytes]) => bytes));
  const body = lines.map(([size, blocks, bytes, pages]) => {
    return [size, formatCount(blocks), formatBytes(bytes), pages, bar(bytes / most, 24)];
  });
  for (const line of table([["bytes", "blocks", "together", "pages", ""], ...body])) console.log(line);

  console.log("\n  Heap map");
  for (const line of heapMap(layout).split("\n")) console.log(`    ${line}`);
}

/** Disposes the heap and says what is left of it. False when anything is. */
function reportDispose(heap: Heap, source: TrackedSource, before: ProcessMemory | undefined): boolean {
  const { liveBlocks, regions } = heap.stats();
  const { ranges } = source;
  const held = rangesMemory(ranges);
  const view = heap.view(heap.allocate(64));
  heap[Symbol.dispose]();
  const left = rangesMemory(ranges);
  const after = processMemory();
  console.log(`\n  After dispose (it freed ${formatCount(liveBlocks)} blocks in ${regions} regions)`);
  const { reservations, outstanding, outstandingBytes } = source;
  console.log(row("  reservations", `${outstanding} of ${reservations} left, ${formatBytes(outstandingBytes)}`));
  if (held !== undefined && left !== undefined) {
    console.log(row("  mappings there", `${left.mappings} left of ${held.mappings}`));
    if (held.residentBytes !== undefined && left.residentBytes !== undefined) {
      console.log(row("  resident there", `${formatBytes(left.residentBytes)} of ${formatBytes(held.residentBytes)}`));
    }
  }
  if (before !== undefined && after !== undefined) {
    console.log(row("  whole process", `${before.mappings} mappings before, ${after.mappings} after`));
    console.log(
      row("", `${formatBytes(before.residentBytes)} resident before, ${formatBytes(after.residentBytes)} after`),
    );
  }
  console.log(row("  an older view", `${view.length} bytes long`));
  const returned = outstanding === 0 && (left?.mappings ?? 0) === 0 && view.length === 0;
  console.log(row("", returned ? "everything went back" : "NOT everything went back"));
  return returned;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function rate(perSecond: number): string {
  return `${(perSecond / 1e6).toFixed(1).padStart(4)} million`;
}

function runtimeName(): string {
  const { deno, bun, node } = process.versions as { readonly [name: string]: string | undefined };
  return deno !== undefined ? `Deno ${deno}` : bun !== undefined ? `Bun ${bun}` : `Node.js ${node}`;
}

function main(): number {
  let options: Options | undefined;
  try {
    options = readOptions();
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (options === undefined) {
    console.log(HELP);
    return 0;
  }
  try {
    console.log(`Offheap on ${runtimeName()}, ${process.platform} ${process.arch}`);
    let returned = true;
    for (const file of options.files) returned = replay(readTrace(file), options) && returned;
    return returned ? 0 : 1;
  } catch (error) {
    if (!(error instanceof TraceError || error instanceof VerificationError || error instanceof AllocatorError)) {
      throw error;
    }
    console.error(error.message);
    return 1;
  }
}

process.exitCode = main();
