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
 * Sizes and places are in granules here; a place is a region and the granule of a payload in it (block.ts). Where an aligned
 * block begins in a free one is a matter of block_placement.ts.
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
import { type BlockLayout, freeAt, freeBelow, setPrevious, sizeOfFree, writeFree } from "./block.ts";
import { BlockPlacement, lowestAligned } from "./block_placement.ts";
import { type BucketPolicy, tell } from "./bucket_policy.ts";
import { checkBucket, type LiveFigures, startBelow, type Walkable } from "./bucket_walk.ts";
import { OutOfMemoryError } from "./errors.ts";
import type { FreeBlocks, Visit } from "./free_blocks.ts";
import type * as marks from "./marks.ts";
import type { Region, RegionList } from "./region_list.ts";

// Repeated here, as V8 loads what is imported at every use (docs/performance.md); the types say that they are the same.
const CLEAN = 16 satisfies typeof marks.CLEAN;
const END = 8 satisfies typeof marks.END;
const FREE = 2 satisfies typeof marks.FREE;
const GRANULE = 16 satisfies typeof marks.GRANULE;
const LIVE = 1 satisfies typeof marks.LIVE;
const STALE = 4 satisfies typeof marks.STALE;

/** One bucket. */
export class Bucket implements Walkable {
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
  readonly #splitsEnd: boolean;
  readonly #eager: boolean;
  /** Where a block with an alignment of its own would begin in a free one. */
  readonly #placement: BlockPlacement;
  readonly #visit: Visit | undefined;
  readonly #onEvent: BucketPolicy["onEvent"];

  /** An empty bucket, which takes its regions from `regions`. */
  constructor(index: number, regions: RegionList, free: FreeBlocks, policy: BucketPolicy) {
    this.index = index;
    this.free = free;
    this.#regions = regions;
    this.#layout = regions.layout;
    this.#policy = policy;
    this.#onEvent = policy.onEvent;
    this.#splitsEnd = policy.split === "end";
    this.#eager = policy.coalesce === "eager";
    this.#placement = new BlockPlacement(this.#layout.minimum, this.#splitsEnd);
    this.#visit = this.#eager ? undefined : (region, p) => this.#mergeBehind(region, p);
  }

