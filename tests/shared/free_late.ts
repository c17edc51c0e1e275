/**
 * A free that is late: another worker's steps in one thread, between a free's look at a block and its claim.
 *
 * @module
 */
import { assert } from "@std/assert";
import type { Address, SharedHeap } from "../../mod.ts";

/** Frees a block of another's page; between the look at it and its bit, `meanwhile` happens. */
export function freeLate(heap: SharedHeap, address: Address, meanwhile: () => void): void {
  const { or } = Atomics;
  let happened = false;
  Object.assign(Atomics, {
    or(...args: Parameters<typeof or>) {
      Object.assign(Atomics, { or });
      happened = true;
      meanwhile();
      return or.apply(Atomics, args);
    },
  });
  try {
    heap.free(address);
  } finally {
    Object.assign(Atomics, { or });
  }
  assert(happened, "the block was not freed as one of another's page");
}
