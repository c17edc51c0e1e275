/**
 * Replays a trace on an allocator: once with every byte of every block verified, or as fast as it goes.
 *
 * Both loops do some thousand records per call: one loop of millions of turns can stay in JavaScriptCore's interpreter
 * after a failed entry into optimised code, and the caller gets to draw a progress bar in between.
 *
 * @module
 */
import type { Address, Allocator } from "../../mod.ts";
import { BlockPattern, byteAt, seedOf } from "./block_pattern.ts";
import { makeReplay } from "./replay_loop.ts";
import {
  OP_ALLOCATE,
  OP_ALLOCATE_ALIGNED,
  OP_ALLOCATE_ZEROED,
  OP_FREE,
  OP_REALLOCATE,
  toRecords,
  type Trace,
} from "./trace.ts";

/** Every allocator of this package aligns blocks to this at least. */
const LEAST_ALIGNMENT = 16;

/** The memory of a block is not what the replay wrote into it, or not where it was asked for. */
export class VerificationError extends Error {
  /** The trace's name. */
  readonly trace: string;
  /** The record at which it was found. */
  readonly record: number;

  /** Makes the error; `problem` says what is the case. */
  constructor(trace: string, record: number, problem: string) {
    super(`Cannot go on with ${trace} at record ${record}: ${problem}`);
    this.name = "VerificationError";
    this.trace = trace;
    this.record = record;
  }
}

/** What a verified replay has done so far. */
export interface VerifiedWork {
  /** Blocks filled. */
  blocks: number;
  /** Bytes written. */
  bytesWritten: number;
  /** Bytes compared with what was written. */
  bytesVerified: number;
}

/** The record after which the trace has the most bytes live. */
export function peakRecord(trace: Trace): number {
  const { op, id, size, records } = trace;
  const sizes = new Uint32Array(trace.slots);
  let live = 0;
  for (let record = 0; record < records; record++) {
    const slot = id[record]!;
    const bytes = op[record] === OP_FREE ? 0 : size[record]!;
    live += bytes - sizes[slot]!;
    sizes[slot] = bytes;
    if (live === trace.peakLiveBytes) return record;
  }
  return Math.max(records - 1, 0);
}

/** Replays as fast as it goes. */
export class PlainReplay {
  /** Replays the records `from` to `to` (exclusive). */
  readonly replay: (from: number, to: number) => void;
  readonly #allocator: Allocator;
  readonly #addresses: Float64Array;

  /** Starts with no block live. */
  constructor(allocator: Allocator, trace: Trace) {
    this.#allocator = allocator;
    this.#addresses = new Float64Array(trace.slots);
    this.replay = makeReplay(allocator, toRecords(trace), this.#addresses);
  }

  /** Frees what is live, so that the trace can start again. */
  drain(): void {
    const addresses = this.#addresses;
    for (let slot = 0; slot < addresses.length; slot++) this.#allocator.free(addresses[slot]!);
    addresses.fill(0);
  }
}

/** Replays with every block filled when it is made, and verified when it is freed, moved or left live at the end. */
export class VerifiedReplay {
  /** What has been done, over all replays. */
  readonly work: VerifiedWork = { blocks: 0, bytesWritten: 0, bytesVerified: 0 };
  readonly #allocator: Allocator;
  readonly #trace: Trace;
  readonly #pattern: BlockPattern;
  readonly #addresses: Float64Array;
  readonly #sizes: Uint32Array;
  /** The record that filled each slot's block, whose pattern it has. */
  readonly #makers: Uint32Array;

  /** Starts with no block live. */
  constructor(allocator: Allocator, trace: Trace) {
    this.#allocator = allocator;
    this.#trace = trace;
    this.#pattern = new BlockPattern(allocator);
    this.#addresses = new Float64Array(trace.slots);
    this.#sizes = new Uint32Array(trace.slots);
    this.#makers = new Uint32Array(trace.slots);
  }

