/**
 * The heap without its fast paths: every rule of the `Allocator` contract, for every kind of block.
 *
 * `Heap` answers the usual calls by itself and comes here with all others: wrong arguments, bad addresses, blocks that a
 * NativeBuffer owns, large blocks for which there is no run, alignments above 1 KiB, every block when there is a limit, and
 * every free when freed memory is cleared or its reuse delayed. What is decided here and nowhere else:
 *
 * - bad addresses: {@link HeapCore.live} is the one place that turns an address into a block or an error;
 * - a page source that calls back: while it is at work every change is refused, before it has begun. The fast paths are
 *   shut then, so that all of them come here.
 *
 * What a call that is let through does to the blocks, and the limit, is in block_changes.ts.
 *
 * @module
 */
import type { AllocatorStats, BlockInfo } from "./allocator.ts";
import { assertAddress, assertAlignment, assertSize } from "./arguments.ts";
import { BlockChanges } from "./block_changes.ts";
import type { LiveBlock } from "./block_lookup.ts";
import { BlockMemory, type WrappedMemory } from "./block_memory.ts";
import { Blocks } from "./blocks.ts";
import { clearBytes } from "./bytes.ts";
import {
  type AllocatorError,
  CorruptionError,
  DisposedError,
  formatAddress,
  InvalidFreeError,
  reentered,
} from "./errors.ts";
import { type HeapLayout, layoutOf } from "./heap_layout.ts";
import type { HeapRules } from "./heap_options.ts";
import { heapStats } from "./heap_stats.ts";
import { OwnedBlocks, type OwningAllocator, throwOwned } from "./owned_blocks.ts";
import type { Address } from "./page_source.ts";
import { linkWithOwned, OWNED, SLACK_MASK } from "./page_table.ts";
import { GRANULE } from "./size_class.ts";
import type { SmallPages } from "./small_pages.ts";
import { addressOfView, type ViewOrigins } from "./view_origin.ts";
import { reportViolation, throwAfterReport } from "./violations.ts";
import { WatchedSource } from "./watched_source.ts";

/** The complete, careful half of one heap. */
export class HeapCore implements ViewOrigins {
  /** Where the blocks are. */
  readonly blocks: Blocks;
  /** The bytes of the blocks. */
  readonly memory: BlockMemory;
  /** The blocks that NativeBuffers own. */
  readonly owned: OwnedBlocks;
  /** Whether blocks may go without being seen here: no limit, nothing secure, not disposed, the page source at rest. */
  isPlain = false;
  /** Whether blocks may not even come without being seen here: there is a limit, or the heap cannot be changed now. */
  isCounted = true;
  readonly #allocator: OwningAllocator;
  readonly #changes: BlockChanges;
  readonly #first: SmallPages;
  readonly #rules: HeapRules;
  readonly #renew: () => void;
  /** Whether the page source is at work for this heap. */
  #isBusy = false;
  /**
   * Whether the page source was at work since the heap renewed its copies. They are of the tables, which grow with the regions,
   * and a region is committed by the source.
   */
  #isStale = false;
  /** The links when the copies were renewed. Where the source is not lazy, their table is JavaScript's and grows by itself. */
  #links: Uint16Array = new Uint16Array(0);
  /** Whether callers have the heap: it is made, and not disposed. */
  #isOpen = false;
  #disposed = false;

