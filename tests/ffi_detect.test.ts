/**
 * Finding out where we are, opening the C library, and the errors when either does not work.
 *
 * @module
 */
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import process from "node:process";
import { POSIX_CONSTANTS } from "../ffi/constants.ts";
import { detectPlatform, type RuntimeGlobals } from "../ffi/detect.ts";
import { describeErrno, isExhaustion } from "../ffi/errno.ts";
import { LIBRARY_NAMES, type NativeInterface, openLibrary } from "../ffi/library.ts";
import { nodeInterface } from "../ffi/node.ts";
import { fromPointer, toPointer } from "../ffi/pointer.ts";
import {
  ANDROID_SYMBOLS,
  type BoundSymbols,
  BSD_SYMBOLS,
  isWide,
  LINUX_SYMBOLS,
  type SymbolTable,
  WINDOWS_SYMBOLS,
} from "../ffi/symbols.ts";
import { nativeInterface, openPageSource } from "../ffi/system_page_source.ts";
import { UnsupportedPlatformError } from "../src/errors.ts";
import { fakeNative } from "./fixtures/ffi_fake_libc.ts";
import { isWindows, os, runtimeName } from "./support/runtime.ts";

function deno(osName: string, arch = "x86_64"): RuntimeGlobals {
  return { Deno: { version: { deno: "2.9.6" }, build: { os: osName, arch } } };
}

function node(platform: string, arch = "x64"): RuntimeGlobals {
  return { process: { platform, arch, versions: { node: "26.10.0" } } };
}

describe("detectPlatform()", () => {
  it("knows where this test runs", () => {
    const platform = detectPlatform();
    assertEquals(platform.runtime, runtimeName);
    assertEquals(platform.os === "windows", os === "win32");
    assert(/^\d+\.\d+/.test(platform.version), platform.version);
  });

  it("knows every supported system under the names of every runtime", () => {
    for (
      const [denoName, nodeName, expected] of [
        ["linux", "linux", "linux"],
        ["android", "android", "android"],
        ["darwin", "darwin", "macos"],
        ["freebsd", "freebsd", "freebsd"],
        ["windows", "win32", "windows"],
      ] as const
    ) {
      assertEquals(detectPlatform(deno(denoName)).os, expected);
      assertEquals(detectPlatform(node(nodeName)), {
        runtime: "node",
        version: "26.10.0",
        os: expected,
        arch: "x64",
      });
      const bun = { ...node(nodeName, "arm64"), Bun: { version: "1.4.5" } };
      assertEquals(detectPlatform(bun), { runtime: "bun", version: "1.4.5", os: expected, arch: "arm64" });
    }
  });

  it("takes Deno for Deno and Bun for Bun, although both have a process like Node's", () => {
    assertEquals(detectPlatform({ ...deno("linux"), ...node("linux") }).runtime, "deno");
    assertEquals(detectPlatform({ Bun: { version: "1.4.5" }, ...node("linux") }).runtime, "bun");
  });

  it("an unknown runtime, system or processor is an UnsupportedPlatformError that names it", () => {
    for (
      const [globals, text] of [
        [{}, "none of Deno, Bun and Node.js"],
        [{ process: {} }, "none of Deno, Bun and Node.js"],
        [deno("solaris"), '"solaris"'],
        [deno("toString"), '"toString"'],
        [node("aix"), '"aix"'],
        [node("sunos"), '"sunos"'],
        [node("linux", "ia32"), '"ia32"'],
        [node("linux", "ppc64"), '"ppc64"'],
        [node("linux", "mips64el"), '"mips64el"'],
        [{ Deno: { build: {} } }, '""'],
        [{ Bun: {} }, '""'],
      ] as [RuntimeGlobals, string][]
    ) {
      const error = assertThrows(() => detectPlatform(globals), UnsupportedPlatformError, text);
      assertEquals(error.code, "ERR_UNSUPPORTED_PLATFORM");
      assert(error.message.includes("fixedPageSource(buffer) works everywhere"), error.message);
    }
  });
});

