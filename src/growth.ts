/**
 * Which large blocks are likely to grow, and how far: what the last ones of about their length did.
 *
 * A program that makes a block of 200 KiB and then gives it 400 is likely to do so with the next one too. A block that
 * is placed where its room is free behind it grows in place; one that fits exactly where it is must be copied. Room is
 * not taken from anybody: it stays free memory, and only the search for a place knows of it.
 *
 * Lengths are counted in units (4 KiB), and told apart as the bins of free runs tell them apart (run_bins.ts).
 *
 * @module
 */
import { BIN_COUNT, binOf } from "./run_bins.ts";

/** Blocks that are given room after one of their length grew. */
const REMEMBERED = 16;

/** What is known of the lengths of one heap's large blocks. */
export class Growth {
  /** What a block of each bin grew to the last time. */
  readonly #room = new Int32Array(BIN_COUNT);
  /** For how many more blocks of each bin that counts. */
  readonly #left = new Uint8Array(BIN_COUNT);

  /** Notes that a block of `count` units grew to `to`. */
  grew(count: number, to: number): void {
    const bin = binOf(count);
    this.#room[bin] = to;
    this.#left[bin] = REMEMBERED;
  }

  /** The units that a new block of `count` is likely to need in the end: `count` when nothing is known. */
  roomFor(count: number): number {
    const bin = binOf(count);
    return this.#left[bin] === 0 ? count : Math.max(count, this.#room[bin]!);
  }

  /** Notes that a new block of `count` units was given a place where room was looked for: one of the {@link REMEMBERED}. */
  placed(count: number): void {
    const bin = binOf(count);
    const left = this.#left[bin]!;
    if (left > 0) this.#left[bin] = left - 1;
  }
}
