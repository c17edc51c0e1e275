/**
 * Wraps that are what was asked for, and memory that is committed and wrapped in one step: it has both, or neither.
 *
 * @module
 */
import { CorruptionError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";

/** What makes wraps, and ends them. */
export type Wrapping = Pick<PageSource, "wrap" | "unwrap">;

/**
 * Wraps `byteLength` bytes at `address`.
 *
 * @throws {CorruptionError} When the source wraps another number of bytes.
 */
export function wrapWhole(source: Wrapping, address: Address, byteLength: number): Uint8Array<ArrayBuffer> {
  const bytes = source.wrap(address, byteLength);
  const wrapped = bytes.byteLength;
  if (wrapped === byteLength) return bytes;
  try {
    source.unwrap(bytes);
  } catch {
    // A source that refuses its own wrap: it stays open, and what is wrong with it is said below.
  }
  throw new CorruptionError(`Cannot use ${byteLength} bytes: the page source wrapped ${wrapped} of them`);
}

/**
 * Commits what follows the first `committed` of the `byteLength` bytes at `address`, and wraps all of them.
 *
 * @throws {OutOfMemoryError} When the memory cannot be had; nothing more is committed then, unless that cannot be taken back.
 * @throws {CorruptionError} When the source wraps another number of bytes; the same.
 */
export function commitWrapped(
  source: PageSource,
  address: Address,
  byteLength: number,
  committed = 0,
): Uint8Array<ArrayBuffer> {
  source.commit(address + committed, byteLength - committed);
  try {
    return wrapWhole(source, address, byteLength);
  } catch (error) {
    try {
      source.decommit(address + committed, byteLength - committed);
    } catch {
      // Committed and never written. Why there is no wrap is what matters.
    }
    throw error;
  }
}
