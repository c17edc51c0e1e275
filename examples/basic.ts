/**
 * MemAlloc's first example: three allocations, and what is in the memory.
 *
 *     deno run --allow-ffi examples/basic.ts
 *     bun examples/basic.ts
 *
 * @module
 */
import { describe, memAlloc } from "../mod.ts";

// Regions of a page, as theirs, so that the drawing is small.
using allocator = memAlloc({ regionSize: 4096 });

const number = request(8);
const word = request(32);
const buffer = request(1000);

// A block is used through views. This one is a 64-bit number ...
allocator.view(number).set([0xd2, 0x04]);
const [value] = new BigUint64Array(allocator.view(number).buffer, allocator.view(number).byteOffset, 1);
console.log(`\nThe number is ${value}`);

// ... this one text, and this one bytes.
const { written } = new TextEncoder().encodeInto("native memory", allocator.view(word));
console.log(`The word is "${new TextDecoder().decode(allocator.view(word, written))}"`);
allocator.view(buffer).fill(7);
console.log(`The bytes sum up to ${allocator.view(buffer).reduce((sum, byte) => sum + byte, 0)}`);

console.log("\nThe region: each block has a header of 40 bytes, and what is left is free");
console.log(describe(allocator));

allocator.free(word);
console.log("\nAfter free(word): the freed block is the second one in the free list");
console.log(describe(allocator));

allocator.free(number);
allocator.free(buffer);
console.log("\nAfter the other two: the blocks were merged, and the region was given back");
console.log(describe(allocator));

function request(size: number): number {
  const address = allocator.allocate(size);
  console.log(`Requested ${size} bytes of memory`);
  console.log(`Received this address: 0x${address.toString(16)}`);
  return address;
}
