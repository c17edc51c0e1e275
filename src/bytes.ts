/**
 * Copying and clearing bytes inside wrapped memory.
 *
 * Short spans go word by word: a call of `copyWithin` or `fill` costs as much as some thirty words. What is copied goes
 * as 32-bit integers and not as doubles, as an engine may change the bits of a NaN when it loads one; zeros go as
 * doubles.
 *
 * @module
 */

/** Spans up to this many bytes are copied word by word. */
const COPY_WORDS_UP_TO = 128;

/** The same between two pieces, where the alternative makes an object each time. */
const COPY_WORDS_ACROSS_UP_TO = 1024;

/** Spans up to this many bytes are cleared word by word. */
const CLEAR_WORDS_UP_TO = 256;

/** Offsets below have word numbers that are 32-bit integers: V8 keeps others as doubles, and checks them at every word. */
const WORDS_BELOW = 2 ** 32;

/** One piece of wrapped memory, as bytes and as words. All views cover the same span. */
export interface WrappedBytes {
  /** The bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The buffer that all views are on. */
  readonly buffer: ArrayBuffer;
  /** Where in `buffer` they start. */
  readonly byteOffset: number;
  /** The same memory as 32-bit words, for copying. */
  readonly words: Int32Array;
  /** The same memory as doubles, for clearing. */
  readonly doubles: Float64Array;
}

/** All views of what a page source wrapped: an OS page or more. */
export function wrappedBytes(bytes: Uint8Array<ArrayBuffer>): WrappedBytes {
  const { buffer, byteOffset, byteLength } = bytes;
  return {
    bytes,
    buffer,
    byteOffset,
    words: new Int32Array(buffer, byteOffset, Math.floor(byteLength / 4)),
    doubles: new Float64Array(buffer, byteOffset, Math.floor(byteLength / 8)),
  };
}

/**
 * Copies `length` bytes from offset `from` of `source` to offset `to` of `target`. Offsets are multiples of 4; up to 3
 * bytes more than `length` may be copied. Overlap is allowed within one piece.
 */
export function copyBytes(source: WrappedBytes, from: number, target: WrappedBytes, to: number, length: number): void {
  const words = source === target ? COPY_WORDS_UP_TO : COPY_WORDS_ACROSS_UP_TO;
  if (
    length <= words && from < WORDS_BELOW && to < WORDS_BELOW &&
    (source !== target || to < from || to >= from + length)
  ) {
    const sourceWords = source.words;
    const targetWords = target.words;
    let s = from >>> 2;
    let t = to >>> 2;
    for (const end = s + ((length + 3) >>> 2); s < end; s++, t++) targetWords[t] = sourceWords[s]!;
  } else if (source === target) {
    source.bytes.copyWithin(to, from, from + length);
  } else {
    target.bytes.set(source.bytes.subarray(from, from + length), to);
  }
}

/** Clears `length` bytes at `offset`, a multiple of 8; up to 7 bytes more may be cleared. */
export function clearBytes(target: WrappedBytes, offset: number, length: number): void {
  if (length <= CLEAR_WORDS_UP_TO && offset < WORDS_BELOW) {
    const { doubles } = target;
    let w = offset >>> 3;
    for (const end = w + ((length + 7) >>> 3); w < end; w++) doubles[w] = 0;
  } else {
    target.bytes.fill(0, offset, offset + length);
  }
}
