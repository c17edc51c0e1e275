/**
 * The options of a pool.
 *
 * @module
 */
import type { PageSource } from "./page_source.ts";

/** Options of a {@link PoolAllocator}. */
export interface PoolAllocatorOptions {
  /** Bytes of a slot: from 1 to 64 MiB - 16. */
  slotSize: number;
  /** A power of two that every slot is aligned to, 16 at least. @defaultValue 16 */
  alignment?: number;
  /** Slots that are there from the start. @defaultValue none; the first 64 KiB are taken when first needed */
  capacity?: number;
  /**
   * Whether more slots are taken when all are in use; if not, `capacity` is exactly how many there are.
   * @defaultValue true
   */
  growable?: boolean;
  /** Where memory comes from. @defaultValue the operating system */
  source?: PageSource;
}
