/**
 * Copying and clearing of memory that no wrap shows as a whole: through wraps of its own, piece by piece. For blocks longer
 * than an ArrayBuffer can be, and for those that have none yet.
 *
 * @module
 */
import { type Wrapping, wrapWhole } from "./commit_wrapped.ts";
import type { Address } from "./page_source.ts";

/** The most bytes of one wrap. */
const PIECE = 2 ** 30;

/** Copies `length` bytes between two places that are committed and do not overlap. */
export function copyMemory(source: Wrapping, from: Address, to: Address, length: number): void {
  for (let offset = 0; offset < length; offset += PIECE) {
    const piece = Math.min(PIECE, length - offset);
    withWrap(source, to + offset, piece, (target) => {
      withWrap(source, from + offset, piece, (origin) => target.set(origin));
    });
  }
}

/** Clears `length` bytes that are committed. */
export function clearMemory(source: Wrapping, address: Address, length: number): void {
  for (let offset = 0; offset < length; offset += PIECE) {
    withWrap(source, address + offset, Math.min(PIECE, length - offset), (piece) => void piece.fill(0));
  }
}

function withWrap(source: Wrapping, address: Address, length: number, use: (bytes: Uint8Array) => void): void {
  const bytes = wrapWhole(source, address, length);
  try {
    use(bytes);
  } finally {
    source.unwrap(bytes);
  }
}
