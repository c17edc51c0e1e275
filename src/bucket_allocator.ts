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
import { assertOptions, assertSize } from "./arguments.ts";
import { type HeaderSize, layoutFor } from "./block.ts";
import { Bucket } from "./bucket.ts";
import type { AllocatorEvent } from "./bucket_policy.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { describeValue } from "./errors.ts";
import type { FreeBlocks } from "./free_blocks.ts";
import { type FreeFit, FreeList, type FreeOrder } from "./free_list.ts";
import { InBandAllocator } from "./in_band_allocator.ts";
import type { PageSource } from "./page_source.ts";
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
export class BucketAllocator extends InBandAllocator {
  /** The largest block of each bucket; the dynamic bucket is not among them. */
  readonly sizes: readonly number[];

  /**
   * Maps nothing before the first allocation.
   *
   * @throws {UnsupportedPlatformError} When no source is given and the system's cannot be loaded: see its message.
   */
  constructor(options: BucketOptions = {}) {
    assertOptions(options);
    const { sizes = DEFAULT_BUCKET_SIZES, order = "fifo", fit = "first", header = 24, onEvent } = options;
    const { releaseRegions = true, growDown = true } = options;
    assertBucketSizes(sizes);
    assertChoice(order, "order", ["address", "lifo", "fifo"]);
    assertChoice(fit, "fit", ["first", "best", "next"]);
    assertChoice(header, "header", [0, 8, 24, 40]);
    assertBoolean(releaseRegions, "releaseRegions");
    assertBoolean(growDown, "growDown");
    assertHook(onEvent);
    const source = options.source ?? defaultPageSource();
    const regionSize = regionSizeFor(source, options.regionSize);
    const regions = new RegionList(source, layoutFor(header));
    const policy = {
      split: "start",
      coalesce: "eager",
      joinRegions: false,
      releaseRegions,
      regionSize,
      onEvent,
    } as const;
    const lists: FreeBlocks[] = sizes.map(() => new FreeList(regions, order, fit));
    lists.push(new SegregatedFreeLists(regions, order));
    const buckets = lists.map((list, index) => new Bucket(index, regions, list, policy));
    const copy = [...sizes];
    super({ name: "bucket allocator", regions, buckets, sizes: copy, growDown });
    this.sizes = copy;
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
