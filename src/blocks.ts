/**
 * All blocks of a heap, small, large and huge: where they come from, and which one an address means.
 *
 * It knows placement only: limits and clearing are the business of `BlockChanges`, contents that of `BlockMemory`, owned
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
import { giveAllBack } from "./attempts.ts";
import { BlockLookup, checkLargeBlocks, type LiveBlock, UNIT_GRANULES } from "./block_lookup.ts";
import { DelayedFrees, type DelayRules } from "./delayed_frees.ts";
import { CorruptionError, type InvalidFreeKind, OutOfMemoryError, reasonOf } from "./errors.ts";
import { Growth } from "./growth.ts";
import { HeapRanges } from "./heap_ranges.ts";
import { HugeBlocks } from "./huge_blocks.ts";
import type { Address, PageSource } from "./page_source.ts";
import { linkWithOwned, liveLink, SLACK_MASK, slotHolds } from "./page_table.ts";
import type { RandomNumbers } from "./random_numbers.ts";
import type { Region } from "./region.ts";
import { INFO_OWNED, LARGE_RUN, UNIT } from "./run_record.ts";
import { CLASS_GRANULES, classFor, GRANULE, PAGE_SIZE } from "./size_class.ts";
import type { SmallPages } from "./small_pages.ts";

/** Larger blocks get a mapping of their own. */
const RUN_MAX = 4 * 2 ** 20;

/** Larger alignments get a mapping of their own: a run aligned so far could leave as much unusable. */
const RUN_ALIGNMENT_MAX = 2 ** 20;

/** Room for a large block that grows, in multiples of its size: free space that it is placed before. */
const LARGE_ROOM = 2;

/** The same for a huge one: address space that it has to itself. */
const HUGE_ROOM = 1.5;

// V8 reads an imported constant from memory at each use, but folds one of this file.
const UNIT_LOG = 12;
const UNIT_REST = 4095;
const UNITS_PER_BYTE = 1 / 4096;
const GRANULE_LOG = 4;

/** How the memory of freed blocks is used again. */
export interface ReuseRules {
  /** What decides the order of the slots of a page; undefined for the fastest order. */
  readonly random: RandomNumbers | undefined;
  /** How many freed blocks are kept from being used again; undefined for none. */
  readonly delay: DelayRules | undefined;
}

/** The blocks of one heap. */
export class Blocks {
  /** Where everything comes from. */
  readonly source: PageSource;
  /** The ranges with their pages; the heap's fast paths work on the first. */
  readonly ranges: readonly SmallPages[];
  /** The blocks with a mapping of their own. */
  readonly huge: HugeBlocks;
  /** Whether the block of the last `allocate` is memory that reads as zero. */
  isFresh = false;
  readonly #ranges: HeapRanges;
  readonly #lookup: BlockLookup;
  /** How far large blocks grew. */
  readonly #growth: Growth = new Growth();
  /** The freed blocks that are not free memory yet. */
  readonly #delayed: DelayedFrees | undefined;
  /** Why the last placement failed: each tries a mapping of its own in the end, unless it is known to be in vain. */
  #failure: OutOfMemoryError | undefined;

  /** Reserves the first range. */
  constructor(source: PageSource, { random, delay }: ReuseRules = { random: undefined, delay: undefined }) {
    this.source = source;
    this.huge = new HugeBlocks(source);
    this.#ranges = new HeapRanges(source, random);
    this.ranges = this.#ranges.list;
    this.#lookup = new BlockLookup(this.ranges, this.huge);
    this.#delayed = delay && new DelayedFrees(delay);
  }

  /** Bytes committed for blocks. */
  get committedBytes(): number {
    let committed = this.huge.byteLength;
    for (const { range } of this.ranges) committed += range.committedBytes;
    return committed;
  }

  /**
   * Places a block, where it can grow to `room` bytes if there is such a place.
   *
   * @throws {OutOfMemoryError} When there is no place for it.
   */
  allocate(size: number, alignment: number, room: number = size): Address {
    this.isFresh = false;
    const rangesBefore = this.ranges.length;
    const address = this.#place(size, alignment, room);
    if (address !== 0) return address;
    const retried = this.#scrapeTogether() ? this.#place(size, alignment, room) : 0;
    if (retried !== 0) return retried;
    this.#ranges.drop(rangesBefore);
    const cause = this.#failure!;
    const what = `Cannot allocate ${size} bytes at alignment ${alignment}`;
    throw new OutOfMemoryError(`${what}: ${reasonOf(cause)}`, size, cause.limit, { cause });
  }

