/**
 * The C library's allocator and clocks through the runtime's foreign function interface: the benchmarks' own binding,
 * so that they measure the peer in its cheapest spelling and not this package's FFI layer.
 *
 * Cheapest spelling, as measured (ns per malloc + free of 64 B): Deno takes sizes as `u32` and gives addresses as `u64`
 * BigInts; Bun takes `u32` and gives `ptr` numbers. With `usize`, the obvious spelling, Deno needs 15 times as
 * long and Bun 3 times. Linux only: elsewhere `openLibc` throws, and what needs it is left out.
 *
 * @module
 */
import process from "node:process";

/** The runtimes that benchmarks run on. */
export type Runtime = "deno" | "bun";

/** Which runtime this process is. */
export function detectRuntime(): Runtime {
  if (process.versions["deno"] !== undefined) return "deno";
  if (process.versions["bun"] !== undefined) return "bun";
  throw new Error("The benchmarks run on Deno and Bun only");
}

/** An address as this runtime's FFI hands it over: a BigInt in Deno, a number in Bun. */
export type RawAddress = bigint | number;

/** The functions of the C library that the benchmarks call. */
export interface Libc<A extends RawAddress> {
  /** `void *malloc(size_t)` */
  malloc(size: number): A;
  /** `void free(void *)` */
  free(address: A): void;
  /** `void *realloc(void *, size_t)` */
  realloc(address: A, size: number): A;
  /** `void *calloc(size_t, size_t)` */
  calloc(count: number, size: number): A;
  /** `void *aligned_alloc(size_t, size_t)` */
  aligned_alloc(alignment: number, size: number): A;
  /** `void *memset(void *, int, size_t)` */
  memset(address: A, value: number, size: number): A;
  /** `int mincore(void *, size_t, unsigned char *)` */
  mincore(address: A, byteLength: bigint, vector: Uint8Array): number;
  /** `int clock_gettime(clockid_t, struct timespec *)` */
  clock_gettime(clock: number, timespec: Uint8Array): number;
  /** `int getrusage(int, struct rusage *)` */
  getrusage(who: number, usage: Uint8Array): number;
}

interface Signature {
  readonly parameters: readonly string[];
  readonly result: string;
}

/** One table for both runtimes; `address` is replaced by the runtime's own type. */
const SYMBOLS: { readonly [name: string]: Signature } = {
  malloc: { parameters: ["u32"], result: "address" },
  free: { parameters: ["address"], result: "void" },
  realloc: { parameters: ["address", "u32"], result: "address" },
  calloc: { parameters: ["u32", "u32"], result: "address" },
  aligned_alloc: { parameters: ["u32", "u32"], result: "address" },
  memset: { parameters: ["address", "i32", "u32"], result: "address" },
  mincore: { parameters: ["address", "u64", "buffer"], result: "i32" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  getrusage: { parameters: ["i32", "buffer"], result: "i32" },
};

/** The little of Deno's namespace that is used here; typed here because Bun's type check has no such global. */
interface DenoNamespace {
  dlopen(library: string, symbols: object): { readonly symbols: unknown };
  readonly UnsafePointer: { create(address: bigint): object | null };
  readonly UnsafePointerView: { getArrayBuffer(pointer: object, byteLength: number): ArrayBuffer };
}

interface BunFfi {
  dlopen(library: string, symbols: object): { readonly symbols: unknown };
  toArrayBuffer(address: number, offset: number, byteLength: number): ArrayBuffer;
}

function denoNamespace(): DenoNamespace {
  return Reflect.get(globalThis, "Deno") as DenoNamespace;
}

let bunFfi: BunFfi | undefined;

/** Binds the C library of this process. `A` must be `bigint` in Deno and `number` in Bun. */
export async function openLibc<A extends RawAddress>(): Promise<Libc<A>> {
  if (process.platform !== "linux") throw new Error(`No binding of the C library on ${process.platform}`);
  const symbols: { [name: string]: object } = {};
  if (detectRuntime() === "deno") {
    for (const [name, { parameters, result }] of Object.entries(SYMBOLS)) {
      const type = (name: string) => name === "address" ? "u64" : name;
      symbols[name] = { parameters: parameters.map(type), result: type(result) };
    }
    return denoNamespace().dlopen("libc.so.6", symbols).symbols as Libc<A>;
  }
  for (const [name, { parameters, result }] of Object.entries(SYMBOLS)) {
    const type = (name: string) => name === "address" || name === "buffer" ? "ptr" : name;
    symbols[name] = { args: parameters.map(type), returns: type(result) };
  }
  return (await openBunFfi()).dlopen("libc.so.6", symbols).symbols as Libc<A>;
}

async function openBunFfi(): Promise<BunFfi> {
  // A specifier in a variable: neither Deno nor a type checker without Bun's types should try to resolve it.
  const specifier = "bun:ffi";
  bunFfi ??= (await import(specifier)) as BunFfi;
  return bunFfi;
}

/** The runtime's own way to make an ArrayBuffer over native memory, without a copy. */
export type Wrap = (address: RawAddress, byteLength: number) => ArrayBuffer;

/** Opens the runtime's {@link Wrap}. */
export async function openWrap(): Promise<Wrap> {
  if (detectRuntime() === "deno") {
    const { UnsafePointer, UnsafePointerView } = denoNamespace();
    return function wrap(address, byteLength) {
      return UnsafePointerView.getArrayBuffer(UnsafePointer.create(address as bigint)!, byteLength);
    };
  }
  const { toArrayBuffer } = await openBunFfi();
  return function wrap(address, byteLength) {
    return toArrayBuffer(address as number, 0, byteLength);
  };
}
