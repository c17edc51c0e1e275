/**
 * Why an address is not that of a live block of an in-band allocator: by the marks of its region alone, as headers may be
 * what is wrong.
 *
 * ```text
 *   marks     LIVE  .   .   .  FREE  .  STALE  END  LIVE  ...
 *             │     └ interior │         └ double
 *             └ a block        └ double if it is STALE too, else foreign
 * ```
 *
 * @module
 */
import { ALREADY_FREED, insideBlock, type InvalidAddress } from "./errors.ts";
import { FREE, GRANULE, LIVE, STALE } from "./marks.ts";
import type { Address } from "./page_source.ts";
import type { RegionList } from "./region_list.ts";

/** Says what `address` is in the regions of an in-band allocator. */
export function explainAddress(regions: RegionList, address: Address): InvalidAddress {
  const region = regions.find(address);
  if (region === undefined) {
    if (Number.isInteger(address / GRANULE) && regions.wasReleased(address)) {
      return { kind: "double", detail: "the block is already freed, and its region given back" };
    }
    return { kind: "foreign", detail: "this allocator has no block there and had none" };
  }
  const { marks } = region;
  const granule = (address - region.address) / GRANULE;
  let start = Math.floor(granule);
  while (start > 0 && (marks[start]! & (LIVE | FREE)) === 0) start--;
  let end = start + 1;
  while (end < region.end && (marks[end]! & (LIVE | FREE)) === 0) end++;
  const usable = (end - start) * GRANULE - regions.layout.header;
  const begin = region.address + start * GRANULE;
  if ((marks[start]! & LIVE) !== 0 && address < begin + usable) {
    return insideBlock(address, begin, usable);
  }
  return Number.isInteger(granule) && (marks[granule]! & STALE) !== 0
    ? ALREADY_FREED
    : { kind: "foreign", detail: "no live block begins there" };
}
