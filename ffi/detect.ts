/**
 * Which runtime, operating system and processor this program runs on: the only place that asks.
 *
 * The three runtimes are told apart by their own globals, in an order that matters: Deno and Bun both have a `process`
 * that imitates Node's. Nothing here needs a permission.
 *
 * @module
 */
import { UnsupportedPlatformError } from "../src/errors.ts";

/** The runtimes whose foreign function interface is known. */
export type RuntimeName = "deno" | "bun" | "node";

/** The operating systems whose C symbols and constants are known. */
export type OperatingSystem = "linux" | "android" | "macos" | "freebsd" | "windows";

/** Where this program runs. */
export interface Platform {
  /** The runtime. */
  readonly runtime: RuntimeName;
  /** Its version, for messages. */
  readonly version: string;
  /** The operating system. */
  readonly os: OperatingSystem;
  /** The processor, as the runtime names it. */
  readonly arch: string;
}

/** What is read of the global object. Every part may be missing, and tests pass their own. */
export interface RuntimeGlobals {
  /** Deno's namespace. */
  readonly Deno?: {
    readonly version?: { readonly deno?: string };
    readonly build?: { readonly os?: string; readonly arch?: string };
  };
  /** Bun's namespace. */
  readonly Bun?: { readonly version?: string };
  /** Node's process, and what Deno and Bun have in its place. */
  readonly process?: {
    readonly platform?: string;
    readonly arch?: string;
    readonly versions?: { readonly [component: string]: string | undefined };
  };
}

/** The names that runtimes give to operating systems: Deno's `build.os` and Node's `process.platform`. */
const OPERATING_SYSTEMS: { readonly [name: string]: OperatingSystem } = {
  linux: "linux",
  android: "android",
  darwin: "macos",
  freebsd: "freebsd",
  windows: "windows",
  win32: "windows",
};

/**
 * The processors on which the constants of constants.ts are right, as Deno and Node spell them. All have 64-bit
 * addresses. Others (MIPS, PowerPC, SPARC) give the `MAP_*` flags of Linux other values, so they are not guessed at.
 */
const PROCESSORS: readonly string[] = ["x86_64", "x64", "aarch64", "arm64", "riscv64gc", "riscv64", "s390x", "loong64"];

/**
 * Detects the platform.
 *
 * @throws {UnsupportedPlatformError} When the runtime, the operating system or the processor is not a known one.
 */
export function detectPlatform(globals: RuntimeGlobals = globalThis as unknown as RuntimeGlobals): Platform {
  const { runtime, version, osName, arch } = readNames(globals);
  if (runtime === null) {
    throw new UnsupportedPlatformError(
      "Cannot use native memory in this runtime: it is none of Deno, Bun and Node.js. " +
        "A fixedPageSource(buffer) works everywhere",
    );
  }
  const os = Object.hasOwn(OPERATING_SYSTEMS, osName) ? OPERATING_SYSTEMS[osName] : undefined;
  if (os === undefined) {
    throw new UnsupportedPlatformError(
      `Cannot use native memory on the operating system ${JSON.stringify(osName)}: known are Linux, Android, macOS, ` +
        "FreeBSD and Windows. A fixedPageSource(buffer) works everywhere",
    );
  }
  if (!PROCESSORS.includes(arch)) {
    throw new UnsupportedPlatformError(
      `Cannot use native memory on the processor ${JSON.stringify(arch)}: known are x86-64, arm64, riscv64, s390x ` +
        "and loong64. A fixedPageSource(buffer) works everywhere",
    );
  }
  return { runtime, version, os, arch };
}

/** The names as the runtime gives them, not yet judged. */
function readNames(
  globals: RuntimeGlobals,
): { runtime: RuntimeName | null; version: string; osName: string; arch: string } {
  const { Deno, Bun } = globals;
  if (Deno?.build !== undefined) {
    return {
      runtime: "deno",
      version: Deno.version?.deno ?? "",
      osName: Deno.build.os ?? "",
      arch: Deno.build.arch ?? "",
    };
  }
  // Not before: Deno loads Node's process when somebody looks at it, which takes it 11 ms.
  const { process } = globals;
  const names = { osName: process?.platform ?? "", arch: process?.arch ?? "" };
  if (Bun !== undefined) return { runtime: "bun", version: Bun.version ?? "", ...names };
  const version = process?.versions?.["node"];
  if (version !== undefined) return { runtime: "node", version, ...names };
  return { runtime: null, version: "", ...names };
}
