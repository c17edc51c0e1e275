/**
 * What a debug allocator remembers: its live blocks, and the last of those that were freed.
 *
 * ```text
 *   live    address -> DebugBlock    { inner block, size, alignment, stack, number }
 *   freed   address -> FreedBlock    { size, alignment, both stacks }      the last 1,024, oldest first
 * ```
 *
 * Both are on JavaScript's heap, where no native code can write. A freed block is forgotten when too many others were
 * freed after it, and its address is replaced when it is freed again in a later life.
 *
 * @module
 */
import { AddressMap } from "./address_map.ts";
import { AddressQueue } from "./address_queue.ts";
import { historyOf } from "./allocation_site.ts";
import type { BlockInfo } from "./allocator.ts";
import { CANARY_SIZE, type Placement } from "./canary.ts";
import { type BlockHistory, countBytes, formatAddress, InvalidFreeError, type InvalidFreeKind } from "./errors.ts";
import type { Address } from "./page_source.ts";
import type { WrappedBlock } from "./wrapper_memory.ts";

/** A live block. */
export class DebugBlock implements WrappedBlock, Placement {
  readonly address: Address;
  readonly inner: Address;
  readonly alignment: number;
  /** Blocks are numbered in the order of their allocation, from 1. */
  number: number;
  /** The bytes that were asked for: by the allocation, or by the last resize. */
  size: number;
  /** Usable bytes of the inner block. */
  innerSize: number;
  /** The stack of the call that gave the block its size. */
  allocatedAt: Error | undefined;
  /** Whether a wrapper holds on to it after the program has freed it: held_blocks.ts. */
  isHeld = false;

  /** The block of `size` bytes that lies in the inner block at `inner`, `front` bytes from its start. */
  constructor(
    inner: Address,
    front: number,
    size: number,
    innerSize: number,
    alignment: number,
    number: number,
    allocatedAt: Error | undefined,
  ) {
    this.address = inner + front;
    this.inner = inner;
    this.size = size;
    this.innerSize = innerSize;
    this.alignment = alignment;
    this.number = number;
    this.allocatedAt = allocatedAt;
  }

  /** Bytes from the start of the inner block to this one. */
  get front(): number {
    return this.address - this.inner;
  }

  /** See {@link BlockInfo.requestedSize}. */
  get requestedSize(): number {
    return this.size;
  }

  /** See {@link BlockInfo.usableSize}: no more than was asked for, so that every byte beyond can be watched. */
  get usableSize(): number {
    return this.size;
  }

  /** The block as plain data. */
  get info(): BlockInfo {
    const { address, size, alignment } = this;
    return { address, requestedSize: size, usableSize: size, alignment };
  }
}

/** A block that was freed. */
interface FreedBlock extends BlockHistory {
  readonly address: Address;
  readonly size: number;
  readonly alignment: number;
}

/** The records of one debug allocator. */
export class DebugBlocks {
  /** Bytes asked for by all live blocks. */
  liveBytes = 0;
  /** The number of the last block that was allocated. */
  lastNumber = 0;
  readonly #name: string;
  readonly #remembered: number;
  readonly #live = new AddressMap<DebugBlock>();
  readonly #freed = new AddressQueue<FreedBlock>();

  /** Starts with none. `name` is for messages; `remembered` is how many freed blocks are kept. */
  constructor(name: string, remembered: number) {
    this.#name = name;
    this.#remembered = remembered;
  }

  /** Count of live blocks. */
  get count(): number {
    return this.#live.size;
  }

  /** The live block that starts at `address`, if one does. */
  find(address: Address): DebugBlock | undefined {
    return this.#live.get(address);
  }

  /** Adds a live block. */
  add(block: DebugBlock): void {
    this.#live.set(block.address, block);
    this.liveBytes += block.size;
    this.lastNumber = block.number;
  }

  /** Changes the size of a live block. */
  setSize(block: DebugBlock, size: number): void {
    this.liveBytes += size - block.size;
    block.size = size;
  }

  /** Moves a live block to those that were freed. */
  remove(block: DebugBlock, freedAt: Error | undefined): void {
    const { address, size, alignment, allocatedAt } = block;
    this.#live.delete(address);
    this.liveBytes -= size;
    if (this.#remembered === 0) return;
    this.#freed.push({ address, size, alignment, allocatedAt, freedAt });
    this.#freed.keep(this.#remembered);
  }

  /** The live blocks as they are now. Those that are freed during the walk do not come; those allocated neither. */
  *walk(): IterableIterator<DebugBlock> {
    for (const block of this.#live.values().sort((a, b) => a.number - b.number)) {
      if (this.#live.get(block.address) === block) yield block;
    }
  }

  /** Those of them that the program has not freed. */
  *owed(): IterableIterator<DebugBlock> {
    for (const block of this.walk()) if (!block.isHeld) yield block;
  }

  /** All, as plain data. */
  *infos(): IterableIterator<BlockInfo> {
    for (const block of this.walk()) yield block.info;
  }

  /** Forgets everything. */
  clear(): void {
    this.#live.clear();
    this.#freed.clear();
    this.liveBytes = 0;
  }

  /** The error for an address that is not the start of a live block. Time in the number of live blocks. */
  invalid(address: Address, action: string): InvalidFreeError {
    const around = this.#around(address);
    const freed = this.#freed.get(address);
    if (around !== undefined && address > around.address && address < around.address + around.size) {
      const block = `the live block of ${countBytes(around.size)} at ${formatAddress(around.address)}`;
      const detail = `it is ${countBytes(address - around.address)} inside ${block}`;
      return this.#error(action, address, "interior", detail, around);
    }
    if (freed !== undefined) {
      return this.#error(action, address, "double", `the block of ${countBytes(freed.size)} is already freed`, freed);
    }
    if (around === undefined) {
      return new InvalidFreeError(action, address, "foreign", `the ${this.#name} has no block there`);
    }
    const side = address < around.address ? "before" : "behind";
    const detail = `it is among the bytes that the ${this.#name} watches ${side} the live block of ${around.size} ` +
      `bytes at ${formatAddress(around.address)}`;
    return this.#error(action, address, "foreign", detail, around);
  }

  #error(
    action: string,
    address: Address,
    kind: InvalidFreeKind,
    detail: string,
    history: BlockHistory,
  ): InvalidFreeError {
    return new InvalidFreeError(action, address, kind, detail + historyOf(history), undefined, history);
  }

  /** The live block whose inner block has `address` in it. */
  #around(address: Address): DebugBlock | undefined {
    for (const block of this.#live.values()) {
      const end = block.inner + Math.max(block.innerSize, block.front + block.size + CANARY_SIZE);
      if (address >= block.inner && address < end) return block;
    }
    return undefined;
  }
}
