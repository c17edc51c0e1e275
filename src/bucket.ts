/**
 * One bucket: regions, the blocks in them, and a free list. The free-list systems have one, the bucket system several.
 *
 * ```text
 *                Next free block in the free list            Next free block
 *            +--------------------------------------+   +-----------------------+
 *            |                                      |   |                       |
 *  +---------|-----------------------+      +-------|---|-----------------------|-----+
 *  | Region +|------+    +-------+   |      | Region|+--|----+    +-------+    +|------+ |
 *  |        | Free  | -> | Block |   | ---> |       || Free  | -> | Block | -> | Free  | |
 *  |        +-------+    +-------+   |      |       |+-------+    +-------+    +-------+ |
 *  +---------------------------------+      +-------------------------------------------+
 * ```
 *
 * Sizes and places are in granules here; a place is a region and the granule of a payload in it (block.ts).
 *
 * - allocate: search the free list; split what is left over into a free block of its own, if it is large enough for
 *   one; when nothing fits, map a region.
 * - release: `eager` merges with the free blocks on both sides at once; `lazy` merges nothing: a search merges each block
 *   that it comes by with the free blocks behind it.
 * - A region that has become one free block is unmapped at once (`releaseRegions`), or kept until `trim`.
 *
 * Invariants: the blocks of a region lie one behind the other from `first` to `end`; every free block is in the list; with `eager`,
 * no two free blocks touch. Nothing changes before everything that can fail has succeeded.
 *
 * @module
 */
import {
  type BlockLayout,
  CLEAN,
  corrupt,
  eraseFree,
  FREE,
  GRANULE,
  LIVE,
  sizeOfLive,
  STALE,
  writeFree,
} from "./block.ts";
import { OutOfMemoryError } from "./errors.ts";
import type { FreeBlock, Placement, Visit } from "./free_list.ts";
import type { Address } from "./page_source.ts";
import type { Region, RegionList } from "./region_list.ts";

/** What happened inside, for whoever wants to watch; sizes in bytes, headers included. */
export interface AllocatorEvent {
  /**
   * `search`: the free list was walked for `size` bytes, past `count` blocks; `split`: `size` bytes at `address` were left
   * over; `merge`: two free blocks are one of `size` bytes; `grow`: a region was mapped; `release`: one was unmapped.
   */
  readonly type: "search" | "split" | "merge" | "grow" | "release";
  /** Where: of a block its payload, of a region its start; 0 for a search that found nothing. */
  readonly address: Address;
  /** See `type`. */
  readonly size: number;
  /** Of a search, the blocks it came by; otherwise 1. */
  readonly count: number;
}

/** The free blocks of a bucket: a `FreeList`, or several that look like one. */
export interface FreeBlocks extends Iterable<FreeBlock> {
  readonly count: number;
  readonly granules: number;
  readonly visited: number;
  readonly foundRegion: Region;
  readonly found: number;
  readonly foundSize: number;
  readonly foundPlace: number;
  readonly inPlace: boolean;
  sizeAt(region: Region, p: number): number;
  insert(region: Region, p: number, n: number): void;
  insertAfter(region: Region, before: number, p: number, n: number): void;
  remove(region: Region, p: number): number;
  replace(region: Region, from: number, to: number, n: number): void;
  setSize(region: Region, p: number, n: number): void;
  search(need: number, place: Placement, visit: Visit | undefined, limit?: number): boolean;
  renumber(from: number, to: Region, shift: number): void;
}

/** The policies of a bucket. */
export interface BucketPolicy {
  /** Which end of a free block is given out. */
  readonly split: "start" | "end";
  /** When free neighbours become one. */
  readonly coalesce: "eager" | "lazy";
  /** Whether regions that touch are joined. */
  readonly joinRegions: boolean;
  /** Whether a region is unmapped as soon as it is free. */
  readonly releaseRegions: boolean;
  /** The least bytes of a region. */
  readonly regionSize: number;
  /** Called after each step. */
  readonly onEvent: ((event: AllocatorEvent) => void) | undefined;
}

