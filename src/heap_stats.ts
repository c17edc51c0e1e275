/**
 * The figures of a heap, counted when asked for: nothing is counted while blocks come and go.
 *
 * @module
 */
import type { AllocatorStats } from "./allocator.ts";
import type { Blocks } from "./blocks.ts";
import { INFO_PAGE, UNIT } from "./runs.ts";
import { GRANULE } from "./size_class.ts";

/** Counts. Time in the number of pages and large blocks. */
export function heapStats(blocks: Blocks, peakCommittedBytes: number, limit: number): AllocatorStats {
  const { huge } = blocks;
  let liveBlocks = huge.count;
  let liveBytes = huge.byteLength;
  let tableBytes = 0;
  let reservedBytes = huge.byteLength;
  let wrappedBytes = huge.wrappedBytes;
  let regions = 0;
  for (const pages of blocks.ranges) {
    const { range } = pages;
    tableBytes += range.tableBytes + pages.tableBytes;
    reservedBytes += range.byteLength + range.tableReservedBytes + pages.tableReservedBytes;
    wrappedBytes += range.committedBytes;
    regions += range.regions.length;
    for (let unit = 0; unit < range.endUnit;) {
      const used = range.runs.usedAt(unit);
      if (used > 0 && (range.runs.info(unit) & INFO_PAGE) !== 0) {
        const live = pages.liveSlots(unit);
        liveBlocks += live;
        liveBytes += live * pages.slotSize(unit * (UNIT / GRANULE));
      } else if (used > 0) {
        liveBlocks++;
        liveBytes += used * UNIT;
      }
      unit += used || range.runs.freeAt(unit);
    }
  }
  return {
    liveBlocks,
    liveBytes,
    committedBytes: blocks.committedBytes,
    peakCommittedBytes,
    tableBytes,
    reservedBytes,
    wrappedBytes: wrappedBytes + tableBytes,
    regions,
    limit,
  };
}
