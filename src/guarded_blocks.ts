/**
 * The guarded blocks of one allocator: a reservation each, pages that no one else is on, and what is left of them after
 * they are freed.
 *
 * ```text
 *                  allocate                     free                      leaves the queue
 *   (nothing) ──────────────────▶ live ───────────────────▶ freed ──────────────────────▶ (nothing)
 *              reserve, commit,     │   detach all views,     │    unmap
 *              fill the slack       │   decommit              │
 *                                   ▼                         ▼
 *                        readable and writable,     address space without memory: an access
 *                        guard pages on both sides  faults; the oldest leaves when there are too many
 * ```
 *
 * Invariants:
 * - no two reservations overlap, so an address is that of one live or freed block at most;
 * - every ArrayBuffer over a block is detached before its pages become inaccessible: only native code can fault, never
 *   a view;
 * - the slack of a live block (guard_layout.ts) is filled with `SLACK_BYTE` up to one OS page on either side. A changed
 *   byte was written by native code that ran over an end of the block, or through a wrap that `resize` has since made
 *   too long.
 *
 * All records are on JavaScript's heap, where native code cannot reach them. Making a block takes two system calls,
 * freeing it one, and one more when it leaves the queue.
 *
 * @module
 */
import { AddressQueue } from "./address_queue.ts";
import { CorruptionError, type InvalidFreeError, OutOfMemoryError } from "./errors.ts";
import { type GuardLayout, guardLayout, type GuardPlacement } from "./guard_layout.ts";
import { besideBlock, detachedOutside, freedTwice, type ReportedBlock } from "./guard_reports.ts";
import { type GuardedBlock, GuardedMemory } from "./guarded_memory.ts";
import type { Address, PageSource } from "./page_source.ts";
import type { Finding } from "./reported_problems.ts";
import { type Mapping, Unreleased } from "./unreleased.ts";

/** What the blocks of an allocator have in common. */
export interface GuardRules {
  /** Which guard page a block touches. */
  readonly placement: GuardPlacement;
  /** The most blocks that may be live. */
  readonly maxBlocks: number;
  /** The most freed blocks that are kept. */
  readonly maxFreedBlocks: number;
  /** The most bytes of address space that freed blocks may keep. */
  readonly maxFreedBytes: number;
}

/** What is kept of a freed block. */
interface FreedBlock extends ReportedBlock {
  readonly base: Address;
  readonly reserved: number;
  /** Bytes of memory that the system has not taken back: 0 but for trouble. */
  readonly committed: number;
}

/** The guarded blocks of one allocator, live and freed. */
export class GuardedBlocks {
  /** The memory of the live blocks. */
  readonly memory: GuardedMemory;
  /** Bytes asked for by the live blocks. */
  liveBytes = 0;
  /** Bytes committed: for the live blocks, and what the system has not taken back of freed ones. */
  committedBytes = 0;
  /** The most of that ever. */
  peakCommittedBytes = 0;
  /** Address space of the freed blocks. */
  freedBytes = 0;
  readonly #source: PageSource;
  readonly #rules: GuardRules;
  readonly #live = new Map<Address, GuardedBlock>();
  readonly #freed = new AddressQueue<FreedBlock>();
  /** Reservations of blocks that could not be made whole, and that the system did not take back at once. */
  readonly #unreleased: Unreleased;
  /** Address space of the live and freed blocks. */
  #reservedBytes = 0;
  /** No reservation was ever below the one or above the other. */
  #lowest: Address = Infinity;
  #highest: Address = 0;

  /** Starts with none. */
  constructor(source: PageSource, rules: GuardRules) {
    this.#source = source;
    this.#rules = rules;
    this.memory = new GuardedMemory(source);
    this.#unreleased = new Unreleased(source);
  }

  /** Address space held. */
  get reservedBytes(): number {
    return this.#reservedBytes + this.#unreleased.byteLength;
  }

