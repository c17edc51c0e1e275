/**
 * Which block an address means: the one place that turns an address into a block, or into the reason why it is none.
 *
 * ```text
 *   address ── in a range? ── granule ── link live? ───────────────── small block
 *                 │              └────── a unit where a large run starts? ── large block
 *                 └── no: the start of a mapping? ─────────────────── huge block
 * ```
 *
 * Cost: `find` takes constant time (and a step for each range); `explain` looks around and is for messages only.
 *
 * @module
 */
import type { BlockInfo } from "./allocator.ts";
import { ALREADY_FREED, CorruptionError, insideBlock, type InvalidAddress } from "./errors.ts";
import type { HugeBlock, HugeBlocks } from "./huge_blocks.ts";
import type { Address } from "./page_source.ts";
import { alignmentOfLink, OWNED, SLACK_MASK } from "./page_table.ts";
import { INFO_ALIGNMENT, INFO_OWNED, LARGE_RUN, PAGE_RUN, UNIT } from "./run_record.ts";
import { GRANULE } from "./size_class.ts";
import { liveSlotsOf, slotAround, wasSlotLive } from "./slot_lookup.ts";
import type { SmallPages } from "./small_pages.ts";

/** Granules of a unit. */
export const UNIT_GRANULES: number = UNIT / GRANULE;

/** A live block, found by its address. */
export interface LiveBlock extends BlockInfo {
  /** Whether a NativeBuffer owns it. */
  readonly owned: boolean;
  /** The range it lies in; undefined for a huge block. */
  readonly pages: SmallPages | undefined;
  /** Its first granule in that range. */
  readonly granule: number;
  /** The index of its link if it is small, otherwise 0. */
  readonly link: number;
  /** Its record if it is huge. */
  readonly huge: HugeBlock | undefined;
}

/** The largest alignment that the record of a large block can name, as a base-2 logarithm: a mebibyte. */
const ALIGNMENT_LOG_MAX = 20;

/** Looks up the blocks of one heap. */
export class BlockLookup {
  readonly #ranges: readonly SmallPages[];
  readonly #huge: HugeBlocks;

  /** Looks in `ranges`, as they are at each call, and in `huge`. */
  constructor(ranges: readonly SmallPages[], huge: HugeBlocks) {
    this.#ranges = ranges;
    this.#huge = huge;
  }

  /** The range whose committed part `address` lies in. */
  rangeOf(address: Address): SmallPages | undefined {
    for (const pages of this.#ranges) {
      const { base, endUnit } = pages.range;
      if (address >= base && address < base + endUnit * UNIT) return pages;
    }
    return undefined;
  }

  /** The live block that starts at `address`, if one does. */
  find(address: Address): LiveBlock | undefined {
    const pages = this.rangeOf(address);
    if (pages !== undefined) {
      const granule = (address - pages.range.base) / GRANULE;
      if (!Number.isInteger(granule)) return undefined;
      const link = pages.liveLink(granule);
      if (link !== 0) return this.#small(address, pages, granule, link);
      return (granule & (UNIT_GRANULES - 1)) === 0 ? this.#large(address, pages, granule / UNIT_GRANULES) : undefined;
    }
    const huge = this.#huge.at(address);
    if (huge === undefined) return undefined;
    const { requested, byteLength, alignment, owned } = huge;
    return {
      address,
      requestedSize: requested,
      usableSize: byteLength,
      alignment: Math.max(alignment, GRANULE),
      owned,
      pages: undefined,
      granule: 0,
      link: 0,
      huge,
    };
  }

