/**
 * What native code does to memory: three functions of the C library, on any address, with nothing checked. A call that
 * touches an inaccessible page ends the process.
 *
 * @module
 */
import { detectPlatform } from "../../ffi/detect.ts";
import { LIBRARY_NAMES, openLibrary } from "../../ffi/library.ts";
import type { BoundSymbols, SymbolTable } from "../../ffi/symbols.ts";
import { nativeInterface } from "../../ffi/system_page_source.ts";
import type { Address } from "../../mod.ts";

const SYMBOLS = {
  // void *memset(void *s, int c, size_t n);
  memset: { parameters: ["pointer", "i32", "usize"], result: "pointer" },
  // void *memcpy(void *dest, const void *src, size_t n);
  memcpy: { parameters: ["pointer", "pointer", "usize"], result: "pointer" },
  // size_t strlen(const char *s);
  strlen: { parameters: ["pointer"], result: "usize" },
} as const satisfies SymbolTable;

/** Reads and writes memory as C does. */
export class NativeCode {
  readonly #libc: BoundSymbols<typeof SYMBOLS>;
  /** Memory of our own, which no allocator knows: what is read is copied here. */
  readonly #scratch: Uint8Array;
  readonly #scratchAddress: Address;

  /** `scratch` is the view of `scratchAddress` and the most that is read or copied at a time. */
  constructor(scratch: Uint8Array, scratchAddress: Address) {
    const platform = detectPlatform();
    // On Windows these are in the C runtime and not in kernel32.
    const names = platform.os === "windows" ? ["msvcrt.dll"] : LIBRARY_NAMES[platform.os];
    this.#libc = openLibrary(nativeInterface(platform), platform, SYMBOLS, names);
    this.#scratch = scratch;
    this.#scratchAddress = scratchAddress;
  }

  /** Sets `length` bytes. */
  write(address: Address, byte: number, length: number): void {
    this.#libc.memset(address, byte, length);
  }

  /** Copies `length` bytes of value `byte` from elsewhere, in one call of `memcpy`. */
  copyIn(address: Address, byte: number, length: number): void {
    this.#scratch.fill(byte, 0, length);
    this.#libc.memcpy(address, this.#scratchAddress, length);
  }

  /** A copy of `length` bytes. */
  read(address: Address, length: number): Uint8Array {
    this.#libc.memcpy(this.#scratchAddress, address, length);
    return this.#scratch.slice(0, length);
  }

  /** The distance from `address` to the next zero byte. */
  textLength(address: Address): number {
    return this.#libc.strlen(address);
  }
}
