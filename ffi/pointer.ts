/**
 * Addresses as the pointers of the runtime's own foreign function interface, and back.
 *
 * ```text
 * Deno   Deno.PointerValue: an opaque object, null for address 0
 * Bun    Pointer of bun:ffi: a number
 * Node   BigInt
 * ```
 *
 * Needs no permission and opens no library.
 *
 * @module
 */
import { assertSize } from "../src/arguments.ts";
import { isFixedAddress, notAPointer } from "../src/fixed_page_source.ts";
import type { Address, ReturnedPointer, RuntimePointer } from "../src/page_source.ts";
import { detectPlatform } from "./detect.ts";
import type { NativeInterface } from "./library.ts";
import { nativeInterface } from "./system_page_source.ts";

export type { ReturnedPointer, RuntimePointer };

let cached: NativeInterface | null = null;

/**
 * The address as a pointer of the runtime.
 *
 * In Deno, making a pointer needs `--allow-ffi`; a heap over `systemPageSource()` has it already.
 *
 * @example Call C with memory of a heap
 * ```ts
 * const address = heap.allocate(64);
 * symbols.strlen(toPointer(address));
 * ```
 *
 * @throws {RangeError} When `address` is not a whole number from 0 to 2^53 - 1.
 * @throws {UnsupportedPlatformError} When it is an address of a fixed page source, behind which C has no memory.
 */
export function toPointer(address: Address): RuntimePointer {
  assertSize(address, "address");
  if (isFixedAddress(address)) throw notAPointer(address);
  return runtimeInterface().toPointer(address) as RuntimePointer;
}

/**
 * The address of a pointer of the runtime, such as a foreign function returns. Null is address 0.
 *
 * @throws {TypeError} When `pointer` is not a pointer of this runtime.
 */
export function fromPointer(pointer: ReturnedPointer): Address {
  return runtimeInterface().fromPointer(pointer);
}

/** The loader of this runtime; made once, at the first call. */
function runtimeInterface(): NativeInterface {
  cached ??= nativeInterface(detectPlatform());
  return cached;
}
