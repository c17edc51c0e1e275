/**
 * Copying and clearing bytes inside wrapped memory.
 *
 * Short spans go word by word: a call of `copyWithin` or `fill` costs as much as some thirty words. The words are
 * 32-bit integers and not doubles, as an engine may change the bits of a NaN when it loads one.
 *
 * @module
 */

/** Spans up to this many bytes go word by word. */
const WORDS_UP_TO = 128;

/** One piece of wrapped memory, as bytes and as words. Both views cover the same span. */
export interface WrappedBytes {
  /** The bytes. */
  readonly bytes: Uint8Array;
  /** The same memory as 32-bit words. */
  readonly words: Int32Array;
}

/** Both views of what a page source wrapped. */
export function wrappedBytes(bytes: Uint8Array): WrappedBytes {
  return { bytes, words: new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2) };
}

/**
 * Copies `length` bytes from offset `from` of `source` to offset `to` of `target`. Offsets are multiples of 4; up to 3
 * bytes more than `length` may be copied. Overlap is allowed within one piece.
 */
export function copyBytes(source: WrappedBytes, from: number, target: WrappedBytes, to: number, length: number): void {
  if (length <= WORDS_UP_TO && (source !== target || to < from || to >= from + length)) {
    const sourceWords = source.words;
    const targetWords = target.words;
    let s = from / 4;
    let t = to / 4;
    for (const end = s + ((length + 3) >>> 2); s < end; s++, t++) targetWords[t] = sourceWords[s]!;
  } else if (source === target) {
    source.bytes.copyWithin(to, from, from + length);
  } else {
    target.bytes.set(source.bytes.subarray(from, from + length), to);
  }
}

/** Clears `length` bytes at `offset`, a multiple of 4; up to 3 bytes more may be cleared. */
export function clearBytes(target: WrappedBytes, offset: number, length: number): void {
  if (length <= WORDS_UP_TO) {
    const words = target.words;
    let w = offset / 4;
    for (const end = w + ((length + 3) >>> 2); w < end; w++) words[w] = 0;
  } else {
    target.bytes.fill(0, offset, offset + length);
  }
}
