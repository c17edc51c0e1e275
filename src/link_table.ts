/**
 * The links of all slots of a range, packed: each page has a chunk of as many links as it has slots.
 *
 * ```text
 *   links   │ 0 .. 7   │ chunk of 1024 + 1  │ chunk of 64 + 1  │ chunk of 4095 + 1 ...   │ never used
 *           │ always 0 │ page of 64 B     0 │ 1 KiB          0 │ 16 B                  0 │
 *                                                                                        ╵ end
 * ```
 *
 * The last link of a chunk is of no slot and stays 0: where a page is not divided evenly, the rest at its end begins
 * where the next slot would, and an address there must not be looked up in somebody else's chunk.
 *
 * Indexed by 16-byte granule, as they could be, the links would take an eighth of the memory in use, as the operating
 * system charges whole OS pages; packed they take two bytes a slot.
 *
 * Chunks are cut from the end of the table and come back when their page is given up, to be used by the next page of
 * the same class. A free chunk holds the index of the next one in its first two links. A chunk that is taken is all
 * zeros.
 *
 * @module
 */
import { CorruptionError } from "./errors.ts";
import type { PageSource } from "./page_source.ts";
import { CLASS_COUNT, CLASS_SLOTS, PAGE_SIZE } from "./size_class.ts";
import { Table } from "./table.ts";

/** The first link that a page can have; links[0] stays 0 for what is no page. */
export const FIRST_LINK = 8;

/**
 * Links that a page can need in its life, one chunk of each class: as a chunk stays with its class, so many are
 * reserved (a reservation costs nothing), as far as one wrap can reach. The sum of what `chunkLength` is for each class,
 * written out so that nothing is summed at import.
 */
export const LINKS_PER_PAGE_MAX = 14_515;

/** Consecutive links. */
export interface LinkChunk {
  /** The index of the first. */
  readonly start: number;
  /** The index after the last. */
  readonly end: number;
}

/** The links of one range. */
export class LinkTable {
  /** The links; another array after the table grew. */
  links: Uint16Array = new Uint16Array(0);
  /** Links below are in a chunk, taken or free. */
  end: number = FIRST_LINK;
  readonly #table: Table;
  /** The first free chunk, by class; 0 is none. */
  readonly #free = new Int32Array(CLASS_COUNT);

  /**
   * Reserves links for `byteLength` bytes of blocks, and commits the first.
   *
   * @throws {OutOfMemoryError} When the source has no address space or memory for them.
   */
  constructor(source: PageSource, byteLength: number) {
    const links = FIRST_LINK + Math.ceil(byteLength / PAGE_SIZE) * LINKS_PER_PAGE_MAX;
    this.#table = new Table(source, Math.min(links * 2, source.maxWrapBytes));
    try {
      this.#ensure(FIRST_LINK);
    } catch (error) {
      this.#table.dispose();
      throw error;
    }
  }

  /** Bytes committed, and wrapped. */
  get byteLength(): number {
    return this.#table.bytes.byteLength;
  }

  /** Bytes of address space held. */
  get reservedBytes(): number {
    return this.#table.reservedBytes;
  }

  /**
   * Takes the chunk for a page of `sizeClass`, and returns the index of its first link.
   *
   * @throws {OutOfMemoryError} When the table cannot grow; nothing has changed then.
   */
  take(sizeClass: number): number {
    const chunk = this.#free[sizeClass]!;
    if (chunk === 0) {
      const start = this.end;
      const end = start + chunkLength(sizeClass);
      this.#ensure(end);
      this.end = end;
      return start;
    }
    const { links } = this;
    this.#free[sizeClass] = links[chunk]! + links[chunk + 1]! * 65536;
    links[chunk] = 0;
    links[chunk + 1] = 0;
    return chunk;
  }

  /** Gives the chunk of a page of `sizeClass` without live slots back. */
  give(sizeClass: number, chunk: number): void {
    const { links } = this;
    const next = this.#free[sizeClass]!;
    links.fill(0, chunk, chunk + chunkLength(sizeClass));
    links[chunk] = next & 65535;
    links[chunk + 1] = next >>> 16;
    this.#free[sizeClass] = chunk;
  }

  /**
   * The free chunks, for `check`. Time in the number of their links.
   *
   * @throws {CorruptionError} When one is in two lists, or holds anything but its place in the list.
   */
  freeChunks(): LinkChunk[] {
    const { links } = this;
    const chunks: LinkChunk[] = [];
    const seen = new Set<number>();
    for (let sizeClass = 0; sizeClass < CLASS_COUNT; sizeClass++) {
      for (let start = this.#free[sizeClass]!; start !== 0; start = links[start]! + links[start + 1]! * 65536) {
        const end = start + chunkLength(sizeClass);
        const used = links.subarray(start + 2, end).findIndex((link) => link !== 0);
        if (start < FIRST_LINK || end > this.end || seen.has(start) || used !== -1) {
          const what = used === -1 ? "it is twice in the lists, or in none of the table" : `link ${used + 2} is used`;
          throw new CorruptionError(`Cannot trust the free chunk of links at ${start}: ${what}`);
        }
        seen.add(start);
        chunks.push({ start, end });
      }
    }
    return chunks;
  }

  #ensure(count: number): void {
    if (!this.#table.ensure(count * 2)) return;
    const { buffer, byteOffset, byteLength } = this.#table.bytes;
    this.links = new Uint16Array(buffer, byteOffset, byteLength / 2);
  }

  /** Gives the table back. */
  dispose(): void {
    this.links = new Uint16Array(0);
    this.#table.dispose();
  }
}

/** Links of a page of the class: its slots, and one that is always 0. */
function chunkLength(sizeClass: number): number {
  return CLASS_SLOTS[sizeClass]! + 1;
}
