/**
 * Runs test files, each in a process of its own, and counts their tests from the JUnit report that the runner writes.
 *
 * A process for each file, so that a crash costs one file and not the suite, and so that tests which look at the
 * process (resident memory, count of mappings) see only their own doing. Files run side by side, one for each
 * processor.
 *
 * A count is never guessed: a runner that ends without a report, or reports success and exits with an error, or runs
 * a file without finding a test in it, is a failure.
 *
 * @module
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { addCounts, type Counts, countTests, noCounts } from "./junit.ts";

/** The root of the checkout, as a path that ends in a separator. */
export const root: string = fileURLToPath(new URL("../", import.meta.url));

/** Something that runs test files. */
export interface Runner {
  /** A name for reports: `deno`, `bun-win`. */
  readonly name: string;
  /** The command. */
  readonly executable: string;
  /** Which command line it takes. */
  readonly kind: "deno" | "bun" | "node";
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether it runs under Wine, which has the file system as drive Z. */
  readonly wine?: boolean;
  /** How often a file is run until it passes. @defaultValue 1 */
  readonly attempts?: number;
  /** For some files, the text in the names of those of their tests that are to run. */
  readonly filters?: Readonly<Record<string, string>>;
  /** Where to leave coverage data; Deno only. */
  readonly coverageDirectory?: string;
}

/** How one test file went. */
export interface FileResult {
  /** The file, from the root. */
  readonly file: string;
  /** Its tests. */
  readonly counts: Counts;
  /** Wall time of the process. */
  readonly seconds: number;
  /** What went wrong besides failed tests; empty when nothing did. */
  readonly trouble: string;
  /** Everything that the runner wrote. */
  readonly output: string;
  /** How attempts before failed, and what was written then; empty when there was one only. */
  readonly before: string;
}

/** How the files of one runner went. */
export interface SuiteResult {
  readonly runner: Runner;
  readonly files: FileResult[];
  readonly counts: Counts;
  /** Sum of the wall times of the processes. */
  seconds: number;
}

/** A file that takes longer than this hangs; arm64 under emulation is the slowest by far. */
const FILE_TIMEOUT_MS = 1_800_000;

/**
 * How long to wait for the end of a command's output once the command has ended. Wine's services are children of whichever
 * program needs them first, and keep its output open for as long as they live.
 */
const OUTPUT_TIMEOUT_MS = 2000;

/** Files that take long, and so are started first: at the end they would leave the other processors idle. */
const LONG = /conformance|random|faults|misuse/;

/** Files whose runs do not count for coverage: counting makes them ten times as long, and the unit tests cover what they do. */
const UNCOUNTED = /_conformance|faults_systems/;

/** What runners write of a test that passed or was left out. */
const QUIET_LINE = /^\s*(?:\((?:pass|skip|todo)\)|[✔﹣] )|\.\.\. (?:ok|ignored)\b/;

/** Lines of a failed file that are shown again at the end. */
const REPEATED_LINES = 60;

/** All test files, from the root, sorted. */
export function testFiles(): string[] {
  return readdirSync(join(root, "tests"), { recursive: true, encoding: "utf8" })
    .map((file) => `tests/${file.replaceAll("\\", "/")}`)
    .filter((file) => file.endsWith(".test.ts"))
    .sort();
}

/** The arguments that make a runner run one file and write a report. */
export function testArguments(runner: Runner, file: string, report: string): string[] {
  const filter = runner.filters?.[file] ?? "";
  switch (runner.kind) {
    case "deno": {
      const coverage = runner.coverageDirectory === undefined || UNCOUNTED.test(file)
        ? []
        : [`--coverage=${runner.coverageDirectory}`, "--coverage-raw-data-only"];
      const flags = [
        "-A",
        "--no-check",
        "--quiet",
        "--import-map=tests/support/import_map.json",
        `--junit-path=${report}`,
      ];
      return ["test", ...flags, ...coverage, ...(filter === "" ? [] : [`--filter=${filter}`]), file];
    }
    case "bun":
      return [
        ...["test", "--reporter=junit", `--reporter-outfile=${report}`],
        ...(filter === "" ? [] : [`--test-name-pattern=${filter}`]),
        isAbsolute(file) ? file : `./${file}`,
      ];
    case "node":
      return [
        ...["--disable-warning=ExperimentalWarning", "--import", "./tests/support/node_loader.mjs", "--test"],
        ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
        ...["--test-reporter=junit", `--test-reporter-destination=${report}`],
        ...(filter === "" ? [] : [`--test-name-pattern=${filter}`]),
        file,
      ];
  }
}

/**
 * Runs one file, several times if its runner wants that and it fails: the result says so. Never throws: what goes wrong is in
 * the result.
 */
export async function runTestFile(runner: Runner, file: string): Promise<FileResult> {
  let result = await runOnce(runner, file);
  for (let attempt = 2; attempt <= (runner.attempts ?? 1) && result.counts.failed > 0; attempt++) {
    const { seconds, output } = result;
    const before = `${result.before}attempt ${attempt - 1}: ${outcomeOf({ ...result, before: "" })}\n${output}`;
    const next = await runOnce(runner, file);
    result = { ...next, seconds: seconds + next.seconds, before };
  }
  return result;
}

