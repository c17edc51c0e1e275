/**
 * What a heap's resident memory is, at two moments of a trace: when most bytes are live, and when most are resident. Each
 * OS page of each block is written to. Prints two tables, one line a trace, in shares of the most bytes that are live:
 *
 *     deno run -A bench/memory.ts examples/traces/lua.trace.gz examples/traces/sqlite3.trace.gz
 *
 *     --module FILE       the module that exports Heap, for comparing two versions
 *     --step RECORDS      count the OS pages every so many records (2048)
 *     --classes           a line for each size class too: what its pages hold
 *     --json              one line of JSON a trace instead
 *
 * Counted are the OS pages of the heap's own mappings and nothing else, whatever the process does; how many is `own pages`,
 * as in the memory table of bench/README.md. They are:
 *
 *     live         bytes of the live blocks as they were asked for, also where they were never written
 *     slots        what slots of pages are longer than their blocks
 *     ends         what large blocks are longer, to a whole unit, less what of them was never written
 *     free         slots that are free, in pages with live blocks
 *     idle         pages without a live block
 *     runs         free runs, parked ones among them
 *     tables       records and links
 *
 * @module
 */
import { parseArgs } from "node:util";
import { readTrace, type Trace } from "../examples/support/trace.ts";
import type { Heap } from "../src/heap.ts";
import type { HeapLayout } from "../src/heap_layout.ts";
import { type Driver, makeDriver, type Recording, toRecording } from "./support/drivers.ts";
import { type Libc, openLibc, type RawAddress } from "./support/libc.ts";
import { OwnPages } from "./support/own_pages.ts";
import { heapSubject, openHeap } from "./support/own_subjects.ts";
import { geometricMean } from "./support/statistics.ts";
import { formatTable } from "./support/text.ts";

/** Traces with less live are listed and not in the mean: the first OS page of each table weighs too much in them. */
const MEAN_LEAST_BYTES = 2 ** 20;

/**
 * The moment that is looked at is the first at which so much of the peak is resident: memory that was written stays, so the
 * last OS page can come long after most blocks are gone.
 */
const NEARLY = 0.995;

/** Bytes by what they are. */
interface Breakdown {
  readonly live: number;
  readonly slots: number;
  readonly ends: number;
  readonly free: number;
  readonly idle: number;
  readonly runs: number;
  readonly tables: number;
}

/** What the pages of one class hold, in bytes but for `pages`. */
interface ClassUse {
  readonly size: number;
  pages: number;
  live: number;
  slots: number;
  free: number;
  idle: number;
}

/** The moment that a breakdown is of: most bytes live, or most resident. */
type Moment = "live" | "resident";

interface Report {
  readonly trace: string;
  readonly moment: Moment;
  /** Records replayed by then. */
  readonly record: number;
  readonly peakLiveBytes: number;
  /** The sum of `parts`. */
  readonly resident: number;
  readonly parts: Breakdown;
  readonly classes: readonly ClassUse[];
}

/** A heap whose OS pages are counted, replaying one trace. */
class Replay {
  readonly heap: Heap;
  readonly pages: OwnPages;
  /** Records replayed. */
  record = 0;
  readonly #driver: Driver;

  constructor(heap: Heap, pages: OwnPages, recording: Recording) {
    this.heap = heap;
    this.pages = pages;
    this.#driver = makeDriver(heapSubject(heap), recording);
  }

  static async open(libc: Libc<RawAddress>, module: string | undefined, recording: Recording): Promise<Replay> {
    const pages = new OwnPages(libc);
    return new Replay(await openHeap(module, pages) as Heap, pages, recording);
  }

  runTo(record: number): void {
    this.#driver.replayTouching(this.record, record, true);
    this.record = record;
  }
}

/** The breakdowns at both moments. Replays three times, each on a heap of its own, which all behave the same. */
async function measure(trace: Trace, module: string | undefined, step: number): Promise<Report[]> {
  const libc = await openLibc<RawAddress>();
  const recording = toRecording(trace);
  const open = () => Replay.open(libc, module, recording);
  const moments = [
    { moment: "live", record: recordOfMostLive(trace) },
    { moment: "resident", record: findPeak(trace, step, await open(), await open()) },
  ] as const;
  const { name, peakLiveBytes } = trace;
  const replay = await open();
  const reports = moments.toSorted((a, b) => a.record - b.record).map(({ moment, record }) => {
    replay.runTo(record);
    const { heap, pages } = replay;
    const resident = pages.residentBytes();
    return { trace: name, moment, record, peakLiveBytes, resident, ...divide(heap, pages, resident) };
  });
  replay.heap[Symbol.dispose]();
  return reports.toSorted((a, b) => a.moment < b.moment ? -1 : 1);
}

/** After how many records the most bytes are live. */
function recordOfMostLive({ records, id, size, peakLiveBytes, slots }: Trace): number {
  const sizes = new Uint32Array(slots);
  let live = 0;
  let record = 0;
  while (record < records && live < peakLiveBytes) {
    // A free has the size 0.
    live += size[record]! - sizes[id[record]!]!;
    sizes[id[record]!] = size[record]!;
    record++;
  }
  return record;
}

