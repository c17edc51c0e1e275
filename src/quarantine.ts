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
 * - a block whose byte was changed leaves the queue like any other, and is reported once: when it leaves, or before by
 *   `check` (reported_problems.ts);
 * - so does one that the inner allocator has no more, as somebody has used that directly. Nothing of it is touched.
 *
 * A block that the inner allocator refuses to free, as a `DebugAllocator` does when a byte beside it was changed, is set
 * aside: the queue would be stuck at it for ever. It stays the inner allocator's to report and to give back.
 *
 * The last blocks that left are remembered by their addresses, until the inner allocator gives the address out again,
 * so that freeing one of them twice is still told from freeing a stranger.
 *
 * @module
 */
import { AddressQueue } from "./address_queue.ts";
import { historyOf } from "./allocation_site.ts";
import type { BlockHistory } from "./errors.ts";
import {
  CorruptionError,
  countBytes,
  formatAddress,
  formatByte,
  InvalidFreeError,
  OutOfMemoryError,
} from "./errors.ts";
import { type Hold, holdIn } from "./held_blocks.ts";
import type { OwningAllocator } from "./owned_blocks.ts";
import type { Address } from "./page_source.ts";
import { firstChanged, FREED_BYTE } from "./poison.ts";
import { type Finding, ReportedProblems } from "./reported_problems.ts";
import { reportViolation } from "./violations.ts";
import { freeUnlessRefused, isStillThere, lostBlock } from "./wrapper_reports.ts";

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

/** What is wrong with a block of the queue. */
interface Problem {
  readonly error: CorruptionError;
  /** Whether the inner allocator has the block no more: what is at its place is somebody else's. */
  readonly isLost: boolean;
}

/** The quarantine of one allocator. */
export class Quarantine {
  /** What was reported of the blocks of the queue, and by the allocator of its live ones. */
  readonly reported = new ReportedProblems();
  readonly #inner: OwningAllocator;
  /** Tells that one which of its live blocks are freed. */
  readonly #hold: Hold | undefined;
  readonly #maxBlocks: number;
  readonly #maxBytes: number;
  readonly #blocks = new AddressQueue<FreedBlock>();
  readonly #remembered = new AddressQueue<FreedBlock>();
  /** Those that the inner allocator would not free. */
  readonly #refused = new Map<Address, FreedBlock>();
  /** Usable bytes of all blocks. */
  byteLength = 0;

  /** An empty queue of blocks of `inner`. */
  constructor(inner: OwningAllocator, maxBlocks: number, maxBytes: number) {
    this.#inner = inner;
    this.#hold = holdIn(inner);
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

  /** Fills a block that is freed, `bytes` being all of it, and adds it. There must be room. */
  add(block: FreedBlock, bytes: Uint8Array): void {
    bytes.fill(FREED_BYTE);
    this.#blocks.push(block);
    this.byteLength += block.usableSize;
    this.#hold?.(block.address);
  }

  /** Lets all blocks out. */
  flush(): void {
    this.#letOut(0, 0);
  }

  /** Lets the oldest blocks out until so many blocks and bytes are left. */
  #letOut(blocks: number, bytes: number): void {
    while (this.#blocks.size > blocks || this.byteLength > bytes) {
      const block = this.#blocks.oldest()!;
      const problem = this.#problem(block, "release");
      this.#drop(block);
      if (problem?.isLost === true) this.remember(block);
      else this.#pass(block);
      if (problem !== undefined && this.reported.note(block, problem.error)) reportViolation(problem.error);
    }
  }

