/**
 * The few figures that stand for the whole: what the heap costs beside native allocators.
 *
 * @module
 */
import { memoryMean, microRatio, microSpeedup, replayRatio, type Results, type Side } from "./results.ts";
import { formatMean, formatNumber, formatTable, type Section } from "./text.ts";

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

/** What the small loops say, one column per runtime: how many times faster than what else there is, how near to the bare object. */
export function formatMicroSummary(results: Results): Section {
  const { runtimes } = results;
  const faster = (name: string, other: string) => (side: Side) =>
    formatMean(microSpeedup(results, name, side, "heap", other));
  const near = (name: string) => (side: Side) => formatMean(microRatio(results, name, side, "bare"));
  const rows: readonly (readonly [string, (side: Side) => string])[] = [
    ["64 B, random replacement, 10,000 live: faster than `malloc` by FFI", faster("replace-64-10k", "ffi-malloc")],
    ["the same: faster than `new Uint8Array(64)`", faster("replace-64-10k", "uint8array")],
    ["64 KiB with a view: faster than `new Uint8Array(65536)`", faster("view-64k", "uint8array")],
    ["`view`: as long as `new Uint8Array(buffer, offset, length)` takes", near("view")],
    ["`buffer` and `free`: as long as a bare wrap and its end take", near("native-buffer")],
  ];
  return {
    title: "Small loops",
    text: formatTable(["", ...runtimes], rows.map(([what, figure]) => [what, ...runtimes.map(figure)])),
  };
}
