/**
 * The loader for Node.js 26 and its experimental `node:ffi`.
 *
 * Spelling: 64-bit values are BigInts in both directions, and arguments are checked. A pointer result is `int64`, so
 * that MAP_FAILED arrives as -1. The third argument of `toArrayBuffer` must be false: its default is to copy.
 *
 * @module
 */
import { describeValue, UnsupportedPlatformError } from "../src/errors.ts";
import type { Address, NativePointer } from "../src/page_source.ts";
import { getBuiltinModule, type NativeInterface } from "./library.ts";
import { type BoundSymbols, isWide, type NativeFunction, type NativeType, type SymbolTable } from "./symbols.ts";

/** A bound function: BigInts for 64-bit types, numbers for others. */
type BigIntCall = (...args: (number | bigint)[]) => unknown;

/** What we use of `node:ffi`. */
interface NodeFfi {
  dlopen(
    library: string,
    symbols: { [name: string]: { arguments: readonly string[]; return: string } },
  ): { functions: { [name: string]: BigIntCall } };
  toArrayBuffer(pointer: bigint, byteLength: number, copy: boolean): ArrayBuffer;
}

const TYPES: { readonly [type in NativeType]: string } = {
  i32: "int32",
  u32: "uint32",
  i64: "int64",
  usize: "uint64",
  pointer: "uint64",
  void: "void",
};

/** The foreign function interface of Node. */
export function nodeInterface(version: string): NativeInterface {
  const ffi = getBuiltinModule("node:ffi") as NodeFfi | undefined;
  if (ffi === undefined) {
    throw new UnsupportedPlatformError(
      `Cannot use native memory in Node.js ${version}: it has no node:ffi. Use Node.js 26 or later, without ` +
        "--no-experimental-ffi (or with --experimental-ffi where it is off by default), or Deno or Bun",
    );
  }
  const { dlopen, toArrayBuffer } = ffi;

  function open<T extends SymbolTable>(library: string, symbols: T): BoundSymbols<T> {
    const declarations: { [name: string]: { arguments: readonly string[]; return: string } } = {};
    for (const [name, { parameters, result }] of Object.entries(symbols)) {
      declarations[name] = {
        arguments: parameters.map((type) => TYPES[type]),
        return: result === "pointer" ? "int64" : TYPES[result],
      };
    }
    const opened = openChecked(dlopen, library, declarations).functions;
    const bound: { [name: string]: (...args: number[]) => number } = {};
    for (const [name, symbol] of Object.entries(symbols)) {
      bound[name] = takeNumbers(opened[name] as BigIntCall, symbol);
    }
    return bound as BoundSymbols<T>;
  }

  function wrap(address: Address, byteLength: number): ArrayBuffer {
    return toArrayBuffer(BigInt(address), byteLength, false);
  }

  function toPointer(address: Address): NativePointer {
    return BigInt(address);
  }

  function fromPointer(pointer: unknown): Address {
    if (pointer === null) return 0;
    if (typeof pointer !== "bigint") {
      throw new TypeError(`Cannot use ${describeValue(pointer)} as a pointer: in Node.js it must be a BigInt`);
    }
    return Number(pointer);
  }

  return { maxWrapBytes: 2 ** 40, open, wrap, toPointer, fromPointer };
}

/** Turns a function of BigInts into one of numbers. */
function takeNumbers(call: BigIntCall, { parameters }: NativeFunction): (...args: number[]) => number {
  const wide = parameters.map(isWide);
  return function callWithNumbers(...args: number[]): number {
    const passed: (number | bigint)[] = args;
    for (let index = 0; index < wide.length; index++) {
      if (wide[index]) passed[index] = BigInt(args[index] as number);
    }
    return Number(call(...passed));
  };
}

/** `dlopen`, with Node's own permission error turned into ours. */
function openChecked(
  dlopen: NodeFfi["dlopen"],
  library: string,
  declarations: Parameters<NodeFfi["dlopen"]>[1],
): ReturnType<NodeFfi["dlopen"]> {
  try {
    return dlopen(library, declarations);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ERR_ACCESS_DENIED") throw error;
    throw new UnsupportedPlatformError(
      "Cannot use native memory without the permission for FFI: run node with --allow-ffi beside --permission",
      { cause: error },
    );
  }
}
