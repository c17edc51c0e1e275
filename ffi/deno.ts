/**
 * The loader for Deno.
 *
 * Spelling: 64-bit parameters are `u64`/`i64` and given as BigInt, the cheapest way that is right for every value (20 ns
 * a pair of calls, `usize` with numbers 355). A pointer result is `i64`, so that MAP_FAILED arrives as -1 and no
 * pointer object is made. Pointer objects appear only where Deno asks for one: at a wrap and in `toPointer`.
 *
 * Permission: Deno asks `--allow-ffi` for pointers and views as such, not for a library, so a grant for a path is
 * never enough. If the permission is not there we ask for all of it: `Deno.dlopen` by itself would prompt for
 * "libc.so.6", and after a yes look for `./libc.so.6` (denoland/deno#29246).
 *
 * @module
 */
import { UnsupportedPlatformError } from "../src/errors.ts";
import { describeValue } from "../src/errors.ts";
import type { Address, NativePointer } from "../src/page_source.ts";
import { type NativeInterface, takeNumbers } from "./library.ts";
import type { BoundSymbols, NativeType, SymbolTable } from "./symbols.ts";

/** A pointer object; its only content is its address. */
type PointerObject = object;

/** What we use of the `Deno` namespace. Typed here, so that the file also compiles without Deno's types. */
interface DenoNamespace {
  readonly dlopen: (
    library: string,
    symbols: { [name: string]: { parameters: readonly string[]; result: string } },
  ) => { symbols: { [name: string]: (...args: (number | bigint)[]) => unknown } };
  readonly UnsafePointer: {
    create(value: bigint): PointerObject | null;
    value(pointer: PointerObject | null): bigint | number;
  };
  readonly UnsafePointerView: {
    getArrayBuffer(pointer: PointerObject, byteLength: number, offset?: number): ArrayBuffer;
  };
  readonly permissions: {
    querySync(descriptor: { name: "ffi" }): PermissionStatus;
    requestSync(descriptor: { name: "ffi" }): PermissionStatus;
  };
}

/** The answer to a permission query. */
interface PermissionStatus {
  readonly state: "granted" | "denied" | "prompt";
  /** Granted, but with exceptions (`--deny-ffi=PATH`). */
  readonly partial?: boolean;
}

const TYPES: { readonly [type in NativeType]: string } = {
  i32: "i32",
  u32: "u32",
  i64: "i64",
  usize: "u64",
  pointer: "u64",
  void: "void",
};

/** The foreign function interface of Deno. Needs no permission until something is opened. */
export function denoInterface(): NativeInterface {
  const { Deno } = globalThis as unknown as { Deno: DenoNamespace };
  const { UnsafePointer, UnsafePointerView } = Deno;

  function open<T extends SymbolTable>(library: string, symbols: T): BoundSymbols<T> {
    requirePermission(Deno);
    const declarations: { [name: string]: { parameters: readonly string[]; result: string } } = {};
    for (const [name, { parameters, result }] of Object.entries(symbols)) {
      declarations[name] = {
        parameters: parameters.map((type) => TYPES[type]),
        result: result === "pointer" ? "i64" : TYPES[result],
      };
    }
    const opened = Deno.dlopen(library, declarations).symbols;
    const bound: { [name: string]: (...args: number[]) => number } = {};
    for (const [name, symbol] of Object.entries(symbols)) {
      bound[name] = takeNumbers(opened[name] as (...args: (number | bigint)[]) => unknown, symbol);
    }
    return bound as BoundSymbols<T>;
  }

  function wrap(address: Address, byteLength: number): ArrayBuffer {
    return UnsafePointerView.getArrayBuffer(UnsafePointer.create(BigInt(address)) as PointerObject, byteLength);
  }

  function toPointer(address: Address): NativePointer | null {
    return UnsafePointer.create(BigInt(address));
  }

  function fromPointer(pointer: unknown): Address {
    if (typeof pointer !== "object") {
      throw new TypeError(`Cannot use ${describeValue(pointer)} as a pointer: in Deno it must be a Deno.PointerValue`);
    }
    return Number(UnsafePointer.value(pointer));
  }

  return { maxWrapBytes: 2 ** 40, open, wrap, toPointer, fromPointer };
}

/** Throws unless all of `--allow-ffi` is granted, asking for it where somebody is there to answer. */
function requirePermission({ permissions }: DenoNamespace): void {
  let status = permissions.querySync({ name: "ffi" });
  if (status.state === "prompt") status = permissions.requestSync({ name: "ffi" });
  if (status.state === "granted" && status.partial !== true) return;
  throw new UnsupportedPlatformError(
    "Cannot use native memory without the permission for FFI: run deno with --allow-ffi. A grant for a path " +
      "(--allow-ffi=PATH, or --deny-ffi=PATH beside it) is not enough, because Deno asks for the whole permission " +
      "before it makes a pointer or a view of memory. Answering Deno's prompt for a single library does not help " +
      "either: it turns libc.so.6 into ./libc.so.6 (denoland/deno#29246)",
  );
}
