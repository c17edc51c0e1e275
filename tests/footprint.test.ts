/**
 * When free memory is given back before more is touched: the rules, without any memory.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Footprint } from "../src/footprint.ts";

describe("Footprint", () => {
  it("a heap of up to 128 KiB is let alone", () => {
    const footprint = new Footprint();
    assertEquals(footprint.excess(32, 32), 0);
    assertEquals(footprint.excess(33, 32), 1 + 32);
  });

  it("what is spare must be a sixteenth of what is resident, and 128 KiB", () => {
    assertEquals([31, 32].map((spare) => new Footprint().excess(500, spare) > 0), [false, true]);
    assertEquals([625, 626].map((spare) => new Footprint().excess(10_016, spare) > 0), [false, true]);
  });

  it("a heap that gave memory back may grow by a thirty-second, or 128 KiB", () => {
    const footprint = new Footprint();
    footprint.gaveBack(10_000, 9_600);
    assertEquals(footprint.most, 9_900);
    const small = new Footprint();
    small.gaveBack(100, 90);
    assertEquals(small.most, 122);
  });

  it("an eighth of what was given back may stay the next time, so that turns between two needs end", () => {
    const footprint = new Footprint();
    let turns = 0;
    // A thousand units are always needed; five hundred of one kind in turns with five hundred of another.
    for (let excess = footprint.excess(2_000, 500); excess > 0; excess = footprint.excess(2_000, 500)) {
      footprint.gaveBack(2_000, 2_000 - Math.min(excess, 500));
      turns++;
      assert(turns < 100, `most is ${footprint.most} after ${turns} turns`);
    }
    assert(turns > 2 && turns < 20, `${turns} turns`);
  });

  it("what is needed is not looked at again", () => {
    const footprint = new Footprint();
    assertEquals(footprint.excess(1_000, 10), 0);
    assertEquals(footprint.most, 990);
    assertEquals(footprint.excess(990, 500), 0);
    assertEquals(footprint.excess(991, 500), 1 + 32);
  });

  it("partial pages are looked at again after a sixty-fourth of growth, or 32 KiB", () => {
    const footprint = new Footprint();
    assert(footprint.isWorthLooking(33), "the first time");
    footprint.looked(700, 640);
    assertEquals([649, 650].map((resident) => footprint.isWorthLooking(resident)), [false, true]);
    footprint.looked(110, 100);
    assertEquals([107, 108].map((resident) => footprint.isWorthLooking(resident)), [false, true]);
  });

  it("an eighth of what partial pages gave back may come again", () => {
    const footprint = new Footprint();
    assertEquals(footprint.excess(1_000, 10), 0);
    footprint.looked(1_000, 920);
    assertEquals(footprint.most, 990 + 10);
    assertEquals(footprint.excess(1_000, 500), 0);
  });

  it("what a heap gave back as it shrank may come again", () => {
    const footprint = new Footprint();
    footprint.excess(1_000, 0);
    footprint.shrank(500);
    assertEquals(footprint.excess(1_500, 500), 0);
  });
});
