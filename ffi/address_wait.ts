/**
 * Waiting for a word of memory to change, and telling whether a thread still runs: what shared heaps need.
 *
 * ```text
 *             wait, wake                          which thread, and has it ended
 * Linux       futex, by syscall()                 gettid; tgkill(pid, tid, 0) fails when it has
 * Android     the same                            the same
 * Windows     WaitOnAddress, WakeByAddressSingle  a handle of the thread; WaitForSingleObject(handle, 0)
 * macOS       __ulock_wait, __ulock_wake          not told
 * FreeBSD     usleep, nothing                     not told
 * ```
 *
 * A thread id of Linux can be used again by a later thread once the ids have gone around (4 million by default on 64-bit
 * systems, 32,768 on some); until that other thread ends too, the first is taken to be alive. Handles have no such flaw.
 *
 * Whether memory is readable is asked of the kernel: `access` takes a path and fails, without a fault, when it cannot be read;
 * a control block begins with the path "/". On Windows it is `IsBadReadPtr`.
 *
 * @module
 */
import { UnsupportedPlatformError } from "../src/errors.ts";
import type { Address } from "../src/page_source.ts";
import { PROBE_BYTE } from "../src/shared_handle.ts";
import type { Scratch, SharedPlatform } from "../src/shared_platform.ts";
import { detectPlatform, type Platform } from "./detect.ts";
import { type NativeInterface, openLibrary } from "./library.ts";
import type { SymbolTable } from "./symbols.ts";
import { nativeInterface, systemPageSource } from "./system_page_source.ts";

/** POSIX. */
const COMMON_SYMBOLS = {
  // pid_t getpid(void);
  getpid: { parameters: [], result: "i32" },
  // int access(const char *pathname, int mode);
  access: {
    parameters: [
      "pointer", // const char *pathname
      "i32", // int mode
    ],
    result: "i32",
  },
} as const satisfies SymbolTable;

/** Linux. `syscall` is variadic; on every processor here its arguments travel as those of any function. */
const LINUX_SYMBOLS = {
  ...COMMON_SYMBOLS,
  // long syscall(long number, ...);
  syscall: {
    parameters: [
      "i64", // long number
      "usize", // and five arguments, each a register wide
      "usize",
      "usize",
      "usize",
      "usize",
    ],
    result: "i64",
  },
} as const satisfies SymbolTable;

/** macOS. Not declared in any header, and what its own C++ library waits with. */
const MACOS_SYMBOLS = {
  ...COMMON_SYMBOLS,
  // int __ulock_wait(uint32_t operation, void *addr, uint64_t value, uint32_t timeout_us);
  __ulock_wait: {
    parameters: [
      "u32", // uint32_t operation
      "pointer", // void *addr
      "usize", // uint64_t value
      "u32", // uint32_t timeout_us
    ],
    result: "i32",
  },
  // int __ulock_wake(uint32_t operation, void *addr, uint64_t value);
  __ulock_wake: {
    parameters: [
      "u32", // uint32_t operation
      "pointer", // void *addr
      "usize", // uint64_t value
    ],
    result: "i32",
  },
} as const satisfies SymbolTable;

/** FreeBSD. */
const FREEBSD_SYMBOLS = {
  ...COMMON_SYMBOLS,
  // int usleep(useconds_t microseconds);
  usleep: {
    parameters: [
      "u32", // useconds_t microseconds
    ],
    result: "i32",
  },
} as const satisfies SymbolTable;

/** kernel32. */
const KERNEL32_SYMBOLS = {
  // DWORD GetCurrentProcessId(void);
  GetCurrentProcessId: { parameters: [], result: "u32" },
  // DWORD GetCurrentThreadId(void);
  GetCurrentThreadId: { parameters: [], result: "u32" },
  // HANDLE OpenThread(DWORD dwDesiredAccess, BOOL bInheritHandle, DWORD dwThreadId);
  OpenThread: {
    parameters: [
      "u32", // DWORD dwDesiredAccess
      "i32", // BOOL bInheritHandle
      "u32", // DWORD dwThreadId
    ],
    result: "pointer",
  },
  // DWORD WaitForSingleObject(HANDLE hHandle, DWORD dwMilliseconds);
  WaitForSingleObject: {
    parameters: [
      "pointer", // HANDLE hHandle
      "u32", // DWORD dwMilliseconds
    ],
    result: "u32",
  },
  // BOOL CloseHandle(HANDLE hObject);
  CloseHandle: {
    parameters: [
      "pointer", // HANDLE hObject
    ],
    result: "i32",
  },
  // BOOL IsBadReadPtr(const VOID *lp, UINT_PTR ucb);
  IsBadReadPtr: {
    parameters: [
      "pointer", // const VOID *lp
      "usize", // UINT_PTR ucb
    ],
    result: "i32",
  },
} as const satisfies SymbolTable;

