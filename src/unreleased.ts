/**
 * Mappings that a page source would not take back.
 *
 * Giving memory back can fail: Linux splits a mapping in two to unmap its middle, and a process may have 65,530 of
 * them. Nobody who calls `free` or `reset` could do anything about that, so these do not fail because of it: the
 * blocks are gone, their views are empty, and the mapping is kept here until the source takes it.
 *
 * ```text
 *   free, reset, ...  ── unmap ──▶ given back
 *                          │ fails
 *                          ▼
 *                     kept, counted in `reservedBytes` of the stats
 *                          │ retry: by trim, by an allocation that finds no memory
 *                          ▼
 *                     given back, or at dispose reported: nobody is left to keep it
 * ```
 *
 * Whatever the source throws is kept quiet until then: at dispose it is thrown again, if it fails again.
 *
 * @module
 */
import { Attempts } from "./attempts.ts";
import type { Address, PageSource } from "./page_source.ts";

/** A mapping as it was reserved. */
export interface Mapping {
  /** Where it starts. */
  readonly address: Address;
  /** Its bytes. */
  readonly byteLength: number;
}

/** The mappings of one allocator that could not be unmapped. */
export class Unreleased {
  /** Bytes of address space that they hold. */
  byteLength = 0;
  readonly #source: PageSource;
  #mappings: Mapping[] = [];

  /** Starts with none. */
  constructor(source: PageSource) {
    this.#source = source;
  }

  /** Unmaps a mapping, none of which is wrapped, or keeps it; the bytes given back. */
  unmap(mapping: Mapping): number {
    const { address, byteLength } = mapping;
    try {
      this.#source.unmap(address, byteLength);
      return byteLength;
    } catch {
      this.#mappings.push({ address, byteLength });
      this.byteLength += byteLength;
      return 0;
    }
  }

  /** Tries again with all that are kept; the bytes given back. */
  retry(): number {
    if (this.#mappings.length === 0) return 0;
    let given = 0;
    for (const mapping of this.#drain()) given += this.unmap(mapping);
    return given;
  }

  /**
   * The end: unmaps `mappings`, none of which is wrapped, and all that are kept. What fails is thrown when everything was
   * tried.
   */
  dispose(mappings: Iterable<Mapping>): void {
    const attempts = new Attempts();
    for (const { address, byteLength } of [...mappings, ...this.#drain()]) {
      attempts.make(() => this.#source.unmap(address, byteLength));
    }
    attempts.end();
  }

  /** Those that were kept, which are not any more. */
  #drain(): readonly Mapping[] {
    const mappings = this.#mappings;
    this.#mappings = [];
    this.byteLength = 0;
    return mappings;
  }
}
