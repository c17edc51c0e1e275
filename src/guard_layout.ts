/**
 * Where a guarded block lies in the pieces of address space that it has for itself. Arithmetic only.
 *
 * ```text
 *   placement "end", 100 bytes at alignment 16, OS pages of 4096 bytes
 *
 *   0              4096                        8080            8180    8192            12288
 *   ├─ guard page ─┼───────── slack ───────────┼───── block ─────┼─slack─┼─ guard page ─┤
 *   │   reserved   │                     committed                       │   reserved   │
 *   base           base + lead                 address                                  base + reserved
 *
 *   the same, precise (alignment 1)                8092                8192
 *                  ├───────── slack ───────────────┼───── block ─────────┼─ guard page ─┤
 *
 *   placement "start"
 *                  4096            4196                                 8192
 *   ├─ guard page ─┼───── block ─────┼──────────── slack ───────────────┼─ guard page ─┤
 * ```
 *
 * Guard pages are reserved and never committed, so no instruction can touch them and live. The block touches one of
 * them where its alignment allows it: the size is then a multiple of the alignment, or the alignment is 1. What of the
 * committed pages is not the block is slack, less than one OS page on either side.
 *
 * An alignment above that of an OS page decides where the block begins: at the start of its pages, with the reservation
 * so much longer in front. A block of no bytes has no pages, and any access to it faults.
 *
 * @module
 */
import { alignUp } from "./arguments.ts";

/** On which side a block touches its guard page: `"end"` finds what runs over its end, `"start"` what runs below it. */
export type GuardPlacement = "end" | "start";

/** The place of a block in its reservation. All in bytes. */
export interface GuardLayout {
  /** The whole reservation. */
  readonly reserved: number;
  /** What the reservation must be aligned to. */
  readonly alignment: number;
  /** From the start of the reservation to the committed pages: the guard pages before them. */
  readonly lead: number;
  /** The committed pages; 0 for a block of no bytes. */
  readonly committed: number;
  /** From the start of the committed pages to the block. */
  readonly offset: number;
}

/** The place of a block of `size` bytes at a multiple of `alignment`, a power of two. */
export function guardLayout(
  size: number,
  alignment: number,
  placement: GuardPlacement,
  pageSize: number,
): GuardLayout {
  const lead = Math.max(alignment, pageSize);
  const committed = alignUp(size, pageSize);
  const touchesEnd = placement === "end" && alignment <= pageSize;
  return {
    reserved: lead + committed + pageSize,
    alignment: lead,
    lead,
    committed,
    offset: touchesEnd ? committed - alignUp(size, alignment) : 0,
  };
}
