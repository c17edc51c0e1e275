/**
 * The options of a pool.
 *
 * @module
 */
import { assertAlignment, assertOptions, assertSize, DEFAULT_ALIGNMENT } from "./arguments.ts";
import { describeValue } from "./errors.ts";
import type { PageSource } from "./page_source.ts";
import { ALIGNMENT_SHIFT } from "./pool_links.ts";

/** The largest slot: what a link has room for. Larger blocks are no business of a pool. */
const SLOT_MAX = 2 ** ALIGNMENT_SHIFT - 16;

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

/** Options of a pool after they were checked, the defaults filled in. */
export interface PoolRules {
  /** See {@link PoolAllocatorOptions.slotSize}. */
  readonly slotSize: number;
  /** A power of two from 16. */
  readonly alignment: number;
  /** 0 when memory is to be taken when it is first needed. */
  readonly capacity: number;
  /** See {@link PoolAllocatorOptions.growable}. */
  readonly growable: boolean;
}

/** Checks options. */
export function poolRules(options: PoolAllocatorOptions): PoolRules {
  assertOptions(options);
  const { slotSize, alignment = DEFAULT_ALIGNMENT, capacity, growable = true } = options;
  assertSize(slotSize, "slotSize");
  if (slotSize === 0 || slotSize > SLOT_MAX) {
    throw new RangeError(`Cannot use ${slotSize} as slotSize: it must be from 1 to ${SLOT_MAX} bytes`);
  }
  assertAlignment(alignment);
  if (capacity !== undefined) assertSize(capacity, "capacity");
  if (typeof growable !== "boolean") {
    throw new TypeError(`Cannot use ${describeValue(growable)} as growable: it must be a boolean`);
  }
  if (!growable && capacity === undefined) {
    throw new TypeError("Cannot make a pool that does not grow without a capacity");
  }
  return { slotSize, alignment: Math.max(alignment, DEFAULT_ALIGNMENT), capacity: capacity ?? 0, growable };
}
