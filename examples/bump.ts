/**
 * The article's bump allocator: one fixed piece of memory, and a cursor. Needs no permission.
 *
 *     deno run examples/bump.ts
 *     bun examples/bump.ts
 *
 * @module
 */
import { BumpAllocator, fixedPageSource, OutOfMemoryError, setGlobalAllocator, Vec } from "../mod.ts";

const SIZE = 1024;
/** Bytes that one character of the drawing stands for. */
const CELL = 16;

// All the memory there is: an ArrayBuffer of ours. No foreign function interface, no permission.
using bump = new BumpAllocator({ source: fixedPageSource(new ArrayBuffer(SIZE), { pageSize: SIZE }), size: SIZE });

console.log(`A bump allocator of ${bump.capacity} bytes; each character below is ${CELL} of them.\n`);
const base = bump.allocate(40);
draw("allocate(40)           a");
const b = bump.allocate(100);
draw("allocate(100)          b");
const c = bump.allocate(16, 256);
draw("allocate(16, 256)      c");
console.log(`  c is at ${offset(c)}: the cursor skipped to the next multiple of 256\n`);

// The last block is freed and resized where it is; the cursor follows.
bump.resize(c, 200);
draw("resize(c, 200)");
bump.free(b);
draw("free(b)");
console.log(`  b is free, but its bytes are not: ${bump.used} are still used`);
bump.free(c);
draw("free(c)");
console.log("  the last block is gone, and the cursor falls back over b as well\n");

// Freeing twice is found, although there is no header anywhere in the memory.
try {
  bump.free(b);
} catch (error) {
  console.log(`free(b) again: ${(error as Error).name}, ${(error as { kind?: string }).kind}\n`);
}

console.log("The article's alignments");
for (const type of [Uint16Array, Uint32Array, BigUint64Array]) {
  const array = bump.array<Uint16Array | Uint32Array | BigUint64Array>(type, 1);
  const remainder = bump.addressOf(array) % type.BYTES_PER_ELEMENT;
  console.log(`  ${type.name.padEnd(14)} address % ${type.BYTES_PER_ELEMENT} = ${remainder}`);
}

// The article registers its allocator as the global one and makes a vector.
bump.reset();
const before = setGlobalAllocator(bump);
using numbers = new Vec(Uint32Array);
for (const value of [1, 2, 3, 4, 5]) numbers.push(value);
setGlobalAllocator(before);
console.log(`\nAllocated vector: [${[...numbers].join(", ")}], at ${offset(numbers.address)}`);

try {
  while (numbers.push(numbers.length + 1) > 0);
} catch (error) {
  if (!(error instanceof OutOfMemoryError)) throw error;
  console.log(`It could grow to ${numbers.length} elements: ${bump.available} bytes are left`);
}

function offset(address: number): string {
  return `+0x${(address - base).toString(16)}`;
}

/** The memory from its start to its end: `#` block, `.` freed or skipped, `^` cursor. */
function draw(what: string): void {
  const cells = new Array(SIZE / CELL).fill(" ").fill(".", 0, bump.used / CELL);
  for (const { address, usableSize } of bump.blocks()) {
    cells.fill("#", (address - base) / CELL, (address - base + usableSize) / CELL);
  }
  if (bump.available > 0) cells[bump.used / CELL] = "^";
  console.log(`  ${what.padEnd(24)}|${cells.join("")}|`);
}