  /**
   * Takes a block of at least `need` granules at a multiple of `alignment` bytes from the free blocks, and returns its
   * granule, or -1 when none has room. Its region is in `region`, its size in `size`. The caller writes it as live.
   */
  take(need: number, alignment: number, limit?: number): number {
    const { free } = this;
    const place = alignment > GRANULE ? this.#placement.placing(need, alignment) : undefined;
    const found = free.search(need, place, this.#visit, limit);
    if (this.#onEvent !== undefined) this.#tellSearch(found, need);
    if (!found) return -1;
    const region = free.foundRegion;
    const p = free.found;
    const n = sizeOfFree(region, this.#layout, p);
    let at = this.#splitsEnd && n - need >= this.#layout.minimum ? p + n - need : p;
    if (place !== undefined) at = place(region, p, n);
    this.#carve(region, p, n, at, need);
    if (this.#onEvent !== undefined) this.#tellSplit(region, p, n, at);
    return at;
  }

  /** Takes `need` granules from `at` on out of the free block at `p`; what is left below and above stays free. */
  #carve(region: Region, p: number, n: number, at: number, need: number): void {
    const layout = this.#layout;
    const { free } = this;
    const { marks } = region;
    const below = at - p;
    let above = n - below - need;
    if (above < layout.minimum) above = 0;
    const size = n - below - above;
    const rest = at + size;
    if (below === 0 && above > 0) {
      free.replace(region, p, n, rest, above);
    } else if (below === 0) {
      free.remove(region, p, n);
    } else {
      free.resize(region, p, n, below);
      if (above > 0) free.insertAfter(region, p, rest, above);
    }
    // The granule at the end keeps its mark when what is above stays free; `at` gets a new one from the caller.
    if (above > 0) marks[rest] = FREE | (marks[rest]! & (STALE | END));
    else marks[rest - 1] = marks[rest - 1]! & ~END;
    if (below > 0) {
      marks[p] = marks[p]! & ~CLEAN;
      marks[at - 1] = marks[at - 1]! | END;
      writeFree(region, layout, p, below);
    } else {
      marks[p] = marks[p]! & STALE;
    }
    if (above > 0) writeFree(region, layout, rest, above);
    if (this.region !== region) this.region = region;
    this.size = size;
  }

  /** As `take`, from a region that is mapped for it. */
  takeFresh(need: number, alignment: number): number {
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
    if (this.#onEvent !== undefined) tell(this.#onEvent, "grow", region.address, region.byteLength);
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
        if (layout.linked) previous = start - startBelow(region, start);
      }
      const upper = layout.linked ? undefined : this.#regions.touchingAbove(region);
      const shift = region.byteLength / GRANULE;
      if (upper !== undefined && this.#regions.join(region, upper)) {
        this.free.renumber(upper.number, region, shift);
        end = shift + upper.first;
      }
    }
    setPrevious(region, layout, start, previous);
    const p = this.#addFree(region, start, end - start);
    const n = sizeOfFree(region, layout, p);
    const at = this.#placement.atStart(region, p, n, need, alignment);
    this.#carve(region, p, n, at, need);
    if (this.#onEvent !== undefined) this.#tellSplit(region, p, n, at);
    return at;
  }

  /** Frees the live block at `p` of `n` granules. */
  release(region: Region, p: number, n: number): void {
    const start = this.#addFree(region, p, n);
    if (!this.#policy.releaseRegions || start !== region.first) return;
    const size = sizeOfFree(region, this.#layout, start);
    if (region.end - start === size) this.#releaseRegion(region, size);
  }

  #releaseRegion(region: Region, size: number): number {
    this.free.remove(region, region.first, size);
    const given = this.#regions.release(region);
    if (this.#onEvent !== undefined) tell(this.#onEvent, "release", region.address, region.byteLength);
    return given;
  }

  /** Makes a free block of `n` granules at `p`, merges it with free neighbours if that is the policy; where it begins. */
  #addFree(region: Region, p: number, n: number): number {
    const layout = this.#layout;
    if (this.#eager) {
      const above = freeAt(region, layout, p + n);
      const below = freeBelow(region, layout, p);
      if (above > 0 || below > 0) return this.#merge(region, p, n, above, below);
    }
    const { marks } = region;
    this.free.insert(region, p, n);
    const mark = marks[p]!;
    marks[p] = FREE | ((mark & LIVE) !== 0 ? STALE : mark & STALE);
    marks[p + n - 1] = marks[p + n - 1]! | END;
    writeFree(region, layout, p, n);
    return p;
  }

  /** The same with the free blocks of `above` and of `below` granules beside it. */
  #merge(region: Region, p: number, n: number, above: number, below: number): number {
    const { free } = this;
    const { marks } = region;
    const after = p + n;
    const start = p - below;
    const size = below + n + above;
    if (below > 0) {
      if (above > 0) {
        // Both are verified before one is changed.
        free.assertLinked(region, start);
        free.remove(region, after, above);
      }
      this.#resizeFree(region, start, below, size);
    } else if (free.inPlace) {
      free.replace(region, after, above, p, size);
    } else {
      free.remove(region, after, above);
      free.insert(region, p, size);
    }
    const mark = marks[p]!;
    marks[p] = (mark & LIVE) !== 0 ? STALE : mark & STALE;
    if (below > 0) marks[p - 1] = marks[p - 1]! & ~END;
    marks[start] = FREE | (marks[start]! & STALE);
    if (above > 0) marks[after] = marks[after]! & (STALE | END);
    else marks[after - 1] = marks[after - 1]! | END;
    writeFree(region, this.#layout, start, size);
    if (this.#onEvent !== undefined) tell(this.#onEvent, "merge", region.address + start * GRANULE, size * GRANULE);
    return start;
  }

  /** A free block grew: it keeps its place in the list, or gets a new one. */
  #resizeFree(region: Region, p: number, from: number, to: number): void {
    const { free } = this;
    if (free.inPlace) {
      free.resize(region, p, from, to);
    } else {
      free.remove(region, p, from);
      free.insert(region, p, to);
    }
  }

  /** Merges the free block at `p` with the free blocks behind it; its granules then. */
  #mergeBehind(region: Region, p: number): number {
    const layout = this.#layout;
    const { marks } = region;
    const { free } = this;
    const n = sizeOfFree(region, layout, p);
    let size = n;
    while (p + size < region.end && (marks[p + size]! & FREE) !== 0) {
      const after = p + size;
      const more = sizeOfFree(region, layout, after);
      free.remove(region, after, more);
      // Each is made whole before the next is tried, which may be corrupt.
      free.resize(region, p, size, size + more);
      marks[after - 1] = marks[after - 1]! & ~END;
      marks[after] = marks[after]! & (STALE | END);
      size += more;
      writeFree(region, layout, p, size);
    }
    if (size === n) return n;
    marks[p] = marks[p]! & ~CLEAN;
    if (this.#onEvent !== undefined) tell(this.#onEvent, "merge", region.address + p * GRANULE, size * GRANULE);
    return size;
  }

  /** The free granules right behind the block at `p` of `n` granules, merged. */
  #freeAbove(region: Region, p: number, n: number): number {
    return freeAt(region, this.#layout, p + n) === 0 ? 0 : this.#mergeBehind(region, p + n);
  }

  /**
   * Gives the live block at `p` of `n` granules a size of `need` without moving it: the granules it has then, or 0 when
   * it cannot grow so far. The caller writes it as live.
   */
  resize(region: Region, p: number, n: number, need: number): number {
    const layout = this.#layout;
    if (need <= n) {
      if (n - need < layout.minimum) return n;
      setPrevious(region, layout, p + need, need);
      this.#addFree(region, p + need, n - need);
      return need;
    }
    const above = this.#freeAbove(region, p, n);
    if (n + above < need) return 0;
    this.#carve(region, p + n, above, p + n, need - n);
    const rest = n + above - need;
    return rest < layout.minimum ? n + above : need;
  }

  /**
   * Grows the live block at `p` of `n` granules into the free block below it, and the one above if need be, moving its first
   * `length` bytes down. The granule it begins at then, with its size in `size`; -1 when there is not enough room.
   * The caller writes it as live.
   */
  growDown(region: Region, p: number, n: number, need: number, alignment: number, length: number): number {
    const layout = this.#layout;
    const { free } = this;
    const { marks } = region;
    const below = freeBelow(region, layout, p);
    if (below === 0) return -1;
    const start = p - below;
    const at = lowestAligned(region, start, alignment / GRANULE, layout.minimum);
    if (at >= p) return -1;
    let size = p + n - at;
    if (size < need) {
      const above = this.#freeAbove(region, p, n);
      if (size + above < need) return -1;
      free.assertLinked(region, start);
      this.#carve(region, p + n, above, p + n, need - size);
      size = above - (need - size) < layout.minimum ? size + above : need;
    }
    if (at === start) {
      free.remove(region, start, below);
    } else {
      free.resize(region, start, below, at - start);
      marks[at - 1] = marks[at - 1]! | END;
      marks[start] = marks[start]! & ~CLEAN;
    }
    marks[p - 1] = marks[p - 1]! & ~END;
    marks[p] = STALE;
    region.bytes.copyWithin(at * GRANULE, p * GRANULE, p * GRANULE + length);
    if (at > start) writeFree(region, layout, start, at - start);
    // Not free any more, and nothing merges with it.
    marks[at] = LIVE;
    const rest = size - need;
    if (rest >= layout.minimum) {
      setPrevious(region, layout, at + need, need);
      this.#addFree(region, at + need, rest);
      size = need;
    }
    this.region = region;
    this.size = size;
    return at;
  }

  /** Unmaps regions that hold no block; the bytes given back. */
  releaseFreeRegions(): number {
    let given = 0;
    for (const region of [...this.#regions.sorted]) {
      if (region.bucket !== this.index || (region.marks[region.first]! & FREE) === 0) continue;
      const n = this.#mergeBehind(region, region.first);
      if (n === region.end - region.first) given += this.#releaseRegion(region, n);
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
      const n = this.#mergeBehind(region, p);
      const from = Math.ceil((region.address + (p + 1) * GRANULE) / pageSize) * pageSize;
      const to = Math.floor((region.address + (p + n) * GRANULE - 3 * GRANULE) / pageSize) * pageSize;
      if (to <= from) continue;
      region.discard(source, from, to);
      given += to - from;
      region.marks[p] = region.marks[p]! | CLEAN;
    }
    return given;
  }

  /** See {@link checkBucket}. */
  check(): LiveFigures {
    return checkBucket(this.#regions, this, this.#eager);
  }

  #tellSearch(found: boolean, need: number): void {
    const { foundRegion, found: p, visited } = this.free;
    tell(this.#onEvent!, "search", found ? foundRegion.address + p * GRANULE : 0, need * GRANULE, visited);
  }

  /** Of `n` granules at `p` those of the block that was just taken at `at` are gone. */
  #tellSplit({ address }: Region, p: number, n: number, at: number): void {
    const { size } = this;
    if (size < n) tell(this.#onEvent!, "split", address + (at > p ? p : at + size) * GRANULE, (n - size) * GRANULE);
  }
}
