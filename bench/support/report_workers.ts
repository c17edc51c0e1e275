/**
 * The tables of bench/workers.ts: the shared heap beside a heap, beside itself with two workers, and beside native threads.
 *
 * @module
 */
import type { Results } from "./results.ts";
import type { Spread } from "./statistics.ts";
import { formatNumber, formatRatio, formatSpread, formatTable, type Section } from "./text.ts";
import {
  NATIVE_LOADS,
  nativeRatio,
  netWorkersTime,
  oneWorkerRatio,
  remoteRatio,
  scaling,
  scalingByCpu,
} from "./workers_results.ts";

/** Both tables. */
export function formatWorkers(results: Results): Section[] {
  return [formatRatios(results), formatNative(results)];
}

function formatRatios(results: Results): Section {
  const rows: string[][] = [];
  const add = (what: string, wanted: string, figure: (side: string) => number | undefined) =>
    rows.push([what, wanted, ...results.runtimes.map((side) => formatNumber(figure(side)))]);
  const native = results.runtimes.map(() => "");
  add("one worker, `Heap` = 1: a pair of 64 bytes", "1.2", (side) => oneWorkerRatio(results, side, "pair"));
  add("the same: 10,000 live, 16 to 512 bytes", "1.2", (side) => oneWorkerRatio(results, side, "churn"));
  const addSpread = (what: string, wanted: string, figure: (side: string) => Spread | undefined) =>
    rows.push([what, wanted, ...results.runtimes.map((side) => formatSpread(figure(side)))]);
  addSpread(
    "two workers, each by itself, operations of one = 1, elapsed",
    "1.8",
    (side) => scaling(results, side, "shared-heap"),
  );
  addSpread("two workers that compute, in between", "", (side) => scaling(results, side, "shared-heap", "compute"));
  addSpread("two workers with a `Heap` each", "", (side) => scaling(results, side, "heap"));
  addSpread("two workers that compute, in between", "", (side) => scaling(results, side, "heap", "compute"));
  add("two workers on the shared heap, per CPU time", "", (side) => scalingByCpu(results, side));
  add(
    "freeing another worker's blocks, one's own = 1",
    "3",
    (side) => remoteRatio(results, side, "shared-heap"),
  );
  add(
    "allocating when others have freed, oneself = 1",
    "",
    (side) => remoteRatio(results, side, "shared-heap", "allocating"),
  );
  for (const subject of ["glibc", "mimalloc"]) {
    const [freeing, allocating] = (["freeing", "allocating"] as const).map((clock) =>
      formatNumber(remoteRatio(results, "native", subject, clock))
    );
    rows.push([`native ${subject}, the two lines above: ${freeing}, ${allocating}`, "", ...native]);
  }
  for (const load of NATIVE_LOADS) {
    add(`${load}, two workers, glibc with two threads = 1`, "1.5", (side) => nativeRatio(results, side, load, "glibc"));
  }
  return {
    title: "`SharedHeap`: ratios of times net of the loop, CPU time unless it says elapsed, medians of the processes",
    text: formatTable(["what", "wanted", ...results.runtimes], rows),
  };
}

function formatNative(results: Results): Section {
  const head = ["load", "glibc", "mimalloc"];
  for (const side of results.runtimes) head.push(`${side} shared-heap`, "/glibc", "/mimalloc", "elapsed /glibc");
  const rows = NATIVE_LOADS.map((load) => {
    const glibc = netWorkersTime(results, "native", load, "glibc", 2);
    const mimalloc = netWorkersTime(results, "native", load, "mimalloc", 2);
    const row: string[] = [load, formatSpread(glibc), formatSpread(mimalloc)];
    for (const side of results.runtimes) {
      const own = netWorkersTime(results, side, load, "shared-heap", 2);
      const elapsed = nativeRatio(results, side, load, "glibc", "wall");
      row.push(
        formatSpread(own),
        formatRatio(own, glibc),
        formatRatio(own, mimalloc),
        elapsed === undefined ? "-" : `${elapsed.toFixed(2)}x`,
      );
    }
    return row;
  });
  return {
    title: "Two workers and two native threads: ns of CPU time per operation, net of the loop; median (least-most)",
    text: [
      formatTable(head, rows),
      "larson: a worker ends after 500,000 replacements of 5,000 blocks of 8 to 1,000 bytes and leaves them to the next. " +
      "handoff: 1,000 blocks change hands after 256 replacements. mstress: blocks are exchanged one by one, and a worker " +
      "ends after 32,768 steps. The loads are in bench/support/worker_loads.ts and bench/native/workers.c.",
    ].join("\n\n"),
  };
}
