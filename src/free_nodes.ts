/**
 * The nodes of a free list: what a free block holds in the first 16 bytes of its payload, four 32-bit words.
 *
 * ```text
 *   0      size in granules
 *   4      next: granule of the payload of the next free block      in the region whose number is in bits 0..11 of word 12
 *   8      previous: likewise                                       in the region whose number is in bits 12..23
 *   12     previous region << 12 | next region                      region 0: there is none
 * ```
 *
 * A caller that writes to freed memory writes over nodes. So a link is followed only when the node that it leads to leads
 * back, and a size is used only when the other end of the block and the marks of its region agree (`sizeOfFree` of block.ts):
 * `CorruptionError` otherwise.
 *
 * Here is how nodes are checked, walked and renumbered; free_list.ts writes them where blocks come and go.
 *
 * @module
 */
import { corrupt, sizeOfFree } from "./block.ts";
import type { CorruptionError } from "./errors.ts";
import type { FreeBlock } from "./free_blocks.ts";
import type { Region, RegionList } from "./region_list.ts";

/** The bits of word 12 that are the region of the next block. */
export const REGION_MASK = 0xfff;

/** The region of the previous block is in word 12 from this bit on. */
export const PREVIOUS_SHIFT = 12;

/** The place of a node: 0 for both is none. */
export interface NodePlace {
  /** The number of its region. */
  readonly number: number;
  /** The granule of the payload. */
  readonly p: number;
}

/** The error for a node at `p`, when one of its neighbours does not lead to it. */
export function disagree(region: Region, p: number): CorruptionError {
  return corrupt(region, p, "it is free, and its neighbours in the free list disagree");
}

/** Throws unless the node at `p` says that it follows the one at `before`. */
export function assertFollows(region: Region, p: number, beforeRegion: number, before: number): void {
  const { words } = region;
  const w = p << 2;
  if (words[w + 3]! >>> PREVIOUS_SHIFT !== beforeRegion || (beforeRegion !== 0 && words[w + 2] !== before)) {
    throw disagree(region, p);
  }
}

/** The region of that number, which the node at `p` of region `from` leads to. */
export function regionOf({ byNumber }: RegionList, number: number, from: number, p: number): Region {
  const region = byNumber[number];
  if (region !== undefined) return region;
  throw corrupt(byNumber[from]!, p, "it is free and leads to a region that does not exist");
}

/** The free blocks from a head on; returns the place of the last, for the caller to compare. */
export function* walkNodes(regions: RegionList, headRegion: number, head: number): Generator<FreeBlock, NodePlace> {
  let number = headRegion;
  let p = head;
  let beforeRegion = 0;
  let before = 0;
  while (number !== 0) {
    const region = regionOf(regions, number, beforeRegion, before);
    assertFollows(region, p, beforeRegion, before);
    yield { region, p, n: sizeOfFree(region, regions.layout, p) };
    beforeRegion = number;
    before = p;
    number = region.words[4 * p + 3]! & REGION_MASK;
    p = region.words[4 * p + 1]!;
  }
  return { number: beforeRegion, p: before };
}

/**
 * Has the nodes from a head on name blocks of region `from` as blocks of `to`, `shift` granules further up. The head is where
 * it is now.
 */
export function renumberNodes(
  regions: RegionList,
  headRegion: number,
  head: number,
  from: number,
  to: Region,
  shift: number,
): void {
  let number = headRegion;
  let p = head;
  while (number !== 0) {
    const { words } = regionOf(regions, number, number, p);
    const w = p << 2;
    let nextRegion = words[w + 3]! & REGION_MASK;
    let previousRegion = words[w + 3]! >>> PREVIOUS_SHIFT;
    if (nextRegion === from) {
      nextRegion = to.number;
      words[w + 1] = words[w + 1]! + shift;
    }
    if (previousRegion === from) {
      previousRegion = to.number;
      words[w + 2] = words[w + 2]! + shift;
    }
    words[w + 3] = previousRegion << PREVIOUS_SHIFT | nextRegion;
    number = nextRegion;
    p = words[w + 1]!;
  }
}