/** Of an API set that newer names of kernel32 are found under. */
const SYNCH_SYMBOLS = {
  // BOOL WaitOnAddress(volatile VOID *Address, PVOID CompareAddress, SIZE_T AddressSize, DWORD dwMilliseconds);
  WaitOnAddress: {
    parameters: [
      "pointer", // volatile VOID *Address
      "pointer", // PVOID CompareAddress
      "usize", // SIZE_T AddressSize
      "u32", // DWORD dwMilliseconds
    ],
    result: "i32",
  },
  // void WakeByAddressSingle(PVOID Address);
  WakeByAddressSingle: {
    parameters: [
      "pointer", // PVOID Address
    ],
    result: "void",
  },
} as const satisfies SymbolTable;

/** Where those are. */
const SYNCH_LIBRARIES = ["api-ms-win-core-synch-l1-2-0.dll", "kernelbase.dll"];

/** `SYNCHRONIZE`: a handle that can be waited for. */
const SYNCHRONIZE = 0x0010_0000;
/** `WAIT_OBJECT_0`: a thread that was waited for has ended. */
const WAIT_OBJECT_0 = 0;
/** `F_OK`: whether a path exists. */
const F_OK = 0;
/** `FUTEX_WAIT | FUTEX_PRIVATE_FLAG`. */
const FUTEX_WAIT_PRIVATE = 128;
/** `FUTEX_WAKE | FUTEX_PRIVATE_FLAG`. */
const FUTEX_WAKE_PRIVATE = 129;
/** `UL_COMPARE_AND_WAIT`. */
const UL_COMPARE_AND_WAIT = 1;

/** The numbers of Linux's system calls. */
interface SyscallNumbers {
  readonly futex: number;
  readonly gettid: number;
  readonly tgkill: number;
}

/** `asm/unistd_64.h` of x86. */
const SYSCALLS_X86: SyscallNumbers = { futex: 202, gettid: 186, tgkill: 234 };
/** `asm-generic/unistd.h`: arm64, riscv64, loong64. */
const SYSCALLS_GENERIC: SyscallNumbers = { futex: 98, gettid: 178, tgkill: 131 };
/** `asm/unistd_64.h` of s390. */
const SYSCALLS_S390: SyscallNumbers = { futex: 238, gettid: 236, tgkill: 241 };

let cached: SharedPlatform | null = null;

/**
 * The platform of this thread; loaded once in each worker.
 *
 * @throws {UnsupportedPlatformError} As {@link systemPageSource}.
 */
export function systemSharedPlatform(): SharedPlatform {
  if (cached === null) {
    const platform = detectPlatform();
    cached = Object.freeze(openSharedPlatform(nativeInterface(platform), platform));
  }
  return cached;
}

/** Opens what the platform needs. */
export function openSharedPlatform(native: NativeInterface, platform: Platform): SharedPlatform {
  switch (platform.os) {
    case "linux":
    case "android":
      return linuxPlatform(native, platform);
    case "windows":
      return windowsPlatform(native, platform);
    case "macos":
      return macosPlatform(native, platform);
    case "freebsd":
      return freebsdPlatform(native, platform);
  }
}

