/**
 * The resident set of this process on Linux, read so that the reading itself makes no garbage worth speaking of.
 *
 * The peak is the kernel's own high-water mark (`VmHWM`), which is reset at the start through
 * `/proc/self/clear_refs`; the sampled figures are for kernels that do not allow that, and for seeing when the peak was.
 *
 * @module
 */
import { openSync, readFileSync, readSync, writeFileSync } from "node:fs";

/** Bytes of an OS page, the unit of `/proc/self/statm`. */
const OS_PAGE = 4096;

/** Reads and remembers the resident set. */
export interface ResidentProbe {
  /** The resident set now, in bytes. */
  resident(): number;
  /** Resets the high-water mark and remembers the resident set as the baseline. */
  start(): void;
  /** Reads the resident set now. */
  sample(): void;
  /** The figures, in bytes. */
  finish(): ResidentFigures;
}

/** What a {@link ResidentProbe} found, in bytes. */
export interface ResidentFigures {
  /** The resident set at the start. */
  readonly baseline: number;
  /** The largest sampled resident set. */
  readonly sampledPeak: number;
  /** The kernel's high-water mark just after its reset at the start; -1 where it cannot be reset. */
  readonly highWaterBaseline: number;
  /** The kernel's high-water mark at the end. Its counters are off by some OS pages, at both ends alike. */
  readonly highWaterMark: number;
  /** The most bytes of the allocator's own mappings that were resident at once, where they can be told apart. */
  readonly ownPages?: number;
}

/** Opens the probe. */
export function openResidentProbe(): ResidentProbe {
  const statm = openSync("/proc/self/statm", "r");
  const text = new Uint8Array(128);
  let baseline = 0;
  let sampledPeak = 0;
  let highWaterBaseline = -1;

  function resident(): number {
    const count = readSync(statm, text, 0, text.length, 0);
    let at = text.indexOf(0x20) + 1;
    let pages = 0;
    while (at < count && text[at] !== 0x20) pages = pages * 10 + text[at++]! - 0x30;
    return pages * OS_PAGE;
  }

  return {
    resident,
    start() {
      try {
        writeFileSync("/proc/self/clear_refs", "5");
        highWaterBaseline = highWaterMark();
      } catch {
        highWaterBaseline = -1;
      }
      baseline = sampledPeak = resident();
    },
    sample() {
      sampledPeak = Math.max(sampledPeak, resident());
    },
    finish() {
      return {
        baseline,
        sampledPeak,
        highWaterBaseline,
        highWaterMark: highWaterBaseline === -1 ? -1 : highWaterMark(),
      };
    },
  };
}

/** The largest growth that either way of looking saw, in bytes. */
export function peakGrowth({ baseline, sampledPeak, highWaterBaseline, highWaterMark }: ResidentFigures): number {
  return Math.max(sampledPeak - baseline, highWaterMark - highWaterBaseline);
}

function highWaterMark(): number {
  const found = /VmHWM:\s*(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
  return found === null ? -1 : Number(found[1]) * 1024;
}

/** A full collection, where the runtime lets us ask for one (Deno: with `--v8-flags=--expose-gc`). */
export function collectGarbage(): void {
  const gc: unknown = Reflect.get(globalThis, "gc");
  const bun: unknown = Reflect.get(globalThis, "Bun");
  if (typeof bun === "object" && bun !== null) {
    (Reflect.get(bun, "gc") as (full: boolean) => void)(true);
  } else if (typeof gc === "function") {
    gc();
  }
}
