/**
 * Runs the examples that follow those of the reference systems, each in a process of its own, and looks at what they
 * printed. (hello_world is in examples.test.ts, the article's in arenas_examples.test.ts.)
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { isEmulated, runFile, runtimeName } from "./support/runtime.ts";

/** Deno takes many seconds to start under an emulator; examples that only do what others do are left to Bun there. */
const slow = runtimeName === "deno" && isEmulated;

/** What it prints, line by line, addresses as 0x... */
async function linesOf(example: string, args: string[] = [], denoFlags = ["--allow-ffi"]): Promise<string[]> {
  const { code, signal, stdout, stderr } = await runFile(`examples/${example}`, {
    args,
    denoFlags: ["--no-prompt", ...denoFlags],
  });
  assertEquals({ code, signal, stderr }, { code: 0, signal: null, stderr: "" });
  return stdout.replaceAll(/0x[0-9a-f]{6,}/g, "0x...").trimEnd().split(/\r?\n/).map((line) => line.trimEnd());
}

describe("examples/grow_heap.ts", () => {
  it("grows by whole pages of the system, and grows a toy heap until it is full", async () => {
    const lines = await linesOf("grow_heap.ts");
    const [, pageSize] = /^Pages of the system: (\d+) bytes, mapped in multiples of \d+$/.exec(lines[0]!)!;
    assertEquals(lines.slice(2, 6), [
      `Returned: (0x.....=0x..., ${pageSize})`,
      "  all zero: yes",
      "  written and discarded, all zero again: yes",
      "  given back; the view of it has 0 bytes",
    ]);
    assertEquals(lines.slice(7), [
      "A toy heap",
      "  1 bytes: (+0, 64)",
      "  64 bytes: (+64, 64)",
      "  65 bytes: (+128, 128)",
      "  100000 bytes: (+256, 100032)",
      "  150000 bytes: (+100288, 150016)",
      "  Cannot reserve 20032 bytes: the buffer of 262144 bytes has 11840 free, the longest piece 11840",
    ]);
  });
});

describe("examples/stress_test.ts", () => {
  it("is valid after every step, for the steps, live blocks and sizes asked for", async () => {
    const lines = await linesOf("stress_test.ts", ["2500", "60", "12"]);
    assertEquals(lines[0], "2500 steps, about 60 live blocks of up to 4096 bytes");
    for (const [i, step] of [1024, 2048, 2500].entries()) {
      const [, objects] = new RegExp(`^${step}: (\\d+) objects, total size \\d+ bytes$`).exec(lines[2 + 2 * i]!)!;
      assert(Number(objects) > 10 && Number(objects) < 150, `${objects} objects`);
      assertMatch(
        lines[3 + 2 * i]!,
        /^ {2}\d+ empty blocks in allocator, total size \d+ bytes; \d+ allocations so far$/,
      );
    }
    assertMatch(lines[9]!, /^Everything is freed; 1\d{3} blocks were allocated, 0 overwritten by others$/);
    assertEquals(lines[10], "Valid: true (overlaps 0, adjacents 0, out of order 0)");
    assertMatch(lines[11]!, /^Stats: free list of length \d+, size \d+, all there is$/);
    assertEquals(lines.slice(12), ["Given back by trim(): all"]);
  });

  it("refuses arguments that are no numbers, or too large", async () => {
    for (const args of slow ? [["many"]] : [["many"], ["100", "0"], ["100", "10", "31"]]) {
      const { code, stdout, stderr } = await runFile("examples/stress_test.ts", { args, denoFlags: ["--no-prompt"] });
      assertEquals([code, stdout], [2, ""]);
      assertMatch(
        stderr,
        new RegExp(`^Cannot use ${args.at(-1)} as argument ${args.length}: it must be a whole number`),
      );
    }
  });
});

