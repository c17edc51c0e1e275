/**
 * A wrapper that explains what went wrong: overruns to the byte, bad frees with the stacks of both parties, leaks by the
 * line of code that allocated.
 *
 * ```text
 *   DebugAllocator             the rules                               this file
 *    ├─ DebugBlocks            live blocks, the last freed ones        debug_blocks.ts
 *    ├─ DebugCanaries          bytes around each block                 debug_canaries.ts, canary.ts, poison.ts
 *    ├─ mismatch, outOfMemory  what the errors say                     debug_reports.ts, wrapper_reports.ts
 *    ├─ WrapperMemory          views, arrays, NativeBuffers            wrapper_memory.ts
 *    ├─ leaks, heapProfile     by allocation site                      leak_report.ts, heap_profile.ts
 *    ▼
 *   inner allocator            each block in one of its own, 32 bytes larger at least; drawn in canary.ts
 * ```
 *
 * Invariant: a block is live here exactly when its inner block is, unless somebody has used the inner allocator directly: that
 * is reported by the next call that concerns the block.
 *
 * @module
 */
import { captureStack } from "./allocation_site.ts";
import type { Allocator, AllocatorStats, BlockInfo } from "./allocator.ts";
import { assertAlignment, assertSize, DEFAULT_ALIGNMENT } from "./arguments.ts";
import { Attempts, reportAll } from "./attempts.ts";
import { CANARY_SIZE, drawCanaries, overwrite } from "./canary.ts";
import { DebugBlock, DebugBlocks } from "./debug_blocks.ts";
import { DebugCanaries } from "./debug_canaries.ts";
import { type DebugAllocatorOptions, readDebugOptions } from "./debug_options.ts";
import { mismatch, outOfMemory } from "./debug_reports.ts";
import { describeValue, OutOfMemoryError, overLimit } from "./errors.ts";
import { atExit } from "./exit_hook.ts";
import { type HeapProfile, type HeapProfileKind, makeHeapProfile, SiteTotals } from "./heap_profile.ts";
import { holdIn, onHeldBlocks } from "./held_blocks.ts";
import { type LeakReport, leakReport } from "./leak_report.ts";
import { LeakScope } from "./leak_scope.ts";
import type { OwningAllocator } from "./owned_blocks.ts";
import type { Address, PageSource } from "./page_source.ts";
import { FREED_BYTE } from "./poison.ts";
import { ViewedAllocator } from "./viewed_allocator.ts";
import { reportViolation } from "./violations.ts";
import { assertWrappable, WrapperMemory } from "./wrapper_memory.ts";
import { lostBlock, notFreed } from "./wrapper_reports.ts";

/**
 * Any allocator, with every mistake explained.
 *
 * Each block has 16 known bytes before it and behind it, to the byte, and what is left of the inner block is known too.
 * A byte that was changed there is a `CorruptionError` whose `byte` says which, what it should be and what it is. A free
 * of what is no live block says whether the block was freed before, with the stacks of its allocation and of the first
 * free (the error's own stack is that of the second). `free(address, size, alignment)` checks what is handed back.
 *
 * What differs from the {@link Allocator} contract:
 * - `usableSize` is the size that was asked for, so that every byte beyond is watched.
 * - Fresh blocks hold 0xD0, freed memory 0xDF until it is used again, what is watched 0xDC and 0xDE.
 * - A block is not freed, resized or moved while a byte around it is wrong: the call reports that and does nothing.
 * - A block that no single ArrayBuffer can show (above 4 GiB on Bun) is not watched and not filled.
 *
 * The inner allocator belongs to the wrapper: allocate from nothing else in it, and dispose the wrapper only. A block
 * that is freed there all the same is reported as lost by the next call that concerns it; its NativeBuffer, if it has one,
 * is detached at once. Costs: two stacks and a record on JavaScript's heap for each block, writing every byte twice, 32
 * bytes and up to an alignment more for each block. Reports take time in the number of live blocks.
 *
 * @example
 * ```ts
 * import { DebugAllocator, Heap } from "@offheap/alloc";
 *
 * using debug = new DebugAllocator(new Heap(), { reportLeaks: true });
 * const kept = debug.allocate(1000);
 * debug.view(kept).fill(1);
 * console.log(`${debug.leaks()}`); // 1 site, 1 block, 1,000 bytes: and the line above
 * debug.free(kept);
 * ```
 */
