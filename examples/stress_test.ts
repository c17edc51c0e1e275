/**
 * Blocks of random sizes come and go on basicalloc; its free list is looked at after every step.
 *
 *     deno run --allow-ffi examples/stress_test.ts [steps] [live blocks] [log2 of the largest size]
 *     bun examples/stress_test.ts 10000 200 16
 *
 * Without arguments 65536 steps, about 1024 live blocks, and up to 2^20 bytes: as its original, this takes a while.
 *
 * @module
 */
import process from "node:process";
import { basicalloc } from "../mod.ts";

const STEPS = argument(0, 65_536, 2 ** 30);
const LIVE_BLOCKS = argument(1, 1024, 2 ** 20);
const LOG2_MAX_SIZE = argument(2, 20, 30);
const PROGRESS = 1024;

using allocator = basicalloc();
const objects: { address: number; size: number; tag: number }[] = [];
let randomState = 0x2545f491;
let totalSize = 0;
let allocations = 0;
let overwritten = 0;

console.log(`${STEPS} steps, about ${LIVE_BLOCKS} live blocks of up to ${2 ** LOG2_MAX_SIZE} bytes\n`);
for (let step = 1; step <= STEPS; step++) {
  // The fewer are live the likelier is one more, so the count wanders around what was asked for.
  if (objects.length < random() * 2 * LIVE_BLOCKS) allocateOne();
  else freeOne();
  if (!allocator.validity().isValid) throw new Error(`The free list is not valid after step ${step}`);
  if (step % PROGRESS === 0 || step === STEPS) report(step);
}

while (objects.length > 0) freeOne();
allocator.check();
const { isValid, overlaps, adjacents, outOfOrder } = allocator.validity();
console.log(`\nEverything is freed; ${allocations} blocks were allocated, ${overwritten} overwritten by others`);
console.log(`Valid: ${isValid} (overlaps ${overlaps}, adjacents ${adjacents}, out of order ${outOfOrder})`);
const { count, bytes } = allocator.freeStats();
const { committedBytes } = allocator.stats();
console.log(`Stats: free list of length ${count}, size ${bytes}${bytes === committedBytes ? ", all there is" : ""}`);
console.log(`Given back by trim(): ${allocator.trim() === committedBytes ? "all" : "not all"}`);

/** Sizes are spread evenly over the powers of two, as those of programs are: mostly small. */
function allocateOne(): void {
  const size = Math.floor(2 ** (random() * LOG2_MAX_SIZE));
  const tag = allocations++ & 0xff;
  const address = allocator.allocate(size);
  const view = allocator.view(address);
  view[0] = view[size - 1] = tag;
  objects.push({ address, size, tag });
  totalSize += size;
}

/** Any of them; its first and last byte must be as they were written. */
function freeOne(): void {
  const index = Math.floor(random() * objects.length);
  const object = objects[index]!;
  objects[index] = objects[objects.length - 1]!;
  objects.pop();
  const view = allocator.view(object.address);
  if (view[0] !== object.tag || view[object.size - 1] !== object.tag) overwritten++;
  // The size is handed back, as in Rust.
  allocator.free(object.address, object.size);
  totalSize -= object.size;
}

function report(step: number): void {
  allocator.check();
  const { count, bytes } = allocator.freeStats();
  console.log(`${step}: ${objects.length} objects, total size ${totalSize} bytes`);
  console.log(`  ${count} empty blocks in allocator, total size ${bytes} bytes; ${allocations} allocations so far`);
}

/** Numbers from 0 to 1, the same in every run (xorshift). */
function random(): number {
  randomState ^= randomState << 13;
  randomState ^= randomState >>> 17;
  randomState ^= randomState << 5;
  return (randomState >>> 0) / 2 ** 32;
}

function argument(index: number, usual: number, most: number): number {
  const text = process.argv[2 + index];
  const value = text === undefined ? usual : Number(text);
  if (Number.isInteger(value) && value > 0 && value <= most) return value;
  console.error(`Cannot use ${text} as argument ${index + 1}: it must be a whole number from 1 to ${most}`);
  process.exit(2);
}
