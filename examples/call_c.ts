/**
 * C functions on memory of a heap: no copying in, no copying out, and an address that stays what it is.
 *
 *     deno run --allow-ffi examples/call_c.ts
 *     bun examples/call_c.ts
 *
 * @module
 */
import { Heap, toPointer } from "../mod.ts";
import { openLibc } from "./support/libc.ts";

const libc = openLibc();
using heap = new Heap();

// An address is a number; toPointer makes it what the runtime's foreign function interface takes.
const text = heap.allocateZeroed(64);
new TextEncoder().encodeInto("memory that C and JavaScript share", heap.view(text));
console.log(`strlen: ${libc.strlen(toPointer(text))} bytes`);

// What C returns is an address in the same block.
const found = libc.memchr(toPointer(text), "J".charCodeAt(0), 64);
console.log(`memchr: "J" is byte ${found - text}`);
heap.free(text);

// An array on the heap is an ordinary Float64Array; C sorts it where it is. The comparison is JavaScript, called by C with
// the addresses of two elements of the array.
const numbers = heap.array(Float64Array, 10);
numbers.set([3, 1, 4, 1, 5, 9, 2, 6, 5, 3.5]);
const base = heap.addressOf(numbers);
const size = Float64Array.BYTES_PER_ELEMENT;
let calls = 0;
libc.qsort(toPointer(base), numbers.length, size, (a, b) => {
  calls++;
  return Math.sign(numbers[(a - base) / size]! - numbers[(b - base) / size]!);
});
console.log(`qsort:  ${numbers.join(" ")}`);
console.log(`        sorted by C, with ${calls} comparisons in JavaScript`);
heap.freeArray(numbers);

// An owned buffer brings its own pointer, and frees itself at the end of the block.
{
  using buffer = heap.buffer(16);
  buffer.bytes.fill(0x2a, 0, 10);
  console.log(`strlen: ${libc.strlen(buffer.pointer)} bytes in a NativeBuffer`);
}
console.log(`${heap.stats().liveBlocks} blocks are live`);
