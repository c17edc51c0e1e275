/**
 * The sizes of `bench/scale.ts`: apart, so that a report can name them without running the loop.
 *
 * @module
 */

/** Which sizes: 16 to 128 bytes, all alike; or 16 to 992 bytes, as many in each doubling. */
export type SizeSet = "small" | "mixed";

/** Both. */
export const SIZE_SETS: readonly SizeSet[] = ["small", "mixed"];
