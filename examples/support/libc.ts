/**
 * Three functions of the C library, bound with each runtime's own foreign function interface: what a program that calls C
 * writes for itself. The table of declarations is shared; the names of the types differ.
 *
 * | C type     | Deno      | Bun        | Node.js   |
 * | ---------- | --------- | ---------- | --------- |
 * | `void *`   | `pointer` | `ptr`      | `pointer` |
 * | `size_t`   | `usize`   | `u64_fast` | `uint64`  |
 * | `int`      | `i32`     | `i32`      | `int32`   |
 * | a function | `function`| `function` | `pointer` |
 *
 * Typed by hand, and not by each runtime's types, so that one file compiles against both.
 *
 * @module
 */
import process from "node:process";
import { type Address, fromPointer, type RuntimePointer } from "../../mod.ts";

/** A comparison of two elements, by their addresses: negative, 0 or positive. It must not throw. */
export type Compare = (a: Address, b: Address) => number;

/** Functions of `<string.h>` and `<stdlib.h>`. Pointers are what `toPointer` or `NativeBuffer.pointer` gives. */
export interface Libc {
  /** `size_t strlen(const char *)` */
  strlen(text: unknown): number;
  /** `void *memchr(const void *, int, size_t)`, as an address, 0 when the byte is not there. */
  memchr(block: unknown, byte: number, length: number): Address;
  /** `void qsort(void *, size_t, size_t, int (*)(const void *, const void *))` */
  qsort(base: unknown, count: number, elementSize: number, compare: Compare): void;
}

/** Where the C library is. On Windows the functions are in the C runtime and not in kernel32. */
const LIBRARIES: { readonly [platform: string]: string } = {
  linux: "libc.so.6",
  darwin: "libSystem.B.dylib",
  freebsd: "libc.so.7",
  android: "libc.so",
  win32: "msvcrt.dll",
};

type Call = (...args: unknown[]) => unknown;
interface Functions {
  readonly strlen: Call;
  readonly memchr: Call;
  readonly qsort: Call;
}

/** Binds the functions for the runtime and the operating system that this is. Deno needs `--allow-ffi`. */
export function openLibc(): Libc {
  const library = LIBRARIES[process.platform];
  if (library === undefined) throw new Error(`Cannot find the C library of ${process.platform}`);
  if ("Deno" in globalThis) return openInDeno(library);
  return process.versions["bun"] === undefined ? openInNode(library) : openInBun(library);
}

interface DenoFfi {
  dlopen(library: string, symbols: object): { readonly symbols: Functions };
  readonly UnsafeCallback: new (signature: object, callback: (a: unknown, b: unknown) => number) => {
    readonly pointer: unknown;
    close(): void;
  };
}

function openInDeno(library: string): Libc {
  const { dlopen, UnsafeCallback } = Reflect.get(globalThis, "Deno") as unknown as DenoFfi;
  const { symbols } = dlopen(library, {
    strlen: { parameters: ["pointer"], result: "usize" },
    memchr: { parameters: ["pointer", "i32", "usize"], result: "pointer" },
    qsort: { parameters: ["pointer", "usize", "usize", "function"], result: "void" },
  });
  return withCallbacks(symbols, Number, (compare) => {
    const callback = new UnsafeCallback({ parameters: ["pointer", "pointer"], result: "i32" }, compare);
    return { pointer: callback.pointer, close: () => callback.close() };
  });
}

interface BunFfi {
  dlopen(library: string, symbols: object): { readonly symbols: Functions };
  readonly JSCallback: new (callback: (a: unknown, b: unknown) => number, signature: object) => {
    readonly ptr: unknown;
    close(): void;
  };
}

function openInBun(library: string): Libc {
  const { dlopen, JSCallback } = process.getBuiltinModule("bun:ffi") as unknown as BunFfi;
  const { symbols } = dlopen(library, {
    strlen: { args: ["ptr"], returns: "u64_fast" },
    memchr: { args: ["ptr", "i32", "u64_fast"], returns: "ptr" },
    qsort: { args: ["ptr", "u64_fast", "u64_fast", "function"], returns: "void" },
  });
  return withCallbacks(symbols, Number, (compare) => {
    const callback = new JSCallback(compare, { args: ["ptr", "ptr"], returns: "i32" });
    return { pointer: callback.ptr, close: () => callback.close() };
  });
}

interface NodeFfi {
  dlopen(library: string, symbols: object): { readonly functions: Functions; readonly lib: NodeLibrary };
}
interface NodeLibrary {
  registerCallback(signature: object, callback: (a: unknown, b: unknown) => number): unknown;
  unregisterCallback(pointer: unknown): void;
}

function openInNode(library: string): Libc {
  const { dlopen } = process.getBuiltinModule("node:ffi") as unknown as NodeFfi;
  const { functions, lib } = dlopen(library, {
    strlen: { arguments: ["pointer"], return: "uint64" },
    memchr: { arguments: ["pointer", "int32", "uint64"], return: "pointer" },
    qsort: { arguments: ["pointer", "uint64", "uint64", "pointer"], return: "void" },
  });
  return withCallbacks(functions, BigInt, (compare) => {
    const pointer = lib.registerCallback({ arguments: ["pointer", "pointer"], return: "int32" }, compare);
    return { pointer, close: () => lib.unregisterCallback(pointer) };
  });
}

/** A comparison that C can call, for as long as it is open. */
interface Callback {
  readonly pointer: unknown;
  close(): void;
}

/** `size` makes what the runtime wants for a `size_t`. */
function withCallbacks(
  { strlen, memchr, qsort }: Functions,
  size: (value: number) => number | bigint,
  makeCallback: (compare: (a: unknown, b: unknown) => number) => Callback,
): Libc {
  return {
    strlen: (text) => Number(strlen(text)),
    memchr: (block, byte, length) => fromPointer(memchr(block, byte, size(length)) as RuntimePointer),
    qsort(base, count, elementSize, compare) {
      const callback = makeCallback((a, b) =>
        compare(fromPointer(a as RuntimePointer), fromPointer(b as RuntimePointer))
      );
      try {
        qsort(base, size(count), size(elementSize), callback.pointer);
      } finally {
        // C keeps no pointer to the function once qsort has returned.
        callback.close();
      }
    },
  };
}
