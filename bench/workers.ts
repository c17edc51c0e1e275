/**
 * One measuring process: one load on one allocator in so many workers, one line of JSON. `bench/run.ts` starts it; by hand:
 *
 *     deno run -A bench/workers.ts --load larson --workers 2 [--subject shared-heap] [--rounds 5] [--round-ms 200]
 *     bun bench/workers.ts --load churn --subject heap --workers 1 --module file:///other/mod.ts
 *     bun bench/workers.ts --list
 *
 * The loads are in support/worker_loads.ts, and in native/workers.c for threads. All workers run all the time; after a
 * warm-up, a round is what the main thread sees them do between two readings of the clocks. No block's memory is touched:
 * what is measured is the allocators.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { elapsed, openClock } from "./support/clock.ts";
import { importModule } from "./support/own_subjects.ts";
import {
  ALLOCATING,
  FIGURE_STEP,
  FREEING,
  type Load,
  LOAD_NUMBERS,
  LOAD_SUBJECTS,
  type LoadData,
  LOADS,
  type LoadSubject,
  OPERATIONS,
  OWNER_STEP,
  OWNERS,
  PHASE,
  PHASES,
  PLACES,
} from "./support/worker_loads.ts";

/** One round. Times in nanoseconds. */
export interface WorkersRound {
  /** Allocations and frees of all workers. */
  readonly operations: number;
  /** CPU time of all threads. */
  readonly process: number;
  /** Elapsed time. */
  readonly wall: number;
  /** CPU time of the thread that allocated half of the operations: of `local` and `remote`, otherwise 0. */
  readonly allocating: number;
  /** The same of the one that freed as many. */
  readonly freeing: number;
}

/** The line of JSON that this program and the native one print. */
export interface WorkersReport {
  readonly rounds: readonly WorkersRound[];
}

/** How much is run. */
interface Length {
  readonly rounds: number;
  readonly roundMs: number;
}

/** The workers warm up for so many rounds, */
const WARM_UP_ROUNDS = 2;
/** and until they have done so much: on a busy machine their code would not be compiled yet, */
const WARM_UP_OPERATIONS = 8_000_000;
/** but no longer than this many rounds. */
const WARM_UP_MOST = 30;

/** Address space of the shared heap: granules from twice as far below fit 32 bits. */
const RESERVE = 2 ** 32;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      load: { type: "string" },
      subject: { type: "string", default: "shared-heap" },
      workers: { type: "string", default: "2" },
      rounds: { type: "string", default: "5" },
      "round-ms": { type: "string", default: "200" },
      module: { type: "string" },
      list: { type: "boolean", default: false },
    },
  });
  if (values.list || values.load === undefined) {
    console.log(`loads: ${LOADS.join(", ")}\nsubjects: ${LOAD_SUBJECTS.join(", ")}`);
    return;
  }
  const load = LOADS.find((known) => known === values.load);
  if (load === undefined) throw new Error(`Unknown load ${values.load}; known are ${LOADS.join(", ")}`);
  const subject = LOAD_SUBJECTS.find((known) => known === values.subject);
  if (subject === undefined) {
    throw new Error(`Unknown subject ${values.subject}; known are ${LOAD_SUBJECTS.join(", ")}`);
  }
  const workers = load === "remote" ? 2 : load === "local" ? 1 : Number(values.workers);
  if (subject === "heap" && workers > 1 && (LOAD_NUMBERS[load].chunks > 0 || load === "remote")) {
    throw new Error(`Cannot run ${load} on heap: a worker cannot free another heap's blocks`);
  }
  const length = { rounds: Number(values.rounds), roundMs: Number(values["round-ms"]) };
  console.log(JSON.stringify(await work(load, subject, workers, values.module, length)));
}

async function work(
  load: Load,
  subject: LoadSubject,
  workers: number,
  module: string | undefined,
  { rounds, roundMs }: Length,
): Promise<WorkersReport> {
  const heap = subject === "shared-heap" ? await createSharedHeap(module) : undefined;
  // Twice as many sections as workers: one that looks for a section finds a free one soon.
  const sections = 2 * workers;
  const { slots, chunks } = LOAD_NUMBERS[load];
  const control = new SharedArrayBuffer(4 * (OWNERS + sections * OWNER_STEP));
  const common = {
    load,
    subject,
    module,
    workers,
    handle: heap?.handle,
    base: heap?.base ?? RESERVE,
    control,
    figures: new SharedArrayBuffer(8 * FIGURE_STEP * workers),
    slots: new SharedArrayBuffer(8 * slots * (chunks > 0 ? sections : 1)),
    places: new SharedArrayBuffer(4 * PLACES),
  };
  const threads = Array.from(
    { length: workers },
    (_, worker) =>
      new Worker(new URL("./support/workers_thread.ts", import.meta.url), {
        workerData: { ...common, worker } satisfies LoadData,
      }),
  );
  await Promise.all(threads.map(nextMessage));
  const ends = threads.map(nextMessage);
  const phase = new Int32Array(control);
  Atomics.store(phase, PHASE, PHASES.run);
  Atomics.notify(phase, PHASE);
  const measured = await measureRounds(new Float64Array(common.figures), rounds, roundMs);
  Atomics.store(phase, PHASE, PHASES.stop);
  await Promise.all(ends);
  await Promise.all(threads.map((worker) => worker.terminate()));
  heap?.close();
  return { rounds: measured };
}

/** Reads clocks and figures so many times. */
async function measureRounds(figures: Float64Array, rounds: number, roundMs: number): Promise<WorkersRound[]> {
  const clock = await openClock();
  function read() {
    const sums = [0, 0, 0];
    for (let at = 0; at < figures.length; at += FIGURE_STEP) {
      for (const figure of [OPERATIONS, ALLOCATING, FREEING]) sums[figure] = sums[figure]! + figures[at + figure]!;
    }
    return { times: clock(), sums };
  }
  for (let round = 0; round < WARM_UP_ROUNDS || read().sums[OPERATIONS]! < WARM_UP_OPERATIONS; round++) {
    if (round === WARM_UP_MOST) break;
    await sleep(roundMs);
  }
  const measured: WorkersRound[] = [];
  for (let start = read(); measured.length < rounds;) {
    let end = start;
    // On a very busy machine nothing at all may have been done in a round: that one lasts longer.
    for (let waited = 0; end.sums[OPERATIONS] === start.sums[OPERATIONS] && waited < WARM_UP_MOST; waited++) {
      await sleep(roundMs);
      end = read();
    }
    const { process, wall } = elapsed(start.times, end.times);
    const [operations, allocating, freeing] = end.sums.map((sum, figure) => sum - start.sums[figure]!);
    measured.push({ operations: operations!, process, wall, allocating: allocating!, freeing: freeing! });
    start = end;
  }
  return measured;
}

/** A shared heap of the package or of another copy of it. */
async function createSharedHeap(module: string | undefined) {
  const { SharedHeap } = await importModule(module);
  if (SharedHeap === undefined) throw new Error("Cannot open SharedHeap: the module has no such export");
  const heap = (SharedHeap as {
    create(options: { reserve: number }): {
      readonly handle: unknown;
      allocate(size: number): number;
      [Symbol.dispose](): void;
    };
  }).create({ reserve: RESERVE });
  const base = Math.max(0, Math.floor(heap.allocate(16) / 16) * 16 - 2 * RESERVE);
  return { handle: heap.handle, base, close: () => heap[Symbol.dispose]() };
}

/** A worker's next message; rejects when the worker fails. */
function nextMessage(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) await main();
