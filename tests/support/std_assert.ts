/**
 * Stands in for the part of `@std/assert` that the tests use: same names, same signatures, same verdicts, thin over
 * `node:assert` and `node:util`, which Deno, Bun and Node all have. It exists because `@std/assert` is only on JSR,
 * which closed networks cannot reach, and because Bun and Node cannot load it at all. Where JSR can be reached, the
 * same test files run on the real package unchanged; only the wording of failures differs.
 *
 * @module
 */
import { AssertionError as NodeAssertionError } from "node:assert";
import { inspect, isDeepStrictEqual } from "node:util";

/** A constructor of errors; abstract classes too. */
// deno-lint-ignore no-explicit-any -- a constructor's parameters are contravariant, so nothing else accepts them all
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** What every function here throws when its assertion does not hold. */
export class AssertionError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

function suffix(msg: string | undefined): string {
  return msg ? `: ${msg}` : ".";
}

function show(value: unknown): string {
  return inspect(value, { depth: 6, maxArrayLength: 40, maxStringLength: 400 });
}

/** The message of `node:assert` for two unequal values, which holds a diff. */
function difference(actual: unknown, expected: unknown): string {
  return new NodeAssertionError({ actual, expected, operator: "deepStrictEqual" }).message;
}

/** Asserts that `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** Asserts that `expr` is falsy. */
export function assertFalse(expr: unknown, msg = ""): asserts expr is false | 0 | 0n | "" | null | undefined {
  if (expr) throw new AssertionError(msg);
}

/** Throws. */
export function fail(msg?: string): never {
  throw new AssertionError(`Failed assertion${suffix(msg)}`);
}

/** Throws: for a line that must not be reached. */
export function unreachable(msg?: string): never {
  throw new AssertionError(`Unreachable${suffix(msg)}`);
}

/** Asserts that `actual` is neither `null` nor `undefined`. */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    throw new AssertionError(`Expected a value, got ${actual}${suffix(msg)}`);
  }
}

/**
 * Deep equality as `@std/assert` has it: like `node:util`'s, but `0` equals `-0` and an absent prototype equals
 * `Object.prototype`. Both differences can hide anywhere inside, so arrays and plain objects are walked here, and only
 * what is neither (dates, maps, sets, errors, instances) is left to `node:util`.
 */
function equal(a: unknown, b: unknown): boolean {
  if (a === b || Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) return equalViews(a, b);
  if (!isPlain(a) || !isPlain(b) || Array.isArray(a) !== Array.isArray(b)) return isDeepStrictEqual(a, b);
  if (Array.isArray(a) && Array.isArray(b) && a.length !== b.length) return false;
  const keys = Reflect.ownKeys(a);
  if (keys.length !== Reflect.ownKeys(b).length) return false;
  return keys.every((key) => Object.hasOwn(b, key) && equal(Reflect.get(a, key), Reflect.get(b, key)));
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || prototype === Array.prototype;
}

function equalViews(a: ArrayBufferView, b: ArrayBufferView): boolean {
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof DataView || b instanceof DataView) return isDeepStrictEqual(a, b);
  const left = a as Uint8Array;
  const right = b as Uint8Array;
  if (left.length !== right.length) return false;
  for (let i = 0; i < left.length; i++) {
    if (left[i] !== right[i] && !Object.is(left[i], right[i])) return false;
  }
  return true;
}

/** Asserts that two values are equal, in depth. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  throw new AssertionError(`Values are not equal${suffix(msg)}\n${difference(actual, expected)}`);
}

/** Asserts that two values are not equal, in depth. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) return;
  throw new AssertionError(`Expected actual: ${show(actual)} not to be: ${show(expected)}${suffix(msg)}`);
}

/** Asserts that two values are the same by `Object.is`. */
export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T {
  if (Object.is(actual, expected)) return;
  throw new AssertionError(`Values are not strictly equal${suffix(msg)}\n${difference(actual, expected)}`);
}

/** Asserts that two values are not the same by `Object.is`. */
export function assertNotStrictEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!Object.is(actual, expected)) return;
  throw new AssertionError(`Expected actual to not be strictly equal to: ${show(expected)}${suffix(msg)}`);
}

/** Asserts that two numbers are within `tolerance`, by default 1e-7 of the expected one. */
export function assertAlmostEquals(actual: number, expected: number, tolerance?: number, msg?: string): void {
  if (Object.is(actual, expected)) return;
  const limit = tolerance ?? (Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7);
  const delta = Math.abs(expected - actual);
  if (delta <= limit) return;
  throw new AssertionError(`Expected ${actual} to be close to ${expected}: ${delta} is above ${limit}${suffix(msg)}`);
}

/** Asserts that `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual > expected)) throw new AssertionError(msg ?? `Expect ${show(actual)} > ${show(expected)}`);
}

/** Asserts that `actual >= expected`. */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual >= expected)) throw new AssertionError(msg ?? `Expect ${show(actual)} >= ${show(expected)}`);
}