function linuxPlatform(native: NativeInterface, platform: Platform): SharedPlatform {
  const { syscall, getpid, access } = openLibrary(native, platform, LINUX_SYMBOLS);
  const { futex, gettid, tgkill } = syscallNumbers(platform.arch);
  const processId = getpid();
  const thread = syscall(gettid, 0, 0, 0, 0, 0);
  return {
    source: systemPageSource(),
    processId,
    discardsAtOnce: true,
    noticesTermination: true,
    thisThread: () => thread,
    releaseThread() {},
    isThreadGone: (other) => syscall(tgkill, processId, other, 0, 0, 0) !== 0,
    isHeap: (address) => access(address, F_OK) === 0,
    wait(address, expected, milliseconds, { address: timeout, words }) {
      writeTimespec(words, milliseconds);
      syscall(futex, address, FUTEX_WAIT_PRIVATE, expected, timeout, 0);
    },
    wake(address) {
      syscall(futex, address, FUTEX_WAKE_PRIVATE, 1, 0, 0);
    },
  };
}

/** A `struct timespec` of two 64-bit words; the upper halves are zero for what is waited here. */
function writeTimespec(words: Int32Array, milliseconds: number): void {
  const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  const low = isLittleEndian ? 0 : 1;
  words.fill(0);
  words[low] = Math.floor(milliseconds / 1000);
  words[low + 2] = (milliseconds % 1000) * 1_000_000;
}

function syscallNumbers(arch: string): SyscallNumbers {
  if (arch === "x86_64" || arch === "x64") return SYSCALLS_X86;
  if (arch === "s390x") return SYSCALLS_S390;
  return SYSCALLS_GENERIC;
}

function windowsPlatform(native: NativeInterface, platform: Platform): SharedPlatform {
  const kernel32 = openLibrary(native, platform, KERNEL32_SYMBOLS);
  const synch = openLibrary(native, platform, SYNCH_SYMBOLS, SYNCH_LIBRARIES);
  return {
    source: systemPageSource(),
    processId: kernel32.GetCurrentProcessId(),
    discardsAtOnce: false,
    noticesTermination: true,
    thisThread() {
      const handle = kernel32.OpenThread(SYNCHRONIZE, 0, kernel32.GetCurrentThreadId());
      if (handle === 0) {
        throw new UnsupportedPlatformError("Cannot share a heap: OpenThread gives no handle of the thread");
      }
      return handle;
    },
    releaseThread(handle) {
      kernel32.CloseHandle(handle);
    },
    isThreadGone: (handle) => kernel32.WaitForSingleObject(handle, 0) === WAIT_OBJECT_0,
    isHeap: (address) =>
      kernel32.IsBadReadPtr(address, 2) === 0 && new Uint8Array(native.wrap(address, 2))[0] === PROBE_BYTE,
    wait(address, expected, milliseconds, { address: compare, words }: Scratch) {
      words[0] = expected;
      synch.WaitOnAddress(address, compare, 4, milliseconds);
    },
    wake(address) {
      synch.WakeByAddressSingle(address);
    },
  };
}

function macosPlatform(native: NativeInterface, platform: Platform): SharedPlatform {
  const { getpid, access, __ulock_wait, __ulock_wake } = openLibrary(native, platform, MACOS_SYMBOLS);
  return {
    ...withoutThreads(getpid(), access),
    wait(address, expected, milliseconds) {
      __ulock_wait(UL_COMPARE_AND_WAIT, address, expected, milliseconds * 1000);
    },
    wake(address) {
      __ulock_wake(UL_COMPARE_AND_WAIT, address, 0);
    },
  };
}

function freebsdPlatform(native: NativeInterface, platform: Platform): SharedPlatform {
  const { getpid, access, usleep } = openLibrary(native, platform, FREEBSD_SYMBOLS);
  return {
    ...withoutThreads(getpid(), access),
    wait(_address, _expected, milliseconds) {
      usleep(milliseconds * 1000);
    },
    wake() {},
  };
}

/** A platform that does not tell whether a thread has ended. */
function withoutThreads(
  processId: number,
  access: (path: Address, mode: number) => number,
): Omit<SharedPlatform, "wait" | "wake"> {
  return {
    source: systemPageSource(),
    processId,
    discardsAtOnce: true,
    noticesTermination: false,
    thisThread: () => 1,
    releaseThread() {},
    isThreadGone: () => false,
    isHeap: (address) => access(address, F_OK) === 0,
  };
}
