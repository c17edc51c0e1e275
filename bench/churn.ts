/**
 * One measuring process: with so many blocks live all the time, replaces a random one by one of a random size, and prints
 * one line of JSON. `bench/run.ts` starts it for the growth table; by hand:
 *
 *     deno run -A bench/churn.ts --allocator rulloc --live 1000 [--rounds 10] [--round-ms 30] [--age-ms 3000]
 *     bun bench/churn.ts --allocator null --live 1000
 *
 * Sizes are uniform from 16 to 512 bytes, the first and the last byte of each block are written. Before the first round
 * the heap ages: every slot is replaced ten times on average, or as often as `--age-ms` allows, which is reported. An
 * operation is an allocation or a free: a replacement is two.
 *
 * All memory is one range (support/one_range.ts), so writing costs the same whatever the allocator. The null allocator
 * returns places at the range's start, and the loop writes there too. native/churn.c replaces the same blocks in the same
 * order.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { PageSource } from "../src/page_source.ts";
import { openClock } from "./support/clock.ts";
import { LARGEST_BATCH, type LoopReport, measure } from "./support/measure.ts";
import { openOneRange } from "./support/one_range.ts";
import { importModule } from "./support/own_subjects.ts";
import type { AddressAllocator } from "./support/subject.ts";
import { openSubject } from "./support/subjects.ts";
import { Xorshift } from "./support/xorshift.ts";

/** The line of JSON that this program and the native one print. */
export interface ChurnReport extends LoopReport {
  /** How often each slot was replaced before the first round, on average. */
  readonly aged: number;
}

/** Everything that an allocator of these loops has. */
const RANGE_BYTES = 2 ** 28;
/** Steps after which the plan begins again; a power of two. */
const PLAN = 1 << 20;
const LEAST = 16;
const MOST = 512;
/** A step is a slot in the lower bits and a size above. */
const SLOT_BITS = 16;
/** How often each slot is replaced to age the heap, on average. */
const AGE = 10;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      allocator: { type: "string", default: "heap" },
      live: { type: "string", default: "1000" },
      module: { type: "string" },
      rounds: { type: "string", default: "10" },
      "round-ms": { type: "string", default: "30" },
      "age-ms": { type: "string", default: "3000" },
    },
  });
  const live = Number(values.live);
  if (!(live >= 1 && live <= 2 ** SLOT_BITS)) throw new Error(`--live must be from 1 to ${2 ** SLOT_BITS}`);
  const { systemPageSource } = (await importModule(values.module)) as { systemPageSource(): PageSource };
  const { source, base, bytes } = await openOneRange(systemPageSource(), RANGE_BYTES);
  let allocator: AddressAllocator = new NullAllocator(base);
  if (values.allocator !== "null") {
    const subject = await openSubject(values.allocator, { module: values.module, source });
    if (subject.kind !== "address") throw new Error(`${values.allocator} gives no addresses`);
    allocator = subject.allocator;
  }

  const plan = makePlan(live);
  const kept = new Float64Array(live);
  for (let i = 0; i < live; i++) kept[i] = allocator.allocate(plan[i]! >>> SLOT_BITS);
  let cursor = live;
  function batch(count: number): void {
    cursor = churn(allocator, bytes, base, kept, plan, cursor, count >>> 1);
  }
  const aged = age(batch, live, Number(values["age-ms"]));
  const report = measure(batch, await openClock(), Number(values.rounds), Number(values["round-ms"]));
  console.log(JSON.stringify({ ...report, aged } satisfies ChurnReport));
}

/** Places by size at the start of the range: the loop that is taken off writes too, to memory that is always at hand. */
class NullAllocator implements AddressAllocator {
  readonly #base: number;

  constructor(base: number) {
    this.#base = base;
  }

  allocate(size: number, _alignment?: number): number {
    return this.#base + size;
  }

  allocateZeroed(size: number): number {
    return this.#base + size;
  }

  reallocate(_address: number, size: number): number {
    return this.#base + size;
  }

  free(_address: number): void {}
}

/** Slots and sizes, the same on every run and in native/churn.c. */
function makePlan(live: number): Int32Array {
  const plan = new Int32Array(PLAN);
  const numbers = new Xorshift();
  for (let i = 0; i < PLAN; i++) {
    const slot = numbers.next() % live;
    plan[i] = slot | ((LEAST + (numbers.next() % (MOST - LEAST + 1))) << SLOT_BITS);
  }
  return plan;
}

function churn(
  allocator: AddressAllocator,
  bytes: Uint8Array,
  base: number,
  kept: Float64Array,
  plan: Int32Array,
  cursor: number,
  count: number,
): number {
  for (let i = 0; i < count; i++) {
    cursor = (cursor + 1) & (PLAN - 1);
    const step = plan[cursor]!;
    const slot = step & (2 ** SLOT_BITS - 1);
    const size = step >>> SLOT_BITS;
    allocator.free(kept[slot]!);
    const address = allocator.allocate(size);
    kept[slot] = address;
    const offset = address - base;
    bytes[offset] = 1;
    bytes[offset + size - 1] = 1;
  }
  return cursor;
}

/** Runs until each slot was replaced {@link AGE} times on average, or for so long; returns how often it was. */
function age(batch: (count: number) => void, live: number, ms: number): number {
  const wanted = 2 * AGE * live;
  const deadline = performance.now() + ms;
  // Small batches: one of a slow subject must not overrun the deadline by much.
  const step = Math.min(LARGEST_BATCH, 256);
  let done = 0;
  for (; done < wanted && performance.now() < deadline; done += step) batch(step);
  return done / (2 * live);
}

if (import.meta.main) await main();
