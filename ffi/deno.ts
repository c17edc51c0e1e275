/**
 * The loader for Deno.
 *
 * Spelling: 64-bit parameters are `u64`/`i64` and given as numbers, which is exact up to 2^53 and costs 75 ns a call (a
 * BigInt argument would be passed in 35 ns, but making it costs more than the difference). A pointer result is `i64`,
 * so that MAP_FAILED arrives as -1 and no pointer object is made. Pointer objects appear only where Deno asks for one:
 * at a wrap and in `toPointer`.
 *
 * Permission: Deno asks `--allow-ffi` for pointers and views as such, not for a library, so a grant for a path is
 * never enough. Before a library is opened a pointer is made, because that asks for the permission as a whole:
 * `Deno.dlopen` would ask for "libc.so.6" alone, and after a yes look for `./libc.so.6` (denoland/deno#29246).
 *
 * @module
 */
import { describeValue, UnsupportedPlatformError } from "../src/errors.ts";
import type { Address, NativePointer } from "../src/page_source.ts";
import { giveNumbers, type NativeCall, type NativeInterface } from "./library.ts";
import type { BoundSymbols, NativeType, SymbolTable } from "./symbols.ts";

/** A pointer object; its only content is its address. */
type PointerObject = object;

/** What we use of the `Deno` namespace. Typed here, so that the file also compiles without Deno's types. */
interface DenoNamespace {
  readonly dlopen: (
    library: string,
    symbols: { [name: string]: { parameters: readonly string[]; result: string } },
  ) => { symbols: { [name: string]: NativeCall } };
  readonly UnsafePointer: {
    create(value: bigint): PointerObject | null;
    value(pointer: PointerObject | null): bigint | number;
  };
  readonly UnsafePointerView: {
    getArrayBuffer(pointer: PointerObject, byteLength: number, offset?: number): ArrayBuffer;
  };
  readonly permissions: {
    /** `partial`: granted, but with exceptions (`--deny-ffi=PATH`). */
    querySync(descriptor: { name: "ffi" }): { readonly state: string; readonly partial?: boolean };
  };
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
  if (typeof Deno.dlopen !== "function") {
    throw new UnsupportedPlatformError("Cannot use native memory in this build of Deno: it has no Deno.dlopen");
  }

  function open<T extends SymbolTable>(library: string, symbols: T): BoundSymbols<T> {
    const declarations: { [name: string]: { parameters: readonly string[]; result: string } } = {};
    for (const [name, { parameters, result }] of Object.entries(symbols)) {
      declarations[name] = {
        parameters: parameters.map((type) => TYPES[type]),
        result: result === "pointer" ? "i64" : TYPES[result],
      };
    }
    return giveNumbers(symbols, openPermitted(Deno, library, declarations).symbols);
  }

  // A pointer to start from: an offset is a number, where a pointer takes a BigInt and an object (225 ns for a wrap and its
  // end instead of 320). Not null, which Deno refuses.
  let first: PointerObject | null = null;

  function wrap(address: Address, byteLength: number): ArrayBuffer {
    try {
      first ??= UnsafePointer.create(1n);
      return UnsafePointerView.getArrayBuffer(first as PointerObject, byteLength, address - 1);
    } catch (error) {
      throw typed(error);
    }
  }

  function toPointer(address: Address): NativePointer | null {
    try {
      return UnsafePointer.create(BigInt(address));
    } catch (error) {
      throw typed(error);
    }
  }

  function fromPointer(pointer: unknown): Address {
    if (typeof pointer !== "object") {
      throw new TypeError(`Cannot use ${describeValue(pointer)} as a pointer: in Deno it must be a Deno.PointerValue`);
    }
    return Number(UnsafePointer.value(pointer));
  }

  return { maxWrapBytes: 2 ** 40, open, wrap, toPointer, fromPointer };
}

/** `Deno.dlopen`, under the permission for all of FFI, which is asked for where somebody is there to answer. */
function openPermitted(
  { dlopen, permissions, UnsafePointer }: DenoNamespace,
  library: string,
  declarations: Parameters<DenoNamespace["dlopen"]>[1],
): ReturnType<DenoNamespace["dlopen"]> {
  try {
    UnsafePointer.create(1n);
  } catch (error) {
    throw permissionError(error);
  }
  try {
    return dlopen(library, declarations);
  } catch (error) {
    // With an exception for any path, Deno makes a path of every name, and the library is not found there.
    throw permissions.querySync({ name: "ffi" }).partial === true ? permissionError(error) : error;
  }
}

/** The error to throw for what Deno threw: ours when the permission was revoked since the library was opened. */
function typed(error: unknown): unknown {
  return error instanceof Error && error.name === "NotCapable" ? permissionError(error) : error;
}

function permissionError(cause: unknown): UnsupportedPlatformError {
  return new UnsupportedPlatformError(
    "Cannot use native memory without the whole permission for FFI: run deno with --allow-ffi. A grant for paths " +
      "(--allow-ffi=PATH) or with exceptions (--deny-ffi=PATH) is not enough, because pointers and views of memory " +
      "belong to no library and Deno asks for the whole permission before it makes one. When Deno prompts for a " +
      "single library, a yes does not help either: it turns libc.so.6 into ./libc.so.6 (denoland/deno#29246)",
    { cause },
  );
}
