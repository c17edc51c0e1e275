/**
 * Buckets of your own: blocks of similar sizes share regions, and no others are in them.
 *
 *     deno run --allow-ffi examples/buckets.ts
 *     bun examples/buckets.ts
 *
 * @module
 */
import { describe, rulloc } from "../mod.ts";

// Three buckets, and the dynamic one. Regions of a page each, as theirs; ours have 64 KiB unless told otherwise.
using allocator = rulloc([8, 16, 24], { regionSize: 4096 });

const blocks = [8, 16, 24, 32].map((size) => {
  const address = allocator.allocate(size);
  console.log(`Alloc of ${size} bytes at 0x${address.toString(16)}, bucket ${allocator.bucketOf(size)}`);
  return address;
});

// Each lies in a region of its own: at least a page from the next.
const sorted = blocks.toSorted((a, b) => a - b);
const apart = sorted.slice(1).every((address, i) => address - sorted[i]! >= 4096);
console.log(`At least 4 KiB apart: ${apart ? "yes" : "no"}\n`);

// A second block lies right behind the first: a header of 24 bytes, at least 16 for the block, in steps of 16.
const second = allocator.allocate(8);
console.log(`Another alloc of 8 bytes: ${second - blocks[0]!} bytes behind the first\n`);
console.log(describe(allocator));

// A size that belongs elsewhere takes the block there.
const moved = allocator.reallocate(second, 20);
console.log(
  `\nReallocated to 20 bytes: bucket ${allocator.bucketOf(20)}, ${moved - blocks[2]!} bytes behind the block there`,
);

// One request needs a system call only when the region is full.
const before = allocator.stats().regions;
for (let i = 0; i < 50; i++) allocator.allocate(8);
console.log(`50 more of 8 bytes: ${allocator.stats().regions - before} more regions`);
