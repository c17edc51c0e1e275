/**
 * The C functions we call, one table per operating system, to be read as a header file.
 *
 * Types are written in a vocabulary of our own, which each loader (deno.ts, bun.ts, node.ts) translates into the
 * spelling of its runtime. On our side every value is a JavaScript number:
 *
 * ```text
 * type      C                          number on our side
 * i32       int, BOOL                  -2^31 .. 2^31 - 1
 * u32       unsigned, DWORD            0 .. 2^32 - 1
 * i64       off_t, ssize_t             safe integers
 * usize     size_t, SIZE_T             0 .. 2^53 - 1
 * pointer   void *                     0 for NULL, -1 for (void *)-1, which is MAP_FAILED; else the address
 * void      void                       only as result
 * ```
 *
 * Addresses of user programs are below 2^57 on every processor we know and below 2^48 unless asked for, so a number
 * holds them exactly. Every width here is that of the C declaration beside it.
 *
 * @module
 */

/** The types of parameters and results; see the table above. */
export type NativeType = "i32" | "u32" | "i64" | "usize" | "pointer" | "void";

/** One C function. */
export interface NativeFunction {
  /** The types of its parameters, in order. */
  readonly parameters: readonly Exclude<NativeType, "void">[];
  /** The type of its result. */
  readonly result: NativeType;
}

/** C functions by name. */
export interface SymbolTable {
  readonly [name: string]: NativeFunction;
}

/** What a table becomes once a loader has bound it: functions of numbers. */
export type BoundSymbols<T extends SymbolTable> = {
  readonly [name in keyof T]: (
    ...args: Numbers<T[name]["parameters"]>
  ) => T[name]["result"] extends "void" ? void : number;
};

/** A tuple as long as `T`, of numbers. */
type Numbers<T extends readonly unknown[]> = { -readonly [index in keyof T]: number };

/** What every POSIX system has under the same name. */
export const POSIX_SYMBOLS = {
  // void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
  mmap: {
    parameters: [
      "pointer", // void *addr
      "usize", // size_t length
      "i32", // int prot
      "i32", // int flags
      "i32", // int fd
      "i64", // off_t offset
    ],
    result: "pointer", // MAP_FAILED on failure
  },
  // int munmap(void *addr, size_t length);
  munmap: {
    parameters: [
      "pointer", // void *addr
      "usize", // size_t length
    ],
    result: "i32",
  },
  // int mprotect(void *addr, size_t length, int prot);
  mprotect: {
    parameters: [
      "pointer", // void *addr
      "usize", // size_t length
      "i32", // int prot
    ],
    result: "i32",
  },
  // int madvise(void *addr, size_t length, int advice);
  madvise: {
    parameters: [
      "pointer", // void *addr
      "usize", // size_t length
      "i32", // int advice
    ],
    result: "i32",
  },
  // int getpagesize(void);
  getpagesize: { parameters: [], result: "i32" },
} as const satisfies SymbolTable;

/** The program break, which all of them still have. Bound apart, so that a system without it lacks nothing else. */
export const BRK_SYMBOLS = {
  // void *sbrk(intptr_t increment);
  sbrk: {
    parameters: [
      "i64", // intptr_t increment
    ],
    result: "pointer", // (void *)-1 on failure
  },
} as const satisfies SymbolTable;

/**
 * What moves OS pages on Linux. Bound apart, when it is first wanted: most programs never do. (It takes its last parameter
 * as `...`, which every processor that Linux runs on passes as any other.)
 */
export const MOVE_SYMBOLS = {
  // void *mremap(void *old_address, size_t old_size, size_t new_size, int flags, void *new_address);
  mremap: {
    parameters: [
      "pointer", // void *old_address
      "usize", // size_t old_size
      "usize", // size_t new_size
      "i32", // int flags
      "pointer", // void *new_address
    ],
    result: "pointer", // MAP_FAILED on failure
  },
} as const satisfies SymbolTable;

/** Linux with glibc or musl. */
export const LINUX_SYMBOLS = {
  ...POSIX_SYMBOLS,
  // int *__errno_location(void);
  __errno_location: { parameters: [], result: "pointer" },
} as const satisfies SymbolTable;

/** Android (bionic). */
export const ANDROID_SYMBOLS = {
  ...POSIX_SYMBOLS,
  // volatile int *__errno(void);
  __errno: { parameters: [], result: "pointer" },
} as const satisfies SymbolTable;

/** macOS and FreeBSD. */
export const BSD_SYMBOLS = {
  ...POSIX_SYMBOLS,
  // int *__error(void);
  __error: { parameters: [], result: "pointer" },
} as const satisfies SymbolTable;

/** Windows, kernel32. */
export const WINDOWS_SYMBOLS = {
  // LPVOID VirtualAlloc(LPVOID lpAddress, SIZE_T dwSize, DWORD flAllocationType, DWORD flProtect);
  VirtualAlloc: {
    parameters: [
      "pointer", // LPVOID lpAddress
      "usize", // SIZE_T dwSize
      "u32", // DWORD flAllocationType
      "u32", // DWORD flProtect
    ],
    result: "pointer", // NULL on failure
  },
  // BOOL VirtualFree(LPVOID lpAddress, SIZE_T dwSize, DWORD dwFreeType);
  VirtualFree: {
    parameters: [
      "pointer", // LPVOID lpAddress
      "usize", // SIZE_T dwSize
      "u32", // DWORD dwFreeType
    ],
    result: "i32",
  },
  // BOOL VirtualProtect(LPVOID lpAddress, SIZE_T dwSize, DWORD flNewProtect, PDWORD lpflOldProtect);
  VirtualProtect: {
    parameters: [
      "pointer", // LPVOID lpAddress
      "usize", // SIZE_T dwSize
      "u32", // DWORD flNewProtect
      "pointer", // PDWORD lpflOldProtect
    ],
    result: "i32",
  },
  // DWORD GetLastError(void);
  GetLastError: { parameters: [], result: "u32" },
  // void GetSystemInfo(LPSYSTEM_INFO lpSystemInfo);
  GetSystemInfo: {
    parameters: [
      "pointer", // LPSYSTEM_INFO lpSystemInfo
    ],
    result: "void",
  },
} as const satisfies SymbolTable;

/** Whether a value of this type can need more than 32 bits, and so is a BigInt in Deno and Node. */
export function isWide(type: NativeType): boolean {
  return type === "i64" || type === "usize" || type === "pointer";
}
