/**
 * The verification of runs: that they tile their regions, and that bins and stacks hold just those that they should.
 *
 * @module
 */
import { CorruptionError } from "./errors.ts";
import type { ParkedRuns } from "./parked_runs.ts";
import { BIN_COUNT, binOf } from "./run_bins.ts";
import {
  ALL_WRITTEN,
  FREE_RUN,
  GAP_FROM,
  GAP_TO,
  HAS_GAP,
  HEAD,
  INFO,
  INFO_DELAYED,
  KIND_MASK,
  LENGTH_SHIFT,
  NEXT,
  PARKED_RUN,
  PREV,
  TAIL,
  WRITTEN_MASK,
} from "./run_record.ts";

/** What is counted of the runs of one address range. */
export interface RunCounts {
  /** The records. */
  readonly units: Int32Array;
  /** Units in free runs. */
  readonly freeUnits: number;
  /** Those of them that were written. */
  readonly writtenUnits: number;
  /** Runs whose reuse is delayed. */
  readonly delayedRuns: number;
}

/** Where lists of runs start. */
export interface RunLists {
  /** The first free run of each bin, plus one. */
  readonly bins: Int32Array;
  /** A bit for each bin: whether it has any run. */
  readonly occupied: Int32Array;
  /** The stacks of parked runs. */
  readonly parked: ParkedRuns;
}

/** A part of the units that no run crosses. */
interface Extent {
  readonly firstUnit: number;
  readonly endUnit: number;
}

/**
 * Verifies that runs tile `regions`, and the bins and stacks. Time in the number of units.
 *
 * @throws {CorruptionError} When two records disagree.
 */
export function checkRuns(runs: RunCounts, lists: RunLists, regions: readonly Extent[]): void {
  const { free, parked, written } = checkTiling(runs, regions);
  checkBins(runs.units, lists, free);
  if (written !== runs.writtenUnits) throw corrupt(0, `${written} units are written, not ${runs.writtenUnits}`);
  checkStacks(runs.units, lists.parked, parked);
}

/** What the records of units say. */
interface Tiling {
  /** The free runs. */
  readonly free: Set<number>;
  /** The parked runs, with their lengths. */
  readonly parked: Map<number, number>;
  /** How many units of the free runs were written. */
  readonly written: number;
}

/** Verifies the records of all units. */
function checkTiling(runs: RunCounts, regions: readonly Extent[]): Tiling {
  const { units } = runs;
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
      if ((head & KIND_MASK) === PARKED_RUN) {
        if (units[unit * 4 + INFO] === INFO_DELAYED) delayed++;
        else parked.set(unit, count);
      }
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
        written += writtenOf(units, unit);
      }
      previousFree = isFree;
      unit += count;
    }
  }
  if (delayed !== runs.delayedRuns) throw corrupt(0, `${delayed} runs are delayed, ${runs.delayedRuns} are counted`);
  if (freeUnits !== runs.freeUnits) throw corrupt(0, `${freeUnits} units are free, ${runs.freeUnits} are counted`);
  return { free, parked, written };
}

/** How many units of the free run at `unit` were written, by its own record. */
function writtenOf(units: Int32Array, unit: number): number {
  const head = units[unit * 4 + HEAD]!;
  const count = head >>> LENGTH_SHIFT;
  const written = head & WRITTEN_MASK;
  if (written === 0 || written === ALL_WRITTEN) return written === 0 ? 0 : count;
  const end = unit + count;
  const from = units[(end - 1) * 4 + GAP_FROM]!;
  const to = units[(end - 1) * 4 + GAP_TO]!;
  if (written !== HAS_GAP || from < unit || to > end || from >= to || to - from === count) {
    throw corrupt(unit, "its gap is not a part of it");
  }
  return count - (to - from);
}

/** Verifies that the bins hold the runs `free` and no others. */
function checkBins(units: Int32Array, { bins, occupied }: RunLists, free: Set<number>): void {
  for (let bin = 0; bin < BIN_COUNT; bin++) {
    const isOccupied = (occupied[bin >>> 5]! & (1 << (bin & 31))) !== 0;
    if (isOccupied !== (bins[bin] !== 0)) throw corrupt(0, `the bit of bin ${bin} is wrong`);
    let prev = 0;
    for (let link = bins[bin]!; link !== 0; link = units[(link - 1) * 4 + NEXT]!) {
      if (!free.delete(link - 1)) throw corrupt(link - 1, `it is in bin ${bin} but not a free run, or twice`);
      if (binOf(units[(link - 1) * 4 + HEAD]! >>> LENGTH_SHIFT) !== bin) {
        throw corrupt(link - 1, `it is in the wrong bin ${bin}`);
      }
      if (units[(link - 1) * 4 + PREV] !== prev) throw corrupt(link - 1, `its back link in bin ${bin} is wrong`);
      prev = link;
    }
  }
  if (free.size > 0) throw corrupt([...free][0]!, "it is free but in no bin");
}

/** Verifies that the stacks hold the runs `parked` and no others, each in that of its length. */
function checkStacks(units: Int32Array, { last, lengths, total }: ParkedRuns, parked: Map<number, number>): void {
  let counted = 0;
  for (let count = 1; count < last.length; count++) {
    const isMarked = (lengths[count >>> 5]! & (1 << (count & 31))) !== 0;
    if (isMarked !== (last[count] !== 0)) throw corrupt(0, `the bit for parked runs of ${count} units is wrong`);
    for (let link = last[count]!; link !== 0; link = units[(link - 1) * 4 + NEXT]!) {
      if (parked.get(link - 1) !== count) {
        throw corrupt(link - 1, `it is not a parked run of ${count} units, or twice`);
      }
      parked.delete(link - 1);
      counted += count;
    }
  }
  if (parked.size > 0 || counted !== total) throw corrupt(0, "the parked runs are not all in their stacks");
}

function corrupt(unit: number, what: string): CorruptionError {
  return new CorruptionError(`Cannot trust unit ${unit}: ${what}`);
}
