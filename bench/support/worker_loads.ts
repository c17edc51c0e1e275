/**
 * What the workers of bench/workers.ts do, and what they share. native/workers.c does the same in threads, step by step.
 *
 * | load      | a worker                                                                                                  |
 * | --------- | --------------------------------------------------------------------------------------------------------- |
 * | `pair`    | frees what it has just allocated, 64 bytes                                                                |
 * | `churn`   | replaces random blocks of 10,000 of its own, 16 to 512 bytes                                              |
 * | `compute` | computes, and touches no memory: what two workers can do at best on this machine just now                 |
 * | `larson`  | replaces random blocks of a section of 5,000, 8 to 1,000 bytes; after 500,000 it ends, and leaves the section |
 * |           | to the next: the numbers of Larson's and Krishnan's benchmark                                             |
 * | `handoff` | takes a section of 1,000, replaces 256 random blocks and lets it go: most were another worker's           |
 * | `mstress` | fills and empties 1,024 places in random order, exchanges blocks with all others by way of 1,024 common     |
 * |           | places, and ends after 32,768 steps with what it has: after the stress test of mimalloc                   |
 * | `local`   | allocates 8,192 blocks of 16 to 512 bytes, frees them all                                                 |
 * | `remote`  | the same, but another worker frees them; the two take turns                                               |
 *
 * In C a thread that ends starts the next one. Here a worker that ends detaches from the heap and attaches to it anew, as no
 * runtime starts a worker in less than a millisecond.
 *
 * ```text
 *   control   word  0           16         32        48        64
 *                   │ phase │ - │ turn │ - │ owner 0 │ owner 1 │ ...         one cache line each
 *   figures   Float64, 16 each   worker 0: operations, allocating, freeing │ worker 1 ...
 *   slots     Float64            section 0 │ section 1 │ ...                 addresses
 *   places    Int32              mstress: granules from `base`
 * ```
 *
 * @module
 */
import { Xorshift } from "./xorshift.ts";

/** Every load, in the order of the table. */
export const LOADS = ["pair", "churn", "compute", "larson", "handoff", "mstress", "local", "remote"] as const;

/** One load. */
export type Load = (typeof LOADS)[number];

/** What it is done with. */
export const LOAD_SUBJECTS = ["null", "heap", "shared-heap"] as const;

/** An allocator of {@link LOAD_SUBJECTS}; `heap` is a `Heap` of each worker's own, whose blocks no other can free. */
export type LoadSubject = (typeof LOAD_SUBJECTS)[number];

/** The numbers of a load. Places are powers of two where steps are drawn by masking. */
export interface LoadNumbers {
  /** Addresses that a worker has at a time. */
  readonly slots: number;
  /** Bytes of a block. */
  readonly least: number;
  readonly most: number;
  /** Chunks of {@link STEPS} after which a worker lets its section go; 0: never. */
  readonly chunks: number;
  /** Whether it ends then. */
  readonly ends: boolean;
}

/** The same as in native/workers.c. */
export const LOAD_NUMBERS: { readonly [load in Load]: LoadNumbers } = {
  pair: { slots: 1, least: 64, most: 64, chunks: 0, ends: false },
  churn: { slots: 10_000, least: 16, most: 512, chunks: 0, ends: false },
  compute: { slots: 1, least: 16, most: 16, chunks: 0, ends: false },
  larson: { slots: 5000, least: 8, most: 1000, chunks: 1954, ends: true },
  handoff: { slots: 1000, least: 16, most: 512, chunks: 1, ends: false },
  mstress: { slots: 1024, least: 16, most: 512, chunks: 128, ends: true },
  local: { slots: 8192, least: 16, most: 512, chunks: 0, ends: false },
  remote: { slots: 8192, least: 16, most: 512, chunks: 0, ends: false },
};

/** Steps between two looks at the phase. A call of the loops never takes more, see bench/README.md on chunks. */
export const STEPS = 256;
/** Steps after which a worker's plan begins again. */
export const PLAN = 1 << 16;
/** Common places of `mstress`. */
export const PLACES = 1024;
/** One block in so many of `mstress` is up to 16 times as large, and one in so many of those up to 64 KiB. */
const LARGER = 64;
const LARGEST_BYTES = 65_536;

/** What the workers are to do, in the first word of `control`. */
export const PHASE = 0;
/** Not to begin yet; to run; to stop. */
export const PHASES = { wait: 0, run: 1, stop: 2 } as const;
/** Whose turn it is in `remote`. */
export const TURN = 16;
/** Where the owners of sections begin. */
export const OWNERS = 32;
/** Words from one owner to the next, so that each has a cache line of its own. */
export const OWNER_STEP = 16;
/** Figures of a worker: a cache line, and one that nobody uses. */
export const FIGURE_STEP = 16;
/** Blocks allocated and freed by the worker, each counted as one operation. */
export const OPERATIONS = 0;
/** Nanoseconds of CPU time of the thread while it allocated: `local`, `remote`. */
export const ALLOCATING = 1;
/** The same while it freed. */
export const FREEING = 2;

/** What a worker is started with. */
export interface LoadData {
  readonly load: Load;
  readonly subject: LoadSubject;
  readonly module: string | undefined;
  readonly worker: number;
  readonly workers: number;
  /** Of the shared heap, when that is the subject. */
  readonly handle: unknown;
  /** What `places` count from: below all blocks. */
  readonly base: number;
  readonly control: SharedArrayBuffer;
  readonly figures: SharedArrayBuffer;
  readonly slots: SharedArrayBuffer;
  readonly places: SharedArrayBuffer;
}

/** The steps of a worker: which slot, and how many bytes. */
export interface Plan {
  readonly slots: Int32Array;
  readonly sizes: Int32Array;
}

/** Draws the steps of a worker: the same on every run and in native/workers.c. */
export function makePlan(load: Load, worker: number): Plan {
  const { slots: count, least, most } = LOAD_NUMBERS[load];
  const slots = new Int32Array(PLAN);
  const sizes = new Int32Array(PLAN);
  const numbers = new Xorshift(worker + 1);
  for (let i = 0; i < PLAN; i++) {
    // Places of mstress, and what to do with them, are further bits.
    slots[i] = load === "mstress" ? numbers.next() & 0xffffff : numbers.next() % count;
    let size = least + numbers.next() % (most - least + 1);
    if (load === "mstress" && numbers.next() % LARGER === 0) {
      size = numbers.next() % LARGER === 0 ? numbers.next() % LARGEST_BYTES : size * 16;
    }
    sizes[i] = size;
  }
  return { slots, sizes };
}
