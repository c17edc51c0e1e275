/**
 * An explorer of interleavings: runs small programs over a small memory in every order that their steps can come in.
 *
 * A program is a generator that says what it is about to do to which cell by `yield*`; between two of these it may do to its own
 * variables what it likes. A step is one access, and the memory is sequentially consistent, as `Atomics` and the accesses of
 * an owner to what is its own are. What a program does next depends on nothing but what it has read so far: so two orders that lead to
 * the same memory and the same values read are one state, and are gone on from once.
 *
 * @module
 */

/** Cells by name. */
export type Cells = Record<string, number>;

/** One thread of a model. Its result goes to the check at the end. */
export type Program = (memory: Memory) => Generator<Step, unknown>;

/** What a program asks for: to go on, now or once a condition holds. */
export interface Step {
  /** Whether it can go on. */
  readonly ready?: (cells: Cells) => boolean;
}

const NOW: Step = {};

/** The memory of a model; each access is a step. */
export class Memory {
  /** The cells. */
  readonly cells: Cells;
  /** What this thread has read. */
  readonly read: number[] = [];

  /** Over cells that all threads share. */
  constructor(cells: Cells) {
    this.cells = cells;
  }

  /** Reads a cell. */
  *load(name: string): Generator<Step, number> {
    yield NOW;
    return this.#note(this.cells[name]!);
  }

  /** Writes a cell. */
  *store(name: string, value: number): Generator<Step, void> {
    yield NOW;
    this.cells[name] = value;
  }

  /** Sets bits, and returns what was there. */
  *or(name: string, bits: number): Generator<Step, number> {
    yield NOW;
    const old = this.cells[name]!;
    this.cells[name] = old | bits;
    return this.#note(old);
  }

  /** Clears all other bits, and returns what was there. */
  *and(name: string, bits: number): Generator<Step, number> {
    yield NOW;
    const old = this.cells[name]!;
    this.cells[name] = old & bits;
    return this.#note(old);
  }

  /** Writes a cell if it has the value that is expected. */
  *compareExchange(name: string, expected: number, value: number): Generator<Step, void> {
    yield NOW;
    if (this.#note(this.cells[name]!) === expected) this.cells[name] = value;
  }

  /** Waits until a cell is 0 and takes it. */
  *acquire(name: string): Generator<Step, void> {
    yield { ready: (cells) => cells[name] === 0 };
    this.cells[name] = 1;
  }

  /** Waits until a cell has a value. */
  *until(name: string, value: number): Generator<Step, void> {
    yield { ready: (cells) => cells[name] === value };
  }

  #note(value: number): number {
    this.read.push(value);
    return value;
  }
}

/** A model: threads over cells, and what must be true whenever none of them can go on. */
export interface Model {
  /** The cells at the start. */
  readonly cells: Cells;
  /** The threads. */
  readonly threads: readonly Program[];
  /** Threads that may be terminated before any of their steps. @defaultValue none */
  readonly mortal?: readonly number[];
  /** Threads that may wait for ever, for something that need not happen. @defaultValue none */
  readonly waiting?: readonly number[];
  /**
   * Throws when the end is not as it must be. Threads that were terminated or wait have no result. A dead thread's number plus one is in
   * the cell `dead`.
   */
  check(cells: Cells, results: readonly unknown[]): void;
}

interface Thread {
  readonly memory: Memory;
  readonly steps: Generator<Step, unknown>;
  next: IteratorResult<Step, unknown>;
  count: number;
  dead: boolean;
}

/** Runs a model through every order. Returns how many states there were, and how many ends. */
export function explore(model: Model): { states: number; ends: number } {
  const seen = new Set<string>();
  const open: number[][] = [[]];
  let ends = 0;
  for (let schedule = open.pop(); schedule !== undefined; schedule = open.pop()) {
    const { cells, threads } = replay(model, schedule);
    const key = stateOf(cells, threads);
    if (seen.has(key)) continue;
    seen.add(key);
    let going = false;
    threads.forEach((thread, at) => {
      if (thread.next.done || thread.dead) return;
      if (thread.next.value.ready?.(cells) ?? true) {
        going = true;
        open.push([...schedule, at]);
      }
      if ((model.mortal ?? []).includes(at) && cells["dead"] === 0) open.push([...schedule, -1 - at]);
    });
    if (going) continue;
    ends++;
    try {
      for (const [at, { next, dead }] of threads.entries()) {
        if (!next.done && !dead && !(model.waiting ?? []).includes(at)) throw new Error(`thread ${at} waits for ever`);
      }
      model.check(cells, threads.map(({ next, dead }) => dead || !next.done ? undefined : next.value));
    } catch (error) {
      throw new Error(
        `${error instanceof Error ? error.message : error}; after the order ${schedule.join(" ")}: ${key}`,
      );
    }
  }
  return { states: seen.size, ends };
}

/** Runs the threads in the order of a schedule; a negative number terminates one. */
function replay(model: Model, schedule: readonly number[]): { cells: Cells; threads: Thread[] } {
  const cells = { dead: 0, ...model.cells };
  const threads = model.threads.map((program): Thread => {
    const memory = new Memory(cells);
    const steps = program(memory);
    return { memory, steps, next: steps.next(), count: 0, dead: false };
  });
  for (const at of schedule) {
    const thread = threads[at < 0 ? -1 - at : at]!;
    if (at < 0) {
      thread.dead = true;
      cells["dead"] = -at;
    } else {
      thread.next = thread.steps.next();
      thread.count++;
    }
  }
  return { cells, threads };
}

function stateOf(cells: Cells, threads: readonly Thread[]): string {
  const read = threads.map(({ memory, count, dead }) => `${dead ? "x" : ""}${count}: ${memory.read}`);
  return `${JSON.stringify(cells)} ${read.join(" | ")}`;
}
