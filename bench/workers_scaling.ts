/**
 * One measuring process: how much more two workers do than one on a shared heap, each by itself. `bench/run.ts` starts it; by
 * hand:
 *
 *     deno run -A bench/workers_scaling.ts [--subject heap] [--cycles 20] [--slice-ms 50] [--module FILE]
 *
 * Two workers replace random blocks of their own, or compute and touch no memory, by turns:
 *
 * ```text
 *   one cycle   │ one replaces │ both replace │ one computes │ both compute │      a slice each
 * ```
 *
 * Slices so close together have much the same share of a machine that others use too. What two workers that compute have over
 * one is what there was to be had: two free processors make it 2. What two have that replace blocks of a `Heap` each
 * (`--subject heap`) is what is left of that when caches, and with hyper-threads the processor itself, are shared: but no memory.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { importModule } from "./support/own_subjects.ts";
import { FIGURE_STEP, LOAD_NUMBERS, makePlan, PLAN, STEPS } from "./support/worker_loads.ts";
import { compute, type LoadAllocator, replace } from "./support/worker_loops.ts";

/** One cycle: operations in a millisecond of elapsed time, of all workers. */
export interface ScalingCycle {
  readonly replaceOne: number;
  readonly replaceTwo: number;
  readonly computeOne: number;
  readonly computeTwo: number;
}

/** The line of JSON that this program prints. */
export interface ScalingReport {
  readonly cycles: readonly ScalingCycle[];
}

interface ScalingData {
  /** Of the shared heap; undefined when each worker has a `Heap`. */
  readonly handle: unknown;
  readonly module: string | undefined;
  readonly worker: number;
  readonly mode: SharedArrayBuffer;
  readonly figures: SharedArrayBuffer;
}

/** What is used of the package. */
interface Package {
  readonly Heap: new () => LoadAllocator & Disposable;
  readonly SharedHeap: {
    create(): Disposable & { readonly handle: unknown };
    attach(handle: unknown): LoadAllocator & Disposable;
  };
}

/** In the mode: to stop; to compute instead of replacing; and from this bit on, how many workers are at work. */
const STOP = 1;
const COMPUTE = 2;
const ACTIVE_SHIFT = 2;
/** Operations of a worker before anything is measured. */
const WARM_UP_OPERATIONS = 4_000_000;
/** Milliseconds of a slice that are let go by. */
const SETTLE_MS = 2;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      subject: { type: "string", default: "shared-heap" },
      cycles: { type: "string", default: "20" },
      "slice-ms": { type: "string", default: "50" },
      module: { type: "string" },
    },
  });
  const { SharedHeap } = (await importModule(values.module)) as unknown as Package;
  const heap = values.subject === "heap" ? undefined : SharedHeap.create();
  const mode = new SharedArrayBuffer(4);
  const figures = new SharedArrayBuffer(8 * FIGURE_STEP * 2);
  const workers = [0, 1].map((worker) =>
    new Worker(new URL(import.meta.url), {
      workerData: { handle: heap?.handle, module: values.module, worker, mode, figures } satisfies ScalingData,
    })
  );
  const ends = workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve)));
  await Promise.all(
    workers.map((worker) => new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject))),
  );
  const done = new Float64Array(figures);
  const slice = (bits: number, ms: number) => runSlice(new Int32Array(mode), done, bits, ms);

  for (const bits of [0, COMPUTE]) {
    const before = done[0]!;
    while (done[0]! - before < WARM_UP_OPERATIONS) await slice(bits | 2 << ACTIVE_SHIFT, 20);
  }
  const cycles: ScalingCycle[] = [];
  const sliceMs = Number(values["slice-ms"]);
  while (cycles.length < Number(values.cycles)) {
    cycles.push({
      replaceOne: await slice(1 << ACTIVE_SHIFT, sliceMs),
      replaceTwo: await slice(2 << ACTIVE_SHIFT, sliceMs),
      computeOne: await slice(COMPUTE | 1 << ACTIVE_SHIFT, sliceMs),
      computeTwo: await slice(COMPUTE | 2 << ACTIVE_SHIFT, sliceMs),
    });
  }
  setMode(new Int32Array(mode), STOP);
  await Promise.all(ends);
  heap?.[Symbol.dispose]();
  console.log(JSON.stringify({ cycles } satisfies ScalingReport));
}

function setMode(mode: Int32Array, bits: number): void {
  Atomics.store(mode, 0, bits);
  Atomics.notify(mode, 0);
}

/** Operations per millisecond. */
async function runSlice(mode: Int32Array, done: Float64Array, bits: number, ms: number): Promise<number> {
  setMode(mode, bits);
  await sleep(SETTLE_MS);
  const before = done[0]! + done[FIGURE_STEP]!;
  const start = performance.now();
  await sleep(ms);
  return (done[0]! + done[FIGURE_STEP]! - before) / (performance.now() - start);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function work({ handle, module, worker, mode: shared, figures }: ScalingData): Promise<void> {
  const { Heap, SharedHeap } = (await importModule(module)) as unknown as Package;
  const heap = handle === undefined ? new Heap() : SharedHeap.attach(handle);
  const mode = new Int32Array(shared);
  const done = new Float64Array(figures, worker * FIGURE_STEP * 8, 1);
  const plan = makePlan("churn", worker);
  const slots = new Float64Array(LOAD_NUMBERS.churn.slots);
  let computed = worker + 1;
  parentPort!.postMessage("ready");
  for (let cursor = 0;;) {
    const bits = Atomics.load(mode, 0);
    if ((bits & STOP) !== 0) break;
    if (worker >= bits >> ACTIVE_SHIFT) {
      Atomics.wait(mode, 0, bits);
      continue;
    }
    if ((bits & COMPUTE) !== 0) computed = compute(computed);
    else {
      replace(heap, slots, plan, cursor);
      cursor = (cursor + STEPS) & (PLAN - 1);
    }
    done[0] = done[0]! + 2 * STEPS;
  }
  heap[Symbol.dispose]();
  // Used, so that no compiler leaves it out.
  if (computed === 0) process.exitCode = 1;
}

if (isMainThread) await main();
else await work(workerData as ScalingData);
