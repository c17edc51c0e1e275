/**
 * Alignment: addresses that are multiples of a power of two.
 *
 *     deno run --allow-ffi examples/aligned.ts
 *     bun examples/aligned.ts
 *
 * @module
 */
import { basicalloc, Heap, memAlloc, rulloc, rustyMalloc } from "../mod.ts";

console.log("Rulloc");
{
  using allocator = rulloc();
  for (const alignment of [16, 32, 1024]) {
    const address = allocator.allocate(alignment + 1, alignment);
    console.log(`  Requested ${alignment + 1} bytes aligned to ${alignment}: 0x${address.toString(16)}`);
    console.log(`  Alignment check: 0x${address.toString(16)} % ${alignment} = ${address % alignment}`);
  }
}

// Above 16 one of the originals does not align at all, and one writes over its neighbours. Here all do as asked.
console.log("\nEvery power of two from 1 to 65536, ten blocks each");
const allocators = {
  basicalloc: basicalloc(),
  rusty_malloc: rustyMalloc(),
  MemAlloc: memAlloc(),
  Rulloc: rulloc(),
  Heap: new Heap(),
};
for (const [name, allocator] of Object.entries(allocators)) {
  using _disposed = allocator;
  let aligned = 0;
  let asked = 0;
  for (let alignment = 1; alignment <= 65_536; alignment *= 2) {
    for (let i = 1; i <= 10; i++) {
      asked++;
      const address = allocator.allocate(i * 100, alignment);
      // It stays aligned when it moves.
      const moved = allocator.reallocate(address, i * 300);
      if (address % alignment === 0 && moved % alignment === 0) aligned++;
    }
  }
  allocator.check();
  console.log(`  ${name.padEnd(14)}${aligned} of ${asked}`);
}
