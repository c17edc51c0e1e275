/**
 * Listens to `SharedMoves` while public methods are called, so that a test knows which way was taken.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { type Address, InvalidFreeError } from "../../mod.ts";
import { SharedMoves } from "../../src/shared_moves.ts";

/** Calls `call`, and says whether the short ways were asked and have answered: "short", "general", or "not asked". */
export function wayOf<T>(call: () => T): { way: string; result: T } {
  const { zeroed, reallocate } = SharedMoves.prototype;
  const answers: Address[] = [];
  const listen = <A extends unknown[]>(method: (this: SharedMoves, ...args: A) => Address) =>
    function (this: SharedMoves, ...args: A): Address {
      // Before the call: what throws has not answered.
      const at = answers.push(0) - 1;
      return answers[at] = method.apply(this, args);
    };
  Object.assign(SharedMoves.prototype, { zeroed: listen(zeroed), reallocate: listen(reallocate) });
  try {
    const result = call();
    return { way: answers.length === 0 ? "not asked" : answers[0] === 0 ? "general" : "short", result };
  } finally {
    Object.assign(SharedMoves.prototype, { zeroed, reallocate });
  }
}

/** The result of a call that takes the short way. */
export function shortly<T>(call: () => T): T {
  const { way, result } = wayOf(call);
  assertEquals(way, "short");
  return result;
}

/** The result of a call that is refused by the short way, and done by the general one. */
export function generally<T>(call: () => T): T {
  const { way, result } = wayOf(call);
  assertEquals(way, "general");
  return result;
}

/** The kind of the `InvalidFreeError` that a call throws which the short ways leave to the general one. */
export function kindOf(call: () => unknown): string {
  return generally(() => assertThrows(call, InvalidFreeError).kind);
}
