/**
 * Shortening a failing list by delta debugging: leave out a half, a quarter, an eighth ... and keep what still fails.
 *
 * @module
 */

/** Limits of {@link shrink}. */
export interface ShrinkOptions {
  /** The most runs. @defaultValue 3000 */
  runs?: number;
  /** The most milliseconds. @defaultValue 20,000 */
  milliseconds?: number;
}

/**
 * The shortest list that could be found for which `fails` is still true. It is true for `items`.
 *
 * Pieces are tried from the end of the list: what comes after the cause goes first. The list at the end cannot do without any
 * one item, unless a limit was reached.
 */
export function shrink<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => boolean,
  options: ShrinkOptions = {},
): T[] {
  const { runs = 3000, milliseconds = 20_000 } = options;
  const end = performance.now() + milliseconds;
  let left = runs;
  let kept = [...items];
  let piece = Math.ceil(kept.length / 2);
  while (true) {
    let shorter = false;
    for (let to = kept.length; to > 0; to -= piece) {
      if (left-- <= 0 || performance.now() > end) return kept;
      const without = [...kept.slice(0, Math.max(0, to - piece)), ...kept.slice(to)];
      if (!fails(without)) continue;
      kept = without;
      shorter = true;
    }
    if (piece > 1) piece = Math.ceil(piece / 2);
    else if (!shorter) return kept;
  }
}
