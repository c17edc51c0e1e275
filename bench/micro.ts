/**
 * One measuring process: one small loop on one subject, one line of JSON. `bench/run.ts` starts it; by hand:
 *
 *     deno run -A bench/micro.ts --case replace-64-10k --subject heap [--rounds 15] [--round-ms 20] [--module FILE]
 *     bun bench/micro.ts --list
 *
 * A round repeats a batch until `--round-ms` have passed and yields nanoseconds per operation; the first fifth of the
 * rounds is warm-up and not reported. An operation is one free and one allocation (the "pair" of the tables), or one
 * creation of a view. The loop is part of the figure; the `null` subjects show how much it is.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { Allocator } from "../src/allocator.ts";
import { openClock } from "./support/clock.ts";
import { openLibc, openWrap, type RawAddress } from "./support/libc.ts";
import { type Batch, measure } from "./support/measure.ts";
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

/** Length of the tables of random numbers; a power of two. */
const TABLE = 1 << 16;
/** Views kept alive by the loops that make views, so that none is optimised away or dies at once. */
const RING = 1024;

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
  if (subject.kind === "address") {
    const { allocator } = subject;
    const kept = new Float64Array(1);
    return (count) => pairAddresses(allocator, kept, count);
  }
  const { allocator } = subject;
  const kept: unknown[] = [null];
  return (count) => pairHandles(allocator, kept, count);
}

function pairAddresses(allocator: AddressAllocator, kept: Float64Array, count: number): void {
  for (let i = 0; i < count; i++) {
    kept[0] = allocator.allocate(64);
    allocator.free(kept[0]!);
  }
}

function pairHandles(allocator: HandleAllocator<unknown>, kept: unknown[], count: number): void {
  for (let i = 0; i < count; i++) {
    kept[0] = allocator.allocate(64);
    allocator.free(kept[0]);
  }
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
  let cursor = 0;
  if (subject.kind === "address") {
    const { allocator } = subject;
    const kept = new Float64Array(live);
    for (let i = 0; i < live; i++) kept[i] = allocator.allocate(sizes[i & (TABLE - 1)]!);
    return (count) => cursor = replaceAddresses(allocator, kept, victims, sizes, cursor, count);
  }
  const { allocator } = subject;
  const kept: unknown[] = [];
  for (let i = 0; i < live; i++) kept.push(allocator.allocate(sizes[i & (TABLE - 1)]!));
  return (count) => cursor = replaceHandles(allocator, kept, victims, sizes, cursor, count);
}

function replaceAddresses(
  allocator: AddressAllocator,
  kept: Float64Array,
  victims: Int32Array,
  sizes: Int32Array,
  cursor: number,
  count: number,
): number {
  for (let i = 0; i < count; i++) {
    cursor = (cursor + 1) & (TABLE - 1);
    const victim = victims[cursor]!;
    allocator.free(kept[victim]!);
    kept[victim] = allocator.allocate(sizes[cursor]!);
  }
  return cursor;
}

function replaceHandles(
  allocator: HandleAllocator<unknown>,
  kept: unknown[],
  victims: Int32Array,
  sizes: Int32Array,
  cursor: number,
  count: number,
): number {
  for (let i = 0; i < count; i++) {
    cursor = (cursor + 1) & (TABLE - 1);
    const victim = victims[cursor]!;
    allocator.free(kept[victim]);
    kept[victim] = allocator.allocate(sizes[cursor]!);
  }
  return cursor;
}

/** Blocks that live together and end together: freed one by one, or in bulk where the allocator can. */
async function openDrop(name: string, module: string | undefined): Promise<Batch> {
  const subject = await openSubject(name, { module });
  if (subject.kind !== "address") throw new Error(`${name} gives no addresses`);
  const { allocator } = subject;
  const sizes = new Xorshift().table(TABLE, 16, 512);
  const kept = new Float64Array(DROP_BLOCKS);
  const drop = name === "arena" || name === "bump" ? resetOf(allocator) : () => freeAddresses(allocator, kept);
  let filled = 0;
  let cursor = 0;
  return (count) => {
    for (let left = count; left > 0;) {
      const end = Math.min(DROP_BLOCKS, filled + left);
      cursor = fillAddresses(allocator, kept, filled, end, sizes, cursor);
      left -= end - filled;
      filled = end % DROP_BLOCKS;
      if (filled === 0) drop();
    }
  };
}

/** Blocks that end together in `drop-1k`. */
const DROP_BLOCKS = 1000;

/** The bulk free of `Arena` and `BumpAllocator`, with the memory kept. */
function resetOf(allocator: AddressAllocator): () => void {
  const { reset } = allocator as { reset?: (mode?: "keep-capacity") => void };
  if (reset === undefined) throw new Error("Cannot drop everything: the allocator has no reset");
  return () => reset.call(allocator, "keep-capacity");
}

function fillAddresses(
  allocator: AddressAllocator,
  kept: Float64Array,
  from: number,
  to: number,
  sizes: Int32Array,
  cursor: number,
): number {
  for (let i = from; i < to; i++) {
    cursor = (cursor + 1) & (TABLE - 1);
    kept[i] = allocator.allocate(sizes[cursor]!);
  }
  return cursor;
}

function freeAddresses(allocator: AddressAllocator, kept: Float64Array): void {
  for (let i = 0; i < kept.length; i++) allocator.free(kept[i]!);
}

