/**
 * Real limits of a process, not injected failures: address space that is scarce, and many heaps at once.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { mkdtempSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Heap, OutOfMemoryError, systemPageSource } from "../mod.ts";
import { commandFor, isEmulated, isLinux, rootPath, rootUrl, run, runtimeName } from "./support/runtime.ts";

const MIB = 2 ** 20;

/** Reads how much address space the process has, and fills what `ulimit -v` has left beyond it. */
const CHILD = `
import { Heap, OutOfMemoryError } from "${rootUrl}mod.ts";
const heap = new Heap();
const blocks = [];
let refused;
for (let i = 0; i < 4000 && refused === undefined; i++) {
  try {
    const address = heap.allocate(64 * 2 ** 20);
    // A view of a huge block wraps it, and the collector is told: of a few only.
    if (i < 4) heap.view(address, 16).fill(i + 1);
    blocks.push(address);
  } catch (error) {
    refused = error;
  }
}
if (!(refused instanceof OutOfMemoryError)) throw new Error("not refused, but " + refused);
heap.check();
blocks.slice(0, 4).forEach((address, i) => {
  if (heap.view(address, 16)[15] !== i + 1) throw new Error("block " + i + " is spoiled");
});
heap.free(blocks.pop());
heap.free(heap.allocate(4 * 2 ** 20));
for (const address of blocks) heap.free(address);
heap.check();
heap[Symbol.dispose]();
console.log("survived " + (blocks.length > 0));
`;

describe("real limits", () => {
  // V8 and JavaScriptCore reserve tens of GiB for themselves; the limit is what is left above that.
  const ignore = !isLinux || runtimeName === "node" || isEmulated;

  it("a heap under ulimit -v runs out with OutOfMemoryError, and goes on", { ignore }, async () => {
    const directory = mkdtempSync(join(tmpdir(), "offheap-limits-"));
    const file = join(directory, "child.ts");
    writeFileSync(file, CHILD);
    const [executable, args] = commandFor(file);
    const quoted = [executable, ...args].map((part) => `'${part}'`).join(" ");
    let survived = 0;
    let last = "";
    try {
      for (const gib of [70, 140]) {
        const { stdout, stderr } = await run("sh", ["-c", `ulimit -v ${gib * MIB}; exec ${quoted}`], {
          cwd: rootPath,
          timeoutMs: 20_000,
        });
        last = stderr;
        assert(!stderr.includes("not refused, but Type") && !stderr.includes("is spoiled"), stderr);
        if (stdout.includes("survived true")) survived++;
      }
    } finally {
      unlinkSync(file);
      rmdirSync(directory);
    }
    // Under the smallest limits a runtime may not even start.
    assert(survived > 0, `no limit was survived: ${last}`);
  });

  it("an address range that cannot be reserved is OutOfMemoryError", () => {
    const source = systemPageSource();
    assertThrows(() => source.reserve(2 ** 50, source.granularity), OutOfMemoryError);
    using heap = new Heap();
    assertThrows(() => heap.allocate(2 ** 50), OutOfMemoryError);
    heap.check();
    heap.free(heap.allocate(100));
  });

  it("64 heaps at once", () => {
    const heaps = Array.from({ length: 64 }, () => new Heap());
    const addresses = heaps.map((heap, i) => {
      const address = heap.allocate(50_000);
      heap.view(address).fill(i);
      return address;
    });
    heaps.forEach((heap, i) => {
      assertEquals(heap.view(addresses[i]!)[49_999], i);
      assertEquals(heap.owns(addresses[(i + 1) % 64]!), false);
      heap.check();
    });
    for (const heap of heaps) heap[Symbol.dispose]();
  });
});
