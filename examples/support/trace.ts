/**
 * Reads recorded allocation traces: what a real program asked of its allocator, in order.
 *
 * A trace file is a sequence of records of four little-endian 32-bit numbers, gzipped when the file starts like a gzip
 * file (`NAME.trace.gz`), plain otherwise (`NAME.trace`):
 *
 * ```text
 *  byte  0        4        8        12       16
 *        ├────────┼────────┼────────┼────────┤
 *        │ op     │ id     │ size   │ align  │   one record
 *        └────────┴────────┴────────┴────────┘
 *  op    0 allocate   1 free   2 reallocate   3 allocate zeroed   4 allocate aligned
 *  id    slot number; 0, 3 and 4 fill an empty slot, 1 and 2 refer to the block in a full one
 *  size  bytes asked for (0 for op 1)
 *  align a power of two for op 4, else 0
 * ```
 *
 * Slot numbers are dense: a record may use the slots seen so far and the next one. A reallocation to 0 frees its block
 * and leaves the slot holding the null address: freeing or reallocating that, or filling the slot, are all right.
 *
 * Every record is verified on reading, so that a replay needs no checks of its own: whatever is wrong with a file
 * is a {@link TraceError} that names the file and, where there is one, the record.
 *
 * @module
 */
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { basename } from "node:path";
import { constants, gunzipSync, inflateRawSync } from "node:zlib";

/** Op code: allocate `size` bytes into slot `id`. */
export const OP_ALLOCATE = 0;
/** Op code: free the block in slot `id`. */
export const OP_FREE = 1;
/** Op code: reallocate the block in slot `id` to `size` bytes. */
export const OP_REALLOCATE = 2;
/** Op code: allocate `size` zeroed bytes into slot `id`. */
export const OP_ALLOCATE_ZEROED = 3;
/** Op code: allocate `size` bytes aligned to `align` into slot `id`. */
export const OP_ALLOCATE_ALIGNED = 4;

/** Bytes of one record in a file. */
export const RECORD_BYTES = 16;

/** Words of one record, in a file and in what {@link toRecords} returns. */
export const RECORD_WORDS = 4;

/** A trace in memory, one column per field, with the figures that a report wants. */
export interface Trace {
  /** The file's name without directory and endings: `"sqlite3"`. */
  readonly name: string;
  /** Count of records: the length of every column. */
  readonly records: number;
  /** What each record does: one of the `OP_` constants. */
  readonly op: Uint8Array;
  /** The slot of each record, below {@link slots}. */
  readonly id: Uint32Array;
  /** The bytes each record asks for. */
  readonly size: Uint32Array;
  /** The alignment each record asks for, 0 but for `OP_ALLOCATE_ALIGNED`. */
  readonly align: Uint32Array;
  /** Count of slots. */
  readonly slots: number;
  /** The most bytes that are live at one time, as asked for. */
  readonly peakLiveBytes: number;
  /** The most blocks that are live at one time. */
  readonly peakLiveBlocks: number;
  /** Blocks that are still live after the last record. */
  readonly endLiveBlocks: number;
  /** The largest size asked for. */
  readonly largestSize: number;
}

/** A trace file that cannot be used. */
export class TraceError extends Error {
  /** The file as it was named by the caller. */
  readonly file: string;
  /** The record that is wrong, counted from 0, or the count of whole records before the damage; else `undefined`. */
  readonly record: number | undefined;

  /** Makes the error; `problem` says what is the case. */
  constructor(file: string, record: number | undefined, problem: string, options?: ErrorOptions) {
    super(`Cannot read trace ${file}: ${record === undefined ? "" : `record ${record}: `}${problem}`, options);
    this.name = "TraceError";
    this.file = file;
    this.record = record;
  }
}

/** The columns while they are filled. */
interface Columns {
  readonly op: Uint8Array;
  readonly id: Uint32Array;
  readonly size: Uint32Array;
  readonly align: Uint32Array;
}

/** A plain file is read in pieces of this many bytes, so that a replay that watches RSS starts without a large garbage buffer. */
const CHUNK_BYTES = 1 << 16;

