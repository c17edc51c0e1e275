/**
 * The demo, examples/replay.ts: what it prints, what it refuses, and that its verification finds every kind of fault that
 * it is there to find.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { afterAll, describe, it } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { BlockPattern, byteAt, seedOf } from "../examples/support/block_pattern.ts";
import { peakRecord, PlainReplay, VerificationError, VerifiedReplay } from "../examples/support/replayer.ts";
import { bar, formatBytes, formatCount, formatRatio, table } from "../examples/support/text.ts";
import { parseTrace, RECORD_BYTES, type Trace } from "../examples/support/trace.ts";
import { type Address, Heap } from "../mod.ts";
import { Prng } from "./support/prng.ts";
import { commandFor, isEmulated, isLinux, rootUrl, runFile, type RunResult } from "./support/runtime.ts";

type TraceRecord = readonly [op: number, id: number, size: number, align: number];

const [ALLOCATE, FREE, REALLOCATE, ZEROED, ALIGNED] = [0, 1, 2, 3, 4] as const;

function encode(records: readonly TraceRecord[]): Uint8Array {
  const bytes = new Uint8Array(records.length * RECORD_BYTES);
  const data = new DataView(bytes.buffer);
  records.forEach((record, i) => record.forEach((value, k) => data.setUint32(i * RECORD_BYTES + k * 4, value, true)));
  return bytes;
}

/** Every op code, small, large and huge blocks, a reallocation to 0 and from it, and a live rest. */
function mixedRecords(count: number): TraceRecord[] {
  const random = new Prng(7);
  const records: TraceRecord[] = [];
  const live: number[] = [];
  const empty: number[] = [];
  let slots = 0;
  for (let i = 0; i < count; i++) {
    const choice = random.below(100);
    const size = random.below(random.chance(2) ? 200_000 : 700);
    if (choice < 40 || live.length === 0) {
      const slot = empty.pop() ?? slots++;
      live.push(slot);
      if (choice < 5) records.push([ALIGNED, slot, size, 2 ** random.between(0, 13)]);
      else records.push([choice < 10 ? ZEROED : ALLOCATE, slot, size, 0]);
      continue;
    }
    const index = random.below(live.length);
    const slot = live[index]!;
    if (choice < 60) {
      records.push([REALLOCATE, slot, random.chance(3) ? 0 : size, 0]);
      continue;
    }
    live[index] = live[live.length - 1]!;
    live.pop();
    empty.push(slot);
    records.push([FREE, slot, 0, 0]);
  }
  const slot = empty.pop() ?? slots++;
  records.push([ALLOCATE, slot, 4_300_000, 0], [REALLOCATE, slot, 4_700_001, 0], [FREE, slot, 0, 0]);
  return records;
}

const directory = mkdtempSync(join(tmpdir(), "offheap-demo-"));
const written: string[] = [];

function write(name: string, bytes: Uint8Array): string {
  const file = join(directory, name);
  writeFileSync(file, bytes);
  written.push(file);
  return file;
}

function demo(...args: string[]): Promise<RunResult> {
  return runFile("examples/replay.ts", { args });
}

