/**
 * A wrapper that keeps freed blocks from being used again for a while, and finds writes to them.
 *
 * ```text
 *   QuarantineAllocator            records of the live blocks          this file
 *    ├─ WrapperMemory              views, arrays, NativeBuffers        wrapper_memory.ts
 *    ├─ Quarantine                 the queue of freed blocks           quarantine.ts
 *    ▼
 *   inner allocator                both kinds are live blocks of it
 * ```
 *
 * @module
 */
import { AddressMap } from "./address_map.ts";
import { captureStack, historyOf, stackDepth } from "./allocation_site.ts";
import type { Allocator, AllocatorStats, BlockInfo } from "./allocator.ts";
import { assertOptions, assertSize, DEFAULT_ALIGNMENT } from "./arguments.ts";
import { Attempts, reportAll } from "./attempts.ts";
import {
  type BlockHistory,
  countBytes,
  DisposedError,
  formatAddress,
  InvalidFreeError,
  OutOfMemoryError,
} from "./errors.ts";
import { holdIn, onHeldBlocks } from "./held_blocks.ts";
import type { OwningAllocator } from "./owned_blocks.ts";
import type { Address, PageSource } from "./page_source.ts";
import { Quarantine } from "./quarantine.ts";
import type { Finding } from "./reported_problems.ts";
import { ViewedAllocator } from "./viewed_allocator.ts";
import { reportViolation, throwAfterReport } from "./violations.ts";
import { assertWrappable, type WrappedBlock, WrapperMemory } from "./wrapper_memory.ts";
import { isStillThere, lostBlock, notFreed } from "./wrapper_reports.ts";

/** Options of a {@link QuarantineAllocator}. */
export interface QuarantineAllocatorOptions {
  /** The most usable bytes in quarantine; a larger block is freed at once. @defaultValue 16 MiB */
  maxBytes?: number;
  /** The most blocks in quarantine; with 0 there is none. @defaultValue 16384 */
  maxBlocks?: number;
  /**
   * Whether errors say where a block was allocated and freed, and how many frames deep: one to four microseconds and up
   * to half a kilobyte for each stack.
   *
   * @defaultValue false
   */
  stacks?: boolean | number;
}

/** The default of {@link QuarantineAllocatorOptions.maxBytes}. */
const MAX_BYTES = 2 ** 24;

/** The default of {@link QuarantineAllocatorOptions.maxBlocks}. */
const MAX_BLOCKS = 16_384;

/** A live block. It is the inner allocator's block as a whole. */
interface LiveBlock extends WrappedBlock, BlockHistory {
  /** Blocks are numbered in the order of their allocation. */
  readonly number: number;
  requestedSize: number;
  usableSize: number;
}

/**
 * Any allocator, with a quarantine for freed blocks: a stale address does not hit the next block at its place, as there
 * is none for a while, and a write through it is found.
 *
 * `free` fills the whole block with 0xDF and puts it into a queue; the oldest leave it, and are really freed, when more
 * than `maxBlocks` or `maxBytes` are in it. A byte that has changed by then is a `CorruptionError` that says which, and
 * with `stacks` who allocated and freed the block. It is raised once: by `check`, or by whatever call lets the block out,
 * a later `free` or `reallocate` (which then has done nothing else), an allocation that finds no memory, `trim`, dispose.
 *
 * What differs from the {@link Allocator} contract:
 * - A freed block is in quarantine: it is not live, not counted by `stats`, and its address is a double free. The
 *   memory is used again only later: up to `maxBytes` more are committed. A program does not run out of memory because
 *   of it: an allocation that fails empties the quarantine, and is tried again.
 * - A plain view of a freed block shows 0xDF, and writing through it is a use after free. Views of a NativeBuffer are
 *   empty at once, as ever.
 * - `reallocate` puts the old place into quarantine when it moves, unless there is no memory for both places at once.
 *   What `resize` cuts off is not in quarantine.
 * - `trim` empties the quarantine first. Dispose verifies it, disposes the inner allocator, and reports then.
 *
 * The inner allocator belongs to the wrapper: allocate from nothing else in it, and dispose the wrapper only. A block
 * that is freed there all the same is reported as lost when it would leave the quarantine, by `check`, or when its address
 * is given out again; its NativeBuffer, if it has one, is detached at once. A block that the inner allocator refuses to
 * free is set aside: it is reported once, and by the inner allocator's own `check`, and goes at dispose.
 *
 * Costs beside those of the inner allocator: a record on JavaScript's heap for each live and quarantined block, and
 * filling and comparing every byte once.
 *
 * @example
 * ```ts
 * import { Heap, QuarantineAllocator } from "@offheap/alloc";
 *
 * using allocator = new QuarantineAllocator(new Heap(), { maxBytes: 2 ** 20, stacks: true });
 * const address = allocator.allocate(100);
 * const stale = allocator.view(address);
 * allocator.free(address);
 * allocator.allocate(100); // elsewhere
 * stale[0] = 0xdf; // any other value would be a CorruptionError at the end of this scope
 * ```
 */
