/**
 * The buckets of one in-band allocator with everything that the `Allocator` contract asks around them: what
 * `FreeListAllocator` (one bucket) and `BucketAllocator` (several) have in common.
 *
 * ```text
 *   BucketSet            arguments, live blocks, contents, figures       this file
 *    ├── Bucket          search, split, merge, grow                      bucket.ts
 *    │    └── FreeList   the free blocks                                 free_list.ts, segregated_free_lists.ts
 *    ├── RegionList      mappings, wraps, addresses                      region_list.ts, block.ts
 *    └── AllocatorMemory views, arrays, owned buffers                    allocator_memory.ts
 * ```
 *
 * Bad frees: an address is that of a live block if its granule has the LIVE mark, and marks are out of reach of anybody who
 * holds a view. Corruption: the size of a live block is held against its header's check and against the marks before it is used.
 *
 * @module
 */
import type { Allocator, AllocatorStats, BlockInfo } from "./allocator.ts";
import { AllocatorMemory, assertAttached, type InvalidAddress } from "./allocator_memory.ts";
import { assertAddress, assertAlignment, assertSize, DEFAULT_ALIGNMENT } from "./arguments.ts";
import {
  ALIGNMENT_SHIFT,
  type BlockLayout,
  corrupt,
  FREE,
  GRANULE,
  LIVE,
  MAX_GRANULES,
  sizeOfLive,
  SLACK_SHIFT,
  STALE,
  writeLive,
} from "./block.ts";
import type { Bucket } from "./bucket.ts";
import { clearBytes, copyBytes } from "./bytes.ts";
import { formatAddress, OutOfMemoryError, SizeMismatchError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";
import type { Region, RegionList } from "./region_list.ts";

const ALIGNMENT_MASK = 31;

/** What a {@link BucketSet} is made of. */
export interface BucketSetOptions {
  /** The kind of allocator, for messages. */
  readonly name: string;
  /** Its regions. */
  readonly regions: RegionList;
  /** Its buckets. */
  readonly buckets: readonly Bucket[];
  /** Which bucket a block of so many bytes is for. */
  readonly bucketFor: (size: number) => Bucket;
  /** Whether a block may grow into free space below it, in `reallocate`. */
  readonly growDown: boolean;
}

/** Figures of the free blocks. */
export interface FreeStats {
  /** How many there are. */
  readonly count: number;
  /** Their bytes, headers included. */
  readonly bytes: number;
}

/** A block in a {@link BucketLayout}. */
export interface LayoutBlock {
  /** Where its payload starts. */
  readonly address: Address;
  /** Its bytes, header included. */
  readonly size: number;
  /** Whether it is free. */
  readonly free: boolean;
}

/** A region in a {@link BucketLayout}. */
export interface LayoutRegion {
  /** Where it starts. */
  readonly address: Address;
  /** Its bytes. */
  readonly byteLength: number;
  /** Its blocks, by address. */
  readonly blocks: readonly LayoutBlock[];
}

/** What one bucket holds. Plain data. */
export interface BucketLayout {
  /** Bytes in front of each payload. */
  readonly header: number;
  /** Its regions, by address. */
  readonly regions: readonly LayoutRegion[];
  /** Its free blocks, from the head of the free list to its tail. */
  readonly freeList: readonly LayoutBlock[];
}

/** The buckets, and the contract around them. */
export class BucketSet {
  /** Views, arrays and owned buffers. */
  readonly memory: AllocatorMemory;
  /** The regions of all buckets. */
  readonly regions: RegionList;
  /** The buckets. */
  readonly buckets: readonly Bucket[];
  readonly #layout: BlockLayout;
  readonly #bucketFor: (size: number) => Bucket;
  readonly #growDown: boolean;
  #liveBlocks = 0;
  #liveBytes = 0;
  #disposed = false;

  /** For `allocator`, whose public methods are these. */
  constructor(allocator: Allocator & { readonly source: PageSource }, options: BucketSetOptions) {
    this.regions = options.regions;
    this.buckets = options.buckets;
    this.#layout = options.regions.layout;
    this.#bucketFor = options.bucketFor;
    this.#growDown = options.growDown;
    this.memory = new AllocatorMemory(allocator, {
      name: options.name,
      isDisposed: () => this.#disposed,
      find: (address) => this.#find(address),
      explain: (address) => this.#explain(address),
      regionOf: (address) => this.#viewedRegion(address),
      regions: () => this.regions.wraps(),
    });
  }

  /** See {@link Allocator.allocate}. */
  allocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    assertSize(size);
    if (alignment !== DEFAULT_ALIGNMENT) assertAlignment(alignment);
    if (this.#disposed) this.memory.assertNotDisposed("allocate");
    const need = this.#granulesFor(size);
    const bucket = this.#bucketFor(size);
    const aligned = alignment < DEFAULT_ALIGNMENT ? DEFAULT_ALIGNMENT : alignment;
    let p = bucket.take(need, aligned);
    if (p === -1) p = this.#takeFresh(bucket, size, need, aligned);
    return this.#makeLive(bucket.region, p, bucket.size, size, 31 - Math.clz32(aligned));
  }

  /** From a new region; when there is none, from what free regions hold, with a search that leaves no block out. */
  #takeFresh(bucket: Bucket, size: number, need: number, alignment: number): number {
    let failure: OutOfMemoryError;
    try {
      if (need <= MAX_GRANULES) return bucket.takeFresh(need, alignment);
      failure = new OutOfMemoryError(`no region has more than ${MAX_GRANULES * GRANULE} bytes`, size);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      failure = error;
    }
    try {
      if (need <= MAX_GRANULES) {
        for (const other of this.buckets) other.releaseFreeRegions();
        this.regions.retryUnmaps();
        const p = bucket.take(need, alignment, MAX_GRANULES);
        return p === -1 ? bucket.takeFresh(need, alignment) : p;
      }
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      failure = error;
    }
    throw new OutOfMemoryError(
      `Cannot allocate ${size} bytes at alignment ${alignment}: ${failure.message}`,
      size,
      failure.limit,
      { cause: failure },
    );
  }

  #granulesFor(size: number): number {
    const { header, minimum } = this.#layout;
    const need = size < 2 ** 30 ? (size + header + GRANULE - 1) >> 4 : Math.ceil((size + header) / GRANULE);
    return need < minimum ? minimum : need;
  }

  #makeLive(region: Region, p: number, n: number, size: number, alignmentLog2: number): Address {
    const usable = n * GRANULE - this.#layout.header;
    writeLive(region, this.#layout, p, n, usable - size, alignmentLog2);
    this.#liveBlocks++;
    this.#liveBytes += usable;
    return region.address + p * GRANULE;
  }

  /** See {@link Allocator.tryAllocate}. */
  tryAllocate(size: number, alignment?: number): Address {
    try {
      return this.allocate(size, alignment);
    } catch (error) {
      if (error instanceof OutOfMemoryError) return 0;
      throw error;
    }
  }

  /** See {@link Allocator.allocateZeroed}. */
  allocateZeroed(size: number, alignment?: number): Address {
    const address = this.allocate(size, alignment);
    const region = this.regions.find(address)!;
    assertAttached(region);
    clearBytes(region, address - region.address, size);
    return address;
  }

  /** See {@link Allocator.free}. A `size` that is not the one asked for is an error. */
  free(address: Address, size?: number): void {
    if (this.#disposed || typeof address !== "number") {
      assertAddress(address);
      this.memory.assertNotDisposed(`free ${formatAddress(address)}`);
    }
    if (address === 0) return;
    const region = this.#regionOfLive(address, "free");
    const p = (address - region.address) / GRANULE;
    const n = sizeOfLive(region, this.#layout, p);
    const usable = n * GRANULE - this.#layout.header;
    if (size !== undefined) {
      assertSize(size);
      const requested = usable - (region.marks[p]! >>> SLACK_SHIFT);
      if (size !== requested) throw new SizeMismatchError("free", address, size, requested);
    }
    if (this.memory.ownedBlocks !== 0) this.memory.revoke(address);
    this.buckets[region.bucket]!.release(region, p, n);
    this.#liveBlocks--;
    this.#liveBytes -= usable;
  }

  /** See {@link Allocator.resize}. */
  resize(address: Address, size: number): boolean {
    const region = this.#regionOfUsed(address, size, "resize");
    return this.#resizeAt(region, (address - region.address) / GRANULE, size);
  }

  #resizeAt(region: Region, p: number, size: number): boolean {
    const n = sizeOfLive(region, this.#layout, p);
    const bucket = this.buckets[region.bucket]!;
    const now = bucket.resize(region, p, n, this.#granulesFor(size));
    if (now === 0) return false;
    this.#forgetLive(n);
    this.#makeLive(region, p, now, size, alignmentAt(region, p));
    return true;
  }

  #forgetLive(n: number): void {
    this.#liveBlocks--;
    this.#liveBytes -= n * GRANULE - this.#layout.header;
  }

  /** See {@link Allocator.reallocate}. */
  reallocate(address: Address, size: number): Address {
    if (address === 0) return this.allocate(size);
    const region = this.#regionOfUsed(address, size, "reallocate");
    if (size === 0) {
      this.free(address);
      return 0;
    }
    const p = (address - region.address) / GRANULE;
    const bucket = this.buckets[region.bucket]!;
    if (bucket === this.#bucketFor(size)) {
      if (this.#resizeAt(region, p, size)) return address;
      const moved = this.#growDown ? this.#moveDown(region, p, size, bucket) : 0;
      if (moved !== 0) return moved;
    }
    return this.#move(address, size);
  }

  /** Grows into the free block below, where there is one; the new address, or 0. */
  #moveDown(region: Region, p: number, size: number, bucket: Bucket): Address {
    const n = sizeOfLive(region, this.#layout, p);
    const alignmentLog2 = alignmentAt(region, p);
    const length = n * GRANULE - this.#layout.header;
    const at = bucket.growDown(region, p, n, this.#granulesFor(size), 2 ** alignmentLog2, length);
    if (at === -1) return 0;
    this.#forgetLive(n);
    return this.#makeLive(region, at, bucket.size, size, alignmentLog2);
  }

  #move(address: Address, size: number): Address {
    const { requestedSize, alignment } = this.#find(address)!;
    const moved = this.allocate(size, alignment);
    // Only now: the allocation may have joined the old block's region to another.
    const from = this.regions.find(address)!;
    const to = this.regions.find(moved)!;
    assertAttached(from);
    assertAttached(to);
    copyBytes(from, address - from.address, to, moved - to.address, Math.min(size, requestedSize));
    this.free(address);
    return moved;
  }

  /** See {@link Allocator.usableSize}. */
  usableSize(address: Address): number {
    return this.memory.live(address, "measure").usableSize;
  }

  /** See {@link Allocator.owns}. */
  owns(address: Address): boolean {
    this.memory.assertNotDisposed(`look up ${formatAddress(address)}`);
    return typeof address === "number" && this.#find(address) !== undefined;
  }

  /** See {@link Allocator.blocks}. The addresses are those at the start of the walk. */
  *blocks(): IterableIterator<BlockInfo> {
    this.memory.assertNotDisposed("walk the blocks");
    const addresses: Address[] = [];
    for (const bucket of this.buckets) {
      for (const { region, p, free } of bucket.walk()) if (!free) addresses.push(region.address + p * GRANULE);
    }
    for (const address of addresses) {
      const block = this.#disposed ? undefined : this.#find(address);
      if (block !== undefined) yield block;
    }
  }

  /** See {@link Allocator.stats}. */
  stats(): AllocatorStats {
    this.memory.assertNotDisposed("report");
    const { committedBytes, peakCommittedBytes, reservedBytes, wrappedBytes, sorted } = this.regions;
    return {
      liveBlocks: this.#liveBlocks,
      liveBytes: this.#liveBytes,
      committedBytes,
      peakCommittedBytes,
      tableBytes: 0,
      reservedBytes,
      wrappedBytes,
      regions: sorted.length,
      limit: Infinity,
    };
  }

  /** Figures of all free lists together. */
  freeStats(): FreeStats {
    this.memory.assertNotDisposed("report");
    let count = 0;
    let granules = 0;
    for (const { free } of this.buckets) {
      count += free.count;
      granules += free.granules;
    }
    return { count, bytes: granules * GRANULE };
  }

  /** What every bucket holds. */
  layout(): BucketLayout[] {
    this.memory.assertNotDisposed("report");
    return this.buckets.map((bucket) => {
      const regions = new Map<Region, LayoutBlock[]>();
      for (const { region, p, n, free } of bucket.walk()) {
        const block = { address: region.address + p * GRANULE, size: n * GRANULE, free };
        const blocks = regions.get(region);
        if (blocks === undefined) regions.set(region, [block]);
        else blocks.push(block);
      }
      return {
        header: this.#layout.header,
        regions: [...regions].map(([{ address, byteLength }, blocks]) => ({ address, byteLength, blocks })),
        freeList: Array.from(
          bucket.free,
          ({ region, p, n }) => ({ address: region.address + p * GRANULE, size: n * GRANULE, free: true }),
        ),
      };
    });
  }

  /** Whether two addresses lie in the same region. */
  inOneRegion(a: Address, b: Address): boolean {
    return this.regions.find(a) === this.regions.find(b);
  }

  /** See {@link Allocator.check}. */
  check(): void {
    this.memory.assertNotDisposed("check");
    for (const region of this.regions.sorted) assertAttached(region);
    let liveBlocks = 0;
    let liveBytes = 0;
    for (const bucket of this.buckets) {
      bucket.check();
      for (const { region, p, n, free } of bucket.walk()) {
        if (free) continue;
        const mark = region.marks[p]!;
        const usable = n * GRANULE - this.#layout.header;
        if (mark >>> SLACK_SHIFT > usable) throw corrupt(region, p, "it is smaller than what was asked for");
        if ((region.address + p * GRANULE) % 2 ** alignmentAt(region, p) !== 0) {
          throw corrupt(region, p, "it is not aligned");
        }
        liveBlocks++;
        liveBytes += usable;
      }
    }
    if (liveBlocks === this.#liveBlocks && liveBytes === this.#liveBytes) return;
    throw corrupt(this.regions.sorted[0]!, 0, `${this.#liveBlocks} blocks should be live and ${liveBlocks} are`);
  }

  /** See {@link Allocator.trim}. */
  trim(): number {
    this.memory.assertNotDisposed("trim");
    let given = this.regions.retryUnmaps();
    for (const bucket of this.buckets) given += bucket.releaseFreeRegions() + bucket.discardFree();
    return given;
  }

  /** Ends everything. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.memory.dispose();
    this.regions.dispose();
  }

  /** The region of the live block at `address`; throws what is wrong with the address otherwise. */
  #regionOfLive(address: Address, action: string): Region {
    const region = this.regions.find(address);
    if (region !== undefined) {
      const granule = (address - region.address) / GRANULE;
      const p = granule | 0;
      if (p === granule && (region.marks[p]! & LIVE) !== 0) return region;
    }
    throw this.memory.invalid(address, action);
  }

  /** The same for `resize` and `reallocate`, which an owned block refuses. */
  #regionOfUsed(address: Address, size: number, action: string): Region {
    assertAddress(address);
    this.memory.assertNotDisposed(`${action} ${formatAddress(address)}`);
    const region = this.#regionOfLive(address, action);
    assertSize(size);
    this.memory.refuseOwned(address, action);
    return region;
  }

  #find(address: Address): BlockInfo | undefined {
    const region = this.regions.find(address);
    if (region === undefined) return undefined;
    const granule = (address - region.address) / GRANULE;
    const p = granule | 0;
    if (p !== granule || (region.marks[p]! & LIVE) === 0) return undefined;
    const usableSize = sizeOfLive(region, this.#layout, p) * GRANULE - this.#layout.header;
    const requestedSize = usableSize - (region.marks[p]! >>> SLACK_SHIFT);
    return { address, requestedSize, usableSize, alignment: 2 ** alignmentAt(region, p) };
  }

  #viewedRegion(address: Address): Region {
    const region = this.regions.find(address)!;
    region.viewed = true;
    return region;
  }

  /** Says by the marks alone what an address is that is no live block's: headers may be what is wrong. */
  #explain(address: Address): InvalidAddress {
    const region = this.regions.find(address);
    if (region === undefined) {
      if (Number.isInteger(address / GRANULE) && this.regions.wasReleased(address)) {
        return { kind: "double", detail: "the block is already freed, and its region given back" };
      }
      return { kind: "foreign", detail: "this allocator has no block there and had none" };
    }
    const { marks } = region;
    const granule = (address - region.address) / GRANULE;
    let start = Math.floor(granule);
    while (start > 0 && (marks[start]! & (LIVE | FREE)) === 0) start--;
    let end = start + 1;
    while (end < region.end && (marks[end]! & (LIVE | FREE)) === 0) end++;
    const usable = (end - start) * GRANULE - this.#layout.header;
    const begin = region.address + start * GRANULE;
    if ((marks[start]! & LIVE) !== 0 && address < begin + usable) {
      const detail = `it is ${address - begin} bytes inside the live block of ${usable} bytes at ${
        formatAddress(begin)
      }`;
      return { kind: "interior", detail };
    }
    return Number.isInteger(granule) && (marks[granule]! & STALE) !== 0
      ? { kind: "double", detail: "the block is already freed" }
      : { kind: "foreign", detail: "no live block begins there" };
  }
}

function alignmentAt(region: Region, p: number): number {
  return (region.marks[p]! >>> ALIGNMENT_SHIFT) & ALIGNMENT_MASK;
}
