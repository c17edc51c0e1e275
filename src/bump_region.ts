/**
 * One piece of memory that is handed out by moving a cursor, and the record of what was handed out: the core of
 * {@link BumpAllocator} and of every chunk of an {@link Arena}.
 *
 * ```text
 *   address                                   cursor            touched          byteLength
 *      │                                         │                 │                  │
 *      ▼                                         ▼                 ▼                  ▼
 *      ┌──────────┬───┬──────────┬───────────────┬─────────────────┬──────────────────┐
 *      │ block 0  │gap│ block 1  │ block 2       │ used before     │ zero: never used │
 *      └──────────┴───┴──────────┴───────────────┴─────────────────┴──────────────────┘
 *   records   0          1          2            ┊ 3 ...           out of line, four 32-bit words each
 *             └─ count = 3 ────────────────────┘ └─ stale: of blocks that are gone, kept to tell a second free
 * ```
 *
 * Invariants:
 * - records below `count` are in order of address, do not overlap, and the cursor is the end of the last one;
 * - the last record is that of a live block, unless `floor` pins it: the cursor falls back over freed blocks;
 * - records from `count` on are in order of address too, and describe blocks that were live once.
 *
 * The record lives in a typed array of JavaScript's own, so that nothing written through a view or from C can reach
 * it, and a second, interior or foreign free is always found: the last block by one comparison, any other in
 * O(log blocks). Allocating and freeing the last block take constant time, amortised.
 *
 * @module
 */
import type { BlockInfo } from "./allocator.ts";
import type { MemoryRegion } from "./allocator_memory.ts";
import { alignUp } from "./arguments.ts";
import { ALREADY_FREED, CorruptionError, formatAddress, insideBlock, type InvalidAddress } from "./errors.ts";
import { mapWhole } from "./mapped_region.ts";
import type { Address, PageSource } from "./page_source.ts";
import { Unreleased } from "./unreleased.ts";

/** Bytes of a granule: starts and sizes of blocks are multiples of it. */
export const BUMP_GRANULE = 16;

/** The largest size that {@link BumpRegion.allocateShort} takes: the sums in it are 32-bit integers. */
export const BUMP_SHORT_MAX = 2 ** 30;

// A record: where the block starts and how long it is, in granules; the bytes asked for (unsigned); its log2 alignment.
// Signed words, as V8 keeps what it loads from unsigned ones as doubles: allocate and free took 63 instead of 22 ns.
const START = 0;
const GRANULES = 1;
const REQUESTED = 2;
const STATE = 3;
const RECORD = 4;
// V8 folds what a file does not export: for `allocateShort`.
const GRANULE = BUMP_GRANULE;
const LOG2_GRANULE = 4;
const ALIGNMENT_MASK = 31;
const FREED = 32;

/** Memory of a page source with a cursor in it. */
export class BumpRegion {
  /** Where the region starts. */
  readonly address: Address;
  /** Bytes of the region, in whole OS pages. */
  readonly byteLength: number;
  /** Its views. */
  readonly memory: MemoryRegion;
  /** Records in use: live blocks, and freed ones that the cursor could not fall back over. */
  count = 0;
  /** The first free granule. */
  cursor = 0;
  /** Records below this one are never dropped by `free`: a mark of the arena stands there. */
  floor = 0;
  /** Records below `count` that are of freed blocks. What allocating counts is only what must be: see `liveBlocks`. */
  #freed = 0;
  /** Granules of live blocks. */
  #liveGranules = 0;
  readonly #source: PageSource;
  /** The granule behind the last one. */
  readonly #end: number;
  #records: Int32Array;
  /** Records ever written: those from `count` on are stale. */
  #written = 0;
  /** Granules from the larger of this and the cursor on are zero: nobody had them yet. */
  #touched = 0;
  /** As `#touched`, but brought down by `trim`. */
  #resident = 0;

  /**
   * Takes memory of `source`; `records` is how many blocks there is room for at first. What is reserved and then can
   * be neither used nor unmapped is left to `unreleased`.
   *
   * @throws {OutOfMemoryError} When it cannot be had; nothing is held then.
   */
  constructor(
    source: PageSource,
    byteLength: number,
    alignment: number,
    records: number,
    unreleased: Unreleased = new Unreleased(source),
  ) {
    this.#source = source;
    this.memory = mapWhole(source, byteLength, alignment, unreleased);
    this.address = this.memory.address;
    this.byteLength = byteLength;
    this.#end = byteLength / BUMP_GRANULE;
    this.#records = new Int32Array(records * RECORD);
  }

  /** Count of live blocks. */
  get liveBlocks(): number {
    return this.count - this.#freed;
  }

  /** Usable bytes of live blocks. */
  get liveBytes(): number {
    return this.#liveGranules * BUMP_GRANULE;
  }

