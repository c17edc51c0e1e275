/**
 * The recorder of `bench/record.ts`: that a trace has what a program did, whatever the program does with threads, children
 * and ends.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EVENT_BYTES, toTrace } from "../bench/support/recording.ts";
import {
  OP_ALLOCATE,
  OP_ALLOCATE_ALIGNED,
  OP_ALLOCATE_ZEROED,
  OP_FREE,
  OP_REALLOCATE,
  parseTrace,
  readTrace,
  type Trace,
} from "../examples/support/trace.ts";
import { cannotMeasure } from "./support/bench.ts";
import { isEmulated, runFile } from "./support/runtime.ts";

/** It is a program in C for this machine's own processor and libc, whatever runs the tests. */
const cannotRecord = cannotMeasure || isEmulated || spawnSync("cc", ["--version"]).status !== 0;

interface Event {
  readonly op: number;
  readonly size?: number;
  readonly align?: number;
  readonly old?: number;
  readonly block?: number;
}

function toEvents(events: readonly Event[], spare = 0): Uint8Array {
  const data = new DataView(new ArrayBuffer((events.length + spare) * EVENT_BYTES));
  for (const [index, { op, size = 0, align = 0, old = 0, block = 0 }] of events.entries()) {
    const at = index * EVENT_BYTES;
    data.setUint32(at, op + 1, true);
    data.setUint32(at + 4, align, true);
    data.setBigUint64(at + 8, BigInt(size), true);
    data.setBigUint64(at + 16, BigInt(old), true);
    data.setBigUint64(at + 24, BigInt(block), true);
  }
  return new Uint8Array(data.buffer);
}

/** The records of a trace, `[op, slot, size, align]` each. */
function rowsOf({ records, op, id, size, align }: Trace): number[][] {
  return Array.from({ length: records }, (_, i) => [op[i]!, id[i]!, size[i]!, align[i]!]);
}

function convert(events: readonly Event[], spare = 0): { rows: number[][]; leftOut: number } {
  const { bytes, leftOut } = toTrace(toEvents(events, spare));
  return { rows: rowsOf(parseTrace("test", bytes)), leftOut };
}

describe("bench toTrace()", () => {
  it("gives each live block a slot, the one freed last first", () => {
    const { rows, leftOut } = convert([
      { op: OP_ALLOCATE, size: 10, block: 0x1000 },
      { op: OP_ALLOCATE_ZEROED, size: 20, block: 0x2000 },
      { op: OP_FREE, old: 0x1000 },
      { op: OP_ALLOCATE_ALIGNED, size: 30, align: 64, block: 0x3000 },
      { op: OP_REALLOCATE, size: 40, old: 0x2000, block: 0x4000 },
      { op: OP_REALLOCATE, size: 50, old: 0x4000, block: 0x4000 },
      { op: OP_FREE, old: 0x4000 },
    ], 3);
    assertEquals(rows, [
      [OP_ALLOCATE, 0, 10, 0],
      [OP_ALLOCATE_ZEROED, 1, 20, 0],
      [OP_FREE, 0, 0, 0],
      [OP_ALLOCATE_ALIGNED, 0, 30, 64],
      [OP_REALLOCATE, 1, 40, 0],
      [OP_REALLOCATE, 1, 50, 0],
      [OP_FREE, 1, 0, 0],
    ]);
    assertEquals(leftOut, 0);
  });

  it("leaves out frees of blocks that were not seen made, and takes their moves for allocations", () => {
    const { rows, leftOut } = convert([
      { op: OP_FREE, old: 0x1000 },
      { op: OP_REALLOCATE, size: 40, old: 0x2000, block: 0x3000 },
      { op: OP_FREE, old: 0x3000 },
    ]);
    assertEquals(rows, [[OP_ALLOCATE, 0, 40, 0], [OP_FREE, 0, 0, 0]]);
    assertEquals(leftOut, 1);
  });

  it("frees a block whose address is given out again: its free was not seen", () => {
    const { rows } = convert([
      { op: OP_ALLOCATE, size: 10, block: 0x1000 },
      { op: OP_ALLOCATE, size: 20, block: 0x1000 },
      { op: OP_ALLOCATE, size: 30, block: 0x2000 },
      { op: OP_REALLOCATE, size: 40, old: 0x1000, block: 0x2000 },
    ]);
    assertEquals(rows, [
      [OP_ALLOCATE, 0, 10, 0],
      [OP_FREE, 0, 0, 0],
      [OP_ALLOCATE, 0, 20, 0],
      [OP_ALLOCATE, 1, 30, 0],
      [OP_FREE, 1, 0, 0],
      [OP_REALLOCATE, 0, 40, 0],
    ]);
  });

  it("leaves out blocks of 4 GiB, also one that a block grows to", () => {
    const { rows, leftOut } = convert([
      { op: OP_ALLOCATE, size: 2 ** 32, block: 0x1000 },
      { op: OP_ALLOCATE, size: 2 ** 32 - 1, block: 0x9000 },
      { op: OP_REALLOCATE, size: 2 ** 33, old: 0x9000, block: 0x8000 },
      { op: OP_FREE, old: 0x8000 },
    ]);
    assertEquals(rows, [[OP_ALLOCATE, 0, 2 ** 32 - 1, 0], [OP_FREE, 0, 0, 0]]);
    assertEquals(leftOut, 3);
  });

  it("makes a plain allocation of one whose alignment is no power of two", () => {
    assertEquals(convert([{ op: OP_ALLOCATE_ALIGNED, size: 8, align: 48, block: 0x1000 }]).rows, [[
      OP_ALLOCATE,
      0,
      8,
      0,
    ]]);
  });
});

