/**
 * Cuts the bundled traces: the first records of longer recordings, small enough for the repository.
 *
 *     deno run --allow-read --allow-write bench/cut_trace.ts DIRECTORY [NAME RECORDS]
 *
 * DIRECTORY holds `NAME.trace.gz` files. Without NAME the cuts below are made; the results go to `examples/traces/`.
 * The records of a cut, and so the SHA-256 that is printed, depend on the recording alone; the gzip bytes also on the
 * runtime's zlib.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { parseTrace, readTrace, RECORD_BYTES } from "../examples/support/trace.ts";

/**
 * The bundled cuts. sqlite3: 600,000 records reach 2.1 MB of live bytes (the whole recording stays there). lua: 250,000
 * hold up to 6.3 MB in 51,000 blocks, with the frees of the collection cycles in between.
 */
const CUTS: readonly (readonly [name: string, records: number])[] = [["sqlite3", 600_000], ["lua", 250_000]];

function main(): void {
  const [directory, name, records] = process.argv.slice(2);
  if (directory === undefined || (name !== undefined && !(Number(records) > 0))) {
    console.error("usage: bench/cut_trace.ts DIRECTORY [NAME RECORDS]");
    process.exitCode = 2;
    return;
  }
  const target = fileURLToPath(new URL("../examples/traces/", import.meta.url));
  mkdirSync(target, { recursive: true });
  for (const [cut, count] of name === undefined ? CUTS : [[name, Number(records)] as const]) {
    const file = `${cut}.trace.gz`;
    const whole = gunzipSync(readFileSync(join(directory, file)));
    const bytes = whole.subarray(0, count * RECORD_BYTES);
    parseTrace(file, bytes);
    const packed = gzipSync(bytes, { level: 9 });
    writeFileSync(join(target, file), packed);
    const trace = readTrace(join(target, file));
    const hash = createHash("sha256").update(bytes).digest("hex");
    console.log(
      `${file}: ${trace.records} records, ${trace.slots} slots, peak ${trace.peakLiveBytes} bytes in ` +
        `${trace.peakLiveBlocks} blocks, ${trace.endLiveBlocks} live at the end, ${packed.length} bytes gzipped\n` +
        `  sha256 of the records ${hash}`,
    );
  }
}

main();
