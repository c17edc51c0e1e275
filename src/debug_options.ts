/**
 * The options of `DebugAllocator`: what they may be, and what they mean.
 *
 * @module
 */
import { stackDepth } from "./allocation_site.ts";
import { assertOptions, assertSize } from "./arguments.ts";
import { describeValue } from "./errors.ts";
import type { LeakReport } from "./leak_report.ts";

/** Options of a `DebugAllocator`. */
export interface DebugAllocatorOptions {
  /**
   * Whether the stack of each allocation and free is recorded, and how many frames deep: 2 µs a stack on Deno, 0.5 µs on
   * Bun, and up to half a kilobyte.
   *
   * @defaultValue true, which is 12 frames
   */
  stacks?: boolean | number;
  /** Whether fresh blocks are filled with 0xD0 and freed ones with 0xDF. @defaultValue true */
  fill?: boolean;
  /** How many freed blocks are remembered, to tell a double free from a foreign address. @defaultValue 1024 */
  remember?: number;
  /** The most bytes that may be live at once, counted as requested. @defaultValue Infinity */
  limit?: number;
  /**
   * What becomes of the blocks that are live at dispose: `true` prints the report with `console.error`, a function is
   * given it. Nothing happens when there are none.
   *
   * @defaultValue false
   */
  reportLeaks?: boolean | ((report: LeakReport) => void);
  /** Whether the same is done when the program ends and the allocator was not disposed. @defaultValue false */
  leaksAtExit?: boolean;
  /**
   * Whether `heapProfile("total")` is possible: the stack of each allocation is read at once then, 8 to 55 µs each.
   *
   * @defaultValue false
   */
  totals?: boolean;
}

/** The default of {@link DebugAllocatorOptions.remember}. */
const REMEMBERED = 1024;

/** The options with their defaults, verified. */
export interface DebugSettings {
  /** Frames of a recorded stack; 0 for none. */
  readonly stackDepth: number;
  /** See {@link DebugAllocatorOptions.fill}. */
  readonly fill: boolean;
  /** See {@link DebugAllocatorOptions.remember}. */
  readonly remember: number;
  /** See {@link DebugAllocatorOptions.limit}. */
  readonly limit: number;
  /** Is given the leaks, when anybody wants them. */
  readonly onLeaks: ((report: LeakReport) => void) | undefined;
  /** See {@link DebugAllocatorOptions.leaksAtExit}. */
  readonly leaksAtExit: boolean;
  /** See {@link DebugAllocatorOptions.totals}. */
  readonly totals: boolean;
}

/** Verifies the options and fills in the defaults. */
export function readDebugOptions(options: DebugAllocatorOptions): DebugSettings {
  assertOptions(options);
  const { stacks = true, fill = true, remember = REMEMBERED, limit = Infinity } = options;
  const { reportLeaks = false, leaksAtExit = false, totals = false } = options;
  const depth = stackDepth(stacks);
  assertBoolean(fill, "fill");
  assertSize(remember, "remember");
  if (limit !== Infinity) assertSize(limit, "limit");
  if (typeof reportLeaks !== "function") assertBoolean(reportLeaks, "reportLeaks");
  assertBoolean(leaksAtExit, "leaksAtExit");
  assertBoolean(totals, "totals");
  const print = reportLeaks === true || leaksAtExit ? printLeaks : undefined;
  const onLeaks = typeof reportLeaks === "function" ? reportLeaks : print;
  return { stackDepth: depth, fill, remember, limit, onLeaks, leaksAtExit, totals };
}

function printLeaks(report: LeakReport): void {
  console.error(`${report}`);
}

function assertBoolean(value: unknown, name: string): void {
  if (typeof value === "boolean") return;
  throw new TypeError(`Cannot use ${describeValue(value)} as ${name}: it must be a boolean`);
}
