/**
 * Chooses one in N, at random: which allocations of a program are guarded.
 *
 * Not each one is decided by a throw of dice; instead the distance to the next is drawn, from 1 to 2N - 1, so that all
 * but one in N cost a decrement.
 *
 * @module
 */

/** One in `rate` calls of {@link Sampler.next}, on average, is the one. */
export class Sampler {
  readonly #span: number;
  #state: number;
  #distance: number;

  /**
   * `rate` is a whole number from 1 to 2^30; 1 means every call. The same `seed`, of 32 bits, gives the same choice.
   */
  constructor(rate: number, seed: number) {
    this.#span = rate * 2 - 1;
    this.#state = scramble(seed);
    this.#distance = this.#draw();
  }

  /** Whether this is the one. Constant time. */
  next(): boolean {
    if (--this.#distance > 0) return false;
    this.#distance = this.#draw();
    return true;
  }

  /** From 1 to `#span`, by xorshift (Marsaglia's 13, 17, 5) on a state that is never 0. */
  #draw(): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return 1 + (state >>> 0) % this.#span;
  }
}

/** Spreads the bits of a seed, so that neighbouring seeds have nothing in common; never 0. */
function scramble(seed: number): number {
  let state = Math.imul(seed ^ (seed >>> 16), 0x45d9f3b);
  state = Math.imul(state ^ (state >>> 16), 0x45d9f3b);
  state ^= state >>> 16;
  return state === 0 ? 1 : state;
}

/** A seed that nobody can foresee. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
