/**
 * Walks over the blocks of a bucket: for drawings, for statistics, and to hold every record against every other.
 *
 * @module
 */
import { alignmentLog2At, type BlockLayout, corrupt, freeBelow, sizeOfFree, sizeOfLive, slackAt } from "./block.ts";
import type { FreeBlocks } from "./free_blocks.ts";
import { FREE, GRANULE, LIVE } from "./marks.ts";
import type { Region, RegionList } from "./region_list.ts";

/** A block as a walk finds it. */
export interface WalkedBlock {
  /** The region. */
  readonly region: Region;
  /** The granule of the payload. */
  readonly p: number;
  /** The size in granules. */
  readonly n: number;
  /** Whether it is free. */
  readonly free: boolean;
}

/** The part of a bucket that a walk needs. */
export interface Walkable {
  /** Its number in its allocator. */
  readonly index: number;
  /** Its free blocks. */
  readonly free: FreeBlocks;
}

/**
 * Every block of a bucket, by address.
 *
 * @throws {CorruptionError} At a block whose size cannot be trusted.
 */
export function* walkBlocks({ sorted, layout }: RegionList, { index }: Walkable): IterableIterator<WalkedBlock> {
  for (const region of [...sorted]) {
    if (region.bucket !== index) continue;
    for (let p = region.first; p < region.end;) {
      const free = (region.marks[p]! & FREE) !== 0;
      if (!free && (region.marks[p]! & LIVE) === 0) throw corrupt(region, p, "no block begins where one must");
      const n = free ? sizeOfFree(region, layout, p) : sizeOfLive(region, layout, p);
      yield { region, p, n, free };
      p += n;
    }
  }
}

/** The payload of the last block that begins below `p`. */
export function startBelow(region: Region, p: number): number {
  let at = p - 1;
  while ((region.marks[at]! & (LIVE | FREE)) === 0) at--;
  return at;
}

/** The live blocks of a bucket, headers included. */
export interface LiveFigures {
  /** How many there are. */
  readonly blocks: number;
  /** Their granules. */
  readonly granules: number;
}

/** Throws unless the blocks agree with each other, and the free list holds exactly the free ones; what is live. */
export function checkBucket(regions: RegionList, bucket: Walkable, eager: boolean): LiveFigures {
  const live = { blocks: 0, granules: 0 };
  const free = { blocks: 0, granules: 0 };
  let before: WalkedBlock | undefined;
  for (const block of walkBlocks(regions, bucket)) {
    const figures = block.free ? free : live;
    figures.blocks++;
    figures.granules += block.n;
    checkBlock(regions.layout, block, before, eager);
    before = block;
  }
  const listed = { blocks: 0, granules: 0 };
  for (const { n } of bucket.free) {
    listed.blocks++;
    listed.granules += n;
  }
  const { sorted: [region] } = regions;
  const agree = listed.blocks === free.blocks && listed.granules === free.granules && bucket.free.count === free.blocks;
  if (agree || region === undefined) return live;
  throw corrupt(region, 0, `its bucket has ${free.blocks} free blocks and ${listed.blocks} in its list`);
}

function checkBlock(layout: BlockLayout, block: WalkedBlock, before: WalkedBlock | undefined, eager: boolean): void {
  const { region, p, n, free } = block;
  const below = before?.region === region && before.free ? before.n : 0;
  if (freeBelow(region, layout, p) !== below) throw corrupt(region, p, "it disagrees with the block below it");
  if (free && below > 0 && eager) throw corrupt(region, p, "it was not merged");
  for (let inside = p + 1; inside < p + n; inside++) {
    if ((region.marks[inside]! & (LIVE | FREE)) !== 0) throw corrupt(region, inside, "it lies inside another block");
  }
  if (free) return;
  if (slackAt(region, p) > n * GRANULE - layout.header) {
    throw corrupt(region, p, "it is smaller than what was asked for");
  }
  if ((region.address + p * GRANULE) % 2 ** alignmentLog2At(region, p) !== 0) {
    throw corrupt(region, p, "it is not aligned");
  }
}
