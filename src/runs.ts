/**
 * The units of an address range: which are free, which belong to which run, and where a run of a wanted length is.
 *
 * A unit is 4 KiB. Consecutive units form a run: a large block, a page of small blocks, or free space. Adjacent free
 * runs of one region are always merged, so the free space is as long as it can be; free runs hang in bins by length
 * (run_bins.ts), with one bit per bin that says whether it has any.
 *
 * The records lie outside the memory they describe, 16 bytes a unit:
 *
 * ```text
 *   byte  0        4        8        12       16
 *         ┌────────┬────────┬────────┬────────┐
 *         │ HEAD   │ TAIL   │ NEXT   │ PREV   │   free and parked runs: links (unit + 1; 0 is none)
 *         │        │        │ SLACK  │ INFO   │   large blocks: bytes not asked for; alignment and ownership
 *         └────────┴────────┴────────┴────────┘   parked and in no stack as its reuse is delayed: INFO is -1
 *   HEAD   at the first unit of a run: units * 256 + written * 4 + kind; 0 at every other unit
 *            written: of a free run, how much was written and not given back since: in 32nds, rounded up
 *   TAIL   at the last unit of a free run: its units; 0 at every other unit
 *
 *   units    │ 9 │10 │11 │12 │13 │14 │15 │16 │
 *            └─ large, 3 ┴─ free, 4 ─────┴─ page, 16 ...
 *   HEAD     769   0   0 1152  0   0   0  4098     the free run: all written
 *   TAIL       0   0   0   0   0   0   4   0
 * ```
 *
 * A run of a large block that is freed is parked first: it stays as long as it is, in a stack of runs of its length,
 * for the next block of that length. That makes allocating and freeing 64 KiB over and over four times cheaper than
 * merging and splitting. Parked runs are merged when a freed run is too long to be parked or would make them more than
 * {@link PARKED_MAX} units together, when nothing else fits, and by `trim`.
 *
 * Invariants, verified by {@link Runs.check}: runs tile each region exactly; no two free runs of a region touch; the
 * bins hold exactly the free runs, each in the bin of its length; a bin's bit is set exactly when it has a run.
 *
 * Cost: `release` is O(1), and so is `take` of up to 64 units without alignment; otherwise `take` looks at up to 16 runs a
 * bin, and at every free run before it gives up although enough units are free.
 *
 * @module
 */
import { CorruptionError } from "./errors.ts";
import { BIN_COUNT, binOf, EXACT_BINS, nextBin } from "./run_bins.ts";

/** Bytes of a unit. */
export const UNIT = 4096;

/** Bytes of a unit's record. */
export const UNIT_RECORD = 16;

/** Units of a page of small blocks. */
export const PAGE_UNITS = 16;

/** Fields of a unit's record, in 32-bit words. */
const HEAD = 0;
const TAIL = 1;
const NEXT = 2;
const PREV = 3;
const SLACK = 2;
const INFO = 3;

/** What a run is: free space, a large block, a page of small blocks, or parked. */
export type RunKind = typeof FREE_RUN | typeof LARGE_RUN | typeof PAGE_RUN | typeof PARKED_RUN;
/** Free space. */
export const FREE_RUN = 0;
/** A large block. */
export const LARGE_RUN = 1;
/** A page of small blocks. */
export const PAGE_RUN = 2;
/** Free, and kept at its length. */
export const PARKED_RUN = 3;

/** Parts of HEAD. */
const KIND_MASK = 3;
const WRITTEN_SHIFT = 2;
const WRITTEN_MASK: number = 63 << WRITTEN_SHIFT;
const LENGTH_SHIFT = 8;

/** Set in INFO of a large block that a NativeBuffer owns. */
export const INFO_OWNED = 64;

/** The part of INFO that is the base-2 logarithm of the alignment. */
export const INFO_ALIGNMENT = 63;

/** INFO of a parked run that is in no stack, because the reuse of its block is delayed. */
const INFO_DELAYED = -1;

/** Runs up to this many units are parked. */
const PARKED_LENGTH_MAX = 64;

