/**
 * Turns the results of a run into text: the report that a run prints, and the tables about the heap. Those about other
 * allocators are in report_groups.ts and report_growth.ts.
 *
 * @module
 */
import { CASES } from "../micro.ts";
import { findBars, formatBars } from "./bars.ts";
import { GROUPS } from "./catalogue.ts";
import { formatGroup } from "./report_groups.ts";
import { formatGrowth, formatShared } from "./report_growth.ts";
import { formatWorkers } from "./report_workers.ts";
import {
  MEMORY_LIVE_BYTES,
  type MemoryFigure,
  memoryMean,
  memoryRatio,
  microSpeedup,
  microTime,
  netReplay,
  nullOf,
  replayRatio,
  type Results,
  type Side,
  type Temperature,
} from "./results.ts";
import { rowsWith, spread } from "./statistics.ts";
import { formatMean, formatNumber, formatRatio, formatSpread, formatTable, type Section } from "./text.ts";

/** The whole report. */
export function formatReport(results: Results): string {
  const sections: Section[] = [];
  if (results.replays.length > 0) {
    sections.push(formatReplays(results), formatWall(results), formatColdReplays(results));
    for (const group of GROUPS) sections.push(...formatGroup(results, group));
  }
  if (results.micro.length > 0) sections.push(formatMicro(results));
  if (results.memory.length > 0) sections.push(formatMemory(results));
  if (results.growth !== undefined && results.growth.length > 0) sections.push(formatGrowth(results));
  if (results.shared !== undefined && results.shared.length > 0) sections.push(formatShared(results));
  if (results.workers !== undefined && results.workers.length > 0) sections.push(...formatWorkers(results));
  sections.push(formatBars(findBars(results)));
  return [
    formatMachine(results),
    ...sections.map(({ title, text }) => `## ${title}\n\n${text}`),
    ...(results.missing.length === 0 ? [] : [`Left out:\n${formatMissing(results)}`]),
  ].join("\n\n");
}

/** What was asked for and is not there, as a list by reason. */
export function formatMissing({ missing }: Results): string {
  const reasons = new Map<string, string[]>();
  for (const { what, why } of missing) reasons.set(why, [...reasons.get(why) ?? [], what]);
  return [...reasons].map(([why, whats]) => `- ${whats.join("; ")}: ${why}`).join("\n");
}

/** Where and when a run was, on three lines. */
export function formatMachine({ machine, date, command }: Results): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return `${date}, ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}\n${versions}\n${command}`;
}

/** The heap beside the native allocators, trace by trace. */
export function formatReplays(results: Results): Section {
  const head = ["trace", "records", "glibc", "mimalloc"];
  for (const runtime of results.runtimes) head.push(`${runtime} heap`, "/glibc", "/mimalloc");
  head.push("loops", ...results.runtimes.map((runtime) => `${runtime} thread, wall`));
  const rows = results.traces.map((trace) => {
    const glibc = netReplay(results, trace.name, "native", "glibc");
    const mimalloc = netReplay(results, trace.name, "native", "mimalloc");
    const row = [trace.name, trace.records.toLocaleString("en-US"), formatSpread(glibc), formatSpread(mimalloc)];
    for (const runtime of results.runtimes) {
      const heap = netReplay(results, trace.name, runtime, "heap");
      row.push(formatSpread(heap), formatRatio(heap, glibc), formatRatio(heap, mimalloc));
    }
    row.push(
      ["native", ...results.runtimes].map((side) => formatNumber(loopTime(results, trace.name, side))).join(", "),
    );
    for (const runtime of results.runtimes) row.push(formatOtherClocks(results, trace.name, runtime));
    return row;
  });
  const mean = ["geometric mean", "", "", ""];
  for (const runtime of results.runtimes) {
    mean.push(
      "",
      formatMean(replayRatio(results, runtime, "heap", "native", "glibc")),
      formatMean(replayRatio(results, runtime, "heap", "native", "mimalloc")),
    );
  }
  const title =
    "Traces, warm: ns per record, CPU time of the process, net of the loop; median (least-most) of the processes";
  const text = [
    formatTable(head, [...rows, mean]),
    "",
    `loops: what was taken off (native, ${
      results.runtimes.join(", ")
    }). thread, wall: the heap's gross figures by the ` +
    "other two clocks, loop included.",
  ].join("\n");
  return { title, text };
}

function loopTime(results: Results, trace: string, side: Side): number | undefined {
  return spread(rowsWith(results.replays, { trace, side, allocator: "null" }).map(({ warm }) => warm))?.least;
}

function formatOtherClocks(results: Results, trace: string, side: Side): string {
  const own = rowsWith(results.replays, { trace, side, allocator: "heap" });
  if (own.length === 0) return "-";
  const middle = own.toSorted((a, b) => a.warm - b.warm)[own.length >> 1]!;
  return `${formatNumber(middle.warmThread)}, ${formatNumber(middle.warmWall)}`;
}

