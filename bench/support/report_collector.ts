/**
 * The tables of `bench/collector.ts`.
 *
 * @module
 */
import { distinct, figure } from "./figures.ts";
import type { Results } from "./results.ts";
import { formatNumber, formatTable, type Section } from "./text.ts";

/** The kind of the figures. */
export const COLLECTOR = "collector";

const COLUMNS: readonly (readonly [title: string, metric: string, divisor: number])[] = [
  ["RSS, MiB", "residentBytes", 2 ** 20],
  ["young", "young", 1],
  ["full", "full", 1],
  ["paused, ms", "paused", 1],
  ["longest pause", "longestPause", 1],
  ["slowest step", "longest", 1],
  ["CPU, ms", "cpu", 1],
];

/** One table for each runtime. */
export function formatCollector(results: Results): Section[] {
  return results.runtimes.map((side) => {
    const subjects = distinct(results, "subject", { kind: COLLECTOR, side });
    const rows = subjects.map((subject) => [
      subject,
      ...COLUMNS.map(([, metric, divisor]) => {
        const value = figure(results, { kind: COLLECTOR, subject, side, metric });
        if (value === undefined) return "-";
        const format = (one: number) => formatNumber(one / divisor);
        return value.least === value.most
          ? format(value.median)
          : `${format(value.median)} (${format(value.least)}-${format(value.most)})`;
      }),
    ]);
    return {
      title: `The collector of ${side}, by what lies beside the program`,
      text: [
        formatTable(["beside", ...COLUMNS.map(([title]) => title)], rows),
        "Median (least-most) of the processes. RSS: the most that was resident, without what lies beside. young, full: " +
        "collections while the program ran; paused, longest pause: how long they stopped it, in milliseconds, by the engine's " +
        "log. slowest step: as the program sees it, whatever the reason.",
      ].join("\n\n"),
    };
  });
}
