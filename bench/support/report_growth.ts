/**
 * The tables of what grows: the time of an operation with the blocks that are live, and the operations per second with
 * the workers that share an allocator.
 *
 * @module
 */
import { growthTime, type Results, sharedRate, sharedTime } from "./results.ts";
import { DESIGNS, WORKLOADS } from "./shared_designs.ts";
import { rowsWith } from "./statistics.ts";
import { formatNumber, formatSpread, formatTable, type Section } from "./text.ts";

/**
 * What the Rust originals took: nanoseconds per operation with 100, 1,000 and 10,000 live, 16 to 512 bytes, both ends
 * written. Measured natively before this project began, by another program on another, loaded machine, with the loop (3 to
 * 5 ns) in it, and half as much again either way: good for the order of magnitude only. Rulloc and MemAlloc with
 * their bugs mended, as they crash or leak otherwise.
 */
export const ORIGINALS: { readonly [name: string]: readonly [live100: number, live1k: number, live10k: number] } = {
  basicalloc: [55, 309, 7811],
  rustyMalloc: [34, 72, 1467],
  memAlloc: [85, 500, 5586],
  rulloc: [64, 187, 3316],
};

/** What each count of live blocks is in {@link ORIGINALS}. */
export const ORIGINALS_LIVE: readonly number[] = [100, 1000, 10_000];

/** The counts of live blocks that a run has, ascending. */
export function liveCounts(results: Results): number[] {
  return [...new Set((results.growth ?? []).map(({ live }) => live))].sort((a, b) => a - b);
}

/** Each side and allocator that was grown, in the order they ran. */
export function growthPlayers(results: Results): { readonly side: string; readonly allocator: string }[] {
  const players = new Map<string, { readonly side: string; readonly allocator: string }>();
  for (const { side, allocator } of results.growth ?? []) {
    if (allocator !== "null") players.set(`${side} ${allocator}`, { side, allocator });
  }
  return [...players.values()];
}

/** The growth table. */
export function formatGrowth(results: Results): Section {
  const counts = liveCounts(results);
  const head = ["allocator", "on", ...counts.map((live) => `${live.toLocaleString("en-US")} live`)];
  const rows = growthPlayers(results).map(({ side, allocator }) => [
    allocator,
    side,
    ...counts.map((live) =>
      formatSpread(growthTime(results, side, allocator, live)) + agedMark(results, side, allocator, live)
    ),
  ]);
  for (const [name, times] of Object.entries(ORIGINALS)) {
    rows.push([
      name,
      "Rust original",
      ...counts.map((live) => formatNumber(times[ORIGINALS_LIVE.indexOf(live)])),
    ]);
  }
  const notes = [
    "16 to 512 B, a random block replaced, first and last byte written; an operation is an allocation or a free. Net of " +
    "the same loop without an allocator; CPU time of the process, median (least-most) of the processes.",
    "Rust original: published figures, measured natively on another, loaded machine by another program, loop included; " +
    "good for the order of magnitude only.",
  ];
  if (rows.some((row) => row.some((cell) => cell.endsWith("*")))) {
    notes.push(
      "`*`: too slow to replace every block ten times before measuring, so the free list is younger than the others'.",
    );
  }
  return {
    title: "Growth: ns per operation, by how many blocks are live",
    text: [formatTable(head, rows, 2), ...notes].join("\n\n"),
  };
}

/** Replacements of each slot that count as aged. */
const AGED = 10;

function agedMark(results: Results, side: string, allocator: string, live: number): string {
  return rowsWith(results.growth, { side, allocator, live }).some(({ aged }) => aged < AGED) ? " *" : "";
}

/** The counts of workers that a run has, ascending. */
export function workerCounts(results: Results): number[] {
  return [...new Set((results.shared ?? []).map(({ workers }) => workers))].sort((a, b) => a - b);
}

/** The table of shared allocators. */
export function formatShared(results: Results): Section {
  const counts = workerCounts(results);
  const rows: string[][] = [];
  for (const workload of WORKLOADS) {
    for (const { name } of DESIGNS) {
      for (const side of results.runtimes) {
        const cells = counts.map((workers) => {
          const rate = sharedRate(results, { side, design: name, workload, workers });
          if (rate === undefined) return "-";
          const time = sharedTime(results, { side, design: name, workload, workers });
          return `${formatNumber(rate.median / 1e6)} (${formatNumber(time?.median)})`;
        });
        if (cells.some((cell) => cell !== "-")) rows.push([workload, name, side, ...cells]);
      }
    }
  }
  const head = ["workload", "design", "runtime", ...counts.map((count) => `${count} worker${count === 1 ? "" : "s"}`)];
  const designs = DESIGNS.map(({ name, what }) => `${name}: ${what}`).join("; ");
  return {
    title: "Workers: million operations per second of all workers together (ns of CPU time per operation)",
    text: [
      formatTable(head, rows, 3),
      `${designs}. An operation is an allocation or a free. independent: each worker replaces blocks of its own; larson: ` +
      "most blocks that a worker frees are another's. Medians of the processes.",
      `The machine has ${results.machine.cores} cores: more workers than that can show what contention costs, no more.`,
    ].join("\n\n"),
  };
}
