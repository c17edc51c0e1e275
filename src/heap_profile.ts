/**
 * Bytes by allocation site, as a file that existing viewers open.
 *
 * ```text
 *   { head: node, samples: [{ size, nodeId, ordinal }] }           JSON, in a file NAME.heapprofile
 *
 *   node    { callFrame: { functionName, scriptId, url, lineNumber, columnNumber }, selfSize, id, children: [node] }
 *
 *   (root)                       one node for each call, the outermost under the root
 *    └─ main                     selfSize: the bytes that were allocated by this call itself
 *        ├─ readAll     3,000
 *        └─ parse          16
 * ```
 *
 * This is the format of V8's sampling heap profiler (`HeapProfiler.SamplingHeapProfile` of the DevTools protocol; Node
 * writes it with `--heap-prof`), with every block in it instead of samples. Lines and columns count from 0 there.
 *
 * @module
 */
import { framesOf, type StackFrame } from "./allocation_site.ts";
import { describeValue } from "./errors.ts";

/** Which blocks a profile counts: those that are live, or all that ever were. */
export type HeapProfileKind = "live" | "total";

/** One call in a {@link HeapProfile}. */
export interface HeapProfileNode {
  /** The function and where in it the call was made; numbers from 0, -1 where they are not known. */
  readonly callFrame: {
    readonly functionName: string;
    readonly scriptId: string;
    readonly url: string;
    readonly lineNumber: number;
    readonly columnNumber: number;
  };
  /** Bytes asked for by blocks that this call allocated itself. */
  readonly selfSize: number;
  /** Unique in the profile, from 1. */
  readonly id: number;
  /** The calls made from here. */
  readonly children: readonly HeapProfileNode[];
}

/** Blocks of one size and site, counted from 1 in `ordinal`. */
export interface HeapProfileSample {
  /** Bytes of all the blocks of the site. */
  readonly size: number;
  /** The `id` of the site's node. */
  readonly nodeId: number;
  /** The order of the samples. */
  readonly ordinal: number;
}

/** A heap profile as Chrome's DevTools read it. Plain data. */
export interface HeapProfile {
  /** The root of the calls. */
  readonly head: HeapProfileNode;
  /** One for each site that allocated. */
  readonly samples: readonly HeapProfileSample[];
}

/** A node while bytes are added. */
interface SiteNode {
  readonly frame: StackFrame | undefined;
  readonly children: Map<string, SiteNode>;
  bytes: number;
}

/** Adds bytes up by the stacks that allocated them. */
export class SiteTotals {
  readonly #root: SiteNode = { frame: undefined, children: new Map(), bytes: 0 };

  /** Adds a block. Reads its stack: 8 to 55 µs the first time. Without one the bytes are the root's. */
  add(allocatedAt: Error | undefined, bytes: number): void {
    let node = this.#root;
    for (const frame of framesOf(allocatedAt).reverse()) {
      const key = `${frame.functionName}\n${frame.url}:${frame.line}:${frame.column}`;
      let child = node.children.get(key);
      if (child === undefined) node.children.set(key, child = { frame, children: new Map(), bytes: 0 });
      node = child;
    }
    node.bytes += bytes;
  }

  /** The sums so far. */
  toProfile(): HeapProfile {
    const samples: HeapProfileSample[] = [];
    const scripts = new Map<string, string>();
    let lastId = 0;
    const convert = ({ frame, children, bytes }: SiteNode): HeapProfileNode => {
      const id = ++lastId;
      if (bytes > 0) samples.push({ size: bytes, nodeId: id, ordinal: samples.length + 1 });
      return {
        callFrame: callFrameOf(frame, scripts),
        selfSize: bytes,
        id,
        children: [...children.values()].map(convert),
      };
    };
    return { head: convert(this.#root), samples };
  }
}

/** The profile of the `live` blocks, or of what `totals` has added up; undefined when nothing was. */
export function makeHeapProfile(
  kind: HeapProfileKind,
  live: Iterable<{ readonly allocatedAt: Error | undefined; readonly size: number }>,
  totals: SiteTotals | undefined,
): HeapProfile {
  if (kind !== "live" && kind !== "total") {
    throw new TypeError(`Cannot make a profile of ${describeValue(kind)}: it must be "live" or "total"`);
  }
  if (kind === "live") {
    const sums = new SiteTotals();
    for (const { allocatedAt, size } of live) sums.add(allocatedAt, size);
    return sums.toProfile();
  }
  if (totals !== undefined) return totals.toProfile();
  throw new TypeError("Cannot make a profile of all blocks ever: the allocator was made without totals");
}

/** A frame as the profile has it; `scripts` numbers the files. */
function callFrameOf(frame: StackFrame | undefined, scripts: Map<string, string>): HeapProfileNode["callFrame"] {
  if (frame === undefined) {
    return { functionName: "(root)", scriptId: "0", url: "", lineNumber: -1, columnNumber: -1 };
  }
  const { functionName, url, line, column } = frame;
  let scriptId = scripts.get(url);
  if (scriptId === undefined) scripts.set(url, scriptId = `${scripts.size + 1}`);
  return { functionName, scriptId, url, lineNumber: line - 1, columnNumber: column - 1 };
}