  /** Takes a block out of the queue. */
  #drop(block: FreedBlock): void {
    this.#blocks.delete(block.address);
    this.byteLength -= block.usableSize;
  }

  /** Frees a block that has left the queue, or sets it aside. */
  #pass(block: FreedBlock): void {
    let isFreed = false;
    try {
      isFreed = freeUnlessRefused(this.#inner, block.address);
    } finally {
      if (isFreed) this.remember(block);
      else this.#refused.set(block.address, block);
    }
  }

  /** Remembers a block that the inner allocator has freed. */
  remember(block: FreedBlock): void {
    this.#remembered.push(block);
    this.#remembered.keep(REMEMBERED);
  }

  /**
   * Forgets a freed block whose address the inner allocator has given out again.
   *
   * @returns The block, if it was still here: somebody has freed it in the inner allocator.
   */
  forget(address: Address): FreedBlock | undefined {
    this.#remembered.delete(address);
    const waiting = this.#blocks.get(address);
    if (waiting !== undefined) this.#drop(waiting);
    const refused = this.#refused.get(address);
    if (refused !== undefined) this.#refused.delete(address);
    return waiting ?? refused;
  }

  /**
   * The error for an address that is no live block: a block that was freed, a place inside one; undefined for any
   * other.
   */
  explain(address: Address, action: string): InvalidFreeError | undefined {
    const waiting = this.#blocks.get(address);
    const refused = this.#refused.get(address);
    const freed = waiting ?? refused ?? this.#remembered.get(address);
    if (freed !== undefined) {
      const where = waiting !== undefined
        ? " and in quarantine"
        : refused !== undefined
        ? ", which the allocator below refused to do"
        : "";
      const detail = `the block of ${countBytes(freed.requestedSize)} is already freed${where}`;
      return invalid(action, address, "double", detail, freed);
    }
    for (const block of this.#blocks.values()) {
      const offset = address - block.address;
      if (!(offset > 0 && offset < block.usableSize)) continue;
      const detail = `it is ${countBytes(offset)} inside the freed block of ${countBytes(block.requestedSize)} at ` +
        `${formatAddress(block.address)}, which is in quarantine`;
      return invalid(action, address, "foreign", detail, block);
    }
    return undefined;
  }

  /** Every block that was written to, and every disagreement between the records. */
  *problems(action: string): IterableIterator<Finding> {
    let byteLength = 0;
    for (const block of this.#blocks.values()) {
      byteLength += block.usableSize;
      const problem = this.#problem(block, action);
      if (problem !== undefined) yield [block, problem.error];
      else this.reported.forget(block);
    }
    if (byteLength !== this.byteLength) {
      const text = `Cannot ${action} the quarantine: it has ${byteLength} bytes and counts ${this.byteLength}`;
      yield [this, new CorruptionError(text)];
    }
  }

  /** What is wrong with a block of the queue, if anything. */
  #problem(block: FreedBlock, action: string): Problem | undefined {
    let bytes: Uint8Array | null | undefined;
    try {
      bytes = this.view(block);
    } catch (error) {
      // Its region was detached from outside: what cannot be looked at is no reason to keep it.
      if (error instanceof CorruptionError) return { error, isLost: false };
      throw error;
    }
    const offset = bytes ? firstChanged(bytes, FREED_BYTE) : -1;
    const { address, requestedSize, usableSize, allocatedAt, freedAt } = block;
    if (bytes === null || (offset !== -1 && this.#inner.usableSize(address) !== usableSize)) {
      return { error: lostBlock(action, block), isLost: true };
    }
    if (bytes === undefined || offset === -1) return undefined;
    const found = bytes[offset]!;
    const error = new CorruptionError(
      `Cannot ${action} ${
        formatAddress(address)
      }: something wrote to the block of ${requestedSize} bytes after it was ` +
        `freed; the byte at offset ${offset} (${formatAddress(address + offset)}) is ${formatByte(found)} instead of ` +
        `${formatByte(FREED_BYTE)}${historyOf(block)}`,
      { address, offset, expected: FREED_BYTE, found, allocatedAt, freedAt },
    );
    return { error, isLost: false };
  }

  /**
   * All bytes of a block of the inner allocator; undefined when there is no memory for the view, null when the inner
   * allocator has no such block, as somebody has freed it there.
   */
  view({ address, usableSize }: Pick<FreedBlock, "address" | "usableSize">): Uint8Array | null | undefined {
    if (!isStillThere(this.#inner, address)) return null;
    try {
      return this.#inner.view(address, usableSize);
    } catch (error) {
      if (error instanceof OutOfMemoryError) return undefined;
      // A smaller block is there now.
      if (error instanceof RangeError) return null;
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
