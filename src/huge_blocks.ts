/**
 * Huge blocks: each a reservation of its own, given back to the operating system as soon as it is freed.
 *
 * They are for what no region should hold: blocks that would leave large holes, and alignments above a mebibyte. Making
 * one takes two system calls (up to four when it is aligned beyond an OS page) and freeing it one; its memory is fresh,
 * so it is zero without being cleared. A huge block is wrapped when its first view is asked for, and that wrap is
 * detached when it is freed: unlike those of smaller blocks, views of a freed huge block are empty at once. Memory that
 * the system does not take back then is kept and tried again (unreleased.ts); freeing never fails because of it. When a
 * block becomes huge, or outgrows its mapping, its OS pages move to the new one where the source can do that.
 *
 * @module
 */
import { AddressQueue } from "./address_queue.ts";
import { alignDown, alignUp } from "./arguments.ts";
import { type WrappedBytes, wrappedBytes } from "./bytes.ts";
import { wrapWhole } from "./commit_wrapped.ts";
import { clearMemory, copyMemory } from "./copy_memory.ts";
import { CorruptionError, formatAddress, OutOfMemoryError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";
import { Unreleased } from "./unreleased.ts";
import { throwAfterReport } from "./violations.ts";

/** Addresses of freed huge blocks that are remembered, so that freeing one twice is told from freeing a stranger. */
const REMEMBERED = 1024;

/**
 * Less than this many bytes are copied: moving so many costs a system call, some 25 microseconds at most, and copying them
 * to memory that was never touched 130 (docs/performance.md).
 */
const MOVE_LEAST = 2 ** 18;

/** One huge block. */
export interface HugeBlock {
  /** Where it starts. */
  readonly address: Address;
  /** Bytes reserved and committed for it. */
  readonly byteLength: number;
  /** Bytes asked for. */
  requested: number;
  /** Alignment asked for. */
  readonly alignment: number;
  /** Whether a NativeBuffer owns it. */
  owned: boolean;
  /** Its wrap, once a view was asked for. */
  wrapped: WrappedBytes | undefined;
}

/** The huge blocks of one heap, by address. */
export class HugeBlocks {
  readonly #source: PageSource;
  readonly #blocks = new Map<Address, HugeBlock>();
  readonly #freed = new AddressQueue<{ readonly address: Address }>();
  /** Bytes of all live huge blocks. */
  byteLength = 0;
  /** Bytes of the wraps of live huge blocks. */
  wrappedBytes = 0;
  /** What could not be unmapped. */
  readonly unreleased: Unreleased;

  /** Starts with none. */
  constructor(source: PageSource) {
    this.#source = source;
    this.unreleased = new Unreleased(source);
  }

  /** Count of live huge blocks. */
  get count(): number {
    return this.#blocks.size;
  }

  /**
   * Maps a block of `size` bytes that can grow in place to `room`.
   *
   * @throws {OutOfMemoryError} When the source has no such memory.
   */
  allocate(size: number, alignment: number, room = size): HugeBlock {
    const source = this.#source;
    const byteLength = alignUp(Math.max(Math.ceil(room), 1), Math.max(source.pageSize, source.granularity));
    if (byteLength > Number.MAX_SAFE_INTEGER) {
      throw new OutOfMemoryError(`Cannot map ${size} bytes: no machine addresses so many`, size);
    }
    const address = source.reserve(byteLength, Math.max(alignment, source.pageSize));
    try {
      source.commit(address, byteLength);
    } catch (error) {
      this.unreleased.unmap({ address, byteLength });
      throw error;
    }
    const block = { address, byteLength, requested: size, alignment, owned: false, wrapped: undefined };
    this.#blocks.set(address, block);
    this.#freed.delete(address);
    this.byteLength += byteLength;
    return block;
  }

  /** The live block that starts at `address`. */
  at(address: Address): HugeBlock | undefined {
    return this.#blocks.get(address);
  }

  /** Whether a block at `address` was freed and none started there since (the last {@link REMEMBERED} are known). */
  wasFreed(address: Address): boolean {
    return this.#freed.get(address) !== undefined;
  }

  /** The live block that has `address` inside it. Linear in the number of huge blocks: for error messages only. */
  around(address: Address): HugeBlock | undefined {
    for (const block of this.#blocks.values()) {
      if (address >= block.address && address < block.address + block.byteLength) return block;
    }
    return undefined;
  }

  /** The live block whose wrap is `buffer`. Linear in the number of huge blocks. */
  wrappedIn(buffer: ArrayBufferLike): HugeBlock | undefined {
    if (this.wrappedBytes === 0) return undefined;
    for (const block of this.#blocks.values()) {
      if (block.wrapped?.bytes.buffer === buffer) return block;
    }
    return undefined;
  }

  /**
   * A view of the first `byteLength` bytes.
   *
   * @throws {RangeError} When that is more than the runtime can wrap.
   */
  view(block: HugeBlock, byteLength: number): Uint8Array<ArrayBuffer> {
    const { maxWrapBytes } = this.#source;
    if (byteLength > maxWrapBytes) {
      throw new RangeError(
        `Cannot view ${byteLength} bytes at ${formatAddress(block.address)}: ` +
          `this runtime's largest ArrayBuffer has ${maxWrapBytes} bytes`,
      );
    }
    const { buffer, byteOffset } = this.#wrap(block).bytes;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }

  #wrap(block: HugeBlock): WrappedBytes {
    if (block.wrapped === undefined) {
      const length = Math.min(block.byteLength, this.#source.maxWrapBytes);
      block.wrapped = wrappedBytes(wrapWhole(this.#source, block.address, length));
      this.wrappedBytes += length;
    }
    if (block.wrapped.bytes.byteLength === 0) {
      const what = `Cannot use the huge block at ${formatAddress(block.address)}`;
      throwAfterReport(new CorruptionError(`${what}: its ArrayBuffer was detached from outside`));
    }
    return block.wrapped;
  }

  /**
   * Copies `length` bytes between two blocks of whatever kind, of which the first is to be freed: it may be without
   * contents afterwards. Whole OS pages are moved to a huge block where the source can do that. When it throws, the first
   * is as it was.
   */
  copy(from: Address, to: Address, length: number): void {
    const source = this.#source;
    const isMovable = length >= MOVE_LEAST && this.#blocks.has(to) && from % source.pageSize === 0;
    const whole = isMovable && source.move !== undefined ? alignDown(length, source.pageSize) : 0;
    // The rest first: when it cannot be copied, nothing has been moved.
    if (whole < length) copyMemory(source, from + whole, to + whole, length - whole);
    if (whole > 0 && !source.move!(from, to, whole)) copyMemory(source, from, to, whole);
  }

  /** Clears `length` bytes of a block that may be longer than one wrap. */
  clear(address: Address, length: number): void {
    clearMemory(this.#source, address, length);
  }

  /** Detaches a block's views and unmaps it. */
  free(block: HugeBlock): void {
    this.#unwrap(block);
    this.unreleased.unmap(block);
    this.#blocks.delete(block.address);
    this.byteLength -= block.byteLength;
    this.#freed.push({ address: block.address });
    this.#freed.keep(REMEMBERED);
  }

  #unwrap(block: HugeBlock): void {
    if (block.wrapped === undefined) return;
    const { bytes } = block.wrapped;
    const length = Math.min(block.byteLength, this.#source.maxWrapBytes);
    block.wrapped = undefined;
    this.wrappedBytes -= length;
    this.#source.unwrap(bytes);
  }

  /** The live blocks, in order of allocation. */
  values(): Iterable<HugeBlock> {
    return this.#blocks.values();
  }

  /** Detaches the views of all blocks. */
  unwrapAll(): void {
    for (const block of this.#blocks.values()) this.#unwrap(block);
  }

  /**
   * Verifies the records of the blocks. Time in their number.
   *
   * @throws {CorruptionError} When two disagree.
   */
  check(): void {
    let bytes = 0;
    let wrapped = 0;
    for (const [key, { address, byteLength, requested, alignment, wrapped: wrap }] of this.#blocks) {
      if (key !== address || address % alignment !== 0 || requested > byteLength || this.wasFreed(address)) {
        throw new CorruptionError(
          `Cannot trust the huge block at ${formatAddress(key)}: its record disagrees with itself`,
        );
      }
      bytes += byteLength;
      if (wrap !== undefined) wrapped += Math.min(byteLength, this.#source.maxWrapBytes);
    }
    if (bytes !== this.byteLength || wrapped !== this.wrappedBytes) {
      const counted = `${this.byteLength} and ${this.wrappedBytes} are counted`;
      throw new CorruptionError(
        `Cannot trust the huge blocks: they have ${bytes} bytes, ${wrapped} wrapped; ${counted}`,
      );
    }
  }

  /** Gives everything back as one `attempt`; the views are detached already. */
  dispose(attempt: (giveBack: () => void) => void): void {
    const blocks = [...this.#blocks.values()];
    this.#blocks.clear();
    this.byteLength = 0;
    attempt(() => this.unreleased.dispose(blocks));
  }
}
