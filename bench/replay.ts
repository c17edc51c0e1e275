/**
 * One measuring process: replays one trace on one allocator and prints one line of JSON. `bench/run.ts` starts it; by
 * hand:
 *
 *     deno run -A bench/replay.ts --allocator heap --trace examples/traces/lua.trace.gz --replays 10
 *     bun bench/replay.ts --allocator null --trace examples/traces/lua.trace.gz
 *
 *     --allocator NAME    see support/subjects.ts
 *     --module FILE       the module that exports Heap, for comparing two versions
 *     --replays N         at least so many replays; the first is the cold one (1)
 *     --min-ms T          and at least so long (0)
 *     --limit-ms T        stop a replay after so long, and say how far it came; fail when memory is watched (no limit)
 *     --touch MODE        none, ends (first and last byte) or pages (every OS page) of each block (none)
 *     --rehearsals N      replays before the watched one (5)
 *     --sample RECORDS    watch the resident set: reads it every so many records, after a rehearsal on another instance
 *                         so that compiled code is not counted; disturbs the times. With BUN_JSC_useDFGJIT=0 in the
 *                         environment Bun does not compile meanwhile, which takes 0.3 to 1 MiB for a moment
 *
 * Blocks that the trace leaves live are freed between replays, outside the times, as the native replayer does.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { CHUNK } from "../examples/support/replay_loop.ts";
import { readTrace } from "../examples/support/trace.ts";
import { elapsed, openClock, type Times } from "./support/clock.ts";
import { type Driver, makeDriver, makeSlots, type Recording, type Slots, toRecording } from "./support/drivers.ts";
import { openLibc, type RawAddress } from "./support/libc.ts";
import { OwnPages } from "./support/own_pages.ts";
import { collectGarbage, openResidentProbe, type ResidentFigures, type ResidentProbe } from "./support/resident.ts";
import type { SubjectOptions } from "./support/subject.ts";
import { openSubject } from "./support/subjects.ts";

/** The line of JSON that this program and the native replayer print. */
export interface ReplayReport {
  /** Records replayed each time: fewer than the trace has when the limit stopped a replay. */
  readonly records: number;
  /** The times of each replay, the cold one first. */
  readonly replays: readonly Times[];
  /** With `--sample`: the resident set. */
  readonly rss?: ResidentFigures;
  /** With `--sample`: the allocator's own figures after the last record. */
  readonly stats?: object;
}

interface Options {
  readonly allocator: string;
  readonly replays: number;
  readonly minMs: number;
  readonly limitMs: number;
  readonly touch: "none" | "ends" | "pages";
  readonly sample: number;
  readonly rehearsals: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      allocator: { type: "string", default: "heap" },
      trace: { type: "string" },
      module: { type: "string" },
      replays: { type: "string", default: "1" },
      "min-ms": { type: "string", default: "0" },
      "limit-ms": { type: "string", default: "Infinity" },
      touch: { type: "string", default: "none" },
      sample: { type: "string", default: "0" },
      rehearsals: { type: "string", default: `${REHEARSALS}` },
    },
  });
  if (values.trace === undefined) throw new Error("--trace FILE is missing");
  const { touch } = values;
  if (touch !== "none" && touch !== "ends" && touch !== "pages") throw new Error(`Unknown --touch ${touch}`);
  const options: Options = {
    allocator: values.allocator,
    replays: Number(values.replays),
    minMs: Number(values["min-ms"]),
    limitMs: Number(values["limit-ms"]),
    touch,
    sample: Number(values.sample),
    rehearsals: Number(values.rehearsals),
  };
  const trace = readTrace(values.trace);
  const recording = toRecording(trace);
  const subjectOptions = { module: values.module, capacity: trace.peakLiveBytes };
  const report = options.sample > 0
    ? await watch(recording, options, subjectOptions)
    : await time(recording, options, subjectOptions);
  console.log(JSON.stringify(report));
}

/**
 * Replays with the clock on. A replay that takes longer than the limit is stopped, and is the only one that is reported:
 * a heap that has aged can be much slower than a new one.
 */
async function time(recording: Recording, options: Options, subjectOptions: SubjectOptions): Promise<ReplayReport> {
  const clock = await openClock();
  const subject = await openSubject(options.allocator, subjectOptions);
  const driver = makeDriver(subject, recording);
  const run = selectRun(driver, options);
  const replays: Times[] = [];
  let total = 0;
  while (replays.length < options.replays || total < options.minMs * 1e6) {
    const deadline = performance.now() + options.limitMs;
    const start = clock();
    let to = 0;
    while (to < recording.records) {
      const from = to;
      to = Math.min(from + CHUNK, recording.records);
      run(from, to);
      if (deadline !== Infinity && performance.now() > deadline) break;
    }
    const times = elapsed(start, clock());
    // Without the draining, which takes a slow peer longer still.
    if (to < recording.records) return { records: to, replays: [times] };
    replays.push(times);
    total += times.wall;
    if (total > options.limitMs * 1e6) break;
    driver.drain();
  }
  return { records: recording.records, replays };
}

