/**
 * What the buckets of an in-band allocator hold, as plain data: for `describe`, for `validity`, and for whoever wants to
 * draw it in another way.
 *
 * @module
 */
import type { Bucket } from "./bucket.ts";
import { walkBlocks } from "./bucket_walk.ts";
import { GRANULE } from "./marks.ts";
import type { Address } from "./page_source.ts";
import type { Region, RegionList } from "./region_list.ts";

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

/** What a bucket holds now. */
export function layoutOf(regions: RegionList, bucket: Bucket): BucketLayout {
  const blocks = new Map<Region, LayoutBlock[]>();
  for (const { region, p, n, free } of walkBlocks(regions, bucket)) {
    const block = { address: region.address + p * GRANULE, size: n * GRANULE, free };
    const list = blocks.get(region);
    if (list === undefined) blocks.set(region, [block]);
    else list.push(block);
  }
  return {
    header: regions.layout.header,
    regions: [...blocks].map(([{ address, byteLength }, list]) => ({ address, byteLength, blocks: list })),
    freeList: Array.from(
      bucket.free,
      ({ region, p, n }) => ({ address: region.address + p * GRANULE, size: n * GRANULE, free: true }),
    ),
  };
}
