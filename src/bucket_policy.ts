/**
 * What can be chosen about a bucket, and what it tells of its work.
 *
 * @module
 */
import type { Address } from "./page_source.ts";

/** What happened inside, for whoever wants to watch; sizes in bytes, headers included. */
export interface AllocatorEvent {
  /**
   * `search`: the free list was walked for `size` bytes, past `count` blocks; `split`: `size` bytes at `address` were left
   * over; `merge`: two free blocks are one of `size` bytes; `grow`: a region was mapped; `release`: one was unmapped.
   */
  readonly type: "search" | "split" | "merge" | "grow" | "release";
  /** Where: of a block its payload, of a region its start; 0 for a search that found nothing. */
  readonly address: Address;
  /** See `type`. */
  readonly size: number;
  /** Of a search, the blocks it came by; otherwise 1. */
  readonly count: number;
}

/** The policies of a bucket. */
export interface BucketPolicy {
  /** Which end of a free block is given out. */
  readonly split: "start" | "end";
  /** When free neighbours become one. */
  readonly coalesce: "eager" | "lazy";
  /** Whether regions that touch are joined. */
  readonly joinRegions: boolean;
  /** Whether a region is unmapped as soon as it is free. */
  readonly releaseRegions: boolean;
  /** The least bytes of a region. */
  readonly regionSize: number;
  /** Called after each step. */
  readonly onEvent: ((event: AllocatorEvent) => void) | undefined;
}

/** Tells `onEvent` what happened; what it throws is ignored. */
export function tell(
  onEvent: (event: AllocatorEvent) => void,
  type: AllocatorEvent["type"],
  address: Address,
  size: number,
  count = 1,
): void {
  try {
    onEvent({ type, address, size, count });
  } catch {
    // A watcher that fails must not leave a block half made.
  }
}