  /** Count of live blocks. */
  get count(): number {
    return this.#live.size;
  }

  /** Count of freed blocks whose address space is kept. */
  get freedCount(): number {
    return this.#freed.size;
  }

  /** The live blocks, in order of allocation. */
  values(): Iterable<GuardedBlock> {
    return this.#live.values();
  }

  /** Whether `address` can be in a reservation at all: false for nearly every address of other allocators. */
  spans(address: Address): boolean {
    return address >= this.#lowest && address < this.#highest;
  }

  /** The live block that starts at `address`. Constant time. */
  at(address: Address): GuardedBlock | undefined {
    return this.#live.get(address);
  }

  /**
   * Maps a block of its own for `size` bytes, all zero.
   *
   * @throws {OutOfMemoryError} When the source has no such memory, or there are too many blocks.
   */
  allocate(size: number, alignment: number, allocatedAt?: Error): GuardedBlock {
    const { placement, maxBlocks } = this.#rules;
    if (this.#live.size >= maxBlocks) throw outOfMemory(size, `${maxBlocks} guarded blocks are live, the most`);
    const layout = guardLayout(size, alignment, placement, this.#source.pageSize);
    if (!Number.isSafeInteger(layout.reserved)) throw outOfMemory(size, "no machine addresses so many");
    const block = this.#map(size, alignment, layout, allocatedAt);
    this.#live.set(block.address, block);
    this.liveBytes += size;
    this.committedBytes += layout.committed;
    this.peakCommittedBytes = Math.max(this.peakCommittedBytes, this.committedBytes);
    this.#reservedBytes += layout.reserved;
    this.#lowest = Math.min(this.#lowest, block.base);
    this.#highest = Math.max(this.#highest, block.base + layout.reserved);
    return block;
  }

  /** Brings the memory of a block about, or nothing. */
  #map(size: number, alignment: number, layout: GuardLayout, allocatedAt: Error | undefined): GuardedBlock {
    const base = this.#reserve(size, layout);
    try {
      return this.memory.create(base, layout, size, alignment, allocatedAt);
    } catch (error) {
      this.#unreleased.unmap({ address: base, byteLength: layout.reserved });
      throw error instanceof OutOfMemoryError ? outOfMemory(size, error.message, error) : error;
    }
  }

  /** Reserves address space, giving up that of freed blocks when there is no other. */
  #reserve(size: number, { reserved, alignment }: GuardLayout): Address {
    try {
      try {
        return this.#source.reserve(reserved, alignment);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || this.#freed.size === 0) throw error;
        this.forgetFreed();
        return this.#source.reserve(reserved, alignment);
      }
    } catch (error) {
      throw error instanceof OutOfMemoryError ? outOfMemory(size, error.message, error) : error;
    }
  }

  /** Gives a block another size in place, within its committed pages; false when it does not fit there. */
  resize(block: GuardedBlock, size: number): boolean {
    const before = block.requestedSize;
    if (!this.memory.resize(block, size)) return false;
    this.liveBytes += size - before;
    return true;
  }

