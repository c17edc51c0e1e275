/**
 * Blocks that were freed and are not to be used again yet: a queue, first in, first out, bounded in blocks and in
 * bytes.
 *
 * ```text
 *   free ──▶ │ newest │  ...  │  ...  │ oldest │ ──▶ the inner allocator's free
 *     filled with 0xdf                   compared with 0xdf: a changed byte was written after the free
 *
 *   a block in quarantine       0                                    usableSize
 *                               ├─ 0xdf 0xdf 0xdf 0xdf ... ────────────┤      live, as far as the inner allocator knows
 * ```
 *
 * Invariants:
 * - every block of the queue is a live block of the inner allocator, and nobody else has its address;
 * - `count` and `byteLength` are within the bounds whenever a call returns;
 * - a block whose byte was changed leaves the queue like any other, and is reported once.
 *
 * The last blocks that left are remembered by their addresses, until the inner allocator gives the address out again,
 * so that freeing one of them twice is still told from freeing a stranger.
 *
 * @module
 */
import { historyOf } from "./allocation_site.ts";
import { AddressQueue } from "./address_queue.ts";
import type { BlockHistory } from "./errors.ts";
import { CorruptionError, formatAddress, formatByte, InvalidFreeError, OutOfMemoryError } from "./errors.ts";
import type { OwningAllocator } from "./native_buffer.ts";
import type { Address } from "./page_source.ts";
import { firstChanged, FREED_BYTE } from "./poison.ts";
import { reportViolation } from "./violations.ts";

/** Blocks that have left the queue and are remembered. */
const REMEMBERED = 1024;

/** One freed block. */
export interface FreedBlock extends BlockHistory {
  /** Where it starts. */
  readonly address: Address;
  /** Bytes asked for. */
  readonly requestedSize: number;
  /** Bytes that are filled and compared. */
  readonly usableSize: number;
}

/** The quarantine of one allocator. */
export class Quarantine {
  readonly #inner: OwningAllocator;
  readonly #maxBlocks: number;
  readonly #maxBytes: number;
  readonly #blocks = new AddressQueue<FreedBlock>();
  readonly #remembered = new AddressQueue<FreedBlock>();
  /** Usable bytes of all blocks. */
  byteLength = 0;

  /** An empty queue of blocks of `inner`. */
  constructor(inner: OwningAllocator, maxBlocks: number, maxBytes: number) {
    this.#inner = inner;
    this.#maxBlocks = maxBlocks;
    // What is longer than a view cannot be filled and compared.
    this.#maxBytes = Math.min(maxBytes, inner.source.maxWrapBytes);
  }

  /** Count of blocks. */
  get count(): number {
    return this.#blocks.size;
  }

  /**
   * Lets the oldest blocks out until there is room for a block that is about to be added; false when there is never
   * room for so large a block.
   *
   * @throws {CorruptionError} When one that is let out was written to.
   */
  makeRoom(usableSize: number): boolean {
    if (this.#maxBlocks === 0 || usableSize > this.#maxBytes) return false;
    this.#letOut(this.#maxBlocks - 1, this.#maxBytes - usableSize);
    return true;
  }

  /**
   * Fills a block that is freed, and adds it. There must be room. When it cannot be looked at, for want of memory, it
   * passes.
   */
  add(block: FreedBlock): void {
    const bytes = this.#view(block);
    if (bytes === undefined) return this.pass(block);
    bytes.fill(FREED_BYTE);
    this.#blocks.push(block);
    this.byteLength += block.usableSize;
  }

  /** Frees a block that is not to be added at once. */
  pass(block: FreedBlock): void {
    this.#inner.free(block.address);
    this.#remember(block);
  }

  /** Lets all blocks out. */
  flush(): void {
    this.#letOut(0, 0);
  }

  /** Lets the oldest blocks out until so many blocks and bytes are left. */
  #letOut(blocks: number, bytes: number): void {
    while (this.#blocks.size > blocks || this.byteLength > bytes) {
      const block = this.#blocks.oldest()!;
      const damage = this.#damage(block, "release");
      this.#blocks.delete(block.address);
      this.byteLength -= block.usableSize;
      this.pass(block);
      if (damage !== undefined) reportViolation(damage);
    }
  }

