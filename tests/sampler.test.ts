/**
 * Which calls are chosen: how many, how far apart, and the same ones for the same seed.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { randomSeed, Sampler } from "../src/sampler.ts";

/** Which of the first `count` calls are chosen. */
function chosen(rate: number, seed: number, count: number): number[] {
  const sampler = new Sampler(rate, seed);
  const calls: number[] = [];
  for (let call = 0; call < count; call++) if (sampler.next()) calls.push(call);
  return calls;
}

describe("Sampler", () => {
  it("next() chooses every call when the rate is 1", () => {
    assertEquals(chosen(1, 7, 100).length, 100);
  });

  it("next() chooses one in N on average", () => {
    for (const rate of [2, 3, 10, 100]) {
      for (const seed of [0, 1, 2 ** 32 - 1]) {
        const count = chosen(rate, seed, rate * 10_000).length;
        // The distance has a standard deviation of about 0.58 N, so 10,000 of them are within 3 % with near certainty.
        assert(Math.abs(count - 10_000) < 300, `${count} of ${rate * 10_000} at rate ${rate} and seed ${seed}`);
      }
    }
  });

  it("next() never waits for 2N calls, and draws every distance", () => {
    const calls = chosen(4, 3, 100_000);
    const distances = new Set(calls.slice(1).map((call, i) => call - calls[i]!));
    assertEquals([...distances].sort((a, b) => a - b), [1, 2, 3, 4, 5, 6, 7]);
  });

  it("next() follows the seed, and neighbouring seeds have nothing in common", () => {
    assertEquals(chosen(5, 42, 1000), chosen(5, 42, 1000));
    assertNotEquals(chosen(5, 42, 1000), chosen(5, 43, 1000));
    assertNotEquals(chosen(5, 0, 1000), chosen(5, 1, 1000));
  });

  it("next() works at the highest rate", () => {
    assert(chosen(2 ** 30, 1, 1000).length <= 1);
  });
});

describe("randomSeed()", () => {
  it("gives 32 bits, and not the same each time", () => {
    const seeds = Array.from({ length: 20 }, randomSeed);
    assert(seeds.every((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32));
    assert(new Set(seeds).size > 1);
  });
});
