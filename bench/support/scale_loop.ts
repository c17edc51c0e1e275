/**
 * One measuring process: with very many blocks live all the time, replaces a random one by one of a random size, and prints
 * one line of JSON. `bench/scale.ts` starts it; by hand:
 *
 *     deno run -A bench/support/scale_loop.ts --allocator heap --live 10000000 --sizes small [--age 1]
 *     bun bench/support/scale_loop.ts --allocator null --live 1000 --sizes mixed [--rounds 10] [--round-ms 50]
 *
 * Slots and sizes come from a generator in the loop, not from a table: one that names each of ten million slots in random
 * order would be as large as the blocks. `--age` is how often each slot is replaced before the first round, on average. No
 * block is written to. native/scale.c replaces the same blocks in the same order.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { openClock } from "./clock.ts";
import { LARGEST_BATCH, type LoopReport, measure } from "./measure.ts";
import { SIZE_SETS, type SizeSet } from "./scale_sizes.ts";
import type { AddressAllocator } from "./subject.ts";
import { openSubject } from "./subjects.ts";

/** The line of JSON that this program and the native one print. */
export interface ScaleReport extends LoopReport {
  /** How often each slot was replaced before the first round, on average. */
  readonly aged: number;
}

const LEAST = 16;
const SMALL_SPAN = 113;
const MIXED_DOUBLINGS = 6;
/** Of the large sizes the first is so many doublings above those of the mixed ones. */
const LARGE_FROM = 6;
const LARGE_DOUBLINGS = 4;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      allocator: { type: "string", default: "heap" },
      live: { type: "string", default: "1000" },
      sizes: { type: "string", default: "small" },
      age: { type: "string", default: "2" },
      rounds: { type: "string", default: "10" },
      "round-ms": { type: "string", default: "50" },
      module: { type: "string" },
    },
  });
  const sizes = SIZE_SETS.find((known) => known === values.sizes);
  if (sizes === undefined) throw new Error(`Unknown sizes ${values.sizes}; known are ${SIZE_SETS.join(", ")}`);
  const live = Number(values.live);
  if (!(live >= 1 && live <= 1e8)) throw new Error("--live must be from 1 to 100000000");
  const aged = Number(values.age);
  const allocator = await openAllocator(values.allocator, values.module);
  const batch = makeLoop(allocator, live, sizes);
  for (let left = 2 * aged * live; left > 0; left -= LARGEST_BATCH) batch(Math.min(LARGEST_BATCH, left));
  const report = measure(batch, await openClock(), Number(values.rounds), Number(values["round-ms"]));
  console.log(JSON.stringify({ ...report, aged } satisfies ScaleReport));
}

async function openAllocator(name: string, module: string | undefined): Promise<AddressAllocator> {
  if (name === "null") return new LookingNullAllocator();
  const subject = await openSubject(name, { module });
  if (subject.kind !== "address") throw new Error(`${name} gives no addresses`);
  return subject.allocator;
}

/**
 * Looks at what it is to free, as any allocator does: an empty `free` has V8 leave out the reading of the slot, which at
 * ten million is a cache miss and so most of what the loop costs.
 */
class LookingNullAllocator implements AddressAllocator {
  readonly #looked = new Float64Array(1);

  allocate(size: number, _alignment?: number): number {
    return NULL_BASE + size;
  }

  allocateZeroed(size: number): number {
    return NULL_BASE + size;
  }

  reallocate(_address: number, size: number): number {
    return NULL_BASE + size;
  }

  free(address: number): void {
    this.#looked[0] = address;
  }
}

/** Where no address of anybody is. */
const NULL_BASE = 0x7f00_0000_0000;

/** Fills all slots, and returns what does so many operations. */
function makeLoop(allocator: AddressAllocator, live: number, sizes: SizeSet): (operations: number) => void {
  const kept = new Float64Array(live);
  const perNumber = live / 2 ** 32;
  const isSmall = sizes === "small";
  const from = sizes === "large" ? LARGE_FROM : 0;
  const doublingsPerNumber = (sizes === "large" ? LARGE_DOUBLINGS : MIXED_DOUBLINGS) / 2 ** 16;
  let state = 0x9e3779b9 | 0;

  function sizeOf(number: number): number {
    if (isSmall) return LEAST + (((number >>> 8) * (SMALL_SPAN / 2 ** 24)) | 0);
    return (LEAST + (number >>> 28)) << (from + ((((number >>> 8) & 0xffff) * doublingsPerNumber) | 0));
  }

  // Small pieces, for the reason that LARGEST_BATCH has.
  function fill(from: number, to: number): void {
    let number = state;
    for (let i = from; i < to; i++) {
      number ^= number << 13;
      number ^= number >>> 17;
      number ^= number << 5;
      kept[i] = allocator.allocate(sizeOf(number));
    }
    state = number;
  }
  for (let from = 0; from < live; from += LARGEST_BATCH) fill(from, Math.min(from + LARGEST_BATCH, live));

  return function replace(operations) {
    let number = state;
    for (let left = operations >>> 1; left > 0; left--) {
      number ^= number << 13;
      number ^= number >>> 17;
      number ^= number << 5;
      const slot = ((number >>> 0) * perNumber) | 0;
      number ^= number << 13;
      number ^= number >>> 17;
      number ^= number << 5;
      const size = sizeOf(number);
      allocator.free(kept[slot]!);
      kept[slot] = allocator.allocate(size);
    }
    state = number;
  };
}

await main();
