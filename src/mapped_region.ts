/**
 * Regions that are one mapping, committed and wrapped as a whole: those of bump allocators, arenas and pools.
 *
 * ```text
 *   asked for       ├──────── byteLength ────────┤
 *   regionBytes     ├───────────┬───────────┬────┼──────┤   whole OS pages; largestRegion is the most
 *                   ▲
 *                   └ address   a multiple of the alignment
 *
 *   mapWhole        reserve ──▶ commit ──▶ wrap ──▶ address and views of all of it
 *                                  │         │
 *                                  └─ fails ─┴──▶ unmapped; what the source does not take back is left to unreleased.ts
 * ```
 *
 * Invariant: of a region there is all, its memory and the views of it, or nothing.
 *
 * @module
 */
import type { MemoryRegion } from "./allocator_memory.ts";
import { alignDown, alignUp } from "./arguments.ts";
import { wrappedBytes } from "./bytes.ts";
import { wrapWhole } from "./commit_wrapped.ts";
import type { PageSource } from "./page_source.ts";
import type { Unreleased } from "./unreleased.ts";

/** Bytes are counted in 32 bits: in the records of bump_region.ts. */
const BYTES_MAX = 2 ** 32 - 65_536;

/** Bytes of a region of `source` for `byteLength` bytes of blocks: whole OS pages. */
export function regionBytes(source: PageSource, byteLength: number): number {
  return alignUp(Math.max(byteLength, 1), source.pageSize);
}

/** The most bytes that one region of `source` can have. */
export function largestRegion(source: PageSource): number {
  return alignDown(Math.min(source.maxWrapBytes, BYTES_MAX), source.pageSize);
}

/**
 * Takes a region of `source`. What is reserved and then can be neither used nor unmapped is left to `unreleased`.
 *
 * @throws {OutOfMemoryError} When it cannot be had; nothing is held then.
 * @throws {CorruptionError} When the source wraps another number of bytes; the same.
 */
export function mapWhole(
  source: PageSource,
  byteLength: number,
  alignment: number,
  unreleased: Unreleased,
): MemoryRegion {
  const address = source.reserve(byteLength, alignment);
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    source.commit(address, byteLength);
    bytes = wrapWhole(source, address, byteLength);
  } catch (error) {
    unreleased.unmap({ address, byteLength });
    throw error;
  }
  return { ...wrappedBytes(bytes), address };
}
