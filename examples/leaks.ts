/**
 * Finding leaks, overruns and double frees with a DebugAllocator, and writing a heap profile.
 *
 *     deno run --allow-ffi examples/leaks.ts
 *     bun examples/leaks.ts
 *
 * With a file name (`leaks.heapprofile`; Deno then needs --allow-write too) the profile of everything that was allocated
 * is written there, for Chrome's developer tools, Visual Studio Code or speedscope.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { type Address, DebugAllocator, Heap } from "../mod.ts";

// Prints its leaks at the end of the scope, which here is the end of the program.
using debug = new DebugAllocator(new Heap(), {
  totals: true,
  reportLeaks: (report) => console.log(`\nat dispose: ${report.count} blocks, ${report.bytes} bytes are not freed`),
});

/** Reads a record into native memory; the caller frees it. */
function readRecord(length: number): Address {
  const address = debug.allocate(length);
  debug.view(address).fill(length);
  return address;
}

/** Frees what it reads, except when there is nothing in it. */
function countRecords(lengths: readonly number[]): number {
  let count = 0;
  for (const length of lengths) {
    const record = readRecord(length);
    if (debug.view(record)[0] === 13) continue; // the mistake: this record is not freed
    debug.free(record, length);
    count++;
  }
  return count;
}

/** The first line of what an action throws. */
function complaintOf(action: () => void): string {
  try {
    action();
    return "nothing was found";
  } catch (error) {
    return `${(error as Error).name}: ${(error as Error).message.split("\n", 1)[0]}`;
  }
}

// 1. Which blocks does one part of the program leave behind?
{
  using _scope = debug.scope((report) => {
    const [site] = report.sites;
    console.log(`left by countRecords: ${report.count} blocks, ${report.bytes} bytes`);
    console.log(
      `  allocated by ${site?.frames.map(({ functionName }) => functionName).slice(0, 2).join(", called by ")}`,
    );
  });
  countRecords([10, 13, 500, 13, 64]);
}

// 2. A write beyond a block, to the byte.
const block = debug.allocate(100);
const { buffer, byteOffset } = debug.view(block);
const beyond = new Uint8Array(buffer, byteOffset, 101);
const canary = beyond[100]!;
beyond[100] = 7;
console.log(`\n${complaintOf(() => debug.free(block))}`);
beyond[100] = canary;

// 3. A size that is not the block's, and a second free.
console.log(complaintOf(() => debug.free(block, 96)));
debug.free(block, 100);
console.log(complaintOf(() => debug.free(block)));

// 4. Bytes by call site, as a file for a viewer.
const profile = debug.heapProfile("total");
console.log(`\nprofile: ${profile.samples.reduce((sum, { size }) => sum + size, 0)} bytes were allocated in total`);
const [file] = process.argv.slice(2);
if (file !== undefined) {
  writeFileSync(file, JSON.stringify(profile));
  console.log(`written to ${file}`);
}
