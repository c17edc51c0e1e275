/**
 * A heap drawn as text: one character for each 64 KiB, or for more when the heap is large.
 *
 * ```text
 *   ░▄█ page of small blocks, by how full   L large block   . free
 *   0x7f1200000000  1 MiB, 64 KiB each
 *     █▄░▆LLLL........
 * ```
 *
 * @module
 */
import { assertOptions } from "./arguments.ts";
import { describeValue } from "./errors.ts";
import type { HeapLayout, HeapRegion } from "./heap_layout.ts";

/** What a cell of the map covers at least, in bytes. */
const CELL = 65536;

/** A page by how full it is: from nearly empty to full. */
const FILL = ["░", "▂", "▄", "▆", "█"];

/** Options of {@link heapMap}. */
export interface HeapMapOptions {
  /** Characters of a line. @defaultValue 64 */
  columns?: number;
  /** Lines of a region at the most: each character covers more when that is not enough. @defaultValue 8 */
  lines?: number;
}

/**
 * Draws what `heap.layout()` returned. Time in the number of spans and characters.
 *
 * @throws {RangeError} When an option is not a positive whole number.
 */
export function heapMap(layout: HeapLayout, options: HeapMapOptions = {}): string {
  assertOptions(options);
  const { columns = 64, lines = 8 } = options;
  for (const [name, value] of Object.entries({ columns, lines })) {
    if (!(Number.isSafeInteger(value) && value > 0)) {
      throw new RangeError(`Cannot use ${describeValue(value)} as ${name}: it must be a positive whole number`);
    }
  }
  const text = [`${FILL[0]}${FILL[2]}${FILL[4]} page of small blocks, by how full   L large block   . free`];
  for (const region of layout.regions) {
    let cell = CELL;
    while (region.byteLength / cell > columns * lines) cell *= 2;
    const cells = cellsOf(region, cell);
    text.push(`0x${region.address.toString(16)}  ${formatBytes(region.byteLength)}, ${formatBytes(cell)} each`);
    for (let at = 0; at < cells.length; at += columns) text.push(`  ${cells.slice(at, at + columns).join("")}`);
  }
  for (const { address, byteLength } of layout.huge) {
    text.push(`0x${address.toString(16)}  ${formatBytes(byteLength)}, one huge block`);
  }
  return text.join("\n");
}

/** One character per cell: of what covers most of it. */
function cellsOf(region: HeapRegion, cell: number): string[] {
  const count = Math.ceil(region.byteLength / cell);
  const covered = Array.from({ length: count }, () => ({ page: 0, live: 0, large: 0 }));
  for (const { kind, address, byteLength, slots, liveSlots } of region.spans) {
    if (kind === "free") continue;
    let from = address - region.address;
    const end = from + byteLength;
    while (from < end) {
      const index = Math.floor(from / cell);
      const length = Math.min(end, (index + 1) * cell) - from;
      const at = covered[index]!;
      if (kind === "page") {
        at.page += length;
        at.live += length * (liveSlots / slots);
      } else at.large += length;
      from += length;
    }
  }
  return covered.map(({ page, live, large }) => {
    if (large > page) return "L";
    if (page === 0) return ".";
    return FILL[Math.min(FILL.length - 1, Math.floor((live / page) * FILL.length))]!;
  });
}

/** A size in the largest binary unit that keeps it at 1 or above, with at most one decimal. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${Math.round(value * 10) / 10} ${units[unit]}`;
}
