/**
 * The size classes of small blocks: which sizes a page can be divided into.
 *
 * Sizes are counted in granules of 16 bytes. Up to 128 bytes every multiple of 16 is a class. Above, each doubling has four
 * (5, 6, 7 and 8 times a power of two), so that rounding a size up to its class wastes less than a fifth of the slot; the
 * doublings above 4 KiB have eight (9 to 16 times a power of two), and less than a ninth is wasted:
 *
 * ```text
 *   bytes   16  32 ... 112 128 | 160 192 224 256 | ... | 2560 3072 3584 4096 | 4608 5120 ... 8192 | 9216 10240 ... 16384
 *   class    0   1 ...   6   7 |   8   9  10  11 | ... |   24   25   26   27 |   28   29 ...   35 |   36    37 ...    43
 * ```
 *
 * More classes waste less in slots, and leave more slots free that only their own class can use. For small sizes one is
 * worth the other. Large ones are few and alike (the buffers and tables of one program), so that a class that fits them
 * saves much, and one that nobody needs has no page: on eleven traces of real programs these eight more save 0.8 % of the
 * heap, and eight in all doublings 0.5 % (docs/performance.md).
 *
 * @module
 */

/** Bytes of a granule: the unit of small sizes and the least alignment. */
export const GRANULE = 16;

/** The largest small size in bytes. Larger blocks are runs of units. */
export const SMALL_MAX = 16 * 1024;

/**
 * The largest alignment of a small block: what the link of a slot can name (see page_table.ts). Above, a run serves.
 */
export const SMALL_ALIGNMENT_MAX = 1024;

/** Bytes of a page: the slice of a region that holds blocks of one class. */
export const PAGE_SIZE = 64 * 1024;

/** Granules of a page: offsets within a page are granule numbers below this. */
export const PAGE_GRANULES = PAGE_SIZE / GRANULE;

/** Granules from which a doubling has eight classes instead of four: 4 KiB. */
const FINE_GRANULES = 256;

/** Count of size classes. The table of page_table.ts has room for so many, the lists of shared_layout.ts for 48. */
export const CLASS_COUNT = 44;

/** Granules of one slot, by class. */
export const CLASS_GRANULES: Int32Array = new Int32Array(CLASS_COUNT);

/** The class of a size, by its granules: `CLASS_OF[(size + 15) >>> 4]` for sizes up to `SMALL_MAX`. */
export const CLASS_OF: Uint8Array = new Uint8Array(SMALL_MAX / GRANULE + 1);

/**
 * Slots of a page, by class. One less than fits for 16 bytes, as slot numbers must stay below 2^12 (see page_table.ts).
 */
export const CLASS_SLOTS: Int32Array = new Int32Array(CLASS_COUNT);

for (let sizeClass = 0, granules = 1; sizeClass < CLASS_COUNT; sizeClass++) {
  CLASS_GRANULES[sizeClass] = granules;
  CLASS_SLOTS[sizeClass] = Math.min(Math.floor(PAGE_GRANULES / granules), PAGE_GRANULES - 1);
  // Up to 8 granules the step is 1; from there on a quarter of the power of two below, and from 256 an eighth.
  granules += granules < 8 ? 1 : 2 ** (Math.floor(Math.log2(granules)) - (granules < FINE_GRANULES ? 2 : 3));
}
// One call for each class: a loop over a thousand sizes would start the compiler threads of Bun, 2 ms at every start.
for (let sizeClass = 1; sizeClass < CLASS_COUNT; sizeClass++) {
  CLASS_OF.fill(sizeClass, CLASS_GRANULES[sizeClass - 1]! + 1, CLASS_GRANULES[sizeClass]! + 1);
}

/**
 * The class for a block of `size` bytes at a multiple of `alignment` (at most 1024): the first class from the size up
 * whose slots all lie at such multiples, because the slot size is one. -1 when only a run can do it.
 */
export function classFor(size: number, alignment: number): number {
  if (size > SMALL_MAX || alignment > SMALL_ALIGNMENT_MAX) return -1;
  const alignmentGranules = Math.max(1, alignment / GRANULE);
  const granules = Math.max(Math.ceil(size / GRANULE), alignmentGranules);
  if (granules > SMALL_MAX / GRANULE) return -1;
  for (let sizeClass = CLASS_OF[granules]!; sizeClass < CLASS_COUNT; sizeClass++) {
    if (CLASS_GRANULES[sizeClass]! % alignmentGranules === 0) return sizeClass;
  }
  return -1;
}