/** The most units in parked runs: a mebibyte. */
const PARKED_MAX = 256;

/** Runs of one bin that a search looks at. */
const SCAN = 16;

/** The runs of one address range. Units are numbered from the start of the range. */
export class Runs {
  /** The records; set again whenever the table behind them grows. */
  units: Int32Array = new Int32Array(0);
  /** Units in free runs. */
  freeUnits = 0;
  /** Units in free runs that were written and not given back since: an estimate, as a part counts as its whole does. */
  writtenUnits = 0;
  /** Units of the run of the last `take` that were not. */
  freshUnits = 0;
  /** Units in the stacks of parked runs. */
  parkedUnits = 0;
  /** Runs whose reuse is delayed. */
  delayedRuns = 0;
  /** The last parked run of each length, plus one. */
  readonly #parked = new Int32Array(PARKED_LENGTH_MAX + 1);
  /** The first free run of each bin, plus one. */
  readonly #bins = new Int32Array(BIN_COUNT);
  /** A bit for each bin: whether it has any run. */
  readonly #occupied = new Int32Array(BIN_COUNT / 32 + 1);

  /** Adds the units `from` to `to` of a new region as one free run of memory that was never touched. */
  add(from: number, to: number): void {
    this.#insert(from, to - from, 0);
  }

  /** Removes the units of a region that is one free run. */
  remove(from: number): void {
    this.#remove(from);
  }

  /**
   * Takes a run of `count` units whose first unit plus `bias` is a multiple of `alignment` (a power of two, in units).
   *
   * @returns Its first unit, or -1 when there is none. The caller describes a large block.
   */
  take(count: number, alignment: number, bias: number, kind: RunKind): number {
    const free = this.#find(count, alignment, bias, SCAN);
    // The short search can pass over the only run that fits, deep in its bin; better look at all before growing.
    const run = free !== -1 || this.freeUnits < count ? free : this.#find(count, alignment, bias, Infinity);
    if (run === -1) return -1;
    const units = this.units;
    const head = units[run * 4 + HEAD]!;
    const length = head >>> LENGTH_SHIFT;
    this.freshUnits = count - writtenOf(count, head);
    const start = ((run + bias + alignment - 1) & -alignment) - bias;
    this.#remove(run);
    if (start > run) this.#insert(run, start - run, head & WRITTEN_MASK);
    if (start + count < run + length) this.#insert(start + count, run + length - start - count, head & WRITTEN_MASK);
    units[start * 4 + HEAD] = (count << LENGTH_SHIFT) | kind;
    return start;
  }

  /** Takes the run of exactly `count` units that was parked last, as a large block; -1 when there is none. */
  unpark(count: number): number {
    if (count > PARKED_LENGTH_MAX) return -1;
    const unit = this.#parked[count]! - 1;
    if (unit === -1) return -1;
    const units = this.units;
    this.#parked[count] = units[unit * 4 + NEXT]!;
    units[unit * 4 + HEAD] = (count << LENGTH_SHIFT) | LARGE_RUN;
    this.parkedUnits -= count;
    return unit;
  }

  /** Parks a used run, if it is short enough and there is room. */
  park(unit: number): boolean {
    const units = this.units;
    const count = units[unit * 4 + HEAD]! >>> LENGTH_SHIFT;
    if (count > PARKED_LENGTH_MAX || this.parkedUnits + count > PARKED_MAX) return false;
    units[unit * 4 + HEAD] = (count << LENGTH_SHIFT) | PARKED_RUN;
    units[unit * 4 + NEXT] = this.#parked[count]!;
    this.#parked[count] = unit + 1;
    this.parkedUnits += count;
    return true;
  }

  /** Takes any parked run for the caller to release; -1 when there is none. */
  unparkAny(): number {
    for (let count = 1; count <= PARKED_LENGTH_MAX; count++) {
      const unit = this.unpark(count);
      if (unit !== -1) return unit;
    }
    return -1;
  }

