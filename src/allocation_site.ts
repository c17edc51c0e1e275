/**
 * Stacks: taken as `Error` objects, which is cheap, and read only when somebody wants to see them.
 *
 * ```text
 *   allocate() ── captureStack ──▶ Error ── framesOf ──▶ StackFrame[] ── formatFrames ──▶ text
 *                 2 us / 0.5 us            55 us / 8 us                                        (Deno / Bun, depth 10)
 * ```
 *
 * The frames of this package at the top of a stack are left out: the first frame is the caller's. Where the package was
 * bundled into one file with other code its frames cannot be told apart, and all are kept. As scripts/build_package.ts
 * builds it, this is in `offheap.js`, and nobody else's files are beside that. Errors that callers get to see (`allocatedAt`
 * and `freedAt` of a violation) have those frames cut off their `stack` as well, when the message is made that shows them.
 *
 * In JavaScriptCore (Bun) a function that ends in `return allocator.allocate(...)` has no frame: the call takes its
 * place.
 *
 * A stack that is not read yet keeps alive what its frames refer to (in V8 the functions, and what they were called
 * on).
 *
 * @module
 */
import { assertSize } from "./arguments.ts";
import { type BlockHistory, describeValue } from "./errors.ts";

/** Frames of a stack when nothing else is asked for. */
export const DEFAULT_STACK_DEPTH = 12;

/** The most frames of this package that are at the top of a stack: they are taken besides those asked for. */
const OWN_FRAMES = 8;

/** The part of V8's and JavaScriptCore's `Error` that is in no standard. */
interface LimitedErrors {
  stackTraceLimit?: number;
}

/** One call of a stack. */
export interface StackFrame {
  /** As the engine names it; empty for what has no name. */
  readonly functionName: string;
  /** The file as a URL or a path, or what the engine says instead of one: `native`, `<anonymous>`. */
  readonly url: string;
  /** Counted from 1; 0 where the engine says none. */
  readonly line: number;
  /** Counted from 1; 0 where the engine says none. */
  readonly column: number;
}

/** How deep stacks are to be, from an option that is a boolean or a number of frames; 0 for none at all. */
export function stackDepth(stacks: unknown): number {
  if (typeof stacks === "boolean") return stacks ? DEFAULT_STACK_DEPTH : 0;
  if (typeof stacks !== "number") {
    throw new TypeError(`Cannot use ${describeValue(stacks)} as stacks: it must be a boolean or a number of frames`);
  }
  assertSize(stacks, "stacks");
  return stacks;
}

/** Takes the stack of the caller, `depth` frames without those of this package; undefined when `depth` is 0. */
export function captureStack(what: string, depth: number): Error | undefined {
  if (depth === 0) return undefined;
  const errors = Error as LimitedErrors;
  let before: number | undefined;
  try {
    before = errors.stackTraceLimit;
    errors.stackTraceLimit = depth + OWN_FRAMES;
  } catch {
    // Frozen intrinsics, or an accessor of the program's own: then the stack is as deep as all others are.
    return new Error(what);
  }
  const error = new Error(what);
  try {
    if (before === undefined) delete errors.stackTraceLimit;
    else errors.stackTraceLimit = before;
  } catch {
    // An accessor that takes one value and not another: what it does is the program's.
  }
  return error;
}

/** The frames of an error's stack, innermost first: those of this package at the top left out, at most `depth`. */
export function framesOf(error: Error | undefined, depth = Infinity): StackFrame[] {
  const { frames } = splitStack(error);
  return frames.slice(firstOfCaller(frames)).slice(0, depth).map(parseFrame);
}

/** Cuts the frames of this package off the top of an error's `stack`, which is text from then on. */
function cutStack(error: Error | undefined): void {
  const { head, frames } = splitStack(error);
  const first = firstOfCaller(frames);
  if (first === 0) return;
  try {
    error!.stack = [head, ...frames.slice(first)].join("\n");
  } catch {
    // The program has made it read-only: then it is as it was.
  }
}

