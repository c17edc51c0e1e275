/**
 * The program that says what a heap's resident memory is: that it leaves nothing out, and counts what is there.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { cannotMeasure, runBench } from "./support/bench.ts";

/** What the program prints of one moment. */
interface Report {
  readonly moment: string;
  readonly record: number;
  readonly peakLiveBytes: number;
  readonly resident: number;
  readonly parts: { readonly [part: string]: number };
  readonly classes: readonly { readonly size: number; readonly pages: number; readonly free: number }[];
}

const ALLOCATE = 0;
const FREE = 1;

async function breakDown(records: readonly (readonly number[])[]): Promise<Report[]> {
  const directory = mkdtempSync(join(tmpdir(), "offheap-"));
  try {
    const file = join(directory, "made.trace.gz");
    const words = Uint32Array.from(records.flatMap(([op = 0, id = 0, size = 0]) => [op, id, size, 0]));
    writeFileSync(file, gzipSync(new Uint8Array(words.buffer)));
    const stdout = await runBench("memory.ts", ["--json", "--step", "16", file]);
    return stdout.trim().split("\n").map((line) => JSON.parse(line) as Report);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe("bench/memory.ts", { ignore: cannotMeasure }, () => {
  it("finds both moments, and says of every resident byte what it is", async () => {
    // 64 slots of 1 KiB, of which 63 of 1,000 bytes are freed; then a run of 1 MiB and half an OS page.
    const records = [
      ...Array.from({ length: 64 }, (_, id) => [ALLOCATE, id, 1000]),
      ...Array.from({ length: 63 }, (_, id) => [FREE, id]),
      [ALLOCATE, 64, 2 ** 20 + 2048],
      [FREE, 64],
      [ALLOCATE, 65, 100],
    ];
    const [live, resident] = await breakDown(records);
    assertEquals([live?.moment, live?.record, resident?.moment], ["live", 128, "resident"]);
    for (const { parts, resident: total } of [live!, resident!]) {
      assertEquals(Object.values(parts).reduce((sum, bytes) => sum + bytes, 0), total);
      assert(parts["tables"]! > 0 && parts["tables"]! % 4096 === 0, `${parts["tables"]} bytes of tables`);
    }
    const { parts, classes, peakLiveBytes } = live!;
    assertEquals(peakLiveBytes, 2 ** 20 + 2048 + 1000);
    assertEquals([parts["live"], parts["slots"], parts["ends"]], [peakLiveBytes, 24, 2048]);
    assertEquals([parts["idle"], parts["runs"]], [0, 0]);
    const page = classes.find(({ size }) => size === 1024);
    assertEquals(page?.pages, 1);
    assertEquals(page?.free, parts["free"]);
    assert(parts["free"]! <= 63 * 1024, `${parts["free"]} bytes of free slots`);
  });

  it("prints a table, in shares of the most that is live", async () => {
    const stdout = await runBench("memory.ts", ["--classes", "examples/traces/sqlite3.trace.gz"]);
    assertMatch(stdout, /^Most live:\n\n\| trace .*\n.*\n\| sqlite3 +\| +2\.0 MiB \| +1\.\d{3} \| 1\.000 \|/m);
    assertMatch(stdout, /^\| class \| pages/m);
  });
});