  /** Takes a large block's run out of use without freeing it. */
  delay(unit: number): void {
    const units = this.units;
    units[unit * 4 + HEAD] = (this.lengthAt(unit) << LENGTH_SHIFT) | PARKED_RUN;
    units[unit * 4 + INFO] = INFO_DELAYED;
    this.delayedRuns++;
  }

  /** Whether the run that starts at `unit` is delayed. */
  isDelayed(unit: number): boolean {
    return this.kindAt(unit) === PARKED_RUN && this.info(unit) === INFO_DELAYED;
  }

  /** Makes a delayed run that of a large block again, for the caller to release. */
  endDelay(unit: number): void {
    this.units[unit * 4 + HEAD] = (this.lengthAt(unit) << LENGTH_SHIFT) | LARGE_RUN;
    this.describe(unit, 0, 0);
    this.delayedRuns--;
  }

  /**
   * Frees a used run, of which so many units were not written, and merges it with its free neighbours in the region.
   */
  release(unit: number, regionStart: number, regionEnd: number, unwritten = 0): void {
    const units = this.units;
    let start = unit;
    let end = unit + (units[unit * 4 + HEAD]! >>> LENGTH_SHIFT);
    let written = end - unit - unwritten;
    units[unit * 4 + HEAD] = 0;
    if (end < regionEnd) {
      const next = units[end * 4 + HEAD]!;
      if ((next & KIND_MASK) === FREE_RUN) {
        this.#remove(end);
        end += next >>> LENGTH_SHIFT;
        written += writtenOf(next >>> LENGTH_SHIFT, next);
      }
    }
    if (start > regionStart) {
      const before = units[(start - 1) * 4 + TAIL]!;
      if (before !== 0) {
        start -= before;
        written += writtenOf(before, units[start * 4 + HEAD]!);
        this.#remove(start);
      }
    }
    const count = end - start;
    this.#insert(start, count, (written === count ? 32 : Math.ceil(written * 32 / count)) << WRITTEN_SHIFT);
  }

  /** Grows or shrinks a large block's run in place to `count` units. False when too few units after it are free. */
  resize(unit: number, count: number, regionEnd: number): boolean {
    const units = this.units;
    const current = units[unit * 4 + HEAD]! >>> LENGTH_SHIFT;
    if (count < current) {
      units[unit * 4 + HEAD] = (count << LENGTH_SHIFT) | LARGE_RUN;
      // The cut-off end becomes a block for a moment, so that freeing it merges it with what follows.
      units[(unit + count) * 4 + HEAD] = ((current - count) << LENGTH_SHIFT) | LARGE_RUN;
      this.release(unit + count, unit + count, regionEnd);
      return true;
    }
    if (count > current) {
      const next = unit + current;
      if (next >= regionEnd) return false;
      const head = units[next * 4 + HEAD]!;
      const free = (head & KIND_MASK) === FREE_RUN ? head >>> LENGTH_SHIFT : 0;
      if (current + free < count) return false;
      this.#remove(next);
      if (current + free > count) this.#insert(unit + count, current + free - count, head & WRITTEN_MASK);
      units[unit * 4 + HEAD] = (count << LENGTH_SHIFT) | LARGE_RUN;
    }
    return true;
  }

  /** Units of the run that starts at `unit`, of whatever kind; 0 when none does. */
  lengthAt(unit: number): number {
    return this.units[unit * 4 + HEAD]! >>> LENGTH_SHIFT;
  }

  /** The kind of the run that starts at `unit`. */
  kindAt(unit: number): RunKind {
    return (this.units[unit * 4 + HEAD]! & KIND_MASK) as RunKind;
  }

  /** Units of the large block that starts at `unit`; 0 when none does. */
  largeAt(unit: number): number {
    const head = this.units[unit * 4 + HEAD]!;
    return (head & KIND_MASK) === LARGE_RUN ? head >>> LENGTH_SHIFT : 0;
  }

  /**
   * The first unit of the run, of whatever kind, that `unit` is part of, looking back no further than `regionStart`.
   */
  startOf(unit: number, regionStart: number): number {
    let start = unit;
    while (start > regionStart && this.units[start * 4 + HEAD] === 0) start--;
    return start;
  }

