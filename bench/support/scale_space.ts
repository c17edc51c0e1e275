/**
 * One process that does one thing with very much memory, or with very many heaps, and prints what that took as one line of
 * JSON: names of figures, with their units, and values. Times are CPU time of the process. `bench/scale.ts` starts it; by hand:
 *
 *     deno run -A bench/support/scale_space.ts --load big --bytes 17179869184 --block 256
 *     bun bench/support/scale_space.ts --load many --heaps 1000
 *     bun bench/support/scale_space.ts --load idle
 *
 * - `big`: one heap, filled with blocks of one size. Memory is committed, but only one block in {@link WRITTEN_STEP} is
 *   written to, so that a machine with less memory than that can run it; these are verified after a million random
 *   replacements. Then the heap checks itself, everything is freed in random order, and trimmed.
 * - `many`: so many heaps at once, one written block of 64 bytes in each; then random replacements across all of them.
 * - `idle`: what one such heap keeps resident: by the OS pages of its own mappings, exactly; and again after it had 64 MiB
 *   of written blocks and freed all but one of them, and after `trim`.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Heap } from "../../mod.ts";
import type { Allocator } from "../../src/allocator.ts";
import { type Clock, openClock } from "./clock.ts";
import { openLibc, type RawAddress } from "./libc.ts";
import { LARGEST_BATCH } from "./measure.ts";
import { OwnPages } from "./own_pages.ts";
import { openHeap } from "./own_subjects.ts";
import { collectGarbage } from "./resident.ts";
import { Xorshift } from "./xorshift.ts";

/** What there is to do. */
export type SpaceLoad = "big" | "many" | "idle";

/** The line of JSON: a value for each name. */
export type SpaceReport = { readonly [metric: string]: number };

/** One block in so many is written to, so that every region has some. */
const WRITTEN_STEP = 4096;
/** Replacements of random blocks. */
const REPLACED = 1_000_000;
/** Blocks in each of many heaps when they are replaced. */
const PER_HEAP = 16;
const SMALL = 64;
const USED_BYTES = 64 * 2 ** 20;
const USED_BLOCK = 4096;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      load: { type: "string" },
      bytes: { type: "string", default: "4294967296" },
      block: { type: "string", default: "256" },
      heaps: { type: "string", default: "1000" },
      module: { type: "string" },
    },
  });
  const { load, module } = values;
  if (load === "big") console.log(JSON.stringify(await fillBig(Number(values.bytes), Number(values.block), module)));
  else if (load === "many") console.log(JSON.stringify(await openMany(Number(values.heaps), module)));
  else if (load === "idle") console.log(JSON.stringify(await leaveIdle(module)));
  else throw new Error(`Unknown load ${load}; known are big, many, idle`);
}

async function fillBig(bytes: number, size: number, module: string | undefined): Promise<SpaceReport> {
  const cpu = processTime(await openClock());
  const count = Math.floor(bytes / size);
  const heap = await openHeap(module);
  const kept = new Float64Array(count);
  const baseline = residentBytes();
  let start = cpu();
  inPieces(count, (from, to) => {
    for (let i = from; i < to; i++) kept[i] = heap.allocate(size);
  });
  const filled = cpu() - start;
  for (let i = 0; i < count; i += WRITTEN_STEP) heap.view(kept[i]!).fill(patternOf(i));
  const { liveBlocks, committedBytes, tableBytes, regions } = heap.stats();
  assertEqual(liveBlocks, count, "blocks are live");
  const resident = residentBytes() - baseline;

  const numbers = new Xorshift();
  start = cpu();
  inPieces(REPLACED, (from, to) => {
    for (let i = from; i < to; i++) {
      const slot = numbers.below(count);
      if (slot % WRITTEN_STEP === 0) continue;
      heap.free(kept[slot]!);
      kept[slot] = heap.allocate(size);
    }
  });
  const replaced = cpu() - start;
  start = cpu();
  heap.check();
  const checked = cpu() - start;
  for (let i = 0; i < count; i += WRITTEN_STEP) {
    const view = heap.view(kept[i]!);
    assertEqual(view.filter((byte) => byte === patternOf(i)).length, size, `bytes of block ${i} are as written`);
  }
  // From the middle outwards, so that it is neither the order of allocation nor its reverse.
  start = cpu();
  inPieces(count, (from, to) => {
    for (let i = from; i < to; i++) heap.free(kept[i % 2 === 0 ? (count + i) >> 1 : (count - 1 - i) >> 1]!);
  });
  const freed = cpu() - start;
  assertEqual(heap.stats().liveBlocks, 0, "blocks are live");
  heap.trim();
  const trimmed = heap.stats().committedBytes;
  heap[Symbol.dispose]();
  return {
    "live bytes": count * size,
    "live blocks": count,
    regions,
    "committed bytes": committedBytes,
    "table bytes": tableBytes,
    "resident bytes": resident,
    "allocate ns": filled / count,
    "replace ns": replaced / REPLACED,
    "free ns": freed / count,
    "check ms": checked / 1e6,
    "committed bytes after trim": trimmed,
  };
}

