/**
 * The units of an address range: which are free, which belong to which run, and where a run of a wanted length is.
 *
 * A unit is 4 KiB. Consecutive units form a run: a large block, a page of small blocks, or free space. Adjacent free
 * runs of one region are always merged, so the free space is as long as it can be; free runs hang in bins by length
 * (run_bins.ts), with one bit per bin that says whether it has any. The records of runs are drawn in run_record.ts.
 *
 * A free run knows where nothing was written since its memory was last given back, if that is one stretch: its gap
 * (run_gap.ts). A block is placed on memory that is resident already where it can be, and what is given back is known to
 * the unit.
 *
 * A run of a large block that is freed is parked first (parked_runs.ts): it stays as long as it is. Parked runs are merged
 * when a freed run is too long to be parked or would make them more than 256 units together, when nothing else fits, when
 * memory must go back (footprint.ts), and by `trim`.
 *
 * Invariants, verified by {@link Runs.check}: runs tile each region exactly; no two free runs of a region touch; the
 * bins hold exactly the free runs, each in the bin of its length; a bin's bit is set exactly when it has a run; a gap
 * lies inside its run.
 *
 * Cost: `release` is O(1); `take` looks at up to 16 runs in each of up to 16 bins, twice if room is wanted, and at every
 * free run before it gives up although enough units are free.
 *
 * @module
 */
import { ParkedRuns } from "./parked_runs.ts";
import { BIN_COUNT, binOf, EXACT_BINS, nextBin } from "./run_bins.ts";
import { checkRuns } from "./run_check.ts";
import { Gap, writeGap } from "./run_gap.ts";
import {
  ALL_WRITTEN,
  FREE_RUN,
  HEAD,
  INFO,
  INFO_DELAYED,
  KIND_MASK,
  LARGE_RUN,
  LENGTH_SHIFT,
  NEXT,
  overlap,
  PARKED_RUN,
  PREV,
  type RunKind,
  SLACK,
  TAIL,
  WRITTEN_MASK,
  writtenOf,
} from "./run_record.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file.
const HEAD_AT = HEAD;
const TAIL_AT = TAIL;
const NEXT_AT = NEXT;
const PREV_AT = PREV;
const SLACK_AT = SLACK;
const INFO_AT = INFO;
const KIND_BITS = KIND_MASK;
const WRITTEN_BITS = WRITTEN_MASK;
const LENGTH_FROM = LENGTH_SHIFT;
const FREE = FREE_RUN;
const LARGE = LARGE_RUN;

/** Runs of one bin that a search looks at. */
const SCAN = 16;

/** Bins in which a search looks for a run that was written, from the first on that has one of the length. */
const WRITTEN_BINS = 16;

/** The runs of one address range. Units are numbered from the start of the range. */
export class Runs {
  /** The records; set again whenever the table behind them grows. */
  units: Int32Array = new Int32Array(0);
  /** Units in free runs. */
  freeUnits = 0;
  /** Units in free runs that were written and not given back since; never less than the truth. */
  writtenUnits = 0;
  /** Units that the last `take` took, or the last `resize` added, that were not; see `freshFrom`. */
  freshUnits = 0;
  /** The first of those that the last `take` took. */
  freshFrom = 0;
  /** The runs that were freed and kept. */
  readonly parked: ParkedRuns = new ParkedRuns(this);
  /** Runs whose reuse is delayed. */
  delayedRuns = 0;
  /** The gap of the run that was looked at last. */
  readonly #gap = new Gap();
  /** The first free run of each bin, plus one. */
  readonly #bins = new Int32Array(BIN_COUNT);
  /** A bit for each bin: whether it has any run. */
  readonly #occupied = new Int32Array(BIN_COUNT / 32 + 1);

  /** Adds the units `from` to `to` of a new region as one free run of memory that was never touched. */
  add(from: number, to: number): void {
    this.#insert(from, to, from, to);
  }

  /** Removes the units of a region that is one free run. */
  remove(from: number): void {
    this.#remove(from);
  }

  /**
   * Takes a run of `count` units whose first unit plus `bias` is a multiple of `alignment` (a power of two, in units).
   * It is placed where it could grow to `room` units, if there is such a place.
   *
   * @returns Its first unit, or -1 when there is none. The caller describes a large block.
   */
  take(count: number, alignment: number, bias: number, kind: RunKind, room = count): number {
    let free = room > count ? this.#find(room, alignment, bias, SCAN, count) : -1;
    if (free === -1) free = this.#find(count, alignment, bias, SCAN, count);
    // The short search can pass over the only run that fits, deep in its bin; better look at all before growing.
    const run = free !== -1 || this.freeUnits < count ? free : this.#find(count, alignment, bias, Infinity, count);
    if (run === -1) return -1;
    const units = this.units;
    const head = units[run * 4 + HEAD_AT]!;
    const end = run + (head >>> LENGTH_FROM);
    this.#gap.read(units, run, head);
    const { from, to } = this.#gap;
    let start = ((run + bias + alignment - 1) & -alignment) - bias;
    this.freshUnits = overlap(start, start + count, from, to);
    if (this.freshUnits > 0 && to < end && (room === count || start + room > end)) {
      // There is no room to grow here, and what was written lies at the other end, or more of it.
      const last = ((end - count + bias) & -alignment) - bias;
      const fresh = overlap(last, last + count, from, to);
      if (fresh < this.freshUnits) {
        start = last;
        this.freshUnits = fresh;
      }
    }
    this.freshFrom = Math.max(start, from);
    this.#remove(run);
    if (start > run) this.#insert(run, start, from, to);
    if (start + count < end) this.#insert(start + count, end, from, to);
    units[start * 4 + HEAD_AT] = (count << LENGTH_FROM) | kind;
    return start;
  }