/** A stack as text, in lines. */
interface StackText {
  /** What comes before the frames: the name of the error and its message. */
  readonly head: string;
  /** The frames, innermost first. */
  readonly frames: readonly string[];
}

function splitStack(error: Error | undefined): StackText {
  const stack = stackOf(error);
  if (error === undefined || typeof stack !== "string") return { head: "", frames: [] };
  // The message comes first, and that of a violation has the frames of other stacks in it.
  const { message } = error;
  const start = stack.indexOf(message);
  const end = start === -1 ? 0 : start + message.length;
  return { head: stack.slice(0, end), frames: stack.slice(end).split("\n").filter((line) => /^\s+at /.test(line)) };
}

/** How many frames of this package there are at the top. */
function firstOfCaller(frames: readonly string[]): number {
  const own = ownDirectory();
  let first = 0;
  if (own !== undefined) {
    while (first < frames.length && normalised(parseFrame(frames[first]!).url).startsWith(own)) first++;
  }
  return first;
}

/** The stack as the engine gives it: with a prepareStackTrace of the program's own anything, and reading it can throw. */
function stackOf(error: Error | undefined): unknown {
  try {
    return error?.stack;
  } catch {
    return undefined;
  }
}

/** Frames as lines of text, like those of an error's `stack`. */
export function formatFrames(frames: readonly StackFrame[], indent = "    "): string {
  return frames.map((frame) => `${indent}at ${formatFrame(frame)}`).join("\n");
}

/** The stack of an error as lines of text; a line that says so when there is none. */
export function formatStack(error: Error | undefined, depth = Infinity, indent = "    "): string {
  return formatFrames(framesOf(error, depth), indent) || `${indent}(no stack was recorded)`;
}

/**
 * The lines that end a message: where the block was allocated, and freed. Empty when neither was noted. The error that has
 * the message shows both, so their `stack` starts with the caller from then on.
 */
export function historyOf({ allocatedAt, freedAt }: BlockHistory): string {
  for (const error of [allocatedAt, freedAt]) cutStack(error);
  const allocated = allocatedAt === undefined ? "" : `\n  allocated\n${formatStack(allocatedAt)}`;
  return freedAt === undefined ? allocated : `${allocated}\n  freed\n${formatStack(freedAt)}`;
}

function formatFrame({ functionName, url, line, column }: StackFrame): string {
  const place = line === 0 ? url : `${url}:${line}:${column}`;
  return functionName === "" ? place : `${functionName} (${place})`;
}

/** `    at name (url:line:column)`, `    at url:line:column`, or something like it. */
function parseFrame(text: string): StackFrame {
  const call = text.trim().slice("at ".length).replace(/^async (?!\()/, "");
  const open = call.endsWith(")") ? call.indexOf(" (") : -1;
  const name = open === -1 ? "" : call.slice(0, open);
  const place = open === -1 ? call : call.slice(open + 2, -1);
  const [, url = place, line = 0, column = 0] = /^(.*):(\d+):(\d+)$/.exec(place) ?? [];
  const functionName = name === "<anonymous>" || name === "anonymous" ? "" : name;
  return { functionName, url, line: Number(line), column: Number(column) };
}

/** Where the files of this package are, ending in a slash; undefined when this is part of a bundle. */
function ownDirectory(): string | undefined {
  const [, directory] = /^(.*\/)(?:allocation_site\.[jt]s|offheap\.js)$/.exec(normalised(import.meta.url)) ?? [];
  return directory;
}

/** A file's URL or path in one spelling, for comparisons: stacks have URLs in Deno and paths in Bun. */
function normalised(place: string): string {
  const path = place.replaceAll("\\", "/").replace(/^file:\/\/\/(?=[A-Za-z]:)/, "").replace(/^file:\/\//, "");
  try {
    return decodeURI(path);
  } catch {
    return path; // a path that has a % of its own
  }
}