/** A slot's state during verification. */
const EMPTY = 0;
const FULL = 1;
/** Reallocated to 0 bytes: holds the null address. */
const NULL = 2;

/**
 * Reads and verifies a trace file, gzipped or plain.
 *
 * @throws {TraceError} When the file cannot be opened, is damaged, or holds a record that makes no sense.
 */
export function readTrace(file: string): Trace {
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch (error) {
    throw new TraceError(file, undefined, describe(error), { cause: error });
  }
  try {
    const magic = new Uint8Array(2);
    const found = readSync(descriptor, magic, 0, 2, 0);
    if (found === 2 && magic[0] === 0x1f && magic[1] === 0x8b) {
      return parseTrace(file, gunzip(file, readFileSync(file)));
    }
    if (file.endsWith(".gz")) throw new TraceError(file, undefined, "not a gzip file");
    const byteLength = fstatSync(descriptor).size;
    assertWholeRecords(file, byteLength);
    const columns = makeColumns(byteLength / RECORD_BYTES);
    const chunk = new Uint8Array(CHUNK_BYTES);
    for (let offset = 0; offset < byteLength;) {
      const count = readSync(descriptor, chunk, 0, Math.min(CHUNK_BYTES, byteLength - offset), offset);
      if (count % RECORD_BYTES !== 0 || count === 0) {
        throw new TraceError(file, Math.floor((offset + count) / RECORD_BYTES), "the file shrank while it was read");
      }
      decode(chunk.subarray(0, count), columns, offset / RECORD_BYTES);
      offset += count;
    }
    return verify(file, columns);
  } catch (error) {
    if (error instanceof TraceError) throw error;
    throw new TraceError(file, undefined, describe(error), { cause: error });
  } finally {
    closeSync(descriptor);
  }
}

/**
 * Verifies a trace that is in memory already, not gzipped. `file` is for messages and the trace's name.
 *
 * @throws {TraceError} As {@link readTrace}.
 */
export function parseTrace(file: string, bytes: Uint8Array): Trace {
  assertWholeRecords(file, bytes.length);
  const columns = makeColumns(bytes.length / RECORD_BYTES);
  decode(bytes, columns, 0);
  return verify(file, columns);
}

/** `"sqlite3"` for `"some/where/sqlite3.trace.gz"`. */
export function traceName(file: string): string {
  return basename(file).replace(/(\.trace)?(\.gz)?$/, "");
}

function gunzip(file: string, bytes: Uint8Array): Uint8Array {
  try {
    return gunzipSync(bytes);
  } catch (error) {
    // A truncated stream still yields what came before the cut; say how much that is.
    const truncated = attempt(() => gunzipSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }));
    if (truncated !== undefined) {
      const records = Math.floor(truncated.length / RECORD_BYTES);
      throw new TraceError(file, records, "the gzip stream ends here, inside the file's data (a truncated file)", {
        cause: error,
      });
    }
    // A damaged one may still inflate, only to fail its checksum: then the first senseless record is worth naming.
    const damaged = attempt(() => inflateRawSync(bytes.subarray(10), { finishFlush: constants.Z_SYNC_FLUSH }));
    if (damaged !== undefined) {
      parseTrace(file, damaged.subarray(0, damaged.length - (damaged.length % RECORD_BYTES)));
    }
    throw new TraceError(file, undefined, `the gzip stream is damaged (${describe(error)})`, { cause: error });
  }
}

function attempt(action: () => Uint8Array): Uint8Array | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

function assertWholeRecords(file: string, byteLength: number): void {
  const rest = byteLength % RECORD_BYTES;
  if (rest === 0) return;
  throw new TraceError(
    file,
    (byteLength - rest) / RECORD_BYTES,
    `cut off after ${rest} of its ${RECORD_BYTES} bytes (a truncated file, or not a trace)`,
  );
}

function makeColumns(records: number): Columns {
  return {
    op: new Uint8Array(records),
    id: new Uint32Array(records),
    size: new Uint32Array(records),
    align: new Uint32Array(records),
  };
}

