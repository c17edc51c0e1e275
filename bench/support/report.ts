/**
 * Turns the results of a run into text: tables in Markdown that also read well in a terminal, and the list of bars.
 *
 * @module
 */
import { CASES } from "../micro.ts";
import {
  type Bar,
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
} from "./results.ts";
import type { Spread } from "./statistics.ts";

/** The bars of the project; "Speed and memory" goes on from them. */
const BARS = {
  trace: { deno: 1.0, bun: 1.5 },
  small: { deno: 3, bun: 2 },
  large: { deno: 50, bun: 50 },
  memory: { deno: 1.4, bun: 1.4 },
} as const;

/** The whole report. */
export function formatReport(results: Results): string {
  const parts = [formatMachine(results)];
  if (results.replays.length > 0) parts.push(formatReplays(results), formatColdReplays(results), formatPeers(results));
  if (results.micro.length > 0) parts.push(formatMicro(results));
  if (results.memory.length > 0) parts.push(formatMemory(results));
  if (results.missing.length > 0) {
    parts.push(`Left out:\n${results.missing.map(({ what, why }) => `- ${what}: ${why}`).join("\n")}`);
  }
  parts.push(formatBars(findBars(results)));
  return parts.filter((part) => part !== "").join("\n\n");
}

function formatMachine({ machine, date, command }: Results): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return `${date}, ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}\n${versions}\n${command}`;
}

