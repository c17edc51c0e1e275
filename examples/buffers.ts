/**
 * Owned buffers: native memory that cannot be used after it is freed, not even by mistake.
 *
 *     deno run --allow-ffi examples/buffers.ts
 *     bun examples/buffers.ts
 *
 * @module
 */
import { Heap, UseAfterFreeError } from "../mod.ts";

using heap = new Heap();

// 1. The end of the scope frees it.
{
  using samples = heap.buffer(8 * 4);
  samples.view(Float64Array).set([0.5, 1.5, 2.5, 3.5]);
  console.log(`in the scope:     ${samples.view(Float64Array).join(" ")}`);
  console.log(`                  ${heap.stats().liveBlocks} block is live`);
}
console.log(`after the scope:  ${heap.stats().liveBlocks} blocks are live\n`);

// 2. Freeing detaches every view of it: they are empty, wherever they were kept.
const buffer = heap.buffer(16);
const bytes = buffer.bytes;
const data = buffer.view(DataView);
data.setUint32(0, 0xcafe);
console.log(
  `before free:      the view has ${bytes.length} bytes, the first word is 0x${data.getUint32(0).toString(16)}`,
);
buffer.free();
console.log(`after free:       the view has ${bytes.length} bytes, bytes[0] is ${bytes[0]}`);
try {
  console.log(buffer.bytes);
} catch (error) {
  if (!(error instanceof UseAfterFreeError)) throw error;
  console.log(`                  ${error.name} (${error.code})\n`);
}

// 3. A resize keeps the contents. The block may move, so views from before it are detached too.
using text = heap.buffer(5);
const before = text.bytes;
new TextEncoder().encodeInto("Hello", before);
text.resize(12);
new TextEncoder().encodeInto(", world", text.bytes.subarray(5));
console.log(`after resize:     "${new TextDecoder().decode(text.bytes)}" in ${text.byteLength} bytes`);
console.log(`                  the view from before has ${before.length} bytes\n`);

// 4. A plain view is cheaper and promises less: it is never a crash, but it shows what the memory is used for next.
const first = heap.array(Uint8Array, 64).fill(1);
heap.freeArray(first);
const second = heap.array(Uint8Array, 64).fill(2);
console.log(`a stale view:     reads ${first[0]}, which belongs to the next block (${second[0]})`);
heap.freeArray(second);

// 5. Disposing the heap detaches everything that is left.
const left = heap.array(Float32Array, 1000);
heap[Symbol.dispose]();
console.log(`after dispose:    ${left.length} elements`);
