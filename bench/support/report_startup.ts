/**
 * The table of `bench/startup.ts`.
 *
 * @module
 */
import { distinct, figure, figuresOf } from "./figures.ts";
import type { Results, Side } from "./results.ts";
import { EMPTY } from "./startup_steps.ts";
import { spread } from "./statistics.ts";
import { formatNumber, formatTable, type Section } from "./text.ts";

/** The kind of the figures. */
export const STARTUP = "startup";

/** CPU time above the empty program's in the same round, the median of all; in milliseconds. */
export function cpuAbove(results: Results, side: Side, subject: string): number | undefined {
  const of = (subject: string) => figuresOf(results, { kind: STARTUP, side, subject, metric: "cpu ms" });
  const empty = new Map(of(EMPTY).map(({ round, value }) => [round, value]));
  return spread(of(subject).map(({ round, value }) => value - (empty.get(round) ?? NaN)))?.median;
}

/**
 * Elapsed time above the empty program's, in milliseconds: the shortest of any round from the shortest, as the neighbours
 * on a machine can only add to it.
 */
export function wallAbove(results: Results, side: Side, subject: string): number | undefined {
  const own = figure(results, { kind: STARTUP, side, subject, metric: "wall ms" });
  const empty = figure(results, { kind: STARTUP, side, subject: EMPTY, metric: "wall ms" });
  return own === undefined || empty === undefined ? undefined : own.least - empty.least;
}

/** The steps. */
export function formatStartup(results: Results): Section {
  const rows = distinct(results, "subject", { kind: STARTUP }).map((subject) => {
    const row = [subject];
    for (const side of results.runtimes) {
      const own = (metric: string) => figure(results, { kind: STARTUP, side, subject, metric });
      const times = subject === EMPTY
        ? [own("cpu ms")?.median, own("wall ms")?.least]
        : [cpuAbove(results, side, subject), wallAbove(results, side, subject)];
      row.push(...times.map(formatNumber));
    }
    return row;
  });
  return {
    title: "Start-up: milliseconds above an empty program",
    text: [
      formatTable(["program", ...results.runtimes.flatMap((side) => [`${side}, CPU`, `${side}, elapsed`])], rows),
      `Whole processes, from start to end, modules cached; the row of the ${EMPTY} is what it takes itself. CPU: of all threads, ` +
      "the median of the differences in each round. elapsed: the shortest of all rounds, from the shortest of the empty " +
      "program. The bars are 15 ms on Deno and 5 ms on Bun for the first block. An OS page by FFI: mmap, a wrap and munmap, " +
      "nothing else. The package as built: what scripts/build_package.ts makes of the sources, its mod.js or its heap.js. " +
      "Bundled with the program: by bun build --minify, from heap.ts; as bytecode: with --bytecode.",
    ].join("\n\n"),
  };
}
