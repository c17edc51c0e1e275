/**
 * Whether memory really goes back: which reservations a page source still has out, and what the operating system says
 * about them (Linux: `/proc/self/maps` and `/proc/self/smaps`).
 *
 * The figures of a whole process move by themselves, as a runtime maps and unmaps memory of its own all the time. So a
 * {@link TrackedSource} remembers the address ranges that it has out, and the process's mappings are looked up in
 * those ranges before and after. (Not in those that went back earlier: the stack of some thread of the runtime may lie there.)
 *
 * @module
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Address, PageSource } from "../../mod.ts";

/** A page source that remembers what it gave out. */
export interface TrackedSource extends PageSource {
  /** Count of the reservations so far. */
  readonly reservations: number;
  /** Count of those that were not unmapped. */
  readonly outstanding: number;
  /** Their sum in bytes. */
  readonly outstandingBytes: number;
  /** The ranges of those that were not unmapped, at this moment. */
  readonly ranges: readonly AddressSpan[];
}

/** From the first address to the one after the last. */
export type AddressSpan = readonly [start: Address, end: Address];

/** `source`, with a memory of its reservations. */
export function trackedSource(source: PageSource): TrackedSource {
  const out = new Map<Address, number>();
  let reservations = 0;
  return {
    ...source,
    reserve(byteLength, alignment) {
      const address = source.reserve(byteLength, alignment);
      reservations++;
      out.set(address, byteLength);
      return address;
    },
    unmap(address, byteLength) {
      source.unmap(address, byteLength);
      out.delete(address);
    },
    get reservations() {
      return reservations;
    },
    get outstanding() {
      return out.size;
    },
    get outstandingBytes() {
      return [...out.values()].reduce((sum, byteLength) => sum + byteLength, 0);
    },
    get ranges() {
      return [...out].map(([address, byteLength]): AddressSpan => [address, address + byteLength]);
    },
  };
}

/** What the operating system says of the process. */
export interface ProcessMemory {
  /** Mappings of the whole process. */
  readonly mappings: number;
  /** Resident bytes of the whole process. */
  readonly residentBytes: number;
}

/** The process at this moment; `undefined` where there is no `/proc/self`. */
export function processMemory(): ProcessMemory | undefined {
  const maps = readProc("maps");
  const resident = /^VmRSS:\s*(\d+) kB$/m.exec(readProc("status"))?.[1];
  if (maps === "" || resident === undefined) return undefined;
  return { mappings: maps.trimEnd().split("\n").length, residentBytes: Number(resident) * 1024 };
}

/** What the operating system says of ranges of addresses. */
export interface RangesMemory {
  /** Mappings that lie in the ranges. */
  readonly mappings: number;
  /** Resident bytes of these; `undefined` where the system does not say. */
  readonly residentBytes: number | undefined;
}

/** The mappings in `ranges` at this moment; `undefined` where there is no `/proc/self`. */
export function rangesMemory(ranges: readonly AddressSpan[]): RangesMemory | undefined {
  const detailed = readProc("smaps");
  const text = detailed === "" ? readProc("maps") : detailed;
  if (text === "") return undefined;
  let mappings = 0;
  let residentBytes = 0;
  let inside = false;
  for (const line of text.split("\n")) {
    const mapping = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (mapping !== null) {
      const start = Number(`0x${mapping[1]}`);
      const end = Number(`0x${mapping[2]}`);
      inside = ranges.some((range) => start < range[1] && end > range[0]);
      if (inside) mappings++;
    } else if (inside && line.startsWith("Rss:")) {
      residentBytes += Number(/\d+/.exec(line)) * 1024;
    }
  }
  return { mappings, residentBytes: detailed === "" ? undefined : residentBytes };
}

function readProc(name: string): string {
  if (process.platform !== "linux" && process.platform !== "android") return "";
  try {
    return readFileSync(`/proc/self/${name}`, "utf8");
  } catch {
    return "";
  }
}
