/**
 * A growable table of integers outside the JavaScript heap.
 *
 * An allocator's records live in tables of their own, in mappings that are never handed out: no view, C library or
 * stray write through a block can reach them, and they cost only the OS pages that were touched. A table reserves the
 * address space it could ever need and commits from its start; growing wraps the longer span, so the contents never
 * move.
 *
 * ```text
 *   reserved   ├───────────────────────────────────────────────────────────┤ capacity
 *   committed  ├──────────────────────┤ bytes.byteLength, wrapped; doubles
 *   touched    ├────────────┤           what the OS charges
 * ```
 *
 * Over a source where reserving is spending (a fixed buffer) the table is ordinary JavaScript memory that is copied
 * when it grows: the budget is for blocks.
 *
 * @module
 */
import { alignUp } from "./arguments.ts";
import { commitWrapped } from "./commit_wrapped.ts";
import { OutOfMemoryError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";

/** A growable, zero-initialised span of bytes for the records of one allocator. */
export class Table {
  readonly #source: PageSource;
  readonly #reserved: number;
  #address: Address = 0;
  #bytes: Uint8Array<ArrayBuffer>;

  /**
   * Reserves `capacity` bytes and commits none.
   *
   * @throws {OutOfMemoryError} When there is no such piece of address space.
   */
  constructor(source: PageSource, capacity: number) {
    this.#source = source;
    this.#reserved = source.lazy ? alignUp(capacity, Math.max(source.pageSize, source.granularity)) : 0;
    if (source.lazy) this.#address = source.reserve(this.#reserved, source.pageSize);
    this.#bytes = new Uint8Array(0);
  }

  /** The committed bytes. Another object after each growth; the old one must not be used any more. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /** The same as 32-bit words: a new view at each call. */
  words(): Int32Array {
    const { buffer, byteOffset, byteLength } = this.#bytes;
    return new Int32Array(buffer, byteOffset, byteLength / 4);
  }

  /** Bytes of address space held. */
  get reservedBytes(): number {
    return this.#source.lazy ? this.#reserved : this.#bytes.byteLength;
  }

  /**
   * Makes at least `byteLength` bytes usable; new ones are zero.
   *
   * @returns Whether `bytes` is another object now.
   * @throws {OutOfMemoryError} When the memory cannot be had; the table is as before.
   */
  ensure(byteLength: number): boolean {
    const old = this.#bytes;
    if (byteLength <= old.byteLength) return false;
    const source = this.#source;
    if (source.lazy && byteLength > this.#reserved) {
      throw new OutOfMemoryError(
        `Cannot make a table of ${byteLength} bytes: ${this.#reserved} are reserved for it`,
        byteLength,
        this.#reserved,
      );
    }
    let length = alignUp(Math.max(byteLength, old.byteLength * 2), source.pageSize);
    if (!source.lazy) {
      this.#bytes = new Uint8Array(length);
      this.#bytes.set(old);
      return true;
    }
    length = Math.min(length, this.#reserved);
    // The old wrap is left to the collector: nobody else has it, and the first detaching of a buffer in a process makes
    // V8 test every typed array for it from then on, which costs the fast paths a seventh of their time.
    this.#bytes = commitWrapped(source, this.#address, length, old.byteLength);
    return true;
  }

  /** Detaches the wrap and gives the address space back. */
  dispose(): void {
    const bytes = this.#bytes;
    this.#bytes = new Uint8Array(0);
    if (!this.#source.lazy) return;
    if (bytes.byteLength > 0) this.#source.unwrap(bytes);
    this.#source.unmap(this.#address, this.#reserved);
  }
}
