/**
 * Counts the OS pages that an allocator's own memory keeps resident: exactly, and without the runtime's noise.
 *
 * The growth of the whole process is what a user pays, and is the figure of the bar. But in it, compiled code and the
 * collector come and go by a megabyte or two in Bun, which is much beside a trace of 2 MB. So the heap is also given a page
 * source that remembers what it committed, and `mincore` says which of those OS pages are resident. They are
 * counted at the samples, and before memory is given back.
 *
 * @module
 */
import { detectRuntime, type Libc, type RawAddress } from "./libc.ts";

/** The part of a `PageSource` that is watched; the rest is passed on as it is. */
export interface WatchedSource {
  readonly pageSize: number;
  commit(address: number, byteLength: number): void;
  decommit(address: number, byteLength: number): void;
  discard(address: number, byteLength: number): void;
  unmap(address: number, byteLength: number): void;
}

/** Watches one page source. */
export class OwnPages {
  readonly #libc: Libc<RawAddress>;
  readonly #vector = new Uint8Array(1 << 18);
  /** Committed stretches, in no order: start and end. */
  #committed: (readonly [start: number, end: number])[] = [];
  #pageSize = 4096;
  #peak = 0;

  /** Makes the counter from a binding of the C library. */
  constructor(libc: Libc<RawAddress>) {
    this.#libc = libc;
  }

  /** The most bytes that were resident at one time. */
  get peakBytes(): number {
    return this.#peak;
  }

  /** A source that behaves as `source` and is watched. */
  watch<S extends WatchedSource>(source: S): S {
    this.#pageSize = source.pageSize;
    return {
      ...source,
      commit: (address: number, byteLength: number) => {
        source.commit(address, byteLength);
        this.#remove(address, byteLength);
        this.#committed.push([address, address + byteLength]);
      },
      decommit: (address: number, byteLength: number) => {
        this.sample();
        source.decommit(address, byteLength);
        this.#remove(address, byteLength);
      },
      discard: (address: number, byteLength: number) => {
        this.sample();
        source.discard(address, byteLength);
      },
      unmap: (address: number, byteLength: number) => {
        this.sample();
        source.unmap(address, byteLength);
        this.#remove(address, byteLength);
      },
    };
  }

  /** Counts now, for the peak. */
  sample(): void {
    this.#peak = Math.max(this.#peak, this.residentBytes());
  }

  /** Counts now: all, or what lies from `start` to `end`, which are whole OS pages. */
  residentBytes(start = 0, end = Infinity): number {
    let pages = 0;
    const step = this.#vector.length * this.#pageSize;
    for (const [from, to] of this.#committed) {
      const last = Math.min(to, end);
      for (let at = Math.max(from, start); at < last; at += step) {
        const byteLength = Math.min(step, last - at);
        const address = detectRuntime() === "deno" ? BigInt(at) : at;
        if (this.#libc.mincore(address, BigInt(byteLength), this.#vector) !== 0) continue;
        const count = byteLength / this.#pageSize;
        for (let i = 0; i < count; i++) pages += this.#vector[i]! & 1;
      }
    }
    return pages * this.#pageSize;
  }

  #remove(address: number, byteLength: number): void {
    const end = address + byteLength;
    const kept: (readonly [number, number])[] = [];
    for (const [from, to] of this.#committed) {
      if (from < address) kept.push([from, Math.min(to, address)]);
      if (to > end) kept.push([Math.max(from, end), to]);
    }
    this.#committed = kept;
  }
}
