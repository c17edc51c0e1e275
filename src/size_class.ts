/**
 * The size classes of small blocks: which sizes a page can be divided into.
 *
 * Sizes are counted in granules of 16 bytes. Up to 128 bytes every multiple of 16 is a class. Above, a doubling has four (5, 6,
 * 7 and 8 times a power of two), so that rounding a size up to its class wastes less than a fifth of the slot; from 256 to 512
 * bytes, and above 4 KiB, it has eight (9 to 16 times a power of two), and less than a ninth is wasted:
 *
 * ```text
 *   bytes   16 ... 112 128 | 160 192 224 256 | 288 320 ... 512 | 640 ... 3584 4096 | 4608 5120 ... 8192 | 9216 ... 16384
 *   class    0 ...   6   7 |   8   9  10  11 |  12  13 ...  19 |  20 ...   30   31 |   32   33 ...   39 |   40 ...    47
 * ```
 *
 * More classes waste less in slots, and leave more slots free that only their own class can use. For small sizes one is
 * worth the other, but where OS pages without a live slot go back (page_units.ts) the free slots cost less: eight between
 * 256 and 512 bytes save 0.3 % of the heap on eleven traces of real programs. Large blocks are few and alike (the buffers and
 * tables of one program), so that a class that fits them saves much, and one that nobody needs has no page: eight above 4 KiB
 * save 0.7 % (docs/performance.md).
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

/** Whether the doubling that `granules` are in has eight classes instead of four: from 256 to 512 bytes, and from 4 KiB. */
function isFine(granules: number): boolean {
  return granules >= 256 || (granules >= 16 && granules < 32);
}

/** Count of size classes. The tables of page_table.ts and shared_layout.ts have room for so many. */
export const CLASS_COUNT = 48;

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
  // Up to 8 granules the step is 1; from there on a quarter of the power of two below, or an eighth.
  granules += granules < 8 ? 1 : 2 ** (Math.floor(Math.log2(granules)) - (isFine(granules) ? 3 : 2));
}
// One call for each class: a loop over a thousand sizes would start the compiler threads of Bun, 2 ms at every start.
for (let sizeClass = 1; sizeClass < CLASS_COUNT; sizeClass++) {
  CLASS_OF.fill(sizeClass, CLASS_GRANULES[sizeClass - 1]! + 1, CLASS_GRANULES[sizeClass]! + 1);
}

/**
 * Sizes up to here have an entry for each granule in a table by size, larger ones for every 512 bytes: the sizes of those classes are
 * such multiples. A page that becomes current is entered for all sizes of its class, and large slots are soon used up.
 */
export const BY_GRANULE_MAX = 2048;

// V8 folds a constant that is not exported.
const GRANULES_TO = BY_GRANULE_MAX;
/** What is added to a number of 512 bytes, so that those entries follow the ones by granule. */
const COARSE_FROM = BY_GRANULE_MAX / 16 - BY_GRANULE_MAX / 512;

/** The entry of a size up to `SMALL_MAX` in a table by size. */
export function sizeEntry(size: number): number {
  return size <= GRANULES_TO ? (size + 15) >>> 4 : COARSE_FROM + ((size + 511) >>> 9);
}

/** Entries of a table by size: 157, so that each fits a byte. */
export const SIZE_ENTRIES: number = sizeEntry(SMALL_MAX) + 1;

/** The first and the last entry of a class in a table by size. */
export const FIRST_ENTRY: Uint8Array = new Uint8Array(CLASS_COUNT);
/** See {@link FIRST_ENTRY}. */
export const LAST_ENTRY: Uint8Array = new Uint8Array(CLASS_COUNT);

for (let sizeClass = 0, next = 0; sizeClass < CLASS_COUNT; sizeClass++) {
  FIRST_ENTRY[sizeClass] = next;
  LAST_ENTRY[sizeClass] = sizeEntry(CLASS_GRANULES[sizeClass]! * GRANULE);
  next = LAST_ENTRY[sizeClass]! + 1;
}

/**
 * The class for a block of `size` bytes at a multiple of `alignment` (at most 1024): the first class from the size up
 * whose slots all lie at such multiples, because the slot size is one. -1 when only a run can do it.
 */
export function classFor(size: number, alignment: number): number {
  if (size > SMALL_MAX || alignment > SMALL_ALIGNMENT_MAX) return -1;
  const alignmentGranules = (alignment + 15) >>> 4;
  const granules = Math.max((size + 15) >>> 4, alignmentGranules);
  for (let sizeClass = CLASS_OF[granules]!; sizeClass < CLASS_COUNT; sizeClass++) {
    if ((CLASS_GRANULES[sizeClass]! & (alignmentGranules - 1)) === 0) return sizeClass;
  }
  return -1;
}
