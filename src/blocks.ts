/**
 * All blocks of a heap, small, large and huge: where they come from, and which one an address means.
 *
 * It knows placement only: limits and clearing are the business of `HeapCore`, contents that of `BlockMemory`, owned
 * buffers that of `OwnedBlocks`.
 *
 * ```text
 *   size                       served by
 *   0 .. 16 KiB                a slot of a page (SmallPages)           alignment up to 1 KiB
 *   .. 4 MiB                   a run of units (AddressRange)           alignment up to 1 MiB
 *   above, or nothing else     a mapping of its own (HugeBlocks)       alignment up to 1 GiB
 * ```
 *
 * A heap starts with one address range and takes another only when that one is full: every 32 GiB on an operating
 * system, sooner where address space is scarce or the source is a fixed buffer. A small block for which no whole page
 * can be had, as under a tight budget, is served as a run of one unit or more before the heap gives up.
 *
 * @module
 */
import { AddressRange, RANGE_MAX, type Region } from "./address_range.ts";
import type { BlockInfo } from "./allocator.ts";
import { alignDown } from "./arguments.ts";
import { formatAddress, type InvalidFreeKind, OutOfMemoryError } from "./errors.ts";
import { type HugeBlock, HugeBlocks } from "./huge_blocks.ts";
import { alignmentOfLink, linkWithOwned, liveLink, OWNED, SLACK_MASK } from "./page_table.ts";
import type { Address, PageSource } from "./page_source.ts";
import { INFO_ALIGNMENT, INFO_OWNED, LARGE_RUN, PAGE_RUN, UNIT } from "./runs.ts";
import { CLASS_GRANULES, classFor, GRANULE, PAGE_SIZE } from "./size_class.ts";
import { SmallPages } from "./small_pages.ts";

/** Larger blocks get a mapping of their own. */
const RUN_MAX = 4 * 2 ** 20;

/** Larger alignments get a mapping of their own: a run aligned so far could leave as much unusable. */
const RUN_ALIGNMENT_MAX = 2 ** 20;

/** Bytes of the first range over a source where reserving is spending; each further one doubles. */
const FIRST_BUDGET_RANGE = 2 ** 20;

/** The most that a small block may shrink in place: what its link can say. */
const SLACK_MAX = SLACK_MASK;

/** Granules of a unit. */
const UNIT_GRANULES = UNIT / GRANULE;

/** The base-2 logarithm of the alignment of blocks for which none was asked. */
const DEFAULT_ALIGNMENT_LOG = 4;

/** A live block, found by its address. */
export interface LiveBlock extends BlockInfo {
  /** Whether a NativeBuffer owns it. */
  readonly owned: boolean;
  /** The range it lies in; undefined for a huge block. */
  readonly pages: SmallPages | undefined;
  /** Its first granule in that range. */
  readonly granule: number;
  /** The index of its link if it is small, otherwise 0. */
  readonly link: number;
  /** Its record if it is huge. */
  readonly huge: HugeBlock | undefined;
}

/** The blocks of one heap. */
export class Blocks {
  /** Where everything comes from. */
  readonly source: PageSource;
  /** The ranges with their pages; the heap's fast paths work on the first. */
  readonly ranges: SmallPages[] = [];
  /** The blocks with a mapping of their own. */
  readonly huge: HugeBlocks;
  /** Whether the block of the last `allocate` is memory that reads as zero. */
  isFresh = false;
  /** Why the last placement failed: each tries a mapping of its own in the end. */
  #failure: OutOfMemoryError | undefined;

  /** Reserves the first range. */
  constructor(source: PageSource) {
    this.source = source;
    this.huge = new HugeBlocks(source);
    this.#addRange(UNIT);
  }

  /** Bytes committed for blocks. */
  get committedBytes(): number {
    let committed = this.huge.byteLength;
    for (const { range } of this.ranges) committed += range.committedBytes;
    return committed;
  }

  /**
   * Places a block; a huge one with `room` bytes if they can be had.
   *
   * @throws {OutOfMemoryError} When there is no place for it.
   */
  allocate(size: number, alignment: number, room: number = size): Address {
    this.isFresh = false;
    const rangesBefore = this.ranges.length;
    const address = this.#place(size, alignment, room);
    if (address !== 0) return address;
    // What idle pages hold may be just what is missing.
    for (const pages of this.ranges) pages.releaseIdle(true);
    this.huge.unreleased.retry();
    const retried = this.#place(size, alignment, room);
    if (retried !== 0) return retried;
    // A range that was reserved for this block, and then could not be committed, is not kept.
    giveAllBack((attempt) => {
      while (this.ranges.length > rangesBefore) this.#disposeRange(this.ranges.pop()!, attempt);
    });
    const cause = this.#failure!;
    throw new OutOfMemoryError(
      `Cannot allocate ${size} bytes at alignment ${alignment}: ${cause.message}`,
      size,
      cause.limit,
      { cause },
    );
  }

