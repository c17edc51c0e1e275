/**
 * Validation of arguments at the public boundary, and the limits it checks against.
 *
 * Every public entry point validates before it does anything; inside, numbers are trusted. No 32-bit bitwise operator
 * is used on a size or an address before its range is known: `2 ** 32 | 0` is 0, and `NaN | 0` is 0 too.
 *
 * @module
 */
import type { TypedArray, TypedArrayConstructor } from "./allocator.ts";
import { describeValue } from "./errors.ts";

/** The alignment in bytes of a block when none is asked for, and the least that any block has. */
export const DEFAULT_ALIGNMENT = 16;

/** The largest alignment in bytes: 1 GiB, the largest OS page of x86-64. */
export const MAX_ALIGNMENT = 2 ** 30;

/**
 * Throws unless `size` is a whole number of bytes from 0 to 2^53 - 1. Sizes that no machine has pass and fail later as
 * out of memory, which is what they are.
 */
export function assertSize(size: unknown, name = "size"): asserts size is number {
  if (typeof size !== "number") {
    throw new TypeError(`Cannot use ${describeValue(size)} as ${name}: it must be a number`);
  }
  if (!(size >= 0 && size <= Number.MAX_SAFE_INTEGER && Math.floor(size) === size)) {
    throw new RangeError(
      `Cannot use ${describeValue(size)} as ${name}: it must be a whole number from 0 to 2^53 - 1`,
    );
  }
}

/** Throws unless `alignment` is a power of two from 1 to {@link MAX_ALIGNMENT}. */
export function assertAlignment(alignment: unknown): asserts alignment is number {
  if (typeof alignment !== "number") {
    throw new TypeError(`Cannot use ${describeValue(alignment)} as alignment: it must be a number`);
  }
  if (!(alignment >= 1 && alignment <= MAX_ALIGNMENT && isPowerOfTwo(alignment))) {
    throw new RangeError(
      `Cannot use ${describeValue(alignment)} as alignment: it must be a power of two from 1 to 2^30`,
    );
  }
}

/** Throws unless `options` are an object whose properties can be read. A function has some, but is meant for another place. */
export function assertOptions(options: unknown): void {
  if (typeof options === "object" && options !== null) return;
  throw new TypeError(`Cannot use ${describeValue(options)} as options: they must be an object`);
}

/** The names of all options of an interface; the compiler knows when one is missing. */
export type OptionNames<Options> = Readonly<Record<keyof Options, true>>;

/**
 * Throws unless `options` are an object, and each of its own properties is the name of one or undefined: `zeroOnfree: true`
 * would leave the memory as it is, and say nothing. `prefix` is where they are themselves an option: `secure.`.
 */
export function assertKnownOptions<Options>(
  options: unknown,
  action: string,
  names: OptionNames<Options>,
  prefix = "",
): void {
  assertOptions(options);
  for (const [name, value] of Object.entries(options as object)) {
    if (value === undefined || Object.hasOwn(names, name)) continue;
    const known = Object.keys(names).map((name) => prefix + name).join(", ");
    throw new TypeError(`Cannot ${action}: there is no option ${describeValue(prefix + name)}, only ${known}`);
  }
}

/**
 * Throws unless `address` is a number. Whether it is the address of anything is for the allocator to say
 * (`InvalidFreeError`), fractions and negative numbers included.
 */
export function assertAddress(address: unknown): asserts address is number {
  if (typeof address !== "number") {
    throw new TypeError(`Cannot use ${describeValue(address)} as an address: it must be a number`);
  }
}

/**
 * Throws unless `type` is the constructor of a typed array. (`DataView` has a BYTES_PER_ELEMENT too, in
 * JavaScriptCore.)
 */
export function assertTypedArrayConstructor(type: unknown): void {
  const isTypedArray = typeof type === "function" && type !== DataView && "BYTES_PER_ELEMENT" in type;
  if (!isTypedArray) {
    throw new TypeError(
      `Cannot use ${describeValue(type)} as an array type: it must be the constructor of a typed array`,
    );
  }
}

/**
 * Throws unless the arrays that `type` makes have elements of the size that it says: a subclass can say anything. For
 * memory that ends where the array should; elsewhere the array itself tells, see {@link assertArrayLength}.
 */
export function assertElementSize(type: TypedArrayConstructor<TypedArray>): void {
  const { BYTES_PER_ELEMENT, prototype } = type as unknown as { BYTES_PER_ELEMENT: number; prototype: TypedArray };
  if (prototype.BYTES_PER_ELEMENT !== BYTES_PER_ELEMENT) throw wrongElementSize();
}

/** Throws unless `array` is a view of `byteLength` bytes: a subclass can say anything of its elements' size. */
export function assertArrayLength(array: unknown, byteLength: number): void {
  if (ArrayBuffer.isView(array) && array.byteLength === byteLength) return;
  throw wrongElementSize();
}

function wrongElementSize(): TypeError {
  return new TypeError("Cannot use the array type: its arrays are not as long as its BYTES_PER_ELEMENT says");
}

/** Whether `value`, from 1 to 2^31 - 1, is a power of two. */
export function isPowerOfTwo(value: number): boolean {
  return (value | 0) === value && value > 0 && (value & (value - 1)) === 0;
}

/** The least multiple of `alignment` (a power of two) that is not below `value`. Exact for every safe integer. */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/** The greatest multiple of `alignment` (a power of two) that is not above `value`. Exact for every safe integer. */
export function alignDown(value: number, alignment: number): number {
  return Math.floor(value / alignment) * alignment;
}