  /** The bytes of the large block at `unit` that were not asked for. */
  slack(unit: number): number {
    return this.units[unit * 4 + SLACK]!;
  }

  /** The INFO word of the large block at `unit`. */
  info(unit: number): number {
    return this.units[unit * 4 + INFO]!;
  }

  /** Sets what a large block's record says besides its length. */
  describe(unit: number, slack: number, info: number): void {
    this.units[unit * 4 + SLACK] = slack;
    this.units[unit * 4 + INFO] = info;
  }

  /** The free runs of at least `least` units of which something was written and not given back since, long ones first. */
  writtenRuns(least: number): number[] {
    const units = this.units;
    const found: number[] = [];
    for (let bin = nextBin(this.#occupied, binOf(least)); bin !== -1; bin = nextBin(this.#occupied, bin + 1)) {
      for (let run = this.#bins[bin]! - 1; run !== -1; run = units[run * 4 + NEXT]! - 1) {
        const head = units[run * 4 + HEAD]!;
        if ((head & WRITTEN_MASK) !== 0 && head >>> LENGTH_SHIFT >= least) found.push(run);
      }
    }
    return found.reverse();
  }

  /** Records that the contents of the free run at `unit` were discarded. */
  markDiscarded(unit: number): void {
    const head = this.units[unit * 4 + HEAD]!;
    this.writtenUnits -= writtenOf(head >>> LENGTH_SHIFT, head);
    this.units[unit * 4 + HEAD] = head & ~WRITTEN_MASK;
  }

  /** The shortest run that fits, among the first `scan` of each bin. */
  #find(count: number, alignment: number, bias: number, scan: number): number {
    const units = this.units;
    const occupied = this.#occupied;
    for (let bin = nextBin(occupied, binOf(count)); bin !== -1; bin = nextBin(occupied, bin + 1)) {
      let best = -1;
      let bestLength = 0x7fffffff;
      let left = scan;
      for (let run = this.#bins[bin]! - 1; run !== -1 && left > 0; run = units[run * 4 + NEXT]! - 1, left--) {
        const length = units[run * 4 + HEAD]! >>> LENGTH_SHIFT;
        const start = ((run + bias + alignment - 1) & -alignment) - bias;
        if (length < bestLength && start + count <= run + length) {
          best = run;
          bestLength = length;
          if (bin < EXACT_BINS) break;
        }
      }
      if (best !== -1) return best;
    }
    return -1;
  }

