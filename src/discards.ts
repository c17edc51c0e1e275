/**
 * Gives the contents of a range's free memory back to the operating system: how, and when.
 *
 * When is decided by two rules, each in a file of its own; what goes is looked for in this order:
 *
 * ```text
 *   before a run is taken ──▶ footprint.ts: more would be resident than ever was needed
 *                              1. free runs            2. empty pages, idle and current
 *                              3. parked runs          or, with nothing of these to spare, unused units of pages in use
 *   after a run is freed  ──▶ surplus.ts: more lies free and written than is worth keeping
 *                              free runs of which a page's worth was written
 *   trim                  ──▶ all free runs, and unused units of pages in use
 * ```
 *
 * Invariant: nothing that is handed out is given back. What the source cannot give back stays as it is, free and resident;
 * only `trim`, which was asked to give it back, says so.
 *
 * All counts are of units (4 KiB). A program that frees and takes large blocks calls `makeRoom`, `taken` and `freed` for each:
 * they make no object, and contain no closure, for which JavaScriptCore would make a scope whenever they are called.
 *
 * @module
 */
import type { AddressRange } from "./address_range.ts";
import { alignDown, alignUp } from "./arguments.ts";
import { Footprint } from "./footprint.ts";
import type { PageSource } from "./page_source.ts";
import { PAGE_UNITS, UNIT } from "./run_record.ts";
import { Surplus } from "./surplus.ts";

/** Units of a free run that must be written for it to be given back by itself. */
const SPARE_LEAST = 4;

/** Gives back what is free in one range. */
export class Discards {
  readonly #range: AddressRange;
  readonly #source: PageSource;
  /** Units of an OS page, at least one: what is given back are multiples of it. */
  readonly #step: number;
  /** What decides when the contents of free runs are given back. */
  readonly #surplus: Surplus = new Surplus();
  /** What decides when they are given back before more memory is touched. */
  readonly #footprint: Footprint = new Footprint();

  /** Gives the memory of `range` back to `source`. */
  constructor(range: AddressRange, source: PageSource) {
    this.#range = range;
    this.#source = source;
    this.#step = Math.max(source.pageSize, UNIT) / UNIT;
  }

  /** Notes that a run has `count` units more. */
  taken(count: number): void {
    const { runs } = this.#range;
    this.#surplus.taken(count, runs.freshUnits, runs.writtenUnits);
  }

  /** Gives free memory back when there is too much of it. */
  freed(): void {
    const { runs, endUnit } = this.#range;
    const before = runs.writtenUnits;
    if (!this.#surplus.isExcessive(endUnit - runs.freeUnits, before)) return;
    this.#tryDiscardFree(PAGE_UNITS);
    this.#surplus.discarded(before, runs.writtenUnits, runs.freeUnits);
    this.#footprint.shrank(before - runs.writtenUnits);
  }

  /** Gives free memory back before a run is taken that could be new memory, as much as the footprint says. */
  makeRoom(): void {
    const before = this.#residentUnits;
    if (before <= this.#footprint.most || !this.#source.lazy) return;
    const { runs, pageMemory } = this.#range;
    const wanted = this.#footprint.excess(before, runs.writtenUnits + runs.parked.total + pageMemory.idleUnits);
    if (wanted === 0) {
      if (!this.#footprint.isWorthLooking(before)) return;
      this.#tryDiscardUnused();
      this.#footprint.looked(before, this.#residentUnits);
      return;
    }
    const least = before - wanted;
    // What is kept for the next block of its kind, empty current pages too, goes only when free runs are not enough.
    if (!this.#shrinkTo(least)) {
      pageMemory.releaseIdle(true);
      if (!this.#shrinkTo(least)) {
        this.#range.mergeParked();
        this.#shrinkTo(least);
      }
    }
    this.#footprint.gaveBack(before, this.#residentUnits);
  }

  /** Gives free runs back until so many units are resident, and says whether that was enough. */
  #shrinkTo(units: number): boolean {
    this.#tryDiscardFree(SPARE_LEAST, this.#residentUnits - units);
    return this.#residentUnits <= units;
  }

  /** Units that are resident, if every large block was written as a whole. */
  get #residentUnits(): number {
    const { runs, endUnit, pageMemory } = this.#range;
    return endUnit - runs.freeUnits + runs.writtenUnits - pageMemory.untouchedUnits;
  }

  /**
   * Gives the contents of all free runs back, and what holds nothing live in pages.
   *
   * @returns The bytes given back.
   */
  trim(): number {
    const { runs } = this.#range;
    const before = runs.writtenUnits;
    const given = this.#discardFree(1);
    this.#surplus.discarded(before, runs.writtenUnits, runs.freeUnits);
    return this.#source.lazy ? given + this.#discardUnused() : given;
  }

  #tryDiscardFree(least: number, wanted?: number): void {
    try {
      this.#discardFree(least, wanted);
    } catch {
      // Whatever it is: a `free` that has freed must not throw. The memory is free all the same, and `trim` will report.
    }
  }

  #tryDiscardUnused(): void {
    try {
      this.#discardUnused();
    } catch {
      // As above: the block that is asked for can be had.
    }
  }

  /** Gives free runs back of which at least `least` units were written, long ones first, until it is `wanted` units. */
  #discardFree(least: number, wanted = Infinity): number {
    let given = 0;
    const range = this.#range;
    const { runs } = range;
    const enough = runs.writtenUnits - wanted;
    const step = this.#step;
    for (const unit of runs.writtenRuns(least)) {
      const region = range.regionOf(unit);
      // Whole OS pages only, and none that was never used.
      const from = alignUp(unit, step);
      const to = Math.min(alignDown(unit + runs.lengthAt(unit), step), alignUp(region.frontier, step));
      if (to > from) {
        this.#source.discard(range.base + from * UNIT, (to - from) * UNIT);
        given += (to - from) * UNIT;
        if (to >= region.frontier) region.frontier = from;
      }
      runs.markDiscarded(unit);
      if (runs.writtenUnits <= enough) break;
    }
    return given;
  }

  /** Gives the units of pages in use back in which nothing is live; returns the bytes. */
  #discardUnused(): number {
    let given = 0;
    const { base, pageMemory } = this.#range;
    pageMemory.discardUnused((unit, count) => {
      this.#source.discard(base + unit * UNIT, count * UNIT);
      given += count * UNIT;
    }, this.#step);
    return given;
  }
}
