/**
 * One worker of bench/shared.ts: allocates and frees until it is told to stop, and counts.
 *
 * - `independent`: the worker has slots of its own, and replaces the block of a random one again and again.
 * - `larson`: the slots of all workers lie in sections that any worker may take, after the benchmark of Larson and
 *   Krishnan (there a thread ends, and the next one frees what it left). A worker takes a free section, replaces 256
 *   random blocks in it, most of them another worker's, and lets it go.
 *
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import {
  openSharedAllocator,
  OWNER_STEP,
  OWNERS,
  PHASE,
  PHASES,
  SECTION_SLOTS,
  type SharedAllocator,
  type WorkerData,
} from "./shared_designs.ts";
import { Xorshift } from "./xorshift.ts";

const TABLE = 1 << 16;
const STEPS = 256;
const LEAST = 16;
const MOST = 512;

async function main(data: WorkerData): Promise<void> {
  const allocator = await openSharedAllocator(data.memory);
  const control = new Int32Array(data.control);
  const sizes = new Xorshift(data.worker).table(TABLE, LEAST, MOST);
  const victims = new Xorshift(data.worker + 100).table(TABLE, 0, SECTION_SLOTS - 1);
  const sections = (control.length - OWNERS) / OWNER_STEP;
  const slots = new Float64Array(data.slots);
  const own = new Float64Array(SECTION_SLOTS);

  parentPort!.postMessage("ready");
  while (Atomics.load(control, PHASE) === PHASES.wait) Atomics.wait(control, PHASE, PHASES.wait);
  let phase: number = PHASES.warm;
  let replaced = 0;
  let section = data.worker % sections;
  for (let cursor = 0;; cursor = (cursor + STEPS) & (TABLE - 1)) {
    const now = Atomics.load(control, PHASE);
    if (now === PHASES.stop) break;
    if (now !== phase) {
      phase = now;
      replaced = 0;
    }
    if (data.workload === "independent") {
      replace(allocator, own, victims, sizes, cursor);
    } else {
      section = takeSection(control, (section + sizes[cursor]!) % sections, sections, data.worker);
      replace(
        allocator,
        slots.subarray(section * SECTION_SLOTS, (section + 1) * SECTION_SLOTS),
        victims,
        sizes,
        cursor,
      );
      Atomics.store(control, OWNERS + section * OWNER_STEP, 0);
    }
    replaced += STEPS;
  }
  // A replacement is an allocation and a free.
  parentPort!.postMessage(2 * replaced);
}

function replace(
  allocator: SharedAllocator,
  slots: Float64Array,
  victims: Int32Array,
  sizes: Int32Array,
  from: number,
): void {
  for (let i = from; i < from + STEPS; i++) {
    const victim = victims[i]!;
    const old = slots[victim]!;
    if (old !== 0) allocator.free(old);
    slots[victim] = allocator.allocate(sizes[i]!);
  }
}

/** Takes the first section from `from` on that nobody has. There are more sections than workers. */
function takeSection(control: Int32Array, from: number, sections: number, worker: number): number {
  for (let section = from;; section = (section + 1) % sections) {
    if (Atomics.compareExchange(control, OWNERS + section * OWNER_STEP, 0, worker + 1) === 0) return section;
  }
}

await main(workerData as WorkerData);
