/**
 * The blocks of a shared heap: which one an address means, whoever allocated it and whoever asks.
 *
 * Looking a block up takes no lock. Who asks for a live block that it may use has been told of it by somebody, and so sees
 * all that was written before; who asks for any other address gets some answer, and never a fault.
 *
 * @module
 */
import type { AllocatorStats, BlockInfo } from "./allocator.ts";
import { ALREADY_FREED, insideBlock, type InvalidAddress } from "./errors.ts";
import type { Address } from "./page_source.ts";
import {
  alignmentOfLink,
  CAPACITY,
  EXTENDED,
  GRANULES_MASK,
  INVERSE_SHIFT,
  LINKS,
  LIVE,
  OWNED,
  SHAPE,
  SLACK_MASK,
} from "./page_table.ts";
import { INFO_ALIGNMENT, INFO_OWNED, LARGE_RUN, PAGE_RUN, UNIT } from "./run_record.ts";
import { END_UNIT, GAP_UNITS, REGIONS } from "./shared_layout.ts";
import type { SharedPages } from "./shared_pages.ts";
import { isFreedRemotely } from "./shared_remote.ts";
import type { SharedSpace } from "./shared_space.ts";
import type { SharedTables } from "./shared_tables.ts";
import { GRANULE, PAGE_GRANULES } from "./size_class.ts";

/** Granules of a unit. */
const UNIT_GRANULES = UNIT / GRANULE;

/** A live block, found by its address. */
export interface SharedBlock extends BlockInfo {
  /** Its first granule. */
  readonly granule: number;
  /** The index of its link if it is small, otherwise 0. */
  readonly link: number;
  /** Whether a NativeBuffer owns it, in whichever worker. */
  readonly owned: boolean;
}

/** Finds blocks. */
export class SharedBlocks {
  readonly #space: SharedSpace;
  readonly #tables: SharedTables;
  readonly #pages: SharedPages;

  /** Over the space and the pages of one attachment. */
  constructor(space: SharedSpace, pages: SharedPages) {
    this.#space = space;
    this.#tables = space.tables;
    this.#pages = pages;
  }

  /** The granule that starts at `address`; -1 when none does in any region. */
  granuleAt(address: Address): number {
    const tables = this.#tables;
    const granule = (address - tables.base) / GRANULE;
    if (!(granule >= 0 && granule < tables.unitsReserved * UNIT_GRANULES) || !Number.isInteger(granule)) return -1;
    return this.#isKnown(granule >>> 8) ? granule : -1;
  }

