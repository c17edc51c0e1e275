/**
 * Memory that is lent, and recalled by whoever is about to give it back.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { lendMemory, recallMemory } from "../src/lent_memory.ts";

describe("memory that is lent", () => {
  it("is recalled once, by a range that has any of it, and by no other", () => {
    const recalled: number[] = [];
    for (const address of [1000, 2000, 3000]) lendMemory(address, 100, () => void recalled.push(address));
    recallMemory(900, 100);
    recallMemory(1100, 900);
    recallMemory(2100, 900);
    assertEquals(recalled, []);
    recallMemory(1099, 902);
    assertEquals(recalled, [1000, 2000]);
    recallMemory(0, 1e9);
    recallMemory(0, 1e9);
    assertEquals(recalled, [1000, 2000, 3000]);
  });
});
