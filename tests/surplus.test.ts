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

/** The free memory of a range, and what decides on it. */
class Memory {
  readonly surplus = new Surplus();
  /** Units that are free. */
  free = 0;
  /** Those of them that were written. */
  written = 0;
  /** Units that were given back, ever. */
  given = 0;

  take(units: number): void {
    const fresh = Math.max(0, units - this.written);
    this.written -= units - fresh;
    this.free = Math.max(0, this.free - units);
    this.surplus.taken(units, fresh, this.written);
  }

  /** Frees units; so many of those that are written cannot be given back. */
  release(units: number, used: number, stuck = 0): void {
    this.free += units;
    this.written += units;
    if (!this.surplus.isExcessive(used, this.written)) return;
    const left = Math.min(stuck, this.written);
    this.given += this.written - left;
    this.surplus.discarded(this.written, left, this.free);
    this.written = left;
  }
}

/** Takes and frees so many units, 64 at a time, with so many in use beside; how many were given back. */
function burst(memory: Memory, units: number, used = 0): number {
  const before = memory.given;
  for (let taken = 0; taken < units; taken += 64) memory.take(64);
  for (let freed = 0; freed < units; freed += 64) memory.release(64, used);
  return memory.given - before;
}

describe("Surplus", () => {
  it("keeps up to 32 MiB", () => {
    const memory = new Memory();
    for (let i = 0; i < 10; i++) assertEquals(burst(memory, mebibytes(32)), 0);
  });

  it("keeps half of what is in use", () => {
    const memory = new Memory();
    assertEquals(burst(memory, mebibytes(100), mebibytes(200)), 0);
    assert(burst(memory, mebibytes(120), mebibytes(10)) > mebibytes(64));
  });

  it("gives a first burst back, and keeps the second", () => {
    for (const mib of [40, 100, 250]) {
      const memory = new Memory();
      assert(burst(memory, mebibytes(mib)) >= mebibytes(32), `${mib} MiB`);
      for (let i = 0; i < 10; i++) assertEquals(burst(memory, mebibytes(mib)), 0, `${mib} MiB`);
    }
  });

  it("gives a burst back again when less than half of it was needed in between", () => {
    const memory = new Memory();
    burst(memory, mebibytes(200));
    for (let i = 0; i < 3; i++) {
      memory.take(mebibytes(20));
      memory.release(mebibytes(20), 0);
    }
    const given = memory.given;
    memory.release(mebibytes(60), 0);
    assert(memory.given - given >= mebibytes(32), "it was kept");
  });

  it("does not ask again and again for what could not be given back", () => {
    const memory = new Memory();
    memory.take(mebibytes(100));
    memory.release(mebibytes(50), 0, mebibytes(50));
    assertEquals(memory.given, 0);
    assert(!memory.surplus.isExcessive(0, mebibytes(50) + mebibytes(32)), "32 MiB more are kept as always");
    assert(memory.surplus.isExcessive(0, mebibytes(50) + mebibytes(33)));
    // Once it was used, it counts as all other.
    memory.take(mebibytes(50));
    assert(memory.surplus.isExcessive(0, mebibytes(33)));
  });

  it("never keeps more than 256 MiB beside little in use", () => {
    const memory = new Memory();
    for (let i = 0; i < 20; i++) assert(burst(memory, mebibytes(600)) >= mebibytes(256), `round ${i}`);
  });

  it("gives back what lies idle while other memory comes and goes", () => {
    const memory = new Memory();
    for (let i = 0; i < 6; i++) burst(memory, mebibytes(200));
    assertEquals(burst(memory, mebibytes(200)), 0);
    let given = 0;
    for (let i = 0; i < 5000 && given === 0; i++) given = burst(memory, mebibytes(4));
    assert(given > 0, "it is kept for ever");
  });
});
