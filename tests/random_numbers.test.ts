/**
 * The generator behind random placement: the cipher's published blocks, even numbers, and seeds.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { chachaBlock, RandomNumbers } from "../src/random_numbers.ts";

/** Numbers below `count` from a stream. */
function draw(numbers: RandomNumbers, count: number, length: number): number[] {
  return Array.from({ length }, () => numbers.below(count));
}

/** A block of keystream as hexadecimal bytes. */
function hexBlock(state: Int32Array, rounds: number): string {
  const block = new Int32Array(16);
  chachaBlock(state, block, rounds);
  const bytes = new DataView(block.buffer);
  for (let word = 0; word < 16; word++) bytes.setInt32(word * 4, block[word]!, true);
  return [...new Uint8Array(block.buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The words at the start of every state. */
const CONSTANTS = [0x61707865, 0x3320646e, 0x79622d32, 0x6b206574];

describe("chachaBlock()", () => {
  it("gives the block of RFC 8439, section 2.3.2, with 20 rounds", () => {
    const state = new Int32Array(16);
    state.set(CONSTANTS);
    for (let word = 0; word < 8; word++) state[4 + word] = 0x03020100 + word * 0x04040404;
    state.set([1, 0x09000000, 0x4a000000, 0], 12);
    assertEquals(
      hexBlock(state, 20),
      "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e" +
        "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
    );
  });

  it("gives the known first block of an empty key with 8 rounds", () => {
    const state = new Int32Array(16);
    state.set(CONSTANTS);
    assert(hexBlock(state, 8).startsWith("3e00ef2f895f40d67f5bb8e81f09a5a12c840ec3ce9a7f3b181be188ef711a1e"));
  });
});

describe("RandomNumbers", () => {
  it("below() gives every number equally often", () => {
    for (const count of [1, 2, 3, 7, 16, 1000]) {
      const numbers = new RandomNumbers(count);
      const seen = new Array<number>(count).fill(0);
      const each = 400;
      for (let i = 0; i < count * each; i++) seen[numbers.below(count)]!++;
      // The sum of squared deviations is chi-squared distributed: above 6 standard deviations once in 10^9 seeds.
      const chi = seen.reduce((sum, n) => sum + (n - each) ** 2 / each, 0);
      assert(chi <= count - 1 + 6 * Math.sqrt(2 * count), `${chi} for ${count} numbers`);
    }
  });

  it("below() reaches both ends of the largest range", () => {
    const numbers = new RandomNumbers(5);
    const drawn = draw(numbers, 65536, 1_000_000);
    assertEquals([Math.min(...new Set(drawn)), Math.max(...new Set(drawn))], [0, 65535]);
  });

  it("the same seed gives the same stream, another seed another one", () => {
    const stream = draw(new RandomNumbers(2 ** 40 + 1), 65536, 100);
    assertEquals(draw(new RandomNumbers(2 ** 40 + 1), 65536, 100), stream);
    for (const seed of [1, 2 ** 40, 2 ** 40 + 2]) assertNotEquals(draw(new RandomNumbers(seed), 65536, 100), stream);
  });

  it("without a seed every stream is another one", () => {
    assertNotEquals(draw(new RandomNumbers(), 65536, 20), draw(new RandomNumbers(), 65536, 20));
  });

  it("a stream does not repeat from block to block", () => {
    const numbers = new RandomNumbers(1);
    const blocks = Array.from({ length: 1000 }, () => draw(numbers, 65536, 32).join());
    assertEquals(new Set(blocks).size, 1000);
  });

  it("refuses a seed that is no whole number", () => {
    assertThrows(() => new RandomNumbers(0.5), RangeError, "Cannot use 0.5 as seed");
    assertThrows(() => new RandomNumbers("1" as unknown as number), TypeError, 'Cannot use "1" as seed');
  });
});
