/**
 * What is known of how far large blocks grow.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Growth } from "../src/growth.ts";

/** The room of a block that is placed. */
function place(growth: Growth, count: number): number {
  const room = growth.roomFor(count);
  growth.placed(count);
  return room;
}

describe("Growth", () => {
  it("knows nothing at first", () => {
    const growth = new Growth();
    assertEquals([1, 50, 1024].map((count) => growth.roomFor(count)), [1, 50, 1024]);
  });

  it("gives the next sixteen blocks of a length the room that the last one needed", () => {
    const growth = new Growth();
    growth.grew(50, 101);
    const rooms = Array.from({ length: 18 }, () => place(growth, 50));
    assertEquals(rooms, [...Array.from({ length: 16 }, () => 101), 50, 50]);
    assertEquals([growth.roomFor(49), growth.roomFor(51)], [49, 51], "and no other");
  });

  it("does not count blocks that found no place", () => {
    const growth = new Growth();
    growth.grew(50, 101);
    for (let i = 0; i < 20; i++) growth.roomFor(50);
    assertEquals(growth.roomFor(50), 101);
    growth.placed(50);
    assertEquals(Array.from({ length: 16 }, () => place(growth, 50)).at(-1), 50);
    growth.placed(7);
    assertEquals(growth.roomFor(7), 7);
  });

  it("goes on as long as some of them grow", () => {
    const growth = new Growth();
    growth.grew(50, 101);
    for (let round = 0; round < 100; round++) {
      assertEquals(growth.roomFor(50), round === 0 ? 101 : 60 + round - 1);
      for (let i = 0; i < 10; i++) place(growth, 50);
      growth.grew(50, 60 + round);
    }
  });

  it("takes lengths above 64 units together as the bins do, and gives no less than the length", () => {
    const growth = new Growth();
    growth.grew(128, 140);
    assertEquals([128, 150, 159, 160].map((count) => place(growth, count)), [140, 150, 159, 160]);
  });
});
