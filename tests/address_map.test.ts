/**
 * `AddressMap` against a `Map`.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { AddressMap } from "../src/address_map.ts";
import { Prng } from "./support/prng.ts";

const BASE = 0x7f12_3450_0000;

describe("AddressMap", () => {
  it("agrees with a Map at every step, growing and shrinking", () => {
    for (const seed of [1, 2, 3]) {
      const random = new Prng(seed);
      const map = new AddressMap<number>();
      const model = new Map<number, number>();
      // Strides at which the addresses of one page, of many pages and of many GiB lie; and few enough that all come again.
      const stride = [16, 65_536, 2 ** 33][seed % 3]!;
      for (let turn = 0; turn < 30_000; turn++) {
        const address = BASE + random.below(600) * stride;
        const chance = turn % 6000 < 3000 ? 70 : 25;
        if (random.below(100) < chance) {
          map.set(address, turn);
          model.set(address, turn);
        } else {
          assertEquals(map.delete(address), model.get(address), `seed ${seed}, turn ${turn}`);
          model.delete(address);
        }
        const other = BASE + random.below(600) * stride;
        if (map.get(other) !== model.get(other) || map.size !== model.size) {
          throw new Error(`seed ${seed}, turn ${turn}: ${map.get(other)} instead of ${model.get(other)}`);
        }
      }
      assertEquals(map.values().sort(), [...model.values()].sort());
      for (const [address, value] of model) assertEquals(map.delete(address), value);
      assertEquals([map.size, map.values()], [0, []]);
    }
  });

  it("holds values that are undefined-like, and addresses that are not multiples of 16", () => {
    const map = new AddressMap<number | null>();
    for (let address = 1; address < 100; address++) map.set(address, address % 3 === 0 ? null : 0);
    assertEquals([map.size, map.get(3), map.get(4), map.get(100)], [99, null, 0, undefined]);
    map.clear();
    assertEquals([map.size, map.get(3), map.delete(3)], [0, undefined, undefined]);
  });

  it("finds nothing at what is no address", () => {
    const map = new AddressMap<string>();
    map.set(16, "a");
    for (const address of [0, -16, NaN, Infinity, 16.5, 2 ** 60]) {
      assertEquals([map.get(address), map.delete(address)], [undefined, undefined]);
    }
    assertEquals(map.size, 1);
  });

  it("values() can be had while they are removed", () => {
    const map = new AddressMap<number>();
    for (let i = 1; i <= 50; i++) map.set(BASE + i * 64, i);
    for (const i of map.values()) map.delete(BASE + i * 64);
    assert(map.size === 0);
  });
});
