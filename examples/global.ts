/**
 * One allocator for the whole program, and another for each thread: MemAlloc's and Rulloc's examples of that name.
 *
 *     deno run --allow-ffi --allow-read examples/global.ts
 *     bun examples/global.ts                               (--allow-read: Deno reads this file again for the threads)
 *
 * @module
 */
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { allocate, free, globalAllocator, memAlloc, rulloc, setGlobalAllocator, Vec } from "../mod.ts";

if (isMainThread) await main();
else parentPort!.once("message", inThread);

async function main(): Promise<void> {
  using allocator = memAlloc({ regionSize: 4096 });
  setGlobalAllocator(allocator);

  // A box: a value that is a block.
  const box = allocate(4);
  allocator.view(box)[0] = 42;
  console.log(`Box: ${allocator.view(box)[0]} at ${hex(box)}`);
  free(box);

  // A vector that grows: whenever it is full it takes a larger block of the global allocator.
  {
    using numbers = new Vec(Uint32Array);
    let capacity = 0;
    for (let i = 0; i < 20; i++) {
      numbers.push(i * i);
      if (numbers.capacity !== capacity) console.log(`Vec: length ${numbers.length}, capacity ${numbers.capacity}`);
      capacity = numbers.capacity;
    }
    console.log(`Vec: [${[...numbers].join(", ")}]`);
  }

  // A string: its bytes.
  {
    using string = new Vec(Uint8Array);
    for (const byte of new TextEncoder().encode("¡Hola, MemAlloc!")) string.push(byte);
    console.log(`String: "${new TextDecoder().decode(string.asArray())}", ${string.length} bytes`);
  }

  // Memory that was freed is used again. Three of these blocks fill a region.
  const third = Math.floor(Math.max(4096, allocator.source.granularity) / 3) - 100;
  const p1 = allocate(third);
  const neighbour = allocate(third);
  const wall = allocate(third);
  free(p1);
  const p2 = allocate(third);
  console.log(`\nP1 was at ${hex(p1)}; P2 is at ${hex(p2)}, ${p1 === p2 ? "the same" : "another"} address`);

  // Two free neighbours are one block, large enough for both.
  free(p2);
  free(neighbour);
  const merged = allocate(2 * third);
  console.log(merged === p1 ? `Correctly reused at ${hex(merged)}` : "Not correctly reused...");
  for (const address of [merged, wall]) free(address);

  // Threads share nothing here: each has a global allocator of its own, and never waits for another.
  const lines = await Promise.all(["first", "second"].map(runThread));
  console.log(`\n${lines.join("\n")}`);

  const large = allocate(1024 * 1024);
  allocator.view(large).fill(1);
  console.log(`\n1 MiB at ${hex(large)}, in the only block of ${allocator.stats().regions} region`);
  free(large);
}

/** What a thread does: Rulloc for all it allocates. */
function inThread(name: string): void {
  using allocator = rulloc();
  setGlobalAllocator(allocator);
  using numbers = new Vec(Float64Array);
  for (let i = 1; i <= 10_000; i++) numbers.push(i);
  const sum = numbers.asArray().reduce((total, value) => total + value, 0);
  const blocks = globalAllocator().stats().liveBlocks;
  parentPort!.postMessage(`The ${name} thread sums up to ${sum} in ${blocks} block of its own`);
}

function runThread(name: string): Promise<string> {
  const worker = new Worker(new URL(import.meta.url));
  worker.postMessage(name);
  return new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.once("message", (line: string) => void worker.terminate().then(() => resolve(line), reject));
  });
}

function hex(address: number): string {
  return `0x${address.toString(16)}`;
}
