/**
 * Where a run took place, and the programs it ran: the two runtimes, and the native replayer with its allocators.
 *
 * @module
 */
import { spawnSync, type SpawnSyncReturns } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { arch, cpus, hostname, release, totalmem } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { detectRuntime, type Runtime } from "./libc.ts";

/** The machine and the versions, for the head of a report. */
export interface Machine {
  readonly host: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly os: string;
  /** Name to version: deno, bun, glibc, cc, mimalloc. */
  readonly versions: { readonly [name: string]: string };
}

/** The versions that the project is measured with when a runtime is not on the path. */
const NPM_PACKAGES: { readonly [runtime in Runtime]: string } = { deno: "deno@2.9.6", bun: "bun@1.4.5" };

/** A program that could not be found or built, with the reason for a stranger. */
export class MissingError extends Error {}

/** Describes this machine; `versions` are what was found out while looking for programs. */
export function describeMachine(versions: { readonly [name: string]: string }): Machine {
  const processors = cpus();
  return {
    host: hostname(),
    cpu: processors[0]?.model.trim() ?? "unknown",
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    os: `${process.platform} ${release()} ${arch()}`,
    versions,
  };
}

/** Finds a runtime: as given, the one that runs this, on the path, or through npx. */
export function findRuntime(runtime: Runtime, given: string | undefined): string {
  if (given !== undefined) return given;
  if (runtime === detectRuntime()) return process.execPath;
  const name = process.platform === "win32" ? `${runtime}.exe` : runtime;
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    if (directory !== "" && existsSync(join(directory, name))) return join(directory, name);
  }
  const script = runtime === "deno" ? ["eval", "console.log(Deno.execPath())"] : ["--print", "process.execPath"];
  const found = spawnSync("npx", ["-y", NPM_PACKAGES[runtime], ...script], { encoding: "utf8" });
  const path = found.stdout?.trim().split("\n").at(-1) ?? "";
  if (found.status === 0 && existsSync(path)) return path;
  throw new MissingError(
    `${runtime} is not on the path, and npx -y ${NPM_PACKAGES[runtime]} did not run; see --${runtime}`,
  );
}

/** The version of a runtime's binary. */
export function runtimeVersion(path: string): string {
  const { stdout } = spawnSync(path, ["--version"], { encoding: "utf8" });
  return /\d+\.\d+\.\d+\S*/.exec(stdout ?? "")?.[0] ?? "unknown";
}

/** The C library's name and version, such as `glibc 2.36`. */
export function libcVersion(): string {
  const { stdout } = spawnSync("getconf", ["GNU_LIBC_VERSION"], { encoding: "utf8" });
  return stdout?.trim() || "unknown";
}

/** The measuring programs of bench/native/. */
export type NativeProgram = "replay" | "churn" | "workers" | "scale";

const COMPILER_FLAGS = ["-std=c11", "-O2", "-fno-builtin", "-pthread"];

/** Compiles the native programs into `directory` and returns their paths and the compiler's version. */
export function buildNative(directory: string): { paths: { [name in NativeProgram]: string }; compiler: string } {
  const paths = {
    replay: compile("replay", directory),
    churn: compile("churn", directory),
    workers: compile("workers", directory),
    scale: compile("scale", directory),
  };
  const { stdout } = spawnSync("cc", ["--version"], { encoding: "utf8" });
  return { paths, compiler: stdout.split("\n")[0]!.trim() };
}

/** Compiles the recorder of `bench/record.ts` into `directory` and returns its path. */
export function buildRecorder(directory: string): string {
  return compile("record", directory, ["-shared", "-fPIC"]);
}

function compile(name: NativeProgram | "record", directory: string, more: readonly string[] = []): string {
  mkdirSync(directory, { recursive: true });
  const source = fileURLToPath(new URL(`../native/${name}.c`, import.meta.url));
  const path = join(directory, name);
  const flags = [...COMPILER_FLAGS, ...more, "-o", path, source, "-ldl"];
  const built: SpawnSyncReturns<string> = spawnSync("cc", flags, { encoding: "utf8" });
  if (built.error !== undefined) throw new MissingError("there is no C compiler (cc)");
  if (built.status !== 0) throw new MissingError(`cc failed on bench/native/${name}.c: ${built.stderr}`);
  return path;
}

/** Where distributions put shared libraries. */
const LIBRARY_DIRECTORIES = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib"];

/** Finds mimalloc for LD_PRELOAD (Debian's package is libmimalloc2.0). */
export function findMimalloc(): string {
  const name = /^libmimalloc\.so(\.\d+)*$/;
  for (const directory of LIBRARY_DIRECTORIES) {
    if (!existsSync(directory)) continue;
    const subdirectories = readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name.includes("-linux-"))
      .map((entry) => join(directory, entry.name));
    for (const candidate of [directory, ...subdirectories]) {
      const found = readdirSync(candidate).filter((entry) => name.test(entry)).sort();
      if (found.length > 0) return join(candidate, found[0]!);
    }
  }
  throw new MissingError("mimalloc is not installed (on Debian: apt-get install libmimalloc2.0)");
}
