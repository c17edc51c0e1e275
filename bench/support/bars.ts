/**
 * The bars of the project, and whether a run cleared them.
 *
 * @module
 */
import {
  type Bar,
  memoryMean,
  microRatio,
  microSpeedup,
  netReplay,
  replayRatio,
  type Results,
  type Side,
} from "./results.ts";
import { formatNumber, formatTable, type Section } from "./text.ts";
import { findWorkersBars } from "./workers_results.ts";

/** The bars of the project, by runtime; {@link findBars} names what each is on. */
const BARS = {
  // CPU time on the traces, at most so many times the native allocator's.
  glibc: { deno: 0.65, bun: 0.8 },
  mimalloc: { deno: 1.4, bun: 1.8 },
  worst: { deno: 1.5, bun: 1.5 },
  // Small loops: at least so many times faster than `malloc` by FFI, and than `new Uint8Array`.
  small: { deno: 3, bun: 2 },
  large: { deno: 50, bun: 50 },
  // At most so many times what the runtime takes for the same object.
  bare: { deno: 1.3, bun: 1.3 },
  // Resident memory, at most so many times the live bytes.
  memory: { deno: 1.2, bun: 1.2 },
} as const;

/** The small loops that are compared with what the runtime itself takes for the object that they make. */
const BARE_CASES = { view: "a view", "native-buffer": "a NativeBuffer made and freed" } as const;

/** The bars, with what this run measured. */
export function findBars(results: Results): Bar[] {
  const bars: Bar[] = [];
  for (const runtime of ["deno", "bun"] as const) {
    if (!results.runtimes.includes(runtime)) continue;
    bars.push(
      ...(["glibc", "mimalloc"] as const).map((native) =>
        bar(
          `traces on ${runtime}: heap / ${native}, geometric mean`,
          replayRatio(results, runtime, "heap", "native", native),
          BARS[native][runtime],
          "at most",
        )
      ),
      bar(
        `traces on ${runtime}: heap / glibc, the worst trace`,
        worstRatio(results, runtime),
        BARS.worst[runtime],
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
      ...Object.entries(BARE_CASES).map(([name, what]) =>
        bar(
          `${what} on ${runtime}: times the runtime's own`,
          microRatio(results, name, runtime, "bare"),
          BARS.bare[runtime],
          "at most",
        )
      ),
      ...(["ratio", "ownRatio"] as const).map((figure) =>
        bar(
          `memory on ${runtime}: ${figure === "ratio" ? "resident growth" : "own pages"} / live bytes, geometric mean`,
          memoryMean(results, runtime, "heap", figure),
          BARS.memory[runtime],
          "at most",
        )
      ),
      ...findWorkersBars(results, runtime),
    );
  }
  return bars;
}

/** The largest ratio to glibc of a single trace. */
function worstRatio(results: Results, side: Side): number | undefined {
  let worst: number | undefined;
  for (const { name } of results.traces) {
    const own = netReplay(results, name, side, "heap");
    const base = netReplay(results, name, "native", "glibc");
    if (own !== undefined && base !== undefined) worst = Math.max(worst ?? 0, own.median / base.median);
  }
  return worst;
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
