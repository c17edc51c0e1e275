/**
 * The in-band allocators: what `FreeListAllocator` (one bucket) and `BucketAllocator` (several) have in common, which is
 * everything but the choice of policies.
 *
 * ```text
 *   InBandAllocator      arguments, live blocks, contents, figures       this file
 *    ├── Bucket          search, split, merge, grow                      bucket.ts
 *    │    └── FreeList   the free blocks                                 free_list.ts, segregated_free_lists.ts
 *    ├── RegionList      mappings, wraps, addresses                      region_list.ts, block.ts
 *    └── AllocatorMemory views, arrays, owned buffers                    allocator_memory.ts
 * ```
 *
 * Bad frees: an address is that of a live block if its granule has the LIVE mark, and marks are out of reach of anybody who
 * holds a view. Corruption: the size of a live block is held against its header's check and against the marks before it is used.
 * Both are found before anything has changed, and go through the hook of violations.ts.
 *
 * The two classes add nothing to this one but a constructor and what is theirs alone, so they inherit from it instead of passing
 * two dozen methods on.
 *
 * @module
 */
import type { Allocator, AllocatorStats, BlockInfo } from "./allocator.ts";
import { AllocatorMemory, assertAttached } from "./allocator_memory.ts";
import type * as args from "./arguments.ts";
import { assertAddress, assertAlignment, assertSize } from "./arguments.ts";
import { alignmentLog2At, type BlockLayout, corrupt, sizeOfLive, slackAt, writeLive } from "./block.ts";
import type { Bucket } from "./bucket.ts";
import { type BucketLayout, type FreeStats, layoutOf } from "./bucket_layout.ts";
import { clearBytes, copyBytes } from "./bytes.ts";
import { SizeMismatchError } from "./errors.ts";
import { takeFresh } from "./fresh_region.ts";
import { explainAddress } from "./invalid_address.ts";
import type * as marks from "./marks.ts";
import type { Address, PageSource } from "./page_source.ts";
import type { Region, RegionList } from "./region_list.ts";
import { ViewedAllocator } from "./viewed_allocator.ts";
import { isViolation, reportViolation, throwReported } from "./violations.ts";

const GRANULE = 16 satisfies typeof marks.GRANULE;
const LIVE = 1 satisfies typeof marks.LIVE;
const DEFAULT_ALIGNMENT = 16 satisfies typeof args.DEFAULT_ALIGNMENT;

/** Sizes up to this one are small integers with any header added; all bits of it are ones. */
const SMALL_SIZES = 2 ** 30 - 1;

/** What an {@link InBandAllocator} is made of. */
export interface InBandParts {
  /** The kind of allocator, for messages. */
  readonly name: string;
  /** Its regions. */
  readonly regions: RegionList;
  /** Its buckets. */
  readonly buckets: readonly Bucket[];
  /** The largest block in bytes of each bucket but the last. */
  readonly sizes: readonly number[];
  /** Whether a block may grow into free space below it, in `reallocate`. */
  readonly growDown: boolean;
}

/** An allocator whose metadata lies in its memory. Not made itself: see `FreeListAllocator` and `BucketAllocator`. */
export abstract class InBandAllocator extends ViewedAllocator implements Allocator {
  /** Where the memory comes from. */
  readonly source: PageSource;
  readonly #memory: AllocatorMemory;
  readonly #regions: RegionList;
  readonly #buckets: readonly Bucket[];
  readonly #sizes: readonly number[];
  readonly #layout: BlockLayout;
  readonly #growDown: boolean;
  #liveBlocks = 0;
  /** Headers included. */
  #liveGranules = 0;
  #disposed = false;

