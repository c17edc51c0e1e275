/**
 * The charts of a results file, by name.
 *
 * @module
 */
import { type Group, subjectsOf } from "./catalogue.ts";
import { groupMean } from "./report_groups.ts";
import { growthPlayers, liveCounts, ORIGINALS, ORIGINALS_LIVE, workerCounts } from "./report_growth.ts";
import { growthTime, netReplay, type Results, sharedRate } from "./results.ts";
import { DESIGNS, WORKLOADS } from "./shared_designs.ts";
import { barChart, lineChart } from "./svg.ts";

/** The names of the charts, as in `docs/charts/NAME.svg`. */
export const CHARTS = ["traces", "systems", "modes", "growth", "workers"] as const;

/** Draws a chart; `undefined` when the results have nothing for it. */
export function drawChart(results: Results, name: (typeof CHARTS)[number]): string | undefined {
  switch (name) {
    case "traces":
      return drawTraces(results);
    case "systems":
    case "modes":
      return drawGroup(results, name);
    case "growth":
      return drawGrowth(results);
    case "workers":
      return drawWorkers(results);
  }
}

function drawTraces(results: Results): string | undefined {
  const { runtimes } = results;
  const groups = results.traces.map(({ name }) => {
    const glibc = netReplay(results, name, "native", "glibc")?.median;
    const over = (side: string, allocator: string) => {
      const own = netReplay(results, name, side, allocator)?.median;
      return own === undefined || glibc === undefined ? undefined : own / glibc;
    };
    return { label: name, values: [...runtimes.map((side) => over(side, "heap")), over("native", "mimalloc")] };
  });
  if (groups.every(({ values }) => values.every((value) => value === undefined))) return undefined;
  return barChart({
    title: "Traces: CPU time relative to native glibc malloc (dashed), net of the loop",
    series: [...runtimes.map((side) => `Heap, ${side}`), "mimalloc, native"],
    groups,
    reference: 1,
  });
}

function drawGroup(results: Results, group: Group): string | undefined {
  const groups = subjectsOf(group)
    .map((name) => {
      const means = results.runtimes.map((side) => groupMean(results, side, name));
      const label = means.some((mean) => mean?.atLeast) ? `${name} (at least)` : name;
      return { label, values: means.map((mean) => mean?.ratio) };
    })
    .filter(({ values }) => values.some((value) => value !== undefined));
  if (groups.length === 0) return undefined;
  const what = group === "modes" ? "Modes" : "Reference systems, arena";
  return barChart({
    title: `${what}: CPU time relative to Heap, geometric mean of the traces (logarithmic)`,
    series: results.runtimes,
    groups,
    reference: 1,
    logarithmic: true,
  });
}

function drawGrowth(results: Results): string | undefined {
  const counts = liveCounts(results);
  if (counts.length === 0) return undefined;
  const players = growthPlayers(results);
  const lines = (side: string) => [
    ...players.filter((player) => player.side === side).map(({ allocator }) => ({
      series: allocator,
      values: counts.map((live) => growthTime(results, side, allocator, live)?.median),
    })),
    ...players.filter((player) => player.side === "native").map(({ allocator }) => ({
      series: `${allocator}, native`,
      values: counts.map((live) => growthTime(results, "native", allocator, live)?.median),
    })),
  ];
  const originals = Object.entries(ORIGINALS).map(([series, times]) => ({
    series,
    values: counts.map((live) => times[ORIGINALS_LIVE.indexOf(live)]),
  }));
  return lineChart({
    title: "Growth: ns per operation by live blocks, 16 to 512 B replaced at random (logarithmic)",
    x: counts.map((live) => live.toLocaleString("en-US")),
    xTitle: "live blocks",
    panels: [
      ...results.runtimes.map((side) => ({ title: side, lines: lines(side) })),
      { title: "Rust originals, elsewhere", lines: originals },
    ],
    logarithmic: true,
  });
}

function drawWorkers(results: Results): string | undefined {
  const counts = workerCounts(results);
  if (counts.length === 0) return undefined;
  const panels = WORKLOADS.flatMap((workload) =>
    results.runtimes.map((side) => ({
      title: `${workload}, ${side}`,
      lines: DESIGNS.map(({ name }) => ({
        series: name,
        values: counts.map((workers) => {
          const rate = sharedRate(results, { side, design: name, workload, workers })?.median;
          return rate === undefined ? undefined : rate / 1e6;
        }),
      })).filter(({ values }) => values.some((value) => value !== undefined)),
    }))
  );
  return lineChart({
    title: `Workers on a shared allocator: million operations per second (${results.machine.cores} cores)`,
    x: counts.map(String),
    xTitle: "workers",
    panels,
    logarithmic: true,
  });
}