const mixed = write("mixed.trace", encode(mixedRecords(4000)));
// A process costs 15 seconds under an emulator: what is the same on every platform is left out there.
describe("demo", () => {
  afterAll(() => {
    // One by one, as a recursive `rmSync` fails in Bun under Wine.
    for (const file of written) unlinkSync(file);
    rmdirSync(directory);
  });

  it("replays both bundled traces, verified, and gives everything back", { ignore: isEmulated }, async () => {
    const { code, stdout, stderr } = await demo("--repeat", "1");
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    for (const [name, operations] of [["sqlite3", "600,000"], ["lua", "250,000"]] as const) {
      const from = stdout.indexOf(`\n${name}\n`);
      assert(from > 0, stdout);
      const report = stdout.slice(from, stdout.indexOf("everything went back", from));
      assertStringIncludes(report, `Operations        ${operations} = `);
      assertMatch(report, /Verified {10}every byte of [\d,]+ blocks, none wrong; heap\.check\(\) found no fault/);
      assertMatch(report, /Speed {11,}\d+\.\d million operations per second \(\d+ ns each; one replay/);
      assertMatch(report, /peak live +\d\.\d\d MiB +asked for, in [\d,]+ blocks/);
      assertMatch(report, /peak committed +\d+\.\d\d MiB +\d\.\d\d x/);
      assertMatch(report, /Blocks by size class\n +bytes +blocks +together +pages\n/);
      assertMatch(report, /Heap map\n.*large block.*\n +0x[0-9a-f]+ {2}\d+ MiB, 64 KiB each\n/);
      assertMatch(report, /reservations +0 of \d+ left, 0 B/);
      if (!isLinux) continue;
      assertMatch(report, /resident +\d\.\d\d MiB +\d\.\d\d x {2}overhead/);
      assertMatch(report, /mappings there +0 left of \d+/);
      assertMatch(report, /resident there +0 B of \d+\.\d\d MiB/);
      assertMatch(report, /whole process +\d+ mappings before, \d+ after/);
    }
    assertEquals(stdout.split("everything went back").length, 3);
  });

  it("replays the file of --trace, and prints no control characters when piped", async () => {
    const { code, stdout, stderr } = await demo("--trace", mixed, "--repeat", "2");
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    assertMatch(stdout, /\nmixed\n {2}Operations {8}4,003 = [\d,]+ allocate \([\d,]+ of them zeroed\)/);
    assertMatch(stdout, /median of 2 replays/);
    assertStringIncludes(stdout, "everything went back");
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]/.test(stdout), "control characters");
  });

  it("--no-verify writes nothing into blocks, and says so", { ignore: isEmulated }, async () => {
    const { code, stdout } = await demo("--trace", mixed, "--no-verify", "--repeat", "1");
    assertEquals(code, 0);
    assertStringIncludes(stdout, "nothing (--no-verify)");
    assert(!stdout.includes("while every byte is verified"));
    assertStringIncludes(stdout, "everything went back");
  });

  it("replays a trace without records", { ignore: isEmulated }, async () => {
    const { code, stdout, stderr } = await demo("--trace", write("empty.trace", new Uint8Array(0)));
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    assertStringIncludes(stdout, "everything went back");
  });

  it("a truncated trace is refused by the record at which it ends, without a stack", async () => {
    const file = write("cut.trace", encode(mixedRecords(10)).subarray(0, 5 * RECORD_BYTES + 3));
    const { code, stderr } = await demo("--trace", file);
    assertEquals(code, 1);
    assertEquals(
      stderr.trimEnd(),
      `Cannot read trace ${file}: record 5: cut off after 3 of its 16 bytes (a truncated file, or not a trace)`,
    );
  });

  it("a senseless record is refused by its number, without a stack", { ignore: isEmulated }, async () => {
    const file = write("bad.trace", encode([[ALLOCATE, 0, 8, 0], [FREE, 0, 0, 0], [FREE, 0, 0, 0]]));
    const { code, stderr } = await demo("--trace", file);
    assertEquals(code, 1);
    assertEquals(
      stderr.trimEnd(),
      `Cannot read trace ${file}: record 2: free of slot 0, whose block is already free`,
    );
  });

  it("a file that is not there is refused by its name, without a stack", { ignore: isEmulated }, async () => {
    const file = join(directory, "nowhere.trace");
    const { code, stderr } = await demo("--trace", file);
    assertEquals(code, 1);
    assertStringIncludes(stderr, `Cannot read trace ${file}: `);
    assertEquals(stderr.trimEnd().split("\n").length, 1);
  });

  for (
    const [args, message] of [
      [["--nope"], "Unknown option '--nope'"],
      [["some.trace"], "Unexpected argument 'some.trace'"],
      [["--repeat", "0"], "Cannot use '0' for --repeat: it must be a whole number from 1"],
      [["--repeat", "1.5"], "Cannot use '1.5' for --repeat"],
      [["--repeat", "many"], "Cannot use 'many' for --repeat"],
    ] as const
  ) {
    it(`${args.join(" ")} is a mistake that shows the options`, { ignore: isEmulated }, async () => {
      const { code, stdout, stderr } = await demo(...args);
      assertEquals({ code, stdout }, { code: 2, stdout: "" });
      assert(stderr.startsWith(message), stderr);
      assertStringIncludes(stderr, "--trace FILE");
      assert(!/\n\s+at /.test(stderr), stderr);
    });
  }

  it("--help shows the options and replays nothing", { ignore: isEmulated }, async () => {
    const { code, stdout, stderr } = await demo("--help");
    assertEquals({ code, stderr }, { code: 0, stderr: "" });
    for (const option of ["--trace FILE", "--verify", "--no-verify", "--repeat N", "--help"]) {
      assertStringIncludes(stdout, `\n  ${option} `);
    }
    assert(!stdout.includes("Offheap on"));
  });

  const terminal = isLinux && !isEmulated && spawnSync("script", ["--version"]).status === 0;

  it("draws a progress bar on a terminal, and takes it away", { ignore: !terminal }, () => {
    const [executable, args] = commandFor(fileURLToPath(new URL("examples/replay.ts", rootUrl)));
    const command = [executable, ...args, "--trace", mixed].map((part) => `'${part}'`).join(" ");
    const env = { ...process.env, TERM: "xterm", NO_COLOR: "1" };
    const { status, stdout } = spawnSync("script", ["-qec", command, "/dev/null"], { env, encoding: "utf8" });
    assertEquals(status, 0, stdout);
    const drawings = stdout.split("\r\x1b[K");
    assertMatch(drawings[1]!, /^ {2}mixed {6}[█▏▎▍▌▋▊▉]*░* +\d+ % {2}(verifying|timing)$/);
    const report = drawings.at(-1)!;
    assertStringIncludes(report, "Operations");
    assertStringIncludes(report, "everything went back");
  });
});

