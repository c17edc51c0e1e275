/**
 * The free-list allocator: regions of blocks and one free list through all of them, with the policies to choose.
 *
 * ```text
 *   order        address  lifo  fifo           where a freed block goes in the list           free_list.ts
 *   fit          first  best  next             which free block is taken                      free_list.ts
 *   header       0  8  24  40                  what stands in front of a block                block.ts
 *   split        start  end                    which end of a free block is given out         bucket.ts
 *   coalesce     eager  lazy                   when free neighbours become one                bucket.ts
 *   joinRegions, releaseRegions, regionSize    mappings                                       region_list.ts
 * ```
 *
 * Three of the reference systems are points in this space; systems.ts has them by name. The list is walked, so
 * `allocate` takes time in the number of free blocks; that is what policies cost, and `Heap` is for those who do not want to pay it.
 *
 * @module
 */
import { assertOptions } from "./arguments.ts";
import { type HeaderSize, layoutFor } from "./block.ts";
import { Bucket } from "./bucket.ts";
import type { AllocatorEvent } from "./bucket_policy.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { type FreeFit, FreeList, type FreeOrder } from "./free_list.ts";
import { InBandAllocator } from "./in_band_allocator.ts";
import type { PageSource } from "./page_source.ts";
import { assertBoolean, assertChoice, assertHook, regionSizeFor } from "./policy_arguments.ts";
import { RegionList } from "./region_list.ts";

/** Options of a {@link FreeListAllocator}. */
export interface FreeListOptions {
  /** Where memory comes from. @defaultValue the operating system */
  source?: PageSource;
  /** Where a freed block goes in the free list. @defaultValue "lifo" */
  order?: FreeOrder;
  /** Which free block is taken. @defaultValue "first" */
  fit?: FreeFit;
  /**
   * Bytes in front of each block: 0, none, sizes are kept elsewhere; 8, size and free bit; 24 or 40, links to the
   * neighbours besides, in 32-bit or 64-bit fields. @defaultValue 8
   */
  header?: HeaderSize;
  /** Which end of a free block is given out. @defaultValue "start" */
  split?: "start" | "end";
  /** When free neighbours become one: at `free`, or when a search comes by. @defaultValue "eager" */
  coalesce?: "eager" | "lazy";
  /** Whether regions whose memory touches become one. @defaultValue false */
  joinRegions?: boolean;
  /** Whether a region is unmapped as soon as its only block is free. @defaultValue false */
  releaseRegions?: boolean;
  /** Whether `reallocate` also grows a block into free space below it, moving its contents. @defaultValue false */
  growDown?: boolean;
  /** The least bytes of a region. @defaultValue 65536; a page, where a byte reserved is a byte spent */
  regionSize?: number;
  /** Called after each search, split, merge, growth and release; what it throws is ignored. @defaultValue none */
  onEvent?: (event: AllocatorEvent) => void;
}

/** What {@link FreeListAllocator.validity} finds: counts of pairs of neighbours in the free list. */
export interface FreeListValidity {
  /** Pairs that share memory: always an error. */
  readonly overlaps: number;
  /** Pairs that touch and could be merged: an error where merging is eager. */
  readonly adjacents: number;
  /** Pairs of which the second is below the first: an error where the order is by address. */
  readonly outOfOrder: number;
  /** Whether none of them is an error under the policies of this allocator. */
  readonly isValid: boolean;
}

/**
 * An allocator with one free list, whose metadata lies in its memory.
 *
 * @example
 * ```ts
 * import { FreeListAllocator, fixedPageSource } from "@offheap/alloc";
 *
 * const source = fixedPageSource(new ArrayBuffer(65536));
 * using allocator = new FreeListAllocator({ source, order: "address", fit: "best" });
 * const address = allocator.allocate(100);
 * allocator.free(address);
 * ```
 */
export class FreeListAllocator extends InBandAllocator {
  readonly #order: FreeOrder;
  readonly #coalesce: "eager" | "lazy";

  /**
   * Maps nothing before the first allocation.
   *
   * @throws {UnsupportedPlatformError} When no source is given and the system's cannot be loaded: see its message.
   */
  constructor(options: FreeListOptions = {}) {
    assertOptions(options);
    const { order = "lifo", fit = "first", header = 8, split = "start", coalesce = "eager", onEvent } = options;
    const { joinRegions = false, releaseRegions = false, growDown = false } = options;
    assertChoice(order, "order", ["address", "lifo", "fifo"]);
    assertChoice(fit, "fit", ["first", "best", "next"]);
    assertChoice(header, "header", [0, 8, 24, 40]);
    assertChoice(split, "split", ["start", "end"]);
    assertChoice(coalesce, "coalesce", ["eager", "lazy"]);
    assertBoolean(joinRegions, "joinRegions");
    assertBoolean(releaseRegions, "releaseRegions");
    assertBoolean(growDown, "growDown");
    assertHook(onEvent);
    const source = options.source ?? defaultPageSource();
    const regionSize = regionSizeFor(source, options.regionSize);
    const regions = new RegionList(source, layoutFor(header));
    const policy = { split, coalesce, joinRegions, releaseRegions, regionSize, onEvent };
    const buckets = [new Bucket(0, regions, new FreeList(regions, order, fit), policy)];
    super({ name: "free-list allocator", regions, buckets, sizes: [], growDown });
    this.#order = order;
    this.#coalesce = coalesce;
  }

  /** Holds each two neighbours in the free list against each other. */
  validity(): FreeListValidity {
    let overlaps = 0;
    let adjacents = 0;
    let outOfOrder = 0;
    for (const { freeList, regions } of this.layout()) {
      for (let i = 1; i < freeList.length; i++) if (freeList[i]!.address < freeList[i - 1]!.address) outOfOrder++;
      const sorted = freeList.toSorted((a, b) => a.address - b.address);
      for (let i = 1; i < sorted.length; i++) {
        const { address, size } = sorted[i - 1]!;
        const above = sorted[i]!.address;
        if (above < address + size) overlaps++;
        // What touches in different regions cannot be merged.
        if (above === address + size && !regions.some((region) => region.blocks[0]!.address === above)) adjacents++;
      }
    }
    const isValid = overlaps === 0 && (adjacents === 0 || this.#coalesce === "lazy") &&
      (outOfOrder === 0 || this.#order !== "address");
    return { overlaps, adjacents, outOfOrder, isValid };
  }
}
