/**
 * Writes the measured figures into the documents, and draws docs/charts/:
 *
 *     deno run -A bench/tables.ts                      makes every block again from the file that its marker names
 *     deno run -A bench/tables.ts RESULTS.json ...     moves every block to these files, as far as they have figures for it
 *     deno run -A bench/tables.ts --check              status 1 when a document is not what its results file says
 *
 * RESULTS.json must be in bench/results/. With several files the last one that has figures for a block wins. How a block is
 * marked is in support/blocks.ts; a chart names its file in a comment on its first line.
 *
 * @module
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { fillBlocks, isBundled, kindOf, makeBlock, NOTHING } from "./support/blocks.ts";
import { CHARTS, drawChart } from "./support/charts.ts";
import { readResults, type Results } from "./support/results.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const RESULTS = "bench/results";
const CHART_DIRECTORY = "docs/charts";

/** A results file that was read. */
interface Source {
  readonly file: string;
  readonly results: Results;
}

function main(): void {
  const { values, positionals } = parseArgs({
    options: { check: { type: "boolean", default: false } },
    allowPositionals: true,
  });
  const given = positionals.map((path) => readSource(basename(path)));
  const changed: string[] = [];
  for (const [path, text] of [...makeDocuments(given), ...makeCharts(given)]) {
    const target = join(ROOT, path);
    if (existsSync(target) && readFileSync(target, "utf8") === text) continue;
    changed.push(path);
    if (!values.check) {
      mkdirSync(join(ROOT, CHART_DIRECTORY), { recursive: true });
      writeFileSync(target, text);
    }
  }
  for (const path of changed) console.log(`${path}: ${values.check ? "not what its results say" : "written"}`);
  if (values.check && changed.length > 0) process.exitCode = 1;
}

const read = new Map<string, Source>();

function readSource(file: string): Source {
  const known = read.get(file);
  if (known !== undefined) return known;
  const source = { file, results: readResults(join(ROOT, RESULTS, file)) };
  read.set(file, source);
  return source;
}

/** The documents, whole, with their blocks made again. */
function makeDocuments(given: readonly Source[]): [path: string, text: string][] {
  const paths = ["README.md", "bench/README.md", ...markdownIn("docs")];
  return paths.map((path) => {
    const toRoot = "../".repeat(path.split("/").length - 1);
    const text = fillBlocks(
      readFileSync(join(ROOT, path), "utf8"),
      toRoot,
      (name, file) =>
        given.findLast(({ file, results }) => makeBlock(name, results, file, toRoot) !== undefined) ??
          (file === NOTHING ? undefined : readSource(file)),
    );
    return [path, text];
  });
}

function markdownIn(directory: string): string[] {
  return readdirSync(join(ROOT, directory)).filter((name) => name.endsWith(".md")).sort()
    .map((name) => `${directory}/${name}`);
}

const CHART_SOURCE = /^<!-- bench: from (\S+) -->\n/;

/** The charts that were drawn before or can be now. */
function makeCharts(given: readonly Source[]): [path: string, text: string][] {
  const charts: [string, string][] = [];
  for (const name of CHARTS) {
    const path = `${CHART_DIRECTORY}/${name}.svg`;
    const target = join(ROOT, path);
    const named = existsSync(target) ? CHART_SOURCE.exec(readFileSync(target, "utf8"))?.[1] : undefined;
    const old = named === undefined ? undefined : readSource(named);
    const able = given.filter(({ results }) => drawChart(results, name) !== undefined && suits(name, results, old));
    const source = able.at(-1) ?? old;
    const svg = source === undefined ? undefined : drawChart(source.results, name);
    if (svg !== undefined) charts.push([path, `<!-- bench: from ${source!.file} -->\n${svg}`]);
  }
  return charts;
}

/** The traces' chart stays with the most traces of its kind; what the groups cost is drawn for the bundled ones, which everybody has. */
function suits(name: string, results: Results, old: Source | undefined): boolean {
  if (name === "traces") {
    return kindOf(results) !== "others-" && results.traces.length >= (old?.results.traces.length ?? 0);
  }
  return (name !== "systems" && name !== "modes") || isBundled(results);
}

if (import.meta.main) main();