async function runOnce(runner: Runner, file: string): Promise<FileResult> {
  const directory = mkdtempSync(join(tmpdir(), "offheap-report-"));
  const report = join(directory, "junit.xml");
  const target = runner.wine === true ? `Z:${report.replaceAll("/", "\\")}` : report;
  const started = performance.now();
  const { code, output } = await execute(runner.executable, testArguments(runner, file, target), runner.env);
  const seconds = (performance.now() - started) / 1000;

  let counts = noCounts();
  let trouble = "";
  try {
    counts = countTests(readFileSync(report, "utf8"));
    // Runners report what a filter leaves out as skipped; it was not asked for.
    if ((runner.filters?.[file] ?? "") !== "") counts.skipped = 0;
    if (counts.passed + counts.failed + counts.skipped === 0) trouble = "no tests in the file";
  } catch {
    trouble = "no report";
  }
  rmSync(directory, { recursive: true, force: true });
  if (code !== 0 && counts.failed === 0) {
    trouble = `${typeof code === "number" ? `exit code ${code}` : code}${trouble === "" ? "" : `, ${trouble}`}`;
  }
  if (trouble !== "") counts.failed++;
  return { file, counts, seconds, trouble, output, before: "" };
}

/** Runs a command to its end; `code` is the exit code, or in words what ended it instead. */
export function execute(
  executable: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number | string; output: string }> {
  return new Promise((resolve) => {
    let output = "";
    let late = false;
    const environment: Record<string, string | undefined> = { ...process.env, NO_COLOR: "1", ...env };
    // Would make a Node that is started by a test report to the runner of that test.
    delete environment["NODE_TEST_CONTEXT"];
    const child = spawn(executable, args, {
      cwd: root,
      env: environment,
      stdio: ["ignore", "pipe", "pipe"],
      // npm and npx are scripts on Windows, and only a shell runs those.
      shell: process.platform === "win32" && /^np[mx]$/.test(executable),
    });
    let timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, FILE_TIMEOUT_MS);
    child.stdout.setEncoding("utf8").on("data", (text: string) => void (output += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => void (output += text));
    function end(code: number | string): void {
      clearTimeout(timer);
      // Left open by a program that the command has started and that goes on.
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({ code, output });
    }
    function endedWith(code: number | null, signal: string | null): void {
      end(late ? "no end in sight" : code ?? `ended by ${signal}`);
    }
    child.on("error", (error) => end(error.message));
    child.on("close", endedWith);
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      timer = setTimeout(endedWith, OUTPUT_TIMEOUT_MS, code, signal);
    });
  });
}

/** One row of a report: name, file or label, outcome, seconds. */
export function row(name: string, label: string, outcome: string, seconds: number): string {
  return `${name.padEnd(11)} ${label.padEnd(34)} ${outcome.padEnd(36)} ${seconds.toFixed(1).padStart(6)} s`;
}

function outcomeOf({ counts, trouble, before }: FileResult): string {
  const parts = [`${counts.passed} passed`];
  if (counts.failed > 0) parts.push(`${counts.failed} FAILED`);
  if (counts.skipped > 0) parts.push(`${counts.skipped} skipped`);
  if (trouble !== "") parts.push(trouble);
  if (before !== "") parts.push(counts.failed > 0 ? "every attempt" : "not at the first attempt");
  return parts.join(", ");
}

/**
 * Runs `files(runner)` of every runner, side by side, and prints a row for each as it ends; of one that failed,
 * everything it wrote. A suite in which no test ran at all counts as one more failure.
 */
export async function runSuites(
  runners: readonly Runner[],
  files: (runner: Runner) => readonly string[],
): Promise<SuiteResult[]> {
  const suites = runners.map((runner): SuiteResult => ({ runner, files: [], counts: noCounts(), seconds: 0 }));
  const jobs = suites
    .flatMap((suite) => files(suite.runner).map((file) => ({ suite, file })))
    .sort((a, b) => Number(LONG.test(b.file)) - Number(LONG.test(a.file)));
  async function work(): Promise<void> {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      const result = await runTestFile(job.suite.runner, job.file);
      job.suite.files.push(result);
      job.suite.seconds += result.seconds;
      addCounts(job.suite.counts, result.counts);
      console.log(row(job.suite.runner.name, result.file, outcomeOf(result), result.seconds));
      for (const output of [result.before, result.counts.failed > 0 ? result.output : ""]) {
        if (output !== "") console.log(output.replaceAll(/^/gm, "    "));
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), jobs.length) }, work));
  for (const suite of suites) {
    if (suite.counts.passed + suite.counts.failed === 0) suite.counts.failed++;
  }
  return suites;
}

/**
 * What failed, or did at first, once more in short: a row for each file, and of its output the last lines that are not of passed tests.
 * Empty when nothing failed. A log of an hour is often kept by its end alone, and a failure that happens once in a
 * hundred runs must be there to be read.
 */
export function failureReport(suites: readonly SuiteResult[]): string {
  const lines: string[] = [];
  for (const { runner, files } of suites) {
    for (const result of files) {
      const { output, before } = result;
      if (result.counts.failed === 0 && before === "") continue;
      const told = `${before}\n${result.counts.failed === 0 ? "" : output}`.split(/\r?\n/).filter((line) =>
        line.trim() !== "" && !QUIET_LINE.test(line)
      );
      lines.push(row(runner.name, result.file, outcomeOf(result), result.seconds));
      for (const line of told.slice(-REPEATED_LINES)) lines.push(`    ${line}`);
    }
  }
  return lines.length === 0 ? "" : ["failures:", ...lines].join("\n");
}

/** Prints a row for each suite and what failed in them, and gives the sum of all. */
export function summarise(suites: readonly SuiteResult[]): Counts {
  const total = noCounts();
  console.log("");
  for (const { runner, files, counts, seconds } of suites) {
    const outcome = outcomeOf({ file: "", output: "", before: "", trouble: "", counts, seconds });
    console.log(row(runner.name, `${files.length} files`, outcome, seconds));
    addCounts(total, counts);
  }
  const failures = failureReport(suites);
  if (failures !== "") console.log(`\n${failures}`);
  return total;
}
