/**
 * The records of runs: one for each unit of an address range, outside the memory that they describe.
 *
 * ```text
 *   byte  0        4        8        12       16
 *         ┌────────┬────────┬────────┬────────┐
 *         │ HEAD   │ TAIL   │ NEXT   │ PREV   │   free and parked runs: links (unit + 1; 0 is none)
 *         │        │        │ SLACK  │ INFO   │   large blocks: bytes not asked for; alignment and ownership
 *         │        │        │ GAP    │ GAP    │   last unit of a free run with a gap: the units from and to
 *         └────────┴────────┴────────┴────────┘   parked and in no stack as its reuse is delayed: INFO is -1
 *   HEAD   at the first unit of a run: units * 256 + written * 4 + kind; 0 at every other unit
 *            written: of a free run, what was written and not given back since: 0 nothing, 1 all, 2 all but a gap
 *   TAIL   at the last unit of a free run: its units; 0 at every other unit
 *
 *   units    │ 9 │10 │11 │12 │13 │14 │15 │16 │
 *            └─ large, 3 ┴─ free, 4 ─────┴─ page, 16 ...
 *   HEAD     769   0   0 1032  0   0   0  4098     the free run: all written but units 14 and 15
 *   TAIL       0   0   0   0   0   0   4   0
 *   GAP                             14 to 16
 * ```
 *
 * @module
 */

/** Bytes of a unit. */
export const UNIT = 4096;

/** Bytes of a unit's record. */
export const UNIT_RECORD = 16;

/** Units of a page of small blocks. */
export const PAGE_UNITS = 16;

/** Fields of a unit's record, in 32-bit words. */
export const HEAD = 0;
/** See the drawing. */
export const TAIL = 1;
/** See the drawing. */
export const NEXT = 2;
/** See the drawing. */
export const PREV = 3;
/** In place of {@link NEXT}. */
export const SLACK = 2;
/** In place of {@link PREV}. */
export const INFO = 3;
/** In place of {@link NEXT}: the first unit of the gap. */
export const GAP_FROM = 2;
/** In place of {@link PREV}: the unit after the gap. */
export const GAP_TO = 3;

/** What a run is: free space, a large block, a page of small blocks, or parked. */
export type RunKind = typeof FREE_RUN | typeof LARGE_RUN | typeof PAGE_RUN | typeof PARKED_RUN;
/** Free space. */
export const FREE_RUN = 0;
/** A large block. */
export const LARGE_RUN = 1;
/** A page of small blocks. */
export const PAGE_RUN = 2;
/** Free, and kept at its length. */
export const PARKED_RUN = 3;

/** The part of HEAD that is the kind. */
export const KIND_MASK = 3;
/** The part of HEAD that says how much of a free run was written: nothing when it is 0. */
export const WRITTEN_MASK: number = 63 << 2;
/** All of it. */
export const ALL_WRITTEN = 4;
/** All but the gap. */
export const HAS_GAP = 8;
/** Where in HEAD the length starts. */
export const LENGTH_SHIFT = 8;

/**
 * How many units `base` lies above a multiple of `alignment` units. For one unit there is nothing to compute: the remainder of
 * a number that is no 32-bit integer is a call of C (fmod), which took a fifth of the time of a large block.
 */
export function biasOf(base: number, alignment: number): number {
  return alignment === 1 ? 0 : (base / UNIT) % alignment;
}

/** How many units from `start` to `end` are also from `from` to `to`. */
export function overlap(start: number, end: number, from: number, to: number): number {
  return Math.max(0, Math.min(end, to) - Math.max(start, from));
}

/** Set in INFO of a large block that a NativeBuffer owns. */
export const INFO_OWNED = 64;
/** The part of INFO that is the base-2 logarithm of the alignment. */
export const INFO_ALIGNMENT = 63;
/** INFO of a parked run that is in no stack, because the reuse of its block is delayed. */
export const INFO_DELAYED = -1;

/** How many units of the free run at `unit`, whose HEAD is `head`, were written and not given back since. */
export function writtenOf(units: Int32Array, unit: number, head: number): number {
  const count = head >>> LENGTH_SHIFT;
  const written = head & WRITTEN_MASK;
  if (written !== HAS_GAP) return written === 0 ? 0 : count;
  const last = (unit + count - 1) * 4;
  return count - (units[last + GAP_TO]! - units[last + GAP_FROM]!);
}
