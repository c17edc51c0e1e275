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
  /** Resets the high-water mark and remembers the resident set as the baseline. */
  start(): void;
  /** Reads the resident set now; whether it is the largest so far. */
  sample(): boolean;
  /** The figures, in bytes. */
  finish(): ResidentFigures;
}

/** What a {@link ResidentProbe} found, in bytes. */
export interface ResidentFigures {
  /** The resident set at the start. */
  readonly baseline: number;
  /** The largest sampled resident set. */
  readonly sampledPeak: number;
  /** The kernel's high-water mark since the start; -1 where it cannot be reset. */
  readonly highWaterMark: number;
}

/** Opens the probe. */
export function openResidentProbe(): ResidentProbe {
  const statm = openSync("/proc/self/statm", "r");
  const text = new Uint8Array(128);
  let baseline = 0;
  let sampledPeak = 0;
  let reset = false;

  function resident(): number {
    const count = readSync(statm, text, 0, text.length, 0);
    let at = text.indexOf(0x20) + 1;
    let pages = 0;
    while (at < count && text[at] !== 0x20) pages = pages * 10 + text[at++]! - 0x30;
    return pages * OS_PAGE;
  }

  return {
    start() {
      try {
        writeFileSync("/proc/self/clear_refs", "5");
        reset = true;
      } catch {
        reset = false;
      }
      baseline = sampledPeak = resident();
    },
    sample() {
      const bytes = resident();
      if (bytes <= sampledPeak) return false;
      sampledPeak = bytes;
      return true;
    },
    finish() {
      const found = /VmHWM:\s*(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
      return { baseline, sampledPeak, highWaterMark: reset && found !== null ? Number(found[1]) * 1024 : -1 };
    },
  };
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
