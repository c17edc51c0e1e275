/**
 * A set of bytes kept as disjoint, sorted, maximal ranges: which parts of a reservation are committed, which parts of a
 * buffer are free.
 *
 * ```text
 *   starts   0x1000         0x5000      0x9000
 *   ends          0x3000         0x6000      0xa000
 *            ├──────┤       ├────┤      ├────┤         start included, end not
 * ```
 *
 * Invariants: `starts[i] < ends[i] < starts[i + 1]`; ranges that touch are one range. Finding a place is a binary
 * search; adding and removing move the entries behind it. Page sources have few ranges.
 *
 * @module
 */
import { alignUp } from "./arguments.ts";

/** Bytes as ranges; see the top of the file. */
export class RangeSet {
  /** First byte of each range, ascending. */
  readonly #starts: number[] = [];
  /** Byte after the last of each range. */
  readonly #ends: number[] = [];
  #total = 0;

  /** Bytes in the set. */
  get total(): number {
    return this.#total;
  }

  /** Count of ranges. */
  get count(): number {
    return this.#starts.length;
  }

  /** Adds `start` to `end`, parts of which may be in the set already. Returns how many bytes are new. */
  add(start: number, end: number): number {
    const added = end - start - this.covered(start, end);
    // Ranges that touch count too: they become one with the new range.
    const first = this.#firstEndingAt(start);
    let last = first;
    let newStart = start;
    let newEnd = end;
    while (last < this.#starts.length && (this.#starts[last] as number) <= end) {
      newStart = Math.min(newStart, this.#starts[last] as number);
      newEnd = Math.max(newEnd, this.#ends[last] as number);
      last++;
    }
    this.#starts.splice(first, last - first, newStart);
    this.#ends.splice(first, last - first, newEnd);
    this.#total += added;
    return added;
  }

  /** Removes `start` to `end`, parts of which may not be in the set. Returns how many bytes were. */
  remove(start: number, end: number): number {
    const removed = this.covered(start, end);
    if (removed === 0) return 0;
    const first = this.#firstEndingAt(start + 1);
    const starts: number[] = [];
    const ends: number[] = [];
    let last = first;
    while (last < this.#starts.length && (this.#starts[last] as number) < end) {
      const rangeStart = this.#starts[last] as number;
      const rangeEnd = this.#ends[last] as number;
      if (rangeStart < start) {
        starts.push(rangeStart);
        ends.push(start);
      }
      if (rangeEnd > end) {
        starts.push(end);
        ends.push(rangeEnd);
      }
      last++;
    }
    this.#starts.splice(first, last - first, ...starts);
    this.#ends.splice(first, last - first, ...ends);
    this.#total -= removed;
    return removed;
  }

  /** How many bytes from `start` to `end` are in the set. */
  covered(start: number, end: number): number {
    let bytes = 0;
    for (let index = this.#firstEndingAt(start + 1); index < this.#starts.length; index++) {
      const rangeStart = this.#starts[index] as number;
      if (rangeStart >= end) break;
      bytes += Math.min(end, this.#ends[index] as number) - Math.max(start, rangeStart);
    }
    return bytes;
  }

  /** The ranges between `start` and `end` that are not in the set, as pairs of start and end. */
  gaps(start: number, end: number): [start: number, end: number][] {
    const found: [number, number][] = [];
    let from = start;
    for (let index = this.#firstEndingAt(start + 1); index < this.#starts.length; index++) {
      const rangeStart = this.#starts[index] as number;
      if (rangeStart >= end) break;
      if (rangeStart > from) found.push([from, rangeStart]);
      from = this.#ends[index] as number;
    }
    if (from < end) found.push([from, end]);
    return found;
  }

  /** The lowest multiple of `alignment` at which `length` bytes are all in the set, or -1. */
  firstFit(length: number, alignment: number): number {
    for (let index = 0; index < this.#starts.length; index++) {
      const start = alignUp(this.#starts[index] as number, alignment);
      if (start + length <= (this.#ends[index] as number)) return start;
    }
    return -1;
  }

  /** The length of the longest range; 0 when the set is empty. */
  longest(): number {
    let longest = 0;
    for (let index = 0; index < this.#starts.length; index++) {
      longest = Math.max(longest, (this.#ends[index] as number) - (this.#starts[index] as number));
    }
    return longest;
  }

  /** The index of the first range that ends at `value` or behind it. */
  #firstEndingAt(value: number): number {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ends[middle] as number) < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
