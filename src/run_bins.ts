/**
 * The bins of free runs: one for each length up to 64 units, and four for each doubling above.
 *
 * @module
 */

/** Lengths up to this many units have a bin each. */
export const EXACT_BINS = 64;

/** Bins: those, and four for each doubling up to 2^21 - 1 units: a region has no more than 2^20. */
export const BIN_COUNT: number = EXACT_BINS + 4 * 15;

/** The bin for runs of `count` units. */
export function binOf(count: number): number {
  if (count <= EXACT_BINS) return count - 1;
  const log = 31 - Math.clz32(count);
  return EXACT_BINS + (log - 6) * 4 + ((count >>> (log - 2)) & 3);
}

/** The first bin from `from` up that has any run, by the bits of `occupied`; -1 when none has. */
export function nextBin(occupied: Int32Array, from: number): number {
  if (from >= BIN_COUNT) return -1;
  let word = from >>> 5;
  let bits = occupied[word]! & (-1 << (from & 31));
  while (bits === 0) {
    if (++word === occupied.length) return -1;
    bits = occupied[word]!;
  }
  return (word << 5) + 31 - Math.clz32(bits & -bits);
}
