/**
 * The bucket allocator: blocks of similar sizes share regions, which are searched apart from all others.
 *
 * ```text
 *   sizes 128, 1024, 8192
 *
 *   0 ──▶ up to  128 bytes    Bucket: regions, blocks, a FIFO free list                bucket.ts
 *   1 ──▶ up to 1024 bytes    Bucket
 *   2 ──▶ up to 8192 bytes    Bucket
 *   3 ──▶ everything else     Bucket, the dynamic one: free lists by size              segregated_free_lists.ts
 * ```
 *
 * Buckets differ in nothing but which blocks they hold, and the dynamic one in how it looks for one: it goes to the list of the right
 * size at once, so a large request never walks past small blocks. Blocks are `size` bytes and a header of 24; a block
 * that `reallocate` gives a size of another bucket moves there, one that `resize` does stays.
 *
 * Alignment costs no more than a free block: what is skipped to reach it stays in the free list. Regions are at least
 * 64 KiB whatever the request. A region is unmapped when its only block is free; when the system fails to unmap it, `free`
 * succeeds all the same, and `trim` and `dispose` try again.
 *
 * @module
 */
import type {
  Allocator,
  AllocatorStats,
  BlockInfo,
  BufferOptions,
  TypedArray,
  TypedArrayConstructor,
} from "./allocator.ts";
import { assertSize } from "./arguments.ts";
import { type HeaderSize, layoutFor } from "./block.ts";
import { type AllocatorEvent, Bucket, type FreeBlocks } from "./bucket.ts";
import { type BucketLayout, BucketSet, type FreeStats } from "./bucket_set.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { describeValue } from "./errors.ts";
import { type FreeFit, FreeList, type FreeOrder } from "./free_list.ts";
import type { NativeBuffer } from "./native_buffer.ts";
import type { Address, PageSource } from "./page_source.ts";
import { assertBoolean, assertChoice, assertHook, regionSizeFor } from "./policy_arguments.ts";
import { RegionList } from "./region_list.ts";
import { SegregatedFreeLists } from "./segregated_free_lists.ts";

/** Options of a {@link BucketAllocator}. */
export interface BucketOptions {
  /** Where memory comes from. @defaultValue the operating system */
  source?: PageSource;
  /** The largest block of each bucket, ascending; the dynamic bucket comes on top. @defaultValue [128, 1024, 8192] */
  sizes?: readonly number[];
  /** Where a freed block goes in its free list. @defaultValue "fifo" */
  order?: FreeOrder;
  /** Which free block of a bucket is taken; the dynamic bucket takes the first of its lists. @defaultValue "first" */
  fit?: FreeFit;
  /** Bytes in front of each block, as in `FreeListOptions`. @defaultValue 24 */
  header?: HeaderSize;
  /** Whether a region is unmapped as soon as its only block is free. @defaultValue true */
  releaseRegions?: boolean;
  /** Whether `reallocate` also grows a block into free space below it, moving its contents. @defaultValue true */
  growDown?: boolean;
  /** The least bytes of a region. @defaultValue 65536; a page, where a byte reserved is a byte spent */
  regionSize?: number;
  /** Called after each search, split, merge, growth and release; what it throws is ignored. @defaultValue none */
  onEvent?: (event: AllocatorEvent) => void;
}

/** The bucket sizes of the reference system. */
export const DEFAULT_BUCKET_SIZES: readonly number[] = [128, 1024, 8192];

/** The most buckets: each may hold a region that is nearly empty. */
const MAX_BUCKETS = 64;

/**
 * An allocator with a bucket of regions for each range of sizes, whose metadata lies in its memory.
 *
 * @example
 * ```ts
 * import { BucketAllocator } from "@offheap/alloc";
 *
 * using allocator = new BucketAllocator({ sizes: [8, 16, 24] });
 * const address = allocator.allocate(10);
 * allocator.free(address);
 * ```
 */
export class BucketAllocator implements Allocator {
  /** Where the memory comes from. */
  readonly source: PageSource;
  /** The largest block of each bucket; the dynamic bucket is not among them. */
  readonly sizes: readonly number[];
  readonly #set: BucketSet;

