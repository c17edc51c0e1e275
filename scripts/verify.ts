/**
 * `deno task verify`: every check that is not a test. Each counts as one in the closing line.
 *
 * `--skip=types-bun` leaves one out; the names are in the table below. All but `types-bun`, which installs the
 * development dependencies with npm, and `build`, which uses them, work without a network.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { closingLine, noCounts } from "./junit.ts";
import { execute, row } from "./runners.ts";

type Command = readonly [executable: string, ...args: string[]];

const deno = process.execPath;

/** Name, what it checks, and the commands, of which the first failure is the outcome. */
const CHECKS: readonly (readonly [string, string, ...Command[]])[] = [
  ["fmt", "formatting", [deno, "fmt", "--check"]],
  ["lint", "lint rules", [deno, "lint", "--quiet"]],
  ["imports", "layers, cycles, addresses", [deno, "run", "-A", "--quiet", "scripts/check_imports.ts"]],
  ["types-deno", "types, against Deno's", [deno, "task", "--quiet", "check"]],
  ["doc", "documentation of every export", [deno, "doc", "--lint", "--quiet", "mod.ts", "heap.ts"]],
  ["publish", "package, dry run", [deno, "publish", "--dry-run", "--allow-dirty", "--quiet"]],
  [
    "types-bun",
    "types, against bun-types",
    ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"],
    ["npm", "run", "--silent", "types"],
  ],
  [
    "build",
    "package as built, dry runs",
    [deno, "task", "--quiet", "build"],
    [deno, "publish", "--dry-run", "--allow-dirty", "--quiet", "--config=dist/deno.json"],
    ["npm", "pack", "--dry-run", "--loglevel=error", "./dist"],
  ],
];

const { values } = parseArgs({ options: { skip: { type: "string" } } });
const skip = values.skip?.split(",") ?? [];
const counts = noCounts();
for (const [name, what, ...commands] of CHECKS) {
  if (skip.includes(name)) {
    counts.skipped++;
    continue;
  }
  const started = performance.now();
  let failure = "";
  for (const [executable, ...args] of commands) {
    const { code, output } = await execute(executable, args);
    if (code === 0) continue;
    failure = `${[executable === deno ? "deno" : executable, ...args].join(" ")}: ${code}\n${output}`;
    break;
  }
  console.log(row(name, what, failure === "" ? "ok" : "FAILED", (performance.now() - started) / 1000));
  if (failure === "") counts.passed++;
  else {
    counts.failed++;
    console.log(failure.replaceAll(/^/gm, "    "));
  }
}
console.log(`\n${closingLine(counts)}`);
if (counts.failed > 0) process.exitCode = 1;
