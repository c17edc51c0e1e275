/**
 * `deno task test`: Deno's and Bun's suites, and line coverage of src/.
 *
 * ```text
 * deno task test                        both
 * deno task test --runtime=deno         one of them
 * deno task test tests/heap.test.ts     some files (no coverage is asked for then)
 * ```
 *
 * Bun is the one on the PATH if it is new enough, else the pinned one from npm. The last line is
 * `N passed, N failed`, over both runtimes, where too little coverage is one more
 * failure; the exit code is 1 when anything failed.
 *
 * @module
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { codeLines, coverageTable, type LineCoverage, parseLcov, percent, totalCoverage } from "./coverage.ts";
import { closingLine } from "./junit.ts";
import { execute, root, type Runner, runSuites, summarise, testFiles } from "./runners.ts";

const BUN_VERSION = "1.4.5";
const BUN_MINIMUM: readonly [number, number] = [1, 4];

/** The least share of lines of src/ that the tests must run, in percent. */
const COVERAGE_MINIMUM = 95;

/** The Bun on the PATH, or else the one from npm, downloaded once; undefined with a message when neither works. */
async function findBun(): Promise<string | undefined> {
  const local = await execute("bun", ["--version"]);
  const [major = 0, minor = 0] = local.output.split(".").map(Number);
  if (local.code === 0 && (major > BUN_MINIMUM[0] || (major === BUN_MINIMUM[0] && minor >= BUN_MINIMUM[1]))) {
    console.log(`bun ${local.output.trim()}, from the PATH`);
    return "bun";
  }
  // npx would cost half a second for every file, so it is asked once where the executable is.
  const npx = await execute("npx", ["-y", `bun@${BUN_VERSION}`, "--print", "process.execPath"]);
  const path = npx.output.trim().split(/\r?\n/).at(-1) ?? "";
  if (npx.code === 0 && path !== "") {
    console.log(`bun ${BUN_VERSION}, from npm`);
    return path;
  }
  console.error(`Cannot find Bun: npx -y bun@${BUN_VERSION} failed (${npx.code})\n${npx.output}`);
  return undefined;
}

/** Coverage of src/: the files that ran, and those that no test loads though they hold code. */
async function sourceCoverage(deno: string, directory: string): Promise<LineCoverage[]> {
  const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .map((name) => `src/${name.replaceAll("\\", "/")}`)
    .filter((file) => file.endsWith(".ts"))
    .sort();
  // `deno coverage` reads what was compiled from Deno's cache, where a test's program outside of the checkout may have left
  // it with other settings: then it says that nothing is covered.
  await execute(deno, ["cache", "--quiet", "--import-map=tests/support/import_map.json", ...sources]);
  const { code, output } = await execute(deno, ["coverage", "--quiet", "--lcov", "--include=/src/", directory]);
  if (code !== 0) console.log(output);
  const files = code === 0 ? parseLcov(output, root) : [];
  for (const file of sources) {
    if (files.some((covered) => covered.file === file)) continue;
    // A file of types alone leaves nothing to run; anything else should have been loaded by a test.
    const module: object = await import(new URL(`../${file}`, import.meta.url).href);
    if (Object.keys(module).length === 0) continue;
    const missed = codeLines(readFileSync(join(root, file), "utf8"));
    files.push({ file, lines: missed.length, hit: 0, missed });
  }
  return files.sort((a, b) => (a.file < b.file ? -1 : 1));
}

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({ options: { runtime: { type: "string" } }, allowPositionals: true });
  const files = positionals.length > 0 ? positionals.map((file) => file.replaceAll("\\", "/")) : testFiles();
  const coverageDirectory = mkdtempSync(join(tmpdir(), "offheap-coverage-"));
  const runners: Runner[] = [];
  let lost = 0;
  if (values.runtime !== "bun") {
    runners.push({ name: "deno", kind: "deno", executable: process.execPath, coverageDirectory });
    console.log(`deno ${process.versions["deno"]}`);
  }
  if (values.runtime !== "deno") {
    const executable = await findBun();
    if (executable === undefined) lost++;
    else runners.push({ name: "bun", kind: "bun", executable });
  }
  console.log("");

  const suites = await runSuites(runners, () => files);
  const counts = summarise(suites);
  counts.failed += lost;
  if (values.runtime !== "bun" && positionals.length === 0) {
    const coverage = await sourceCoverage(process.execPath, coverageDirectory);
    const share = percent(totalCoverage(coverage));
    console.log(`\nLine coverage of src/\n${coverageTable(coverage)}`);
    if (share < COVERAGE_MINIMUM || coverage.length === 0) {
      // A failure like any other, so that the closing line never says 0 when the exit code is 1.
      console.log(`Coverage is ${share.toFixed(2)} %, and at least ${COVERAGE_MINIMUM} % is asked for`);
      counts.failed++;
    }
  }
  rmSync(coverageDirectory, { recursive: true, force: true });
  console.log(`\n${closingLine(counts)}`);
  return counts.failed === 0;
}

if (!(await main())) process.exitCode = 1;
