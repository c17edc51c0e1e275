/**
 * The tables of `bench/scale.ts`.
 *
 * @module
 */
import { distinct, figure, type FigureFilter, figuresOf } from "./figures.ts";
import type { Results, Side } from "./results.ts";
import { SIZE_SETS, type SizeSet } from "./scale_sizes.ts";
import { net, type Spread } from "./statistics.ts";
import { formatNumber, formatSpread, formatTable, type Section } from "./text.ts";

/** The kind of the figures. */
export const SCALE = "scale";
/** Subjects that are no loop. */
export const BIG = "big";
export const MANY = "many";
export const IDLE = "idle";

/** Counts of live blocks in the table. */
export const LIVE: readonly number[] = [1e3, 1e4, 1e5, 1e6, 1e7];

/** What an idle heap may keep resident. */
const IDLE_MOST = 200 * 1024;

/** The name of a loop among the subjects. */
export function loopSubject(sizes: SizeSet, live: number): string {
  return `${sizes} ${live}`;
}

/** Nanoseconds of CPU time per operation, net of the same loop without an allocator. */
export function loopTime(
  results: Results,
  sizes: SizeSet,
  live: number,
  side: Side,
  allocator: string,
): Spread | undefined {
  const filter: FigureFilter = { kind: SCALE, subject: loopSubject(sizes, live), side, metric: "process ns/op" };
  return net(figure(results, { ...filter, allocator }), figure(results, { ...filter, allocator: "null" })?.least);
}

/** How many times more an operation takes with the most blocks that were measured than with the fewest. */
export function growth(results: Results, sizes: SizeSet, side: Side, allocator: string): number | undefined {
  const counts = measuredCounts(results, sizes);
  const first = loopTime(results, sizes, counts[0]!, side, allocator);
  const last = loopTime(results, sizes, counts.at(-1)!, side, allocator);
  return first === undefined || last === undefined ? undefined : last.median / first.median;
}

function measuredCounts(results: Results, sizes: SizeSet): number[] {
  return LIVE.filter((live) => figuresOf(results, { kind: SCALE, subject: loopSubject(sizes, live) }).length > 0);
}

const WHAT: { readonly [sizes in SizeSet]: string } = {
  small: "blocks of 16 to 128 bytes",
  mixed: "blocks of 16 to 992 bytes, as many in each doubling",
  large: "blocks of 1 to 15.5 KiB, as many in each doubling",
};

/** The loops: one table for each set of sizes. */
export function formatLoop(results: Results): Section[] {
  const sections: Section[] = [];
  const players = [["native", "glibc"], ["native", "mimalloc"], ...results.runtimes.map((side) => [side, "heap"])] as [
    Side,
    string,
  ][];
  for (const sizes of SIZE_SETS) {
    const counts = measuredCounts(results, sizes);
    if (counts.length < 2) continue;
    const rows = players.map(([side, allocator]) => {
      const grown = growth(results, sizes, side, allocator);
      return [
        `${allocator}, ${side}`,
        ...counts.map((live) => formatSpread(loopTime(results, sizes, live, side, allocator))),
        grown === undefined ? "-" : `${formatNumber(grown)}x`,
      ];
    });
    const loops = ["native", ...results.runtimes].map((side) => {
      const times = counts.map((live) =>
        figure(results, {
          kind: SCALE,
          subject: loopSubject(sizes, live),
          side,
          allocator: "null",
          metric: "process ns/op",
        })
      );
      return `${side} ${times.map((time) => formatNumber(time?.least)).join(", ")}`;
    });
    sections.push({
      title: `Scale, ${WHAT[sizes]}: ns per operation, by how many blocks are live`,
      text: [
        formatTable(["allocator", ...counts.map((live) => live.toLocaleString("en-US")), "growth"], rows),
        "A random block replaced by one of a random size, no block written to; an operation is an allocation or a free. CPU " +
        "time of the process, median (least-most) of the processes, net of the same loop without an allocator, which took " +
        `${loops.join("; ")}. growth: the last column of times over the first.`,
      ].join("\n\n"),
    });
  }
  return sections;
}

function formatBytes(value: number): string {
  if (value >= 2 ** 30) return `${(value / 2 ** 30).toFixed(2)} GiB`;
  return value >= 2 ** 20 ? `${(value / 2 ** 20).toFixed(1)} MiB` : `${(value / 2 ** 10).toFixed(1)} KiB`;
}

/** A figure as its metric asks for. */
function formatMetric(metric: string, value: number): string {
  if (metric.includes("bytes")) return formatBytes(value);
  return / (ns|us|ms)$/.test(metric) ? formatNumber(value) : Math.round(value).toLocaleString("en-US");
}

const LOADS: readonly (readonly [subject: string, title: string, note: string])[] = [
  [
    BIG,
    "Scale, one heap of many GiB",
    "Blocks of one size; one in 4,096 is written to and verified, so resident bytes are mostly the tables. A million random " +
    "blocks are replaced; times are CPU time per block, loop included.",
  ],
  [
    MANY,
    "Scale, many heaps at once",
    "One written block of 64 bytes in each, then a million replacements across all of them with 16 blocks in each; open: the " +
    "heap and its first block; times are CPU time, loop included.",
  ],
  [
    IDLE,
    "Scale, a heap that holds one block",
    "OS pages of its own mappings, by mincore; after use: 64 MiB of written blocks of 4 KiB, all but the first freed. The bar " +
    `is ${formatBytes(IDLE_MOST)}.`,
  ],
];

/** The rest: one table for each load. */
export function formatSpace(results: Results): Section[] {
  return LOADS.flatMap(([subject, title, note]) => {
    const metrics = distinct(results, "metric", { kind: SCALE, subject });
    if (metrics.length === 0) return [];
    const rows = metrics.map((metric) => [
      metric,
      ...results.runtimes.map((side) => {
        const value = figure(results, { kind: SCALE, subject, side, metric });
        return value === undefined ? "-" : formatMetric(metric, value.median);
      }),
    ]);
    return [{ title, text: [formatTable(["", ...results.runtimes], rows), note].join("\n\n") }];
  });
}
