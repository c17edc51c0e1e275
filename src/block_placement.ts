/**
 * Where in a free block a block begins that has an alignment of its own.
 *
 * ```text
 *   granule      p                                                                p + n
 *   address      ·   multiple        multiple        multiple        multiple     │
 *                │   │               │               │               │            │
 *   start        ├ below ───────────▶├ need ───▶ above                            │   the lowest one
 *   end          ├ below ───────────────────────────▶├ need ───▶ above            │   the highest one
 * ```
 *
 * Invariant: what lies below is nothing, or enough for a free block of its own (`minimum`); what lies above becomes one or is
 * given out too, as `Bucket` decides. Where the highest multiple leaves too little below, the lowest one serves.
 *
 * @module
 */
import type { Placement } from "./free_blocks.ts";
import type * as marks from "./marks.ts";
import type { Region } from "./region_list.ts";

const GRANULE = 16 satisfies typeof marks.GRANULE;

/** Places aligned blocks in the free blocks of a bucket. Sizes and alignments are in granules inside. */
export class BlockPlacement {
  /** The least granules of a block. */
  readonly #minimum: number;
  readonly #place: Placement;
  /** How many granules are placed. */
  #need = 0;
  /** Of how many granules their start is a multiple. */
  #alignment = 1;

  /** For blocks of at least `minimum` granules; `atEnd` says that the ends of free blocks are given out. */
  constructor(minimum: number, atEnd: boolean) {
    this.#minimum = minimum;
    this.#place = atEnd
      ? (region, p, n) => this.#placeAtEnd(region, p, n)
      : (region, p, n) => this.#placeAtStart(region, p, n);
  }

  /** The placement of `need` granules at a multiple of `alignment` bytes; until the next call. */
  placing(need: number, alignment: number): Placement {
    this.#need = need;
    this.#alignment = alignment / GRANULE;
    return this.#place;
  }

  /** Where `need` granules begin at the start of the free block at `p` of `n` granules, or behind it; -1 without room. */
  atStart(region: Region, p: number, n: number, need: number, alignment: number): number {
    this.#need = need;
    this.#alignment = alignment / GRANULE;
    return this.#placeAtStart(region, p, n);
  }

  /** The lowest place in the free block that is aligned, and leaves nothing or a whole block below. */
  #placeAtStart(region: Region, p: number, n: number): number {
    const at = this.#alignment <= 1 ? p : lowestAligned(region, p, this.#alignment, this.#minimum);
    return at + this.#need <= p + n ? at : -1;
  }

  /** The highest place that is aligned, and leaves nothing or a whole block below. */
  #placeAtEnd(region: Region, p: number, n: number): number {
    let at = p + n - this.#need;
    if (this.#alignment > 1) {
      const base = region.address / GRANULE;
      at = Math.floor((base + at) / this.#alignment) * this.#alignment - base;
    }
    return at - p >= this.#minimum || at === p ? at : this.#placeAtStart(region, p, n);
  }
}

/** The lowest granule from `p` on that is a multiple of `alignment`, and leaves nothing or `minimum` granules below. */
export function lowestAligned({ address }: Region, p: number, alignment: number, minimum: number): number {
  const base = address / GRANULE;
  let at = Math.ceil((base + p) / alignment) * alignment - base;
  while (at !== p && at - p < minimum) at += alignment;
  return at;
}
