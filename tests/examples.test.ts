/**
 * Runs every example in a process of its own and looks at what it printed. (The demo has a file of its own, and the
 * README another.)
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { rootPath, runFile } from "./support/runtime.ts";

/** What it prints, line by line; addresses as 0x... */
async function linesOf(example: string): Promise<string[]> {
  const { code, signal, stdout, stderr } = await runFile(`examples/${example}`, { denoFlags: ["--allow-ffi"] });
  assertEquals({ code, signal, stderr }, { code: 0, signal: null, stderr: "" });
  return stdout.replaceAll(/0x[0-9a-f]{6,}/g, "0x...").trimEnd().split(/\r?\n/).map((line) => line.trimEnd());
}

describe("examples/hello_world.ts", () => {
  it("puts a million numbers on a heap, cannot free twice, and pushes 2^20 on basicalloc", async () => {
    const lines = await linesOf("hello_world.ts");
    assertEquals(lines.slice(0, 7), [
      "Hello, native memory.",
      "",
      "The sum of 1,000,000 numbers is 499,999,500,000.",
      "They are at 0x..., and stay there.",
      "",
      "100 bytes asked for, 112 usable",
      "4096 bytes at a multiple of 4096: yes",
    ]);
    assertEquals(lines[8], "Live now");
    assertEquals(lines[9], "  blocks     3");
    assertMatch(lines[10]!, /^ {2}live {7}7\.6\d MiB$/);
    assertMatch(lines[11]!, /^ {2}committed {2}\d+\.\d\d MiB, and \d+\.\d\d [KM]iB for tables$/);
    assertEquals(lines.slice(13, 16), ["After the frees", "  blocks     0", "  live       0 B"]);
    assertEquals(lines[18], "InvalidFreeError: Cannot free 0x...: the block is already freed");
    assertEquals(lines.slice(19, 22), [
      "",
      "A Vec of 1,048,576 numbers on basicalloc",
      "Valid: true (overlaps 0, adjacents 0, out of order 0)",
    ]);
    assertMatch(lines[22]!, /^Stats: free list of length \d+, size \d[\d,]{8}$/);
    assertEquals(lines.length, 23);
  });
});

describe("examples/call_c.ts", () => {
  it("calls strlen, memchr and qsort on heap memory", async () => {
    const lines = await linesOf("call_c.ts");
    assertMatch(lines.splice(3, 1)[0]!, /^ {8}sorted by C, with \d+ comparisons in JavaScript$/);
    assertEquals(lines, [
      "strlen: 34 bytes",
      'memchr: "J" is byte 18',
      "qsort:  1 1 2 3 3.5 4 5 5 6 9",
      "strlen: 10 bytes in a NativeBuffer",
      "0 blocks are live",
    ]);
  });
});

describe("examples/buffers.ts", () => {
  it("shows when views are detached, and when they are not", async () => {
    assertEquals(await linesOf("buffers.ts"), [
      "in the scope:     0.5 1.5 2.5 3.5",
      "                  1 block is live",
      "after the scope:  0 blocks are live",
      "",
      "before free:      the view has 16 bytes, the first word is 0xcafe",
      "after free:       the view has 0 bytes, bytes[0] is undefined",
      "                  UseAfterFreeError (ERR_USE_AFTER_FREE)",
      "",
      'after resize:     "Hello, world" in 12 bytes',
      "                  the view from before has 0 bytes",
      "",
      "a stale view:     reads 2, which belongs to the next block (2)",
      "after dispose:    0 elements",
    ]);
  });
});

describe("examples/guard.ts", () => {
  it("finds what C writes behind a block, and what is written after free", async () => {
    const lines = (await linesOf("guard.ts")).map((line) =>
      line.replace(/is 0x[0-9a-f]{2} instead/, "is changed, instead")
    );
    assertEquals(lines, [
      "behind the block",
      "  CorruptionError: Cannot free 0x...: something wrote behind the end of the guarded block of 13 bytes; the byte at " +
      "offset 13 (0x...) is changed, instead of 0xde",
      "",
      "96 of 10000 blocks are guarded",
      "",
      "after free",
      "  InvalidFreeError: Cannot free 0x...: the block of 13 bytes is already freed and in quarantine",
      "  the next block is elsewhere",
      "  CorruptionError: Cannot release 0x...: something wrote to the block of 13 bytes after it was freed; the byte at " +
      "offset 5 (0x...) is changed, instead of 0xdf",
    ]);
  });

  it("--fault ends at the instruction that touches the guard page", async () => {
    const { code, signal, stdout } = await runFile("examples/guard.ts", {
      denoFlags: ["--allow-ffi"],
      args: ["--fault"],
    });
    assertEquals(stdout.trim(), "the 14th byte is on a page that nobody may touch:");
    assertEquals(code === 0 && signal === null, false);
  });
});

describe("examples/", () => {
  it("every example is run by a test", () => {
    const tested = ["buffers.ts", "call_c.ts", "hello_world.ts", "replay.ts"]
      .concat(
        "arena.ts",
        "bump.ts",
        "custom_grower.ts",
        "guard.ts",
        "leaks.ts",
        "pool.ts",
        "server.ts",
        "share_array.ts",
        "workers.ts",
      )
      .concat("aligned.ts", "basic.ts", "buckets.ts", "global.ts", "grow_heap.ts", "standalone.ts", "stress_test.ts")
      .sort();
    const found = readdirSync(join(rootPath, "examples")).filter((name) => name.endsWith(".ts")).sort();
    assertEquals(found, tested);
  });
});

describe("examples/leaks.ts", () => {
  it("finds a leak, an overrun, a wrong size and a second free, and profiles", async () => {
    assertEquals(await linesOf("leaks.ts"), [
      "left by countRecords: 2 blocks, 26 bytes",
      "  allocated by readRecord, called by countRecords",
      "",
      "CorruptionError: Cannot free 0x...: something wrote behind the end of the block of 100 bytes; the byte at offset " +
      "100 (0x...) is 0x07 instead of 0xdc",
      "SizeMismatchError: Cannot free 0x... as a block of 96 bytes: 100 were asked for",
      "InvalidFreeError: Cannot free 0x...: the block of 100 bytes is already freed",
      "",
      "profile: 700 bytes were allocated in total",
      "",
      "at dispose: 2 blocks, 26 bytes are not freed",
    ]);
  });
});
