/**
 * One reservation of address space and the regions committed in it.
 *
 * An address range is reserved once and never moves, so that an address becomes a granule number by one subtraction,
 * and a granule number stays a 32-bit integer: hence 32 GiB. Regions are committed from its start, each wrapped once as
 * an ArrayBuffer. The first is small and each next one doubles, because a runtime's garbage collector is told about
 * wrapped bytes whether they are used or not (Bun keeps up to sixteen times as much garbage beside 1 GiB of idle
 * wrapped memory).
 *
 * ```text
 *   base                                                                     base + byteLength
 *   ├── region 0 ──┼──── region 1 ────┼────────── region 2 ───────────┼───── not committed ─────┤
 *      1 MiB            2 MiB                     4 MiB                      wrapped by nobody
 *      ╵units 0..255    ╵256..767                 ╵768..1791
 * ```
 *
 * Invariants: regions are contiguous from the base and in order; a run never crosses from one region into the next, as
 * no view could cover it; no unit from the `frontier` of a region up was handed out since the region was committed or
 * its contents there were given back.
 *
 * @module
 */
import { alignDown, alignUp } from "./arguments.ts";
import { type WrappedBytes, wrappedBytes } from "./bytes.ts";
import { commitWrapped, wrapWhole } from "./commit_wrapped.ts";
import { Discards } from "./discards.ts";
import { CorruptionError, formatAddress, OutOfMemoryError } from "./errors.ts";
import type { PageMemory } from "./footprint.ts";
import type { Address, PageSource } from "./page_source.ts";
import { initializePageTable, pageTableBytes, STATE } from "./page_table.ts";
import { checkExtents, checkFrontiers } from "./range_check.ts";
import { type Region, REGION_COUNT_MAX, RegionIndex, type Reservation } from "./region.ts";
import { biasOf, FREE_RUN, LARGE_RUN, PAGE_UNITS, type RunKind, UNIT, UNIT_RECORD } from "./run_record.ts";
import { Runs } from "./runs.ts";
import { Table } from "./table.ts";
import { throwAfterReport } from "./violations.ts";

/** What the ends of the longest range are multiples of, so that OS pages of any size up to this fit it. */
const RANGE_STEP = 2 ** 21;

/**
 * The most bytes of one range, 2 MiB less than 32 GiB: granule numbers stay below 2^31, and so does the place of a page's
 * record times 256, which is what `heap.allocate` makes a granule number of.
 */
export const RANGE_MAX: number = Math.floor((32 * 2 ** 30 - STATE * UNIT) / RANGE_STEP) * RANGE_STEP;

/** Bytes of the first region. */
const FIRST_REGION = 2 ** 20;

/** The most bytes of one region: what one ArrayBuffer can cover on Bun. */
const REGION_MAX = 2 ** 32;

/** A reservation, its regions, and the runs in them. */
export class AddressRange {
  /** Where the range starts: a multiple of the page size of small blocks. */
  readonly base: Address;
  /** Bytes reserved. */
  readonly byteLength: number;
  /** The units of all regions. */
  readonly runs: Runs = new Runs();
  /** The regions in order of address. */
  readonly regions: Region[] = [];
  /** Units committed: the end of the last region. */
  endUnit = 0;
  /** Whether the run of the last `take` is memory that reads as zero. */
  isFresh = false;
  /** Why the source last refused a region or a table of links: the cause of the error when nothing else can serve. */
  failure: OutOfMemoryError | undefined;
  /**
   * Whether the source would not even commit the bytes of the run that the last `take` was for: it will not give them to
   * a mapping of its own either.
   */
  isShort = false;
  /** The memory of the pages in this range; set by who makes them. */
  pageMemory: PageMemory = { untouchedUnits: 0, idleUnits: 0, releaseIdle() {}, discardUnused() {} };
  /** The records of pages (page_table.ts), long enough for every committed page; set again whenever they grow. */
  pages: Int32Array = new Int32Array(0);
  readonly #source: PageSource;
  readonly #discards: Discards;
  /** Whether no region could be had the last time. */
  #refused = false;
  /** Units below this one can hold old contents when a region takes them again: decommitting them has failed. */
  #staleEnd = 0;
  readonly #units: Table;
  readonly #pages: Table;
  readonly #index: RegionIndex = new RegionIndex(this.regions);

  /**
   * Takes over what {@link reserveRange} reserved; gives it back when there is no memory for the first records.
   *
   * @throws {OutOfMemoryError} When there is none.
   */
  constructor(source: PageSource, { base, byteLength }: Reservation) {
    this.#source = source;
    this.#discards = new Discards(this, source);
    this.base = base;
    this.byteLength = byteLength;
    let units: Table | undefined;
    let pages: Table | undefined;
    try {
      units = new Table(source, (byteLength / UNIT) * UNIT_RECORD);
      pages = new Table(source, pageTableBytes(Math.ceil(byteLength / UNIT)));
      pages.ensure(pageTableBytes(0));
    } catch (error) {
      pages?.dispose();
      units?.dispose();
      source.unmap(base, byteLength);
      throw error;
    }
    this.#units = units;
    this.#pages = pages;
    this.pages = pages.words();
    initializePageTable(this.pages);
  }

