/**
 * The designs of a shared allocator that bench/shared.ts measures against each other, and what its threads share.
 *
 * ```text
 *   control   word  0           32        48        64
 *                   │ phase │ - │ owner 0 │ owner 1 │ owner 2 ...      one cache line each
 *   slots     Float64   section 0: 1000 addresses │ section 1 │ ...    larson only; an owner for each
 * ```
 *
 * @module
 */
import { LockedHeap, type Locking, makeLockedMemory } from "./locked_heap.ts";
import { importModule } from "./own_subjects.ts";

/** One design. */
export interface Design {
  readonly name: string;
  readonly what: string;
}

/** The designs, in the order of the table. */
export const DESIGNS: readonly Design[] = [
  { name: "one-lock", what: "one lock around everything" },
  { name: "class-locks", what: "one lock for each size class" },
  { name: "shared-heap", what: "`SharedHeap`: a worker owns the pages it takes" },
  { name: "own-heap", what: "a `Heap` in each worker; nothing is shared" },
];

/** What the workers do; see shared_worker.ts. */
export type Workload = "independent" | "larson";

/** Every workload. */
export const WORKLOADS: readonly Workload[] = ["independent", "larson"];

/** How a design's memory is handed to a worker. */
export type SharedMemory =
  | { readonly kind: "locked"; readonly locking: Locking; readonly memory: SharedArrayBuffer }
  | { readonly kind: "shared-heap"; readonly handle: unknown }
  | { readonly kind: "own-heap" };

/** The part of `SharedHeap` that is used here. */
interface SharedHeapClass {
  create(): { readonly handle: unknown; [Symbol.dispose](): void };
  attach(handle: unknown): SharedAllocator;
}

/** Pages of the locked designs: 128 MiB of blocks, of which the workloads use a part. */
const LOCKED_PAGES = 2048;

/** Makes the memory of a design, and says how it is given back. */
export async function makeSharedMemory(design: string): Promise<{ memory: SharedMemory; close(): void }> {
  switch (design) {
    case "one-lock":
    case "class-locks": {
      const locking = design === "one-lock" ? "one lock" : "class locks";
      return { memory: { kind: "locked", locking, memory: makeLockedMemory(LOCKED_PAGES) }, close() {} };
    }
    case "shared-heap": {
      const heap = (await sharedHeapClass()).create();
      return { memory: { kind: "shared-heap", handle: heap.handle }, close: () => heap[Symbol.dispose]() };
    }
    case "own-heap":
      return { memory: { kind: "own-heap" }, close() {} };
    default:
      throw new Error(`Unknown design ${design}; known are ${DESIGNS.map(({ name }) => name).join(", ")}`);
  }
}

/** Opens a worker's side of the memory. */
export async function openSharedAllocator(memory: SharedMemory): Promise<SharedAllocator> {
  switch (memory.kind) {
    case "locked":
      return new LockedHeap(memory.memory, memory.locking);
    case "shared-heap":
      return (await sharedHeapClass()).attach(memory.handle);
    case "own-heap": {
      const { Heap } = (await importModule()) as { readonly Heap: new () => SharedAllocator };
      return new Heap();
    }
  }
}

async function sharedHeapClass(): Promise<SharedHeapClass> {
  const { SharedHeap } = await importModule();
  if (SharedHeap === undefined) throw new Error("Cannot open SharedHeap: the module has no such export");
  return SharedHeap as SharedHeapClass;
}

/** What a worker is started with. */
export interface WorkerData {
  readonly memory: SharedMemory;
  readonly workload: Workload;
  readonly worker: number;
  /** One Int32 at {@link PHASE}, and the owner of each section from {@link OWNERS} on: 0 nobody, else a worker + 1. */
  readonly control: SharedArrayBuffer;
  /** The addresses of the larson slots, as Float64. */
  readonly slots: SharedArrayBuffer;
}

/** What the workers are to do, in the first word of `control`. */
export const PHASE = 0;
/** Not to begin yet; to run; to run and count; to stop. */
export const PHASES = { wait: 0, warm: 1, count: 2, stop: 3 } as const;
/** Where the owners begin, in words: away from the phase's cache line. */
export const OWNERS = 32;
/** Words from one owner to the next, so that each has a cache line of its own. */
export const OWNER_STEP = 16;
/** Slots of a section, and of a worker in `independent`. */
export const SECTION_SLOTS = 1000;

/** The part of an allocator that the workloads need. */
export interface SharedAllocator {
  allocate(size: number): number;
  free(address: number): void;
}
