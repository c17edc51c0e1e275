/**
 * Known bytes around a block, and what becomes of them.
 *
 * ```text
 *   a block of the inner allocator, which ends at `usableSize`:
 *
 *   0          front - 64 KiB    front                  front + size       + 16          usableSize
 *   ├─ untouched ─┼─── 0xdc ──────┼──── the caller's ────┼──── 0xdc ────────┼─── 0xde ─────┤
 *                 │    canary     │  0xd0 when fresh     │  canary, 16      │  padding     │
 *                 │  16 at least  │  0xdf when freed     │  to the byte     │              │
 * ```
 *
 * Invariant of a live block: every canary and padding byte is what the drawing says. The first that is not tells what
 * happened, so checking goes upwards from the lowest byte.
 *
 * The front is 16 bytes, or the alignment where that is more. On either side at most 64 KiB are watched: a block aligned
 * to a gibibyte would otherwise cost as much memory, and a few bytes in a large slot of a pool as much time.
 *
 * A byte overwritten by what it was is not noticed. The patterns are constant all the same, so that they are known on
 * sight in a debugger and in the output of C programs.
 *
 * @module
 */

import { firstChanged, SLACK_BYTE } from "./poison.ts";

/** The bytes of a block that was just allocated. */
export const FRESH = 0xd0;
/** The bytes just before a block, and the first 16 behind it. */
export const CANARY = 0xdc;

/** Bytes of the canary behind a block, and the least before it. */
export const CANARY_SIZE = 16;

/** The most bytes that are watched on either side. */
export const WATCHED_MAX = 2 ** 16;

/** Where a block lies in the bytes of its inner block. */
export interface Placement {
  /** Bytes before the block. */
  readonly front: number;
  /** Bytes of the block. */
  readonly size: number;
}

/** Bytes from the start of an inner block to the last that is watched. */
export function watchedEnd({ front, size }: Placement, usableSize: number): number {
  return Math.min(usableSize, front + size + WATCHED_MAX);
}

/** Writes canaries and padding; `bytes` is the inner block up to its watched end. */
export function drawCanaries(bytes: Uint8Array, { front, size }: Placement): void {
  bytes.fill(CANARY, watchedStart(front), front);
  drawTail(bytes, front + size);
}

/** Writes the canary and the padding behind a block that ends at `end`. */
export function drawTail(bytes: Uint8Array, end: number): void {
  bytes.fill(CANARY, end, end + CANARY_SIZE);
  bytes.fill(SLACK_BYTE, end + CANARY_SIZE);
}

/** Writes one value over the block and all that is watched around it. */
export function overwrite(bytes: Uint8Array, { front }: Placement, value: number): void {
  bytes.fill(value, watchedStart(front));
}

/** The index in `bytes` of the first canary or padding byte that was changed; -1 when none was. */
export function findDamage(bytes: Uint8Array, { front, size }: Placement): number {
  const before = findChanged(bytes, watchedStart(front), front, CANARY);
  if (before !== -1) return before;
  const end = front + size;
  const behind = findChanged(bytes, end, end + CANARY_SIZE, CANARY);
  return behind !== -1 ? behind : findChanged(bytes, end + CANARY_SIZE, bytes.length, SLACK_BYTE);
}

/** What the watched byte at `index` should be. */
export function expectedByte(index: number, { front, size }: Placement): number {
  return index < front + size + CANARY_SIZE ? CANARY : SLACK_BYTE;
}

function watchedStart(front: number): number {
  return Math.max(0, front - WATCHED_MAX);
}

/** The index of the first byte from `start` to `end` that is not `value`, or -1. */
function findChanged(bytes: Uint8Array, start: number, end: number, value: number): number {
  const index = firstChanged(bytes.subarray(start, end), value);
  return index === -1 ? -1 : start + index;
}