  #small(address: Address, pages: SmallPages, granule: number, link: number): LiveBlock {
    const code = pages.links[link]!;
    const usableSize = pages.slotSize(granule);
    return {
      address,
      requestedSize: usableSize - (code & SLACK_MASK),
      usableSize,
      alignment: alignmentOfLink(code),
      owned: code >= OWNED,
      pages,
      granule,
      link,
      huge: undefined,
    };
  }

  #large(address: Address, pages: SmallPages, unit: number): LiveBlock | undefined {
    const { runs } = pages.range;
    const count = runs.largeAt(unit);
    if (count === 0) return undefined;
    const info = runs.info(unit);
    return {
      address,
      requestedSize: count * UNIT - runs.slack(unit),
      usableSize: count * UNIT,
      alignment: 1 << (info & INFO_ALIGNMENT),
      owned: (info & INFO_OWNED) !== 0,
      pages,
      granule: unit * UNIT_GRANULES,
      link: 0,
      huge: undefined,
    };
  }

  /** Why `address` is not that of a live block: the kind of error and the rest of its message. */
  explain(address: Address): InvalidAddress {
    const around = this.#around(address);
    if (around !== undefined) return insideBlock(address, around.address, around.usableSize);
    return this.#wasLive(address)
      ? ALREADY_FREED
      : { kind: "foreign", detail: "this heap has no block there and had none" };
  }

  #around(address: Address): LiveBlock | undefined {
    const pages = this.rangeOf(address);
    if (pages !== undefined) {
      const { range } = pages;
      const granule = Math.floor((address - range.base) / GRANULE);
      const slot = slotAround(pages, granule);
      if (slot !== -1) return this.find(range.base + slot * GRANULE);
      const unit = range.startOf(Math.floor(granule / UNIT_GRANULES));
      return this.#large(range.base + unit * UNIT, pages, unit);
    }
    const huge = this.#huge.around(address);
    return huge && this.find(huge.address);
  }

  #wasLive(address: Address): boolean {
    const pages = this.rangeOf(address);
    if (pages !== undefined) {
      const { range } = pages;
      const granule = (address - range.base) / GRANULE;
      if (!Number.isInteger(granule)) return false;
      const unit = Math.floor(granule / UNIT_GRANULES);
      if (range.runs.kindAt(range.startOf(unit)) === PAGE_RUN) return wasSlotLive(pages, granule);
      return unit < range.regionOf(unit).frontier;
    }
    return this.#huge.wasFreed(address);
  }

  /** The live blocks: by range and address, then the huge ones. Blocks may come and go during the walk. */
  *live(): IterableIterator<LiveBlock> {
    for (const pages of this.#ranges) {
      const { range } = pages;
      for (let unit = 0; unit < range.endUnit;) {
        const length = range.runs.lengthAt(unit);
        const kind = range.runs.kindAt(unit);
        if (kind === LARGE_RUN) {
          yield this.#large(range.base + unit * UNIT, pages, unit)!;
        } else if (kind === PAGE_RUN) {
          for (const granule of liveSlotsOf(pages, unit)) {
            const link = pages.liveLink(granule);
            if (link !== 0) yield this.#small(range.base + granule * GRANULE, pages, granule, link);
          }
        }
        // The caller may have freed or resized what it was given: go on from the end as it was.
        unit += length;
        while (unit < range.endUnit && range.runs.lengthAt(unit) === 0) unit++;
      }
    }
    for (const { address } of [...this.#huge.values()]) {
      const block = this.find(address);
      if (block !== undefined) yield block;
    }
  }
}

/**
 * Verifies what the records of a range's large blocks say besides their length. Time in the number of runs.
 *
 * @throws {CorruptionError} When a block does not fill its run, or is not where its alignment wants it.
 */
export function checkLargeBlocks({ range }: SmallPages): void {
  const { runs, base } = range;
  for (let unit = 0; unit < range.endUnit; unit += runs.lengthAt(unit)) {
    const count = runs.largeAt(unit);
    if (count === 0) continue;
    const slack = runs.slack(unit);
    const info = runs.info(unit);
    const log = info & INFO_ALIGNMENT;
    // Less than a unit is left over; a block of no bytes has a unit all the same.
    const fits = slack >= 0 && (slack < UNIT || (slack === UNIT && count === 1));
    const named = (info & ~(INFO_ALIGNMENT | INFO_OWNED)) === 0 && log <= ALIGNMENT_LOG_MAX;
    if (!fits || !named || (base + unit * UNIT) % 2 ** log !== 0) {
      const what = `${count} units, ${slack} bytes of slack, and ${info} for alignment and ownership`;
      throw new CorruptionError(`Cannot trust the large block at unit ${unit}: its record says ${what}`);
    }
  }
}