/** After how many records nearly the peak is resident: among some records by the first replay, exactly by the second. */
function findPeak(trace: Trace, step: number, first: Replay, second: Replay): number {
  let most = 0;
  const starts: number[] = [];
  const peaks: number[] = [];
  while (first.record < trace.records) {
    starts.push(first.record);
    first.runTo(Math.min(first.record + step, trace.records));
    first.pages.sample();
    // The most so far, with what came and went within the step.
    most = first.pages.peakBytes;
    peaks.push(most);
  }
  first.heap[Symbol.dispose]();
  second.runTo(starts[peaks.findIndex((peak) => peak >= most * NEARLY)]!);
  while (second.pages.residentBytes() < most * NEARLY && second.record < trace.records) second.runTo(second.record + 1);
  second.heap[Symbol.dispose]();
  return second.record;
}

/** Says of every resident byte what it is. */
function divide(heap: Heap, pages: OwnPages, resident: number): { parts: Breakdown; classes: ClassUse[] } {
  const layout: HeapLayout = heap.layout();
  const requested = requestedByPage(heap, layout);
  const classes = new Map<number, ClassUse>();
  const sum = { live: 0, slots: 0, ends: 0, free: 0, idle: 0, runs: 0 };
  for (const span of layout.regions.flatMap(({ spans }) => spans)) {
    const bytes = pages.residentBytes(span.address, span.address + span.byteLength);
    const live = requested.get(span.address) ?? 0;
    sum.live += live;
    if (span.kind === "free") sum.runs += bytes;
    else if (span.kind === "large") sum.ends += bytes - live;
    else {
      const { blockSize: size } = span;
      const use = classes.get(size) ?? { size, pages: 0, live: 0, slots: 0, free: 0, idle: 0 };
      classes.set(size, use);
      const slots = Math.min(span.liveSlots * size, bytes) - live;
      const free = span.liveSlots === 0 ? 0 : bytes - live - slots;
      const idle = span.liveSlots === 0 ? bytes : 0;
      use.pages++;
      use.live += live;
      use.slots += slots;
      use.free += free;
      use.idle += idle;
      sum.slots += slots;
      sum.free += free;
      sum.idle += idle;
    }
  }
  for (const { address, byteLength } of layout.huge) {
    const live = requested.get(address) ?? 0;
    sum.live += live;
    sum.ends += pages.residentBytes(address, address + byteLength) - live;
  }
  const blocks = Object.values(sum).reduce((total, bytes) => total + bytes, 0);
  return {
    parts: { ...sum, tables: resident - blocks },
    classes: [...classes.values()].sort((a, b) => a.size - b.size),
  };
}

/** The bytes that were asked for, by the page or large block that they are in. */
function requestedByPage(heap: Heap, layout: HeapLayout): Map<number, number> {
  const spans = layout.regions.flatMap(({ spans }) => spans).sort((a, b) => a.address - b.address);
  const requested = new Map<number, number>();
  const blocks = [...heap.blocks()].sort((a, b) => a.address - b.address);
  let at = 0;
  for (const { address, requestedSize } of blocks) {
    while (at < spans.length && spans[at]!.address + spans[at]!.byteLength <= address) at++;
    const span = spans[at];
    const start = span !== undefined && span.address <= address ? span.address : address;
    requested.set(start, (requested.get(start) ?? 0) + requestedSize);
  }
  return requested;
}

const PARTS = ["live", "slots", "ends", "free", "idle", "runs", "tables"] as const;

function share(bytes: number, { peakLiveBytes }: Report): string {
  return (bytes / peakLiveBytes).toFixed(3);
}

/** The table of all traces. */
function formatReports(reports: readonly Report[]): string {
  const rows = reports.map((report) => [
    report.trace,
    `${(report.peakLiveBytes / 2 ** 20).toFixed(1)} MiB`,
    share(report.resident, report),
    ...PARTS.map((part) => share(report.parts[part], report)),
  ]);
  const counted = reports.filter(({ peakLiveBytes }) => peakLiveBytes > MEAN_LEAST_BYTES);
  if (counted.length > 1) {
    const mean = geometricMean(counted.map(({ resident, peakLiveBytes }) => resident / peakLiveBytes));
    const means = PARTS.map((part) =>
      (counted.reduce((sum, { parts, peakLiveBytes }) => sum + parts[part] / peakLiveBytes, 0) / counted.length)
        .toFixed(3)
    );
    rows.push(["mean (geometric; of parts arithmetic)", "", mean.toFixed(3), ...means]);
  }
  return formatTable(["trace", "peak live", "own pages", ...PARTS], rows);
}

/** What the pages of each class hold, for one trace. */
function formatClasses(report: Report): string {
  const rows = report.classes.map(({ size, pages, live, slots, free, idle }) => [
    `${size}`,
    `${pages}`,
    ...[live, slots, free, idle].map((bytes) => share(bytes, report)),
  ]);
  return formatTable(["class", "pages", "live", "slots", "free", "idle"], rows);
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      module: { type: "string" },
      step: { type: "string", default: "2048" },
      classes: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
    },
    allowPositionals: true,
  });
  if (positionals.length === 0) throw new Error("Name at least one trace");
  const reports: Report[] = [];
  for (const file of positionals) {
    for (const report of await measure(readTrace(file), values.module, Number(values.step))) {
      reports.push(report);
      if (values.json) console.log(JSON.stringify(report));
      else if (values.classes) console.log(`${report.trace}, most ${report.moment}:\n\n${formatClasses(report)}\n`);
    }
  }
  if (values.json) return;
  for (const moment of ["live", "resident"] as const) {
    console.log(`Most ${moment}:\n\n${formatReports(reports.filter((report) => report.moment === moment))}\n`);
  }
}

await main();
