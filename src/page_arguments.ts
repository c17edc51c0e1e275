/**
 * Validation of the arguments of page sources. A page source is a public interface, and a wrong number there would
 * unmap somebody else's memory: every method checks before it does anything.
 *
 * @module
 */
import { assertAlignment, assertSize } from "./arguments.ts";
import { describeValue, formatAddress } from "./errors.ts";
import type { Protection } from "./page_source.ts";

/** Throws unless `byteLength` is a positive multiple of `pageSize` and `alignment` a power of two. */
export function assertReservation(byteLength: unknown, alignment: unknown, pageSize: number): void {
  assertPages(byteLength, pageSize);
  assertAlignment(alignment);
}

/** Throws unless `address` and `byteLength` are positive multiples of `pageSize`. */
export function assertPageRange(address: unknown, byteLength: unknown, pageSize: number): void {
  assertNativeAddress(address);
  if (address % pageSize !== 0) {
    throw new RangeError(
      `Cannot use ${formatAddress(address)} as the address of a page: it must be a multiple of ${pageSize}`,
    );
  }
  assertPages(byteLength, pageSize);
}

/** Throws unless `byteLength` bytes at `address` can be wrapped; neither needs to be a multiple of anything. */
export function assertWrap(address: unknown, byteLength: unknown, maxWrapBytes: number): void {
  assertNativeAddress(address);
  assertSize(byteLength, "byteLength");
  if (byteLength === 0 || byteLength > maxWrapBytes) {
    throw new RangeError(
      `Cannot wrap ${byteLength} bytes as one ArrayBuffer: it must be from 1 to ${maxWrapBytes} bytes`,
    );
  }
}

/** Throws unless `protection` is one of the three. */
export function assertProtection(protection: unknown): asserts protection is Protection {
  if (protection !== "none" && protection !== "read" && protection !== "read-write") {
    throw new RangeError(
      `Cannot use ${describeValue(protection)} as protection: it must be "none", "read" or "read-write"`,
    );
  }
}

/** Throws unless `address` is a whole number from 1 to 2^53 - 1. */
export function assertNativeAddress(address: unknown): asserts address is number {
  if (typeof address !== "number") {
    throw new TypeError(`Cannot use ${describeValue(address)} as an address: it must be a number`);
  }
  if (!(address > 0 && address <= Number.MAX_SAFE_INTEGER && Math.floor(address) === address)) {
    throw new RangeError(`Cannot use ${describeValue(address)} as an address: it must be a whole number above 0`);
  }
}

/** Throws unless `byteLength` is a positive multiple of `pageSize`. */
function assertPages(byteLength: unknown, pageSize: number): void {
  assertSize(byteLength, "byteLength");
  if (byteLength === 0 || byteLength % pageSize !== 0) {
    throw new RangeError(`Cannot use ${byteLength} as byteLength: it must be a positive multiple of ${pageSize}`);
  }
}
