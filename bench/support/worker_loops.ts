/**
 * The inner loops of the loads of bench/workers.ts: 256 steps each, see worker_loads.ts.
 *
 * @module
 */
import { PLACES, type Plan, STEPS } from "./worker_loads.ts";

// In a loop that contains calls V8 reads an imported constant anew for every turn, and one of this file not at all.
const COUNT = STEPS;
const PLACE_BITS = PLACES - 1;

/** The part of an allocator that the loads need. */
export interface LoadAllocator {
  allocate(size: number): number;
  free(address: number): void;
}

/** What is taken off: computes a number as cheaply as can be, which the loops store as they store an address. */
export class NullAllocator implements LoadAllocator {
  readonly #base: number;

  constructor(base: number) {
    this.#base = base;
  }

  allocate(size: number): number {
    return this.#base + size * 16;
  }

  free(_address: number): void {}
}

/** Frees what it has just allocated. */
export function pair(allocator: LoadAllocator): void {
  for (let i = 0; i < COUNT; i++) allocator.free(allocator.allocate(64));
}

/** Sixteen steps of a generator of random numbers in place of each operation. */
export function compute(state: number): number {
  for (let i = 0; i < 32 * COUNT; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
  }
  return state;
}

/** Replaces the blocks of the next slots of the plan. */
export function replace(allocator: LoadAllocator, slots: Float64Array, plan: Plan, from: number): void {
  const { slots: victims, sizes } = plan;
  for (let i = from; i < from + COUNT; i++) {
    const victim = victims[i]!;
    const old = slots[victim]!;
    if (old !== 0) allocator.free(old);
    slots[victim] = allocator.allocate(sizes[i]!);
  }
}

/** Fills what is empty; of what is full, exchanges a quarter and empties the rest. Returns allocations and frees. */
export function stress(
  allocator: LoadAllocator,
  slots: Float64Array,
  places: Int32Array,
  base: number,
  plan: Plan,
  from: number,
): number {
  const { slots: steps, sizes } = plan;
  let operations = 0;
  for (let i = from; i < from + COUNT; i++) {
    const step = steps[i]!;
    const slot = step & 1023;
    const old = slots[slot]!;
    if (old === 0) {
      slots[slot] = allocator.allocate(sizes[i]!);
      operations++;
    } else if (((step >>> 10) & 3) === 0) {
      const got = Atomics.exchange(places, (step >>> 12) & PLACE_BITS, (old - base) / 16);
      slots[slot] = got === 0 ? 0 : base + got * 16;
    } else {
      allocator.free(old);
      slots[slot] = 0;
      operations++;
    }
  }
  return operations;
}

/** Allocates into slots from `from` on, sizes from `cursor` on. */
export function fill(allocator: LoadAllocator, slots: Float64Array, plan: Plan, cursor: number, from: number): void {
  const { sizes } = plan;
  for (let i = from; i < from + COUNT; i++) slots[i] = allocator.allocate(sizes[cursor + i]!);
}

/** Frees slots from `from` on. */
export function empty(allocator: LoadAllocator, slots: Float64Array, from: number): void {
  for (let i = from; i < from + COUNT; i++) allocator.free(slots[i]!);
}
