/**
 * One process: a program that makes garbage, beside so much native memory, and prints one line of JSON.
 * `bench/collector.ts` starts it, with the collector's log turned on; by hand:
 *
 *     deno run -A --v8-flags=--expose-gc bench/support/collector_load.ts --beside heap --bytes 1073741824 [--steps 3000]
 *     bun bench/support/collector_load.ts --beside none
 *
 * The program keeps a graph of some 100,000 objects (about 20 MB). A step makes 2,000 short-lived objects and puts new ones
 * in the place of 100 of the graph's, so that the old generation has garbage too. Its length is taken: what is much longer
 * than the others had a collection in it. Beside it lie, all of their OS pages written to:
 *
 * - `none`: nothing.
 * - `heap`: one heap with blocks of 4 KiB.
 * - `views`: the same, and each step makes 100 views of random blocks, looks at them and drops them.
 * - `buffers`: the same bytes as `NativeBuffer`s of 64 KiB, each with an ArrayBuffer of its own.
 * - `uint8arrays`: the same bytes as `new Uint8Array(4096)`.
 *
 * The resident set is read every 20 steps; what lies beside is taken off, as it is the same all the time.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { elapsed, openClock } from "./clock.ts";
import { openLibc, type RawAddress } from "./libc.ts";
import { OwnPages } from "./own_pages.ts";
import { openHeap } from "./own_subjects.ts";
import { collectGarbage, openResidentProbe } from "./resident.ts";
import { Xorshift } from "./xorshift.ts";

/** What lies beside the program. */
export type Beside = "none" | "heap" | "views" | "buffers" | "uint8arrays";

/** All of them. */
export const BESIDES: readonly Beside[] = ["none", "heap", "views", "buffers", "uint8arrays"];

/** The line of JSON. Bytes, and milliseconds. */
export interface CollectorReport {
  /** The most that was resident besides what lies beside. */
  readonly residentBytes: number;
  /** CPU time of all threads, the collector's among them. */
  readonly cpu: number;
  /** CPU time of the JavaScript thread. */
  readonly thread: number;
  /** Lengths of steps: the middle one, the longest of a thousand, and the longest of all. */
  readonly middle: number;
  readonly slow: number;
  readonly longest: number;
}

/** Written to standard error around the steps, for the log of JavaScriptCore. */
export const STEPS_BEGIN = "steps begin";
export const STEPS_END = "steps end";

const BLOCK = 4096;
const BUFFER = 65_536;
const KEPT = 100_000;
const SHORT_LIVED = 2000;
const REPLACED = 100;
const VIEWS = 100;
const SAMPLED = 20;

/** A small object with the kinds of things that objects have. */
interface Node {
  readonly id: number;
  readonly name: string;
  readonly numbers: readonly number[];
  next: Node | undefined;
}

/** Reads something of what lies beside; nothing when it is not looked at. */
type Look = (numbers: Xorshift) => number;

interface Besides {
  /** How many bytes of it are resident. */
  readonly residentBytes: number;
  readonly look: Look;
  /** What keeps it alive. */
  readonly keep: unknown;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      beside: { type: "string", default: "none" },
      bytes: { type: "string", default: `${2 ** 30}` },
      steps: { type: "string", default: "3000" },
      collect: { type: "string", default: "0" },
      module: { type: "string" },
    },
  });
  const beside = BESIDES.find((known) => known === values.beside);
  if (beside === undefined) throw new Error(`Unknown --beside ${values.beside}; known are ${BESIDES.join(", ")}`);
  const besides = await open(beside, Number(values.bytes), values.module);
  const report = await work(besides, Number(values.steps), Number(values.collect));
  console.log(JSON.stringify(report));
}

async function open(beside: Beside, bytes: number, module: string | undefined): Promise<Besides> {
  const nothing: Look = () => 0;
  if (beside === "none") return { residentBytes: 0, look: nothing, keep: undefined };
  if (beside === "uint8arrays") {
    const arrays = Array.from({ length: bytes / BLOCK }, () => new Uint8Array(BLOCK).fill(1));
    return { residentBytes: bytes, look: nothing, keep: arrays };
  }
  const pages = new OwnPages(await openLibc<RawAddress>());
  const heap = await openHeap(module, pages);
  if (beside === "buffers") {
    const buffers = Array.from({ length: bytes / BUFFER }, () => {
      const buffer = heap.buffer(BUFFER, { zeroed: false });
      buffer.bytes.fill(1);
      return buffer;
    });
    return { residentBytes: pages.residentBytes(), look: nothing, keep: buffers };
  }
  const addresses = new Float64Array(bytes / BLOCK);
  for (let i = 0; i < addresses.length; i++) {
    addresses[i] = heap.allocate(BLOCK);
    heap.view(addresses[i]!)[0] = 1;
  }
  const look: Look = (numbers) => {
    let sum = 0;
    for (let i = 0; i < VIEWS; i++) sum += heap.view(addresses[numbers.below(addresses.length)]!)[0]!;
    return sum;
  };
  return { residentBytes: pages.residentBytes(), look: beside === "views" ? look : nothing, keep: heap };
}

function makeNode(id: number, next: Node | undefined): Node {
  return { id, name: `node ${id}`, numbers: [id, id + 1, id + 2], next };
}

async function work({ residentBytes, look, keep }: Besides, steps: number, collect: number): Promise<CollectorReport> {
  const numbers = new Xorshift();
  const graph = Array.from({ length: KEPT }, (_, id) => makeNode(id, undefined));
  for (const node of graph) node.next = graph[numbers.below(KEPT)];
  const clock = await openClock();
  const probe = openResidentProbe();
  collectGarbage();
  const lengths = new Float64Array(steps);
  let sum = 0;
  probe.start();
  console.error(STEPS_BEGIN);
  const start = clock();
  for (let step = 0; step < steps; step++) {
    const before = performance.now();
    let last: Node | undefined;
    for (let i = 0; i < SHORT_LIVED; i++) {
      last = makeNode(step + i, i % 8 === 0 ? undefined : last);
      sum += last.name.length;
    }
    for (let i = 0; i < REPLACED; i++) {
      graph[numbers.below(KEPT)] = makeNode(step, graph[numbers.below(KEPT)]!.next);
    }
    sum += look(numbers);
    // What a program can do by itself, where the runtime lets it.
    if (collect > 0 && step % collect === 0) collectGarbage();
    lengths[step] = performance.now() - before;
    if (step % SAMPLED === 0) probe.sample();
    // As a program that waits for something now and then: collectors look for such moments.
    if (step % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const { process, thread } = elapsed(start, clock());
  console.error(STEPS_END);
  probe.sample();
  // V8's log is told by this collection, and by the one before the steps, what lies between them.
  collectGarbage();
  const { sampledPeak } = probe.finish();
  if (sum < 0 || (keep !== undefined && residentBytes === 0)) throw new Error("Nothing lies beside the program");
  lengths.sort();
  return {
    residentBytes: sampledPeak - residentBytes,
    cpu: process / 1e6,
    thread: thread / 1e6,
    middle: lengths[steps >> 1]!,
    slow: lengths[Math.floor(steps * 0.999)]!,
    longest: lengths[steps - 1]!,
  };
}

if (import.meta.main) await main();