  /**
   * The short way to a large block of the least alignment: a run of the first range, parked or free as it is. 0 when there is
   * none, or the block is huge. It counts no bytes, so it is for heaps without a limit.
   */
  takeLarge(size: number): Address {
    if (size > RUN_MAX) return 0;
    this.isFresh = false;
    const { range } = this.ranges[0]!;
    const count = (size + UNIT_REST) >>> UNIT_LOG;
    let unit = range.runs.parked.take(count);
    if (unit === -1) {
      unit = range.takeFree(count, this.#growth.roomFor(count));
      if (unit === -1) return 0;
      this.#growth.placed(count);
      this.isFresh = range.isFresh;
    }
    range.runs.describe(unit, count * UNIT - size, GRANULE_LOG);
    return range.base + unit * UNIT;
  }

  /** Frees what delayed blocks, idle pages and mappings to be given back hold: it may be just what is missing. */
  #scrapeTogether(): boolean {
    let any = this.#freeAllDelayed();
    for (const pages of this.ranges) any = pages.releaseIdle(true) || any;
    return this.huge.unreleased.retry() > 0 || any;
  }

  /**
   * Places what is to take the place of `block`. What grows will most likely grow again, and would copy everything at
   * every step: a large block is placed where as much again is free behind it, and a huge one that grows gets half as much
   * again as it needs, if that can be had. Untouched, that is only address space, but it counts against a budget: a block
   * that has only become huge gets what it needs.
   */
  allocateInPlaceOf(block: LiveBlock, size: number): Address {
    const { usableSize, alignment, link, huge } = block;
    if (size <= usableSize) return this.allocate(size, alignment);
    if (size > RUN_MAX) return this.allocate(size, alignment, huge === undefined ? size : size * HUGE_ROOM);
    if (link === 0 && huge === undefined) this.#growth.grew(usableSize / UNIT, Math.ceil(size / UNIT));
    return this.allocate(size, alignment, size * LARGE_ROOM);
  }

  /** An address for the block, or 0. */
  #place(size: number, alignment: number, room: number, mayAddRange = true): Address {
    this.#failure = undefined;
    let refused: OutOfMemoryError | undefined;
    const sizeClass = classFor(size, alignment);
    if (sizeClass !== -1) {
      const link = liveLink(Math.max(alignment, GRANULE), CLASS_GRANULES[sizeClass]! * GRANULE - size);
      for (const pages of this.ranges) {
        const granule = pages.allocate(sizeClass, link);
        if (granule !== -1) return pages.range.base + granule * GRANULE;
      }
      if (mayAddRange && this.#ranges.addIfFull(PAGE_SIZE)) return this.#place(size, alignment, room, false);
    }
    if (size <= RUN_MAX && alignment <= RUN_ALIGNMENT_MAX) {
      const count = Math.max(1, Math.ceil(size / UNIT));
      const wanted = Math.max(Math.ceil(room / UNIT), this.#growth.roomFor(count));
      for (const { range } of this.ranges) {
        const unit = range.take(count, alignment, LARGE_RUN, wanted);
        if (range.isShort) refused = range.failure;
        if (unit === -1) continue;
        this.#growth.placed(count);
        range.runs.describe(unit, count * UNIT - size, 31 - Math.clz32(Math.max(alignment, GRANULE)));
        this.isFresh = range.isFresh;
        return range.base + unit * UNIT;
      }
      if (mayAddRange && sizeClass === -1 && this.#ranges.addIfFull(count * UNIT)) {
        return this.#place(size, alignment, room, false);
      }
    }
    // A source that has not even the bytes themselves will not give them to a mapping either.
    if (refused !== undefined) {
      this.#failure = refused;
      return 0;
    }
    return this.#placeHuge(size, alignment, room);
  }

  /** Apart from `#place`, which would make a scope for these closures at every call. */
  #placeHuge(size: number, alignment: number, room: number): Address {
    const mayHaveRoom = room > size && this.source.lazy;
    const huge = (mayHaveRoom && this.#attempt(() => this.huge.allocate(size, alignment, room), undefined)) ||
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

  /** The live block that starts at `address`, if one does. */
  find(address: Address): LiveBlock | undefined {
    return this.#lookup.find(address);
  }

  /** Why `address` is not that of a live block: the kind of error and the rest of its message. */
  explain(address: Address): { kind: InvalidFreeKind; detail: string } {
    return this.#lookup.explain(address);
  }

  /** The live blocks: by range and address, then the huge ones. Blocks may come and go during the walk. */
  live(): IterableIterator<LiveBlock> {
    return this.#lookup.live();
  }

  /**
   * The fast path for freeing large blocks: of the first range, and not owned. False when `address` is not that of one.
   */
  freeLarge(address: Address): boolean {
    if (typeof address !== "number") return false;
    const { range } = this.ranges[0]!;
    const quotient = (address - range.base) * UNITS_PER_BYTE;
    const unit = quotient | 0;
    if (unit !== quotient || unit < 0 || unit >= range.endUnit) return false;
    const { runs } = range;
    if (runs.largeAt(unit) === 0 || (runs.info(unit) & INFO_OWNED) !== 0) return false;
    range.releaseLarge(unit);
    return true;
  }

  /**
   * Frees a live block, or delays it. One that was outgrown, and moved for it, is not parked: the next of its length would
   * have as little room there.
   */
  release(block: LiveBlock, isOutgrown = false): void {
    const { address, usableSize, pages, granule, link } = block;
    if (pages === undefined) this.huge.free(block.huge!);
    else if (link !== 0) this.releaseSmall(pages, granule, link);
    else if (this.#delayed?.takes(usableSize) === true) {
      pages.range.runs.delay(granule / UNIT_GRANULES);
      this.#delay(address, usableSize, this.#delayed);
    } else if (isOutgrown) pages.range.release(granule / UNIT_GRANULES);
    else pages.range.releaseLarge(granule / UNIT_GRANULES);
  }

  /** Frees, or delays, the live small block at `granule` of a range, whose link is at `link`. */
  releaseSmall(pages: SmallPages, granule: number, link: number): void {
    const delayed = this.#delayed;
    const byteLength = pages.slotSize(granule);
    if (delayed === undefined || !delayed.takes(byteLength)) {
      pages.free(granule, link);
      return;
    }
    pages.delay(granule, link);
    this.#delay(pages.range.base + granule * GRANULE, byteLength, delayed);
  }

  #delay(address: Address, byteLength: number, delayed: DelayedFrees): void {
    delayed.add(address, byteLength);
    for (let oldest = delayed.surplus(); oldest !== 0; oldest = delayed.surplus()) this.#freeDelayed(oldest);
  }

  /** Makes every delayed block free memory; whether there were any. */
  #freeAllDelayed(): boolean {
    const delayed = this.#delayed;
    if (delayed === undefined || delayed.count === 0) return false;
    for (let oldest = delayed.drain(); oldest !== 0; oldest = delayed.drain()) this.#freeDelayed(oldest);
    return true;
  }

