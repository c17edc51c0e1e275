/**
 * Starts measuring processes, one at a time, and reads the line of JSON that each prints.
 *
 * What is not there (a runtime, a compiler, mimalloc) or fails is left out and remembered with the reason, so that a
 * report can say what it lacks.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Runtime } from "./libc.ts";
import {
  buildNative,
  findMimalloc,
  findRuntime,
  libcVersion,
  MissingError,
  type NativeProgram,
  runtimeVersion,
} from "./machine.ts";
import type { Missing } from "./results.ts";

/** What the environment of a child has more than ours. */
export type Environment = { readonly [name: string]: string };

/** A command line. */
interface Command {
  readonly command: string;
  readonly args: readonly string[];
  readonly environment?: Environment;
}

/** Which programs to look for. */
export interface ChildrenOptions {
  readonly runtimes: readonly Runtime[];
  /** Binaries that were named, by runtime. */
  readonly given: { readonly [runtime in Runtime]?: string | undefined };
  /** The module whose `Heap` is measured. */
  readonly module: string | undefined;
  /** Where the native programs are built. */
  readonly scratch: string;
}

/** The programs of a run. */
export class Children {
  /** The runtimes that are there. */
  readonly runtimes: readonly string[];
  /** The native allocators that are there, `null` among them. */
  readonly native: readonly string[];
  /** What was asked for and is not there, or failed. */
  readonly missing: Missing[] = [];
  /** Name to version of everything that was found. */
  readonly versions: { [name: string]: string } = {};
  readonly #binaries: { [runtime: string]: string } = {};
  readonly #module: readonly string[];
  #programs: { readonly [name in NativeProgram]: string } | undefined;
  #mimalloc: string | undefined;

  /** Finds the runtimes and builds the native side. */
  constructor({ runtimes, given, module, scratch }: ChildrenOptions) {
    this.#module = module === undefined ? [] : ["--module", pathToFileURL(resolve(module)).href];
    for (const runtime of runtimes) {
      const path = this.#attempt(runtime, () => findRuntime(runtime, given[runtime]));
      if (path === undefined) continue;
      this.#binaries[runtime] = path;
      this.versions[runtime] = runtimeVersion(path);
    }
    this.runtimes = Object.keys(this.#binaries);
    const native = this.#attempt("native allocators", () => buildNative(scratch));
    if (native !== undefined) {
      this.#programs = native.paths;
      this.versions["libc"] = libcVersion();
      this.versions["cc"] = native.compiler;
      this.#mimalloc = this.#attempt("mimalloc", findMimalloc);
    }
    this.native = native === undefined
      ? []
      : this.#mimalloc === undefined
      ? ["null", "glibc"]
      : ["null", "glibc", "mimalloc"];
  }

  #attempt<T>(what: string, action: () => T): T | undefined {
    try {
      return action();
    } catch (error) {
      if (!(error instanceof MissingError)) throw error;
      this.missing.push({ what, why: error.message });
      return undefined;
    }
  }

  /** The binary of a runtime that is there. */
  binaryOf(runtime: string): string {
    return this.#binaries[runtime]!;
  }

  /** Runs a script of bench/ on a runtime. `undefined` when it fails: `missing` has the reason then. */
  runScript<T extends object>(
    runtime: string,
    script: string,
    who: string,
    args: readonly string[],
    environment: Environment = {},
  ): T | undefined {
    const file = fileURLToPath(new URL(`../${script}`, import.meta.url));
    const head = runtime === "deno" ? ["run", "-A", "--quiet", "--v8-flags=--expose-gc"] : ["run"];
    const command = this.#binaries[runtime]!;
    return this.#run(who, { command, args: [...head, file, ...args, ...this.#module], environment });
  }

  /** Runs a native program with one of the allocators of {@link native}; `null` is a mode of the program. */
  runNative<T extends object>(
    program: NativeProgram,
    allocator: string,
    who: string,
    args: readonly string[],
  ): T | undefined {
    const mode = allocator === "null" ? "null" : "malloc";
    const preload = allocator === "mimalloc" ? { environment: { LD_PRELOAD: this.#mimalloc! } } : {};
    return this.#run(who, { command: this.#programs![program], args: [mode, ...args], ...preload });
  }

  #run<T extends object>(who: string, { command, args, environment }: Command): T | undefined {
    const env = { ...process.env, NO_COLOR: "1", ...environment };
    const child = spawnSync(command, args, { encoding: "utf8", env, maxBuffer: 2 ** 28 });
    if (child.status === 0) {
      const report = JSON.parse(child.stdout) as T & { readonly preloaded?: string; readonly version?: number };
      if (environment?.["LD_PRELOAD"] !== undefined) {
        if (report.preloaded !== "mimalloc") {
          throw new Error(`${environment["LD_PRELOAD"]} was not loaded into ${command}`);
        }
        if (report.version !== undefined) this.versions["mimalloc"] = formatMimallocVersion(report.version);
      }
      return report;
    }
    const why = child.error?.message ?? `${findError(child.stderr)} (status ${child.status ?? child.signal})`;
    if (!this.missing.some((one) => one.what === who && one.why === why)) this.missing.push({ what: who, why });
    return undefined;
  }
}

/** The line that says what went wrong, in the ways that the runtimes say it. */
export function findError(output: string): string {
  const lines = output.trim().split("\n");
  const line = lines.find((line) => /^(\w*: )?(error|\w*Error): /.test(line)) ??
    lines.find((line) => line.includes("rror")) ?? "no output";
  // Without directories: results are published, and the paths of a machine are nobody's business.
  return line.replace("Uncaught (in promise) ", "").replace(/^error: (?=\w*Error: )/, "")
    .replaceAll(/(file:\/\/)?\/[^\s:]*\//g, "");
}

/** 209 is 2.0.9. */
function formatMimallocVersion(version: number): string {
  return `${Math.floor(version / 100)}.${Math.floor(version / 10) % 10}.${version % 10}`;
}

/** A line that is written over, on a terminal only. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}
