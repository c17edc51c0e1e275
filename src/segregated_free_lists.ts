/**
 * Free blocks by size: one list for each doubling, for buckets that hold blocks of 1 KiB beside blocks of 1 GiB.
 *
 * ```text
 *   bin   0      1      2        3               k
 *   n     1      2..3   4..7     8..15    ...    2^k .. 2^(k+1) - 1     granules
 *         │      │      │        │               │
 *         ▼      ▼      ▼        ▼               ▼
 *        list   list   list     list            list                    free_list.ts
 * ```
 *
 * A block that is wanted is looked for among the first few of its own bin, then in the bins above, where the first block is
 * large enough whatever it is. So a search takes constant time; it can miss a block of its own bin that would have fitted,
 * unless it is told to be thorough.
 *
 * @module
 */
import type { FreeBlock, FreeBlocks, Placement, Visit } from "./free_blocks.ts";
import { FreeList, type FreeOrder } from "./free_list.ts";
import type { Region, RegionList } from "./region_list.ts";

/** One bin for each size of up to 2^29 granules. */
const BINS = 30;

/** How many blocks of a bin are looked at. */
const LOOK_AT = 8;

/** Several free lists that look like one. */
export class SegregatedFreeLists implements FreeBlocks {
  /** See {@link FreeBlocks.inPlace}. */
  readonly inPlace = false;
  readonly #bins: FreeList[];
  #hit: FreeList;
  #visited = 0;

  /** Empty lists. */
  constructor(regions: RegionList, order: FreeOrder) {
    this.#bins = Array.from({ length: BINS }, () => new FreeList(regions, order, "first", false));
    this.#hit = this.#bins[0]!;
  }

  /** How many free blocks there are. */
  get count(): number {
    return this.#bins.reduce((sum, bin) => sum + bin.count, 0);
  }

  /** How many blocks the last search came by. */
  get visited(): number {
    return this.#visited;
  }

  /** The region of the block that the last search found. */
  get foundRegion(): Region {
    return this.#hit.foundRegion;
  }

  /** Its granule. */
  get found(): number {
    return this.#hit.found;
  }

  /** Adds a free block to the bin of its size. */
  insert(region: Region, p: number, n: number): void {
    this.#binOf(n).insert(region, p);
  }

  /** As `insert`: places in different bins do not follow each other. */
  insertAfter(region: Region, _before: number, p: number, n: number): void {
    this.#binOf(n).insert(region, p);
  }

  /** Takes the free block at `p` out. */
  remove(region: Region, p: number, n: number): void {
    this.#binOf(n).remove(region, p);
  }

  /** Puts the free block at `to` in the place of the one at `from`, if they are of one bin. */
  replace(region: Region, from: number, fromSize: number, to: number, toSize: number): void {
    const bin = this.#binOf(fromSize);
    if (bin === this.#binOf(toSize)) {
      bin.replace(region, from, fromSize, to);
    } else {
      bin.remove(region, from);
      this.insert(region, to, toSize);
    }
  }

  /** Moves the free block at `p` to another bin when its size asks for that. */
  resize(region: Region, p: number, from: number, to: number): void {
    const bin = this.#binOf(from);
    if (bin === this.#binOf(to)) return;
    bin.remove(region, p);
    this.insert(region, p, to);
  }

  /** See {@link FreeBlocks.assertLinked}. */
  assertLinked(region: Region, p: number): void {
    this.#binOf(region.words[4 * p]!).assertLinked(region, p);
  }

  /** See {@link FreeBlocks.search}. */
  search(need: number, place: Placement | undefined, visit: Visit | undefined, limit = LOOK_AT): boolean {
    this.#visited = 0;
    for (let bin = 31 - Math.clz32(need); bin < BINS; bin++) {
      const list = this.#bins[bin]!;
      if (list.count === 0) continue;
      const found = list.search(need, place, visit, limit);
      this.#visited += list.visited;
      if (!found) continue;
      this.#hit = list;
      return true;
    }
    return false;
  }

  /** See {@link FreeBlocks.renumber}. */
  renumber(from: number, to: Region, shift: number): void {
    for (const bin of this.#bins) bin.renumber(from, to, shift);
  }

  /** The free blocks, smallest bin first. */
  *[Symbol.iterator](): IterableIterator<FreeBlock> {
    for (const bin of this.#bins) yield* bin;
  }

  #binOf(n: number): FreeList {
    return this.#bins[31 - Math.clz32(n)]!;
  }
}