  /**
   * Detaches every view of a block and makes its pages inaccessible for as long as its address space is kept. Memory
   * that the system does not take back, because that would need one more mapping, is kept with it and stays accessible.
   */
  free(block: GuardedBlock, freedAt?: Error): void {
    const { address, requestedSize, base, layout, allocatedAt } = block;
    const { lead, reserved } = layout;
    const { maxFreedBlocks, maxFreedBytes } = this.#rules;
    const keeps = maxFreedBlocks > 0 && reserved <= maxFreedBytes;
    if (keeps) this.#makeRoom(maxFreedBlocks - 1, maxFreedBytes - reserved);
    this.memory.detach(block);
    const isUnmapped = !keeps && unlessExhausted(() => this.#source.unmap(base, reserved));
    let { committed } = layout;
    if (!isUnmapped && committed > 0 && unlessExhausted(() => this.#source.decommit(base + lead, committed))) {
      this.committedBytes -= committed;
      committed = 0;
    }
    this.#live.delete(address);
    this.liveBytes -= requestedSize;
    if (isUnmapped) {
      this.committedBytes -= committed;
      this.#reservedBytes -= reserved;
    } else {
      this.#freed.push({ address, requestedSize, base, reserved, committed, allocatedAt, freedAt });
      this.freedBytes += reserved;
    }
  }

  /** Gives the address space of all freed blocks back, and returns how many bytes of memory were still in it. */
  forgetFreed(): number {
    const before = this.committedBytes;
    this.#unreleased.retry();
    this.#makeRoom(0, 0);
    return before - this.committedBytes;
  }

  /** Gives the address space of the oldest freed blocks back until so many blocks and bytes are left. */
  #makeRoom(blocks: number, bytes: number): void {
    while (this.#freed.size > blocks || this.freedBytes > bytes) {
      const { address, base, reserved, committed } = this.#freed.oldest()!;
      if (!unlessExhausted(() => this.#source.unmap(base, reserved))) return;
      this.#freed.delete(address);
      this.freedBytes -= reserved;
      this.#reservedBytes -= reserved;
      this.committedBytes -= committed;
    }
  }

  /** An error for each live block whose slack was written to. */
  *damages(action: string): Iterable<Finding> {
    for (const block of this.#live.values()) {
      const damage = this.memory.damage(block, action);
      if (damage !== undefined) yield [block, damage];
      else this.memory.reported.forget(block);
    }
  }

  /** Every disagreement between the records, and between them and the memory. */
  *problems(action: string): Iterable<Finding> {
    yield* this.damages(action);
    let [live, committed, reserved] = [0, 0, this.freedBytes];
    for (const block of this.#freed.values()) committed += block.committed;
    for (const block of this.#live.values()) {
      live += block.requestedSize;
      committed += block.layout.committed;
      reserved += block.layout.reserved;
      if (this.memory.isDetached(block)) yield [block.wraps, detachedOutside(action, block)];
    }
    if (live !== this.liveBytes || committed !== this.committedBytes || reserved !== this.#reservedBytes) {
      const text = `Cannot ${action} the guarded blocks: their figures are not the sums of what they hold`;
      yield [this, new CorruptionError(text)];
    }
  }

  /** The error for an `address` in a reservation that is no live block; undefined for any other. Time in all blocks. */
  explain(address: Address, action: string): InvalidFreeError | undefined {
    const freed = this.#freed.get(address);
    if (freed !== undefined) return freedTwice(action, freed);
    for (const block of this.#live.values()) {
      const isWithin = address >= block.base && address < block.base + block.layout.reserved;
      if (isWithin) return besideBlock(action, address, block, "live");
    }
    for (const block of this.#freed.values()) {
      const isWithin = address >= block.base && address < block.base + block.reserved;
      if (isWithin) return besideBlock(action, address, block, "freed");
    }
    return undefined;
  }

  /** Detaches all views, then gives everything back. What fails does not keep the rest from being given back. */
  dispose(): void {
    const mappings: Mapping[] = [];
    for (const { base, reserved } of this.#freed.values()) mappings.push({ address: base, byteLength: reserved });
    for (const block of this.#live.values()) {
      this.memory.detach(block);
      mappings.push({ address: block.base, byteLength: block.layout.reserved });
    }
    this.#live.clear();
    this.#freed.clear();
    this.#unreleased.dispose(mappings);
  }
}

function outOfMemory(size: number, reason: string, cause?: OutOfMemoryError): OutOfMemoryError {
  return new OutOfMemoryError(`Cannot allocate ${size} bytes: ${reason}`, size, cause?.limit, { cause });
}

/** Whether `action` succeeds; false when the system has no memory, or no mapping, to do it with. */
function unlessExhausted(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    if (error instanceof OutOfMemoryError) return false;
    throw error;
  }
}
