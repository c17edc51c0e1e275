/**
 * Finding a C call that is given one element too many, in three ways: by the bytes around the block, by the page behind
 * it, and by the bytes of a freed block.
 *
 *     deno run --allow-ffi examples/guard.ts
 *     bun examples/guard.ts
 *
 * With `--fault` it makes the same mistake with a block that ends exactly at its guard page, and dies of it.
 *
 * @module
 */
import process from "node:process";
import { type Address, type Allocator, GuardAllocator, Heap, QuarantineAllocator, toPointer } from "../mod.ts";
import { openLibc } from "./support/libc.ts";

const libc = openLibc();

/** Sorts `count` bytes at `base` by C's qsort, the largest first. */
function sortBytes(base: Address, count: number, bytes: Uint8Array): void {
  libc.qsort(toPointer(base), count, 1, (a, b) => (bytes[b - base] ?? 0xff) - (bytes[a - base] ?? 0xff));
}

/** A block of 13 bytes, sorted as if it had 14. */
function sortOneTooMany(allocator: Allocator): Address {
  const address = allocator.allocate(13);
  const bytes = allocator.view(address);
  bytes.set([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9]);
  sortBytes(address, 14, bytes);
  return address;
}

/** The first line of what an action throws. */
function complaintOf(action: () => void): string {
  try {
    action();
    return "nothing was found";
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message.split("\n", 1)[0]}`;
  }
}

if (process.argv.includes("--fault")) {
  using precise = new GuardAllocator({ precise: true });
  console.log("the 14th byte is on a page that nobody may touch:");
  sortOneTooMany(precise);
  console.log("this line is never reached");
}

// 13 bytes at alignment 16 end three bytes before the guard page. What qsort writes there is found when the block is
// freed; at the end of the scope it is known, and not thrown again.
using guard = new GuardAllocator();
const damaged = sortOneTooMany(guard);
console.log("behind the block");
console.log(`  ${complaintOf(() => guard.free(damaged))}`);

// One allocation in a hundred, which a program in production can afford; the others are those of a heap.
using sampled = new GuardAllocator({ sampleRate: 100, seed: 2026 });
for (let i = 0; i < 10_000; i++) sampled.allocate(64);
console.log(`\n${sampled.guardedBlocks} of ${sampled.stats().liveBlocks} blocks are guarded`);

// In quarantine a freed block is written over with 0xdf, and nobody gets its address.
using allocator = new QuarantineAllocator(new Heap(), { maxBlocks: 1 });
const address = allocator.allocate(13);
const stale = allocator.view(address);
allocator.free(address);
console.log("\nafter free");
console.log(`  ${complaintOf(() => allocator.free(address))}`);
const next = allocator.allocate(13);
console.log(`  the next block is ${next === address ? "at the same place" : "elsewhere"}`);
stale[5] = 42;
console.log(`  ${complaintOf(() => allocator.free(next))}`);
