/**
 * The sizes of `bench/scale.ts`: apart, so that a report can name them without running the loop.
 *
 * @module
 */

/** Which sizes: 16 to 128 bytes, all alike; 16 to 992 bytes or 1 to 15.5 KiB, as many in each doubling. */
export type SizeSet = "small" | "mixed" | "large";

/** All of them. */
export const SIZE_SETS: readonly SizeSet[] = ["small", "mixed", "large"];

/** The most blocks that are live at once: of the large ones each has an OS page of its own in glibc, which writes to it. */
export const MOST_LIVE: { readonly [sizes in SizeSet]: number } = { small: 1e7, mixed: 1e7, large: 1e6 };