  /** Takes a large block's run out of use without freeing it. */
  delay(unit: number): void {
    const units = this.units;
    units[unit * 4 + HEAD_AT] = (this.lengthAt(unit) << LENGTH_FROM) | PARKED_RUN;
    units[unit * 4 + INFO_AT] = INFO_DELAYED;
    this.delayedRuns++;
  }

  /** Whether the run that starts at `unit` is delayed. */
  isDelayed(unit: number): boolean {
    return this.kindAt(unit) === PARKED_RUN && this.info(unit) === INFO_DELAYED;
  }

  /** Makes a delayed run that of a large block again, for the caller to release. */
  endDelay(unit: number): void {
    this.units[unit * 4 + HEAD_AT] = (this.lengthAt(unit) << LENGTH_FROM) | LARGE;
    this.describe(unit, 0, 0);
    this.delayedRuns--;
  }

  /**
   * Frees a used run, of which `unwritten` units in front of the last `behind` were not written, and merges it with its free
   * neighbours.
   */
  release(unit: number, regionStart: number, regionEnd: number, unwritten = 0, behind = 0): void {
    const units = this.units;
    let start = unit;
    let end = unit + (units[unit * 4 + HEAD_AT]! >>> LENGTH_FROM);
    const gap = this.#gap;
    gap.to = end - behind;
    gap.from = gap.to - unwritten;
    units[unit * 4 + HEAD_AT] = 0;
    if (end < regionEnd) {
      const next = units[end * 4 + HEAD_AT]!;
      if ((next & KIND_BITS) === FREE) {
        gap.join(units, end, next);
        this.#remove(end);
        end += next >>> LENGTH_FROM;
      }
    }
    if (start > regionStart) {
      const before = units[(start - 1) * 4 + TAIL_AT]!;
      if (before !== 0) {
        start -= before;
        gap.join(units, start, units[start * 4 + HEAD_AT]!);
        this.#remove(start);
      }
    }
    this.#insert(start, end, gap.from, gap.to);
  }

  /** Grows or shrinks a large block's run in place to `count` units. False when too few units after it are free. */
  resize(unit: number, count: number, regionEnd: number): boolean {
    const units = this.units;
    const current = units[unit * 4 + HEAD_AT]! >>> LENGTH_FROM;
    if (count < current) {
      units[unit * 4 + HEAD_AT] = (count << LENGTH_FROM) | LARGE;
      // The cut-off end becomes a block for a moment, so that freeing it merges it with what follows.
      units[(unit + count) * 4 + HEAD_AT] = ((current - count) << LENGTH_FROM) | LARGE;
      this.release(unit + count, unit + count, regionEnd);
      return true;
    }
    if (count > current) {
      const next = unit + current;
      if (next >= regionEnd) return false;
      const head = units[next * 4 + HEAD_AT]!;
      const free = (head & KIND_BITS) === FREE ? head >>> LENGTH_FROM : 0;
      if (current + free < count) return false;
      this.#gap.read(units, next, head);
      const { from, to } = this.#gap;
      this.freshUnits = overlap(next, unit + count, from, to);
      this.#remove(next);
      if (current + free > count) this.#insert(unit + count, next + free, from, to);
      units[unit * 4 + HEAD_AT] = (count << LENGTH_FROM) | LARGE;
    }
    return true;
  }

  /** Units of the run that starts at `unit`, of whatever kind; 0 when none does. */
  lengthAt(unit: number): number {
    return this.units[unit * 4 + HEAD_AT]! >>> LENGTH_FROM;
  }

  /** The kind of the run that starts at `unit`. */
  kindAt(unit: number): RunKind {
    return (this.units[unit * 4 + HEAD_AT]! & KIND_BITS) as RunKind;
  }

  /** Units of the large block that starts at `unit`; 0 when none does. */
  largeAt(unit: number): number {
    const head = this.units[unit * 4 + HEAD_AT]!;
    return (head & KIND_BITS) === LARGE ? head >>> LENGTH_FROM : 0;
  }

  /** The first unit of the run, of whatever kind, that `unit` is part of; `regionStart` is as far as it looks. */
  startOf(unit: number, regionStart: number): number {
    let start = unit;
    while (start > regionStart && this.units[start * 4 + HEAD_AT] === 0) start--;
    return start;
  }

  /** The bytes of the large block at `unit` that were not asked for. */
  slack(unit: number): number {
    return this.units[unit * 4 + SLACK_AT]!;
  }

