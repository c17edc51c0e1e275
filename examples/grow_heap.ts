/**
 * Where allocators get their memory: a page source, driven by hand. The reference systems call it a grower.
 *
 *     deno run --allow-ffi examples/grow_heap.ts
 *     bun examples/grow_heap.ts
 *
 * @module
 */
import { fixedPageSource, OutOfMemoryError, type PageSource, systemPageSource } from "../mod.ts";

const system = systemPageSource();
console.log(`Pages of the system: ${system.pageSize} bytes, mapped in multiples of ${system.granularity}\n`);

// What the reference prints: where the memory is, and how much came for the 4000 bytes that were asked for.
const [address, byteLength] = growHeap(system, 4000);
console.log(`Returned: (0x${address.toString(16)}..=0x${(address + byteLength - 1).toString(16)}, ${byteLength})`);

// It is memory like any other, zero at first.
const bytes = system.wrap(address, byteLength);
console.log(`  all zero: ${bytes.every((byte) => byte === 0) ? "yes" : "no"}`);
bytes.fill(0xff);
system.discard(address, byteLength);
console.log(`  written and discarded, all zero again: ${bytes.every((byte) => byte === 0) ? "yes" : "no"}`);

// It goes back in two steps: first JavaScript lets go of it, then the system takes it.
system.unwrap(bytes);
system.unmap(address, byteLength);
console.log(`  given back; the view of it has ${bytes.length} bytes\n`);

// Their toy heap: an array of 256 KiB with pages of 64 bytes. It grows until it is full.
const toy = fixedPageSource(new ArrayBuffer(256 * 1024), { pageSize: 64 });
console.log("A toy heap");
let first: number | undefined;
try {
  for (const size of [1, 64, 65, 100_000, 150_000, 20_000]) {
    const [start, length] = growHeap(toy, size);
    first ??= start;
    console.log(`  ${size} bytes: (+${start - first}, ${length})`);
  }
} catch (error) {
  if (!(error instanceof OutOfMemoryError)) throw error;
  console.log(`  ${error.message}`);
}

/** Asks for `size` bytes, and gets whole pages. */
function growHeap(source: PageSource, size: number): [address: number, byteLength: number] {
  const byteLength = Math.ceil(size / source.pageSize) * source.pageSize;
  const address = source.reserve(byteLength, source.pageSize);
  source.commit(address, byteLength);
  return [address, byteLength];
}
