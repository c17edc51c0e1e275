/**
 * Reading traces (examples/support/trace.ts): the columns and figures of good ones, what is said of bad ones, and that the
 * bundled ones are whole.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { afterAll, describe, it } from "@std/testing/bdd";
import { mkdtempSync, readdirSync, readFileSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { parseTrace, readTrace, RECORD_BYTES, TraceError, traceName } from "../examples/support/trace.ts";

type TraceRecord = readonly [op: number, id: number, size: number, align: number];

function encode(records: readonly TraceRecord[]): Uint8Array {
  const bytes = new Uint8Array(records.length * RECORD_BYTES);
  const data = new DataView(bytes.buffer);
  records.forEach((record, i) => record.forEach((value, k) => data.setUint32(i * RECORD_BYTES + k * 4, value, true)));
  return bytes;
}

/** A valid trace that uses every op code, a slot twice, and a reallocation to 0. */
const GOOD: readonly TraceRecord[] = [
  [0, 0, 100, 0],
  [3, 1, 50, 0],
  [4, 2, 200, 64],
  [2, 1, 500, 0],
  [1, 0, 0, 0],
  [0, 0, 0, 0],
  [2, 2, 0, 0],
  [1, 2, 0, 0],
  [0, 3, 1, 0],
];

/** `count` allocations and frees, alternating: compressible, and long enough to be cut in the middle. */
function alternating(count: number): Uint8Array {
  const records: TraceRecord[] = [];
  for (let i = 0; i < count; i++) records.push(i % 2 === 0 ? [0, 0, (i * 7919) % 5000, 0] : [1, 0, 0, 0]);
  return encode(records);
}

const directory = mkdtempSync(join(tmpdir(), "offheap-trace-"));

function write(name: string, bytes: Uint8Array): string {
  const file = join(directory, name);
  writeFileSync(file, bytes);
  return file;
}

function traceErrorOf(file: string): TraceError {
  const error = assertThrows(() => readTrace(file), TraceError);
  assertEquals(error.file, file);
  assertStringIncludes(error.message, file);
  return error;
}

function assertRejected(records: readonly TraceRecord[], record: number, problem: string): void {
  const error = assertThrows(() => parseTrace("bad.trace", encode(records)), TraceError, problem);
  assertEquals(error.record, record);
  assertStringIncludes(error.message, `bad.trace: record ${record}:`);
}

describe("readTrace()", () => {
  afterAll(() => {
    // One by one: a recursive removal fails with EFAULT in Bun for Windows under Wine.
    for (const file of readdirSync(directory)) unlinkSync(join(directory, file));
    rmdirSync(directory);
  });

  it("readTrace() reads the columns of a gzipped trace", () => {
    const trace = readTrace(write("good.trace.gz", gzipSync(encode(GOOD))));
    assertEquals(trace.name, "good");
    assertEquals(trace.records, GOOD.length);
    assertEquals([...trace.op], GOOD.map((record) => record[0]));
    assertEquals([...trace.id], GOOD.map((record) => record[1]));
    assertEquals([...trace.size], GOOD.map((record) => record[2]));
    assertEquals([...trace.align], GOOD.map((record) => record[3]));
  });

  it("readTrace() sums up slots, peaks and what is live at the end", () => {
    const trace = readTrace(write("summary.trace.gz", gzipSync(encode(GOOD))));
    assertEquals(trace.slots, 4);
    assertEquals(trace.peakLiveBytes, 800);
    assertEquals(trace.peakLiveBlocks, 3);
    assertEquals(trace.endLiveBlocks, 3);
    assertEquals(trace.largestSize, 500);
  });

  it("readTrace() reads a plain file, also one longer than its chunks", () => {
    const bytes = alternating(20_000);
    const plain = readTrace(write("plain.trace", bytes));
    const packed = readTrace(write("plain.trace.gz", gzipSync(bytes)));
    assertEquals(plain, packed);
    assertEquals(plain.records, 20_000);
  });

  it("readTrace() reads an empty trace", () => {
    const trace = readTrace(write("empty.trace.gz", gzipSync(new Uint8Array(0))));
    assertEquals([trace.records, trace.slots, trace.peakLiveBytes], [0, 0, 0]);
  });

  it("readTrace() keeps sizes of 2 GiB and more", () => {
    const trace = parseTrace("large", encode([[0, 0, 0xffff_ffff, 0], [0, 1, 0xffff_ffff, 0]]));
    assertEquals(trace.peakLiveBytes, 2 * 0xffff_ffff);
  });

  it("readTrace() names a file that is not there", () => {
    assertEquals(traceErrorOf(join(directory, "nowhere.trace.gz")).record, undefined);
  });

  it("readTrace() names a directory given as a file", () => {
    traceErrorOf(directory);
  });

  it("readTrace() rejects a .gz file that is not gzip", () => {
    const error = traceErrorOf(write("text.trace.gz", new TextEncoder().encode("op,id,size,align\n")));
    assertStringIncludes(error.message, "not a gzip file");
  });

  it("readTrace() names the record where a truncated gzip file ends", () => {
    const packed = gzipSync(alternating(10_000));
    const error = traceErrorOf(write("cut.trace.gz", packed.subarray(0, packed.length >> 1)));
    assertStringIncludes(error.message, "truncated");
    assert(error.record !== undefined && error.record > 0 && error.record < 10_000, `record ${error.record}`);
  });

  it("readTrace() rejects a gzip file cut inside its header", () => {
    traceErrorOf(write("header.trace.gz", gzipSync(encode(GOOD)).subarray(0, 6)));
  });

  it("readTrace() rejects a gzip file with a wrong checksum", () => {
    const packed = Uint8Array.from(gzipSync(encode(GOOD)));
    packed[packed.length - 8]! ^= 1;
    assertStringIncludes(traceErrorOf(write("checksum.trace.gz", packed)).message, "damaged");
  });

  it("readTrace() names the first senseless record of a damaged gzip file that still inflates", () => {
    const bytes = encode(GOOD);
    const stored = Uint8Array.from(gzipSync(bytes, { level: 0 }));
    // Level 0 stores the bytes as they are, after a 10-byte gzip header and a 5-byte block header.
    const at = stored.length - 8 - bytes.length;
    stored[at + 3 * RECORD_BYTES] = 9;
    const error = traceErrorOf(write("flipped.trace.gz", stored));
    assertEquals(error.record, 3);
    assertStringIncludes(error.message, "unknown op code 9");
  });

  it("readTrace() rejects a length that is no multiple of 16 bytes and names the record", () => {
    const bytes = encode(GOOD);
    const plain = traceErrorOf(write("odd.trace", bytes.subarray(0, bytes.length - 3)));
    assertEquals(plain.record, GOOD.length - 1);
    assertStringIncludes(plain.message, "cut off after 13 of its 16 bytes");
    assertEquals(traceErrorOf(write("odd.trace.gz", gzipSync(bytes.subarray(0, 21)))).record, 1);
  });
});

