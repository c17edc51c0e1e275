/**
 * The figures of a heap, counted when asked for: nothing is counted while blocks come and go.
 *
 * @module
 */
import type { AllocatorStats } from "./allocator.ts";
import type { Blocks } from "./blocks.ts";
import { LARGE_RUN, PAGE_RUN, UNIT } from "./run_record.ts";
import { GRANULE } from "./size_class.ts";
import { countLiveSlots } from "./slot_lookup.ts";

/** The figures of this moment. Time in the number of pages and runs. */
export function heapStats(blocks: Blocks, peakCommittedBytes: number, limit: number): AllocatorStats {
  const { huge } = blocks;
  let liveBlocks = huge.count;
  let liveBytes = huge.byteLength;
  let tableBytes = 0;
  let reservedBytes = huge.byteLength + huge.unreleased.byteLength;
  let wrappedBytes = huge.wrappedBytes;
  let regions = 0;
  for (const pages of blocks.ranges) {
    const { range } = pages;
    tableBytes += range.tableBytes + pages.table.byteLength;
    reservedBytes += range.byteLength + range.tableReservedBytes + pages.table.reservedBytes;
    wrappedBytes += range.committedBytes;
    regions += range.regions.length;
    for (let unit = 0; unit < range.endUnit;) {
      const length = range.runs.lengthAt(unit);
      const kind = range.runs.kindAt(unit);
      if (kind === PAGE_RUN) {
        const live = countLiveSlots(pages, unit);
        liveBlocks += live;
        liveBytes += live * pages.slotSize(unit * (UNIT / GRANULE));
      } else if (kind === LARGE_RUN) {
        liveBlocks++;
        liveBytes += length * UNIT;
      }
      unit += length;
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
