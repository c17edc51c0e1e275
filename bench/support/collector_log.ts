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

/** Says in V8's log that the program asked for the collection. */
const ASKED_FOR = "testing; GC in old space requested";

/** Whether a line is of a collection that the program asked for. */
function isAskedFor(line: string): boolean {
  return line.includes(ASKED_FOR);
}

/** Whether it is the collection itself, and not the end of one that had begun, which is logged first, as a line of its own. */
function isMark(line: string): boolean {
  return isAskedFor(line) && !line.includes("Incremental");
}

/**
 * Reads V8's log: `[123:0x55a9] 5478 ms: Scavenge 91.4 (125.1) -> 62.1 (126.6) MB, ..., 9.43 / 0.00 ms ...`. What incremental
 * marking did in steps of the program before (`+ 158.0 ms in 9 steps`) are pauses too.
 *
 * The steps lie between the first and the last collection that the program asked for. None of those is counted. The times
 * would not tell: they begin some 10 ms before those of `performance.now()`, and on a busy machine more than the steps take.
 */
export function readV8Log(output: string): Collections {
  const lines = output.split("\n");
  const begin = lines.findIndex(isMark);
  const end = lines.findLastIndex(isMark);
  if (begin === end) throw new Error("The log has no two collections that the program asked for");
  let young = 0;
  let full = 0;
  let paused = 0;
  let longestPause = 0;
  for (const line of lines.slice(begin + 1, end)) {
    const found = /\] +\d+ ms: (.*?) \d+\.\d+ \(.*?, (\d+\.\d+) \/ \d/.exec(line);
    if (found === null || isAskedFor(line)) continue;
    if (found[1]!.includes("Mark-Compact")) full++;
    else young++;
    const steps = /\(\+ (\d+\.\d+) ms in \d+ steps .*?biggest step (\d+\.\d+) ms/.exec(line);
    paused += Number(found[2]) + Number(steps?.[1] ?? 0);
    longestPause = Math.max(longestPause, Number(found[2]), Number(steps?.[2] ?? 0));
  }
  return { young, full, paused, longestPause };
}

/** Reads JavaScriptCore's log: `[GC<0x1>: START M 7339kb => EdenCollection, ... p=0.97ms (max 2.96), cycle 5.63ms END]`. */
export function readJscLog(output: string): Collections {
  const begin = output.indexOf(STEPS_BEGIN);
  const end = output.indexOf(STEPS_END);
  if (begin === -1 || end === -1) throw new Error("The log does not say when the steps began and ended");
  const log = output.slice(begin, end);
  const pauses = [...log.matchAll(/\bp=(\d+(?:\.\d+)?)ms/g)].map(([, time]) => Number(time));
  return {
    young: log.split("=> EdenCollection").length - 1,
    full: log.split("=> FullCollection").length - 1,
    paused: pauses.reduce((sum, time) => sum + time, 0),
    longestPause: Math.max(0, ...pauses),
  };
}