function patternOf(index: number): number {
  return ((index / WRITTEN_STEP) % 255) + 1;
}

async function openMany(count: number, module: string | undefined): Promise<SpaceReport> {
  const cpu = processTime(await openClock());
  // The module's class, and its compiled code, before anything is measured.
  for (let i = 0; i < 20; i++) {
    const heap = await openHeap(module);
    heap.view(heap.allocate(SMALL)).fill(1);
    heap[Symbol.dispose]();
  }
  const first = await openHeap(module) as Heap;
  const HeapClass = first.constructor as new () => Allocator;
  first[Symbol.dispose]();
  const heaps: Allocator[] = [];
  const kept = new Float64Array(count * PER_HEAP);
  collectGarbage();
  const before = { resident: residentBytes(), mappings: mappingCount(), tables: pageTableBytes() };
  let start = cpu();
  for (let i = 0; i < count; i++) {
    const heap = new HeapClass();
    const address = heap.allocate(SMALL);
    kept[i * PER_HEAP] = address;
    heap.view(address).fill(1);
    heaps.push(heap);
  }
  const opened = cpu() - start;
  collectGarbage();
  const resident = residentBytes() - before.resident;
  const mappings = mappingCount() - before.mappings;
  const tables = pageTableBytes() - before.tables;
  for (let i = 0; i < kept.length; i++) {
    if (i % PER_HEAP !== 0) kept[i] = heaps[Math.floor(i / PER_HEAP)]!.allocate(SMALL);
  }
  const numbers = new Xorshift();
  start = cpu();
  inPieces(REPLACED, (from, to) => {
    for (let i = from; i < to; i++) {
      const slot = numbers.below(kept.length);
      const heap = heaps[Math.floor(slot / PER_HEAP)]!;
      heap.free(kept[slot]!);
      kept[slot] = heap.allocate(SMALL);
    }
  });
  const replaced = cpu() - start;
  for (const heap of heaps) {
    heap.check();
    assertEqual(heap.stats().liveBlocks, PER_HEAP, "blocks are live");
  }
  start = cpu();
  for (const heap of heaps) heap[Symbol.dispose]();
  const closed = cpu() - start;
  return {
    heaps: count,
    "resident bytes per heap": resident / count,
    "page table bytes per heap": tables / count,
    "mappings per heap": mappings / count,
    "mappings left": mappingCount() - before.mappings,
    "open us": opened / count / 1e3,
    "replace ns": replaced / REPLACED,
    "dispose us": closed / count / 1e3,
  };
}

async function leaveIdle(module: string | undefined): Promise<SpaceReport> {
  const libc = await openLibc<RawAddress>();
  const pages = new OwnPages(libc);
  const heap = await openHeap(module, pages);
  heap.view(heap.allocate(SMALL)).fill(1);
  const fresh = pages.residentBytes();
  const { wrappedBytes } = heap.stats();

  const used = await openUsed(libc, module);
  return {
    "own resident bytes": fresh,
    "wrapped bytes": wrappedBytes,
    ...used,
  };
}

async function openUsed(libc: Awaited<ReturnType<typeof openLibc<RawAddress>>>, module: string | undefined) {
  const pages = new OwnPages(libc);
  const heap = await openHeap(module, pages);
  const kept: number[] = [];
  for (let i = 0; i < USED_BYTES / USED_BLOCK; i++) {
    const address = heap.allocate(USED_BLOCK);
    heap.view(address).fill(1);
    kept.push(address);
  }
  // The first stays: it is in the region that is never given back anyway.
  for (const address of kept.slice(1)) heap.free(address);
  const freed = pages.residentBytes();
  heap.trim();
  return { "own resident bytes after use": freed, "own resident bytes after trim": pages.residentBytes() };
}

/** CPU time of the process, in nanoseconds. */
function processTime(clock: Clock): () => number {
  return () => clock().process;
}

/** Calls a loop for small pieces, for the reason that {@link LARGEST_BATCH} has. */
function inPieces(count: number, loop: (from: number, to: number) => void): void {
  for (let from = 0; from < count; from += LARGEST_BATCH) loop(from, Math.min(from + LARGEST_BATCH, count));
}

function assertEqual(actual: number, expected: number, what: string): void {
  if (actual !== expected) throw new Error(`Cannot trust the heap: ${actual} and not ${expected} ${what}`);
}

function residentBytes(): number {
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
}

function pageTableBytes(): number {
  return Number(/^VmPTE:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))![1]) * 1024;
}

function mappingCount(): number {
  return readFileSync("/proc/self/maps", "utf8").trimEnd().split("\n").length;
}

await main();