  /** Bytes committed for blocks. */
  get committedBytes(): number {
    return this.endUnit * UNIT;
  }

  /** Bytes committed, and wrapped, for the records of units and pages. */
  get tableBytes(): number {
    return this.#units.bytes.byteLength + this.#pages.bytes.byteLength;
  }

  /** Bytes of address space held for the records of units and pages. */
  get tableReservedBytes(): number {
    return this.#units.reservedBytes + this.#pages.reservedBytes;
  }

  /** The region of a unit below `endUnit`. */
  regionOf(unit: number): Region {
    return this.#index.of(unit);
  }

  /**
   * The region of a unit, whose memory is about to be read or written.
   *
   * @throws {CorruptionError} When its ArrayBuffer was detached from outside, after reporting it.
   */
  wrappedRegionOf(unit: number): Region {
    const region = this.regionOf(unit);
    return region.bytes.byteLength > 0 ? region : throwAfterReport(detached(region));
  }

  /**
   * Takes a run of `count` units at a multiple of `alignment` bytes, where it could grow to `room` units if there is such
   * a place; merges parked runs or adds a region when no free run fits.
   *
   * @returns Its first unit, or -1 when the range is full or there is no memory; `isFresh` says whether it is zero.
   */
  take(count: number, alignment: number, kind: RunKind, room = count): number {
    const alignmentUnits = Math.max(1, alignment / UNIT);
    const bias = biasOf(this.base, alignmentUnits);
    this.isShort = false;
    this.#discards.makeRoom();
    let unit = this.runs.take(count, alignmentUnits, bias, kind, room);
    if (unit === -1 && this.runs.parked.total > 0) {
      this.mergeParked();
      unit = this.runs.take(count, alignmentUnits, bias, kind);
    }
    if (unit === -1) {
      this.isShort = this.#refused && !this.#canCommit(count);
      if (this.isShort) return -1;
      // Exactly as far as the block will reach: a region that it did not fit would be left over by a failing call.
      const before = (alignmentUnits - (this.endUnit + bias) % alignmentUnits) % alignmentUnits;
      if (!this.#grow(before + count)) return -1;
      unit = this.runs.take(count, alignmentUnits, bias, kind);
      if (unit === -1) return -1;
    }
    this.#touch(unit, count);
    return unit;
  }

  /** As `take` of a large block of the least alignment, but of a free run that there is; -1 when none fits. */
  takeFree(count: number, room: number): number {
    this.#discards.makeRoom();
    const unit = this.runs.take(count, 1, 0, LARGE_RUN, room);
    if (unit !== -1) this.#touch(unit, count);
    return unit;
  }

  /**
   * Frees the used run at `unit`, of which `untouched` units in front of the last `behind` were not written since they were
   * last given back.
   */
  release(unit: number, untouched = 0, behind = 0): void {
    const region = this.regionOf(unit);
    this.runs.release(unit, region.firstUnit, region.endUnit, untouched, behind);
    this.#discards.freed();
  }

  /** Frees the run of the large block at `unit`, or parks it. */
  releaseLarge(unit: number): void {
    if (this.runs.parked.put(unit)) return;
    this.mergeParked();
    this.release(unit);
  }

  /** Frees all parked runs. */
  mergeParked(): void {
    const { parked } = this.runs;
    for (let unit = parked.takeAny(); unit !== -1; unit = parked.takeAny()) this.release(unit);
  }

  /** Grows or shrinks the used run at `unit` in place; false when the space after it does not allow it. */
  resize(unit: number, count: number): boolean {
    const region = this.regionOf(unit);
    const length = this.runs.lengthAt(unit);
    if (!this.runs.resize(unit, count, region.endUnit)) return false;
    region.frontier = Math.max(region.frontier, unit + count);
    if (count < length) this.#discards.freed();
    else if (count > length) this.#discards.taken(count - length);
    return true;
  }

  /** The first unit of the run, of whatever kind, that `unit` is part of. */
  startOf(unit: number): number {
    return this.runs.startOf(unit, this.regionOf(unit).firstUnit);
  }

  #touch(unit: number, count: number): void {
    const region = this.regionOf(unit);
    this.isFresh = unit >= region.frontier;
    this.#discards.taken(count);
    region.frontier = Math.max(region.frontier, unit + count);
  }

  /** Adds a region that has room for `count` units: as large as all before it, less when the source has less. */
  #grow(count: number): boolean {
    const source = this.#source;
    const step = Math.max(source.pageSize, UNIT);
    const left = this.byteLength - this.committedBytes;
    const needed = alignUp(count * UNIT, step);
    const wanted = alignUp(Math.max(needed, FIRST_REGION + this.committedBytes), PAGE_UNITS * UNIT);
    let length = Math.min(wanted, left, REGION_MAX, source.maxWrapBytes);
    if (length < needed || this.regions.length === REGION_COUNT_MAX) return false;
    for (;;) {
      this.#refused = !this.#attempt(() => this.#commitRegion(length));
      if (!this.#refused || length === needed) return !this.#refused;
      length = Math.max(needed, alignDown(length / 2, step));
    }
  }

