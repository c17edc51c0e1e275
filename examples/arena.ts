/**
 * An arena: what a request needed is freed at once, at its end, and the next request finds the memory ready.
 *
 *     deno run --allow-ffi examples/arena.ts
 *     bun examples/arena.ts
 *
 * @module
 */
import { Arena, OutOfMemoryError, UseAfterFreeError, Vec } from "../mod.ts";

using arena = new Arena();

console.log("Ten requests, each in a scope of the arena\n");
for (let request = 1; request <= 10; request++) {
  using _scope = arena.scope();
  handle(request);
  if (request % 3 === 1) report(`in request ${request}`);
}
report("after them");

console.log("\nChunks double, and a block larger than a chunk gets its own");
for (let step = 0; step < 4; step++) {
  for (let i = 0; i < 100; i++) arena.allocate(1000);
  report(`${(step + 1) * 100} blocks of 1000 bytes`);
}
arena.allocate(5_000_000);
report("and one of 5,000,000");

console.log("\nMarks");
const outer = arena.mark();
const settings = arena.array(Float64Array, 100);
const inner = arena.mark();
arena.allocate(300);
console.log(`  outer at 0x${outer.address.toString(16)}, inner ${inner.address - outer.address} bytes behind it`);
arena.rewind(inner);
console.log(`  rewound to inner: the settings are ${arena.owns(arena.addressOf(settings)) ? "still there" : "gone"}`);
arena.rewind(outer);
console.log(`  rewound to outer: ${arena.stats().liveBlocks} blocks are left`);
try {
  arena.rewind(inner);
} catch (error) {
  if (error instanceof UseAfterFreeError) console.log(`  rewind(inner) now: ${error.name}`);
}

console.log("\nThree ways to start again");
const view = arena.array(Uint8Array, 4);
arena.reset("keep-capacity");
report('reset("keep-capacity")');
arena.reset({ keep: 512 * 1024 });
report("reset({ keep: 512 KiB })");
arena.reset("free-all");
report('reset("free-all")');
console.log(`  an old view has ${view.length} elements now, and reading it gives ${view[0]}`);

console.log("\nA limit on what is live");
arena.limit = 1000;
arena.allocate(900);
try {
  arena.allocate(101);
} catch (error) {
  if (error instanceof OutOfMemoryError) console.log(`  ${error.message}`);
}

/** Something that a server might do: collect words, sort their lengths, and forget it all. */
function handle(request: number): void {
  const lengths = new Vec(Uint32Array, { allocator: arena });
  for (let i = 0; i < request * 500; i++) lengths.push((i * 7919) % 97);
  const sorted = arena.fill(Uint32Array, lengths.length, (i) => lengths.at(i)).sort();
  if (sorted[0] !== 0) throw new Error("Cannot be");
}

function report(when: string): void {
  const { liveBlocks, liveBytes, committedBytes, regions } = arena.stats();
  const held = `${committedBytes / 1024} KiB in ${regions} ${regions === 1 ? "chunk" : "chunks"}`;
  console.log(`  ${when.padEnd(28)}${`${liveBlocks} live, ${liveBytes} bytes`.padEnd(28)}${held}`);
}