/** Asserts that `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual < expected)) throw new AssertionError(msg ?? `Expect ${show(actual)} < ${show(expected)}`);
}

/** Asserts that `actual <= expected`. */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (!(actual <= expected)) throw new AssertionError(msg ?? `Expect ${show(actual)} <= ${show(expected)}`);
}

/** Asserts that `actual` contains `expected`. */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (actual.includes(expected)) return;
  throw new AssertionError(`Expected actual: ${show(actual)} to contain: ${show(expected)}${suffix(msg)}`);
}

/** Asserts that `actual` matches `expected`. */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (expected.test(actual)) return;
  throw new AssertionError(`Expected actual: ${show(actual)} to match: ${expected}${suffix(msg)}`);
}

/** Asserts that `actual` has every element of `expected`, in any order, compared in depth. */
export function assertArrayIncludes<T>(
  actual: ArrayLike<T> & object,
  expected: ArrayLike<T> & object,
  msg?: string,
): void {
  const present = Array.from(actual);
  const missing = Array.from(expected).filter((item) => !present.some((other) => equal(item, other)));
  if (missing.length === 0) return;
  throw new AssertionError(
    `Expected actual: ${show(actual)} to include: ${show(expected)}${suffix(msg)}\nmissing: ${show(missing)}`,
  );
}

/** Asserts that `actual` is an instance of `expectedType`. */
// deno-lint-ignore no-explicit-any -- as above; the type of the instances is inferred from it
export function assertInstanceOf<T extends abstract new (...args: any[]) => unknown>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  throw new AssertionError(`Expected an instance of "${expectedType.name}", got ${show(actual)}${suffix(msg)}`);
}

/** What the two optional arguments of `assertThrows` and `assertRejects` mean, by the type of the first. */
interface Expectation<E extends Error> {
  errorClass: ErrorClass<E> | undefined;
  includes: string | undefined;
  msg: string | undefined;
}

function expectation<E extends Error>(
  classOrMsg: ErrorClass<E> | string | undefined,
  includes: string | undefined,
  msg: string | undefined,
): Expectation<E> {
  if (typeof classOrMsg === "string") return { errorClass: undefined, includes: undefined, msg: classOrMsg };
  return { errorClass: classOrMsg, includes, msg };
}

function verifyError<E extends Error>(error: unknown, expected: Expectation<E>): void {
  if (expected.errorClass === undefined) return;
  const tail = suffix(expected.msg);
  if (!(error instanceof Error)) throw new AssertionError(`A non-Error object was thrown: ${show(error)}${tail}`);
  if (!(error instanceof expected.errorClass)) {
    const message = `Expected error to be instance of "${expected.errorClass.name}", but was "${error.name}": `;
    throw new AssertionError(`${message}${error.message}${tail}`, { cause: error });
  }
  if (expected.includes !== undefined && !error.message.includes(expected.includes)) {
    const message = `Expected error message to include ${show(expected.includes)}, but got ${show(error.message)}`;
    throw new AssertionError(`${message}${tail}`, { cause: error });
  }
}

/** Asserts that `fn` throws, and returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Asserts that `fn` throws an instance of a class whose message includes a text, and returns the error. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  // deno-lint-ignore no-explicit-any -- as above
  ErrorClass: abstract new (...args: any[]) => E,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error>(
  fn: () => unknown,
  classOrMsg?: ErrorClass<E> | string,
  includes?: string,
  msg?: string,
): unknown {
  const expected = expectation(classOrMsg, includes, msg);
  try {
    fn();
  } catch (error) {
    verifyError(error, expected);
    return error;
  }
  throw new AssertionError(`Expected function to throw${suffix(expected.msg)}`);
}

/** Asserts that `fn` returns a promise that rejects, and gives what it rejected with. */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/** Asserts that `fn` returns a promise that rejects with an instance of a class whose message includes a text. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  // deno-lint-ignore no-explicit-any -- as above
  ErrorClass: abstract new (...args: any[]) => E,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error>(
  fn: () => PromiseLike<unknown>,
  classOrMsg?: ErrorClass<E> | string,
  includes?: string,
  msg?: string,
): Promise<unknown> {
  const expected = expectation(classOrMsg, includes, msg);
  const tail = suffix(expected.msg);
  let promise: PromiseLike<unknown> | undefined;
  try {
    promise = fn();
  } catch (error) {
    throw new AssertionError(`Function throws when expected to reject${tail}`, { cause: error });
  }
  if (typeof promise?.then !== "function") {
    throw new AssertionError(`Function throws when expected to reject${tail}`);
  }
  try {
    await promise;
  } catch (error) {
    verifyError(error, expected);
    return error;
  }
  throw new AssertionError(`Expected function to reject${tail}`);
}
