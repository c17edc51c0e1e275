/**
 * The log of a runtime's collector: how often it collected while a program's steps ran, and how long it stopped them.
 *
 * Both formats are the engines' own and no interface: V8's `--trace-gc`, a line for each collection on standard output,
 * and JavaScriptCore's `logGC`, a line for each collection on standard error with a `p=` for each pause in it.
 *
 * @module
 */
import { STEPS_BEGIN, STEPS_END } from "./collector_load.ts";

/** What the collector did. Milliseconds. */
export interface Collections {
  /** Of the young generation alone. */
  readonly young: number;
  /** Of everything. */
  readonly full: number;
  /** All pauses together. */
  readonly paused: number;
  /** The longest. */
  readonly longestPause: number;
}

/**
 * Reads V8's log: `[123:0x55a9] 5478 ms: Scavenge 91.4 (125.1) -> 62.1 (126.6) MB, ..., 9.43 / 0.00 ms ...`. What incremental
 * marking did in steps of the program before (`+ 158.0 ms in 9 steps`) are pauses too.
 *
 * @param from Collections before this are not counted, in milliseconds since the isolate was made.
 */
export function readV8Log(output: string, from: number, to: number): Collections {
  let young = 0;
  let full = 0;
  let paused = 0;
  let longestPause = 0;
  for (const line of output.split("\n")) {
    const found = /\] +(\d+) ms: (.*?) \d+\.\d+ \(.*?, (\d+\.\d+) \/ \d/.exec(line);
    if (found === null || Number(found[1]) < from || Number(found[1]) > to) continue;
    if (found[2]!.includes("Mark-Compact")) full++;
    else young++;
    const steps = /\(\+ (\d+\.\d+) ms in \d+ steps .*?biggest step (\d+\.\d+) ms/.exec(line);
    paused += Number(found[3]) + Number(steps?.[1] ?? 0);
    longestPause = Math.max(longestPause, Number(found[3]), Number(steps?.[2] ?? 0));
  }
  return { young, full, paused, longestPause };
}

/** Reads JavaScriptCore's log: `[GC<0x1>: START M 7339kb => EdenCollection, ... p=0.97ms (max 2.96), cycle 5.63ms END]`. */
export function readJscLog(output: string): Collections {
  const begin = output.indexOf(STEPS_BEGIN);
  const end = output.indexOf(STEPS_END);
  const log = output.slice(begin, end === -1 ? undefined : end);
  const pauses = [...log.matchAll(/\bp=(\d+(?:\.\d+)?)ms/g)].map(([, time]) => Number(time));
  return {
    young: log.split("=> EdenCollection").length - 1,
    full: log.split("=> FullCollection").length - 1,
    paused: pauses.reduce((sum, time) => sum + time, 0),
    longestPause: Math.max(0, ...pauses),
  };
}
