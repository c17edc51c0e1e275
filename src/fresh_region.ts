/**
 * What an in-band allocator does when none of its free blocks has room.
 *
 * ```text
 *   a new region ──no memory──▶ give free regions back, try unmapping again
 *                                  └──▶ search once more, past every block ──nothing──▶ a new region ──▶ OutOfMemoryError
 * ```
 *
 * @module
 */
import type { Bucket } from "./bucket.ts";
import { OutOfMemoryError } from "./errors.ts";
import { GRANULE, MAX_GRANULES } from "./marks.ts";
import type { RegionList } from "./region_list.ts";

/**
 * Takes a block of `need` granules for `size` bytes, as `Bucket.take` does, when that found none.
 *
 * @throws {OutOfMemoryError} When there is no memory for it, whatever is given back.
 */
export function takeFresh(
  regions: RegionList,
  buckets: readonly Bucket[],
  bucket: Bucket,
  size: number,
  need: number,
  alignment: number,
): number {
  let failure = new OutOfMemoryError(`no region has more than ${MAX_GRANULES * GRANULE} bytes`, size);
  if (need <= MAX_GRANULES) {
    try {
      return bucket.takeFresh(need, alignment);
    } catch (error) {
      failure = asOutOfMemory(error);
    }
    try {
      for (const other of buckets) other.releaseFreeRegions();
      regions.retryUnmaps();
      const p = bucket.take(need, alignment, MAX_GRANULES);
      return p === -1 ? bucket.takeFresh(need, alignment) : p;
    } catch (error) {
      failure = asOutOfMemory(error);
    }
  }
  throw new OutOfMemoryError(
    `Cannot allocate ${size} bytes at alignment ${alignment}: ${failure.message}`,
    size,
    failure.limit,
    { cause: failure },
  );
}

/** The error, if that is what it is; any other goes on. */
function asOutOfMemory(error: unknown): OutOfMemoryError {
  if (error instanceof OutOfMemoryError) return error;
  throw error;
}
