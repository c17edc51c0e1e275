/**
 * One worker of bench/workers.ts: runs its load until it is told to stop, and keeps its figures where the main thread reads
 * them. The loads are described in worker_loads.ts.
 *
 * @module
 */
import { parentPort, workerData } from "node:worker_threads";
import { type Clock, openClock } from "./clock.ts";
import { importModule } from "./own_subjects.ts";
import {
  ALLOCATING,
  FIGURE_STEP,
  FREEING,
  LOAD_NUMBERS,
  type LoadData,
  makePlan,
  OPERATIONS,
  OWNER_STEP,
  OWNERS,
  PHASE,
  PHASES,
  PLAN,
  type Plan,
  STEPS,
  TURN,
} from "./worker_loads.ts";
import { compute, empty, fill, type LoadAllocator, NullAllocator, pair, replace, stress } from "./worker_loops.ts";

/** An allocator, and how it is left for good or only to come back. */
interface Opened {
  readonly allocator: LoadAllocator;
  again(): LoadAllocator;
}

async function open({ subject, module, handle, base }: LoadData): Promise<Opened> {
  if (subject === "null") {
    const allocator = new NullAllocator(base);
    return { allocator, again: () => allocator };
  }
  const exports = await importModule(module);
  if (subject === "heap") {
    const allocator = new (exports["Heap"] as new () => LoadAllocator)();
    return { allocator, again: () => allocator };
  }
  const { attach } = exports["SharedHeap"] as { attach(handle: unknown): LoadAllocator & { detach(): void } };
  let attached = attach(handle);
  return {
    allocator: attached,
    again() {
      attached.detach();
      return attached = attach(handle);
    },
  };
}

/** The worker. */
class Runner {
  readonly #data: LoadData;
  readonly #control: Int32Array;
  readonly #figures: Float64Array;
  readonly #slots: Float64Array;
  readonly #places: Int32Array;
  readonly #plan: Plan;
  readonly #opened: Opened;
  readonly #clock: Clock;

  constructor(data: LoadData, opened: Opened, clock: Clock) {
    this.#data = data;
    this.#control = new Int32Array(data.control);
    this.#figures = new Float64Array(data.figures, data.worker * FIGURE_STEP * 8, FIGURE_STEP);
    this.#slots = new Float64Array(data.slots);
    this.#places = new Int32Array(data.places);
    this.#plan = makePlan(data.load, data.worker);
    this.#opened = opened;
    this.#clock = clock;
  }

  run(): void {
    const control = this.#control;
    while (Atomics.load(control, PHASE) === PHASES.wait) Atomics.wait(control, PHASE, PHASES.wait);
    if (this.#data.load === "local" || this.#data.load === "remote") this.#takeTurns();
    else this.#loop();
  }

  #loop(): void {
    const { load, worker, base } = this.#data;
    const { slots: count, chunks, ends } = LOAD_NUMBERS[load];
    const control = this.#control;
    const figures = this.#figures;
    const sections = (control.length - OWNERS) / OWNER_STEP;
    let { allocator } = this.#opened;
    // What is nobody else's is not in shared memory, which costs some engines more.
    let slots = chunks === 0 ? new Float64Array(count) : this.#slots;
    let section = -1;
    let left = 0;
    let computed = worker + 1;
    for (let cursor = 0; Atomics.load(control, PHASE) !== PHASES.stop; cursor = (cursor + STEPS) & (PLAN - 1)) {
      if (chunks > 0 && left === 0) {
        if (section >= 0) {
          Atomics.store(control, OWNERS + section * OWNER_STEP, 0);
          if (ends) allocator = this.#opened.again();
        }
        section = takeSection(control, section < 0 ? worker % sections : (section + 1) % sections, sections, worker);
        slots = this.#slots.subarray(section * count, (section + 1) * count);
        left = chunks;
      }
      left--;
      let operations = 2 * STEPS;
      if (load === "compute") computed = compute(computed);
      else if (load === "pair") pair(allocator);
      else if (load === "mstress") operations = stress(allocator, slots, this.#places, base, this.#plan, cursor);
      else replace(allocator, slots, this.#plan, cursor);
      figures[OPERATIONS] = figures[OPERATIONS]! + operations;
    }
    // Used, so that no compiler leaves it out.
    if (computed === 0) throw new Error("the random numbers have ended");
  }

  #takeTurns(): void {
    const { load, worker, workers } = this.#data;
    const control = this.#control;
    const figures = this.#figures;
    const { allocator } = this.#opened;
    const slots = this.#slots;
    for (let cursor = 0;; cursor = (cursor + LOAD_NUMBERS[load].slots) & (PLAN - 1)) {
      for (;;) {
        if (Atomics.load(control, PHASE) === PHASES.stop) return;
        const turn = Atomics.load(control, TURN);
        if (turn === worker) break;
        Atomics.wait(control, TURN, turn, 10);
      }
      if (worker === 0) {
        const start = this.#clock().thread;
        for (let from = 0; from < slots.length; from += STEPS) fill(allocator, slots, this.#plan, cursor, from);
        figures[ALLOCATING] = figures[ALLOCATING]! + this.#clock().thread - start;
      }
      if (worker === workers - 1) {
        const start = this.#clock().thread;
        for (let from = 0; from < slots.length; from += STEPS) empty(allocator, slots, from);
        figures[FREEING] = figures[FREEING]! + this.#clock().thread - start;
      }
      figures[OPERATIONS] = figures[OPERATIONS]! + slots.length * (workers === 1 ? 2 : 1);
      if (workers === 1) continue;
      Atomics.store(control, TURN, 1 - worker);
      Atomics.notify(control, TURN);
    }
  }
}

/** Takes the first section from `from` on that nobody has. There are more sections than workers. */
function takeSection(control: Int32Array, from: number, sections: number, worker: number): number {
  for (let section = from;; section = (section + 1) % sections) {
    if (Atomics.compareExchange(control, OWNERS + section * OWNER_STEP, 0, worker + 1) === 0) return section;
  }
}

const data = workerData as LoadData;
const runner = new Runner(data, await open(data), await openClock());
parentPort!.postMessage("ready");
runner.run();
parentPort!.postMessage("done");