describe("parseTrace()", () => {
  it("parseTrace() rejects an unknown op code", () => {
    assertRejected([[0, 0, 8, 0], [5, 1, 8, 0]], 1, "unknown op code 5");
    assertRejected([[256, 0, 8, 0]], 0, "unknown op code");
    assertRejected([[0xffff_ffff, 0, 8, 0]], 0, "unknown op code");
  });

  it("parseTrace() rejects an allocation into a live slot", () => {
    assertRejected([[0, 0, 8, 0], [0, 0, 8, 0]], 1, "still live");
    assertRejected([[0, 0, 8, 0], [2, 0, 9, 0], [3, 0, 8, 0]], 2, "still live");
  });

  it("parseTrace() rejects a free of a dead slot", () => {
    assertRejected([[0, 0, 8, 0], [1, 0, 0, 0], [1, 0, 0, 0]], 2, "free of slot 0, whose block is already free");
    assertRejected([[0, 0, 8, 0], [1, 1, 0, 0]], 1, "never filled");
  });

  it("parseTrace() rejects a reallocation of a dead slot", () => {
    assertRejected([[0, 0, 8, 0], [1, 0, 0, 0], [2, 0, 9, 0]], 2, "reallocation of slot 0");
    assertRejected([[2, 0, 9, 0]], 0, "never filled");
  });

  it("parseTrace() rejects a slot number that is not dense", () => {
    assertRejected([[0, 0, 8, 0], [0, 0xffff_ffff, 8, 0]], 1, "dense");
  });

  it("parseTrace() rejects an alignment that is no power of two, or that has no business there", () => {
    assertRejected([[4, 0, 8, 0]], 0, "alignment 0");
    assertRejected([[4, 0, 8, 24]], 0, "alignment 24");
    assertRejected([[0, 0, 8, 16]], 0, "alignment 16");
  });

  it("parseTrace() rejects a free with a size", () => {
    assertRejected([[0, 0, 8, 0], [1, 0, 8, 0]], 1, "a free with a size");
  });

  it("parseTrace() takes a slot after a reallocation to 0 as freed, and as freeable", () => {
    assertEquals(parseTrace("null", encode([[0, 0, 8, 0], [2, 0, 0, 0], [0, 0, 4, 0]])).endLiveBlocks, 1);
    assertEquals(parseTrace("null", encode([[0, 0, 8, 0], [2, 0, 0, 0], [2, 0, 4, 0]])).endLiveBlocks, 1);
    assertEquals(parseTrace("null", encode([[0, 0, 8, 0], [2, 0, 0, 0], [1, 0, 0, 0]])).endLiveBlocks, 0);
    assertRejected([[0, 0, 8, 0], [2, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], 3, "already free");
  });

  it("parseTrace() reads from a view at any offset", () => {
    const bytes = new Uint8Array(3 + GOOD.length * RECORD_BYTES);
    bytes.set(encode(GOOD), 3);
    assertEquals(parseTrace("offset", bytes.subarray(3)).peakLiveBytes, 800);
  });
});

describe("traceName()", () => {
  it("traceName() drops the directory and the endings", () => {
    assertEquals(
      ["a/b/lua.trace.gz", "lua.trace", "lua"].map(traceName),
      ["lua", "lua", "lua"],
    );
  });
});

describe("the bundled traces", () => {
  for (const [name, records] of [["sqlite3", 600_000], ["lua", 250_000]] as const) {
    it(`${name}.trace.gz is whole, has ${records} records and more than 1 MiB live`, () => {
      const file = fileURLToPath(new URL(`../examples/traces/${name}.trace.gz`, import.meta.url));
      const trace = readTrace(file);
      assertEquals(trace.name, name);
      assertEquals(trace.records, records);
      assert(trace.peakLiveBytes > 2 ** 20);
      assert(readFileSync(file).length < 700_000);
    });
  }
});