/** Replays before the watched one, unless told otherwise: enough to compile everything, and to bring the collector to its steady state. */
const REHEARSALS = 5;
/**
 * The resident set counts as settled when it moved by less so often in turn, so many milliseconds apart; waited for at most
 * so often. What a runtime gives back of its own it does within a second, a piece at a time.
 */
const SETTLED = { bytes: 65_536, times: 4, ms: 250, attempts: 40 } as const;
/** The runtime counts as at rest when it used less CPU time than this in so many milliseconds; waited for at most so often. */
const REST = { cpuMs: 3, ms: 100, attempts: 30 } as const;

/**
 * Replays once, watching the resident set. The subject itself is opened under watch, so its tables count. Compiled code
 * and the runtime's own heap are not what is asked for, so the same is rehearsed on other instances first, the last time
 * with no collection after it, as that throws compiled code away. Its own OS pages are counted in the first of these, where
 * the garbage of counting does not show; they are the same each time.
 */
async function watch(recording: Recording, options: Options, subjectOptions: SubjectOptions): Promise<ReplayReport> {
  const probe = openResidentProbe();
  const clock = await openClock();
  const libc = await openLibc<RawAddress>();
  const step = Math.min(options.sample, CHUNK);
  const pages = new OwnPages(libc);
  let slots: Slots | undefined;
  for (let rehearsal = 1; rehearsal <= options.rehearsals; rehearsal++) {
    const counted = rehearsal === 1 ? pages : undefined;
    probe.start();
    const subject = await openSubject(options.allocator, { ...subjectOptions, ...(counted && { pages }) });
    slots ??= makeSlots(subject.kind, recording);
    const driver = makeDriver(subject, recording, slots);
    replaySampled(driver, options, recording, step, probe, counted);
    // What reading the high-water mark takes is rehearsed as well.
    probe.finish();
    driver.drain();
    subject.close();
    if (rehearsal < options.rehearsals) collectGarbage();
    await rest(clock);
  }

  await settle(probe);
  const counted = options.rehearsals === 0 ? pages : undefined;
  probe.start();
  const subject = await openSubject(options.allocator, { ...subjectOptions, ...(counted && { pages }) });
  const driver = makeDriver(subject, recording, slots ?? makeSlots(subject.kind, recording));
  const start = clock();
  replaySampled(driver, options, recording, step, probe, counted);
  const times = elapsed(start, clock());
  const rss = probe.finish();
  const stats = subject.stats?.();
  driver.drain();
  subject.close();
  return {
    records: recording.records,
    replays: [times],
    rss: { ...rss, ...(pages.peakBytes === 0 ? {} : { ownPages: pages.peakBytes }) },
    ...(stats === undefined ? {} : { stats }),
  };
}

/** Waits until the runtime's own threads, which compile and give memory back when they find the time, are done. */
async function rest(clock: () => Times): Promise<void> {
  for (let attempt = 0; attempt < REST.attempts; attempt++) {
    const before = clock();
    await new Promise((resolve) => setTimeout(resolve, REST.ms));
    if (elapsed(before, clock()).process < REST.cpuMs * 1e6) return;
  }
}

/** Waits until the resident set stays as it is. */
async function settle(probe: ResidentProbe): Promise<void> {
  let before = Infinity;
  for (let attempt = 0, still = 0; attempt < SETTLED.attempts && still < SETTLED.times; attempt++) {
    await new Promise((resolve) => setTimeout(resolve, SETTLED.ms));
    const now = probe.resident();
    still = Math.abs(now - before) < SETTLED.bytes ? still + 1 : 0;
    before = now;
  }
}

function replaySampled(
  driver: Driver,
  options: Options,
  recording: Recording,
  step: number,
  probe: ResidentProbe,
  pages: OwnPages | undefined,
): void {
  const run = selectRun(driver, options);
  const deadline = performance.now() + options.limitMs;
  for (let from = 0; from < recording.records; from += step) {
    if (performance.now() > deadline) {
      throw new Error(`Cannot watch memory: ${from} of ${recording.records} records took ${options.limitMs} ms`);
    }
    run(from, Math.min(from + step, recording.records));
    probe.sample();
    pages?.sample();
  }
}

function selectRun(driver: Driver, options: Options): (from: number, to: number) => void {
  switch (options.touch) {
    case "none":
      return driver.replay;
    case "ends":
      return (from, to) => driver.replayTouching(from, to, false);
    case "pages":
      return (from, to) => driver.replayTouching(from, to, true);
  }
}

await main();