/** Blocks of 64 KiB, each with a view, replaced at random. */
async function openLarge(name: string, module: string | undefined, live: number, zeroed: boolean): Promise<Batch> {
  const size = 65_536;
  const victims = new Xorshift().table(TABLE, 0, live - 1);
  const views: Uint8Array[] = [];
  let cursor = 0;
  if (name === "heap") {
    const heap = await openHeap(module);
    const kept = new Float64Array(live);
    for (let i = 0; i < live; i++) {
      kept[i] = heap.allocate(size);
      views.push(heap.view(kept[i]!, size));
    }
    return (count) => cursor = replaceLarge(heap, kept, views, victims, size, zeroed, cursor, count);
  }
  if (name === "ffi-malloc") {
    const ffi = await openFfiViews();
    const kept: RawAddress[] = [];
    for (let i = 0; i < live; i++) {
      kept.push(ffi.allocate(size));
      views.push(ffi.view(kept[i]!, size));
    }
    return (count) => {
      for (let i = 0; i < count; i++) {
        cursor = (cursor + 1) & (TABLE - 1);
        const victim = victims[cursor]!;
        ffi.free(kept[victim]!);
        const address = ffi.allocate(size);
        const view = ffi.view(address, size);
        if (zeroed) view.fill(0);
        kept[victim] = address;
        views[victim] = view;
      }
    };
  }
  const make = await openLargeMaker(name, module, size, zeroed);
  for (let i = 0; i < live; i++) views.push(make.create());
  return (count) => {
    for (let i = 0; i < count; i++) {
      cursor = (cursor + 1) & (TABLE - 1);
      const victim = victims[cursor]!;
      make.free(views[victim]!);
      views[victim] = make.create();
    }
  };
}

function replaceLarge(
  heap: Allocator,
  kept: Float64Array,
  views: Uint8Array[],
  victims: Int32Array,
  size: number,
  zeroed: boolean,
  cursor: number,
  count: number,
): number {
  for (let i = 0; i < count; i++) {
    cursor = (cursor + 1) & (TABLE - 1);
    const victim = victims[cursor]!;
    heap.free(kept[victim]!);
    const address = zeroed ? heap.allocateZeroed(size) : heap.allocate(size);
    kept[victim] = address;
    views[victim] = heap.view(address, size);
  }
  return cursor;
}

async function openLargeMaker(
  name: string,
  module: string | undefined,
  size: number,
  zeroed: boolean,
): Promise<{ create(): Uint8Array; free(view: Uint8Array): void }> {
  if (name === "heap-array") {
    const heap = await openHeap(module);
    return {
      create() {
        const array = heap.array(Uint8Array, size);
        return zeroed ? array.fill(0) : array;
      },
      free: (view) => heap.freeArray(view),
    };
  }
  const subject = await openSubject(name, { module });
  if (subject.kind !== "handle") throw new Error(`${name} gives no views`);
  const allocator = subject.allocator as HandleAllocator<Uint8Array>;
  return {
    create: () => zeroed ? allocator.allocateZeroed(size) : allocator.allocate(size),
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
    return (count) => viewHeap(heap, kept, ring, count);
  }
  const buffer = await openNativeMemory(blocks * 64);
  return (count) => viewBare(buffer, blocks, ring, count);
}

function viewHeap(heap: Allocator, kept: Float64Array, ring: Uint8Array[], count: number): void {
  for (let i = 0; i < count; i++) ring[i & (RING - 1)] = heap.view(kept[i & (RING - 1)]!, 64);
}

function viewBare(buffer: ArrayBuffer, blocks: number, ring: Uint8Array[], count: number): void {
  for (let i = 0; i < count; i++) ring[i & (RING - 1)] = new Uint8Array(buffer, (i & (blocks - 1)) * 64, 64);
}

/** An array allocated and freed, against the bare constructor over a slab with a stack of free slots. */
async function openArray(name: string, module: string | undefined): Promise<Batch> {
  const ring: Float64Array[] = [];
  if (name === "heap") {
    const heap = await openHeap(module);
    for (let i = 0; i < RING; i++) ring.push(heap.array(Float64Array, 8));
    return (count) => {
      for (let i = 0; i < count; i++) {
        heap.freeArray(ring[i & (RING - 1)]!);
        ring[i & (RING - 1)] = heap.array(Float64Array, 8);
      }
    };
  }
  const buffer = await openNativeMemory((RING + 1) * 64);
  for (let i = 0; i < RING; i++) ring.push(new Float64Array(buffer, i * 64, 8));
  const free = new Int32Array(RING + 1);
  let top = 0;
  free[top++] = RING * 64;
  return (count) => {
    for (let i = 0; i < count; i++) {
      free[top++] = ring[i & (RING - 1)]!.byteOffset;
      ring[i & (RING - 1)] = new Float64Array(buffer, free[--top]!, 8);
    }
  };
}

/** An owned buffer, against the runtime's own wrap of existing memory and the detaching of it. */
async function openNativeBuffer(name: string, module: string | undefined): Promise<Batch> {
  if (name === "heap") {
    const heap = await openHeap(module);
    const options = { zeroed: false };
    return (count) => {
      for (let i = 0; i < count; i++) heap.buffer(256, options).free();
    };
  }
  const wrap = await openWrap();
  const address = (await openLibc<RawAddress>()).malloc(256);
  return (count) => {
    for (let i = 0; i < count; i++) wrap(address, 256).transfer(0);
  };
}

async function openNativeMemory(byteLength: number): Promise<ArrayBuffer> {
  const wrap = await openWrap();
  return wrap((await openLibc<RawAddress>()).malloc(byteLength), byteLength);
}

if (import.meta.main) await main();