  /**
   * Maps nothing before the first allocation.
   *
   * @throws {UnsupportedPlatformError} When no source is given and the system's cannot be loaded: see its message.
   */
  constructor(options: BucketOptions = {}) {
    const { sizes = DEFAULT_BUCKET_SIZES, order = "fifo", fit = "first", header = 24, onEvent } = options;
    const { releaseRegions = true, growDown = true } = options;
    assertBucketSizes(sizes);
    assertChoice(order, "order", ["address", "lifo", "fifo"]);
    assertChoice(fit, "fit", ["first", "best", "next"]);
    assertChoice(header, "header", [0, 8, 24, 40]);
    assertBoolean(releaseRegions, "releaseRegions");
    assertBoolean(growDown, "growDown");
    assertHook(onEvent);
    this.source = options.source ?? defaultPageSource();
    this.sizes = [...sizes];
    const regionSize = regionSizeFor(this.source, options.regionSize);
    const regions = new RegionList(this.source, layoutFor(header));
    const policy = {
      split: "start",
      coalesce: "eager",
      joinRegions: false,
      releaseRegions,
      regionSize,
      onEvent,
    } as const;
    const lists: FreeBlocks[] = this.sizes.map(() => new FreeList(regions, order, fit));
    lists.push(new SegregatedFreeLists(regions, order));
    const buckets = lists.map((list, index) => new Bucket(index, regions, list, policy));
    this.#set = new BucketSet(this, {
      name: "bucket allocator",
      regions,
      buckets,
      bucketFor: (size) => buckets[this.bucketOf(size)]!,
      growDown,
    });
  }

  /** The number of the bucket for blocks of `size` bytes. */
  bucketOf(size: number): number {
    const { sizes } = this;
    let bucket = 0;
    while (bucket < sizes.length && sizes[bucket]! < size) bucket++;
    return bucket;
  }

  /** See {@link Allocator.allocate}. Time in the number of free blocks of the bucket; constant in the dynamic one. */
  allocate(size: number, alignment?: number): Address {
    return this.#set.allocate(size, alignment);
  }

  /** See {@link Allocator.tryAllocate}. */
  tryAllocate(size: number, alignment?: number): Address {
    return this.#set.tryAllocate(size, alignment);
  }

  /** See {@link Allocator.allocateZeroed}. */
  allocateZeroed(size: number, alignment?: number): Address {
    return this.#set.allocateZeroed(size, alignment);
  }

  /**
   * See {@link Allocator.free}. With `size`, the size that was asked for, the caller hands it back and it is checked.
   *
   * @throws {SizeMismatchError} When `size` is not the size that was asked for; the block is still live.
   */
  free(address: Address, size?: number): void {
    this.#set.free(address, size);
  }

  /** See {@link Allocator.resize}. Always shrinks; grows into free space behind the block. */
  resize(address: Address, size: number): boolean {
    return this.#set.resize(address, size);
  }

  /** See {@link Allocator.reallocate}. A block whose size changes bucket moves. */
  reallocate(address: Address, size: number): Address {
    return this.#set.reallocate(address, size);
  }

  /** See {@link Allocator.usableSize}. */
  usableSize(address: Address): number {
    return this.#set.usableSize(address);
  }

  /** See {@link Allocator.owns}. */
  owns(address: Address): boolean {
    return this.#set.owns(address);
  }

  /** See {@link Allocator.view}. A view is empty once its region is given back. */
  view(address: Address, byteLength?: number): Uint8Array {
    return this.#set.memory.view(address, byteLength);
  }

  /** See {@link Allocator.array}. */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T {
    return this.#set.memory.array(type, length);
  }

  /** See {@link Allocator.freeArray}. */
  freeArray(array: ArrayBufferView): void {
    this.#set.memory.freeArray(array);
  }

  /** See {@link Allocator.addressOf}. */
  addressOf(view: ArrayBufferView): Address {
    return this.#set.memory.addressOf(view);
  }

  /** See {@link Allocator.buffer}. */
  buffer(byteLength: number, options?: BufferOptions): NativeBuffer {
    return this.#set.memory.buffer(byteLength, options);
  }

  /** See {@link Allocator.blocks}. The walk is over the blocks of its start. */
  blocks(): IterableIterator<BlockInfo> {
    return this.#set.blocks();
  }

  /** See {@link Allocator.stats}. */
  stats(): AllocatorStats {
    return this.#set.stats();
  }

  /** Count and bytes of the free blocks. */
  freeStats(): FreeStats {
    return this.#set.freeStats();
  }

  /** What every bucket holds, region by region and block by block; `describe` draws it. */
  layout(): BucketLayout[] {
    return this.#set.layout();
  }

  /** See {@link Allocator.check}. */
  check(): void {
    this.#set.check();
  }

  /** See {@link Allocator.trim}. Unmaps free regions, and gives OS pages inside large free blocks back. */
  trim(): number {
    return this.#set.trim();
  }

  /** Frees every block, detaches every view and gives all memory back. A second call does nothing. */
  [Symbol.dispose](): void {
    this.#set.dispose();
  }
}

function assertBucketSizes(sizes: unknown): asserts sizes is readonly number[] {
  if (!Array.isArray(sizes)) {
    throw new TypeError(`Cannot use ${describeValue(sizes)} as sizes: it must be an array of sizes in bytes`);
  }
  if (sizes.length > MAX_BUCKETS) {
    throw new RangeError(`Cannot use ${sizes.length} sizes: there are at most ${MAX_BUCKETS} buckets`);
  }
  let before = 0;
  for (const size of sizes) {
    assertSize(size, "bucket size");
    if (size <= before) {
      throw new RangeError(`Cannot use ${size} as bucket size after ${before}: sizes must be above 0 and ascending`);
    }
    before = size;
  }
}
