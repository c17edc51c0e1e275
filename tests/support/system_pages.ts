/**
 * Pages of the operating system to be tested, and what of it is mapped.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { systemPageSource } from "../../ffi/system_page_source.ts";
import type { Address } from "../../src/page_source.ts";
import { RangeSet } from "../../src/range_set.ts";

/** Everything mapped in this process, without regard to what it is. Linux only. */
export function mappedRanges(): RangeSet {
  const mapped = new RangeSet();
  for (const line of readFileSync("/proc/self/maps", "utf8").trimEnd().split("\n")) {
    const [start, end] = line.split(" ", 1)[0]?.split("-") as [string, string];
    mapped.add(parseInt(start, 16), parseInt(end, 16));
  }
  return mapped;
}

/** Reserves and commits, and gives both back after `use`. */
export function withPages(byteLength: number, use: (address: Address) => void): void {
  const source = systemPageSource();
  const address = source.reserve(byteLength, 1);
  try {
    source.commit(address, byteLength);
    use(address);
  } finally {
    source.unmap(address, byteLength);
  }
}
