/**
 * What a loader gives (the same for each runtime), the names under which libraries are looked for, and the errors
 * when none of them can be opened.
 *
 * @module
 */
import { UnsupportedPlatformError } from "../src/errors.ts";
import type { Address, NativePointer } from "../src/page_source.ts";
import type { OperatingSystem, Platform } from "./detect.ts";
import { type BoundSymbols, isWide, type SymbolTable } from "./symbols.ts";

/** The foreign function interface of one runtime, reduced to what we need. */
export interface NativeInterface {
  /** The most bytes that one ArrayBuffer over native memory can have. */
  readonly maxWrapBytes: number;
  /** Opens a library and binds the functions of `symbols`. Throws the runtime's own error when it cannot. */
  open<T extends SymbolTable>(library: string, symbols: T): BoundSymbols<T>;
  /** An ArrayBuffer over native memory that is not copied and never freed by the runtime. `byteLength` is not 0. */
  wrap(address: Address, byteLength: number): ArrayBuffer;
  /** The address as the runtime's own pointer; null for address 0 in Deno. */
  toPointer(address: Address): NativePointer | null;
  /** The address of a pointer of the runtime. */
  fromPointer(pointer: unknown): Address;
}

/**
 * Where the C library is, most likely name first. `libc.so.6` is glibc's, and musl answers to it too. `libc.so` alone
 * would be wrong on glibc, where it is a linker script.
 */
export const LIBRARY_NAMES: { readonly [os in OperatingSystem]: readonly string[] } = {
  linux: ["libc.so.6", "libc.so"],
  android: ["libc.so"],
  macos: ["libSystem.B.dylib", "/usr/lib/libSystem.B.dylib"],
  freebsd: ["libc.so.7", "libc.so"],
  windows: ["kernel32.dll"],
};

/**
 * Opens the first of `names` that can be opened with all of `symbols`.
 *
 * @throws {UnsupportedPlatformError} When none can; the message has the runtime's reason for each name.
 */
export function openLibrary<T extends SymbolTable>(
  native: NativeInterface,
  platform: Platform,
  symbols: T,
  names: readonly string[] = LIBRARY_NAMES[platform.os],
): BoundSymbols<T> {
  const errors: unknown[] = [];
  for (const name of names) {
    try {
      return native.open(name, symbols);
    } catch (error) {
      if (error instanceof UnsupportedPlatformError) throw error;
      errors.push(error);
    }
  }
  const reasons = names.map((name, index) => `${name} (${describeError(errors[index])})`).join(", ");
  throw new UnsupportedPlatformError(
    `Cannot open the C library of ${platform.os} ${platform.arch}: tried ${reasons}`,
    { cause: errors[0] },
  );
}

/** A module of the runtime, such as `node:ffi`, loaded synchronously; undefined where there is none. */
export function getBuiltinModule(name: string): unknown {
  const { process } = globalThis as unknown as { process?: { getBuiltinModule?(name: string): unknown } };
  return process?.getBuiltinModule?.(name);
}

/** A function as a runtime binds it when numbers are passed: results wider than 32 bits may be BigInts. */
export type NativeCall = (...args: number[]) => unknown;

/** The functions of `symbols` as a runtime has bound them, with numbers for the results that may be BigInts. */
export function giveNumbers<T extends SymbolTable>(
  symbols: T,
  functions: { readonly [name: string]: NativeCall },
): BoundSymbols<T> {
  const bound: { [name: string]: NativeCall } = {};
  for (const [name, { result }] of Object.entries(symbols)) {
    const call = functions[name] as NativeCall;
    bound[name] = isWide(result) ? giveNumber(call) : call;
  }
  return bound as BoundSymbols<T>;
}

/** Turns a function whose result may be a BigInt into one with a number. */
function giveNumber(call: NativeCall): NativeCall {
  return function callForNumber(...args: number[]): number {
    return Number(call(...args));
  };
}

/** The first line of an error's message. */
function describeError(error: unknown): string {
  const message = error instanceof Error ? error.message : `${error}`;
  return message.split("\n", 1)[0] as string;
}
