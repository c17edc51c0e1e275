/**
 * The few figures that stand for the whole: what the heap costs beside native allocators.
 *
 * @module
 */
import { memoryMean, replayRatio, type Results } from "./results.ts";
import { formatNumber, formatTable, type Section } from "./text.ts";

/** Geometric means over the traces of a run, one column per runtime. */
export function formatSummary(results: Results): Section {
  const { runtimes } = results;
  const rows: string[][] = [];
  const add = (what: string, figure: (side: string) => number | undefined) =>
    rows.push([what, ...runtimes.map((side) => formatNumber(figure(side)))]);
  for (const base of ["glibc", "mimalloc"]) {
    add(`CPU time, relative to native ${base}`, (side) => replayRatio(results, side, "heap", "native", base));
  }
  add(
    "elapsed time, relative to native glibc",
    (side) => replayRatio(results, side, "heap", "native", "glibc", "warm", "wall"),
  );
  add(
    "first replay of a process, relative to glibc's",
    (side) => replayRatio(results, side, "heap", "native", "glibc", "cold"),
  );
  add("resident memory over live bytes, growth of the process", (side) => memoryMean(results, side, "heap"));
  add("the same, the heap's own OS pages", (side) => memoryMean(results, side, "heap", "ownRatio"));
  const native = ["glibc", "mimalloc"].map((name) => `${name} ${formatNumber(memoryMean(results, "native", name))}`);
  rows.push([`for comparison, native: ${native.join(", ")}`, ...runtimes.map(() => "")]);
  return {
    title: `\`Heap\` on ${results.traces.length} recorded traces, net of the loop, geometric means`,
    text: formatTable(["", ...runtimes], rows),
  };
}