  /** Requested bytes of live blocks. Time in the number of records. */
  get requestedBytes(): number {
    let requested = 0;
    for (let at = 0; at < this.count * RECORD; at += RECORD) {
      if (this.#records[at + STATE]! < FREED) requested += this.#records[at + REQUESTED]! >>> 0;
    }
    return requested;
  }

  /** As `allocate` at the least alignment, for sizes up to {@link BUMP_SHORT_MAX}: half as long, and a third faster. */
  allocateShort(size: number): Address {
    const start = this.cursor;
    const granules = size === 0 ? 1 : (size + 15) >>> 4;
    const end = start + granules;
    const records = this.#records;
    const at = this.count * RECORD;
    if (end > this.#end || at === records.length) return this.allocate(size, GRANULE);
    records[at] = start;
    records[at + GRANULES] = granules;
    records[at + REQUESTED] = size;
    records[at + STATE] = LOG2_GRANULE;
    this.cursor = end;
    this.#liveGranules += granules;
    if (++this.count > this.#written) this.#written = this.count;
    return this.address + start * GRANULE;
  }

  /** Places a block behind the last one, or returns 0 when there is no room. Arguments are valid. */
  allocate(size: number, alignment: number): Address {
    const granules = size === 0 ? 1 : Math.ceil(size / BUMP_GRANULE);
    let start = this.cursor;
    let log2 = 4;
    if (alignment > BUMP_GRANULE) {
      start = (alignUp(this.address + start * BUMP_GRANULE, alignment) - this.address) / BUMP_GRANULE;
      log2 = 31 - Math.clz32(alignment);
    }
    const end = start + granules;
    if (end > this.#end) return 0;
    const at = this.count * RECORD;
    if (at === this.#records.length) this.#lengthen();
    const records = this.#records;
    records[at + START] = start;
    records[at + GRANULES] = granules;
    records[at + REQUESTED] = size;
    records[at + STATE] = log2;
    this.cursor = end;
    this.count++;
    if (this.count > this.#written) this.#written = this.count;
    this.#liveGranules += granules;
    return this.address + start * BUMP_GRANULE;
  }

  /** Of the `size` bytes at `address`, just allocated, how many may be other than zero: always the first ones. */
  dirtyBytes(address: Address, size: number): number {
    const dirty = this.address + this.#touched * BUMP_GRANULE - address;
    return dirty <= 0 ? 0 : dirty < size ? dirty : size;
  }

  /** The record of the live block that starts at `address`, or -1. Any value may come. */
  indexOf(address: Address): number {
    if (typeof address !== "number") return -1;
    const granule = (address - this.address) / BUMP_GRANULE;
    const last = this.count - 1;
    if (last < 0 || !(granule >= 0 && granule < this.cursor)) return -1;
    const index = this.#records[last * RECORD + START] === granule ? last : this.#search(granule, 0, last);
    const at = index * RECORD;
    return index >= 0 && this.#records[at + START] === granule && this.#records[at + STATE]! < FREED ? index : -1;
  }

  /**
   * Frees the block of a record, and returns the bytes that were asked for. They come back at once if no live or pinned
   * block lies behind it.
   */
  free(index: number): number {
    const records = this.#records;
    const at = index * RECORD;
    const requested = records[at + REQUESTED]! >>> 0;
    this.#freed++;
    this.#liveGranules -= records[at + GRANULES]!;
    records[at + STATE] = records[at + STATE]! | FREED;
    if (index === this.count - 1) this.dropFreed();
    return requested;
  }

  /** Lets the cursor fall back over freed blocks that nothing pins. */
  dropFreed(): void {
    const records = this.#records;
    let { count } = this;
    while (count > this.floor && records[(count - 1) * RECORD + STATE]! >= FREED) count--;
    if (count === this.count) return;
    this.#freed -= this.count - count;
    this.#fallBack(count);
  }

  /**
   * Gives a block another size in place, and says whether that can be done. Only the last one grows, or gives bytes
   * back.
   */
  resize(index: number, size: number): boolean {
    const records = this.#records;
    const at = index * RECORD;
    const before = records[at + GRANULES]!;
    const granules = size === 0 ? 1 : Math.ceil(size / BUMP_GRANULE);
    if (index === this.count - 1) {
      const end = records[at + START]! + granules;
      if (end > this.#end) return false;
      records[at + GRANULES] = granules;
      this.#liveGranules += granules - before;
      this.#moveCursor(end);
    } else if (granules > before) {
      return false;
    }
    records[at + REQUESTED] = size;
    return true;
  }

  /** Frees all blocks from record `count` on, and returns the bytes that were asked for. */
  truncate(count: number): number {
    const records = this.#records;
    let requested = 0;
    for (let index = count; index < this.count; index++) {
      const at = index * RECORD;
      if (records[at + STATE]! >= FREED) {
        this.#freed--;
        continue;
      }
      this.#liveGranules -= records[at + GRANULES]!;
      requested += records[at + REQUESTED]! >>> 0;
    }
    if (count < this.count) this.#fallBack(count);
    return requested;
  }

  /** Frees all blocks. Constant time. */
  reset(): void {
    this.floor = this.#freed = this.#liveGranules = 0;
    if (this.count > 0) this.#fallBack(0);
  }

  /** What record `index` says. */
  info(index: number): BlockInfo {
    const records = this.#records;
    const at = index * RECORD;
    return {
      address: this.address + records[at + START]! * BUMP_GRANULE,
      requestedSize: records[at + REQUESTED]! >>> 0,
      usableSize: records[at + GRANULES]! * BUMP_GRANULE,
      alignment: 1 << (records[at + STATE]! & ALIGNMENT_MASK),
    };
  }

  /** The live blocks from record `from` on, in order of address; the caller may free and allocate meanwhile. */
  *live(from = 0): IterableIterator<BlockInfo> {
    for (let index = from; index < this.count; index++) {
      if (this.#records[index * RECORD + STATE]! < FREED) yield this.info(index);
    }
  }

  /** Why no live block starts at `address`; undefined when it is not in this region. */
  explain(address: Address): InvalidAddress | undefined {
    const granule = (address - this.address) / BUMP_GRANULE;
    if (!(granule >= 0 && granule < this.#end)) return undefined;
    const around = this.#search(granule, 0, this.count - 1);
    if (around >= 0) {
      const { address: start, usableSize } = this.info(around);
      const live = this.#records[around * RECORD + STATE]! < FREED;
      if (live && address > start && address < start + usableSize) return insideBlock(address, start, usableSize);
      if (!live && address === start) return ALREADY_FREED;
    }
    const stale = this.#search(granule, this.count, this.#written - 1);
    return stale >= 0 && this.#records[stale * RECORD + START] === granule ? ALREADY_FREED : FOREIGN;
  }

  /** Gives the contents of whole OS pages above the cursor back to the system; the bytes given. */
  discardUnused(): number {
    const { pageSize } = this.#source;
    const from = alignUp(this.cursor * BUMP_GRANULE, pageSize);
    const to = alignUp(Math.max(this.#resident, this.cursor) * BUMP_GRANULE, pageSize);
    // `#touched` stays: a view of a freed block may write there again.
    this.#resident = 0;
    if (to <= from) return 0;
    this.#source.discard(this.address + from, to - from);
    return to - from;
  }

  /** Verifies the record. */
  check(): void {
    let end = 0;
    let [blocks, bytes] = [0, 0];
    for (let index = 0; index < this.count; index++) {
      const { address, requestedSize, usableSize, alignment } = this.info(index);
      const start = address - this.address;
      if (start < end || requestedSize > usableSize || address % alignment !== 0) {
        throw new CorruptionError(
          `Cannot trust the record of the block at ${formatAddress(address)}: it is impossible`,
        );
      }
      end = start + usableSize;
      if (this.#records[index * RECORD + STATE]! >= FREED) continue;
      blocks++;
      bytes += usableSize;
    }
    if (end !== this.cursor * BUMP_GRANULE || end > this.byteLength || this.floor > this.count) {
      throw new CorruptionError(
        `Cannot trust the cursor of the region at ${formatAddress(this.address)}: it is at ` +
          `${this.cursor * BUMP_GRANULE}, and the last block ends at ${end} of ${this.byteLength} bytes`,
      );
    }
    if (blocks !== this.liveBlocks || bytes !== this.liveBytes) {
      throw new CorruptionError(
        `Cannot trust the figures of the region at ${formatAddress(this.address)}: ${this.liveBlocks} blocks of ` +
          `${this.liveBytes} bytes are counted, ${blocks} of ${bytes} are recorded`,
      );
    }
  }

  /** Detaches every view. */
  unwrap(): void {
    this.#source.unwrap(this.memory.bytes);
  }

  /** Gives the memory back; every view is detached before. */
  unmap(): void {
    this.forget();
    this.#source.unmap(this.address, this.byteLength);
  }

  /** Drops all records: whoever still holds the region finds no block in it. */
  forget(): void {
    this.count =
      this.cursor =
      this.floor =
      this.#written =
        0;
    this.#freed = this.#liveGranules = 0;
  }

  /** The last record from `first` to `last` that starts at or before `granule`, or -1. */
  #search(granule: number, first: number, last: number): number {
    const records = this.#records;
    let low = first;
    let high = last + 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (records[middle * RECORD + START]! <= granule) low = middle + 1;
      else high = middle;
    }
    return low > first ? low - 1 : -1;
  }

  /** Drops records from `count` on. */
  #fallBack(count: number): void {
    this.count = count;
    const at = (count - 1) * RECORD;
    this.#moveCursor(count === 0 ? 0 : this.#records[at + START]! + this.#records[at + GRANULES]!);
  }

  #moveCursor(granule: number): void {
    if (granule < this.cursor) {
      if (this.cursor > this.#touched) this.#touched = this.cursor;
      if (this.cursor > this.#resident) this.#resident = this.cursor;
    }
    this.cursor = granule;
  }

  #lengthen(): void {
    const longer = new Int32Array(this.#records.length * 2);
    longer.set(this.#records);
    this.#records = longer;
  }
}

const FOREIGN: InvalidAddress = { kind: "foreign", detail: "no block starts there" };