  /**
   * Places what is to take the place of `block`. A huge block that grows gets half as much again as it needs, if that can
   * be had: otherwise growing by steps would copy everything at every step. Untouched, it costs nothing but address space.
   */
  allocateInPlaceOf(block: LiveBlock, size: number): Address {
    const grows = this.source.lazy && block.huge !== undefined && size > block.usableSize;
    return this.allocate(size, block.alignment, grows ? size * 1.5 : size);
  }

  /** An address for the block, or 0. */
  #place(size: number, alignment: number, room: number, mayAddRange = true): Address {
    this.#failure = undefined;
    const sizeClass = classFor(size, alignment);
    if (sizeClass !== -1) {
      const link = liveLink(Math.max(alignment, GRANULE), CLASS_GRANULES[sizeClass]! * GRANULE - size);
      for (const pages of this.ranges) {
        const granule = pages.allocate(sizeClass, link);
        if (granule !== -1) return pages.range.base + granule * GRANULE;
      }
      if (mayAddRange && this.#addRangeIfFull(PAGE_SIZE)) return this.#place(size, alignment, room, false);
    }
    if (size <= RUN_MAX && alignment <= RUN_ALIGNMENT_MAX) {
      const count = Math.max(1, Math.ceil(size / UNIT));
      for (const { range } of this.ranges) {
        const unit = range.take(count, alignment, LARGE_RUN);
        if (unit === -1) continue;
        range.runs.describe(unit, count * UNIT - size, Math.log2(Math.max(alignment, GRANULE)));
        this.isFresh = range.isFresh;
        return range.base + unit * UNIT;
      }
      if (mayAddRange && sizeClass === -1 && this.#addRangeIfFull(count * UNIT)) {
        return this.#place(size, alignment, room, false);
      }
    }
    const huge = (room > size && this.#attempt(() => this.huge.allocate(size, alignment, room), undefined)) ||
      this.#attempt(() => this.huge.allocate(size, alignment), undefined);
    if (huge === undefined) return 0;
    this.isFresh = true;
    return huge.address;
  }

  /** The result of `request`, or `otherwise` when the source has no memory for it; why is kept for the message. */
  #attempt<T>(request: () => T, otherwise: T): T {
    try {
      return request();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.#failure = error;
      return otherwise;
    }
  }