describe("examples/basic.ts", () => {
  it("requests three blocks, uses them, and draws the region until it is given back", async () => {
    const lines = await linesOf("basic.ts");
    const address = "Received this address: 0x...";
    assertEquals(lines.slice(0, 10), [
      "Requested 8 bytes of memory",
      address,
      "Requested 32 bytes of memory",
      address,
      "Requested 1000 bytes of memory",
      address,
      "",
      "The number is 1234",
      'The word is "native memory"',
      "The bytes sum up to 7000",
    ]);
    for (const block of ["Block 64", "Block 80", "Block 1040", "Free 1"]) assert(lines[14]!.includes(`| ${block} `));
    assertEquals(lines[19], "     free list: 1 at 1232");
    for (const block of ["Block 64", "Free 2", "Block 1040", "Free 1"]) assert(lines[24]!.includes(`| ${block} `));
    assertEquals(lines[29], "     free list: 1 at 1232 -> 2 at 112");
    assertEquals(lines.at(-1), "0 -> (no region)");
  });
});

describe("examples/global.ts", () => {
  it("has a box, a vector, a string, memory used again and merged, two threads and 1 MiB", async () => {
    const lines = await linesOf("global.ts", [], ["--allow-ffi", "--allow-read"]);
    assertEquals(lines, [
      "Box: 42 at 0x...",
      "Vec: length 1, capacity 18",
      "Vec: length 19, capacity 38",
      "Vec: [0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100, 121, 144, 169, 196, 225, 256, 289, 324, 361]",
      'String: "¡Hola, MemAlloc!", 17 bytes',
      "",
      "P1 was at 0x...; P2 is at 0x..., the same address",
      "Correctly reused at 0x...",
      "",
      "The first thread sums up to 50005000 in 1 block of its own",
      "The second thread sums up to 50005000 in 1 block of its own",
      "",
      "1 MiB at 0x..., in the only block of 1 region",
    ]);
  });
});

describe("examples/standalone.ts", () => {
  it(
    "allocates in three buckets, has a vector move through them, and disposes of a live block",
    { ignore: slow },
    async () => {
      const [, ...lines] = await linesOf("standalone.ts");
      assertEquals(lines, [
        "",
        "100 bytes at 0x..., in bucket 0",
        "1000 bytes at 0x..., in bucket 1",
        "10000 bytes at 0x..., in bucket 3",
        "Contents: intact",
        "Freed: 0 regions are left",
        "",
        "1 elements: bucket 0, at 0x...",
        "19 elements: bucket 1, at 0x...",
        "159 elements: bucket 2, at 0x...",
        "First 15: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14",
        "Last 15:  1009 1010 1011 1012 1013 1014 1015 1016 1017 1018 1019 1020 1021 1022 1023",
        "",
        "Disposed with a block still live: its view has 0 bytes",
      ]);
    },
  );
});

describe("examples/buckets.ts", () => {
  it(
    "puts blocks of each bucket in regions of their own, and moves one that changes bucket",
    { ignore: slow },
    async () => {
      const lines = await linesOf("buckets.ts");
      assertEquals(lines.slice(0, 5), [
        "Alloc of 8 bytes at 0x..., bucket 0",
        "Alloc of 16 bytes at 0x..., bucket 1",
        "Alloc of 24 bytes at 0x..., bucket 2",
        "Alloc of 32 bytes at 0x..., bucket 3",
        "At least 4 KiB apart: yes",
      ]);
      assertEquals(lines[6], "Another alloc of 8 bytes: 48 bytes behind the first");
      const titles = lines.filter((line) => line.startsWith("blocks of "));
      assertEquals(titles.map((line) => line.slice(10)), [
        "up to 8 bytes",
        "up to 16 bytes",
        "up to 24 bytes",
        "more than 24 bytes",
      ]);
      assertEquals(lines.slice(-2), [
        "Reallocated to 20 bytes: bucket 2, 48 bytes behind the block there",
        "50 more of 8 bytes: 0 more regions",
      ]);
    },
  );
});

describe("examples/aligned.ts", () => {
  it("has every alignment as asked, on all systems", { ignore: slow }, async () => {
    const lines = await linesOf("aligned.ts");
    assertEquals(
      lines.slice(1, 7),
      [16, 32, 1024].flatMap((alignment) => [
        `  Requested ${alignment + 1} bytes aligned to ${alignment}: 0x...`,
        `  Alignment check: 0x... % ${alignment} = 0`,
      ]),
    );
    assertEquals(lines.slice(9).map((line) => line.trim().split(/ {2,}/)), [
      ["basicalloc", "170 of 170"],
      ["rusty_malloc", "170 of 170"],
      ["MemAlloc", "170 of 170"],
      ["Rulloc", "170 of 170"],
      ["Heap", "170 of 170"],
    ]);
  });
});