function mixedTrace(): Trace {
  return parseTrace("mixed.trace", encode(mixedRecords(4000)));
}

/** Replays all of `records` on `heap`, verified. */
function replayOn(heap: Heap, records: readonly TraceRecord[]): void {
  const replay = new VerifiedReplay(heap, parseTrace("t.trace", encode(records)));
  replay.replay(0, records.length);
  replay.drain();
}

/** A heap whose zeroed memory is not. */
class DirtyHeap extends Heap {
  override allocateZeroed(size: number): Address {
    const address = this.allocate(size);
    this.view(address).fill(0).fill(9, size - 1);
    return address;
  }
}

/** A heap that loses the last byte of what it moves. */
class ForgetfulHeap extends Heap {
  override reallocate(address: Address, size: number): Address {
    const old = this.view(address).length;
    const moved = super.reallocate(address, size);
    this.view(moved)[Math.min(old, size) - 1]! ^= 1;
    return moved;
  }
}

/** A heap that gives the same block to everybody. */
class GenerousHeap extends Heap {
  #block = 0;
  override allocate(size: number, alignment?: number): Address {
    return this.#block ||= super.allocate(size, alignment);
  }
}

/** A heap that knows no alignment but 16. */
class CrookedHeap extends Heap {
  override allocate(size: number, alignment?: number): Address {
    return super.allocate(size, alignment === 64 ? 128 : alignment) + (alignment === 64 ? 32 : 0);
  }
}

describe("VerifiedReplay", () => {
  it("finds nothing wrong with a Heap, which is empty afterwards", () => {
    using heap = new Heap();
    const trace = mixedTrace();
    const replay = new VerifiedReplay(heap, trace);
    for (let turn = 0; turn < 3; turn++) {
      replay.replay(0, 1000);
      replay.replay(1000, trace.records);
      assertEquals(heap.stats().liveBlocks, trace.endLiveBlocks);
      replay.drain();
      assertEquals(heap.stats().liveBlocks, 0);
      heap.check();
    }
    assert(replay.work.bytesVerified >= replay.work.bytesWritten);
  });

  it("finds one bit that changed in any byte of a live block, and names the records", () => {
    using heap = new Heap();
    for (const size of [1, 3, 4, 13, 100, 20_001]) {
      for (const at of new Set([0, size >> 1, size - 1])) {
        const records: TraceRecord[] = [[ALLOCATE, 0, 7, 0], [ALLOCATE, 1, size, 0], [FREE, 0, 0, 0], [FREE, 1, 0, 0]];
        const replay = new VerifiedReplay(heap, parseTrace("t.trace", encode(records)));
        replay.replay(0, 3);
        const [block] = [...heap.blocks()];
        heap.view(block!.address)[at]! ^= 0x40;
        const error = assertThrows(() => replay.replay(3, 4), VerificationError);
        assertEquals(error.record, 3);
        assertStringIncludes(error.message, `slot 1: byte ${at} of the block of ${size} bytes at 0x`);
        assertStringIncludes(error.message, "as record 1 left it");
        heap.free(block!.address);
      }
    }
  });

  it("finds fresh bytes that are not zero", () => {
    using heap = new DirtyHeap();
    const error = assertThrows(() => replayOn(heap, [[ZEROED, 0, 50, 0]]), VerificationError);
    assertStringIncludes(error.message, "byte 49 of 50 fresh ones");
  });

  it("finds a byte lost by a reallocation, growing and shrinking", () => {
    using heap = new ForgetfulHeap();
    for (const size of [5, 17, 5000]) {
      const records: TraceRecord[] = [[ALLOCATE, 0, 30, 0], [REALLOCATE, 0, size, 0]];
      const error = assertThrows(() => replayOn(heap, records), VerificationError);
      assertEquals(error.record, 1);
    }
  });

  it("finds a block that was given out twice", () => {
    using heap = new GenerousHeap();
    assertThrows(
      () => replayOn(heap, [[ALLOCATE, 0, 30, 0], [ALLOCATE, 1, 30, 0]]),
      VerificationError,
      "slot 0: byte 0",
    );
  });

  it("finds a block that is not aligned as it was asked for", () => {
    using heap = new CrookedHeap();
    assertThrows(() => replayOn(heap, [[ALIGNED, 0, 30, 64]]), VerificationError, "is not a multiple of 64");
  });
});

