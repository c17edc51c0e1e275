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
import type {
  Allocator,
  AllocatorStats,
  BlockInfo,
  BufferOptions,
  TypedArray,
  TypedArrayConstructor,
} from "./allocator.ts";
import { type HeaderSize, layoutFor } from "./block.ts";
import { type AllocatorEvent, Bucket } from "./bucket.ts";
import { type BucketLayout, BucketSet, type FreeStats } from "./bucket_set.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { type FreeFit, FreeList, type FreeOrder } from "./free_list.ts";
import type { NativeBuffer } from "./native_buffer.ts";
import type { Address, PageSource } from "./page_source.ts";
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
export class FreeListAllocator implements Allocator {
  /** Where the memory comes from. */
  readonly source: PageSource;
  readonly #set: BucketSet;
  readonly #order: FreeOrder;
  readonly #coalesce: "eager" | "lazy";

  /**
   * Maps nothing before the first allocation.
   *
   * @throws {UnsupportedPlatformError} When no source is given and the system's cannot be loaded: see its message.
   */
  constructor(options: FreeListOptions = {}) {
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
    this.source = options.source ?? defaultPageSource();
    this.#order = order;
    this.#coalesce = coalesce;
    const regionSize = regionSizeFor(this.source, options.regionSize);
    const regions = new RegionList(this.source, layoutFor(header));
    const policy = { split, coalesce, joinRegions, releaseRegions, regionSize, onEvent };
    const bucket = new Bucket(0, regions, new FreeList(regions, order, fit), policy);
    this.#set = new BucketSet(this, {
      name: "free-list allocator",
      regions,
      buckets: [bucket],
      bucketFor: () => bucket,
      growDown,
    });
  }

  /** See {@link Allocator.allocate}. Time in the number of free blocks. */
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

  /** See {@link Allocator.reallocate}. In place where it can be, otherwise it moves. */
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

  /** Holds each two neighbours in the free list against each other. */
  validity(): FreeListValidity {
    let overlaps = 0;
    let adjacents = 0;
    let outOfOrder = 0;
    for (const { freeList } of this.layout()) {
      const bySize = new Map(freeList.map(({ address, size }) => [address, size]));
      for (let i = 1; i < freeList.length; i++) if (freeList[i]!.address < freeList[i - 1]!.address) outOfOrder++;
      const sorted = [...bySize].sort(([a], [b]) => a - b);
      for (let i = 1; i < sorted.length; i++) {
        const [below, size] = sorted[i - 1]!;
        const gap = sorted[i]![0] - (below + size);
        if (gap < 0) overlaps++;
        if (gap === 0 && this.#set.inOneRegion(below, sorted[i]![0])) adjacents++;
      }
    }
    const isValid = overlaps === 0 && (adjacents === 0 || this.#coalesce === "lazy") &&
      (outOfOrder === 0 || this.#order !== "address");
    return { overlaps, adjacents, outOfOrder, isValid };
  }
}
