/**
 * One measuring process: one small loop on one subject, one line of JSON. `bench/run.ts` starts it; by hand:
 *
 *     deno run -A bench/micro.ts --case replace-64-10k --subject heap [--rounds 15] [--round-ms 20] [--module FILE]
 *     bun bench/micro.ts --list
 *
 * A round repeats a batch until `--round-ms` have passed and yields nanoseconds per operation; the first fifth of the
 * rounds is warm-up and not reported. An operation is one free and one allocation (the "pair" of the tables), or one
 * creation of a view. The loop is part of the figure; the `null` subjects show how much it is. Each loop is a function that is
 * made once, and what it works on are the arguments of its maker: constants to the compilers (docs/performance.md, "The loop"),
 * which variables of an async function are not to JavaScriptCore.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { openClock } from "./support/clock.ts";
import { openLibc, openWrap, type RawAddress } from "./support/libc.ts";
import { type Batch, measure } from "./support/measure.ts";
import {
  arraysOf,
  bareArrays,
  bareBuffers,
  buffersOf,
  dropAddresses,
  LARGE_SIZE,
  type LargeMaker,
  pairAddresses,
  pairHandles,
  replaceAddresses,
  replaceForeign,
  replaceHandles,
  replaceMade,
  replaceViewed,
  RING,
  TABLE,
  viewBare,
  viewHeap,
} from "./support/micro_loops.ts";
import { openHeap } from "./support/own_subjects.ts";
import { openFfiViews } from "./support/peer_subjects.ts";
import type { AddressAllocator, HandleAllocator } from "./support/subject.ts";
import { openSubject } from "./support/subjects.ts";
import { Xorshift } from "./support/xorshift.ts";

/** One loop and who can run it. */
export interface MicroCase {
  /** Its name on the command line. */
  readonly name: string;
  /** Its title in tables. */
  readonly title: string;
  /** The subjects it is meant for. The first is what the ratios are of. */
  readonly subjects: readonly string[];
}

const ONE_SIZE = ["heap", "pool", "ffi-malloc", "uint8array", "buffer", "thi.ng", "null", "null-handles"] as const;
const ALLOCATORS = ["heap", "ffi-malloc", "uint8array", "buffer", "thi.ng", "null", "null-handles"] as const;
const LARGE = ["heap", "heap-array", "uint8array", "buffer", "ffi-malloc"] as const;

/** Every case, in the order of the table. */
export const CASES: readonly MicroCase[] = [
  { name: "pair-64", title: "64 B, allocate then free", subjects: ONE_SIZE },
  { name: "replace-64-10k", title: "64 B, random replacement, 10,000 live", subjects: ONE_SIZE },
  { name: "replace-mixed-10k", title: "16..512 B, random replacement, 10,000 live", subjects: ALLOCATORS },
  { name: "replace-mixed-200k", title: "16..512 B, random replacement, 200,000 live", subjects: ALLOCATORS },
  { name: "replace-4k-1k", title: "4 KiB, random replacement, 1,000 live", subjects: ALLOCATORS },
  { name: "drop-1k", title: "16..512 B, 1,000 allocated, all dropped", subjects: ["heap", "arena", "bump", "null"] },
  { name: "view-64k", title: "64 KiB with a view, 64 live", subjects: LARGE },
  { name: "view-64k-zeroed", title: "64 KiB zeroed, with a view, 64 live", subjects: LARGE },
  { name: "view", title: "a view of a live 64 B block", subjects: ["heap", "bare"] },
  { name: "array", title: "allocate a Float64Array(8), free it", subjects: ["heap", "bare"] },
  { name: "native-buffer", title: "a 256 B owned buffer, create and free", subjects: ["heap", "bare"] },
];

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      case: { type: "string" },
      subject: { type: "string", default: "heap" },
      module: { type: "string" },
      rounds: { type: "string", default: "15" },
      "round-ms": { type: "string", default: "20" },
      list: { type: "boolean", default: false },
    },
  });
  if (values.list || values.case === undefined) {
    for (const { name, title, subjects } of CASES) console.log(`${name}: ${title} (${subjects.join(", ")})`);
    return;
  }
  const batch = await openCase(values.case, values.subject, values.module);
  const clock = await openClock();
  console.log(JSON.stringify(measure(batch, clock, Number(values.rounds), Number(values["round-ms"]))));
}

async function openCase(name: string, subject: string, module: string | undefined): Promise<Batch> {
  switch (name) {
    case "pair-64":
      return await openPair(subject, module);
    case "replace-64-10k":
      return await openReplace(subject, module, 10_000, 64, 64);
    case "replace-mixed-10k":
      return await openReplace(subject, module, 10_000, 16, 512);
    case "replace-mixed-200k":
      return await openReplace(subject, module, 200_000, 16, 512);
    case "replace-4k-1k":
      return await openReplace(subject, module, 1_000, 4096, 4096);
    case "drop-1k":
      return await openDrop(subject, module);
    case "view-64k":
      return await openLarge(subject, module, 64, false);
    case "view-64k-zeroed":
      return await openLarge(subject, module, 64, true);
    case "view":
      return await openView(subject, module);
    case "array":
      return await openArray(subject, module);
    case "native-buffer":
      return await openNativeBuffer(subject, module);
    default:
      throw new Error(`Unknown case ${name}; known are ${CASES.map((known) => known.name).join(", ")}`);
  }
}