  /**
   * Reserves the first range for the blocks of `heap`. `renew` is called after whatever can add or drop a region or
   * lengthen a table: what `heap` has copied of them for its fast paths is stale then.
   */
  constructor(heap: OwningAllocator, rules: HeapRules, renew: () => void) {
    this.#allocator = heap;
    this.#rules = rules;
    this.#renew = renew;
    this.blocks = new Blocks(new WatchedSource(heap.source, (isBusy) => this.#watch(isBusy)), rules);
    this.#first = this.blocks.ranges[0]!;
    this.memory = new BlockMemory(this.blocks);
    this.#changes = new BlockChanges(this.blocks, this.memory, rules, () => this.renew());
    this.owned = new OwnedBlocks(heap, {
      setOwned: (address, owned) => this.#setOwned(address, owned),
      replace: (address, size) => this.#replace(this.live(address, "resize"), size),
      move: (from, to, length) => this.memory.copy(this.live(from, "resize"), this.live(to, "resize"), length),
      isFresh: () => this.blocks.isFresh,
    });
    this.#isOpen = true;
    this.#setPaths();
  }

  /** Called before and after every call of the page source. */
  #watch(isBusy: boolean): void {
    if (isBusy) this.#assertAtRest("use the page source");
    this.#isBusy = isBusy;
    this.#isStale = true;
    if (!this.#isOpen) return;
    this.#setPaths();
    this.#renew();
  }

  /** Opens or shuts the ways around this class. */
  #setPaths(): void {
    const { limit, zeroOnFree, random, delay } = this.#rules;
    this.isCounted = limit !== Infinity || this.#isBusy;
    this.isPlain = !this.isCounted && !zeroOnFree && random === undefined && delay === undefined;
    // What is in a region that somebody has detached cannot be cleared, and so not be freed.
    this.owned.freesAnyLive = !this.#isBusy && !zeroOnFree;
  }

  /** Throws when the page source is at work: whoever wants to change the heap was called by it. */
  #assertAtRest(action: string, address?: Address): void {
    if (this.#isBusy) throw reentered(action, address);
  }

  /**
   * Places a block within the limit.
   *
   * @throws {OutOfMemoryError} When there is no place for it, or the limit would be exceeded.
   */
  allocate(size: number, alignment: number): Address {
    assertSize(size);
    assertAlignment(alignment);
    this.assertNotDisposed("allocate");
    // Its text costs more to make than a block, so only an error has it.
    if (this.#isBusy) this.#assertAtRest(`allocate ${size} bytes`);
    return this.#changes.place(size, alignment);
  }

  /** The same, zeroed; memory fresh from the operating system is not cleared again. */
  allocateZeroed(size: number, alignment: number): Address {
    this.blocks.isFresh = false;
    const address = this.#allocator.allocate(size, alignment);
    if (!this.blocks.isFresh && size !== 0) this.clear(address, size);
    return address;
  }

  /** Frees the block at `address`; does nothing for 0. */
  free(address: Address): void {
    assertAddress(address);
    this.assertUsable("free", address);
    if (address === 0) return;
    this.#assertAtRest("free", address);
    const block = this.blocks.find(address);
    if (block === undefined) return reportViolation(this.#invalid(address, "free"));
    if (!block.owned) return this.#changes.release(block);
    // Its owner has it until it goes, so what can fail comes first.
    if (this.#changes.isCleared(block)) this.memory.around(block, 1);
    this.owned.revoke(address);
    // A block like any other now, but looked up anew: the page source was asked to end a wrap, and can have done anything.
    this.#allocator.free(address);
  }

  /** The index of the link of the live small block of the first range that starts at `address`; 0 when none does. */
  #smallLink(address: Address): number {
    const { range } = this.#first;
    // Not divided by an imported constant, which takes V8 four times as long.
    const quotient = (address - range.base) * 0.0625;
    const granule = quotient | 0;
    return granule === quotient && (granule >>> 8) < range.endUnit ? this.#first.liveLink(granule) : 0;
  }

  #setOwned(address: Address, owned: boolean): void {
    const link = this.#smallLink(address);
    const { links } = this.#first;
    if (link === 0) this.blocks.setOwned(this.live(address, "free"), owned);
    else links[link] = linkWithOwned(links[link]!, owned);
  }

  /**
   * The short way to free a small block of the first range, for heaps that are not plain. False, and not freed, when
   * `address` is not that of one, it cannot be cleared, or the page source did something to it when its owner went.
   */
  freeSmall(address: Address): boolean {
    if (this.#disposed || this.#isBusy || typeof address !== "number") return false;
    const pages = this.#first;
    const { range } = pages;
    const index = this.#smallLink(address);
    const link = pages.links[index]!;
    if (index === 0) return false;
    const granule = (address - range.base) / GRANULE;
    const size = pages.slotSize(granule);
    const region = this.#rules.zeroOnFree ? range.regionOf(granule >>> 8) : undefined;
    if (region?.bytes.byteLength === 0) return false;
    if (link >= OWNED) {
      this.owned.revoke(address);
      // The page source was asked to end a wrap, and can have done anything: then the block is looked up anew.
      if (pages.links[index] !== linkWithOwned(link, false) || region?.bytes.byteLength === 0) return false;
    }
    // Last: a wrapper around the heap fills its block when it is revoked.
    if (region !== undefined) clearBytes(region, address - region.address, size);
    this.#changes.releaseSmall(pages, granule, index, size - (link & SLACK_MASK));
    return true;
  }

  /** A view of a live block. */
  view(address: Address, byteLength?: number): Uint8Array<ArrayBuffer> {
    const block = this.live(address, "view");
    if (byteLength === undefined) return this.memory.view(block, Uint8Array, block.requestedSize);
    assertSize(byteLength, "byteLength");
    if (byteLength > block.usableSize) {
      const where = formatAddress(address);
      throw new RangeError(`Cannot view ${byteLength} bytes at ${where}: the block has ${block.usableSize}`);
    }
    return this.memory.view(block, Uint8Array, byteLength);
  }

  /** The wrapped memory around the first `byteLength` bytes of a live block. */
  around(address: Address, byteLength: number): WrappedMemory {
    return this.memory.around(this.live(address, "view"), byteLength);
  }

  /** Clears the first `size` bytes of the block just allocated at `address`. */
  clear(address: Address, size: number): void {
    this.#changes.clear(this.live(address, "write to"), size);
  }

  /** What every region holds. */
  layout(): HeapLayout {
    this.assertNotDisposed("report");
    return layoutOf(this.blocks);
  }

  /** The live blocks, as callers may know them. */
  walk(): IterableIterator<BlockInfo> {
    this.assertNotDisposed("walk the blocks");
    return this.#walk();
  }

  *#walk(): IterableIterator<BlockInfo> {
    for (const { address, requestedSize, usableSize, alignment } of this.blocks.live()) {
      yield { address, requestedSize, usableSize, alignment };
    }
  }

  /** Frees the block that a view starts at. */
  freeArray(array: ArrayBufferView): void {
    const address = this.#addressOf(array, "free");
    if (typeof address === "number") this.#allocator.free(address);
    else reportViolation(address);
  }

  /** Gives the block at `address` a new size in place, and says whether that could be done. */
  resize(address: Address, size: number): boolean {
    const block = this.live(address, "resize");
    assertSize(size);
    this.#assertAtRest("resize", address);
    if (block.owned) throwOwned(address, "resize");
    return this.#changes.resize(block, size);
  }

  /** Gives the block at `address`, which is not 0, a new size, moving it when it must. */
  reallocate(address: Address, size: number): Address {
    const block = this.live(address, "reallocate");
    assertSize(size);
    this.#assertAtRest("reallocate", address);
    if (block.owned) throwOwned(address, "reallocate");
    if (size !== 0) return this.#changes.reallocate(block, size);
    this.#changes.release(block);
    return 0;
  }

  /**
   * The live block at `address`.
   *
   * @throws {InvalidFreeError} When there is none; it says why, and was reported.
   */
  live(address: Address, action: string): LiveBlock {
    assertAddress(address);
    this.assertUsable(action, address);
    return this.blocks.find(address) ?? throwAfterReport(this.#invalid(address, action));
  }

  /** The error for an `address` that is not that of a live block. */
  #invalid(address: Address, action: string): InvalidFreeError {
    const { kind, detail } = this.blocks.explain(address);
    return new InvalidFreeError(action, address, kind, detail);
  }

  /** The address of the first byte of a view of this heap's memory. */
  addressOf(view: ArrayBufferView): Address {
    const address = this.#addressOf(view, "take the address of");
    return typeof address === "number" ? address : throwAfterReport(address);
  }

  /** The address of the first byte of a view, or the violation that it is of no memory of this heap. */
  #addressOf(view: ArrayBufferView, action: string): Address | AllocatorError {
    this.assertNotDisposed(`${action} a view`);
    return addressOfView(view, action, "heap", this);
  }

  /** The address of byte 0 of a buffer that views were made on, those of NativeBuffers included. */
  originOf(buffer: ArrayBufferLike): Address | undefined {
    return this.memory.originOf(buffer) ?? this.owned.originOf(buffer);
  }

  /** The figures of this moment. */
  stats(): AllocatorStats {
    this.assertNotDisposed("report");
    return heapStats(this.blocks, this.#changes.peakCommitted, this.#rules.limit);
  }

  /** Verifies every record. */
  check(): void {
    this.assertNotDisposed("check");
    this.#assertAtRest("check");
    try {
      this.blocks.check();
    } catch (error) {
      if (error instanceof CorruptionError) throwAfterReport(error);
      throw error;
    }
  }

  /** Gives free memory back to the source, and returns how many bytes. */
  trim(): number {
    this.assertNotDisposed("trim");
    this.#assertAtRest("trim");
    try {
      return this.blocks.trim();
    } finally {
      this.#renew();
    }
  }

  /** Once a block has its place: notes the peak and has the heap renew its copies, if they can be stale. */
  renew(): void {
    const { links } = this.#first;
    if (!this.#isStale && links === this.#links) return;
    this.#isStale = false;
    this.#links = links;
    this.#changes.notePeak();
    this.#renew();
  }

  /** As `assertNotDisposed`, for a call with an address: its words cost more than the call, so only an error has them. */
  assertUsable(action: string, address: Address): void {
    if (this.#disposed) this.assertNotDisposed(`${action} ${formatAddress(address)}`);
  }

  /** Throws when the heap is disposed. */
  assertNotDisposed(action: string): void {
    if (this.#disposed) throw new DisposedError(action, "heap");
  }

  /** Detaches and gives back everything; the second time nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#assertAtRest("dispose the heap");
    this.#disposed = this.isCounted = true;
    this.#isOpen = this.isPlain = false;
    try {
      this.owned.revokeAll();
    } finally {
      this.blocks.dispose();
    }
  }

  /** Allocates what is about to take the place of a block. */
  #replace(block: LiveBlock, size: number): Address {
    if (this.#isBusy) this.#assertAtRest(`allocate ${size} bytes`);
    return this.#changes.place(size, block.alignment, block);
  }
}
