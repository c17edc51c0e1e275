/**
 * The parked runs of an address range: those of freed large blocks, kept as long as they are for the next block of their length.
 *
 * A block of 64 KiB that is allocated and freed over and over costs some 40 ns a pair instead of 120 (Deno). Parked runs are
 * linked in the table of units (run_record.ts), in a stack for each length:
 *
 * ```text
 *   lengths   │0 1 0 0 1 ...│         one bit for each length that has any
 *   last      │ │ │ │ ├──▶ unit 40 ──▶ unit 8 ──▶ none          4 units each; NEXT of a parked run is the one below it
 *             │ ├──▶ unit 3 ──▶ none                            1 unit
 * ```
 *
 * Invariants, verified by `check` of the runs: a stack holds parked runs of its length and nothing else, each once; a bit is
 * set exactly when its stack has any; `total` is their units together. Everything is O(1).
 *
 * @module
 */
import { nextBin } from "./run_bins.ts";
import { HEAD, LARGE_RUN, LENGTH_SHIFT, NEXT, PARKED_RUN } from "./run_record.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file.
const HEAD_AT = HEAD;
const NEXT_AT = NEXT;
const LENGTH_FROM = LENGTH_SHIFT;
const LARGE = LARGE_RUN;
const PARKED = PARKED_RUN;

/** Runs up to this many units are parked. */
const LENGTH_MAX = 64;

/** The most units in parked runs: a mebibyte. */
const TOTAL_MAX = 256;

/** The parked runs of one address range. */
export class ParkedRuns {
  /** Units in all stacks. This and what follows is for `check` to read, and for nobody else to write. */
  total = 0;
  /** The last parked run of each length, plus one. */
  readonly last: Int32Array = new Int32Array(LENGTH_MAX + 1);
  /** A bit for each length: whether it has any. */
  readonly lengths: Int32Array = new Int32Array((LENGTH_MAX >>> 5) + 1);
  readonly #table: { readonly units: Int32Array };

  /** `table` has the records of units, as long as they are at the time of a call. */
  constructor(table: { readonly units: Int32Array }) {
    this.#table = table;
  }

  /** Parks a used run, if it is short enough and there is room. */
  put(unit: number): boolean {
    const { units } = this.#table;
    const count = units[unit * 4 + HEAD_AT]! >>> LENGTH_FROM;
    if (count > LENGTH_MAX || this.total + count > TOTAL_MAX) return false;
    units[unit * 4 + HEAD_AT] = (count << LENGTH_FROM) | PARKED;
    units[unit * 4 + NEXT_AT] = this.last[count]!;
    this.last[count] = unit + 1;
    this.lengths[count >>> 5] = this.lengths[count >>> 5]! | (1 << (count & 31));
    this.total += count;
    return true;
  }

  /** Takes the run of exactly `count` units that was parked last, as a large block; -1 when there is none. */
  take(count: number): number {
    if (count > LENGTH_MAX) return -1;
    const unit = this.last[count]! - 1;
    if (unit === -1) return -1;
    const { units } = this.#table;
    const below = units[unit * 4 + NEXT_AT]!;
    this.last[count] = below;
    if (below === 0) this.lengths[count >>> 5] = this.lengths[count >>> 5]! & ~(1 << (count & 31));
    units[unit * 4 + HEAD_AT] = (count << LENGTH_FROM) | LARGE;
    this.total -= count;
    return unit;
  }

  /** The same of the shortest length that has any. */
  takeAny(): number {
    const length = nextBin(this.lengths, 0);
    return length === -1 ? -1 : this.take(length);
  }
}