export class DebugAllocator extends ViewedAllocator implements Allocator {
  readonly #inner: OwningAllocator;
  readonly #blocks: DebugBlocks;
  readonly #memory: WrapperMemory<DebugBlock>;
  readonly #canaries: DebugCanaries;
  readonly #totals: SiteTotals | undefined;
  readonly #stackDepth: number;
  readonly #fills: boolean;
  readonly #limit: number;
  readonly #onLeaks: ((report: LeakReport) => void) | undefined;
  #forgetExit: () => void = () => {};
  #disposed = false;

  /** Wraps `inner`. */
  constructor(inner: OwningAllocator, options: DebugAllocatorOptions = {}) {
    super();
    const settings = readDebugOptions(options);
    assertWrappable(inner);
    this.#inner = inner;
    this.#stackDepth = settings.stackDepth;
    this.#fills = settings.fill;
    this.#limit = settings.limit;
    this.#onLeaks = settings.onLeaks;
    this.#totals = settings.totals ? new SiteTotals() : undefined;
    this.#blocks = new DebugBlocks("debug allocator", settings.remember);
    this.#canaries = new DebugCanaries(inner, this.#blocks, settings);
    this.#memory = new WrapperMemory(this, inner, {
      name: "debug allocator",
      isDisposed: () => this.#disposed,
      find: (address) => this.#blocks.find(address),
      invalid: (address, action) => this.#blocks.invalid(address, action),
      replace: (block, size) => this.#replace(block, size).address,
    });
    const holdInner = holdIn(inner);
    onHeldBlocks(this, (address) => {
      const block = this.#blocks.find(address);
      if (block === undefined) return;
      block.isHeld = true;
      holdInner?.(block.inner);
    });
    if (settings.leaksAtExit) this.#forgetExit = atExit(() => this.#reportLeaks(this.leaks()));
  }

  /** Where the memory comes from. */
  get source(): PageSource {
    return this.#inner.source;
  }

  /** See {@link Allocator.allocate}. */
  allocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    return this.#place(size, alignment, 0, false);
  }

  /** See {@link Allocator.allocateZeroed}. */
  allocateZeroed(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    return this.#place(size, alignment, 0, true);
  }

  /** Places a block; `replaced` bytes of the limit are about to become free. */
  #place(size: number, alignment: number, replaced: number, zeroed: boolean): Address {
    assertSize(size);
    assertAlignment(alignment);
    this.#memory.assertNotDisposed("allocate");
    this.#assertWithinLimit(size - replaced, size);
    const front = Math.max(alignment, CANARY_SIZE);
    const inner = this.#allocateInner(size, front, alignment, zeroed);
    try {
      const block = this.#describe(inner, front, size, alignment, "allocated");
      this.#canaries.draw(block, !zeroed);
      this.#forgetLost(block.address);
      this.#totals?.add(block.allocatedAt, size);
      this.#blocks.add(block);
      return block.address;
    } catch (error) {
      this.#inner.free(inner);
      throw error;
    }
  }

  /** Reports the block that was at an address which the inner allocator has given out again, if one was. */
  #forgetLost(address: Address): void {
    const lost = this.#blocks.find(address);
    if (lost === undefined) return;
    this.#memory.revoke(address);
    this.#blocks.remove(lost, undefined);
    const problem = lostBlock("keep", lost);
    if (this.#canaries.reported.note(lost, problem)) reportViolation(problem);
  }

  /** The record of a block of `size` bytes in the inner one; its number is the next. */
  #describe(inner: Address, front: number, size: number, alignment: number, what: string): DebugBlock {
    const stack = captureStack(what, this.#stackDepth);
    const number = this.#blocks.lastNumber + 1;
    // The sum, as -0 is 0.
    const usable = this.#inner.usableSize(inner);
    return new DebugBlock(inner, front, size + 0, usable, Math.max(alignment, DEFAULT_ALIGNMENT), number, stack);
  }

  #allocateInner(size: number, front: number, alignment: number, zeroed: boolean): Address {
    return this.#obtain(size, front, (length) => {
      return zeroed ? this.#inner.allocateZeroed(length, alignment) : this.#inner.allocate(length, alignment);
    });
  }

  /** What `request` gives for the length of an inner block; when there is no memory, an error about `size` bytes. */
  #obtain(size: number, front: number, request: (length: number) => Address): Address {
    const length = front + size + CANARY_SIZE;
    try {
      if (Number.isSafeInteger(length)) return request(length);
      throw new OutOfMemoryError("no address space has so many", size);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      throw outOfMemory(size, front + CANARY_SIZE, error);
    }
  }

  /** See {@link Allocator.resize}. Within the inner block, and beyond where the inner allocator can. */
  resize(address: Address, size: number): boolean {
    const block = this.#memory.liveToResize(address, size, "resize");
    this.#canaries.assertIntact(block, "resize");
    return this.#resize(block, size);
  }

  /** See {@link Allocator.reallocate}. A block that moves leaves 0xDF behind, where one ArrayBuffer can show it. */
  reallocate(address: Address, size: number): Address {
    if (address === 0) return this.allocate(size);
    const block = this.#memory.liveToResize(address, size, "reallocate");
    this.#canaries.assertIntact(block, "reallocate");
    if (size === 0) {
      if (!this.#release(block)) throw notFreed("reallocate", address);
      return 0;
    }
    if (this.#resize(block, size)) return address;
    this.#assertWithinLimit(size - block.size, size);
    return this.#canaries.bytesOf(block) === undefined || size > this.source.maxWrapBytes
      ? this.#moveInner(block, size)
      : this.#move(block, size);
  }

  #resize(block: DebugBlock, size: number): boolean {
    const { front, size: before } = block;
    if (this.#blocks.liveBytes + size - before > this.#limit) return false;
    const length = front + size + CANARY_SIZE;
    if (length > block.innerSize || length * 2 < block.innerSize) {
      const isResized = Number.isSafeInteger(length) && this.#inner.resize(block.inner, length);
      if (!isResized && length > block.innerSize) return false;
      block.innerSize = this.#inner.usableSize(block.inner);
    }
    this.#blocks.setSize(block, size + 0);
    block.allocatedAt = captureStack("resized", this.#stackDepth);
    if (size > before) this.#totals?.add(block.allocatedAt, size - before);
    this.#canaries.drawEnd(block, before);
    return true;
  }

  /** Places what is about to take the place of `block`, and is as old. */
  #replace(block: DebugBlock, size: number): DebugBlock {
    const replacement = this.#blocks.find(this.#place(size, block.alignment, block.size, false))!;
    replacement.number = block.number;
    return replacement;
  }

  #move(block: DebugBlock, size: number): Address {
    const moved = this.#replace(block, size);
    try {
      this.#memory.copy(block, moved, Math.min(size, block.size));
      if (!this.#release(block)) throw notFreed("reallocate", block.address);
    } catch (error) {
      this.#blocks.remove(moved, undefined);
      this.#inner.free(moved.inner);
      throw error;
    }
    return moved.address;
  }

  /** Lets the inner allocator move a block that no view can show; it has no canaries. */
  #moveInner(block: DebugBlock, size: number): Address {
    const { front, alignment } = block;
    const inner = this.#obtain(size, front, (length) => this.#inner.reallocate(block.inner, length));
    this.#blocks.remove(block, captureStack("freed", this.#stackDepth));
    const moved = this.#describe(inner, front, size, alignment, "moved");
    this.#blocks.add(moved);
    moved.number = block.number;
    this.#canaries.draw(moved, false);
    return moved.address;
  }

  /**
   * See {@link Allocator.free}. With `size`, and `alignment`, both must be those that were asked for last.
   *
   * @throws {SizeMismatchError} When the size is another.
   * @throws {AlignmentMismatchError} When the alignment is another.
   * @throws {CorruptionError} When a byte around the block was changed.
   */
  free(address: Address, size?: number, alignment?: number): void {
    if (size !== undefined) assertSize(size);
    if (alignment !== undefined) assertAlignment(alignment);
    const block = this.#memory.liveToFree(address);
    if (block === undefined) return;
    const wrong = mismatch(block, size, alignment);
    if (wrong !== undefined) return reportViolation(wrong);
    const damage = this.#canaries.damage(block, "free");
    if (damage !== undefined) {
      this.#canaries.reported.note(block, damage);
      return reportViolation(damage);
    }
    this.#release(block);
  }

  /**
   * Frees a live block; false when the inner allocator has found a violation and the hook returned. The block, its bytes
   * and its NativeBuffer are as they were then.
   */
  #release(block: DebugBlock): boolean {
    const bytes = this.#fills ? this.#canaries.bytesOf(block) : undefined;
    let isFilled = false;
    try {
      const isFreed = this.#memory.freeInner(this.#inner, block, () => {
        if (bytes === undefined) return;
        overwrite(bytes, block, FREED_BYTE);
        isFilled = true;
      });
      if (!isFreed) return false;
    } catch (error) {
      // An allocator that keeps no claims has refused it: the block is still live, and nobody has written around it.
      if (isFilled) drawCanaries(bytes!, block);
      throw error;
    }
    this.#blocks.remove(block, captureStack("freed", this.#stackDepth));
    return true;
  }

  /** See {@link Allocator.blocks}. In order of allocation. */
  blocks(): IterableIterator<BlockInfo> {
    this.#memory.assertNotDisposed("walk the blocks");
    return this.#blocks.infos();
  }

  /** See {@link Allocator.stats}. Live bytes are those asked for; the others are the inner allocator's. */
  stats(): AllocatorStats {
    this.#memory.assertNotDisposed("report");
    const stats = this.#inner.stats();
    const limit = Math.min(this.#limit, stats.limit);
    return { ...stats, liveBlocks: this.#blocks.count, liveBytes: this.#blocks.liveBytes, limit };
  }

  /** See {@link Allocator.check}. Looks at every byte around every block, and reports what was not reported before. */
  check(): void {
    this.#memory.assertNotDisposed("check");
    reportAll(this.#canaries.news("check"), () => this.#inner.check());
  }

  /** See {@link Allocator.trim}. */
  trim(): number {
    this.#memory.assertNotDisposed("trim");
    return this.#inner.trim();
  }

  /**
   * The live blocks by the stack that allocated them, without those that are freed and wait in the quarantine of a wrapper.
   * Reads every stack: 8 to 55 µs each the first time.
   */
  leaks(): LeakReport {
    this.#memory.assertNotDisposed("report");
    return leakReport(this.#blocks.owed(), this.#stackDepth);
  }

  /** A scope: at its end `onLeak` is given the blocks that were allocated in it and are live, if there are any. */
  scope(onLeak: (report: LeakReport) => void): LeakScope {
    this.#memory.assertNotDisposed("begin a scope");
    if (typeof onLeak !== "function") throw new TypeError(`Cannot use ${describeValue(onLeak)} as onLeak`);
    return new LeakScope(this.#blocks, this.#blocks.lastNumber, this.#stackDepth, onLeak);
  }

  /**
   * Bytes by allocation site in the format of Chrome's sampling heap profiles: write it with `JSON.stringify` to a file
   * that ends in `.heapprofile`. `"live"` counts the blocks that are live now, `"total"` all that ever were.
   *
   * @throws {TypeError} For `"total"` when the allocator was made without `totals`.
   */
  heapProfile(kind: HeapProfileKind = "live"): HeapProfile {
    this.#memory.assertNotDisposed("report");
    return makeHeapProfile(kind, this.#blocks.owed(), this.#totals);
  }

  /**
   * Frees everything and disposes the inner allocator, then reports leaks, if that was asked for, and bytes that were
   * changed, where `free` or `check` has not done so. A second call does nothing.
   *
   * @throws {CorruptionError} When a byte around a live block was changed, and this was not reported before; everything
   * is given back all the same.
   */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    const damages = this.#canaries.news("dispose");
    const report = this.#onLeaks === undefined ? undefined : this.leaks();
    this.#disposed = true;
    this.#forgetExit();
    const attempts = new Attempts();
    attempts.make(() => this.#memory.dispose());
    this.#blocks.clear();
    attempts.make(() => this.#inner[Symbol.dispose]());
    if (report !== undefined) attempts.make(() => this.#reportLeaks(report));
    attempts.report(damages);
    attempts.end();
  }

  #reportLeaks(report: LeakReport): void {
    if (report.count > 0) this.#onLeaks?.(report);
  }

  #assertWithinLimit(extra: number, size: number): void {
    const live = this.#blocks.liveBytes;
    if (live + extra <= this.#limit) return;
    throw overLimit(size, extra, live, this.#limit);
  }
}
