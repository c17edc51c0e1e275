/**
 * The memory of a shared heap as one worker sees it: its own wraps of mappings that all workers share.
 *
 * Nothing ever moves: data and tables are reserved whole when the heap is made. What grows is how much of them is
 * committed, which is the business of whoever holds the lock, and how much of that this worker has wrapped, which is its own:
 * when it meets something beyond, it wraps the longer span ({@link SharedTables.refresh}). Regions are wrapped when a view of
 * them is first wanted, as a runtime's garbage collector is told about wrapped bytes.
 *
 * Old wraps of tables are left to the collector: nobody else has them, see table.ts.
 *
 * @module
 */
import type { MemoryRegion } from "./allocator_memory.ts";
import { alignUp } from "./arguments.ts";
import { wrappedBytes } from "./bytes.ts";
import { wrapWhole } from "./commit_wrapped.ts";
import { OutOfMemoryError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";
import { PAGE_UNITS, UNIT } from "./run_record.ts";
import {
  COMMITTED,
  CONTROL_BYTES,
  DATA,
  END_UNIT,
  LINK_TABLE,
  PAGE_TABLE,
  REGION_COUNT,
  REGIONS,
  REMOTE_TABLE,
  TABLE_NAMES,
  TABLE_STEP,
  type TableLayout,
  tableLayout,
  TABLES,
  UNIT_TABLE,
  UNITS,
} from "./shared_layout.ts";

/** A region of the data, as one worker has wrapped it. */
export interface SharedRegion extends MemoryRegion {
  /** Its first unit. */
  readonly firstUnit: number;
  /** The unit after its last. */
  readonly endUnit: number;
}

/** This worker's wraps of one heap. */
export class SharedTables {
  /** The control block. */
  readonly control: Int32Array;
  /** Where the data begins. */
  readonly base: Address;
  /** Units reserved for data. */
  readonly unitsReserved: number;
  /** Units of all regions that this worker knows of: its wraps of units, pages and remote reach so far. */
  endUnit = 0;
  /** The records of units. */
  units: Int32Array = new Int32Array(0);
  /** The records of pages. */
  pages: Int32Array = new Int32Array(0);
  /** Bits of dirty pages, then bitmaps. */
  remote: Int32Array = new Int32Array(0);
  /** The links of slots. */
  links: Uint16Array = new Uint16Array(0);
  readonly #source: PageSource;
  readonly #layout: TableLayout;
  readonly #address: Address;
  /** The wraps behind the four arrays. */
  readonly #wraps: (Uint8Array | undefined)[] = [];
  /** The wraps of regions. */
  readonly #regions: (SharedRegion | undefined)[] = [];
  /** The number of the region found last. */
  #lastRegion = 0;
  /** The number of the region by page, from 1 on, once it is wrapped; 0 also for a page that is not all of one region. */
  #ofPage = new Uint16Array(0);

  /** Over an initialised control block. */
  constructor(source: PageSource, control: Int32Array) {
    this.#source = source;
    this.control = control;
    this.base = (control[DATA]! >>> 0) * CONTROL_BYTES;
    this.unitsReserved = control[UNITS]!;
    this.#address = (control[TABLES]! >>> 0) * CONTROL_BYTES;
    this.#layout = tableLayout(this.unitsReserved, source.maxWrapBytes);
  }

  /** Count of regions that this worker knows of. */
  get regionCount(): number {
    return this.control[REGION_COUNT]!;
  }

  /** Bytes committed for tables, by all workers. */
  get tableBytes(): number {
    return TABLE_NAMES.reduce((sum, _name, table) => sum + this.#committed(table), 0);
  }

  /** Bytes that this worker has wrapped: of tables and regions. */
  get wrappedBytes(): number {
    const tables = this.#wraps.reduce((sum, bytes) => sum + (bytes?.byteLength ?? 0), 0);
    return this.#regions.reduce((sum, region) => sum + (region?.bytes.byteLength ?? 0), tables);
  }

  /** Bytes of address space held for data and tables. */
  get reservedBytes(): number {
    return this.unitsReserved * UNIT + this.#layout.byteLength;
  }

  #committed(table: number): number {
    return this.control[COMMITTED + table]! * TABLE_STEP;
  }

  /** Wraps what others have committed since. */
  refresh(): void {
    for (let table = 0; table < TABLE_NAMES.length; table++) {
      const length = this.#committed(table);
      if (length > (this.#wraps[table]?.byteLength ?? 0)) this.#wrap(table, length);
    }
    // After the tables: what is below must be reachable in them.
    this.endUnit = Atomics.load(this.control, END_UNIT);
  }

  /**
   * Commits a table up to `byteLength` bytes, and wraps it so far. The caller holds the lock.
   *
   * @throws {OutOfMemoryError} When the memory cannot be had, or not be wrapped; nothing has changed then.
   */
  ensure(table: number, byteLength: number): void {
    const committed = this.#committed(table);
    const most = this.#layout.lengths[table]!;
    if (byteLength > most) {
      throw new OutOfMemoryError(
        `Cannot make the table of ${TABLE_NAMES[table]} ${byteLength} bytes long: ${most} are reserved for it`,
        byteLength,
        most,
      );
    }
    if (byteLength > committed) {
      const source = this.#source;
      const length = Math.min(
        alignUp(Math.max(byteLength, committed * 2), Math.max(source.pageSize, TABLE_STEP)),
        most,
      );
      this.#commit(table, committed, length);
    } else if (committed > (this.#wraps[table]?.byteLength ?? 0)) this.#wrap(table, committed);
  }

  /**
   * Makes a table `length` bytes long instead of `before`. All are told once it is wrapped: whoever takes the lock must wrap
   * what was told, so that one who was told of a table that it cannot wrap could not even free a block.
   */
  #commit(table: number, before: number, length: number): void {
    const source = this.#source;
    const end = this.#address + this.#layout.offsets[table]! + before;
    source.commit(end, length - before);
    try {
      this.#wrap(table, length);
    } catch (error) {
      // Nobody has seen it.
      source.decommit(end, length - before);
      throw error;
    }
    this.control[COMMITTED + table] = length / TABLE_STEP;
  }

  #wrap(table: number, length: number): void {
    const bytes = wrapWhole(this.#source, this.#address + this.#layout.offsets[table]!, length);
    const { buffer, byteOffset } = bytes;
    this.#wraps[table] = bytes;
    if (table === LINK_TABLE) this.links = new Uint16Array(buffer, byteOffset, length / 2);
    else {
      const words = new Int32Array(buffer, byteOffset, length / 4);
      if (table === UNIT_TABLE) this.units = words;
      if (table === PAGE_TABLE) this.pages = words;
      if (table === REMOTE_TABLE) this.remote = words;
    }
  }

  /** The index of the region of a unit below `endUnit`. */
  regionIndex(unit: number): number {
    const { control } = this;
    let low = this.#lastRegion;
    if (unit < this.regionStart(low) || unit >= control[REGIONS + low * 2]!) {
      low = 0;
      let high = this.regionCount - 1;
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (unit < control[REGIONS + middle * 2]!) high = middle;
        else low = middle + 1;
      }
      this.#lastRegion = low;
    }
    return low;
  }

  /** The first unit of a region. */
  regionStart(index: number): number {
    return index === 0 ? 0 : this.control[REGIONS + index * 2 - 2]!;
  }

  /** The unit after the last of a region. */
  regionEnd(index: number): number {
    return this.control[REGIONS + index * 2]!;
  }

  /** The region of a unit below `endUnit`, wrapped. Empty when somebody has detached it. */
  regionOf(unit: number): SharedRegion {
    const number = this.#ofPage[unit >>> 4];
    if (number) return this.#regions[number - 1]!;
    const index = this.regionIndex(unit);
    return this.#regions[index] ?? this.#wrapRegion(index);
  }

  #wrapRegion(index: number): SharedRegion {
    const firstUnit = this.regionStart(index);
    const endUnit = this.regionEnd(index);
    const address = this.base + firstUnit * UNIT;
    const length = (endUnit - firstUnit) * UNIT;
    const bytes = wrapWhole(this.#source, address, length);
    const region = { ...wrappedBytes(bytes), address, firstUnit, endUnit };
    this.#regions[index] = region;
    this.#enter(index, Math.ceil(firstUnit / PAGE_UNITS), Math.floor(endUnit / PAGE_UNITS));
    return region;
  }

  #enter(index: number, firstPage: number, endPage: number): void {
    if (endPage > this.#ofPage.length) {
      const longer = new Uint16Array(Math.max(endPage, this.#ofPage.length * 2));
      longer.set(this.#ofPage);
      this.#ofPage = longer;
    }
    this.#ofPage.fill(index + 1, firstPage, endPage);
  }

  /** The regions that this worker has wrapped. */
  *wrappedRegions(): IterableIterator<SharedRegion> {
    for (const region of this.#regions) if (region !== undefined) yield region;
  }

  /** Detaches every view of data that this worker has. */
  unwrapData(): void {
    for (const region of this.#regions) if (region !== undefined) this.#source.unwrap(region.bytes);
    this.#regions.length = 0;
    this.#ofPage = new Uint16Array(0);
  }

  /** Ends this worker's use of the tables. */
  unwrapTables(): void {
    this.endUnit = 0;
    this.units = new Int32Array(0);
    this.pages = new Int32Array(0);
    this.remote = new Int32Array(0);
    this.links = new Uint16Array(0);
    for (const bytes of this.#wraps) if (bytes !== undefined) this.#source.unwrap(bytes);
    this.#wraps.length = 0;
  }

  /** What is to be unmapped when the heap ends: data and tables, in bytes. */
  mappings(): readonly { readonly address: Address; readonly byteLength: number }[] {
    return [
      { address: this.base, byteLength: this.unitsReserved * UNIT },
      { address: this.#address, byteLength: this.#layout.byteLength },
    ];
  }
}