  #remember(block: FreedBlock): void {
    this.#remembered.push(block);
    if (this.#remembered.size > REMEMBERED) this.#remembered.delete(this.#remembered.oldest()!.address);
  }

  /** Forgets a freed block whose address the inner allocator has given out again. */
  forget(address: Address): void {
    this.#remembered.delete(address);
  }

  /**
   * The error for an address that is no live block: a block that was freed, a place inside one; undefined for any
   * other.
   */
  explain(address: Address, action: string): InvalidFreeError | undefined {
    const waiting = this.#blocks.get(address);
    const freed = waiting ?? this.#remembered.get(address);
    if (freed !== undefined) {
      const where = waiting === undefined ? "" : " and in quarantine";
      const detail = `the block of ${freed.requestedSize} bytes is already freed${where}`;
      return invalid(action, address, "double", detail, freed);
    }
    for (const block of this.#blocks.values()) {
      const offset = address - block.address;
      if (!(offset > 0 && offset < block.usableSize)) continue;
      const detail = `it is ${offset} bytes inside the freed block of ${block.requestedSize} bytes at ` +
        `${formatAddress(block.address)}, which is in quarantine`;
      return invalid(action, address, "foreign", detail, block);
    }
    return undefined;
  }

  /** Every block that was written to, and every disagreement between the records. */
  *problems(action: string): IterableIterator<CorruptionError> {
    let byteLength = 0;
    for (const block of this.#blocks.values()) {
      byteLength += block.usableSize;
      const damage = this.#damage(block, action);
      if (damage !== undefined) yield damage;
      if (!this.#inner.owns(block.address)) {
        yield new CorruptionError(
          `Cannot ${action} ${
            formatAddress(block.address)
          }: the block is in quarantine, but not live in the allocator below`,
        );
      }
    }
    if (byteLength !== this.byteLength) {
      yield new CorruptionError(
        `Cannot ${action} the quarantine: it has ${byteLength} bytes and counts ${this.byteLength}`,
      );
    }
  }

  #damage(block: FreedBlock, action: string): CorruptionError | undefined {
    const { address, requestedSize, allocatedAt, freedAt } = block;
    let bytes: Uint8Array | undefined;
    try {
      bytes = this.#view(block);
    } catch (error) {
      // Its region was detached from outside: what cannot be looked at is no reason to keep it.
      if (error instanceof CorruptionError) return error;
      throw error;
    }
    const offset = bytes === undefined ? -1 : firstChanged(bytes, FREED_BYTE);
    if (bytes === undefined || offset === -1) return undefined;
    const found = bytes[offset]!;
    return new CorruptionError(
      `Cannot ${action} ${
        formatAddress(address)
      }: something wrote to the block of ${requestedSize} bytes after it was ` +
        `freed; the byte at offset ${offset} (${formatAddress(address + offset)}) is ${formatByte(found)} instead of ` +
        `${formatByte(FREED_BYTE)}${historyOf(block)}`,
      { address, offset, expected: FREED_BYTE, found, allocatedAt, freedAt },
    );
  }

  /** All bytes of a block; undefined when there is no memory for the view. */
  #view({ address, usableSize }: FreedBlock): Uint8Array | undefined {
    try {
      return this.#inner.view(address, usableSize);
    } catch (error) {
      if (error instanceof OutOfMemoryError) return undefined;
      throw error;
    }
  }
}

function invalid(
  action: string,
  address: Address,
  kind: "double" | "foreign",
  detail: string,
  block: FreedBlock,
): InvalidFreeError {
  return new InvalidFreeError(action, address, kind, detail + historyOf(block), formatAddress(address), block);
}