/** The first replay of each process. */
export function formatColdReplays(results: Results): Section {
  const head = ["trace", "glibc", "mimalloc", ...results.runtimes.map((runtime) => `${runtime} heap`)];
  const rows = results.traces.map((trace) => [
    trace.name,
    formatSpread(netReplay(results, trace.name, "native", "glibc", "cold")),
    formatSpread(netReplay(results, trace.name, "native", "mimalloc", "cold")),
    ...results.runtimes.map((runtime) => formatSpread(netReplay(results, trace.name, runtime, "heap", "cold"))),
  ]);
  const mean = [
    "geometric mean, /glibc",
    "",
    formatMean(replayRatio(results, "native", "mimalloc", "native", "glibc", "cold")),
  ];
  for (const runtime of results.runtimes) {
    mean.push(formatMean(replayRatio(results, runtime, "heap", "native", "glibc", "cold")));
  }
  return {
    title:
      "Traces, cold: the first replay of a fresh process, ns per record, compilation included, warm loop taken off",
    text: formatTable(head, [...rows, mean]),
  };
}

/** The same replays by the clock on the wall. */
export function formatWall(results: Results): Section {
  const head = ["trace", "glibc", "mimalloc"];
  for (const runtime of results.runtimes) head.push(`${runtime} heap`, "/glibc", "cold");
  const net = (trace: string, side: Side, allocator: string, temperature: Temperature = "warm") =>
    netReplay(results, trace, side, allocator, temperature, "wall");
  const rows = results.traces.map(({ name }) => {
    const glibc = net(name, "native", "glibc");
    const row = [name, formatSpread(glibc), formatSpread(net(name, "native", "mimalloc"))];
    for (const runtime of results.runtimes) {
      const heap = net(name, runtime, "heap");
      row.push(formatSpread(heap), formatRatio(heap, glibc), formatSpread(net(name, runtime, "heap", "cold")));
    }
    return row;
  });
  const mean = ["geometric mean", "", ""];
  for (const runtime of results.runtimes) {
    mean.push("", formatMean(replayRatio(results, runtime, "heap", "native", "glibc", "warm", "wall")), "");
  }
  return {
    title: "Traces, elapsed time: ns per record, net of the loop; warm, and cold in the last column",
    text: formatTable(head, [...rows, mean]),
  };
}

/** The small loops. */
export function formatMicro(results: Results): Section {
  const rows: string[][] = [];
  for (const { name, title, subjects } of CASES) {
    for (const side of results.runtimes) {
      const [own, ...others] = subjects;
      const heap = microTime(results, name, side, own!);
      const cells = others.map((subject) => {
        const time = microTime(results, name, side, subject);
        if (time === undefined) return undefined;
        const speedup = subject.startsWith("null") ? undefined : microSpeedup(results, name, side, own!, subject);
        return `${subject} ${formatNumber(time.median)}${speedup === undefined ? "" : ` (${formatNumber(speedup)}x)`}`;
      }).filter((cell) => cell !== undefined);
      if (heap !== undefined || cells.length > 0) rows.push([title, side, formatSpread(heap), cells.join(", ")]);
    }
  }
  return {
    title: "Small loops: ns per operation, CPU time of the process, loop included; (how many times the heap is faster)",
    text: formatTable(["loop", "runtime", "heap", "others"], rows, 2),
  };
}

/** The resident set. */
export function formatMemory(results: Results): Section {
  const columns: (readonly [title: string, side: Side, allocator: string, figure: MemoryFigure])[] = [
    ["glibc", "native", "glibc", "ratio"],
    ["mimalloc", "native", "mimalloc", "ratio"],
  ];
  for (const runtime of results.runtimes) {
    columns.push([`${runtime} heap`, runtime, "heap", "ratio"], ["own pages", runtime, "heap", "ownRatio"]);
  }
  const measured = results.traces.filter((trace) => results.memory.some((result) => result.trace === trace.name));
  const rows = measured.map((trace) => [
    trace.name + (trace.peakLiveBytes > MEMORY_LIVE_BYTES ? "" : " (not in the mean)"),
    `${(trace.peakLiveBytes / 2 ** 20).toFixed(1)} MiB`,
    ...columns.map(([, side, allocator, figure]) =>
      formatSpread(memoryRatio(results, trace.name, side, allocator, figure))
    ),
    results.runtimes.map((runtime) =>
      formatNumber(memoryRatio(results, trace.name, runtime, nullOf(runtime, "heap"))?.median)
    ).join(", "),
  ]);
  const means = columns.map(([, side, allocator, figure]) =>
    formatNumber(memoryMean(results, side, allocator, figure))
  );
  const title = "Memory: peak growth of the resident set over peak live bytes, every OS page of each block touched";
  const text = [
    formatTable(
      ["trace", "peak live", ...columns.map(([title]) => title), "null"],
      [...rows, ["geometric mean", "", ...means]],
    ),
    "",
    "own pages: of the growth, the OS pages of the heap's own mappings, tables included. null: the growth of the loop " +
    `without an allocator (${results.runtimes.join(", ")}), which is the noise of the runtime.`,
  ].join("\n");
  return { title, text };
}
