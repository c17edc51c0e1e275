/**
 * Runs the examples of the article's allocators, each in a process of its own, and looks at what they printed.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runFile } from "./support/runtime.ts";

/** What it prints, line by line, addresses as 0x...; with no permission but those given. */
async function linesOf(example: string, ...denoFlags: string[]): Promise<string[]> {
  const { code, signal, stdout, stderr } = await runFile(`examples/${example}`, {
    denoFlags: ["--no-prompt", ...denoFlags],
  });
  assertEquals({ code, signal, stderr }, { code: 0, signal: null, stderr: "" });
  return stdout.replaceAll(/0x[0-9a-f]{6,}/g, "0x...").trimEnd().split(/\r?\n/).map((line) => line.trimEnd());
}

describe("examples/bump.ts", () => {
  it("draws the cursor without any permission, aligns as the article does, and makes its vector", async () => {
    const lines = await linesOf("bump.ts");
    assertEquals(lines[0], "A bump allocator of 1024 bytes; each character below is 16 of them.");
    assertEquals(lines[4], `  allocate(16, 256)      c|##########......#^${" ".repeat(46)}|`);
    assertEquals(lines[10], `  free(c)                 |###^${" ".repeat(60)}|`);
    assertEquals(lines[13], "free(b) again: InvalidFreeError, double");
    assertEquals(lines.slice(16, 19).map((line) => line.slice(-5)), ["2 = 0", "4 = 0", "8 = 0"]);
    assertEquals(lines.slice(20), [
      "Allocated vector: [1, 2, 3, 4, 5], at +0x0",
      "It could grow to 256 elements: 0 bytes are left",
    ]);
  });
});

describe("examples/arena.ts", () => {
  it("frees each request at its end, and shows chunks, marks, reset modes and the limit", async () => {
    const lines = await linesOf("arena.ts", "--allow-ffi");
    assertEquals(lines[6], `  ${"after them".padEnd(28)}${"0 live, 0 bytes".padEnd(28)}64 KiB in 1 chunk`);
    assertMatch(lines[13]!, /^ {2}and one of 5,000,000 +401 live, 5403200 bytes +\d+ KiB in 4 chunks$/);
    assertEquals(lines.slice(16, 20), [
      "  outer at 0x..., inner 800 bytes behind it",
      "  rewound to inner: the settings are still there",
      "  rewound to outer: 401 blocks are left",
      "  rewind(inner) now: UseAfterFreeError",
    ]);
    assertMatch(lines[24]!, /^ {2}reset\("free-all"\) +0 live, 0 bytes +0 KiB in 0 chunks$/);
    assertEquals(lines[25], "  an old view has 0 elements now, and reading it gives undefined");
    assertMatch(lines.at(-1)!, /^ {2}Cannot allocate 101 bytes: 900 of the limit of 1000 bytes are live/);
  });
});

describe("examples/pool.ts", () => {
  it("fills a pool to the last slot without any permission, and survives a stale write", async () => {
    const lines = await linesOf("pool.ts");
    assertEquals(lines[0], "32 slots of 32 bytes; # is a particle");
    assertEquals(lines[5], "  the slot freed last is used first: same slot");
    assertEquals(lines[6], `  19 more, and full       |${"#".repeat(32)}|  32 live, 0 free`);
    assertEquals(lines.slice(9), [
      "Written to a freed slot: check() finds every record in order",
      "  free again: double",
      "  free inside another: interior",
      "  free elsewhere: foreign",
    ]);
  });
});

describe("examples/custom_grower.ts", () => {
  it("runs rusty_malloc and an arena on a page source of ten lines, without any permission", async () => {
    const lines = await linesOf("custom_grower.ts");
    assertEquals(lines[0], "rusty_malloc on a toy heap of 16 KiB");
    assertEquals(lines.filter((line) => line.includes("bytes at 0x...")).length, 3);
    assertEquals(lines.includes("  150 more take the place of the freed one: yes"), true);
    assertEquals(lines.includes("  out of memory is an address of 0: 0"), true);
    assertMatch(lines.at(-1)!, /^ {2}6 words of 3, 9, 4, 2, 3, 6 bytes in \d chunks$/);
  });
});
