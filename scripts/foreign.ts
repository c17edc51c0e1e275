/**
 * `deno task foreign DIRECTORY`: the suites on the platforms that this machine is not, through the commands in
 * DIRECTORY/bin: Deno and Bun for Windows (Wine) and for arm64 (qemu), Bun on musl, Node 26.
 *
 * `OFFHEAP_RANDOM_OPS` shortens the random tests, which would take most of the time under emulation and find nothing
 * more there: what differs between platforms is the platform layer. `--only=bun-win,node26` runs some of the
 * platforms, and files may be named. The last line is `N passed, N failed` over all of them.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { closingLine, noCounts } from "./junit.ts";
import { type Runner, runSuites, summarise, testFiles } from "./runners.ts";

/** Operations of each random test, unless the environment says so already. */
const RANDOM_OPS = process.env["OFFHEAP_RANDOM_OPS"] || "20000";

interface Platform {
  readonly name: string;
  readonly kind: Runner["kind"];
  /** Whether the kernel cannot start the executable by itself, so that tests must start children by the command. */
  readonly emulated?: boolean;
  /** Whether it is Windows, under Wine. */
  readonly wine?: boolean;
}

/**
 * What runs on emulated processors, where a test takes ten to a hundred times as long: the platform layer, calls of C
 * and the conformance suite of the heap. What differs between processors is there. The text is a filter: of that file,
 * only the tests with it in their names.
 */
const EMULATED_FILES: Readonly<Record<string, string>> = {
  "tests/adapters.test.ts": "",
  "tests/address_wait.test.ts": "",
  "tests/brk_page_source.test.ts": "",
  "tests/call_c.test.ts": "",
  "tests/fixed_page_source.test.ts": "",
  "tests/heap_conformance.test.ts": "Heap over the system",
  "tests/native_buffer.test.ts": "",
  "tests/native_buffer_resize.test.ts": "",
  "tests/runtime.test.ts": "",
  "tests/runtime_facts.test.ts": "",
  "tests/shared_heap.test.ts": "lets either attachment",
  "tests/system_page_source.test.ts": "",
  "tests/system_page_source_wraps.test.ts": "",
};

/**
 * With several programs at once Wine now and then gives one a bad handle (EBADFD from a file that is there), or refuses to start
 * one (EUNKNOWN): about one file in a thousand. What then passes is listed at the end.
 */
const WINE_ATTEMPTS = 2;

/** Left out elsewhere: thousands of combinations of policies that no platform makes a difference to. */
const LONG_FILES = ["tests/systems_conformance.test.ts", "tests/arenas_conformance.test.ts"];

/** Slowest first, so that the end is not one processor waiting for the other. */
const PLATFORMS: readonly Platform[] = [
  { name: "deno-arm64", kind: "deno", emulated: true },
  { name: "bun-arm64", kind: "bun", emulated: true },
  { name: "deno-win", kind: "deno", wine: true },
  { name: "bun-win", kind: "bun", wine: true },
  { name: "node26", kind: "node" },
  { name: "bun-musl", kind: "bun" },
];

const { values, positionals } = parseArgs({ options: { only: { type: "string" } }, allowPositionals: true });
const [directory, ...named] = positionals;
if (directory === undefined) {
  console.error("Usage: deno task foreign DIRECTORY [--only=NAME,NAME] [FILE ...]");
  process.exit(2);
}

const only = values.only?.split(",") ?? PLATFORMS.map(({ name }) => name);
const unknown = only.find((name) => !PLATFORMS.some((platform) => platform.name === name));
if (unknown !== undefined) {
  console.error(`Cannot run on ${unknown}: the platforms are ${PLATFORMS.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}

const runners: Runner[] = [];
let missing = 0;
for (const { name, kind, emulated = false, wine = false } of PLATFORMS) {
  if (!only.includes(name)) continue;
  const executable = resolve(directory, "bin", name);
  if (!existsSync(executable)) {
    console.error(`Cannot run on ${name}: there is no ${executable}`);
    missing++;
    continue;
  }
  const env = { OFFHEAP_RANDOM_OPS: RANDOM_OPS, ...(emulated ? { OFFHEAP_RUNTIME: executable } : {}) };
  const attempts = wine ? WINE_ATTEMPTS : 1;
  runners.push({ name, kind, executable, wine, env, attempts, ...(emulated ? { filters: EMULATED_FILES } : {}) });
}

const others = testFiles().filter((file) => !LONG_FILES.includes(file));

function filesFor({ filters }: Runner): readonly string[] {
  if (named.length > 0) return named;
  return filters === undefined ? others : Object.keys(filters);
}

/**
 * Deno for Windows keeps a copy of its executable for every process that a test starts: gigabytes a run, until the disk is
 * full. They lie in Wine's prefix.
 */
function dropCopiesOfDeno(): void {
  const users = resolve(directory!, "wp/drive_c/users");
  if (!existsSync(users)) return;
  for (const user of readdirSync(users)) {
    try {
      rmSync(join(users, user, "AppData/Local/deno/node_compat_bin"), { recursive: true, force: true });
    } catch { /* Another run is at work there: it will drop them. */ }
  }
}

/**
 * Starts a program under Wine that does nothing, and gives a way to end it. Wine's server ends with the last program, and a
 * program that starts at that moment is refused: this is the last.
 */
async function holdWine(): Promise<() => void> {
  const runner = runners.find(({ wine }) => wine === true);
  if (runner === undefined) return () => {};
  const idle = `console.log("up"); setInterval(() => {}, 1e9)`;
  const args = runner.kind === "deno" ? ["eval", idle] : ["-e", idle];
  const child = spawn(runner.executable, args, { stdio: ["ignore", "pipe", "ignore"] });
  await new Promise((started) => child.once("error", started).once("exit", started).stdout.once("data", started));
  return () => void child.kill("SIGKILL");
}

dropCopiesOfDeno();
const endWine = await holdWine();
let counts = noCounts();
try {
  counts = summarise(await runSuites(runners, filesFor));
} finally {
  endWine();
}
dropCopiesOfDeno();
counts.failed += missing;
console.log(`\n${closingLine(counts)}`);
if (counts.failed > 0) process.exitCode = 1;
