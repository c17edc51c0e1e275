/**
 * The adapters in tests/support/ that stand in for `@std/assert` and `@std/testing/bdd`: a test library that lets a
 * wrong result pass would make every other test worthless, so each assertion is seen to fail here.
 *
 * What failed assertions throw is caught by hand, not by `assertThrows`, which is itself on trial.
 *
 * @module
 */
import {
  assert,
  assertAlmostEquals,
  assertArrayIncludes,
  assertEquals,
  assertExists,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  AssertionError,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  fail,
  unreachable,
} from "@std/assert";
import { afterAll, afterEach, beforeAll, beforeEach, describe, it } from "@std/testing/bdd";

/** The message of the `AssertionError` that `fn` throws. */
function failure(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    if (error instanceof AssertionError) return error.message;
    throw error;
  }
  throw new Error(`Expected an AssertionError from ${fn}`);
}

/** The message of the `AssertionError` that `fn` rejects with. */
async function rejection(fn: () => Promise<unknown>): Promise<string> {
  try {
    await fn();
  } catch (error) {
    if (error instanceof AssertionError) return error.message;
    throw error;
  }
  throw new Error(`Expected an AssertionError from ${fn}`);
}

function throwError(error: unknown): () => never {
  return () => {
    throw error;
  };
}

describe("the @std/assert adapter", () => {
  it("assert() fails on falsy values only", () => {
    for (const value of [1, "a", {}, [], true, 1n]) assert(value);
    for (const value of [0, "", null, undefined, false, NaN, 0n]) failure(() => assert(value));
    assertEquals(failure(() => assert(false, "why")), "why");
  });

  it("assertFalse(), assertExists(), fail() and unreachable() fail when they must", () => {
    assertFalse(0);
    failure(() => assertFalse(1));
    assertExists(0);
    failure(() => assertExists(null));
    failure(() => assertExists(undefined));
    assertStringIncludes(failure(() => fail("why")), "why");
    assertStringIncludes(failure(() => unreachable("why")), "why");
  });

  it("assertEquals() compares in depth, with 0 equal to -0", () => {
    const same: [unknown, unknown][] = [
      [1, 1],
      [NaN, NaN],
      [0, -0],
      [{ a: [0, { b: "x" }] }, { a: [-0, { b: "x" }] }],
      [{ a: 1, b: 2 }, { b: 2, a: 1 }],
      [new Map([[1, { a: 1 }]]), new Map([[1, { a: 1 }]])],
      [new Set([1, 2]), new Set([2, 1])],
      [new Date(5), new Date(5)],
      [new Uint8Array([1, 2]), new Uint8Array([1, 2])],
      [new Float64Array([NaN, 0]), new Float64Array([NaN, -0])],
      [new Uint8Array(new ArrayBuffer(8), 4, 2), new Uint8Array(2)],
    ];
    for (const [a, b] of same) {
      assertEquals(a, b);
      failure(() => assertNotEquals(a, b));
    }
    const different: [unknown, unknown][] = [
      [1, 2],
      [1, "1"],
      [null, undefined],
      [{}, null],
      [[1], [1, 2]],
      [[], {}],
      [{ a: 1 }, { a: 1, b: undefined }],
      [{ a: 1, b: undefined }, { a: 1, c: undefined }],
      [new Map([[1, 1]]), new Map([[1, 2]])],
      [new Set([1]), new Set([2])],
      [new Date(5), new Date(6)],
      [new Uint8Array([1, 2]), new Uint8Array([1, 3])],
      [new Uint8Array([1]), new Uint8Array([1, 2])],
      [new Uint8Array([1]), new Int8Array([1])],
      [new Error("a"), new Error("b")],
    ];
    for (const [a, b] of different) {
      assertNotEquals(a, b);
      assertStringIncludes(failure(() => assertEquals(a, b, "why")), "why");
    }
  });

  it("assertStrictEquals() compares by Object.is", () => {
    const object = {};
    assertStrictEquals(object, object);
    assertStrictEquals(NaN, NaN);
    failure(() => assertStrictEquals({}, {}));
    failure(() => assertStrictEquals<unknown>(1, "1"));
    failure(() => assertStrictEquals(0, -0));
    assertNotStrictEquals({}, {});
    failure(() => assertNotStrictEquals(object, object));
  });

  it("comparisons fail on the wrong side of their bound, and on NaN", () => {
    assertGreater(2, 1);
    failure(() => assertGreater(1, 1));
    failure(() => assertGreater(NaN, 1));
    assertGreaterOrEqual(1, 1);
    failure(() => assertGreaterOrEqual(0, 1));
    assertLess(1n, 2n);
    failure(() => assertLess(1, 1));
    failure(() => assertLess(NaN, 1));
    assertLessOrEqual(1, 1);
    failure(() => assertLessOrEqual(2, 1));
    failure(() => assertLessOrEqual(NaN, 1));
  });

  it("assertAlmostEquals() allows the tolerance and no more", () => {
    assertAlmostEquals(1, 1 + 1e-8);
    failure(() => assertAlmostEquals(1, 1 + 1e-6));
    assertAlmostEquals(10, 11, 1);
    failure(() => assertAlmostEquals(10, 11.01, 1));
    failure(() => assertAlmostEquals(NaN, 1, 1));
  });

  it("assertStringIncludes(), assertMatch() and assertArrayIncludes() fail when nothing matches", () => {
    assertStringIncludes("abc", "b");
    failure(() => assertStringIncludes("abc", "d"));
    assertMatch("abc", /^a.c$/);
    failure(() => assertMatch("abd", /^a.c$/));
    assertArrayIncludes([1, { a: 1 }, 3], [{ a: 1 }, 3]);
    failure(() => assertArrayIncludes([1, 2], [1, 3]));
  });

  it("assertInstanceOf() fails on another class", () => {
    const value: unknown = new RangeError("r");
    assertInstanceOf(value, Error);
    assertStrictEquals(value.message, "r");
    failure(() => assertInstanceOf(value, TypeError));
    failure(() => assertInstanceOf(null, Error));
  });

  it("assertThrows() fails when nothing is thrown", () => {
    assertStringIncludes(failure(() => assertThrows(() => 1)), "to throw");
    failure(() => assertThrows(() => 1, Error));
    assertStringIncludes(failure(() => assertThrows(() => 1, "why")), "why");
  });

  it("assertThrows() fails on another class or message, and returns the error", () => {
    const error = new RangeError("size -1");
    assertStrictEquals(assertThrows(throwError(error)), error);
    assertStrictEquals(assertThrows(throwError("text")), "text");
    assertStrictEquals(assertThrows(throwError(error), RangeError).message, "size -1");
    assertStrictEquals(assertThrows(throwError(error), Error, "-1"), error);
    failure(() => assertThrows(throwError(error), TypeError));
    failure(() => assertThrows(throwError(error), RangeError, "-2"));
    failure(() => assertThrows(throwError("text"), Error));
  });

  it("assertRejects() fails when the function throws, resolves, or rejects with another class or message", async () => {
    const error = new RangeError("size -1");
    assertStrictEquals(await assertRejects(() => Promise.reject(error)), error);
    assertStrictEquals(await assertRejects(() => Promise.reject(error), RangeError, "-1"), error);
    await rejection(() => assertRejects(() => Promise.resolve(1)));
    await rejection(() => assertRejects(throwError(error)));
    await rejection(() => assertRejects(() => Promise.reject(error), TypeError));
    await rejection(() => assertRejects(() => Promise.reject(error), RangeError, "-2"));
    await rejection(() => assertRejects(() => Promise.reject("text"), Error));
  });
});

describe("the @std/testing/bdd adapter", () => {
  const log: string[] = [];

  describe("a group with hooks", () => {
    beforeAll(() => void log.push("beforeAll"));
    beforeEach(async () => {
      await Promise.resolve();
      log.push("beforeEach");
    });
    afterEach(() => void log.push("afterEach"));
    afterAll(() => void log.push("afterAll"));

    it("runs a first test", () => void log.push("first"));

    describe("a group within", () => {
      beforeAll(() => void log.push("inner beforeAll"));
      beforeEach(() => void log.push("inner beforeEach"));
      afterEach(() => void log.push("inner afterEach"));
      afterAll(() => void log.push("inner afterAll"));

      it("runs a second test", { sanitizeOps: true }, async () => {
        await Promise.resolve();
        log.push("second");
      });
    });

    it("runs a third test", () => void log.push("third"));
  });

  it("ran the hooks of both groups in order", () => {
    assertEquals(log, [
      ...["beforeAll", "beforeEach", "first", "afterEach"],
      ...["inner beforeAll", "beforeEach", "inner beforeEach", "second", "inner afterEach", "afterEach"],
      "inner afterAll",
      ...["beforeEach", "third", "afterEach", "afterAll"],
    ]);
  });
});
