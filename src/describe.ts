/**
 * Draws what an in-band allocator holds, the way the reference systems draw it in their documents, but of the live state.
 *
 * ```text
 * 0 -> +--------+--------------------------------------------+
 *      | Region | +----------+    +--------+    +----------+ |
 *      |   4096 | | Block 64 | -> | Free 1 | -> | Block 48 | |
 *      |        | | at 16    |    | 32     |    | at 112   | |
 *      |        | |          |    | at 80  |    |          | |
 *      |        | +----------+    +--------+    +----------+ |
 *      +--------+--------------------------------------------+
 *      free list: 1 at 80
 * ```
 *
 * Sizes are in bytes and include the header; `at` is where the payload begins in its region. Free blocks are numbered in the
 * order of the free list.
 *
 * @module
 */
import { assertOptions, assertSize } from "./arguments.ts";
import type { BucketLayout, LayoutBlock, LayoutRegion } from "./bucket_layout.ts";
import type { Address } from "./page_source.ts";

/** An allocator that can be drawn: `FreeListAllocator` or `BucketAllocator`. */
export interface Describable {
  /** The largest block of each bucket but the last. */
  readonly sizes?: readonly number[];
  /** What it holds. */
  layout(): readonly BucketLayout[];
}

/** Options of {@link describe}. */
export interface DescribeOptions {
  /** The most blocks drawn of one region; the rest is counted. @defaultValue 12 */
  maxBlocks?: number;
}

/**
 * A drawing of the regions, blocks, free list and buckets of an allocator.
 *
 * @example
 * ```ts
 * import { basicalloc, describe } from "@offheap/alloc";
 *
 * using allocator = basicalloc();
 * allocator.allocate(100);
 * console.log(describe(allocator));
 * ```
 */
export function describe(allocator: Describable, options: DescribeOptions = {}): string {
  assertOptions(options);
  const { maxBlocks = 12 } = options;
  assertSize(maxBlocks, "maxBlocks");
  const buckets = allocator.layout();
  const lines: string[] = [];
  buckets.forEach((bucket, index) => {
    if (index > 0) lines.push("");
    if (allocator.sizes !== undefined) lines.push(limitOf(allocator.sizes, index));
    lines.push(...drawBucket(bucket, index, maxBlocks));
  });
  return lines.join("\n");
}

function limitOf(sizes: readonly number[], index: number): string {
  const limit = sizes[index];
  if (limit !== undefined) return `blocks of up to ${limit} bytes`;
  return index === 0 ? "all blocks" : `blocks of more than ${sizes[index - 1]} bytes`;
}

function drawBucket({ regions, freeList }: BucketLayout, index: number, maxBlocks: number): string[] {
  const name = `${index} ->`;
  if (regions.length === 0) return [`${name} (no region)`];
  const indent = " ".repeat(name.length + 1);
  const numbers = new Map(freeList.map(({ address }, i) => [address, i + 1]));
  const lines: string[] = [];
  regions.forEach((region, i) => {
    const [first, ...rest] = drawRegion(region, numbers, maxBlocks);
    lines.push(`${i === 0 ? name : "->".padStart(name.length)} ${first}`, ...rest.map((line) => indent + line));
  });
  lines.push(`${indent}free list: ${drawFreeList(freeList, regions, maxBlocks)}`);
  return lines;
}

function drawFreeList(
  freeList: readonly LayoutBlock[],
  regions: readonly LayoutRegion[],
  maxBlocks: number,
): string {
  if (freeList.length === 0) return "empty";
  const shown = freeList.slice(0, maxBlocks).map(({ address }, i) => {
    const index = regions.findIndex((r) => address >= r.address && address < r.address + r.byteLength);
    const offset = address - regions[index]!.address;
    return regions.length === 1 ? `${i + 1} at ${offset}` : `${i + 1} at ${offset} of region ${index}`;
  });
  if (freeList.length > maxBlocks) shown.push(`${freeList.length - maxBlocks} more`);
  return shown.join(" -> ");
}

/** The lines of one region: its box on the left, its blocks in boxes of their own beside it. */
function drawRegion(region: LayoutRegion, numbers: ReadonlyMap<Address, number>, maxBlocks: number): string[] {
  const texts = region.blocks.slice(0, maxBlocks).map((block) => {
    const at = `at ${block.address - region.address}`;
    return block.free ? [`Free ${numbers.get(block.address)}`, `${block.size}`, at] : [`Block ${block.size}`, at, ""];
  });
  const more = region.blocks.length - texts.length;
  if (more > 0) texts.push([`${more} more`, "", ""]);
  const boxes = texts.map(drawBox);
  const height = Math.max(...boxes.map((box) => box.length));
  const body: string[] = [];
  for (let line = 0; line < height; line++) body.push(boxes.map((box) => box[line]).join(line === 1 ? " -> " : "    "));
  const size = `${region.byteLength}`;
  const width = Math.max("Region".length, size.length);
  const rule = `+${"-".repeat(width + 2)}+${"-".repeat(body[0]!.length + 2)}+`;
  const labels = ["Region".padStart(width), size.padStart(width)];
  return [rule, ...body.map((line, i) => `| ${labels[i] ?? " ".repeat(width)} | ${line} |`), rule];
}

function drawBox(texts: readonly string[]): string[] {
  const width = Math.max(...texts.map((text) => text.length));
  const rule = `+${"-".repeat(width + 2)}+`;
  return [rule, ...texts.map((text) => `| ${text.padEnd(width)} |`), rule];
}