  #freeDelayed(address: Address): void {
    const pages = this.#lookup.rangeOf(address)!;
    const { range } = pages;
    const granule = ((address - range.base) / GRANULE) | 0;
    if (pages.isDelayed(granule)) pages.freeDelayed(granule);
    else {
      const unit = granule >>> 8;
      range.runs.endDelay(unit);
      range.releaseLarge(unit);
    }
  }

  #isDelayed(address: Address): boolean {
    const pages = this.#lookup.rangeOf(address);
    if (pages === undefined) return false;
    const { range } = pages;
    const granule = (address - range.base) / GRANULE;
    return pages.isDelayed(granule) || range.runs.isDelayed(granule / UNIT_GRANULES);
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
      if (!slotHolds(usableSize, size)) return false;
      pages.links[link] = (pages.links[link]! & ~SLACK_MASK) + usableSize - size;
      return true;
    }
    const count = Math.max(1, Math.ceil(size / UNIT));
    if (size > RUN_MAX * 2) return false;
    const unit = block.granule / UNIT_GRANULES;
    if (!pages.range.resize(unit, count)) return false;
    pages.range.runs.describe(unit, count * UNIT - size, pages.range.runs.info(unit));
    if (size > usableSize) this.#growth.grew(usableSize / UNIT, count);
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

  /** Gives free memory back to the source, and returns how many bytes. */
  trim(): number {
    this.#freeAllDelayed();
    let given = this.huge.unreleased.retry();
    for (const pages of this.ranges) {
      pages.releaseIdle(true);
      given += pages.range.trim();
    }
    this.#ranges.dropEmpty();
    return given;
  }

  /**
   * Verifies every record. Time in the number of slots and units.
   *
   * @throws {CorruptionError} When two disagree.
   */
  check(): void {
    let delayed = 0;
    for (const pages of this.ranges) {
      pages.range.check();
      delayed += pages.range.runs.delayedRuns + pages.check();
      checkLargeBlocks(pages);
    }
    this.huge.check();
    this.#delayed?.check((address) => this.#isDelayed(address));
    const queued = this.#delayed?.count ?? 0;
    if (delayed !== queued) {
      throw new CorruptionError(`Cannot trust the delayed blocks: ${delayed} are marked, ${queued} are in the queue`);
    }
  }

  /**
   * Detaches and gives back everything. When giving back fails the rest is given back all the same, and what failed
   * first is thrown at the end; all views are detached before anything else.
   */
  dispose(): void {
    this.huge.unwrapAll();
    this.#ranges.unwrapAll();
    giveAllBack((attempt) => {
      this.huge.dispose(attempt);
      this.#ranges.dispose(attempt);
    });
  }
}
