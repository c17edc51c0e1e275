/**
 * Growing a shared heap: regions, committed one after the other from the start of its reservation. The caller holds the lock.
 *
 * ```text
 *   base                                                            base + unitsReserved * UNIT
 *   ├── region 0 ──┼── region 1 ──┼─── gap ───┼── region 3 ──┼────── not committed ──────┤
 *      1 MiB          2 MiB         never        begins at an aligned place
 *                                   committed
 * ```
 *
 * Each region is as long as all before it and 1 MiB, as runs never cross from one into the next and no view covers two. Regions stay until
 * the heap ends: any worker may have views of them. The count of regions is the commit point: what was written before it
 * is written anew by the next one who grows the heap.
 *
 * @module
 */
import { alignDown, alignUp } from "./arguments.ts";
import { AllocatorError, OutOfMemoryError } from "./errors.ts";
import type { PageSource } from "./page_source.ts";
import { pageTableBytes } from "./page_table.ts";
import { UNIT, UNIT_RECORD } from "./run_record.ts";
import {
  END_UNIT,
  GAP_UNITS,
  PAGE_TABLE,
  REGION_COUNT,
  REGION_COUNT_MAX,
  REGIONS,
  REMOTE_TABLE,
  remoteTableBytes,
  UNIT_TABLE,
} from "./shared_layout.ts";
import type { SharedRuns } from "./shared_runs.ts";
import type { SharedTables } from "./shared_tables.ts";
import { PAGE_SIZE } from "./size_class.ts";

/** Bytes of the first region; each further one is as long as all before it. */
const FIRST_REGION = 2 ** 20;

/** The most bytes of a region that no single block asks for. */
const REGION_MAX = 2 ** 32;

/** The regions, as one attachment adds to them. */
export class SharedRegions {
  /** Why memory could last not be had. */
  failure: OutOfMemoryError | undefined;
  readonly #tables: SharedTables;
  readonly #runs: SharedRuns;
  readonly #source: PageSource;

  /** Adds regions of `source` to the heap in `tables`. */
  constructor(tables: SharedTables, runs: SharedRuns, source: PageSource) {
    this.#tables = tables;
    this.#runs = runs;
    this.#source = source;
  }

  /** Adds a region with room for `count` units. */
  grow(count: number): boolean {
    const tables = this.#tables;
    const source = this.#source;
    const step = Math.max(source.pageSize, UNIT);
    const committed = (tables.endUnit - tables.control[GAP_UNITS]!) * UNIT;
    const left = (tables.unitsReserved - tables.endUnit) * UNIT;
    const needed = alignUp(count * UNIT, step);
    const wanted = alignUp(Math.max(needed, Math.min(FIRST_REGION + committed, REGION_MAX)), PAGE_SIZE);
    let length = Math.min(wanted, left, source.maxWrapBytes);
    while (length >= needed && tables.regionCount < REGION_COUNT_MAX) {
      try {
        this.#addRegion(length);
        return true;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        this.failure = error;
        if (length === needed) return false;
      }
      length = Math.max(needed, alignDown(length / 2, step));
    }
    const most = Math.min(left, source.maxWrapBytes);
    this.failure ??= new OutOfMemoryError(`${needed} more bytes are needed, and ${most} can be had`, needed, most);
    return false;
  }

  #addRegion(length: number): void {
    const tables = this.#tables;
    const runs = this.#runs;
    const from = tables.endUnit;
    const to = from + length / UNIT;
    this.#ensureRecords(to);
    this.#source.commit(tables.base + from * UNIT, length);
    runs.prepare(from, to);
    this.#announceRegion(from, to);
    runs.add(from);
  }

  /** Adds a gap of `count` units before the next region. */
  skip(count: number): boolean {
    const tables = this.#tables;
    const runs = this.#runs;
    const from = tables.endUnit;
    const to = from + count;
    if (to >= tables.unitsReserved || tables.regionCount >= REGION_COUNT_MAX) return false;
    try {
      this.#ensureRecords(to);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.failure = error;
      return false;
    }
    runs.prepareGap(from, to);
    tables.control[GAP_UNITS] = tables.control[GAP_UNITS]! + count;
    this.#announceRegion(from, to);
    return true;
  }

  #ensureRecords(end: number): void {
    const tables = this.#tables;
    tables.ensure(UNIT_TABLE, end * UNIT_RECORD);
    tables.ensure(PAGE_TABLE, pageTableBytes(end));
    tables.ensure(REMOTE_TABLE, remoteTableBytes(end));
  }

  /** Lets the others know of the region that is ready: REGION_COUNT is the commit point. */
  #announceRegion(from: number, to: number): void {
    const tables = this.#tables;
    const { control } = tables;
    const index = control[REGION_COUNT]!;
    control[REGIONS + index * 2] = to;
    control[REGIONS + index * 2 + 1] = from;
    control[REGION_COUNT] = index + 1;
    Atomics.store(control, END_UNIT, to);
    tables.endUnit = to;
  }

  /** Gives the contents of a run that is ours back, without the lock; the bytes. */
  discard(unit: number, count: number): number {
    const step = Math.max(this.#source.pageSize, UNIT) / UNIT;
    const from = alignUp(unit, step);
    const to = alignDown(unit + count, step);
    if (to <= from) return 0;
    try {
      this.#source.discard(this.#tables.base + from * UNIT, (to - from) * UNIT);
    } catch (error) {
      // The run is free all the same.
      if (!(error instanceof AllocatorError)) throw error;
      return 0;
    }
    return (to - from) * UNIT;
  }
}
