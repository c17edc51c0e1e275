/**
 * Random numbers for loads: the same in every run, and the same as native/measure.h makes from the same seed.
 *
 * Loops that are measured write the three steps out instead: there a call for each number would be part of the figure.
 *
 * @module
 */

/** Marsaglia's generator with 32 bits of state. */
export class Xorshift {
  #state: number;

  /** @param stream Different numbers for each: of a worker, of a table. */
  constructor(stream = 0) {
    this.#state = 0x9e3779b9 ^ Math.imul(stream, 0x85ebca6b);
  }

  /** From 1 to 2^32 - 1. */
  next(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return state >>> 0;
  }

  /** From 0 to `bound - 1`, by the upper bits. */
  below(bound: number): number {
    return Math.floor(this.next() * (bound / 2 ** 32));
  }

  /** So many from `least` to `most`, by the lower bits. */
  table(length: number, least: number, most: number): Int32Array {
    return Int32Array.from({ length }, () => least + this.next() % (most - least + 1));
  }
}