describe("openLibrary()", () => {
  const platform = detectPlatform();
  const table = isWindows ? WINDOWS_SYMBOLS : LINUX_SYMBOLS;

  it("a missing library is an UnsupportedPlatformError with every name and the runtime's reason", () => {
    const native = nativeInterface(platform);
    const names = ["libno-such-thing-1.so", "libno-such-thing-2.so"];
    const error = assertThrows(() => openLibrary(native, platform, table, names), UnsupportedPlatformError);
    assertEquals(error.code, "ERR_UNSUPPORTED_PLATFORM");
    assert(error.message.startsWith(`Cannot open the C library of ${platform.os} ${platform.arch}: tried `));
    for (const name of names) assert(error.message.includes(`${name} (`), error.message);
    assert(error.cause instanceof Error);
    assertThrows(() => openPageSource(native, platform, names), UnsupportedPlatformError, "libno-such-thing-2.so (");
  });

  it("a library without one of the symbols is an UnsupportedPlatformError that names the symbol", () => {
    const symbols = { no_such_function: { parameters: [], result: "i32" } } as const satisfies SymbolTable;
    const error = assertThrows(
      () => openLibrary(nativeInterface(platform), platform, symbols),
      UnsupportedPlatformError,
    );
    assert(error.message.includes("no_such_function"), error.message);
  });

  it("tries the names in order and stops at the first that opens", () => {
    const opened: string[] = [];
    const native: NativeInterface = {
      ...fakeNative(),
      open<T extends SymbolTable>(library: string): BoundSymbols<T> {
        opened.push(library);
        if (library === "a") throw new Error("not there\nsecond line");
        return {} as BoundSymbols<T>;
      },
    };
    openLibrary(native, platform, {}, ["a", "b", "c"]);
    assertEquals(opened, ["a", "b"]);
    assertThrows(() => openLibrary(native, platform, {}, ["a"]), UnsupportedPlatformError, "tried a (not there)");
  });

  it("an error that says what to do is passed on, not wrapped", () => {
    const helpful = new UnsupportedPlatformError("run with --allow-ffi");
    const native: NativeInterface = {
      ...fakeNative(),
      open() {
        throw helpful;
      },
    };
    try {
      openLibrary(native, platform, {}, ["a", "b"]);
      throw new Error("not reached");
    } catch (error) {
      assertStrictEquals(error, helpful);
    }
  });

  it("takes anything that a runtime may throw", () => {
    const native: NativeInterface = {
      ...fakeNative(),
      open() {
        // deno-lint-ignore no-throw-literal
        throw "a string";
      },
    };
    assertThrows(() => openLibrary(native, platform, {}, ["a"]), UnsupportedPlatformError, "tried a (a string)");
  });
});

describe("openPageSource()", () => {
  it("opens the right library and reads errno where each POSIX system has it", () => {
    for (
      const [system, errnoSymbol, symbols, library] of [
        ["linux", "__errno_location", LINUX_SYMBOLS, "libc.so.6"],
        ["android", "__errno", ANDROID_SYMBOLS, "libc.so"],
        ["macos", "__error", BSD_SYMBOLS, "libSystem.B.dylib"],
        ["freebsd", "__error", BSD_SYMBOLS, "libc.so.7"],
      ] as const
    ) {
      const errno = new Int32Array([12]);
      const asked: string[] = [];
      const native: NativeInterface = {
        ...fakeNative(),
        open<T extends SymbolTable>(name: string, table: T): BoundSymbols<T> {
          asked.push(name);
          assertEquals(Object.keys(table), Object.keys(symbols));
          const libc = { getpagesize: () => 16384, mmap: () => -1, [errnoSymbol]: () => 0x1234 };
          return libc as unknown as BoundSymbols<T>;
        },
        wrap(address, byteLength) {
          assertEquals([address, byteLength], [0x1234, 4]);
          return errno.buffer;
        },
      };
      const platform = { runtime: "deno", version: "2", os: system, arch: "x86_64" } as const;
      const source = openPageSource(native, platform);
      assertEquals(asked, [library]);
      assertEquals(LIBRARY_NAMES[system][0], library);
      assertEquals(source.pageSize, 16384);
      assertThrows(() => source.reserve(16384, 1), Error, "errno 12 (ENOMEM");
      errno[0] = system === "macos" || system === "freebsd" ? 35 : 11;
      assertThrows(() => source.reserve(16384, 1), Error, "(EAGAIN, ");
    }
  });
});