  #insert(unit: number, count: number, written: number): void {
    const units = this.units;
    const bin = binOf(count);
    const next = this.#bins[bin]!;
    const at = unit * 4;
    units[at + HEAD] = (count << LENGTH_SHIFT) | written;
    units[(unit + count - 1) * 4 + TAIL] = count;
    units[at + NEXT] = next;
    units[at + PREV] = 0;
    if (next !== 0) units[(next - 1) * 4 + PREV] = unit + 1;
    this.#bins[bin] = unit + 1;
    this.#occupied[bin >>> 5] = this.#occupied[bin >>> 5]! | (1 << (bin & 31));
    this.freeUnits += count;
    this.writtenUnits += writtenOf(count, written);
  }

  #remove(unit: number): void {
    const units = this.units;
    const at = unit * 4;
    const head = units[at + HEAD]!;
    const count = head >>> LENGTH_SHIFT;
    const next = units[at + NEXT]!;
    const prev = units[at + PREV]!;
    if (next !== 0) units[(next - 1) * 4 + PREV] = prev;
    if (prev !== 0) units[(prev - 1) * 4 + NEXT] = next;
    else {
      const bin = binOf(count);
      this.#bins[bin] = next;
      if (next === 0) this.#occupied[bin >>> 5] = this.#occupied[bin >>> 5]! & ~(1 << (bin & 31));
    }
    units[at + HEAD] = 0;
    units[(unit + count - 1) * 4 + TAIL] = 0;
    this.freeUnits -= count;
    this.writtenUnits -= writtenOf(count, head);
  }

  /**
   * Verifies that runs tile `regions`, and the bins and stacks. Time in the number of units.
   *
   * @throws {CorruptionError} When two records disagree.
   */
  check(regions: readonly { readonly firstUnit: number; readonly endUnit: number }[]): void {
    const units = this.units;
    const free = new Set<number>();
    const parked = new Map<number, number>();
    let freeUnits = 0;
    let written = 0;
    let delayed = 0;
    for (const { firstUnit, endUnit } of regions) {
      let previousFree = false;
      let unit = firstUnit;
      while (unit < endUnit) {
        const head = units[unit * 4 + HEAD]!;
        const count = head >>> LENGTH_SHIFT;
        const isFree = (head & KIND_MASK) === FREE_RUN;
        if (this.isDelayed(unit)) delayed++;
        else if ((head & KIND_MASK) === PARKED_RUN) parked.set(unit, count);
        if (count === 0 || unit + count > endUnit) throw corrupt(unit, "its run does not end inside its region");
        if (!isFree && (head & WRITTEN_MASK) !== 0) throw corrupt(unit, "it is in use and written as free runs are");
        for (let inner = unit; inner < unit + count; inner++) {
          if (inner > unit && units[inner * 4 + HEAD] !== 0) throw corrupt(inner, "it is inside a run and has a head");
          const tail = isFree && inner === unit + count - 1 ? count : 0;
          if (units[inner * 4 + TAIL] !== tail) throw corrupt(inner, `its tail is not ${tail}`);
        }
        if (isFree) {
          if (previousFree) throw corrupt(unit, "two free runs touch");
          free.add(unit);
          freeUnits += count;
          written += writtenOf(count, head);
        }
        previousFree = isFree;
        unit += count;
      }
    }
    if (delayed !== this.delayedRuns) throw corrupt(0, `${delayed} runs are delayed, ${this.delayedRuns} are counted`);
    if (freeUnits !== this.freeUnits) throw corrupt(0, `${freeUnits} units are free, ${this.freeUnits} are counted`);
    for (let bin = 0; bin < BIN_COUNT; bin++) {
      const occupied = (this.#occupied[bin >>> 5]! & (1 << (bin & 31))) !== 0;
      if (occupied !== (this.#bins[bin] !== 0)) throw corrupt(0, `the bit of bin ${bin} is wrong`);
      let prev = 0;
      for (let link = this.#bins[bin]!; link !== 0; link = units[(link - 1) * 4 + NEXT]!) {
        if (!free.delete(link - 1)) throw corrupt(link - 1, `it is in bin ${bin} but not a free run, or twice`);
        if (binOf(units[(link - 1) * 4 + HEAD]! >>> LENGTH_SHIFT) !== bin) {
          throw corrupt(link - 1, `it is in the wrong bin ${bin}`);
        }
        if (units[(link - 1) * 4 + PREV] !== prev) throw corrupt(link - 1, `its back link in bin ${bin} is wrong`);
        prev = link;
      }
    }
    if (free.size > 0) throw corrupt([...free][0]!, "it is free but in no bin");
    if (written !== this.writtenUnits) throw corrupt(0, `${written} units are written, not ${this.writtenUnits}`);
    let parkedUnits = 0;
    for (let count = 1; count <= PARKED_LENGTH_MAX; count++) {
      for (let link = this.#parked[count]!; link !== 0; link = units[(link - 1) * 4 + NEXT]!) {
        if (parked.get(link - 1) !== count) {
          throw corrupt(link - 1, `it is not a parked run of ${count} units, or twice`);
        }
        parked.delete(link - 1);
        parkedUnits += count;
      }
    }
    if (parked.size > 0 || parkedUnits !== this.parkedUnits) {
      throw corrupt(0, "the parked runs are not all in their stacks");
    }
  }
}

/** Of so many units of the free run with this HEAD, how many were written since they were last given back. */
function writtenOf(count: number, head: number): number {
  return (Math.imul(count, (head & WRITTEN_MASK) >>> WRITTEN_SHIFT) + 31) >>> 5;
}

function corrupt(unit: number, what: string): CorruptionError {
  return new CorruptionError(`Cannot trust unit ${unit}: ${what}`);
}