  /**
   * Maps nothing before the first allocation.
   *
   * @internal
   */
  constructor(parts: InBandParts) {
    super();
    const { name, regions, buckets, sizes, growDown } = parts;
    this.source = regions.source;
    this.#regions = regions;
    this.#buckets = buckets;
    this.#sizes = sizes;
    this.#layout = regions.layout;
    this.#growDown = growDown;
    this.#memory = new AllocatorMemory(this, {
      name,
      isDisposed: () => this.#disposed,
      find: (address) => this.#find(address),
      explain: (address) => explainAddress(regions, address),
      regionOf: (address) => {
        const region = regions.find(address)!;
        region.viewed = true;
        return region;
      },
      regions: () => regions.wraps(),
    });
  }

  /** See {@link Allocator.allocate}. Time in the number of free blocks of the bucket, unless it has a list for each size. */
  allocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    // `typeof` first: the operator calls `valueOf` of an object, and throws for a BigInt. It says false for all numbers but
    // small whole ones.
    if (typeof size !== "number" || (size & SMALL_SIZES) !== size) assertSize(size);
    if (alignment !== DEFAULT_ALIGNMENT) assertAlignment(alignment);
    if (this.#disposed) this.#memory.assertNotDisposed("allocate");
    const need = this.#granulesFor(size);
    const bucket = this.#buckets[this.bucketOf(size)]!;
    const aligned = alignment < DEFAULT_ALIGNMENT ? DEFAULT_ALIGNMENT : alignment;
    let p: number;
    try {
      p = bucket.take(need, aligned);
      if (p === -1) p = takeFresh(this.#regions, this.#buckets, bucket, size, need, aligned);
    } catch (error) {
      throwReported(error);
    }
    return this.#makeLive(bucket.region, p, bucket.size, size, 31 - Math.clz32(aligned));
  }

  /** The number of the bucket for blocks of `size` bytes. */
  bucketOf(size: number): number {
    const sizes = this.#sizes;
    let bucket = 0;
    while (bucket < sizes.length && sizes[bucket]! < size) bucket++;
    return bucket;
  }

  #granulesFor(size: number): number {
    const { header, minimum } = this.#layout;
    const need = size <= SMALL_SIZES ? (size + header + GRANULE - 1) >> 4 : Math.ceil((size + header) / GRANULE);
    return need < minimum ? minimum : need;
  }

  #makeLive(region: Region, p: number, n: number, size: number, alignmentLog2: number): Address {
    const layout = this.#layout;
    writeLive(region, layout, p, n, n * GRANULE - layout.header - size, alignmentLog2);
    this.#liveBlocks++;
    this.#liveGranules += n;
    return region.address + p * GRANULE;
  }

  /** See {@link Allocator.allocateZeroed}. */
  allocateZeroed(size: number, alignment?: number): Address {
    const address = this.allocate(size, alignment);
    const region = this.#regions.find(address)!;
    assertAttached(region);
    clearBytes(region, address - region.address, size);
    return address;
  }

  /**
   * See {@link Allocator.free}. With `size`, the size that was asked for, the caller hands it back and it is checked.
   *
   * @throws {SizeMismatchError} When `size` is not the size that was asked for; the block is still live.
   */
  free(address: Address, size?: number): void {
    if (this.#disposed || typeof address !== "number") {
      assertAddress(address);
      this.#memory.assertUsable("free", address);
    }
    if (address === 0) return;
    if (size !== undefined) assertSize(size);
    try {
      this.#release(address, size);
    } catch (error) {
      if (!isViolation(error)) throw error;
      reportViolation(error);
    }
  }

  #release(address: Address, size: number | undefined): void {
    const region = this.#regionOfLive(address, "free");
    const p = (address - region.address) / GRANULE;
    const n = sizeOfLive(region, this.#layout, p);
    if (size !== undefined) {
      const requested = n * GRANULE - this.#layout.header - slackAt(region, p);
      if (size !== requested) throw new SizeMismatchError("free", address, size, requested);
    }
    if (this.#memory.ownedBlocks !== 0) this.#memory.revoke(address);
    this.#buckets[region.bucket]!.release(region, p, n);
    this.#liveBlocks--;
    this.#liveGranules -= n;
  }

  /** See {@link Allocator.resize}. Always shrinks; grows into free space behind the block. */
  resize(address: Address, size: number): boolean {
    const region = this.#regionOfUsed(address, size, "resize");
    const p = (address - region.address) / GRANULE;
    try {
      return this.#resizeAt(region, p, size, alignmentLog2At(region, p));
    } catch (error) {
      throwReported(error);
    }
  }

  #resizeAt(region: Region, p: number, size: number, alignmentLog2: number): boolean {
    const n = sizeOfLive(region, this.#layout, p);
    const now = this.#buckets[region.bucket]!.resize(region, p, n, this.#granulesFor(size));
    if (now === 0) return false;
    this.#forgetLive(n);
    this.#makeLive(region, p, now, size, alignmentLog2);
    return true;
  }

  #forgetLive(n: number): void {
    this.#liveBlocks--;
    this.#liveGranules -= n;
  }

  /**
   * See {@link Allocator.reallocate}. In place where it can be, otherwise, or when its size changes bucket, it moves.
   *
   * @param alignment Another alignment for the block from now on. @defaultValue the one that it has
   */
  reallocate(address: Address, size: number, alignment?: number): Address {
    if (alignment !== undefined) assertAlignment(alignment);
    if (address === 0) return this.allocate(size, alignment);
    const region = this.#regionOfUsed(address, size, "reallocate");
    if (size === 0) {
      this.free(address);
      return 0;
    }
    const p = (address - region.address) / GRANULE;
    const log2 = alignment === undefined ? alignmentLog2At(region, p) : 31 - Math.clz32(Math.max(alignment, GRANULE));
    const bucket = this.#buckets[region.bucket]!;
    if (bucket === this.#buckets[this.bucketOf(size)]) {
      try {
        if (address % (1 << log2) === 0 && this.#resizeAt(region, p, size, log2)) return address;
        const moved = this.#growDown ? this.#moveDown(region, p, size, log2, bucket) : 0;
        if (moved !== 0) return moved;
      } catch (error) {
        throwReported(error);
      }
    }
    return this.#move(address, size, 1 << log2);
  }

  /** Grows into the free block below, where there is one; the new address, or 0. */
  #moveDown(region: Region, p: number, size: number, alignmentLog2: number, bucket: Bucket): Address {
    const n = sizeOfLive(region, this.#layout, p);
    const length = Math.min(n * GRANULE - this.#layout.header, size);
    const at = bucket.growDown(region, p, n, this.#granulesFor(size), 1 << alignmentLog2, length);
    if (at === -1) return 0;
    this.#forgetLive(n);
    return this.#makeLive(region, at, bucket.size, size, alignmentLog2);
  }

  #move(address: Address, size: number, alignment: number): Address {
    const { requestedSize } = this.#find(address)!;
    assertAttached(this.#regions.find(address)!);
    const moved = this.allocate(size, alignment);
    try {
      // Only now: the allocation may have joined the old block's region to another.
      const from = this.#regions.find(address)!;
      const to = this.#regions.find(moved)!;
      copyBytes(from, address - from.address, to, moved - to.address, Math.min(size, requestedSize));
      this.#release(address, undefined);
    } catch (error) {
      this.#release(moved, undefined);
      throwReported(error);
    }
    return moved;
  }

  /** See {@link Allocator.blocks}. The walk is over the blocks of its start. */
  *blocks(): IterableIterator<BlockInfo> {
    this.#memory.assertNotDisposed("walk the blocks");
    const addresses: Address[] = [];
    for (const { regions } of this.layout()) {
      for (const { blocks } of regions) {
        for (const { address, free } of blocks) if (!free) addresses.push(address);
      }
    }
    for (const address of addresses) {
      const block = this.#disposed ? undefined : this.#find(address);
      if (block !== undefined) yield block;
    }
  }

  /** See {@link Allocator.stats}. */
  stats(): AllocatorStats {
    this.#memory.assertNotDisposed("report");
    const { committedBytes, peakCommittedBytes, reservedBytes, wrappedBytes, sorted } = this.#regions;
    return {
      liveBlocks: this.#liveBlocks,
      liveBytes: this.#liveGranules * GRANULE - this.#liveBlocks * this.#layout.header,
      committedBytes,
      peakCommittedBytes,
      tableBytes: 0,
      reservedBytes,
      wrappedBytes,
      regions: sorted.length,
      limit: Infinity,
    };
  }

  /** Count and bytes of the free blocks of all buckets. */
  freeStats(): FreeStats {
    this.#memory.assertNotDisposed("report");
    let count = 0;
    for (const { free } of this.#buckets) count += free.count;
    let granules = -this.#liveGranules;
    for (const { first, end } of this.#regions.sorted) granules += end - first;
    return { count, bytes: granules * GRANULE };
  }

  /** What every bucket holds, region by region and block by block; `describe` draws it. */
  layout(): BucketLayout[] {
    this.#memory.assertNotDisposed("report");
    try {
      return this.#buckets.map((bucket) => layoutOf(this.#regions, bucket));
    } catch (error) {
      throwReported(error);
    }
  }

  /** See {@link Allocator.check}. */
  check(): void {
    this.#memory.assertNotDisposed("check");
    for (const region of this.#regions.sorted) assertAttached(region);
    try {
      this.#check();
    } catch (error) {
      throwReported(error);
    }
  }

  #check(): void {
    let blocks = 0;
    let granules = 0;
    for (const bucket of this.#buckets) {
      const live = bucket.check();
      blocks += live.blocks;
      granules += live.granules;
    }
    if (blocks === this.#liveBlocks && granules === this.#liveGranules) return;
    throw corrupt(this.#regions.sorted[0]!, 0, `${this.#liveBlocks} blocks should be live and ${blocks} are`);
  }

  /** See {@link Allocator.trim}. Unmaps free regions, and gives OS pages inside large free blocks back. */
  trim(): number {
    this.#memory.assertNotDisposed("trim");
    try {
      let given = this.#regions.retryUnmaps();
      for (const bucket of this.#buckets) given += bucket.releaseFreeRegions() + bucket.discardFree();
      return given;
    } catch (error) {
      throwReported(error);
    }
  }

  /** Frees every block, detaches every view and gives all memory back. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#memory.dispose();
    this.#regions.dispose();
  }

  /** The region of the live block at `address`; throws what is wrong with the address otherwise. */
  #regionOfLive(address: Address, action: string): Region {
    const region = this.#regions.find(address);
    if (region !== undefined) {
      const granule = (address - region.address) / GRANULE;
      const p = granule | 0;
      if (p === granule && (region.marks[p]! & LIVE) !== 0) return region;
    }
    throw this.#memory.invalid(address, action);
  }

  /** The same for `resize` and `reallocate`, which an owned block refuses. */
  #regionOfUsed(address: Address, size: number, action: string): Region {
    this.#memory.liveToResize(address, size, action);
    return this.#regions.find(address)!;
  }

  #find(address: Address): BlockInfo | undefined {
    const region = this.#regions.find(address);
    if (region === undefined) return undefined;
    const granule = (address - region.address) / GRANULE;
    const p = granule | 0;
    if (p !== granule || (region.marks[p]! & LIVE) === 0) return undefined;
    try {
      const usableSize = sizeOfLive(region, this.#layout, p) * GRANULE - this.#layout.header;
      const requestedSize = usableSize - slackAt(region, p);
      return { address, requestedSize, usableSize, alignment: 1 << alignmentLog2At(region, p) };
    } catch (error) {
      throwReported(error);
    }
  }
}
