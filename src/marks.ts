/**
 * The marks of a region: one 16-bit word for each granule, in memory of JavaScript's own that no stray write can reach.
 *
 * ```text
 *   bit 0  LIVE   a live block's payload begins here         bits 4..8   log2 of its alignment
 *   bit 1  FREE   a free block's payload begins here         bits 9..15  its slack: usable minus requested bytes
 *   bit 2  STALE  a block that began here was freed          bit 4       CLEAN: of a free block, trim() was here
 *   bit 3  END    the last granule of a free block
 * ```
 *
 * The files on the path of `allocate` and `free` repeat the constants that they use, typed as these.
 *
 * @module
 */

/** Bytes of one granule: the alignment that every block has. */
export const GRANULE = 16;

/** See the drawing. */
export const LIVE = 1;
/** See the drawing. */
export const FREE = 2;
/** See the drawing. */
export const STALE = 4;
/** See the drawing. */
export const END = 8;
/** See the drawing. */
export const CLEAN = 16;
/** Where the alignment of a live block is in its mark. */
export const ALIGNMENT_SHIFT = 4;
/** Its bits, shifted. */
export const ALIGNMENT_MASK = 31;
/** Where the slack of a live block is in its mark. */
export const SLACK_SHIFT = 9;
/** The most granules of one region: word indices of a region stay 32-bit integers. */
export const MAX_GRANULES = 2 ** 29 - 1;
