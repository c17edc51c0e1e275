/**
 * What a pool says of an address or a slot where it need not be fast.
 *
 * @module
 */
import type { AllocatorStats, BlockInfo } from "./allocator.ts";
import { ALREADY_FREED, formatAddress, insideBlock, type InvalidAddress } from "./errors.ts";
import type { Address } from "./page_source.ts";
import { ALIGNMENT_SHIFT, REQUESTED_MASK } from "./pool_links.ts";
import type { PoolRegion, PoolRegions } from "./pool_regions.ts";

/** The live slot that starts at `address`, or -1. Time in the logarithm of the number of regions. */
export function searchSlot(regions: PoolRegions, links: Int32Array, address: Address): number {
  const region = regions.around(address);
  if (region === undefined) return -1;
  const place = (address - region.address) / regions.stride;
  const slot = place | 0;
  return slot === place && slot < region.used && links[region.first + slot]! < 0 ? region.first + slot : -1;
}

/** What the link of a live slot says. */
export function slotInfo(regions: PoolRegions, links: Int32Array, slotSize: number, slot: number): BlockInfo {
  const link = links[slot]!;
  return {
    address: regions.addressOf(slot),
    requestedSize: link & REQUESTED_MASK,
    usableSize: slotSize,
    alignment: 1 << ((link >>> ALIGNMENT_SHIFT) & 31),
  };
}

/** Why no live slot starts at `address`. */
export function explainSlot(
  regions: PoolRegions,
  links: Int32Array,
  slotSize: number,
  address: Address,
): InvalidAddress {
  const region = regions.around(address);
  if (region === undefined) return { kind: "foreign", detail: "it is in no region of this pool" };
  const { stride } = regions;
  const slot = Math.floor((address - region.address) / stride);
  const start = region.address + slot * stride;
  if (slot >= region.used) return { kind: "foreign", detail: "the slot there was never in use" };
  if (links[region.first + slot]! >= 0) {
    return address === start
      ? ALREADY_FREED
      : { kind: "foreign", detail: `it is inside the free slot at ${formatAddress(start)}` };
  }
  if (address - start >= slotSize) return { kind: "foreign", detail: "it is between two slots" };
  return insideBlock(address, start, slotSize);
}

/** The regions in which no slot is live. Time in the number of slots. */
export function idleRegions({ inOrder }: PoolRegions, links: Int32Array): PoolRegion[] {
  return inOrder.filter(({ first, used }) => {
    for (let i = 0; i < used; i++) if (links[first + i]! < 0) return false;
    return true;
  });
}

/** The figures of a pool with so many live slots. */
export function poolStats(regions: PoolRegions, live: number, slotSize: number): AllocatorStats {
  const { committedBytes, peakBytes, inOrder, unreleased } = regions;
  return {
    liveBlocks: live,
    liveBytes: live * slotSize,
    committedBytes,
    peakCommittedBytes: peakBytes,
    tableBytes: 0,
    reservedBytes: committedBytes + unreleased.byteLength,
    wrappedBytes: committedBytes,
    regions: inOrder.length,
    limit: Infinity,
  };
}
