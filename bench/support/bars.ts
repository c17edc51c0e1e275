/**
 * The bars of the project, and whether a run cleared them.
 *
 * @module
 */
import { type Bar, memoryMean, microSpeedup, replayRatio, type Results } from "./results.ts";
import { formatNumber, formatTable, type Section } from "./text.ts";
import { findWorkersBars } from "./workers_results.ts";

/** The bars of the project. */
const BARS = {
  trace: { deno: 1.0, bun: 1.5 },
  small: { deno: 3, bun: 2 },
  large: { deno: 50, bun: 50 },
  memory: { deno: 1.4, bun: 1.4 },
} as const;

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
      ...findWorkersBars(results, runtime),
    );
  }
  return bars;
}

function bar(name: string, value: number | undefined, limit: number, sense: Bar["sense"]): Bar {
  const pass = value === undefined ? undefined : sense === "at most" ? value <= limit : value >= limit;
  return { name, value, limit, sense, pass };
}

/** The bars as a table. */
export function formatBars(bars: readonly Bar[]): Section {
  const rows = bars.map(({ name, value, limit, sense, pass }) => [
    name,
    formatNumber(value),
    `${sense} ${limit.toFixed(2)}`,
    pass === undefined ? "not run" : pass ? "pass" : "FAIL",
  ]);
  return { title: "Bars", text: formatTable(["bar", "measured", "limit", "verdict"], rows) };
}
