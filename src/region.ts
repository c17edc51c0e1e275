/**
 * Regions, and the piece of address space that they lie in.
 *
 * ```text
 *   base                                                                     base + byteLength
 *   ├── region 0 ──┼──── region 1 ────┼────────── region 2 ───────────┼───── not committed ─────┤
 *                                     │ handed out         │ frontier │
 *                                     │ since committed    │ reads as zero
 * ```
 *
 * @module
 */
import { alignDown } from "./arguments.ts";
import { type WrappedBytes, wrappedBytes } from "./bytes.ts";
import { CorruptionError, OutOfMemoryError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";
import { PAGE_UNITS, UNIT } from "./run_record.ts";

/** The most regions of one range: their numbers have 16 bits. */
export const REGION_COUNT_MAX = 65535;

/** One committed piece of a range, wrapped once. */
export interface Region extends WrappedBytes {
  /** Its place among the regions of the range. */
  readonly index: number;
  /** Where it starts. */
  readonly address: Address;
  /** Its first unit, counted from the start of the range. */
  readonly firstUnit: number;
  /** The unit after its last. */
  readonly endUnit: number;
  /**
   * No unit from here to the end was handed out since the region was committed or they were given back: they read as
   * zero.
   */
  frontier: number;
}

/** A region without a unit. */
export const NO_REGION: Region = {
  ...wrappedBytes(new Uint8Array(0)),
  index: -1,
  address: 0,
  firstUnit: 0,
  endUnit: 0,
  frontier: 0,
};

/** A piece of address space. */
export interface Reservation {
  /** Where it starts: a multiple of the page size of small blocks. */
  readonly base: Address;
  /** Its bytes. */
  readonly byteLength: number;
}

/**
 * Reserves up to `byteLength` bytes, halving until the source agrees, but at least `least`.
 *
 * @throws {OutOfMemoryError} When there is no such piece of address space.
 */
export function reserveRange(source: PageSource, byteLength: number, least: number): Reservation {
  const step = Math.max(source.pageSize, UNIT);
  let length = byteLength;
  for (;;) {
    try {
      return { base: source.reserve(length, Math.max(PAGE_UNITS * UNIT, source.granularity)), byteLength: length };
    } catch (error) {
      const half = alignDown(length / 2, step);
      if (!(error instanceof OutOfMemoryError) || half < Math.max(least, step)) throw error;
      length = half;
    }
  }
}

/** The regions of a range by page: 64 KiB, the least distance at which most of them start. */
export class RegionIndex {
  readonly #regions: Region[];
  #ofPage = new Uint16Array(16);

  /** Adds to and removes from `regions`. */
  constructor(regions: Region[]) {
    this.#regions = regions;
  }

  /** The region of a unit, which is in one. */
  of(unit: number): Region {
    let region = this.#regions[this.#ofPage[unit >>> 4]!]!;
    // Over a small budget regions can be shorter than a page; a page they share is entered under the last of them.
    while (unit < region.firstUnit) region = this.#regions[region.index - 1]!;
    return region;
  }

  /** Adds the region that follows the last. */
  add(region: Region): void {
    const { index, firstUnit, endUnit } = region;
    const lastPage = (endUnit - 1) >>> 4;
    if (lastPage >= this.#ofPage.length) {
      const longer = new Uint16Array(Math.max(lastPage + 1, this.#ofPage.length * 2));
      longer.set(this.#ofPage);
      this.#ofPage = longer;
    }
    this.#ofPage.fill(index, firstUnit >>> 4, lastPage + 1);
    this.#regions.push(region);
  }

  /** Removes the last region. */
  removeLast(): void {
    const { firstUnit, index } = this.#regions.pop()!;
    if (firstUnit % PAGE_UNITS !== 0) this.#ofPage[firstUnit >>> 4] = index - 1;
  }

  /**
   * Verifies that every page of every region is entered under it, or under a later one that starts in the page.
   *
   * @throws {CorruptionError} When one is not.
   */
  check(): void {
    for (const { index, firstUnit, endUnit } of this.#regions) {
      for (let page = firstUnit >>> 4; page <= (endUnit - 1) >>> 4; page++) {
        const entered = this.#ofPage[page]!;
        const last = this.#regions[entered];
        if (entered !== index && (entered < index || last === undefined || last.firstUnit >>> 4 !== page)) {
          throw new CorruptionError(`Cannot trust region ${index}: its page ${page} is entered under ${entered}`);
        }
      }
    }
  }
}