  /**
   * Reserves another range when the last has no room left for `byteLength` more bytes; false when it has, or there is
   * none.
   */
  #addRangeIfFull(byteLength: number): boolean {
    const { range } = this.ranges.at(-1)!;
    if (range.byteLength - range.committedBytes >= byteLength) return false;
    return this.#attempt(() => {
      this.#addRange(byteLength);
      return true;
    }, false);
  }

  /** Reserves another range with its tables, as large as can be had but at least `least` bytes. */
  #addRange(least: number): void {
    const { source } = this;
    let wanted = source.lazy ? RANGE_MAX : FIRST_BUDGET_RANGE * 2 ** this.ranges.length;
    for (;;) {
      try {
        this.ranges.push(this.#reserveRange(wanted, least));
        return;
      } catch (error) {
        // The tables of a smaller range are smaller too.
        wanted = alignDown(wanted / 2, Math.max(source.pageSize, UNIT));
        if (!(error instanceof OutOfMemoryError) || wanted < Math.max(least, source.pageSize)) throw error;
      }
    }
  }

  #reserveRange(byteLength: number, least: number): SmallPages {
    const range = new AddressRange(this.source, byteLength, least);
    try {
      return new SmallPages(this.source, range);
    } catch (error) {
      range.dispose((giveBack) => giveBack());
      throw error;
    }
  }

  /** The live block that starts at `address`, if one does. */
  find(address: Address): LiveBlock | undefined {
    for (const pages of this.ranges) {
      const { range } = pages;
      const granule = (address - range.base) / GRANULE;
      if (!(granule >= 0 && granule < range.endUnit * UNIT_GRANULES)) continue;
      if (!Number.isInteger(granule)) return undefined;
      const link = pages.liveLink(granule);
      if (link !== 0) return this.#small(address, pages, granule, link);
      return granule % UNIT_GRANULES === 0 ? this.#large(address, pages, granule / UNIT_GRANULES) : undefined;
    }
    const huge = this.huge.at(address);
    if (huge === undefined) return undefined;
    const { requested, byteLength, alignment, owned } = huge;
    return {
      address,
      requestedSize: requested,
      usableSize: byteLength,
      alignment: Math.max(alignment, GRANULE),
      owned,
      pages: undefined,
      granule: 0,
      link: 0,
      huge,
    };
  }

  #small(address: Address, pages: SmallPages, granule: number, link: number): LiveBlock {
    const code = pages.links[link]!;
    const usableSize = pages.slotSize(granule);
    return {
      address,
      requestedSize: usableSize - (code & SLACK_MASK),
      usableSize,
      alignment: alignmentOfLink(code),
      owned: code >= OWNED,
      pages,
      granule,
      link,
      huge: undefined,
    };
  }

  #large(address: Address, pages: SmallPages, unit: number): LiveBlock | undefined {
    const { runs } = pages.range;
    const count = runs.largeAt(unit);
    if (count === 0) return undefined;
    const info = runs.info(unit);
    return {
      address,
      requestedSize: count * UNIT - runs.slack(unit),
      usableSize: count * UNIT,
      alignment: 2 ** (info & INFO_ALIGNMENT),
      owned: (info & INFO_OWNED) !== 0,
      pages,
      granule: unit * UNIT_GRANULES,
      link: 0,
      huge: undefined,
    };
  }

  /** Why `address` is not that of a live block: the kind of error and the rest of its message. */
  explain(address: Address): { kind: InvalidFreeKind; detail: string } {
    const around = this.#around(address);
    if (around !== undefined) {
      const { address: start, usableSize } = around;
      const detail = `it is ${address - start} bytes inside the live block of ${usableSize} bytes at ${
        formatAddress(start)
      }`;
      return { kind: "interior", detail };
    }
    return this.#wasLive(address)
      ? { kind: "double", detail: "the block is already freed" }
      : { kind: "foreign", detail: "this heap has no block there and had none" };
  }

  #around(address: Address): LiveBlock | undefined {
    for (const pages of this.ranges) {
      const { range } = pages;
      const granule = Math.floor((address - range.base) / GRANULE);
      if (!(granule >= 0 && granule < range.endUnit * UNIT_GRANULES)) continue;
      const slot = pages.slotAround(granule);
      if (slot !== -1) return this.find(range.base + slot * GRANULE);
      const unit = range.startOf(Math.floor(granule / UNIT_GRANULES));
      return this.#large(range.base + unit * UNIT, pages, unit);
    }
    const huge = this.huge.around(address);
    return huge && this.find(huge.address);
  }

  #wasLive(address: Address): boolean {
    for (const pages of this.ranges) {
      const { range } = pages;
      const granule = (address - range.base) / GRANULE;
      if (!(granule >= 0 && granule < range.endUnit * UNIT_GRANULES)) continue;
      if (!Number.isInteger(granule)) return false;
      const unit = Math.floor(granule / UNIT_GRANULES);
      if (range.runs.kindAt(range.startOf(unit)) === PAGE_RUN) return pages.wasLive(granule);
      return unit < range.regionOf(unit).frontier;
    }
    return this.huge.wasFreed(address);
  }

  /** The fast path for large blocks of the least alignment: the address of one that was parked, or 0. */
  allocateParked(size: number): Address {
    const { range } = this.ranges[0]!;
    const count = Math.ceil(size / UNIT);
    const unit = range.runs.unpark(count);
    if (unit === -1) return 0;
    range.runs.describe(unit, count * UNIT - size, DEFAULT_ALIGNMENT_LOG);
    return range.base + unit * UNIT;
  }

  /**
   * The fast path for freeing large blocks: of the first range, and not owned. False when `address` is not that of one.
   */
  freeLarge(address: Address): boolean {
    if (typeof address !== "number") return false;
    const { range } = this.ranges[0]!;
    const unit = (address - range.base) / UNIT;
    if (!(unit >= 0 && unit < range.endUnit) || !Number.isInteger(unit)) return false;
    if (range.runs.largeAt(unit) === 0 || (range.runs.info(unit) & INFO_OWNED) !== 0) return false;
    range.releaseLarge(unit);
    return true;
  }

  /** Frees a live block. */
  release(block: LiveBlock): void {
    if (block.pages === undefined) this.huge.free(block.huge!);
    else if (block.link !== 0) block.pages.free(block.granule, block.link);
    else block.pages.range.releaseLarge(block.granule / UNIT_GRANULES);
  }

  /** Gives a live block a new size in place, and says whether that could be done. */
  resize(block: LiveBlock, size: number): boolean {
    const { pages, huge, link, usableSize } = block;
    if (pages === undefined) {
      if (size > usableSize) return false;
      huge!.requested = size;
      return true;
    }
    if (link !== 0) {
      if (size > usableSize || usableSize - size > SLACK_MAX) return false;
      pages.links[link] = (pages.links[link]! & ~SLACK_MASK) + usableSize - size;
      return true;
    }
    const count = Math.max(1, Math.ceil(size / UNIT));
    if (size > RUN_MAX * 2) return false;
    const unit = block.granule / UNIT_GRANULES;
    if (!pages.range.resize(unit, count)) return false;
    pages.range.runs.describe(unit, count * UNIT - size, pages.range.runs.info(unit));
    return true;
  }

  /** Marks a live block as owned by a NativeBuffer, or not. */
  setOwned(block: LiveBlock, owned: boolean): void {
    const { pages, huge, link } = block;
    if (pages === undefined) huge!.owned = owned;
    else if (link !== 0) pages.links[link] = linkWithOwned(pages.links[link]!, owned);
    else {
      const unit = block.granule / UNIT_GRANULES;
      const { runs } = pages.range;
      runs.describe(unit, runs.slack(unit), owned ? runs.info(unit) | INFO_OWNED : runs.info(unit) & ~INFO_OWNED);
    }
  }

  /** The region of a live block that is not huge, ready for access. */
  regionOf(block: LiveBlock): Region {
    return block.pages!.range.wrappedRegionOf(Math.floor(block.granule / UNIT_GRANULES));
  }

  /** The live blocks: by range and address, then the huge ones. Blocks may come and go during the walk. */
  *live(): IterableIterator<LiveBlock> {
    for (const pages of this.ranges) {
      const { range } = pages;
      for (let unit = 0; unit < range.endUnit;) {
        const length = range.runs.lengthAt(unit);
        const kind = range.runs.kindAt(unit);
        if (kind === LARGE_RUN) {
          yield this.#large(range.base + unit * UNIT, pages, unit)!;
        } else if (kind === PAGE_RUN) {
          for (const granule of pages.liveSlotsOf(unit)) {
            const link = pages.liveLink(granule);
            if (link !== 0) yield this.#small(range.base + granule * GRANULE, pages, granule, link);
          }
        }
        // The caller may have freed or resized what it was given: go on from the end as it was.
        unit += length;
        while (unit < range.endUnit && range.runs.lengthAt(unit) === 0) unit++;
      }
    }
    for (const { address } of [...this.huge.values()]) {
      const block = this.find(address);
      if (block !== undefined) yield block;
    }
  }

  /** Gives free memory back to the source, and returns how many bytes. */
  trim(): number {
    let given = this.huge.unreleased.retry();
    for (const pages of this.ranges) {
      pages.releaseIdle(true);
      given += pages.range.trim();
    }
    // The first range stays, empty or not: the heap's fast paths work on it.
    for (
      let last = this.ranges.at(-1)!;
      this.ranges.length > 1 && last.range.endUnit === 0;
      last = this.ranges.at(-1)!
    ) {
      this.ranges.pop();
      giveAllBack((attempt) => this.#disposeRange(last, attempt));
    }
    return given;
  }

  /**
   * Verifies every record. Time in the number of slots and units.
   *
   * @throws {CorruptionError} When two disagree.
   */
  check(): void {
    for (const pages of this.ranges) {
      pages.range.check();
      pages.check();
    }
  }

  /**
   * Detaches and gives back everything. When giving back fails the rest is given back all the same, and what failed
   * first is thrown at the end; all views are detached before anything else.
   */
  dispose(): void {
    this.huge.unwrapAll();
    for (const { range } of this.ranges) range.unwrapAll();
    giveAllBack((attempt) => {
      this.huge.dispose(attempt);
      for (const pages of this.ranges) this.#disposeRange(pages, attempt);
      this.ranges.length = 0;
    });
  }

  #disposeRange(pages: SmallPages, attempt: (giveBack: () => void) => void): void {
    pages.range.unwrapAll();
    attempt(() => pages.dispose());
    pages.range.dispose(attempt);
  }
}

/** Calls `all` with a function that goes on when what it is given fails; throws what failed first, at the end. */
function giveAllBack(all: (attempt: (giveBack: () => void) => void) => void): void {
  const failures: unknown[] = [];
  all((giveBack) => {
    try {
      giveBack();
    } catch (error) {
      failures.push(error);
    }
  });
  if (failures.length > 0) throw failures[0];
}
