/**
 * Compares two results files of `bench/run.ts`:
 *
 *     deno run --allow-read bench/compare.ts BEFORE.json AFTER.json
 *
 * A line per figure that both have: before, after, and after / before. `*` marks a change that is larger than the spread
 * of the processes: the ranges of the two do not meet. What was run on different machines or with different traces is
 * compared all the same, and said.
 *
 * @module
 */
import process from "node:process";
import { CASES } from "./micro.ts";
import { growthPlayers, liveCounts } from "./support/report_growth.ts";
import {
  growthTime,
  memoryMean,
  memoryRatio,
  microTime,
  netReplay,
  readResults,
  replayRatio,
  type Results,
  sharedRate,
} from "./support/results.ts";
import { geometricMean, type Spread } from "./support/statistics.ts";
import { formatNumber, formatTable } from "./support/text.ts";

type Figure = (results: Results) => Spread | undefined;

/** The lines of one table: what each is called, and how to find it in a results file. */
type Lines = readonly (readonly [name: string, figure: Figure])[];

function main(): void {
  const [before, after] = process.argv.slice(2);
  if (before === undefined || after === undefined) {
    console.error("usage: bench/compare.ts BEFORE.json AFTER.json");
    process.exitCode = 2;
    return;
  }
  console.log(compareResults(readResults(before), readResults(after)));
}

/** The comparison as text. */
export function compareResults(before: Results, after: Results): string {
  const parts = [
    `before: ${describe(before)}\nafter:  ${describe(after)}`,
    ...formatDifferences(before, after),
    section("Traces, warm: net ns per record", before, after, replayLines(after, "warm")),
    section("Traces, cold: net ns per record", before, after, replayLines(after, "cold")),
    section("Small loops: ns per operation", before, after, microLines(after)),
    section("Memory: resident growth / live bytes", before, after, memoryLines(after)),
    section("Growth: net ns per operation", before, after, growthLines(after)),
    section("Workers: million operations per second", before, after, sharedLines(after)),
    section("Means", before, after, meanLines(after)),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

function describe({ date, machine, command }: Results): string {
  return `${date}, ${machine.host}, ${machine.cpu}, ${command}`;
}

function formatDifferences(before: Results, after: Results): string[] {
  const notes: string[] = [];
  if (before.machine.cpu !== after.machine.cpu || before.machine.host !== after.machine.host) {
    notes.push("Note: two machines; only ratios within one file mean much.");
  }
  for (const [name, version] of Object.entries(after.machine.versions)) {
    const old = before.machine.versions[name];
    if (old !== undefined && old !== version) notes.push(`Note: ${name} ${old} before, ${version} after.`);
  }
  const records = new Map(before.traces.map((trace) => [trace.name, trace.records]));
  for (const { name, records: count } of after.traces) {
    const old = records.get(name);
    if (old !== undefined && old !== count) notes.push(`Note: ${name} has ${old} records before, ${count} after.`);
  }
  return notes;
}

function replayLines(results: Results, temperature: "cold" | "warm"): Lines {
  const pairs = new Map(results.replays.map(({ side, allocator }) => [`${side} ${allocator}`, { side, allocator }]));
  return [...pairs].filter(([, { allocator }]) => !allocator.startsWith("null")).flatMap(([who, { side, allocator }]) =>
    results.traces.map(({ name }) =>
      [`${who}: ${name}`, (file: Results) => netReplay(file, name, side, allocator, temperature)] as const
    )
  );
}

function microLines(results: Results): Lines {
  return CASES.flatMap(({ name, title, subjects }) =>
    results.runtimes.flatMap((side) =>
      subjects.map((subject) =>
        [`${side} ${subject}: ${title}`, (file: Results) => microTime(file, name, side, subject)] as const
      )
    )
  );
}

function memoryLines(results: Results): Lines {
  const pairs = new Map(results.memory.map(({ side, allocator }) => [`${side} ${allocator}`, { side, allocator }]));
  return [...pairs].flatMap(([who, { side, allocator }]) =>
    results.traces.map(({ name }) =>
      [`${who}: ${name}`, (file: Results) => memoryRatio(file, name, side, allocator)] as const
    )
  );
}

function growthLines(results: Results): Lines {
  return growthPlayers(results).flatMap(({ side, allocator }) =>
    liveCounts(results).map((live) =>
      [
        `${side} ${allocator}: ${live.toLocaleString("en-US")} live`,
        (file: Results) => growthTime(file, side, allocator, live),
      ] as const
    )
  );
}

function sharedLines(results: Results): Lines {
  const lines = new Map((results.shared ?? []).map(({ side, design, workload, workers }) => [
    `${side} ${design}, ${workload}: ${workers} workers`,
    (file: Results) => millions(sharedRate(file, { side, design, workload, workers })),
  ]));
  return [...lines];
}

function millions(rate: Spread | undefined): Spread | undefined {
  return rate && { median: rate.median / 1e6, least: rate.least / 1e6, most: rate.most / 1e6 };
}

function meanLines(results: Results): Lines {
  return results.runtimes.flatMap((side) => [
    [`${side} heap / glibc, warm`, single((file) => replayRatio(file, side, "heap", "native", "glibc"))],
    [`${side} heap / mimalloc, warm`, single((file) => replayRatio(file, side, "heap", "native", "mimalloc"))],
    [`${side} heap / glibc, cold`, single((file) => replayRatio(file, side, "heap", "native", "glibc", "cold"))],
    [`${side} heap, memory`, single((file) => memoryMean(file, side, "heap"))],
  ]);
}

function single(figure: (results: Results) => number | undefined): Figure {
  return (results) => {
    const value = figure(results);
    return value === undefined ? undefined : { median: value, least: value, most: value };
  };
}

function section(title: string, before: Results, after: Results, lines: Lines): string {
  const ratios: number[] = [];
  const rows: string[][] = [];
  for (const [name, figure] of lines) {
    const old = figure(before);
    const now = figure(after);
    if (old === undefined || now === undefined) continue;
    const ratio = now.median / old.median;
    const clear = old.least !== old.most && (now.least > old.most || now.most < old.least);
    ratios.push(ratio);
    rows.push([name, formatNumber(old.median), formatNumber(now.median), `${ratio.toFixed(2)}x${clear ? " *" : "  "}`]);
  }
  if (rows.length === 0) return "";
  if (rows.length > 1) rows.push(["geometric mean", "", "", `${geometricMean(ratios).toFixed(2)}x  `]);
  return `## ${title}\n\n${formatTable(["", "before", "after", "after / before"], rows)}`;
}

if (import.meta.main) main();
