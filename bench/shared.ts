/**
 * One measuring process: several workers on one shared allocator for a while, one line of JSON. `bench/run.ts` starts it;
 * by hand:
 *
 *     deno run -A bench/shared.ts --design class-locks --workload larson --workers 4 [--ms 1000]
 *     bun bench/shared.ts --list
 *
 * Designs are in support/shared_designs.ts, workloads in support/shared_worker.ts. All workers warm up together for a third
 * of the time, then count for `--ms`. No block's memory is touched: what is measured is the allocators.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { elapsed, openClock, type Times } from "./support/clock.ts";
import {
  DESIGNS,
  makeSharedMemory,
  OWNER_STEP,
  OWNERS,
  PHASE,
  PHASES,
  SECTION_SLOTS,
  type WorkerData,
  type Workload,
  WORKLOADS,
} from "./support/shared_designs.ts";

/** The line of JSON that this program prints. */
export interface SharedReport {
  /** Allocations and frees of all workers in the time. */
  readonly operations: number;
  readonly times: Times;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      design: { type: "string" },
      workload: { type: "string", default: "independent" },
      workers: { type: "string", default: "2" },
      ms: { type: "string", default: "1000" },
      list: { type: "boolean", default: false },
    },
  });
  if (values.list || values.design === undefined) {
    for (const { name, what } of DESIGNS) console.log(`${name}: ${what}`);
    return;
  }
  const workload = WORKLOADS.find((known) => known === values.workload);
  if (workload === undefined) throw new Error(`Unknown workload ${values.workload}; known are ${WORKLOADS.join(", ")}`);
  if (values.design === "own-heap" && workload === "larson") {
    throw new Error("Cannot run larson on own-heap: a worker cannot free another heap's blocks");
  }
  console.log(JSON.stringify(await share(values.design, workload, Number(values.workers), Number(values.ms))));
}

async function share(design: string, workload: Workload, count: number, ms: number): Promise<SharedReport> {
  const { memory, close } = await makeSharedMemory(design);
  const clock = await openClock();
  // Twice as many sections as workers: one that looks for a section finds a free one soon.
  const sections = 2 * count;
  const control = new SharedArrayBuffer(4 * (OWNERS + sections * OWNER_STEP));
  const slots = new SharedArrayBuffer(8 * sections * SECTION_SLOTS);
  const phase = new Int32Array(control);
  const workers = Array.from(
    { length: count },
    (_, worker) =>
      new Worker(new URL("./support/shared_worker.ts", import.meta.url), {
        workerData: { memory, workload, worker, control, slots } satisfies WorkerData,
      }),
  );
  await Promise.all(workers.map(nextMessage));
  const counts = workers.map(nextMessage);

  Atomics.store(phase, PHASE, PHASES.warm);
  Atomics.notify(phase, PHASE);
  await sleep(ms / 3);
  const start = clock();
  Atomics.store(phase, PHASE, PHASES.count);
  await sleep(ms);
  const times = elapsed(start, clock());
  Atomics.store(phase, PHASE, PHASES.stop);

  const operations = (await Promise.all(counts)).reduce((sum, operations) => sum + operations, 0);
  await Promise.all(workers.map((worker) => worker.terminate()));
  close();
  return { operations, times };
}

/** A worker's next message, which is a count or `"ready"`; rejects when the worker fails. */
function nextMessage(worker: Worker): Promise<number> {
  return new Promise((resolve, reject) => {
    worker.once("message", (message: number) => resolve(message));
    worker.once("error", reject);
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) await main();
