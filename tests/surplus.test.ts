/**
 * When free memory goes back, and when it is kept: the rules, without any memory.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Surplus } from "../src/surplus.ts";

/** Units of so many MiB. */
function mebibytes(count: number): number {
  return count * 256;
}

/** Takes and frees so many units, 64 at a time, with so many in use beside; how many were given back. */
function burst(surplus: Surplus, units: number, used = 0): number {
  let given = 0;
  for (let taken = 0; taken < units; taken += 64) surplus.taken(64, false);
  let dirty = 0;
  for (let freed = 0; freed < units; freed += 64) {
    surplus.freed(64);
    dirty += 64;
    if (!surplus.isExcessive(used)) continue;
    surplus.discarded();
    given += dirty;
    dirty = 0;
  }
  return given;
}

describe("Surplus", () => {
  it("keeps up to 32 MiB", () => {
    const surplus = new Surplus();
    for (let i = 0; i < 10; i++) assertEquals(burst(surplus, mebibytes(32)), 0);
  });

  it("keeps half of what is in use", () => {
    const surplus = new Surplus();
    assertEquals(burst(surplus, mebibytes(100), mebibytes(200)), 0);
    assert(burst(surplus, mebibytes(120), mebibytes(10)) > mebibytes(64));
  });

  it("gives a first burst back, and learns to keep what is needed again", () => {
    for (const [mib, rounds] of [[40, 2], [100, 3], [250, 4]] as const) {
      const surplus = new Surplus();
      assert(burst(surplus, mebibytes(mib)) >= mebibytes(32), `${mib} MiB`);
      for (let i = 1; i < rounds; i++) burst(surplus, mebibytes(mib));
      for (let i = 0; i < 10; i++) assertEquals(burst(surplus, mebibytes(mib)), 0, `${mib} MiB`);
    }
  });

  it("never keeps more than 256 MiB beside little in use", () => {
    const surplus = new Surplus();
    for (let i = 0; i < 20; i++) assert(burst(surplus, mebibytes(600)) >= mebibytes(256), `round ${i}`);
  });

  it("gives back what lies idle while other memory comes and goes", () => {
    const surplus = new Surplus();
    for (let i = 0; i < 6; i++) burst(surplus, mebibytes(200));
    assertEquals(burst(surplus, mebibytes(200)), 0);
    let given = 0;
    for (let i = 0; i < 5000 && given === 0; i++) given = burst(surplus, mebibytes(4));
    assert(given > 0, "it is kept for ever");
  });
});
