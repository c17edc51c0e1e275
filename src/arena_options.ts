/**
 * The options of an arena, and what `reset` may keep.
 *
 * @module
 */
import { assertSize } from "./arguments.ts";
import { describeValue } from "./errors.ts";
import type { PageSource } from "./page_source.ts";

/** The size of the first chunk: what one page of a `Heap` has. */
export const DEFAULT_CHUNK_SIZE = 65_536;

/** What {@link Arena.reset} does with the memory. */
export type ArenaResetMode =
  /** Gives all of it back. */
  | "free-all"
  /** Keeps all of it: the same allocations once more need nothing from the page source. */
  | "keep-capacity"
  /** Keeps at most so many bytes, the largest chunks first. */
  | { readonly keep: number };

/** Options of an {@link Arena}. */
export interface ArenaOptions {
  /** Where memory comes from. @defaultValue the operating system */
  source?: PageSource;
  /**
   * Bytes of the first chunk, rounded up to whole OS pages; each further one is twice as large, up to 64 MiB.
   * @defaultValue 64 KiB
   */
  chunkSize?: number;
  /**
   * The most bytes that may be live at once, counted as requested; see also {@link Arena.limit}. @defaultValue Infinity
   */
  limit?: number;
}

/** Throws unless `limit` is a size or `Infinity`. */
export function assertLimit(limit: unknown): void {
  if (limit !== Infinity) assertSize(limit, "limit");
}

/** How much of the memory {@link Arena.reset} may keep, in bytes. */
export function bytesToKeep(mode: ArenaResetMode): number {
  if (mode === "keep-capacity") return Infinity;
  if (mode === "free-all") return 0;
  if (typeof mode !== "object" || mode === null) {
    throw new TypeError(
      `Cannot use ${describeValue(mode)} as a reset mode: it must be "free-all", "keep-capacity" or { keep: bytes }`,
    );
  }
  if (mode.keep !== Infinity) assertSize(mode.keep, "keep");
  return mode.keep;
}
