/**
 * What it takes until a program has its first block, above what an empty program takes: builds the package, starts small
 * programs that go one step further each, prints the table, and writes `bench/results/DATE-startup-HOST.json` and `.csv`.
 * Linux only.
 *
 *     deno run -A bench/startup.ts [--quick] [--processes 15] [--runtimes deno,bun] [--module FILE]
 *
 * All programs run once, one after the other, then all again; before that each runs once unmeasured, which fills the
 * runtimes' caches and the file system's. What a step costs is the difference to the empty program's time in the same
 * round, so that what the machine does meanwhile falls on both.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildPackage } from "../scripts/build_package.ts";
import { openChildUsage } from "./support/child_usage.ts";
import { progress } from "./support/children.ts";
import { type Figure, hasFigures } from "./support/figures.ts";
import { type Program, type Run, runProgram } from "./support/program.ts";
import { formatStartup, STARTUP } from "./support/report_startup.ts";
import { type Step, STEPS } from "./support/startup_steps.ts";

const PROGRAM: Program = {
  name: "startup.ts",
  parts: ["steps"],
  measure: measureSteps,
  sections: (results) => hasFigures(results, STARTUP) ? [formatStartup(results)] : [],
};

/** A program that was written, on a runtime. */
interface Player {
  readonly side: string;
  readonly step: string;
  readonly command: string;
  readonly args: readonly string[];
}

async function measureSteps(run: Run): Promise<Figure[]> {
  const { children, quick, processes = quick ? 5 : 15 } = run;
  const measure = await openChildUsage();
  const built = await build(run);
  const players: Player[] = [];
  for (const step of STEPS) {
    const sides = children.runtimes.filter((side) => step.only === undefined || step.only === side);
    const file = sides.length === 0 ? undefined : writeStep(run, step, built);
    if (file === undefined) continue;
    for (const side of sides) {
      const head = side === "deno" ? ["run", "-A", "--quiet", "--no-config"] : ["run"];
      players.push({ side, step: step.name, command: children.binaryOf(side), args: [...head, file] });
    }
  }
  for (const { command, args } of players) measure(command, args);
  const figures: Figure[] = [];
  for (let round = 0; round < processes; round++) {
    for (const { side, step, command, args } of players) {
      progress(`${step}, ${side}, ${round + 1} of ${processes}`);
      for (const [clock, value] of Object.entries(measure(command, args))) {
        figures.push({ kind: STARTUP, subject: step, side, allocator: "heap", round, metric: `${clock} ms`, value });
      }
    }
  }
  return figures;
}

/** Builds the package, and returns its directory; `undefined` when it cannot be built here. */
async function build({ children, scratch }: Run): Promise<string | undefined> {
  const directory = join(scratch, "package");
  try {
    await buildPackage(directory);
    return directory;
  } catch (error) {
    children.missing.push({ what: "start-up, the package as built", why: (error as Error).message.split("\n", 1)[0]! });
    return undefined;
  }
}

/** Writes the program of a step and returns its path; `undefined` when it cannot be made here. */
function writeStep({ children, scratch, module }: Run, step: Step, built: string | undefined): string | undefined {
  const { name, source, bundled, needsBuilt = false } = step;
  if (needsBuilt && built === undefined) return undefined;
  const base = join(scratch, `startup-${name.replaceAll(/\W+/g, "-")}`);
  writeFileSync(`${base}.ts`, source({ module: fileURLToPath(module), built: built ?? "" }));
  if (bundled === undefined) return `${base}.ts`;
  if (!children.runtimes.includes("bun")) {
    children.missing.push({ what: `start-up, ${name}`, why: "bun bundles it, and is not there" });
    return undefined;
  }
  const compiled = bundled === "bytecode" ? ["--bytecode", `--outdir=${base}`] : [`--outfile=${base}.js`];
  const args = ["build", "--minify", "--target=bun", ...compiled, `${base}.ts`];
  const done = spawnSync(children.binaryOf("bun"), args, { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`bun build failed on ${name}: ${done.stderr}`);
  return bundled === "bytecode" ? join(base, `${basename(base)}.js`) : `${base}.js`;
}

await runProgram(PROGRAM);
