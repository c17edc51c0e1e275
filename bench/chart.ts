/**
 * Draws the charts of a results file of `bench/run.ts`, as far as it has the figures:
 *
 *     deno run --allow-read --allow-write bench/chart.ts RESULTS.json [DIRECTORY]
 *
 * They go to the directory, or the current one, as `traces.svg`, `systems.svg`, `modes.svg`, `growth.svg` and
 * `workers.svg`. Those in docs/charts/ are kept by `bench/tables.ts`.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { CHARTS, drawChart } from "./support/charts.ts";
import { readResults } from "./support/results.ts";

function main(): void {
  const [file, directory = "."] = process.argv.slice(2);
  if (file === undefined) {
    console.error("usage: bench/chart.ts RESULTS.json [DIRECTORY]");
    process.exitCode = 2;
    return;
  }
  const results = readResults(file);
  mkdirSync(directory, { recursive: true });
  for (const name of CHARTS) {
    const svg = drawChart(results, name);
    if (svg === undefined) continue;
    const target = join(directory, `${name}.svg`);
    writeFileSync(target, svg);
    console.log(target);
  }
}

if (import.meta.main) main();