/**
 * The records one after the other, four words each, as in a file: the form for a fast loop, which has one array to look
 * at instead of four. Signed where no size needs the 32nd bit: engines then need not check small ones for overflow.
 */
export function toRecords({ records, op, id, size, align, largestSize }: Trace): Int32Array | Uint32Array {
  const words = largestSize < 2 ** 31
    ? new Int32Array(records * RECORD_WORDS)
    : new Uint32Array(records * RECORD_WORDS);
  for (let record = 0, at = 0; record < records; record++, at += RECORD_WORDS) {
    words[at] = op[record]!;
    words[at + 1] = id[record]!;
    words[at + 2] = size[record]!;
    words[at + 3] = align[record]!;
  }
  return words;
}

/** Splits `bytes` into `columns` from record `at` on. An op code beyond 255 is kept as 255, which is as unknown. */
function decode(bytes: Uint8Array, columns: Columns, at: number): void {
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { op, id, size, align } = columns;
  for (let offset = 0; offset < bytes.length; offset += RECORD_BYTES) {
    op[at] = Math.min(data.getUint32(offset, true), 255);
    id[at] = data.getUint32(offset + 4, true);
    size[at] = data.getUint32(offset + 8, true);
    align[at] = data.getUint32(offset + 12, true);
    at++;
  }
}

function verify(file: string, columns: Columns): Trace {
  const { op, id, size, align } = columns;
  const records = op.length;
  // Dense slot numbers: there can be no more slots than records, so a wild id cannot make this large.
  const state = new Uint8Array(records);
  const sizes = new Uint32Array(records);
  let slots = 0;
  let liveBytes = 0;
  let peakLiveBytes = 0;
  let liveBlocks = 0;
  let peakLiveBlocks = 0;
  let largestSize = 0;
  for (let i = 0; i < records; i++) {
    const code = op[i]!;
    const slot = id[i]!;
    const bytes = size[i]!;
    if (code > OP_ALLOCATE_ALIGNED) {
      throw new TraceError(file, i, `unknown op code ${code === 255 ? "above 254" : code}; 0 to 4 are known`);
    }
    if (code === OP_ALLOCATE_ALIGNED) {
      const alignment = align[i]!;
      if (alignment === 0 || (alignment & (alignment - 1)) !== 0) {
        throw new TraceError(file, i, `alignment ${alignment} is not a power of two`);
      }
    } else if (align[i] !== 0) {
      throw new TraceError(file, i, `alignment ${align[i]} on op code ${code}, which has none`);
    }
    if (code === OP_FREE || code === OP_REALLOCATE) {
      const verb = code === OP_FREE ? "free" : "reallocation";
      if (slot >= slots) throw new TraceError(file, i, `${verb} of slot ${slot}, which was never filled`);
      if (state[slot] === EMPTY) throw new TraceError(file, i, `${verb} of slot ${slot}, whose block is already free`);
      if (code === OP_FREE && bytes !== 0) throw new TraceError(file, i, `a free with a size (${bytes})`);
    } else {
      if (slot > slots) {
        throw new TraceError(file, i, `slot ${slot} skips some: slot numbers are dense, and ${slots} comes next`);
      }
      if (slot === slots) slots++;
      if (state[slot] === FULL) {
        throw new TraceError(file, i, `allocation into slot ${slot}, whose block is still live`);
      }
    }
    const before = state[slot] === FULL ? 1 : 0;
    const after = code === OP_FREE || (code === OP_REALLOCATE && bytes === 0) ? 0 : 1;
    liveBytes += bytes - sizes[slot]!;
    liveBlocks += after - before;
    sizes[slot] = bytes;
    state[slot] = after === 1 ? FULL : code === OP_FREE ? EMPTY : NULL;
    if (liveBytes > peakLiveBytes) peakLiveBytes = liveBytes;
    if (liveBlocks > peakLiveBlocks) peakLiveBlocks = liveBlocks;
    if (bytes > largestSize) largestSize = bytes;
  }
  return {
    name: traceName(file),
    records,
    op,
    id,
    size,
    align,
    slots,
    peakLiveBytes,
    peakLiveBlocks,
    endLiveBlocks: liveBlocks,
    largestSize,
  };
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