  /**
   * Whether the source has the memory for `count` units more, which is given back at once. The search for a region throws
   * at each step: where it has failed before, this one request tells whether to search again.
   */
  #canCommit(count: number): boolean {
    const length = alignUp(count * UNIT, Math.max(this.#source.pageSize, UNIT));
    const address = this.base + this.committedBytes;
    if (length > this.byteLength - this.committedBytes) return true;
    return this.#attempt(() => {
      this.#source.commit(address, length);
      try {
        this.#source.decommit(address, length);
      } catch (error) {
        // Committed and never written: the region that comes next commits it again.
        if (!(error instanceof OutOfMemoryError)) throw error;
      }
    });
  }

  /** Asks the source for memory, and says whether it had it. */
  #attempt(request: () => void): boolean {
    try {
      request();
      return true;
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.failure = error;
      return false;
    }
  }

  #commitRegion(length: number): void {
    const firstUnit = this.endUnit;
    const endUnit = firstUnit + length / UNIT;
    const address = this.base + firstUnit * UNIT;
    // The records come first: a region without them could not be used.
    if (this.#units.ensure(endUnit * UNIT_RECORD)) this.runs.units = this.#units.words();
    if (this.#pages.ensure(pageTableBytes(endUnit))) this.pages = this.#pages.words();
    const bytes = commitWrapped(this.#source, address, length);
    const frontier = Math.max(firstUnit, Math.min(this.#staleEnd, endUnit));
    const index = this.regions.length;
    this.#index.add({ ...wrappedBytes(bytes), index, address, firstUnit, endUnit, frontier });
    this.runs.add(firstUnit, endUnit);
    this.endUnit = endUnit;
  }

  /**
   * Gives the contents of all free runs back, what holds nothing live in pages, and whole free regions from the end of the
   * range, which are detached first.
   *
   * @returns The bytes given back.
   */
  trim(): number {
    let given = 0;
    this.mergeParked();
    for (let region = this.regions.at(-1); region !== undefined; region = this.regions.at(-1)) {
      const { firstUnit, endUnit } = region;
      if (!this.#isFree(region)) break;
      this.#dropRegion(region);
      given += (endUnit - firstUnit) * UNIT;
    }
    return given + this.#discards.trim();
  }

  #isFree({ firstUnit, endUnit }: Region): boolean {
    return this.runs.kindAt(firstUnit) === FREE_RUN && this.runs.lengthAt(firstUnit) === endUnit - firstUnit;
  }

  #dropRegion(region: Region): void {
    const length = (region.endUnit - region.firstUnit) * UNIT;
    this.#source.unwrap(region.bytes);
    try {
      this.#source.decommit(region.address, length);
    } catch (error) {
      const again = this.#wrapAgain(region, length);
      if (again === undefined) this.#forgetRegion(region);
      else this.regions[region.index] = { ...region, ...again };
      throw error;
    }
    // What is stale behind this region still is.
    if (this.#staleEnd <= region.endUnit) this.#staleEnd = Math.min(this.#staleEnd, region.firstUnit);
    this.#forgetRegion(region);
  }

  /** A new wrap of a region that could not be decommitted; undefined when that cannot be had either. */
  #wrapAgain({ address, endUnit }: Region, length: number): WrappedBytes | undefined {
    try {
      return wrappedBytes(wrapWhole(this.#source, address, length));
    } catch {
      this.#staleEnd = Math.max(this.#staleEnd, endUnit);
      return undefined;
    }
  }

  #forgetRegion(region: Region): void {
    this.runs.remove(region.firstUnit);
    this.#index.removeLast();
    this.endUnit = region.firstUnit;
  }

  /** Detaches every region; the range is of no more use than to be disposed. */
  unwrapAll(): void {
    for (const region of this.regions) this.#source.unwrap(region.bytes);
    this.regions.length = 0;
    this.endUnit = 0;
  }

  /** Gives everything back, one `attempt` each; the regions are detached already. */
  dispose(attempt: (giveBack: () => void) => void): void {
    this.runs.units = new Int32Array(0);
    this.pages = new Int32Array(0);
    attempt(() => this.#units.dispose());
    attempt(() => this.#pages.dispose());
    attempt(() => this.#source.unmap(this.base, this.byteLength));
  }

  /**
   * Verifies the regions and the runs. Time in the number of units.
   *
   * @throws {CorruptionError} When two records disagree.
   */
  check(): void {
    for (const region of this.regions) if (region.bytes.byteLength === 0) throw detached(region);
    checkExtents(this.regions, this.endUnit);
    this.#index.check();
    this.runs.check(this.regions);
    checkFrontiers(this.regions, this.runs);
  }
}

function detached({ address }: Region): CorruptionError {
  return new CorruptionError(
    `Cannot use the region at ${formatAddress(address)}: its ArrayBuffer was detached from outside`,
  );
}
