/**
 * Tables of the allocators that replay the traces besides the heap, a group at a time: what could be used instead, what a
 * policy costs, what a mode costs.
 *
 * @module
 */
import { type Group, subjectsOf } from "./catalogue.ts";
import { isCut, memoryMean, netReplay, replayedRecords, type Results, type Side } from "./results.ts";
import { geometricMean } from "./statistics.ts";
import { formatNumber, formatTable, formatTimes, type Section } from "./text.ts";

const TITLES: { readonly [group in Group]: string } = {
  peers: "Traces, what could be used instead",
  systems: "Traces, the reference systems and the arena: what policy costs",
  modes: "Traces, the modes: what safety costs",
};

/** How many times as long as the heap an allocator needs, over all traces. */
export interface GroupMean {
  readonly ratio: number;
  /** Whether some trace was cut, so that the whole of it would take longer still: the ratio is a lower bound. */
  readonly atLeast: boolean;
  /** Traces that it could not replay, which are not in the mean. */
  readonly absent: number;
}

/** Geometric mean over the traces of an allocator's net time over the heap's on the same runtime. */
export function groupMean(results: Results, side: Side, allocator: string): GroupMean | undefined {
  const ratios: number[] = [];
  let atLeast = false;
  let absent = 0;
  for (const { name } of results.traces) {
    const own = netReplay(results, name, side, allocator);
    const heap = netReplay(results, name, side, "heap");
    if (own === undefined || heap === undefined) {
      absent++;
      continue;
    }
    ratios.push(own.median / heap.median);
    atLeast ||= isCut(results, name, side, allocator);
  }
  return ratios.length === 0 ? undefined : { ratio: geometricMean(ratios), atLeast, absent };
}

/** The mean as text: `28x`, `>456x` for a lower bound, `28x (-1)` when a trace is not in it. */
export function formatGroupMean(mean: GroupMean | undefined): string {
  if (mean === undefined) return "-";
  const { ratio, atLeast, absent } = mean;
  return `${atLeast ? ">" : ""}${formatTimes(ratio)}${absent === 0 ? "" : ` (-${absent})`}`;
}

/** The table of a group; nothing when none of it was replayed. */
export function formatGroup(results: Results, group: Group): Section[] {
  const rows: string[][] = [];
  let cut = false;
  for (const allocator of ["heap", ...subjectsOf(group)]) {
    for (const side of results.runtimes) {
      const cells = results.traces.map(({ name }) => {
        cut ||= isCut(results, name, side, allocator);
        return formatCell(results, name, side, allocator);
      });
      if (cells.every((cell) => cell === "-")) continue;
      const mean = allocator === "heap" ? "1" : formatGroupMean(groupMean(results, side, allocator));
      const memory = memoryMean(results, side, allocator, "ownRatio");
      rows.push([allocator, side, ...cells, mean, formatNumber(memory)]);
    }
  }
  if (rows.every(([allocator]) => allocator === "heap")) return [];
  const head = ["allocator", "runtime", ...results.traces.map(({ name }) => name), "/heap", "memory"];
  const notes = [
    "ns per record, net of the loop, and (how many times the heap's of the same runtime); /heap: the geometric mean. " +
    "memory: most resident OS pages of the allocator's own mappings over most live bytes; records that it keeps on the " +
    "JavaScript heap are not in it.",
  ];
  if (cut) {
    notes.push(
      "[n k]: stopped after so many thousand records, as the whole trace would take too long. The figure is cold and of " +
        "those records, while less is live; a mean with such a figure in it is a lower bound (>).",
    );
  }
  if (rows.some((row) => row.some((cell) => cell.includes("(-")))) {
    notes.push(
      "(-n): n traces could not be replayed and are not in the mean; the run says why under what it left out.",
    );
  }
  return [{ title: TITLES[group], text: [formatTable(head, rows, 2), ...notes].join("\n\n") }];
}

function formatCell(results: Results, trace: string, side: Side, allocator: string): string {
  const own = netReplay(results, trace, side, allocator);
  const heap = netReplay(results, trace, side, "heap");
  if (own === undefined) return "-";
  if (allocator === "heap" || heap === undefined) return formatNumber(own.median);
  const cell = `${formatNumber(own.median)} (${formatTimes(own.median / heap.median)})`;
  if (!isCut(results, trace, side, allocator)) return cell;
  const records = replayedRecords(results, trace, side, allocator)!;
  return `${cell} [${Math.round(records / 1000)} k]`;
}