describe("PlainReplay", () => {
  it("leaves as many blocks as the trace does, and drain() frees them", () => {
    using heap = new Heap();
    const trace = mixedTrace();
    const replay = new PlainReplay(heap, trace);
    for (let turn = 0; turn < 2; turn++) {
      replay.replay(0, trace.records);
      assertEquals(heap.stats().liveBlocks, trace.endLiveBlocks);
      replay.drain();
      assertEquals(heap.stats().liveBlocks, 0);
    }
    heap.check();
  });
});

describe("peakRecord()", () => {
  it("peakRecord() names the first record after which most bytes are live", () => {
    const records: TraceRecord[] = [
      [ALLOCATE, 0, 10, 0],
      [REALLOCATE, 0, 100, 0],
      [REALLOCATE, 0, 0, 0],
      [ALLOCATE, 1, 99, 0],
      [ALLOCATE, 2, 1, 0],
      [FREE, 1, 0, 0],
    ];
    assertEquals(peakRecord(parseTrace("t.trace", encode(records))), 1);
    assertEquals(peakRecord(parseTrace("t.trace", new Uint8Array(0))), 0);
  });
});

describe("BlockPattern", () => {
  it("fill() in pieces gives the same bytes as fill() at once", () => {
    using heap = new Heap();
    const pattern = new BlockPattern(heap);
    const random = new Prng(3);
    for (let turn = 0; turn < 200; turn++) {
      const size = random.between(1, 90);
      const address = heap.allocate(size);
      const seed = seedOf(turn);
      for (let at = 0; at < size;) {
        const to = Math.min(size, at + random.below(9));
        pattern.fill(address, at, to, seed);
        at = to;
      }
      assertEquals([...heap.view(address)], Array.from({ length: size }, (_, at) => byteAt(seed, at)));
      assertEquals(pattern.findDifference(address, size, seed), -1);
      assert(pattern.findDifference(address, size, seedOf(turn + 1)) >= 0);
      if (turn % 3 === 0) heap.free(address);
    }
  });

  it("goes on after regions and huge blocks were given back", () => {
    using heap = new Heap();
    const pattern = new BlockPattern(heap);
    for (let turn = 0; turn < 6; turn++) {
      const size = turn % 2 === 0 ? 4_300_000 + turn * 4096 : 200_000;
      const blocks = Array.from({ length: 3 }, () => heap.allocate(size));
      blocks.forEach((address, n) => pattern.fill(address, 0, size, seedOf(n)));
      blocks.forEach((address, n) => assertEquals(pattern.findDifference(address, size, seedOf(n)), -1));
      for (const address of blocks) heap.free(address);
      heap.trim();
    }
  });
});

describe("text", () => {
  it("formatCount() and formatBytes() write numbers for people", () => {
    assertEquals([0, 999, 1000, 1234567].map(formatCount), ["0", "999", "1,000", "1,234,567"]);
    assertEquals([0, 1023, 1024, 1.5 * 2 ** 20, 2 ** 40].map(formatBytes), [
      "0 B",
      "1023 B",
      "1.00 KiB",
      "1.50 MiB",
      "1.00 TiB",
    ]);
    assertEquals([formatRatio(3, 2), formatRatio(1, 0)], ["1.50 x", "-"]);
  });

  it("bar() shows any share above 0, and no more than its width", () => {
    assertEquals([0, 1e-9, 0.5, 0.51, 1].map((share) => bar(share, 10)), ["", "▏", "█████", "█████▏", "██████████"]);
  });

  it("table() aligns its columns", () => {
    assertEquals(table([["a", "bb", ""], ["ccc", "d", "end"]]), ["      a  bb", "    ccc   d  end"]);
  });
});
