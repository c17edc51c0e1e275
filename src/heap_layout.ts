/**
 * What every region of a heap holds, as plain data: for drawings, reports and tests.
 *
 * @module
 */
import type { Blocks } from "./blocks.ts";
import type { Address } from "./page_source.ts";
import { CAPACITY } from "./page_table.ts";
import { LARGE_RUN, PAGE_RUN, UNIT } from "./run_record.ts";
import { GRANULE } from "./size_class.ts";
import { countLiveSlots } from "./slot_lookup.ts";
import type { SmallPages } from "./small_pages.ts";

/** A piece of a region: a page of small blocks, a large block, or free space. */
export interface HeapSpan {
  /** What it is. */
  readonly kind: "page" | "large" | "free";
  /** Where it starts. */
  readonly address: Address;
  /** Its length in bytes. */
  readonly byteLength: number;
  /** Bytes of one slot of a page, or of the large block; 0 for free space. */
  readonly blockSize: number;
  /** Slots of a page; 1 for a large block, 0 for free space. */
  readonly slots: number;
  /** Live slots of a page; 1 for a large block, 0 for free space. */
  readonly liveSlots: number;
}

/** A region and what it holds, in order of address and without gaps. */
export interface HeapRegion {
  /** Where it starts. */
  readonly address: Address;
  /** Its length in bytes. */
  readonly byteLength: number;
  /** Its pieces. */
  readonly spans: readonly HeapSpan[];
}

/** The live blocks of one size class. */
export interface HeapSizeClass {
  /** Bytes of one block. */
  readonly size: number;
  /** Live blocks. */
  readonly liveBlocks: number;
  /** Pages that are divided into blocks of this size. */
  readonly pages: number;
}

/** A heap at one moment. Plain data. */
export interface HeapLayout {
  /** The regions, in order of address within each range. */
  readonly regions: readonly HeapRegion[];
  /** The huge blocks: each a mapping of its own. */
  readonly huge: readonly { readonly address: Address; readonly byteLength: number }[];
  /** The size classes that have pages, smallest first. */
  readonly sizeClasses: readonly HeapSizeClass[];
}

/** Takes the layout. Time in the number of pages and runs. */
export function layoutOf(blocks: Blocks): HeapLayout {
  const regions: HeapRegion[] = [];
  const classes = new Map<number, { liveBlocks: number; pages: number }>();
  for (const pages of blocks.ranges) {
    for (const { address, firstUnit, endUnit } of pages.range.regions) {
      const spans: HeapSpan[] = [];
      for (let unit = firstUnit; unit < endUnit;) {
        const span = spanAt(pages, unit);
        spans.push(span);
        unit += span.byteLength / UNIT;
        if (span.kind !== "page") continue;
        const count = classes.get(span.blockSize) ?? { liveBlocks: 0, pages: 0 };
        count.liveBlocks += span.liveSlots;
        count.pages++;
        classes.set(span.blockSize, count);
      }
      regions.push({ address, byteLength: (endUnit - firstUnit) * UNIT, spans });
    }
  }
  return {
    regions,
    huge: [...blocks.huge.values()].map(({ address, byteLength }) => ({ address, byteLength })),
    sizeClasses: [...classes].map(([size, count]) => ({ size, ...count })).sort((a, b) => a.size - b.size),
  };
}

function spanAt(pages: SmallPages, unit: number): HeapSpan {
  const { range } = pages;
  const { runs } = range;
  const address = range.base + unit * UNIT;
  const byteLength = runs.lengthAt(unit) * UNIT;
  const kind = runs.kindAt(unit);
  if (kind === LARGE_RUN) return { kind: "large", address, byteLength, blockSize: byteLength, slots: 1, liveSlots: 1 };
  if (kind !== PAGE_RUN) return { kind: "free", address, byteLength, blockSize: 0, slots: 0, liveSlots: 0 };
  const blockSize = pages.slotSize(unit * (UNIT / GRANULE));
  return {
    kind: "page",
    address,
    byteLength,
    blockSize,
    slots: range.pages[unit + CAPACITY]!,
    liveSlots: countLiveSlots(pages, unit),
  };
}