/** A block as a walk finds it. */
export interface WalkedBlock {
  readonly region: Region;
  readonly p: number;
  readonly n: number;
  readonly free: boolean;
}

/** One bucket. */
export class Bucket {
  /** Its number in its allocator. */
  readonly index: number;
  /** Its free blocks. */
  readonly free: FreeBlocks;
  /** The region of the block that was allocated last. */
  region!: Region;
  /** The granules of that block. */
  size = 0;
  readonly #regions: RegionList;
  readonly #layout: BlockLayout;
  readonly #policy: BucketPolicy;
  readonly #place: Placement;
  readonly #visit: Visit | undefined;
  // What #place works for.
  #need = 0;
  #alignment = 1;

  /** An empty bucket, which takes its regions from `regions`. */
  constructor(index: number, regions: RegionList, free: FreeBlocks, policy: BucketPolicy) {
    this.index = index;
    this.free = free;
    this.#regions = regions;
    this.#layout = regions.layout;
    this.#policy = policy;
    this.#place = policy.split === "end"
      ? (region, p, n) => this.#placeAtEnd(region, p, n)
      : (region, p, n) => this.#placeAtStart(region, p, n);
    this.#visit = policy.coalesce === "lazy" ? (region, p, n) => this.#mergeBehind(region, p, n) : undefined;
  }

  /**
   * Takes a block of at least `need` granules at a multiple of `alignment` bytes, and returns its granule; its region is
   * in `region`, its size in `size`. The caller writes it as live.
   */
  allocate(need: number, alignment: number, limit?: number): number {
    this.#need = need;
    this.#alignment = alignment / GRANULE;
    const { free } = this;
    const found = free.search(need, this.#place, this.#visit, limit);
    if (this.#policy.onEvent !== undefined) {
      const address = found ? free.foundRegion.address + free.found * GRANULE : 0;
      this.#emit("search", address, need * GRANULE, free.visited);
    }
    if (!found) return this.#allocateFresh(need, alignment);
    return this.#carve(free.foundRegion, free.found, free.foundSize, free.foundPlace, need);
  }

  /** The lowest place in the free block that is aligned, and leaves nothing or a whole block below. */
  #placeAtStart(region: Region, p: number, n: number): number {
    const at = this.#alignment <= 1 ? p : this.#lowestAligned(region, p, this.#alignment);
    return at + this.#need <= p + n ? at : -1;
  }

  #lowestAligned(region: Region, p: number, alignment: number): number {
    const base = region.address / GRANULE;
    let at = Math.ceil((base + p) / alignment) * alignment - base;
    while (at !== p && at - p < this.#layout.minimum) at += alignment;
    return at;
  }

  /** The highest place that is aligned, and leaves nothing or a whole block below. */
  #placeAtEnd(region: Region, p: number, n: number): number {
    let at = p + n - this.#need;
    if (this.#alignment > 1) {
      const base = region.address / GRANULE;
      at = Math.floor((base + at) / this.#alignment) * this.#alignment - base;
    }
    return at - p >= this.#layout.minimum || at === p ? at : this.#placeAtStart(region, p, n);
  }

