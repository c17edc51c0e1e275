/**
 * Rulloc by itself, not as the global allocator: blocks, and a vector inside of it.
 *
 *     deno run --allow-ffi examples/standalone.ts
 *     bun examples/standalone.ts
 *
 * @module
 */
import { rulloc, Vec } from "../mod.ts";

using allocator = rulloc();
console.log(`Blocks of up to ${allocator.sizes.join(", ")} bytes have a bucket each, larger ones the dynamic bucket\n`);

const blocks = [100, 1000, 10_000].map((size) => {
  const address = allocator.allocate(size);
  const view = allocator.view(address).fill(size % 251);
  console.log(`${size} bytes at 0x${address.toString(16)}, in bucket ${allocator.bucketOf(size)}`);
  return { address, view, byte: size % 251 };
});
const intact = blocks.every(({ view, byte }) => view.every((value) => value === byte));
console.log(`Contents: ${intact ? "intact" : "damaged"}`);
for (const { address } of blocks) allocator.free(address);
console.log(`Freed: ${allocator.stats().regions} regions are left\n`);

// A vector of this allocator. As it grows its block goes from bucket to bucket.
{
  using numbers = new Vec(Uint32Array, { allocator });
  let bucket = -1;
  for (let i = 0; i < 1024; i++) {
    numbers.push(i);
    const now = allocator.bucketOf(numbers.capacity * Uint32Array.BYTES_PER_ELEMENT);
    if (now !== bucket) console.log(`${numbers.length} elements: bucket ${now}, at 0x${numbers.address.toString(16)}`);
    bucket = now;
  }
  const array = numbers.asArray();
  console.log(`First 15: ${array.slice(0, 15).join(" ")}`);
  console.log(`Last 15:  ${array.slice(-15).join(" ")}`);
}

// What the end of this file does by itself: every region goes back, blocks that are live or not.
const left = allocator.view(allocator.allocate(64));
allocator[Symbol.dispose]();
console.log(`\nDisposed with a block still live: its view has ${left.length} bytes`);
