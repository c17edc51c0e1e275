/**
 * The loader for Bun.
 *
 * Spelling: 64-bit parameters are `u64_fast`/`i64_fast`, which take numbers as they are. A pointer result is `i64_fast`
 * too: as `ptr` the value of MAP_FAILED would arrive as a BigInt although good pointers are numbers; as `i64_fast` it
 * is -1. The fast types still give a BigInt for values at the end of what a number can hold, which are made numbers.
 *
 * `toArrayBuffer` always gets all three arguments (without a length it would look for a terminating zero byte) and
 * never the length 0, which throws.
 *
 * @module
 */
import { describeValue, UnsupportedPlatformError } from "../src/errors.ts";
import type { Address, NativePointer } from "../src/page_source.ts";
import { getBuiltinModule, giveNumbers, type NativeCall, type NativeInterface } from "./library.ts";
import type { BoundSymbols, NativeType, SymbolTable } from "./symbols.ts";

/** What we use of `bun:ffi`. Typed here, so that the file also compiles without bun-types. */
interface BunFfi {
  dlopen(
    library: string,
    symbols: { [name: string]: { args: readonly string[]; returns: string } },
  ): { symbols: { [name: string]: NativeCall } };
  toArrayBuffer(pointer: number, byteOffset: number, byteLength: number): ArrayBuffer;
}

const TYPES: { readonly [type in NativeType]: string } = {
  i32: "i32",
  u32: "u32",
  i64: "i64_fast",
  usize: "u64_fast",
  pointer: "i64_fast",
  void: "void",
};

/** The foreign function interface of Bun. */
export function bunInterface(): NativeInterface {
  const ffi = getBuiltinModule("bun:ffi") as BunFfi | undefined;
  if (ffi === undefined) {
    throw new UnsupportedPlatformError("Cannot use native memory in this version of Bun: it has no bun:ffi");
  }
  const { dlopen, toArrayBuffer } = ffi;

  function open<T extends SymbolTable>(library: string, symbols: T): BoundSymbols<T> {
    const declarations: { [name: string]: { args: readonly string[]; returns: string } } = {};
    for (const [name, { parameters, result }] of Object.entries(symbols)) {
      declarations[name] = { args: parameters.map((type) => TYPES[type]), returns: TYPES[result] };
    }
    return giveNumbers(symbols, dlopen(library, declarations).symbols);
  }

  function wrap(address: Address, byteLength: number): ArrayBuffer {
    return toArrayBuffer(address, 0, byteLength);
  }

  function toPointer(address: Address): NativePointer {
    return address;
  }

  function fromPointer(pointer: unknown): Address {
    if (pointer === null) return 0;
    if (typeof pointer !== "number" && typeof pointer !== "bigint") {
      throw new TypeError(`Cannot use ${describeValue(pointer)} as a pointer: in Bun it must be a number`);
    }
    return Number(pointer);
  }

  // JavaScriptCore's largest ArrayBuffer.
  return { maxWrapBytes: 2 ** 32, open, wrap, toPointer, fromPointer };
}
