/**
 * Numbers that nobody can foretell, for the order in which a secure heap hands out slots.
 *
 * The generator is ChaCha with 8 rounds, keyed once from `crypto.getRandomValues` (or from a seed, for tests that must
 * come out the same again). A plain generator would not do: the addresses that a program sees tell its low bits, and from
 * some hundred of those its state, and with it every later place, can be computed.
 *
 * ```text
 *   word    0 .......... 3   4 ........................ 11   12 ........ 13   14 ... 15
 *         ┌────────────────┬───────────────────────────────┬────────────────┬──────────┐
 *         │ "expand 32-byte│ key                           │ block counter  │ 0        │
 *         │  k"            │                               │                │          │
 *         └────────────────┴───────────────────────────────┴────────────────┴──────────┘
 * ```
 *
 * Each block of keystream is 16 words, given out as 32 halves. Cost: some 10 ns a number.
 *
 * @module
 */
import { assertSize } from "./arguments.ts";

/** "expand 32-byte k" in little-endian words: what the cipher starts every block with. */
const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];

/** Words of the key. */
const KEY_WORDS = 8;

/** Where in the state the block counter is; its upper word follows. */
const COUNTER = 12;

/** Rounds for each block. No attack on more than 7 is known, and nothing is encrypted here. */
const ROUNDS = 8;

/** What one half of a word can be. */
const HALVES = 65536;

/** A stream of unforeseeable numbers. */
export class RandomNumbers {
  readonly #state = new Int32Array(16);
  readonly #words = new Int32Array(16);
  readonly #halves = new Uint16Array(this.#words.buffer);
  #next: number = this.#halves.length;

  /**
   * Starts a stream.
   *
   * @param seed A whole number for a stream that can be had again. @defaultValue 256 bits of the runtime's own entropy
   */
  constructor(seed?: number) {
    this.#state.set(CONSTANTS);
    const key = this.#state.subarray(CONSTANTS.length, CONSTANTS.length + KEY_WORDS);
    if (seed === undefined) {
      crypto.getRandomValues(key);
    } else {
      assertSize(seed, "seed");
      key[0] = seed;
      key[1] = Math.floor(seed / 2 ** 32);
    }
  }

  /** A number from 0 to `count` - 1, each as likely as any other. `count` is from 1 to 65536. */
  below(count: number): number {
    // The upper half of the product is the result. Products whose lower half is among the first 65536 % count would make
    // some results likelier than others: they are drawn again.
    for (;;) {
      const product = this.#half() * count;
      const low = product % HALVES;
      if (low >= count || low >= HALVES % count) return Math.floor(product / HALVES);
    }
  }

  #half(): number {
    if (this.#next === this.#halves.length) {
      chachaBlock(this.#state, this.#words, ROUNDS);
      const counter = this.#state[COUNTER]! + 1 | 0;
      this.#state[COUNTER] = counter;
      if (counter === 0) this.#state[COUNTER + 1] = this.#state[COUNTER + 1]! + 1;
      this.#next = 0;
    }
    return this.#halves[this.#next++]!;
  }
}

/** Writes the block of keystream that `state` stands for to `block`: ChaCha of `rounds` rounds, an even number. */
export function chachaBlock(state: Int32Array, block: Int32Array, rounds: number): void {
  block.set(state);
  for (let round = 0; round < rounds; round += 2) {
    for (let column = 0; column < 4; column++) quarterRound(block, column, column + 4, column + 8, column + 12);
    for (let column = 0; column < 4; column++) {
      quarterRound(block, column, 4 + ((column + 1) & 3), 8 + ((column + 2) & 3), 12 + ((column + 3) & 3));
    }
  }
  for (let word = 0; word < 16; word++) block[word] = block[word]! + state[word]!;
}

function quarterRound(words: Int32Array, a: number, b: number, c: number, d: number): void {
  let wa = words[a]!;
  let wb = words[b]!;
  let wc = words[c]!;
  let wd = words[d]!;
  wa = (wa + wb) | 0;
  wd = rotate(wd ^ wa, 16);
  wc = (wc + wd) | 0;
  wb = rotate(wb ^ wc, 12);
  wa = (wa + wb) | 0;
  wd = rotate(wd ^ wa, 8);
  wc = (wc + wd) | 0;
  wb = rotate(wb ^ wc, 7);
  words[a] = wa;
  words[b] = wb;
  words[c] = wc;
  words[d] = wd;
}

function rotate(word: number, bits: number): number {
  return (word << bits) | (word >>> (32 - bits));
}