  /** The INFO word of the large block at `unit`. */
  info(unit: number): number {
    return this.units[unit * 4 + INFO_AT]!;
  }

  /** Sets what a large block's record says besides its length. */
  describe(unit: number, slack: number, info: number): void {
    this.units[unit * 4 + SLACK_AT] = slack;
    this.units[unit * 4 + INFO_AT] = info;
  }

  /** The free runs of which at least `least` units were written and not given back since, long ones first. */
  writtenRuns(least: number): number[] {
    const units = this.units;
    const found: number[] = [];
    for (let bin = nextBin(this.#occupied, binOf(least)); bin !== -1; bin = nextBin(this.#occupied, bin + 1)) {
      for (let run = this.#bins[bin]! - 1; run !== -1; run = units[run * 4 + NEXT_AT]! - 1) {
        if (writtenOf(units, run, units[run * 4 + HEAD_AT]!) >= least) found.push(run);
      }
    }
    return found.reverse();
  }

  /** Records that the contents of the free run at `unit` were discarded. */
  markDiscarded(unit: number): void {
    const { units } = this;
    const head = units[unit * 4 + HEAD_AT]!;
    this.writtenUnits -= writtenOf(units, unit, head);
    units[unit * 4 + HEAD_AT] = head & ~WRITTEN_BITS;
  }

  /**
   * The shortest run that fits and of which `written` units were written, among the first `scan` of each bin; when the
   * bins looked at have none, the shortest that fits.
   */
  #find(count: number, alignment: number, bias: number, scan: number, written: number): number {
    const units = this.units;
    const occupied = this.#occupied;
    let first = -1;
    let bins = WRITTEN_BINS;
    for (let bin = nextBin(occupied, binOf(count)); bin !== -1; bin = nextBin(occupied, bin + 1)) {
      let best = -1;
      let bestLength = 0x7fffffff;
      let bestIsWritten = false;
      let left = scan;
      for (let run = this.#bins[bin]! - 1; run !== -1 && left > 0; run = units[run * 4 + NEXT_AT]! - 1, left--) {
        const head = units[run * 4 + HEAD_AT]!;
        const length = head >>> LENGTH_FROM;
        const start = ((run + bias + alignment - 1) & -alignment) - bias;
        if (start + count > run + length) continue;
        const isWritten = writtenOf(units, run, head) >= written;
        if (isWritten === bestIsWritten ? length < bestLength : isWritten) {
          best = run;
          bestLength = length;
          bestIsWritten = isWritten;
          if (bin < EXACT_BINS && isWritten) break;
        }
      }
      if (bestIsWritten) return best;
      if (first === -1) first = best;
      if (first !== -1 && --bins === 0) break;
    }
    return first;
  }

  /** Adds a free run, of which the units from `from` to `to` were not written as far as they are in it. */
  #insert(unit: number, end: number, from: number, to: number): void {
    const units = this.units;
    const count = end - unit;
    const bin = binOf(count);
    const next = this.#bins[bin]!;
    const at = unit * 4;
    const last = (end - 1) * 4;
    const fresh = overlap(unit, end, from, to);
    let written = fresh === 0 ? ALL_WRITTEN : 0;
    if (fresh > 0 && fresh < count) written = writeGap(units, end, Math.max(unit, from), Math.min(end, to));
    units[at + HEAD_AT] = (count << LENGTH_FROM) | written;
    units[last + TAIL_AT] = count;
    units[at + NEXT_AT] = next;
    units[at + PREV_AT] = 0;
    if (next !== 0) units[(next - 1) * 4 + PREV_AT] = unit + 1;
    this.#bins[bin] = unit + 1;
    this.#occupied[bin >>> 5] = this.#occupied[bin >>> 5]! | (1 << (bin & 31));
    this.freeUnits += count;
    this.writtenUnits += count - fresh;
  }

  #remove(unit: number): void {
    const units = this.units;
    const at = unit * 4;
    const head = units[at + HEAD_AT]!;
    const count = head >>> LENGTH_FROM;
    const next = units[at + NEXT_AT]!;
    const prev = units[at + PREV_AT]!;
    if (next !== 0) units[(next - 1) * 4 + PREV_AT] = prev;
    if (prev !== 0) units[(prev - 1) * 4 + NEXT_AT] = next;
    else {
      const bin = binOf(count);
      this.#bins[bin] = next;
      if (next === 0) this.#occupied[bin >>> 5] = this.#occupied[bin >>> 5]! & ~(1 << (bin & 31));
    }
    this.freeUnits -= count;
    this.writtenUnits -= writtenOf(units, unit, head);
    units[at + HEAD_AT] = 0;
    units[(unit + count - 1) * 4 + TAIL_AT] = 0;
  }

  /**
   * Verifies that runs tile `regions`, and the bins and stacks. Time in the number of units.
   *
   * @throws {CorruptionError} When two records disagree.
   */
  check(regions: readonly { readonly firstUnit: number; readonly endUnit: number }[]): void {
    checkRuns(this, { bins: this.#bins, occupied: this.#occupied, parked: this.parked }, regions);
  }
}
