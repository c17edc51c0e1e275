/**
 * Pseudo-random numbers that a seed fixes for ever, on every runtime: xoshiro128** (Blackman and Vigna) on four 32-bit
 * words, seeded by splitmix32. Not for secrets.
 *
 * @module
 */

/** A generator. Two of the same seed give the same numbers for ever. */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** Any number will do as a seed; its low 53 bits count. */
  constructor(seed: number) {
    const state = new Splitmix32(seed % 2 ** 32, Math.floor(seed / 2 ** 32));
    this.#a = state.next();
    this.#b = state.next();
    this.#c = state.next();
    this.#d = state.next() | 1; // the one state that is forbidden is all zero
  }

  /** The next number, from 0 to 2^32 - 1. */
  next(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** A whole number from 0 to `bound` - 1; `bound` is at most 2^32. */
  below(bound: number): number {
    return Math.floor((this.next() / 2 ** 32) * bound);
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True with a probability of `percent` in 100. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  /** Puts an array in random order, in place. */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const swapped = items[i] as T;
      items[i] = items[j] as T;
      items[j] = swapped;
    }
    return items;
  }
}

/** Spreads a seed over the state, so that near seeds give far sequences. */
class Splitmix32 {
  #state: number;

  constructor(low: number, high: number) {
    this.#state = (low ^ Math.imul(high, 0x9e3779b1)) | 0;
  }

  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let mixed = this.#state ^ (this.#state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  }
}