/** A table in Markdown, its columns padded; the first is left-aligned, the others right-aligned. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, 3, ...rows.map((row) => (row[i] ?? "").length)));
  const line = (row: readonly string[]) =>
    `| ${
      widths.map((width, i) => i === 0 ? (row[i] ?? "").padEnd(width) : (row[i] ?? "").padStart(width)).join(" | ")
    } |`;
  const rule = `|${widths.map((width, i) => i === 0 ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`).join("|")}|`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

/** A number with about three digits. */
export function formatNumber(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "-";
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

/** A median, with the extremes over the processes. */
function formatSpread(value: Spread | undefined): string {
  if (value === undefined) return "-";
  const { median, least, most } = value;
  return least === most
    ? formatNumber(median)
    : `${formatNumber(median)} (${formatNumber(least)}-${formatNumber(most)})`;
}

function formatRatio(own: Spread | undefined, base: Spread | undefined): string {
  return own === undefined || base === undefined ? "-" : `${(own.median / base.median).toFixed(2)}x`;
}

function formatMean(value: number | undefined): string {
  return value === undefined ? "-" : `${value.toFixed(2)}x`;
}

function formatReplays(results: Results): string {
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
  return [
    "## Traces, warm: ns per record, CPU time of the process, net of the loop; median (least-most) of the processes",
    "",
    formatTable(head, [...rows, mean]),
    "",
    `loops: what was taken off (native, ${
      results.runtimes.join(", ")
    }). thread, wall: the heap's gross figures by the ` +
    "other two clocks, loop included.",
  ].join("\n");
}

function loopTime(results: Results, trace: string, side: Side): number | undefined {
  const values = results.replays.filter((r) => r.trace === trace && r.side === side && r.allocator === "null");
  return values.length === 0 ? undefined : Math.min(...values.map((result) => result.warm));
}

function formatOtherClocks(results: Results, trace: string, side: Side): string {
  const own = results.replays.filter((r) => r.trace === trace && r.side === side && r.allocator === "heap");
  if (own.length === 0) return "-";
  const middle = own.toSorted((a, b) => a.warm - b.warm)[own.length >> 1]!;
  return `${formatNumber(middle.warmThread)}, ${formatNumber(middle.warmWall)}`;
}

function formatColdReplays(results: Results): string {
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
  return [
    "## Traces, cold: the first replay of a fresh process, ns per record, compilation included, warm loop taken off",
    "",
    formatTable(head, [...rows, mean]),
  ].join("\n");
}

/** Every other allocator that was replayed, over the heap of the same runtime. */
function formatPeers(results: Results): string {
  const peers = new Set(
    results.replays
      .filter((r) => r.side !== "native" && r.allocator !== "heap" && !r.allocator.startsWith("null"))
      .map((result) => result.allocator),
  );
  if (peers.size === 0) return "";
  const columns = results.runtimes.flatMap((runtime) => [...peers].map((peer) => [runtime, peer] as const));
  let partial = false;
  const rows = results.traces.map((trace) => [
    trace.name,
    ...columns.map(([runtime, peer]) => {
      const cut = results.replays.some((r) =>
        r.trace === trace.name && r.side === runtime && r.allocator === peer && r.records < trace.records
      );
      partial ||= cut;
      return formatNumber(netReplay(results, trace.name, runtime, peer)?.median) + (cut ? "*" : "");
    }),
  ]);
  const mean = columns.map(([runtime, peer]) => formatMean(replayRatio(results, runtime, peer, runtime, "heap")));
  return [
    "## Traces, peers: ns per record, net of the loop; the last row is the geometric mean over the same runtime's heap",
    "",
    formatTable(["trace", ...columns.map((pair) => pair.join(" "))], [...rows, ["/heap", ...mean]]),
    ...(partial
      ? ["", "*: too slow for the whole trace; cold, and the first records only, while little is live."]
      : []),
  ].join("\n");
}

function formatMicro(results: Results): string {
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
  return [
    "## Small loops: ns per operation, CPU time of the process, loop included; (how many times the heap is faster)",
    "",
    formatTable(["loop", "runtime", "heap", "others"], rows),
  ].join("\n");
}

function formatMemory(results: Results): string {
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
  return [
    "## Memory: peak growth of the resident set over peak live bytes, every OS page of each block touched",
    "",
    formatTable(
      ["trace", "peak live", ...columns.map(([title]) => title), "null"],
      [...rows, ["geometric mean", "", ...means]],
    ),
    "",
    "own pages: of the growth, the OS pages of the heap's own mappings, tables included. null: the growth of the loop " +
    `without an allocator (${results.runtimes.join(", ")}), which is the noise of the runtime.`,
  ].join("\n");
}

/** The bars, with what this run measured. */
export function findBars(results: Results): Bar[] {
  const bars: Bar[] = [];
  for (const runtime of ["deno", "bun"] as const) {
    if (!results.runtimes.includes(runtime)) continue;
    bars.push(
      bar(
        `traces on ${runtime}: heap / glibc, geometric mean`,
        replayRatio(results, runtime, "heap", "native", "glibc"),
        BARS.trace[runtime],
        "at most",
      ),
      bar(
        `64 B at 10,000 live on ${runtime}: times faster than malloc by FFI`,
        microSpeedup(results, "replace-64-10k", runtime, "heap", "ffi-malloc"),
        BARS.small[runtime],
        "at least",
      ),
      bar(
        `64 KiB with a view on ${runtime}: times faster than new Uint8Array(65536)`,
        microSpeedup(results, "view-64k", runtime, "heap", "uint8array"),
        BARS.large[runtime],
        "at least",
      ),
      bar(
        `memory on ${runtime}: resident growth / live bytes, geometric mean`,
        memoryMean(results, runtime, "heap"),
        BARS.memory[runtime],
        "at most",
      ),
    );
  }
  return bars;
}

function bar(name: string, value: number | undefined, limit: number, sense: Bar["sense"]): Bar {
  const pass = value === undefined ? undefined : sense === "at most" ? value <= limit : value >= limit;
  return { name, value, limit, sense, pass };
}

function formatBars(bars: readonly Bar[]): string {
  const rows = bars.map(({ name, value, limit, sense, pass }) => [
    name,
    formatNumber(value),
    `${sense} ${limit.toFixed(2)}`,
    pass === undefined ? "not run" : pass ? "pass" : "FAIL",
  ]);
  return `## Bars\n\n${formatTable(["bar", "measured", "limit", "verdict"], rows)}`;
}