export class QuarantineAllocator extends ViewedAllocator implements Allocator {
  readonly #inner: OwningAllocator;
  readonly #live = new AddressMap<LiveBlock>();
  readonly #quarantine: Quarantine;
  readonly #memory: WrapperMemory<LiveBlock>;
  readonly #stackDepth: number;
  /** Usable bytes of all live blocks. */
  #liveBytes = 0;
  /** The number of the last block that was allocated. */
  #lastNumber = 0;
  #disposed = false;

  /** Wraps `inner`. */
  constructor(inner: OwningAllocator, options: QuarantineAllocatorOptions = {}) {
    super();
    assertOptions(options);
    const { maxBytes = MAX_BYTES, maxBlocks = MAX_BLOCKS, stacks = false } = options;
    if (maxBytes !== Infinity) assertSize(maxBytes, "maxBytes");
    if (maxBlocks !== Infinity) assertSize(maxBlocks, "maxBlocks");
    this.#stackDepth = stackDepth(stacks);
    assertWrappable(inner);
    this.#inner = inner;
    this.#quarantine = new Quarantine(inner, maxBlocks, maxBytes);
    const hold = holdIn(inner);
    if (hold !== undefined) onHeldBlocks(this, hold);
    this.#memory = new WrapperMemory(this, inner, {
      name: "quarantine allocator",
      isDisposed: () => this.#disposed,
      find: (address) => this.#live.get(address),
      invalid: (address, action) => this.#invalid(address, action),
    });
  }

  /** Where the memory comes from. */
  get source(): PageSource {
    return this.#inner.source;
  }

  /** Count of blocks in quarantine. */
  get quarantinedBlocks(): number {
    return this.#quarantine.count;
  }

  /** Usable bytes of the blocks in quarantine. */
  get quarantinedBytes(): number {
    return this.#quarantine.byteLength;
  }

  /** See {@link Allocator.allocate}. */
  allocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    this.#memory.assertNotDisposed("allocate");
    const address = this.#insist(() => this.#inner.allocate(size, alignment));
    return this.#add(address, size, alignment);
  }

  /** See {@link Allocator.allocateZeroed}. */
  allocateZeroed(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    this.#memory.assertNotDisposed("allocate");
    const address = this.#insist(() => this.#inner.allocateZeroed(size, alignment));
    return this.#add(address, size, alignment);
  }

  /** See {@link Allocator.resize}. As the inner allocator can. */
  resize(address: Address, size: number): boolean {
    const block = this.#memory.liveToResize(address, size, "resize");
    return this.#resize(block, size);
  }

  /** See {@link Allocator.reallocate}. In place where `resize` can do it; else the old place goes into quarantine. */
  reallocate(address: Address, size: number): Address {
    if (address === 0) return this.allocate(size);
    const block = this.#memory.liveToResize(address, size, "reallocate");
    if (size === 0) {
      if (!this.#release(block)) throw notFreed("reallocate", address);
      return 0;
    }
    return this.#resize(block, size) ? address : this.#move(block, size);
  }

  #resize(block: LiveBlock, size: number): boolean {
    const { address, usableSize } = block;
    if (!this.#inner.resize(address, size)) return false;
    block.requestedSize = size + 0; // -0 is 0
    block.usableSize = this.#inner.usableSize(address);
    this.#liveBytes += block.usableSize - usableSize;
    return true;
  }

  #move(block: LiveBlock, size: number): Address {
    const { address, alignment, requestedSize } = block;
    const isViewable = Math.max(size, requestedSize) <= this.source.maxWrapBytes;
    const moved = isViewable ? this.tryAllocate(size, alignment) : 0;
    if (moved === 0) {
      this.#assertStillLive(block, "reallocate");
      // The inner allocator may manage without room for both, and has the words for it when it cannot.
      const place = this.#inner.reallocate(address, size);
      this.#remove(block);
      return this.#add(place, size, alignment);
    }
    const target = this.#live.get(moved)!;
    try {
      this.#assertStillLive(block, "reallocate");
      this.#memory.copy(block, target, Math.min(size, requestedSize));
      if (!this.#release(block)) throw notFreed("reallocate", address);
    } catch (error) {
      if (this.#live.get(moved) === target) {
        this.#remove(target);
        this.#inner.free(moved);
      }
      throw error;
    }
    return moved;
  }

  /** What let blocks out of quarantine can have called the hook of violations, and the hook can have freed the block. */
  #assertStillLive(block: LiveBlock, action: string): void {
    if (this.#live.get(block.address) === block) return;
    this.#memory.assertNotDisposed(action);
    throwAfterReport(this.#invalid(block.address, action));
  }

  /** See {@link Allocator.free}. The block goes into quarantine, and the oldest ones may leave it. */
  free(address: Address): void {
    const block = this.#memory.liveToFree(address);
    if (block !== undefined) this.#release(block);
  }

  /** Frees a live block; false when that is a violation and the hook returned. The block is as it was then. */
  #release(block: LiveBlock): boolean {
    const isAdmitted = this.#quarantine.makeRoom(block.usableSize);
    // The hook can have been called, and have freed or resized the block.
    if (this.#memory.liveToFree(block.address) !== block) return false;
    const { address, requestedSize, usableSize, allocatedAt } = block;
    // One that cannot be looked at, for want of memory, passes as one that is too large does.
    const bytes = isAdmitted ? this.#quarantine.view(block) : undefined;
    if (bytes === null || (!isAdmitted && !isStillThere(this.#inner, address))) {
      const problem = lostBlock("free", block);
      this.#quarantine.reported.note(block, problem);
      reportViolation(problem);
      return false;
    }
    if (bytes !== undefined) this.#memory.revoke(address);
    else if (!this.#memory.freeInner(this.#inner, block)) return false;
    const freed = { address, requestedSize, usableSize, allocatedAt, freedAt: captureStack("freed", this.#stackDepth) };
    if (bytes !== undefined) this.#quarantine.add(freed, bytes);
    else this.#quarantine.remember(freed);
    this.#remove(block);
    return true;
  }

  /** See {@link Allocator.blocks}. In order of allocation. */
  blocks(): IterableIterator<BlockInfo> {
    this.#memory.assertNotDisposed("walk the blocks");
    return this.#walk();
  }

  *#walk(): IterableIterator<BlockInfo> {
    for (const block of this.#live.values().sort((a, b) => a.number - b.number)) {
      const { address, requestedSize, usableSize, alignment } = block;
      if (this.#live.get(address) === block) yield { address, requestedSize, usableSize, alignment };
    }
  }

  /** See {@link Allocator.stats}. Blocks in quarantine count as committed and not as live. */
  stats(): AllocatorStats {
    this.#memory.assertNotDisposed("report");
    return { ...this.#inner.stats(), liveBlocks: this.#live.size, liveBytes: this.#liveBytes };
  }

  /** See {@link Allocator.check}. Verifies every byte in quarantine, and reports what was not reported before. */
  check(): void {
    this.#memory.assertNotDisposed("check");
    const found = [...this.#problems("check"), ...this.#quarantine.problems("check")];
    reportAll(this.#quarantine.reported.news(found), () => this.#inner.check());
  }

  /** See {@link Allocator.trim}. Empties the quarantine first. */
  trim(): number {
    this.#memory.assertNotDisposed("trim");
    const before = this.#inner.stats().committedBytes;
    this.#quarantine.flush();
    const released = Math.max(0, before - this.#inner.stats().committedBytes);
    return released + this.#inner.trim();
  }

  /**
   * Frees everything and disposes the inner allocator. A second call does nothing.
   *
   * @throws {CorruptionError} When a block in quarantine was written to, and this was not reported before; everything is
   * given back all the same.
   */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    const problems = this.#quarantine.reported.news(this.#problemsAtEnd());
    this.#disposed = true;
    const attempts = new Attempts();
    attempts.make(() => this.#memory.dispose());
    this.#live.clear();
    attempts.make(() => this.#inner[Symbol.dispose]());
    attempts.report(problems);
    attempts.end();
  }

  /** An error for each live block that the inner allocator has no more. */
  *#problems(action: string): Iterable<Finding> {
    for (const block of this.#live.values()) {
      const { address, usableSize } = block;
      const isThere = isStillThere(this.#inner, address) && this.#inner.usableSize(address) === usableSize;
      if (!isThere) yield [block, lostBlock(action, block)];
    }
  }

  #problemsAtEnd(): Finding[] {
    try {
      return [...this.#problems("dispose"), ...this.#quarantine.problems("dispose")];
    } catch (error) {
      // Somebody has disposed the inner allocator: there is nothing left to be looked at.
      if (error instanceof DisposedError) return [];
      throw error;
    }
  }

  /** Lets `make` allocate; when there is no memory, once more with an empty quarantine. */
  #insist(make: () => Address): Address {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof OutOfMemoryError) || this.#quarantine.count === 0) throw error;
      this.#quarantine.flush();
      return make();
    }
  }

  #add(address: Address, size: number, alignment: number): Address {
    const lost = this.#live.get(address);
    if (lost !== undefined) {
      this.#memory.revoke(address);
      this.#remove(lost);
    }
    const block: LiveBlock = {
      number: ++this.#lastNumber,
      address,
      inner: address,
      requestedSize: size + 0,
      usableSize: this.#inner.usableSize(address),
      alignment: Math.max(alignment, DEFAULT_ALIGNMENT),
      allocatedAt: captureStack("allocated", this.#stackDepth),
    };
    this.#live.set(address, block);
    this.#liveBytes += block.usableSize;
    const lostInQuarantine = this.#quarantine.forget(address);
    if (lost !== undefined || lostInQuarantine !== undefined) this.#reportLost(block, (lost ?? lostInQuarantine)!);
    return address;
  }

  /** Reports the block that was at an address which the inner allocator has given out again, for `block`. */
  #reportLost(block: LiveBlock, lost: BlockHistory & { readonly address: Address }): void {
    const problem = lostBlock("keep", lost);
    if (!this.#quarantine.reported.note(lost, problem)) return;
    try {
      reportViolation(problem);
    } catch (error) {
      this.#remove(block);
      this.#inner.free(block.address);
      throw error;
    }
  }

  #remove(block: LiveBlock): void {
    this.#live.delete(block.address);
    this.#liveBytes -= block.usableSize;
  }

  /** Why there is no live block at `address`. Time in the number of blocks. */
  #invalid(address: Address, action: string): InvalidFreeError {
    let below: LiveBlock | undefined;
    for (const block of this.#live.values()) {
      if (block.address < address && !(block.address < (below?.address ?? 0))) below = block;
    }
    const offset = address - (below?.address ?? 0);
    if (below !== undefined && offset < below.usableSize) {
      const detail = `it is ${countBytes(offset)} inside the live block of ${countBytes(below.requestedSize)} at ` +
        formatAddress(below.address) + historyOf(below);
      return new InvalidFreeError(action, address, "interior", detail, formatAddress(address), below);
    }
    const detail = "this quarantine allocator has no block there and had none that it remembers";
    return this.#quarantine.explain(address, action) ?? new InvalidFreeError(action, address, "foreign", detail);
  }
}
