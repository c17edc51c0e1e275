/**
 * Steps that are all taken, and what becomes of what they throw.
 *
 * @module
 */
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { afterEach, describe, it } from "@std/testing/bdd";
import { CorruptionError, setViolationHook } from "../mod.ts";
import { attemptAll, Attempts, reportAll } from "../src/attempts.ts";

afterEach(() => void setViolationHook());

describe("attemptAll()", () => {
  it("takes every step, and throws the first error when none is a corruption", () => {
    const taken: number[] = [];
    const [first, second] = [new Error("first"), new Error("second")];
    const fail = (error: Error, step: number) => () => {
      taken.push(step);
      throw error;
    };
    const thrown = assertThrows(() => attemptAll(fail(first, 1), () => void taken.push(2), fail(second, 3)));
    assertStrictEquals(thrown, first);
    assertEquals(taken, [1, 2, 3]);
    attemptAll();
    attemptAll(() => {});
  });

  it("throws one corruption as it is, and several errors in one", () => {
    const byte = { address: 4096, offset: 1, expected: 2, found: 3 };
    const [other, corruption] = [new RangeError("no"), new CorruptionError("Cannot free 0x1000: no", byte)];
    const fail = (error: Error) => () => {
      throw error;
    };
    assertStrictEquals(assertThrows(() => attemptAll(fail(corruption))), corruption);
    const all = assertThrows(() => attemptAll(fail(other), fail(corruption)), CorruptionError, "and 1 more");
    assertEquals(all.byte, byte);
    assertEquals((all.cause as AggregateError).errors, [other, corruption]);
  });
});

describe("reportAll()", () => {
  it("gives every violation to the hook, whatever the hook does, and then takes the step", () => {
    const violations = [1, 2, 3].map((n) => new CorruptionError(`Cannot ${n}: no`));
    const seen: unknown[] = [];
    setViolationHook((violation) => void seen.push(violation));
    reportAll(violations, () => void seen.push("step"));
    assertEquals(seen, [...violations, "step"]);
    setViolationHook((violation) => {
      seen.push(violation);
      throw violation;
    });
    assertThrows(() => reportAll(violations, () => void seen.push("step")), CorruptionError, "and 2 more");
    assertEquals(seen.length, 8);
  });
});

describe("Attempts.end()", () => {
  it("throws nothing when nothing was thrown", () => {
    const attempts = new Attempts();
    attempts.make(() => {});
    attempts.report([]);
    attempts.end();
  });
});
