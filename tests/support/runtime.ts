/**
 * What the tests know of the process they run in, and child processes of the same runtime: for what must be seen from
 * outside (a crash, an exit code, a permission that is missing, an import that must have no effect).
 *
 * The environment variable `OFFHEAP_RUNTIME`, set by scripts/foreign.ts, lets the same tests run where a process cannot
 * simply start its own executable again: it is the command to start instead of `process.execPath` (under qemu the kernel
 * cannot execute the arm64 binary itself).
 *
 * @module
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The runtimes that the tests run on. */
export type RuntimeName = "deno" | "bun" | "node";

/** The runtime of this process. */
export const runtimeName: RuntimeName = "Deno" in globalThis
  ? "deno"
  : process.versions["bun"] !== undefined
  ? "bun"
  : "node";

/** The operating system as Node names it: "linux", "darwin", "win32", "freebsd", "android". */
export const os: string = process.platform;
/** Whether this is Linux, and so `/proc` is there. */
export const isLinux: boolean = os === "linux";
/** Whether this is Windows, or Wine. */
export const isWindows: boolean = os === "win32";
/** Whether an emulator of another processor runs this: slowly, with less address space, and with memory of its own beside. */
export const isEmulated: boolean = (process.env["OFFHEAP_RUNTIME"] ?? "") !== "";

/** The root of the checkout as a URL that ends in a slash: `import("${rootUrl}mod.ts")` works in any child. */
export const rootUrl: string = new URL("../../", import.meta.url).href;
/** The root of the checkout as a path. */
export const rootPath: string = fileURLToPath(rootUrl);

/** The whole number in an environment variable, or `fallback` when it is not set. Throws when it is not a number. */
export function envInteger(name: string, fallback: number): number {
  const text = process.env[name];
  if (text === undefined || text === "") return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`Cannot use ${JSON.stringify(text)} as ${name}: it must be a whole number`);
  }
  return value;
}

/** Resident memory of this process in bytes. */
export function rssBytes(): number {
  if (!isLinux) return process.memoryUsage().rss;
  const kibibytes = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  // Under an emulator the file can lack the line.
  return kibibytes === undefined ? process.memoryUsage().rss : Number(kibibytes) * 1024;
}

/** Count of the memory mappings of this process. Linux only: tests that need it are skipped unless {@link isLinux}. */
export function mappingCount(): number {
  return readFileSync("/proc/self/maps", "utf8").trimEnd().split("\n").length;
}

/** How to run a child. */
export interface RunOptions {
  /** Arguments of the program. */
  args?: readonly string[];
  /** Added to the environment; `undefined` takes a variable away. */
  env?: Readonly<Record<string, string | undefined>>;
  /** Flags of `deno run`, ignored elsewhere; an empty list is no permission at all. @defaultValue ["-A"] */
  denoFlags?: readonly string[];
  /** Working directory. @defaultValue the root of the checkout */
  cwd?: string;
  /** The child is killed after this time, and the promise rejects. @defaultValue 300,000 */
  timeoutMs?: number;
}

/** How a child ended, and what it wrote. */
export interface RunResult {
  /** The exit code; `null` when a signal ended it. */
  readonly code: number | null;
  /** The signal that ended it, if one did. */
  readonly signal: string | null;
  /** All of its standard output. */
  readonly stdout: string;
  /** All of its standard error. */
  readonly stderr: string;
}

/** Variables that would make a child report to the runner of its parent. */
const RUNNER_VARIABLES = ["DENO_COVERAGE_DIR", "NODE_V8_COVERAGE", "NODE_TEST_CONTEXT", "NODE_OPTIONS"];

/** The executable and the arguments that run `file` in this runtime. */
export function commandFor(file: string, denoFlags: readonly string[] = ["-A"]): [string, string[]] {
  const executable = process.env["OFFHEAP_RUNTIME"] || process.execPath;
  switch (runtimeName) {
    case "deno": {
      const importMap = fileURLToPath(new URL("./import_map.json", import.meta.url));
      return [executable, ["run", "--quiet", ...denoFlags, `--import-map=${importMap}`, file]];
    }
    case "bun":
      return [executable, ["run", file]];
    case "node":
      return [executable, ["--no-warnings", "--import", new URL("./node_loader.mjs", import.meta.url).href, file]];
  }
}

