/**
 * A million numbers outside the JavaScript heap.
 *
 *     deno run --allow-ffi examples/hello_world.ts
 *     bun examples/hello_world.ts
 *
 * @module
 */
import { basicalloc, Heap, setGlobalAllocator, Vec } from "../mod.ts";
import { formatBytes, formatCount } from "./support/text.ts";

const COUNT = 1_000_000;

// `using` disposes the heap at the end of this file: everything on it is freed then.
using heap = new Heap();
console.log("Hello, native memory.\n");

// An ordinary Float64Array, whose memory the garbage collector neither moves nor frees.
const numbers = heap.array(Float64Array, COUNT);
for (let index = 0; index < COUNT; index++) numbers[index] = index;
const sum = numbers.reduce((total, value) => total + value, 0);
console.log(`The sum of ${formatCount(COUNT)} numbers is ${formatCount(sum)}.`);

const address = heap.addressOf(numbers);
console.log(`They are at 0x${address.toString(16)}, and stay there.\n`);

// An address is a number too, and blocks come in any size and alignment.
const small = heap.allocate(100);
const page = heap.allocate(4096, 4096);
console.log(`100 bytes asked for, ${heap.usableSize(small)} usable`);
console.log(`4096 bytes at a multiple of 4096: ${page % 4096 === 0 ? "yes" : "no"}\n`);
report("Live now");

heap.freeArray(numbers);
heap.free(small);
heap.free(page);
report("After the frees");

// Freeing twice is an error, not a crash. So is everything else that is no block of this heap.
try {
  heap.free(small);
} catch (error) {
  console.log(`${(error as Error).name}: ${(error as Error).message}`);
}

function report(title: string): void {
  const { liveBlocks, liveBytes, committedBytes, tableBytes } = heap.stats();
  console.log(title);
  console.log(`  blocks     ${formatCount(liveBlocks)}`);
  console.log(`  live       ${formatBytes(liveBytes)}`);
  console.log(`  committed  ${formatBytes(committedBytes)}, and ${formatBytes(tableBytes)} for tables\n`);
}

// The first program of the reference systems: a vector of 2^20 numbers on basicalloc, made the global allocator.
{
  using allocator = basicalloc();
  const before = setGlobalAllocator(allocator);
  using vec = new Vec(Uint32Array);
  for (let value = 0; value < 2 ** 20; value++) vec.push(value);
  setGlobalAllocator(before);
  console.log(`\nA Vec of ${formatCount(vec.length)} numbers on basicalloc`);
  const { isValid, overlaps, adjacents, outOfOrder } = allocator.validity();
  console.log(`Valid: ${isValid} (overlaps ${overlaps}, adjacents ${adjacents}, out of order ${outOfOrder})`);
  const { count, bytes } = allocator.freeStats();
  console.log(`Stats: free list of length ${count}, size ${formatCount(bytes)}`);
}
