/**
 * The page source of the operating system, put together from what was detected: loader, symbols, constants. Everything
 * happens at the first call; importing this file does nothing.
 *
 * @module
 */
import type { PageSource } from "../src/page_source.ts";
import { bunInterface } from "./bun.ts";
import { denoInterface } from "./deno.ts";
import { detectPlatform, type Platform } from "./detect.ts";
import { type NativeInterface, openLibrary } from "./library.ts";
import { nodeInterface } from "./node.ts";
import type { MoveLibrary } from "./page_moves.ts";
import { posixPageSource } from "./posix.ts";
import { ANDROID_SYMBOLS, BSD_SYMBOLS, LINUX_SYMBOLS, MOVE_SYMBOLS, WINDOWS_SYMBOLS } from "./symbols.ts";
import { windowsPageSource } from "./windows.ts";

/** What is loaded once per program and per worker: `errno` belongs to a thread. */
let cached: PageSource | null = null;

/**
 * Memory from the operating system: `mmap` on Linux, Android, macOS and FreeBSD, `VirtualAlloc` on Windows. The same
 * object at every call.
 *
 * The first call opens the C library, which in Deno needs `--allow-ffi`.
 *
 * @throws {UnsupportedPlatformError} When the runtime, the system or a missing permission does not allow it. A later
 * call tries again.
 */
export function systemPageSource(): PageSource {
  if (cached === null) {
    const platform = detectPlatform();
    // Frozen: every heap relies on it, and who wants another spreads it.
    cached = Object.freeze(openPageSource(nativeInterface(platform), platform));
  }
  return cached;
}

/** The foreign function interface of the detected runtime. */
export function nativeInterface({ runtime, version }: Platform): NativeInterface {
  switch (runtime) {
    case "deno":
      return denoInterface();
    case "bun":
      return bunInterface();
    case "node":
      return nodeInterface(version);
  }
}

/** Opens the C library and makes the page source over it. `names` and `pageSize` are for tests. */
export function openPageSource(
  native: NativeInterface,
  platform: Platform,
  names?: readonly string[],
  pageSize?: number,
): PageSource {
  const { os } = platform;
  if (os === "windows") {
    return windowsPageSource({ kernel32: openLibrary(native, platform, WINDOWS_SYMBOLS, names), native });
  }
  const common = pageSize === undefined ? { os, native } : { os, native, pageSize };
  if (os === "linux") {
    const libc = openLibrary(native, platform, LINUX_SYMBOLS, names);
    const errno = errnoReader(native, libc.__errno_location());
    return posixPageSource({ ...common, libc, errno, openMove: () => openMoveLibrary(native, platform, names) });
  }
  if (os === "android") {
    const libc = openLibrary(native, platform, ANDROID_SYMBOLS, names);
    return posixPageSource({ ...common, libc, errno: errnoReader(native, libc.__errno()) });
  }
  const libc = openLibrary(native, platform, BSD_SYMBOLS, names);
  return posixPageSource({ ...common, libc, errno: errnoReader(native, libc.__error()) });
}

/** `mremap`, or null when it cannot be had: it only spares a copy. */
function openMoveLibrary(
  native: NativeInterface,
  platform: Platform,
  names: readonly string[] | undefined,
): MoveLibrary | null {
  try {
    return openLibrary(native, platform, MOVE_SYMBOLS, names);
  } catch {
    return null;
  }
}

/**
 * A function that reads this thread's `errno` out of memory. Made ahead of any failure, because nothing may come
 * between a failed call and the reading: an allocation or a collection can change `errno`.
 */
function errnoReader(native: NativeInterface, location: number): () => number {
  const errno = new Int32Array(native.wrap(location, 4));
  return function readErrno(): number {
    return errno[0] as number;
  };
}
