/**
 * A page source of your own (the reference systems say grower): where an allocator's memory comes from, in ten lines.
 * Needs no permission.
 *
 *     deno run examples/custom_grower.ts
 *     bun examples/custom_grower.ts
 *
 * @module
 */
import { Arena, OutOfMemoryError, type PageSource, rustyMalloc } from "../mod.ts";

/** A heap in an array, as toy operating systems have it: it grows upwards and never gives anything back. */
function toyGrower(heap: ArrayBuffer, base = 2 ** 50): PageSource {
  let used = 0;
  return {
    ...{ name: "toy", pageSize: 64, granularity: 64, maxWrapBytes: heap.byteLength, lazy: false, isolating: false },
    reserve(byteLength, alignment) {
      const start = Math.ceil(used / alignment) * alignment;
      if (start + byteLength > heap.byteLength) throw new OutOfMemoryError("Cannot grow: the toy is full", byteLength);
      used = start + byteLength;
      console.log(`    grow by ${byteLength} bytes: ${used} of ${heap.byteLength} are used`);
      return base + start;
    },
    wrap: (address, byteLength) => new Uint8Array(heap, address - base, byteLength),
    discard: (address, byteLength) => void new Uint8Array(heap, address - base, byteLength).fill(0),
    toPointer: (address) => address,
    ...{ commit() {}, decommit() {}, protect() {}, unmap() {}, unwrap() {} },
  };
}

console.log("rusty_malloc on a toy heap of 16 KiB");
{
  using malloc = rustyMalloc({ source: toyGrower(new ArrayBuffer(16_384)) });
  const blocks = [100, 200, 300].map((size) => malloc.allocate(size));
  for (const address of blocks) console.log(`  ${malloc.usableSize(address)} bytes at 0x${address.toString(16)}`);
  malloc.free(blocks[1]!);
  const again = malloc.allocate(150);
  console.log(`  150 more take the place of the freed one: ${again === blocks[1] ? "yes" : "no"}`);
  malloc.allocate(5000);
  console.log(`  out of memory is an address of 0: ${malloc.tryAllocate(20_000)}`);
  malloc.check();
}

console.log("\nan arena on another");
{
  using arena = new Arena({ source: toyGrower(new ArrayBuffer(16_384)), chunkSize: 2048 });
  const words = ["any", "allocator", "runs", "on", "any", "source"];
  const text = new TextEncoder();
  const lengths = words.map((word) => text.encodeInto(word, arena.array(Uint8Array, 600)).written);
  console.log(`  ${words.length} words of ${lengths.join(", ")} bytes in ${arena.stats().regions} chunks`);
}
