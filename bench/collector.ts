/**
 * What a large heap does to the garbage collector of a program beside it: starts a program that makes garbage with nothing,
 * with 1 GiB of native blocks, and with as many bytes in `Uint8Array`s beside it, prints the table, and writes
 * `bench/results/DATE-collector-HOST.json` and `.csv`. Linux only.
 *
 *     deno run -A bench/collector.ts [--quick] [--processes 5] [--runtimes deno,bun] [--module FILE]
 *
 * The program is support/collector_load.ts; how often and how long the collector stopped it comes out of the engine's own
 * log. All run once, one after the other, then all again. Takes up to 3 GiB; with `--quick` 64 MiB lie beside the program, and it
 * takes a third of the steps.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { findError, progress } from "./support/children.ts";
import { BESIDES, type CollectorReport } from "./support/collector_load.ts";
import { type Collections, readJscLog, readV8Log } from "./support/collector_log.ts";
import { type Figure, hasFigures } from "./support/figures.ts";
import { type Program, type Run, runProgram } from "./support/program.ts";
import { COLLECTOR, formatCollector } from "./support/report_collector.ts";

const PROGRAM: Program = {
  name: "collector.ts",
  parts: ["beside"],
  measure: measureBesides,
  sections: (results) => hasFigures(results, COLLECTOR) ? formatCollector(results) : [],
};

/** One way to run the program. */
interface Way {
  readonly name: string;
  readonly sides: readonly string[];
  readonly args: readonly string[];
  readonly environment?: { readonly [name: string]: string };
}

/** Each kind of neighbour as the runtime is, and what a user of Bun can do about it. */
const WAYS: readonly Way[] = [
  ...BESIDES.map((beside) => ({ name: beside, sides: ["deno", "bun"], args: ["--beside", beside] })),
  {
    name: "heap, collecting every 32 MiB",
    sides: ["bun"],
    args: ["--beside", "heap"],
    environment: { BUN_JSC_gcMaxHeapSize: `${32 * 2 ** 20}` },
  },
  { name: "heap, Bun.gc() every 200 steps", sides: ["bun"], args: ["--beside", "heap", "--collect", "200"] },
];

function measureBesides(run: Run): Figure[] {
  const { children, quick, processes = quick ? 1 : 5 } = run;
  const size = ["--bytes", `${quick ? 2 ** 26 : 2 ** 30}`, "--steps", quick ? "1000" : "3000", "--module", run.module];
  const figures: Figure[] = [];
  for (let round = 0; round < processes; round++) {
    for (const way of WAYS) {
      for (const side of children.runtimes) {
        if (!way.sides.includes(side)) continue;
        progress(`${way.name}, ${side}, ${round + 1} of ${processes}`);
        const found = runLogged(children.binaryOf(side), side, way, size);
        if (typeof found === "string") {
          if (round === 0) children.missing.push({ what: `collector, ${way.name}, ${side}`, why: found });
          continue;
        }
        for (const [metric, value] of Object.entries(found)) {
          figures.push({ kind: COLLECTOR, subject: way.name, side, allocator: "heap", round, metric, value });
        }
      }
    }
  }
  return figures;
}

/** Runs the program with the collector's log turned on; why not, when it fails. */
function runLogged(
  command: string,
  side: string,
  { args, environment }: Way,
  more: readonly string[],
): { readonly [metric: string]: number } | string {
  const file = fileURLToPath(new URL("support/collector_load.ts", import.meta.url));
  const head = side === "deno" ? ["run", "-A", "--quiet", "--v8-flags=--expose-gc,--trace-gc"] : ["run"];
  const env = { ...process.env, NO_COLOR: "1", BUN_JSC_logGC: "1", ...environment };
  const child = spawnSync(command, [...head, file, ...args, ...more], { encoding: "utf8", env, maxBuffer: 2 ** 28 });
  // V8 writes its log in pieces that end anywhere: the report can stand in the middle of one of its lines.
  const [line] = /\{"residentBytes":.*\}\n/.exec(child.stdout ?? "") ?? [];
  if (child.status !== 0 || line === undefined) return findError(child.stderr ?? "");
  const report = JSON.parse(line) as CollectorReport;
  const collections: Collections = side === "deno"
    ? readV8Log(child.stdout.replace(line, ""))
    : readJscLog(child.stderr);
  return { ...report, ...collections };
}

await runProgram(PROGRAM);
