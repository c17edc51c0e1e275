/**
 * The short ways of a heap for small blocks that take more than a slot: zeroed ones, and those that change their size.
 *
 * Places are counted in granules from the start of the first range, which are 32-bit integers, and in bytes only within a
 * region. Each method answers 0 where it has no short way (no page can be had, the block is owned, it is to move and is
 * aligned, or something is cut off it in a heap that is not plain), with all blocks as they were; `HeapCore` then does
 * the same with all care.
 *
 * @module
 */
import { clearBytes, copyBytes } from "./bytes.ts";
import type { HeapCore } from "./heap_core.ts";
import type { Address } from "./page_source.ts";
import { LIVE, OWNED, SLACK_MASK, slotHolds } from "./page_table.ts";
import type { Region } from "./region.ts";
import { CLASS_GRANULES, CLASS_OF, GRANULE } from "./size_class.ts";
import type { SmallPages } from "./small_pages.ts";

/** Zeroes, resizes and moves small blocks of a heap's first range. */
export class SmallMoves {
  readonly #core: HeapCore;
  readonly #first: SmallPages;

  /** Works on the first range of the heap that `core` is of. */
  constructor(core: HeapCore) {
    this.#core = core;
    this.#first = core.blocks.ranges[0]!;
  }

  /** A block of `size` zeroed bytes; 0 when no slot can be had. */
  zeroed(size: number): Address {
    const granule = this.#take(size);
    if (granule === -1) return 0;
    const { range } = this.#first;
    const region = range.regionOf(granule >>> 8);
    const address = range.base + granule * GRANULE;
    if (region.bytes.byteLength > 0) clearBytes(region, offsetIn(region, granule), size);
    else this.#core.clear(address, size);
    return address;
  }

  /** The new address of the block that starts at `granule`, if one does, with `size` bytes. */
  reallocate(granule: number, size: number): Address {
    const first = this.#first;
    const index = first.liveLink(granule);
    const link = first.links[index]!;
    if (index === 0 || link >= OWNED || size === 0) return 0;
    const usable = first.slotSize(granule);
    const requested = usable - (link & SLACK_MASK);
    const { base } = first.range;
    if ((size * 2 > usable || usable === GRANULE) && slotHolds(usable, size)) {
      if (size < requested && !this.#core.isPlain) return 0;
      first.links[index] = (link & ~SLACK_MASK) + usable - size;
      return base + granule * GRANULE;
    }
    const target = link < LIVE * 2 ? this.#take(size) : -1;
    if (target === -1) return 0;
    this.#move(granule, target, requested < size ? requested : size);
    return base + target * GRANULE;
  }

  /** Takes a slot for a block of the least alignment; its granule, or -1 when none can be had. */
  #take(size: number): number {
    const first = this.#first;
    const { range, links } = first;
    const { pages, endUnit } = range;
    const sizeClass = CLASS_OF[(size + 15) >>> 4]!;
    const granule = first.allocate(sizeClass, LIVE + CLASS_GRANULES[sizeClass]! * GRANULE - size);
    if (range.pages !== pages || range.endUnit !== endUnit || first.links !== links) this.#core.renew();
    return granule;
  }

  /** Copies `length` bytes from one block to another that was just taken, and frees the one. */
  #move(granule: number, target: number, length: number): void {
    const first = this.#first;
    const { range } = first;
    const from = range.regionOf(granule >>> 8);
    const to = range.regionOf(target >>> 8);
    if (from.bytes.byteLength > 0 && to.bytes.byteLength > 0) {
      copyBytes(from, offsetIn(from, granule), to, offsetIn(to, target), length);
      if (this.#core.isPlain) first.free(granule, first.linkIndex(granule));
      else this.#core.freeSmall(range.base + granule * GRANULE);
    } else {
      this.#core.move(range.base + granule * GRANULE, range.base + target * GRANULE, length);
    }
  }
}

/** Where a granule is in its region, in bytes. */
function offsetIn(region: Region, granule: number): number {
  return (granule - (region.firstUnit << 8)) * GRANULE;
}