  /** Takes `need` granules from `at` on out of the free block at `p`; what is left below and above stays free. */
  #carve(region: Region, p: number, n: number, at: number, need: number): number {
    const layout = this.#layout;
    const { free } = this;
    const below = at - p;
    let above = n - below - need;
    if (above < layout.minimum) above = 0;
    const size = n - below - above;
    const rest = at + size;
    if (below > 0) {
      free.setSize(region, p, below);
      eraseFree(region, p, n);
      writeFree(region, layout, p, below);
      if (above > 0) {
        free.insertAfter(region, p, rest, above);
        writeFree(region, layout, rest, above);
      }
    } else if (above > 0) {
      free.replace(region, p, rest, above);
      eraseFree(region, p, n);
      writeFree(region, layout, rest, above);
    } else {
      free.remove(region, p);
      eraseFree(region, p, n);
    }
    this.region = region;
    this.size = size;
    if (this.#policy.onEvent !== undefined && size < n) {
      this.#emit("split", region.address + (below > 0 ? p : rest) * GRANULE, (n - size) * GRANULE);
    }
    return at;
  }

  /** Maps a region and takes the block from it. */
  #allocateFresh(need: number, alignment: number): number {
    const layout = this.#layout;
    const { source, committedBytes } = this.#regions;
    // Where address space costs nothing the region itself is aligned; elsewhere there is padding, which stays free.
    const placed = source.lazy && alignment > source.granularity;
    const aligned = placed || (layout.first * GRANULE % alignment === 0 && alignment <= source.granularity);
    const padding = aligned ? 0 : alignment / GRANULE - 1 + layout.minimum;
    const least = (layout.first + need + padding) * GRANULE + (placed && layout.header > 0 ? source.granularity : 0);
    // A number of regions that grows with the logarithm of the memory, not with the memory.
    const share = source.lazy ? committedBytes / (this.#policy.joinRegions ? 8 : 64) : 0;
    const wanted = Math.max(least, this.#policy.regionSize, Math.min(share, 2 ** 26));
    let region: Region;
    try {
      region = this.#regions.map(wanted, this.index, placed ? alignment : 1);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError) || wanted === least) throw error;
      region = this.#regions.map(least, this.index, placed ? alignment : 1);
    }
    if (this.#policy.onEvent !== undefined) this.#emit("grow", region.address, region.byteLength);
    let start = region.first;
    let end = region.end;
    let previous = 0;
    if (this.#policy.joinRegions) {
      const lower = this.#regions.touchingBelow(region);
      const lowerEnd = lower?.end ?? 0;
      if (lower !== undefined && this.#regions.join(lower, region)) {
        region = lower;
        start = lowerEnd;
        end = lower.end;
        if (layout.header > GRANULE) previous = start - startBelow(region, start);
      }
      const upper = layout.movable ? this.#regions.touchingAbove(region) : undefined;
      const shift = region.byteLength / GRANULE;
      if (upper !== undefined && this.#regions.join(region, upper)) {
        this.free.renumber(upper.number, region, shift);
        end = shift + upper.first;
      }
    }
    layout.setPrevious(region, start, previous);
    const p = this.#addFree(region, start, end - start);
    const n = this.free.sizeAt(region, p);
    this.#alignment = alignment / GRANULE;
    return this.#carve(region, p, n, this.#placeAtStart(region, p, n), need);
  }

  /** Frees the live block at `p` of `n` granules. */
  release(region: Region, p: number, n: number): void {
    const start = this.#addFree(region, p, n);
    if (!this.#policy.releaseRegions || start !== region.first) return;
    if (region.end - start === this.free.sizeAt(region, start)) this.#releaseRegion(region);
  }

  #releaseRegion(region: Region): number {
    this.free.remove(region, region.first);
    const given = this.#regions.release(region);
    if (this.#policy.onEvent !== undefined) this.#emit("release", region.address, region.byteLength);
    return given;
  }

  /** Makes a free block of `n` granules at `p`, merges it with free neighbours if that is the policy; where it begins. */
  #addFree(region: Region, p: number, n: number): number {
    const { free } = this;
    const { marks } = region;
    const wasLive = (marks[p]! & LIVE) !== 0;
    const after = p + n;
    let above = 0;
    let below = 0;
    if (this.#policy.coalesce === "eager") {
      if (after < region.end && (marks[after]! & FREE) !== 0) above = free.sizeAt(region, after);
      below = this.#layout.freeBelow(region, p);
      if (below > 0 && free.sizeAt(region, p - below) !== below) throw corrupt(region, p - below, "it was written to");
    }
    const start = p - below;
    const size = below + n + above;
    if (free.inPlace && below > 0) {
      if (above > 0) free.remove(region, after);
      free.setSize(region, start, size);
    } else if (free.inPlace && above > 0) {
      free.replace(region, after, p, size);
    } else {
      if (above > 0) free.remove(region, after);
      if (below > 0) free.remove(region, start);
      free.insert(region, start, size);
    }
    if (above > 0) eraseFree(region, after, above);
    if (below > 0) eraseFree(region, start, below);
    if (wasLive) marks[p] = STALE;
    writeFree(region, this.#layout, start, size);
    if (this.#policy.onEvent !== undefined && size > n) {
      this.#emit("merge", region.address + start * GRANULE, size * GRANULE);
    }
    return start;
  }

  /** Merges the free block at `p` with the free blocks behind it; its granules then. */
  #mergeBehind(region: Region, p: number, n: number): number {
    const { marks } = region;
    const { free } = this;
    let size = n;
    while (p + size < region.end && (marks[p + size]! & FREE) !== 0) {
      const after = p + size;
      const more = free.remove(region, after);
      eraseFree(region, after, more);
      size += more;
    }
    if (size === n) return n;
    free.setSize(region, p, size);
    eraseFree(region, p, n);
    writeFree(region, this.#layout, p, size);
    if (this.#policy.onEvent !== undefined) this.#emit("merge", region.address + p * GRANULE, size * GRANULE);
    return size;
  }

  /** The free granules right behind the block at `p` of `n` granules, merged. */
  #freeAbove(region: Region, p: number, n: number): number {
    const after = p + n;
    if (after >= region.end || (region.marks[after]! & FREE) === 0) return 0;
    return this.#mergeBehind(region, after, this.free.sizeAt(region, after));
  }

  /**
   * Gives the live block at `p` of `n` granules a size of `need` without moving it: the granules it has then, or 0 when
   * it cannot grow so far. The caller writes it as live.
   */
  resize(region: Region, p: number, n: number, need: number): number {
    const layout = this.#layout;
    if (need <= n) {
      if (n - need < layout.minimum) return n;
      layout.setPrevious(region, p + need, need);
      this.#addFree(region, p + need, n - need);
      return need;
    }
    const above = this.#freeAbove(region, p, n);
    if (n + above < need) return 0;
    this.#takeAbove(region, p + n, above, need - n);
    const rest = n + above - need;
    return rest < layout.minimum ? n + above : need;
  }

  /** Takes `need` granules from the start of the free block at `after`, or all of it when the rest would be no block. */
  #takeAbove(region: Region, after: number, above: number, need: number): void {
    const rest = above - need;
    if (rest < this.#layout.minimum) {
      this.free.remove(region, after);
      eraseFree(region, after, above);
    } else {
      this.free.replace(region, after, after + need, rest);
      eraseFree(region, after, above);
      writeFree(region, this.#layout, after + need, rest);
    }
  }

  /**
   * Grows the live block at `p` of `n` granules into the free block below it, and the one above if need be, moving its first
   * `length` bytes down. The granule it begins at then, with its size in `size`; -1 when there is not enough room.
   * The caller writes it as live.
   */
  growDown(region: Region, p: number, n: number, need: number, alignment: number, length: number): number {
    const layout = this.#layout;
    const { free } = this;
    const below = layout.freeBelow(region, p);
    if (below === 0 || free.sizeAt(region, p - below) !== below) return -1;
    const start = p - below;
    const at = this.#lowestAligned(region, start, alignment / GRANULE);
    if (at >= p) return -1;
    let size = p + n - at;
    if (size < need) {
      const above = this.#freeAbove(region, p, n);
      if (size + above < need) return -1;
      this.#takeAbove(region, p + n, above, need - size);
      size = above - (need - size) < layout.minimum ? size + above : need;
    }
    if (at === start) {
      free.remove(region, start);
      eraseFree(region, start, below);
    } else {
      free.setSize(region, start, at - start);
      eraseFree(region, start, below);
      writeFree(region, layout, start, at - start);
    }
    region.marks[p] = STALE;
    region.bytes.copyWithin(at * GRANULE, p * GRANULE, p * GRANULE + length);
    const rest = size - need;
    if (rest >= layout.minimum) {
      layout.setPrevious(region, at + need, need);
      // Not live yet, but not free either: nothing merges with it.
      region.marks[at] = LIVE;
      this.#addFree(region, at + need, rest);
      size = need;
    }
    this.region = region;
    this.size = size;
    return at;
  }

  /** Every block of the bucket, by address. */
  *walk(): IterableIterator<WalkedBlock> {
    for (const region of [...this.#regions.sorted]) {
      if (region.bucket !== this.index) continue;
      for (let p = region.first; p < region.end;) {
        const free = (region.marks[p]! & FREE) !== 0;
        if (!free && (region.marks[p]! & LIVE) === 0) throw corrupt(region, p, "no block begins where one must");
        const n = free ? this.free.sizeAt(region, p) : sizeOfLive(region, this.#layout, p);
        yield { region, p, n, free };
        p += n;
      }
    }
  }

  /** Unmaps regions that hold no block; the bytes given back. */
  releaseFreeRegions(): number {
    let given = 0;
    for (const region of [...this.#regions.sorted]) {
      if (region.bucket !== this.index || (region.marks[region.first]! & FREE) === 0) continue;
      const n = this.#mergeBehind(region, region.first, this.free.sizeAt(region, region.first));
      if (n === region.end - region.first) given += this.#releaseRegion(region);
    }
    return given;
  }

  /** Gives back the OS pages that lie whole in free blocks, except what holds nodes and footers; the bytes. */
  discardFree(): number {
    const { source } = this.#regions;
    const { pageSize } = source;
    let given = 0;
    const blocks = [...this.free];
    for (const { region, p } of blocks) {
      if ((region.marks[p]! & (FREE | CLEAN)) !== FREE) continue;
      const n = this.#mergeBehind(region, p, this.free.sizeAt(region, p));
      const from = Math.ceil((region.address + (p + 1) * GRANULE) / pageSize) * pageSize;
      const to = Math.floor((region.address + (p + n) * GRANULE - 3 * GRANULE) / pageSize) * pageSize;
      if (to <= from) continue;
      source.discard(from, to - from);
      given += to - from;
      region.marks[p] = region.marks[p]! | CLEAN;
    }
    return given;
  }

  /** Throws unless the free list holds exactly the free blocks, and no two of them touch where they are merged. */
  check(): void {
    let count = 0;
    let granules = 0;
    let before: WalkedBlock | undefined;
    for (const block of this.walk()) {
      const { region, p, n, free } = block;
      const touches = before?.region === region && before.free;
      if (this.#layout.freeBelow(region, p) !== (touches ? before!.n : 0)) {
        throw corrupt(region, p, "it disagrees with the block below it");
      }
      if (free) {
        count++;
        granules += n;
        if (touches && this.#policy.coalesce === "eager") throw corrupt(region, p, "it was not merged");
      }
      for (let inside = p + 1; inside < p + n; inside++) {
        if ((region.marks[inside]! & (LIVE | FREE)) !== 0) {
          throw corrupt(region, inside, "it lies inside another block");
        }
      }
      before = block;
    }
    let listed = 0;
    for (const { n } of this.free) {
      listed++;
      granules -= n;
    }
    const { free } = this;
    if (listed === count && granules === 0 && free.count === count) return;
    const region = this.#regions.sorted[0];
    if (region !== undefined) throw corrupt(region, 0, `its bucket has ${count} free blocks and ${listed} in its list`);
  }

  #emit(type: AllocatorEvent["type"], address: Address, size: number, count = 1): void {
    try {
      this.#policy.onEvent!({ type, address, size, count });
    } catch {
      // A watcher that fails must not leave a block half made.
    }
  }
}

/** The payload of the last block that begins below `p`. */
function startBelow(region: Region, p: number): number {
  let at = p - 1;
  while ((region.marks[at]! & (LIVE | FREE)) === 0) at--;
  return at;
}
