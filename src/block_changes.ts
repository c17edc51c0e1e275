/**
 * Every change of which blocks a heap has, by the rules of that heap: blocks are placed within its limit, cleared when they are
 * freed if it wants that, and whatever fails after a block was placed gives the block back.
 *
 * `HeapCore` has found out before that the call may be made: the arguments are right, the block is live and nobody owns it,
 * the heap is neither disposed nor in the middle of something.
 *
 * Invariants: `#requested` is the sum of the sizes that were asked for. The fast paths of `Heap` do not keep it, so it is right
 * only in a heap with a limit, which uses none of them. A call that throws has changed nothing.
 *
 * @module
 */
import type { LiveBlock } from "./block_lookup.ts";
import type { BlockMemory } from "./block_memory.ts";
import type { Blocks } from "./blocks.ts";
import { overLimit } from "./errors.ts";
import type { HeapRules } from "./heap_options.ts";
import type { Address } from "./page_source.ts";
import { slotHolds } from "./page_table.ts";
import { GRANULE } from "./size_class.ts";
import type { SmallPages } from "./small_pages.ts";

/** The blocks of one heap as they come, change and go. */
export class BlockChanges {
  readonly #blocks: Blocks;
  readonly #memory: BlockMemory;
  readonly #rules: HeapRules;
  readonly #renew: () => void;
  #requested = 0;
  #peakCommitted = 0;

  /** `renew` is called whenever a block was placed, or could not be. */
  constructor(blocks: Blocks, memory: BlockMemory, rules: HeapRules, renew: () => void) {
    this.#blocks = blocks;
    this.#memory = memory;
    this.#rules = rules;
    this.#renew = renew;
  }

  /** The most bytes that were committed for blocks at once. */
  get peakCommitted(): number {
    return Math.max(this.#peakCommitted, this.#blocks.committedBytes);
  }

  /** Notes the peak: a block has its place. */
  notePeak(): void {
    this.#peakCommitted = this.peakCommitted;
  }

  /**
   * Places a block, or what is about to take the place of the block `replaced`: then the limit must have room for the
   * difference only.
   *
   * @throws {OutOfMemoryError} When there is no place for it, or the limit would be exceeded.
   */
  place(size: number, alignment: number, replaced?: LiveBlock): Address {
    const { limit } = this.#rules;
    const extra = replaced === undefined ? size : size - replaced.requestedSize;
    if (this.#requested + extra > limit) throw overLimit(size, extra, this.#requested, limit);
    try {
      const address = replaced === undefined
        ? this.#blocks.allocate(size, alignment)
        : this.#blocks.allocateInPlaceOf(replaced, size);
      this.#requested += size;
      return address;
    } finally {
      this.#renew();
    }
  }

  /** Clears the first `size` bytes of the block just placed, which is freed when that fails. */
  clear(block: LiveBlock, size: number): void {
    try {
      this.#memory.clear(block, size);
    } catch (error) {
      throw this.#undo(block, error);
    }
  }

  /** Frees a block just placed, which could not be filled; returns the reason. */
  #undo(block: LiveBlock, error: unknown): unknown {
    this.#requested -= block.requestedSize;
    this.#blocks.release(block);
    return error;
  }

  /** Gives a block a new size in place, and says whether that could be done. */
  resize(block: LiveBlock, size: number): boolean {
    const { limit, zeroOnFree } = this.#rules;
    const extra = size - block.requestedSize;
    if (this.#requested + extra > limit) return false;
    // What is cut off a block is free memory, and cleared as such; but not when the block stays as it is.
    const shrinks = extra < 0 && (block.link === 0 || slotHolds(block.usableSize, size));
    if (zeroOnFree && shrinks) this.#memory.clearTail(block, size);
    if (!this.#blocks.resize(block, size)) return false;
    this.#requested += extra;
    return true;
  }

  /** Gives a block a new size, which is not 0, and moves it when it must; its address then. */
  reallocate(block: LiveBlock, size: number): Address {
    const keepsHalf = size * 2 > block.usableSize || block.usableSize === GRANULE;
    if (keepsHalf && this.resize(block, size)) return block.address;
    const moved = this.place(size, block.alignment, block);
    const target = this.#blocks.find(moved)!;
    const kept = Math.min(size, block.requestedSize);
    try {
      this.#memory.copy(block, target, kept);
    } catch (error) {
      throw this.#undo(target, error);
    }
    try {
      this.release(block, size > block.usableSize);
    } catch (error) {
      // Still live, but without its contents if these were moved.
      this.#memory.copy(target, block, kept);
      throw this.#undo(target, error);
    }
    return moved;
  }

  /** Whether a block is cleared when it is freed. A huge block of the system's is not: it is unmapped at once. */
  isCleared({ huge }: LiveBlock): boolean {
    return this.#rules.zeroOnFree && (huge === undefined || !this.#blocks.source.isolating);
  }

  /** Frees a live block; `isOutgrown` when its contents have moved to a larger one. */
  release(block: LiveBlock, isOutgrown = false): void {
    if (this.isCleared(block)) this.#memory.clear(block, block.usableSize);
    this.#requested -= block.requestedSize;
    this.#blocks.release(block, isOutgrown);
  }

  /** Frees the small block at `granule`, of which `requested` bytes were asked for; it is cleared already if it has to be. */
  releaseSmall(pages: SmallPages, granule: number, link: number, requested: number): void {
    this.#requested -= requested;
    this.#blocks.releaseSmall(pages, granule, link);
  }
}