  /** Whether a unit is below the end, after another look when it is not. */
  #isKnown(unit: number): boolean {
    const tables = this.#tables;
    if (unit < tables.endUnit) return true;
    if (unit >= Atomics.load(tables.control, END_UNIT)) return false;
    // Another worker is adding a region; under the lock it is complete.
    this.#space.locked(() => {});
    return true;
  }

  /** The index of the link of the live slot that starts at `granule`; 0 when none does. */
  liveLink(granule: number): number {
    const tables = this.#tables;
    const { pages } = tables;
    const page = (granule >>> 8) & -16;
    const offset = granule & (PAGE_GRANULES - 1);
    const shape = pages[page + SHAPE]!;
    const slot = Math.imul(offset, shape >>> INVERSE_SHIFT) >>> 16;
    if (shape === 0 || Math.imul(slot, shape & GRANULES_MASK) !== offset) return 0;
    const index = pages[page + LINKS]! + slot;
    if (index >= tables.links.length) this.#space.locked(() => {});
    return tables.links[index]! >= LIVE && !isFreedRemotely(tables, page, slot) ? index : 0;
  }

  /** The live block that starts at `address`. */
  find(address: Address): SharedBlock | undefined {
    const granule = this.granuleAt(address);
    if (granule === -1) return undefined;
    const link = this.liveLink(granule);
    if (link !== 0) return this.#small(address, granule, link);
    return (granule & (UNIT_GRANULES - 1)) === 0 ? this.#large(granule / UNIT_GRANULES) : undefined;
  }

  /** The block of a slot that was live; undefined when another worker has freed it since. */
  #small(address: Address, granule: number, link: number): SharedBlock | undefined {
    const { pages, links } = this.#tables;
    const code = links[link]!;
    if (code < LIVE) return undefined;
    const usableSize = (pages[((granule >>> 8) & -16) + SHAPE]! & GRANULES_MASK) * GRANULE;
    return {
      address,
      requestedSize: usableSize - (code & SLACK_MASK),
      usableSize,
      alignment: alignmentOfLink(code),
      granule,
      link,
      owned: code >= OWNED,
    };
  }

  #large(unit: number): SharedBlock | undefined {
    const { runs } = this.#space;
    const count = runs.largeAt(unit);
    if (count === 0) return undefined;
    const info = runs.info(unit);
    return {
      address: this.#tables.base + unit * UNIT,
      requestedSize: count * UNIT - runs.slack(unit),
      usableSize: count * UNIT,
      alignment: 1 << (info & INFO_ALIGNMENT),
      granule: unit * UNIT_GRANULES,
      link: 0,
      owned: (info & INFO_OWNED) !== 0,
    };
  }

  /** Why no live block starts at `address`. */
  explain(address: Address): InvalidAddress {
    const around = this.#around(address);
    if (around !== undefined) return insideBlock(address, around.address, around.usableSize);
    return this.#wasLive(address)
      ? ALREADY_FREED
      : { kind: "foreign", detail: "this heap has no block there and had none" };
  }

  #around(address: Address): SharedBlock | undefined {
    const tables = this.#tables;
    const granule = this.granuleAt(tables.base + Math.floor((address - tables.base) / GRANULE) * GRANULE);
    if (granule === -1) return undefined;
    const { pages } = tables;
    const page = (granule >>> 8) & -16;
    const granules = pages[page + SHAPE]! & GRANULES_MASK;
    if (granules !== 0) {
      const slot = Math.floor((granule & (PAGE_GRANULES - 1)) / granules);
      const start = (page << 8) + slot * granules;
      return slot < pages[page + CAPACITY]! && this.liveLink(start) !== 0
        ? this.find(tables.base + start * GRANULE)
        : undefined;
    }
    return this.#large(this.#startOf(granule >>> 8));
  }

  /** The first unit of the run that `unit` is part of. */
  #startOf(unit: number): number {
    const { runs } = this.#space;
    const tables = this.#tables;
    const first = tables.regionStart(tables.regionIndex(unit));
    while (unit > first && runs.lengthAt(unit) === 0) unit--;
    return unit;
  }

  #wasLive(address: Address): boolean {
    const granule = this.granuleAt(address);
    if (granule === -1) return false;
    const { control, pages } = this.#tables;
    const page = (granule >>> 8) & -16;
    const granules = pages[page + SHAPE]! & GRANULES_MASK;
    if (granules !== 0) {
      const slot = (granule & (PAGE_GRANULES - 1)) / granules;
      return Number.isInteger(slot) && slot < pages[page + EXTENDED]!;
    }
    return granule >>> 8 < control[REGIONS + this.#tables.regionIndex(granule >>> 8) * 2 + 1]!;
  }

  /** The first units of all runs of a kind, as they are at one moment. Time in the number of runs. */
  #runsOf(kinds: readonly number[]): number[] {
    const { runs } = this.#space;
    const tables = this.#tables;
    return this.#space.locked(() => {
      const found: number[] = [];
      for (let unit = 0; unit < tables.endUnit; unit += runs.lengthAt(unit)) {
        if (kinds.includes(runs.kindAt(unit))) found.push(unit);
      }
      return found;
    });
  }

  /** The live blocks, by address. Blocks may come and go during the walk. */
  *live(): IterableIterator<SharedBlock> {
    const { runs } = this.#space;
    const tables = this.#tables;
    for (const unit of this.#runsOf([LARGE_RUN, PAGE_RUN])) {
      if (tables.endUnit === 0) return;
      if (tables.pages[unit + SHAPE] === 0 || runs.kindAt(unit) !== PAGE_RUN) {
        const block = this.#large(unit);
        if (block !== undefined) yield block;
        continue;
      }
      const granules = tables.pages[unit + SHAPE]! & GRANULES_MASK;
      const slots: number[] = [];
      for (let slot = 0; slot < tables.pages[unit + EXTENDED]!; slot++) {
        if (this.liveLink((unit << 8) + slot * granules) !== 0) slots.push(slot);
      }
      for (const slot of slots) {
        const granule = (unit << 8) + slot * granules;
        const link = tables.endUnit > 0 ? this.liveLink(granule) : 0;
        const block = link === 0 ? undefined : this.#small(tables.base + granule * GRANULE, granule, link);
        if (block !== undefined) yield block;
      }
    }
  }

  /** The figures of this moment; those of blocks are exact when no other worker is at work. */
  stats(): AllocatorStats {
    const { runs } = this.#space;
    const tables = this.#tables;
    let liveBlocks = 0;
    let liveBytes = 0;
    for (const unit of this.#runsOf([LARGE_RUN, PAGE_RUN])) {
      if (runs.kindAt(unit) === LARGE_RUN) {
        liveBlocks++;
        liveBytes += runs.lengthAt(unit) * UNIT;
        continue;
      }
      const live = this.#pages.liveSlots(unit);
      liveBlocks += live;
      liveBytes += live * (tables.pages[unit + SHAPE]! & GRANULES_MASK) * GRANULE;
    }
    const committedBytes = (tables.endUnit - tables.control[GAP_UNITS]!) * UNIT;
    return {
      liveBlocks,
      liveBytes,
      committedBytes,
      peakCommittedBytes: committedBytes,
      tableBytes: tables.tableBytes,
      reservedBytes: tables.reservedBytes,
      wrappedBytes: tables.wrappedBytes,
      regions: tables.regionCount,
      limit: Infinity,
    };
  }

  /**
   * Verifies the units and pages. Time in the number of slots and units.
   *
   * @throws {CorruptionError} When two records disagree.
   */
  check(): void {
    const { runs } = this.#space;
    const tables = this.#tables;
    // Under the lock throughout: a page cannot change hands, and those of other workers are looked at with care.
    this.#space.locked(() => {
      const regions = Array.from(
        { length: tables.regionCount },
        (_, index): [number, number] => [tables.regionStart(index), tables.regionEnd(index)],
      );
      runs.check(regions);
      const pages: number[] = [];
      for (let unit = 0; unit < tables.endUnit; unit += runs.lengthAt(unit)) {
        if (runs.kindAt(unit) === PAGE_RUN) pages.push(unit);
      }
      this.#pages.check(pages);
    });
  }
}