describe("the symbol tables", () => {
  it("use only our own types, and know which are wider than 32 bits", () => {
    const known = ["i32", "u32", "i64", "usize", "pointer", "void"];
    for (const symbols of [LINUX_SYMBOLS, ANDROID_SYMBOLS, BSD_SYMBOLS, WINDOWS_SYMBOLS] as SymbolTable[]) {
      for (const { parameters, result } of Object.values(symbols)) {
        for (const type of [...parameters, result]) assert(known.includes(type), type);
      }
    }
    assertEquals(known.filter((type) => isWide(type as "i32")), ["i64", "usize", "pointer"]);
  });

  it("the constants are those of the headers", () => {
    assertEquals(POSIX_CONSTANTS.linux, { MAP_ANONYMOUS: 0x20, MAP_NORESERVE: 0x4000, MADV_ZERO: 4 });
    assertEquals(POSIX_CONSTANTS.android, POSIX_CONSTANTS.linux);
    assertEquals(POSIX_CONSTANTS.macos, { MAP_ANONYMOUS: 0x1000, MAP_NORESERVE: 0x40, MADV_ZERO: null });
    assertEquals(POSIX_CONSTANTS.freebsd, { MAP_ANONYMOUS: 0x1000, MAP_NORESERVE: 0, MADV_ZERO: null });
  });
});

describe("error numbers", () => {
  it("have a name and a text on each system, and unknown ones their number", () => {
    assert(describeErrno("linux", 12).startsWith("errno 12 (ENOMEM, "));
    assert(describeErrno("linux", 11).startsWith("errno 11 (EAGAIN, "));
    assert(describeErrno("android", 38).startsWith("errno 38 (ENOSYS, "));
    assert(describeErrno("macos", 35).startsWith("errno 35 (EAGAIN, "));
    assert(describeErrno("freebsd", 78).startsWith("errno 78 (ENOSYS, "));
    assert(describeErrno("windows", 1455).startsWith("error 1455 (ERROR_COMMITMENT_LIMIT, "));
    assertEquals(describeErrno("macos", 11), "errno 11 (unknown)");
    assertEquals(describeErrno("linux", -7), "errno -7 (unknown)");
    assertEquals(describeErrno("windows", 99999), "error 99999 (unknown)");
  });

  it("say whether something ran out", () => {
    assertEquals(isExhaustion("linux", 12), true);
    assertEquals(isExhaustion("linux", 11), true);
    assertEquals(isExhaustion("linux", 35), false);
    assertEquals(isExhaustion("macos", 35), true);
    assertEquals(isExhaustion("freebsd", 22), false);
    assertEquals(isExhaustion("windows", 8), true);
    assertEquals(isExhaustion("windows", 12), false);
    assertEquals(isExhaustion("windows", 87), false);
  });
});

describe("toPointer() and fromPointer()", () => {
  it("are each other's inverse, null is 0, and the type is the runtime's own", () => {
    for (const address of [1, 4096, 2 ** 31, 2 ** 32, 2 ** 32 + 8, 2 ** 47 - 16, Number.MAX_SAFE_INTEGER]) {
      const pointer = toPointer(address);
      assertEquals(typeof pointer, { deno: "object", bun: "number", node: "bigint" }[runtimeName]);
      assertEquals(fromPointer(pointer), address);
    }
    assertEquals(fromPointer(toPointer(0)), 0);
    assertEquals(fromPointer(null), 0);
  });

  it("wrong addresses and pointers of other runtimes throw", () => {
    for (const bad of [-1, 1.5, NaN, Infinity, 2 ** 53]) assertThrows(() => toPointer(bad), RangeError, `${bad}`);
    assertThrows(() => toPointer("8" as unknown as number), TypeError);
    const foreign = runtimeName === "deno" ? [8, 8n, "8", undefined] : ["8", {}, undefined, true];
    for (const wrong of foreign) {
      assertThrows(() => fromPointer(wrong as unknown as Parameters<typeof fromPointer>[0]), TypeError, "as a pointer");
    }
  });
});

describe("a Node.js without node:ffi", () => {
  it("is an UnsupportedPlatformError that says which version and flag", { ignore: runtimeName === "node" }, () => {
    // Neither Deno nor Bun has a node:ffi, so here the loader is where it would be on an older Node.
    const getBuiltinModule = (process as { getBuiltinModule?: (name: string) => unknown }).getBuiltinModule;
    if (getBuiltinModule?.("node:ffi") !== undefined) return;
    const error = assertThrows(() => nodeInterface("24.1.0"), UnsupportedPlatformError);
    assert(error.message.includes("Node.js 24.1.0: it has no node:ffi. Use Node.js 26 or later"), error.message);
    assert(error.message.includes("--experimental-ffi"), error.message);
  });
});
