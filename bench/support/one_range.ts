/**
 * A page source all of whose memory is one range, seen through one view: whatever an allocator hands out can be written to
 * without first finding the region that it is in, at the same cost for every allocator.
 *
 * ```text
 *   base                                                              base + byteLength
 *   ├── reserved ──┼─ free ─┼── reserved ──┼─────────── free ──────────────┤   RangeSet
 *   └── bytes[address - base] ────────────────────────────────────────────┘
 * ```
 *
 * The system's calls stay what they cost elsewhere: a piece is made accessible by `commit` and given back by `discard`, one
 * call each, as mapping and unmapping would be. Only the reservation of a piece is bookkeeping here and a call there.
 *
 * @module
 */
import { OutOfMemoryError } from "../../src/errors.ts";
import type { PageSource } from "../../src/page_source.ts";
import { RangeSet } from "../../src/range_set.ts";
import { openWrap } from "./libc.ts";
import { detectRuntime } from "./libc.ts";

/** The source, and the one view of everything that comes from it. */
export interface OneRange {
  readonly source: PageSource;
  readonly base: number;
  readonly bytes: Uint8Array;
}

/** The largest piece that is given out, so that an allocator which takes as much as it can get leaves room for tables. */
const LARGEST_SHARE = 1 / 8;

/** Takes the range from a source of the system's. It is never given back: the process ends soon. */
export async function openOneRange(system: PageSource, byteLength: number): Promise<OneRange> {
  const base = system.reserve(byteLength, system.granularity);
  system.commit(base, byteLength);
  const wrap = await openWrap();
  const bytes = new Uint8Array(wrap(detectRuntime() === "deno" ? BigInt(base) : base, byteLength));
  const free = new RangeSet();
  free.add(base, base + byteLength);
  const source: PageSource = {
    ...system,
    name: "one range",
    reserve(wanted, alignment) {
      const address = wanted > byteLength * LARGEST_SHARE ? -1 : free.firstFit(wanted, alignment);
      if (address < 0) throw new OutOfMemoryError(`Cannot reserve ${wanted} bytes: the range is too small`, wanted);
      free.remove(address, address + wanted);
      return address;
    },
    decommit: (address, length) => system.discard(address, length),
    unmap(address, length) {
      system.discard(address, length);
      free.add(address, address + length);
    },
  };
  return { source, base, bytes };
}