/** Runs a TypeScript file (a path, from the root of the checkout or absolute) in a new process of this runtime. */
export function runFile(file: string | URL, options: RunOptions = {}): Promise<RunResult> {
  const url = file instanceof URL ? file : /^([/\\]|[A-Za-z]:)/.test(file) ? undefined : new URL(file, rootUrl);
  const [executable, args] = commandFor(url === undefined ? `${file}` : fileURLToPath(url), options.denoFlags);
  return run(executable, [...args, ...(options.args ?? [])], options);
}

/**
 * Runs TypeScript source in a new process of this runtime. It imports from the checkout with {@link rootUrl}:
 * ``runSource(`import { Heap } from "${rootUrl}mod.ts"; new Heap();`)``.
 */
export async function runSource(source: string, options: RunOptions = {}): Promise<RunResult> {
  const directory = mkdtempSync(join(tmpdir(), "offheap-test-"));
  const file = join(directory, "child.ts");
  writeFileSync(file, source);
  try {
    return await runFile(file, options);
  } finally {
    // One by one, as a recursive `rmSync` fails in Bun under Wine.
    unlinkSync(file);
    rmdirSync(directory);
  }
}

/** Runs any command, without a shell and with an empty standard input. Rejects when it cannot be started. */
export async function run(
  executable: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries({ ...process.env, NO_COLOR: "1", ...options.env })) {
    if (value !== undefined && !RUNNER_VARIABLES.includes(name)) env[name] = value;
  }
  const timeoutMs = options.timeoutMs ?? 300_000;
  const start = runtimeName === "deno" ? startWithDeno : startWithNode;
  const child = start(executable, args, options.cwd ?? rootPath, env);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill();
  }, timeoutMs);
  try {
    const result = await child.result;
    if (!late) return result;
    const output = `${result.stdout}\n${result.stderr}`;
    throw new Error(`Cannot wait for ${executable} ${args.join(" ")}: it took more than ${timeoutMs} ms\n${output}`);
  } finally {
    clearTimeout(timer);
  }
}

interface Child {
  readonly result: Promise<RunResult>;
  kill(): void;
}

/** The part of `Deno` used here, so that this file also type-checks where there is none. */
interface DenoProcesses {
  Command: new (executable: string, options: object) => {
    spawn(): {
      output(): Promise<{ code: number; signal: string | null; stdout: Uint8Array; stderr: Uint8Array }>;
      kill(signal: string): void;
    };
  };
}

/**
 * Deno's own way, because its `node:child_process` gives a child that is Deno too, and has no permission flag, all
 * permissions: a child that should have none would have them all.
 */
function startWithDeno(executable: string, args: readonly string[], cwd: string, env: Record<string, string>): Child {
  const { Command } = (globalThis as unknown as { Deno: DenoProcesses }).Deno;
  const options = { args, cwd, env, clearEnv: true, stdin: "null", stdout: "piped", stderr: "piped" };
  const child = new Command(executable, options).spawn();
  async function finish(): Promise<RunResult> {
    const { code, signal, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    return {
      code: signal === null ? code : null,
      signal,
      stdout: decoder.decode(stdout),
      stderr: decoder.decode(stderr),
    };
  }
  return { result: finish(), kill: () => child.kill("SIGKILL") };
}

/** What Bun writes under Wine, and only there, when it reads tsconfig.json. */
const WINE_NOISE = /^Internal error: directory mismatch for directory .*\r?\n/gm;

function startWithNode(executable: string, args: readonly string[], cwd: string, env: Record<string, string>): Child {
  const child = spawn(executable, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"], windowsHide: true });
  const result = new Promise<RunResult>((resolve, reject) => {
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => void (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => void (stderr += text));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      resolve({ code, signal, stdout, stderr: isWindows ? stderr.replace(WINE_NOISE, "") : stderr });
    });
  });
  return { result, kill: () => void child.kill("SIGKILL") };
}
