/**
 * The links of a pool's slots as a whole: what must be true of them, and what is left of them without some regions.
 *
 * ```text
 *   link of a slot     0             it ends the free list, or nobody ever had it
 *                      n > 0         it is free, and slot n - 1 is the next free one
 *                      negative      it is live: ┌───┬────────────┬─────────────────┐
 *                                                │ 1 │ log2 align │ bytes asked for │
 *                                                └───┴────────────┴─────────────────┘
 *                                           bit   31  30       26  25             0
 * ```
 *
 * @module
 */
import { alignUp } from "./arguments.ts";
import { CorruptionError } from "./errors.ts";
import { GROUP_SLOTS } from "./pool_index.ts";
import type { PoolRegion, PoolRegions } from "./pool_regions.ts";

/** The link of a live slot is negative. */
export const LIVE: number = -(2 ** 31);
/** Where in it the logarithm of the alignment is. */
export const ALIGNMENT_SHIFT = 26;
/** The bytes asked for in it. */
export const REQUESTED_MASK: number = 2 ** ALIGNMENT_SHIFT - 1;

/** Throws unless the free list, which begins at `head`, holds exactly the slots that are not live; how many there are. */
export function checkLinks(
  links: Int32Array,
  head: number,
  regions: PoolRegions,
  slotSize: number,
): { live: number; free: number } {
  let live = 0;
  let used = 0;
  for (const region of regions.inOrder) {
    used += region.used;
    for (let slot = region.first; slot < region.first + region.used; slot++) {
      const link = links[slot]!;
      if (link >= 0) continue;
      live++;
      if ((link & REQUESTED_MASK) > slotSize) {
        throw new CorruptionError(`Cannot trust the link of slot ${slot}: it has more bytes than a slot`);
      }
    }
  }
  let free = 0;
  for (let next = head; next !== 0 && free <= used; next = links[next - 1]!) {
    if (!(next > 0) || !regions.isUsed(next - 1)) {
      throw new CorruptionError(
        `Cannot trust the free list of the pool: it leads to slot ${next - 1}, which is not free`,
      );
    }
    free++;
  }
  if (live + free === used) return { live, free };
  throw new CorruptionError(
    `Cannot trust the free list of the pool: ${used} slots were ever given out, ${live} are live and ${free} are in it`,
  );
}

/** The links as they are once `idle` regions are gone, the other slots renumbered and in the order that they had. */
export function linksWithout(
  old: Int32Array,
  oldHead: number,
  regions: PoolRegions,
  idle: ReadonlySet<PoolRegion>,
): { links: Int32Array<ArrayBuffer>; head: number; free: number } {
  const moved = new Int32Array(old.length).fill(-1);
  const links = new Int32Array(old.length);
  let next = 0;
  for (const region of regions.inOrder) {
    if (idle.has(region)) continue;
    for (let i = 0; i < region.slots; i++) {
      const link = old[region.first + i]!;
      moved[region.first + i] = next + i;
      if (link < 0) links[next + i] = link;
    }
    next = alignUp(next + region.slots, GROUP_SLOTS);
  }
  let tail = -1;
  let head = 0;
  let free = 0;
  for (let slot = oldHead; slot !== 0; slot = old[slot - 1]!) {
    const place = moved[slot - 1]!;
    if (place === -1) continue;
    if (tail === -1) head = place + 1;
    else links[tail] = place + 1;
    tail = place;
    free++;
  }
  return { links, head, free };
}