describe("bench record.ts", { ignore: cannotRecord }, () => {
  async function record(options: readonly string[], command: readonly string[]) {
    const output = mkdtempSync(join(tmpdir(), "offheap-record-"));
    try {
      const args = ["--output", output, "--name", "made", ...options, "--", ...command];
      const result = await runFile("bench/record.ts", { args });
      const trace = result.stderr.includes(".trace.gz:") ? readTrace(join(output, "made.trace.gz")) : undefined;
      return { ...result, trace };
    } finally {
      rmSync(output, { recursive: true });
    }
  }

  /** Compiles tests/fixtures/recorded.c for the length of one test. */
  async function withProgram(test: (program: string) => Promise<void>): Promise<void> {
    const directory = mkdtempSync(join(tmpdir(), "offheap-recorded-"));
    try {
      const program = join(directory, "recorded");
      const source = fileURLToPath(new URL("./fixtures/recorded.c", import.meta.url));
      const built = spawnSync("cc", ["-O0", "-fno-builtin", "-pthread", "-o", program, source], { encoding: "utf8" });
      assertEquals(built.status, 0, built.stderr);
      await test(program);
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  it("has every call of the program in its order, although it ends without leave", () =>
    withProgram(async (program) => {
      const { code, trace } = await record([], [program, "calls"]);
      assertEquals(code, 7);
      const rows = rowsOf(trace!);
      const first = rows.findIndex(([, , size]) => size === 1_000_001);
      assertEquals(rows.slice(first).map(([op, , size, align]) => [op, size, align]), [
        [OP_ALLOCATE, 1_000_001, 0],
        [OP_ALLOCATE_ZEROED, 1_000_002, 0],
        [OP_REALLOCATE, 1_000_003, 0],
        [OP_ALLOCATE, 1_000_004, 0],
        [OP_ALLOCATE_ALIGNED, 1_000_005, 64],
        [OP_ALLOCATE_ALIGNED, 1_000_064, 128],
        [OP_FREE, 0, 0],
        [OP_FREE, 0, 0],
      ]);
    }));

  it("of threads that pass blocks to each other no block is live twice", () =>
    withProgram(async (program) => {
      const { code, stderr, trace } = await record([], [program, "threads"]);
      assertEquals(code, 0);
      // 4 threads, 20,000 blocks each: reading the trace verifies it. None is left out or made up.
      const sizes = rowsOf(trace!).filter(([op, , size]) => op !== OP_FREE && size! >= 3_000);
      assertEquals(sizes.length, 80_000, stderr);
      assert(!stderr.includes("left out"), stderr);
    }));

  it("a forked child has a trace of its own", () =>
    withProgram(async (program) => {
      const parent = await record([], [program, "fork"]);
      const child = await record(["--process", "2"], [program, "fork"]);
      const largest = ({ trace }: { trace: Trace | undefined }) => trace!.largestSize;
      assertEquals([largest(parent), largest(child)], [2_000_001, 2_000_002]);
      assertMatch(child.stderr, /process 2 of 2, by events/);
    }));

  it("the program has its files and descriptors to itself", () =>
    withProgram(async (program) => {
      const { code, trace } = await record([], [program, "files"]);
      assertEquals(code, 0);
      assert(trace!.records >= 200_000, `${trace!.records}`);
    }));

  it("stops after so many events, and the program goes on", () =>
    withProgram(async (program) => {
      const { code, stderr, trace } = await record(["--records", "1000"], [program, "threads"]);
      assertEquals(code, 0);
      assertEquals(trace!.records, 1000);
      assertMatch(stderr, /recording stopped there/);
    }));

  it("says what is wrong: no program, one that is not there, nothing to record, fewer processes", async () => {
    for (const args of [["--name", "x"], ["--nme", "x", "ls"], ["--name", "a/b", "ls"], ["--records", "0", "ls"]]) {
      const { code, stderr } = await runFile("bench/record.ts", { args });
      assertEquals(code, 2, args.join(" "));
      assertMatch(stderr, /^usage: /);
    }
    const unwritable = await runFile("bench/record.ts", { args: ["--output", "/dev/null", "--", "ls"] });
    assertEquals([unwritable.code, unwritable.stdout], [1, ""]);
    assertMatch(unwritable.stderr, /^record: cannot write to \/dev\/null/);
    const missing = await record([], ["/no/such/program"]);
    assertEquals(missing.code, 1);
    assertMatch(missing.stderr, /record: cannot run \/no\/such\/program/);
    const none = await record([], ["true"]);
    assertEquals(none.code, 1);
    assertMatch(none.stderr, /record: nothing was recorded/);
    const fewer = await record(["--process", "9"], ["ls"]);
    assertEquals(fewer.code, 1);
    assertMatch(fewer.stderr, /there is no process 9: 1 were recorded/);
  });
});
