/**
 * What a bucket needs of its free blocks, whether they are in one list (free_list.ts) or in several
 * (segregated_free_lists.ts).
 *
 * Places are granules in a region. The sizes that are passed in were verified by `sizeOfFree` of block.ts; the size of a
 * free block is written to memory by `writeFree` of that file, not by its list.
 *
 * @module
 */
import type { Region } from "./region_list.ts";

/** The granule at which what is looked for would begin in the free block at `p` of `n` granules; -1 when it has no room. */
export type Placement = (region: Region, p: number, n: number) => number;

/** Called with each free block behind which another one lies; the granules that it has afterwards. */
export type Visit = (region: Region, p: number) => number;

/** A free block. */
export interface FreeBlock {
  /** The region. */
  readonly region: Region;
  /** The granule of the payload. */
  readonly p: number;
  /** The size in granules. */
  readonly n: number;
}

/** The free blocks of a bucket, from head to tail. */
export interface FreeBlocks extends Iterable<FreeBlock> {
  /** How many there are. */
  readonly count: number;
  /** How many the last search came by. */
  readonly visited: number;
  /** The region of the block that the last search found. */
  readonly foundRegion: Region;
  /** Its granule. */
  readonly found: number;
  /** Whether a block that grows or shrinks keeps its place: in other orders it is taken out and put back. */
  readonly inPlace: boolean;
  /** Adds a free block in its place by the order. */
  insert(region: Region, p: number, n: number): void;
  /** Adds a free block right behind another. */
  insertAfter(region: Region, before: number, p: number, n: number): void;
  /** Takes a free block out. */
  remove(region: Region, p: number, n: number): void;
  /** Puts the free block at `to` in the place of the one at `from`. */
  replace(region: Region, from: number, fromSize: number, to: number, toSize: number): void;
  /** Is told that the free block at `p` is getting another size, and keeps its place if it can. */
  resize(region: Region, p: number, from: number, to: number): void;
  /**
   * Throws unless what lies before and behind the free block at `p` in its list leads to it.
   *
   * @throws {CorruptionError} When it does not: one of them was written to.
   */
  assertLinked(region: Region, p: number): void;
  /**
   * Looks for a free block of `need` granules or more in which `place`, if given, finds room, past at most `limit` blocks,
   * and leaves it in `foundRegion` and `found`. False when there is none.
   */
  search(need: number, place: Placement | undefined, visit: Visit | undefined, limit?: number): boolean;
  /** Names the blocks of a region, which has become the upper part of `to`, by that: `shift` granules further up. */
  renumber(from: number, to: Region, shift: number): void;
}