async function openPair(name: string, module: string | undefined): Promise<Batch> {
  const subject = await openSubject(name, { module, capacity: 2 ** 20 });
  return subject.kind === "address"
    ? pairAddresses(subject.allocator, new Float64Array(1))
    : pairHandles(subject.allocator, [null]);
}

async function openReplace(
  name: string,
  module: string | undefined,
  live: number,
  least: number,
  most: number,
): Promise<Batch> {
  const subject = await openSubject(name, { module, capacity: live * ((least + most) / 2 + 32) });
  const victims = new Xorshift().table(TABLE, 0, live - 1);
  // Another seed for the sizes would do; another stretch of the table does as well.
  const sizes = new Xorshift().table(TABLE, least, most).reverse();
  const sizeOf = (i: number) => sizes[i & (TABLE - 1)]!;
  if (subject.kind === "address") {
    const { allocator } = subject;
    const kept = Float64Array.from({ length: live }, (_, i) => allocator.allocate(sizeOf(i)));
    return replaceAddresses(allocator, kept, victims, sizes);
  }
  const { allocator } = subject;
  const kept = Array.from({ length: live }, (_, i) => allocator.allocate(sizeOf(i)));
  return replaceHandles(allocator, kept, victims, sizes);
}

/** Blocks that live together and end together: freed one by one, or in bulk where the allocator can. */
async function openDrop(name: string, module: string | undefined): Promise<Batch> {
  const subject = await openSubject(name, { module });
  if (subject.kind !== "address") throw new Error(`${name} gives no addresses`);
  const { allocator } = subject;
  return dropAddresses(allocator, name === "arena" || name === "bump" ? resetOf(allocator) : undefined);
}

/** The bulk free of `Arena` and `BumpAllocator`, with the memory kept. */
function resetOf(allocator: AddressAllocator): () => void {
  const { reset } = allocator as { reset?: (mode?: "keep-capacity") => void };
  if (reset === undefined) throw new Error("Cannot drop everything: the allocator has no reset");
  return () => reset.call(allocator, "keep-capacity");
}

/** Blocks of 64 KiB, each with a view, replaced at random. */
async function openLarge(name: string, module: string | undefined, live: number, zeroed: boolean): Promise<Batch> {
  const victims = new Xorshift().table(TABLE, 0, live - 1);
  const views: Uint8Array[] = [];
  if (name === "heap") {
    const heap = await openHeap(module);
    const kept = new Float64Array(live);
    for (let i = 0; i < live; i++) {
      kept[i] = heap.allocate(LARGE_SIZE);
      views.push(heap.view(kept[i]!, LARGE_SIZE));
    }
    return replaceViewed(heap, kept, views, victims, zeroed);
  }
  if (name === "ffi-malloc") {
    const ffi = await openFfiViews();
    const kept: RawAddress[] = [];
    for (let i = 0; i < live; i++) {
      kept.push(ffi.allocate(LARGE_SIZE));
      views.push(ffi.view(kept[i]!, LARGE_SIZE));
    }
    return replaceForeign(ffi, kept, views, victims, zeroed);
  }
  const make = await openLargeMaker(name, module, zeroed);
  for (let i = 0; i < live; i++) views.push(make.create());
  return replaceMade(make, views, victims);
}

async function openLargeMaker(
  name: string,
  module: string | undefined,
  zeroed: boolean,
): Promise<LargeMaker> {
  if (name === "heap-array") {
    const heap = await openHeap(module);
    return {
      create() {
        const array = heap.array(Uint8Array, LARGE_SIZE);
        return zeroed ? array.fill(0) : array;
      },
      free: (view) => heap.freeArray(view),
    };
  }
  const subject = await openSubject(name, { module });
  if (subject.kind !== "handle") throw new Error(`${name} gives no views`);
  const allocator = subject.allocator as HandleAllocator<Uint8Array>;
  return {
    create: () => zeroed ? allocator.allocateZeroed(LARGE_SIZE) : allocator.allocate(LARGE_SIZE),
    free: (view) => allocator.free(view),
  };
}

/** A view of an existing block, against the bare constructor on an existing native buffer. */
async function openView(name: string, module: string | undefined): Promise<Batch> {
  const blocks = 1024;
  const ring: Uint8Array[] = new Array(RING);
  if (name === "heap") {
    const heap = await openHeap(module);
    const kept = new Float64Array(blocks);
    for (let i = 0; i < blocks; i++) kept[i] = heap.allocate(64);
    return viewHeap(heap, kept, ring);
  }
  return viewBare(await openNativeMemory(blocks * 64), blocks, ring);
}

/** An array allocated and freed, against the bare constructor over a slab with a stack of free slots. */
async function openArray(name: string, module: string | undefined): Promise<Batch> {
  return name === "heap" ? arraysOf(await openHeap(module)) : bareArrays(await openNativeMemory((RING + 1) * 64));
}

/** An owned buffer, against the runtime's own wrap of existing memory and the detaching of it. */
async function openNativeBuffer(name: string, module: string | undefined): Promise<Batch> {
  if (name === "heap") return buffersOf(await openHeap(module));
  return bareBuffers(await openWrap(), (await openLibc<RawAddress>()).malloc(256));
}

async function openNativeMemory(byteLength: number): Promise<ArrayBuffer> {
  const wrap = await openWrap();
  return wrap((await openLibc<RawAddress>()).malloc(byteLength), byteLength);
}

if (import.meta.main) await main();