  /**
   * Replays the records `from` to `to` (exclusive).
   *
   * @throws {VerificationError} At the first byte that is not as it was written.
   */
  replay(from: number, to: number): void {
    const { op, id, size, align } = this.#trace;
    for (let record = from; record < to; record++) {
      const slot = id[record]!;
      const bytes = size[record]!;
      switch (op[record]) {
        case OP_ALLOCATE:
          this.#fill(record, slot, this.#allocator.allocate(bytes), bytes, LEAST_ALIGNMENT);
          break;
        case OP_FREE:
          this.#verify(record, slot, this.#sizes[slot]!);
          this.#allocator.free(this.#addresses[slot]!);
          this.#sizes[slot] = this.#addresses[slot] = 0;
          break;
        case OP_REALLOCATE:
          this.#reallocate(record, slot, bytes);
          break;
        case OP_ALLOCATE_ZEROED:
          this.#fillZeroed(record, slot, this.#allocator.allocateZeroed(bytes), bytes);
          break;
        case OP_ALLOCATE_ALIGNED:
          this.#fill(record, slot, this.#allocator.allocate(bytes, align[record]!), bytes, align[record]!);
          break;
      }
    }
  }

  /**
   * Verifies and frees what is live after the last record, so that the trace can start again.
   *
   * @throws {VerificationError} At the first byte that is not as it was written.
   */
  drain(): void {
    for (let slot = 0; slot < this.#addresses.length; slot++) {
      this.#verify(this.#trace.records, slot, this.#sizes[slot]!);
      this.#allocator.free(this.#addresses[slot]!);
      this.#sizes[slot] = this.#addresses[slot] = 0;
    }
  }

  /** The old bytes are verified before the call and again after it; then the pattern is continued over the new ones. */
  #reallocate(record: number, slot: number, bytes: number): void {
    const old = this.#sizes[slot]!;
    this.#verify(record, slot, old);
    const before = this.#addresses[slot]!;
    const address = this.#allocator.reallocate(before, bytes);
    this.#addresses[slot] = address;
    this.#sizes[slot] = bytes;
    if (bytes === 0) return;
    if (before === 0) {
      // Of a block that was reallocated to 0 bytes nothing is left: this is an allocation.
      this.#fill(record, slot, address, bytes, LEAST_ALIGNMENT);
      return;
    }
    const kept = Math.min(old, bytes);
    this.#verify(record, slot, kept);
    this.#pattern.fill(address, kept, bytes, seedOf(this.#makers[slot]!));
    this.work.bytesWritten += bytes - kept;
  }

  #fillZeroed(record: number, slot: number, address: Address, bytes: number): void {
    const at = this.#pattern.findNonZero(address, bytes);
    if (at >= 0) {
      const found = this.#pattern.byteOf(address, at);
      throw this.#error(record, slot, `byte ${at} of ${bytes} fresh ones at ${hex(address)} is ${found} and not 0`);
    }
    this.work.bytesVerified += bytes;
    this.#fill(record, slot, address, bytes, LEAST_ALIGNMENT);
  }

  #fill(record: number, slot: number, address: Address, bytes: number, alignment: number): void {
    if (address % alignment !== 0) {
      throw this.#error(record, slot, `${hex(address)} is not a multiple of ${alignment}`);
    }
    this.#addresses[slot] = address;
    this.#sizes[slot] = bytes;
    this.#makers[slot] = record;
    this.#pattern.fill(address, 0, bytes, seedOf(record));
    this.work.blocks++;
    this.work.bytesWritten += bytes;
  }

  /** Verifies the first `bytes` of the block in `slot`. */
  #verify(record: number, slot: number, bytes: number): void {
    const address = this.#addresses[slot]!;
    const maker = this.#makers[slot]!;
    const seed = seedOf(maker);
    const at = this.#pattern.findDifference(address, bytes, seed);
    if (at >= 0) {
      throw this.#error(
        record,
        slot,
        `byte ${at} of the block of ${bytes} bytes at ${hex(address)} is ${
          this.#pattern.byteOf(address, at)
        } and not ` +
          `${byteAt(seed, at)}, as record ${maker} left it`,
      );
    }
    this.work.bytesVerified += bytes;
  }

  #error(record: number, slot: number, problem: string): VerificationError {
    return new VerificationError(this.#trace.name, record, `slot ${slot}: ${problem}`);
  }
}

function hex(address: Address): string {
  return `0x${address.toString(16)}`;
}
