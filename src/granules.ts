/**
 * Clearing and copying whole granules: what the short ways for small blocks do with memory.
 *
 * Slots consist of granules of 16 bytes, so that more than was asked for may be cleared or copied up to the end of the last
 * one: the loops have four words at a time and no rest. Places are counted in granules from the start of a region, and
 * short spans go word by word, as in bytes.ts, which has the same for spans of any length.
 *
 * @module
 */
import { copyBytes, type WrappedBytes } from "./bytes.ts";
import { GRANULE } from "./size_class.ts";

/** Up to so many granules are cleared word by word: a call of `fill` costs as much. */
const CLEAR_WORDS_UP_TO = 16;

/** Up to so many granules are copied word by word within a region: a call of `copyWithin` costs as much. */
const COPY_WORDS_UP_TO = 8;

/** The same between two regions, where the alternative makes an object each time. */
const COPY_WORDS_ACROSS_UP_TO = 64;

/** Granules below have word numbers that V8 keeps as 32-bit integers: those of the first 4 GiB of a region. */
const NEAR_BITS = 28;

/** Clears `count` granules from granule `at` of the region on. */
export function clearGranules(region: WrappedBytes, at: number, count: number): void {
  if (count > CLEAR_WORDS_UP_TO || at >>> NEAR_BITS !== 0) {
    region.bytes.fill(0, at * GRANULE, (at + count) * GRANULE);
    return;
  }
  const { doubles } = region;
  let w = at * 2;
  for (const end = w + count * 2; w < end; w += 2) {
    doubles[w] = 0;
    doubles[w + 1] = 0;
  }
}

/** Copies `count` granules, from granule `s` of `source` to granule `t` of `target`. They do not overlap. */
export function copyGranules(source: WrappedBytes, s: number, target: WrappedBytes, t: number, count: number): void {
  const limit = source === target ? COPY_WORDS_UP_TO : COPY_WORDS_ACROSS_UP_TO;
  if (count > limit || (s | t) >>> NEAR_BITS !== 0) {
    copyBytes(source, s * GRANULE, target, t * GRANULE, count * GRANULE);
    return;
  }
  const from = source.words;
  const to = target.words;
  let w = t * 4;
  let r = s * 4;
  for (const end = r + count * 4; r < end; r += 4, w += 4) {
    to[w] = from[r]!;
    to[w + 1] = from[r + 1]!;
    to[w + 2] = from[r + 2]!;
    to[w + 3] = from[r + 3]!;
  }
}
