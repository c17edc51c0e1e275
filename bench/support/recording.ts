/**
 * What the recorder (bench/native/record.c) wrote, made into a trace: addresses become slots.
 *
 * ```text
 *  an event  byte 0       4        8               16              24              32
 *                 ├───────┼────────┼───────────────┼───────────────┼───────────────┤
 *                 │ op + 1│ align  │ size          │ old block     │ new block     │
 *                 └───────┴────────┴───────────────┴───────────────┴───────────────┘
 *  a record  op, slot, size, align: see examples/support/trace.ts
 * ```
 *
 * A block that was live before the recording began (a forked child has its parent's) is nobody's: freeing it is left out, and
 * moving it is an allocation.
 *
 * @module
 */
import {
  OP_ALLOCATE,
  OP_ALLOCATE_ALIGNED,
  OP_FREE,
  OP_REALLOCATE,
  RECORD_BYTES,
} from "../../examples/support/trace.ts";

/** Bytes of one event. */
export const EVENT_BYTES = 32;

/** A trace file's bytes, and what could not go into it. */
export interface RecordedTrace {
  /** Records, {@link RECORD_BYTES} each. */
  readonly bytes: Uint8Array;
  /** Events that were made of it. */
  readonly events: number;
  /** Those about blocks that were not seen made, or that are larger than a record can say (4 GiB). */
  readonly leftOut: number;
}

/** The largest size that a record can hold. */
const MAX_SIZE = 2 ** 32 - 1;

/** Makes a trace of a file of events, up to its end: the first event with op 0. */
export function toTrace(events: Uint8Array): RecordedTrace {
  const data = new DataView(events.buffer, events.byteOffset, events.byteLength);
  // An event may be two records: a free that was not seen comes before it.
  const records = new RecordWriter(2 * Math.floor(events.length / EVENT_BYTES));
  let leftOut = 0;
  let at = 0;
  for (; at + EVENT_BYTES <= events.length; at += EVENT_BYTES) {
    const code = data.getUint32(at, true);
    if (code === 0) break;
    const op = code - 1;
    const align = data.getUint32(at + 4, true);
    const size = Number(data.getBigUint64(at + 8, true));
    const old = Number(data.getBigUint64(at + 16, true));
    const block = Number(data.getBigUint64(at + 24, true));
    const known = old === 0 || records.has(old);
    if (size > MAX_SIZE) {
      if (old !== 0 && known) records.free(old);
      leftOut++;
    } else if (op === OP_FREE) {
      if (known) records.free(old);
      else leftOut++;
    } else if (op === OP_REALLOCATE && known) {
      records.reallocate(old, block, size);
    } else {
      // glibc's memalign rounds up what is not a power of two; the few programs that rely on it get no alignment here.
      const aligned = op === OP_ALLOCATE_ALIGNED && align > 0 && (align & (align - 1)) === 0;
      const plain = op === OP_REALLOCATE || op === OP_ALLOCATE_ALIGNED;
      records.allocate(plain && !aligned ? OP_ALLOCATE : op, block, size, aligned ? align : 0);
    }
  }
  return { bytes: records.bytes(), events: at / EVENT_BYTES, leftOut };
}

/** Appends records, and knows which slot each live address has. Slots are used again, the one freed last first. */
class RecordWriter {
  readonly #words: Uint32Array;
  #used = 0;
  readonly #slots = new Map<number, number>();
  readonly #empty: number[] = [];
  #slotCount = 0;

  constructor(capacity: number) {
    this.#words = new Uint32Array(capacity * (RECORD_BYTES / 4));
  }

  has(address: number): boolean {
    return this.#slots.has(address);
  }

  allocate(op: number, address: number, size: number, align: number): void {
    // Its free was not seen: made by what the recorder does not stand before.
    if (this.has(address)) this.free(address);
    const slot = this.#empty.pop() ?? this.#slotCount++;
    this.#slots.set(address, slot);
    this.#write(op, slot, size, align);
  }

  free(address: number): void {
    const slot = this.#slots.get(address)!;
    this.#slots.delete(address);
    this.#empty.push(slot);
    this.#write(OP_FREE, slot, 0, 0);
  }

  reallocate(from: number, to: number, size: number): void {
    if (to !== from && this.has(to)) this.free(to);
    const slot = this.#slots.get(from)!;
    this.#slots.delete(from);
    this.#slots.set(to, slot);
    this.#write(OP_REALLOCATE, slot, size, 0);
  }

  bytes(): Uint8Array {
    return new Uint8Array(this.#words.buffer, 0, this.#used * 4);
  }

  #write(op: number, slot: number, size: number, align: number): void {
    const words = this.#words;
    let at = this.#used;
    words[at++] = op;
    words[at++] = slot;
    words[at++] = size;
    words[at++] = align;
    this.#used = at;
  }
}
