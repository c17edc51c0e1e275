/**
 * The queue of freed blocks beside an array that does the same slowly.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { AddressQueue } from "../src/address_queue.ts";
import { Prng } from "./support/prng.ts";

interface Item {
  readonly address: number;
  readonly number: number;
}

describe("AddressQueue", () => {
  it("does what a list does, whatever is added, found and removed in whatever order", () => {
    for (const seed of [1, 2, 3]) {
      const random = new Prng(seed);
      const queue = new AddressQueue<Item>();
      let list: Item[] = [];
      for (let number = 0; number < 5000; number++) {
        const address = 1 + random.below(60);
        const choice = random.below(10);
        if (choice < 5) {
          const item = { address, number };
          queue.push(item);
          list = [...list.filter((other) => other.address !== address), item];
        } else if (choice < 7) {
          const oldest = queue.oldest();
          assertEquals(oldest, list.shift(), `seed ${seed}, step ${number}`);
          if (oldest !== undefined) queue.delete(oldest.address);
        } else if (choice < 8) {
          const most = Math.max(0, list.length - random.below(3));
          queue.keep(most);
          list = list.slice(list.length - most);
        } else if (choice < 9) {
          queue.delete(address);
          list = list.filter((other) => other.address !== address);
        } else if (number % 500 === 9) {
          queue.clear();
          list = [];
        }
        assertEquals(queue.size, list.length, `seed ${seed}, step ${number}`);
        assertEquals(queue.get(address), list.find((other) => other.address === address));
        if (number % 50 === 0) assertEquals([...queue.values()], list, `seed ${seed}, step ${number}`);
      }
    }
  });

  it("values() shows what was there when it began and still is", () => {
    const queue = new AddressQueue<Item>();
    for (let number = 1; number <= 5; number++) queue.push({ address: number, number });
    const seen: number[] = [];
    for (const { address } of queue.values()) {
      seen.push(address);
      queue.delete(address);
      queue.delete(4);
      if (address < 3) queue.push({ address: address + 10, number: 0 });
    }
    assertEquals(seen, [1, 2, 3, 5]);
    assertEquals([...queue.values()].map(({ address }) => address), [11, 12]);
  });

  it("a queue that stays short stays small, and takes as long for the last record as for the first", () => {
    const queue = new AddressQueue<Item>();
    for (let number = 1; number <= 300_000; number++) {
      queue.push({ address: number, number });
      // Half of them leave at the front, half from the middle.
      if (queue.size > 100) queue.delete(number % 2 === 0 ? queue.oldest()!.address : number - 50);
      assert(queue.size <= 101);
    }
  });
});
