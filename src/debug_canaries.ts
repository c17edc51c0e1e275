/**
 * The canaries of the blocks of a debug allocator: when they are drawn, when they are looked at, and what is said then. Where
 * they lie in the inner block is drawn in canary.ts.
 *
 * ```text
 *   allocate, resize, reallocate   draw, drawEnd ──▶ as drawn ──▶ assertIntact, damage   resize, reallocate, free: every time
 *                                                        │
 *                                                        └──────▶ news                   check, dispose: what is new
 * ```
 *
 * Invariant: while a block is live its canaries are as they were drawn, or native code or a stray view has written where
 * nobody may. A block that one ArrayBuffer cannot show has none.
 *
 * @module
 */
import { drawCanaries, drawTail, findDamage, FRESH, watchedEnd } from "./canary.ts";
import type { DebugBlock, DebugBlocks } from "./debug_blocks.ts";
import type { DebugSettings } from "./debug_options.ts";
import { damaged } from "./debug_reports.ts";
import { CorruptionError, DisposedError } from "./errors.ts";
import type { OwningAllocator } from "./owned_blocks.ts";
import { type Finding, ReportedProblems } from "./reported_problems.ts";
import { throwAfterReport } from "./violations.ts";
import { isStillThere, lostBlock } from "./wrapper_reports.ts";

/** The watched bytes of one debug allocator. */
export class DebugCanaries {
  /** What was said of its blocks. */
  readonly reported: ReportedProblems = new ReportedProblems();
  readonly #inner: OwningAllocator;
  readonly #blocks: DebugBlocks;
  /** Whether fresh blocks are filled. */
  readonly #fills: boolean;

  /** For `blocks`, which lie in blocks of `inner`. */
  constructor(inner: OwningAllocator, blocks: DebugBlocks, { fill }: DebugSettings) {
    this.#inner = inner;
    this.#blocks = blocks;
    this.#fills = fill;
  }

  /** The inner block up to the last byte that is watched; undefined when no ArrayBuffer can show so much. */
  bytesOf(block: DebugBlock): Uint8Array | undefined {
    const end = watchedEnd(block, block.innerSize);
    return end > this.#inner.source.maxWrapBytes ? undefined : this.#inner.view(block.inner, end);
  }

  /** Draws the canaries of a new block, and fills it if it is `fresh` and fresh blocks are filled. */
  draw(block: DebugBlock, fresh: boolean): void {
    const bytes = this.bytesOf(block);
    if (bytes === undefined) return;
    const { front, size } = block;
    if (this.#fills && fresh) bytes.fill(FRESH, front, front + size);
    drawCanaries(bytes, block);
  }

  /** Draws what is behind a block that had `before` bytes, and fills what it has more. */
  drawEnd(block: DebugBlock, before: number): void {
    const bytes = this.bytesOf(block);
    if (bytes === undefined) return;
    const { front, size } = block;
    if (this.#fills && size > before) bytes.fill(FRESH, front + before, front + size);
    drawTail(bytes, front + size);
  }

  /** Throws when a byte around the block was changed, or the inner allocator has the block no more. */
  assertIntact(block: DebugBlock, action: string): void {
    const damage = this.damage(block, action);
    if (damage === undefined) return this.reported.forget(block);
    this.reported.note(block, damage);
    throwAfterReport(damage);
  }

  /** The error for a block that the inner allocator has no more, or for the first byte around it that was changed. */
  damage(block: DebugBlock, action: string): CorruptionError | undefined {
    if (!isStillThere(this.#inner, block.inner)) return lostBlock(action, block);
    let bytes: Uint8Array | undefined;
    try {
      bytes = this.bytesOf(block);
    } catch (error) {
      // A smaller block is there now.
      if (error instanceof RangeError) return lostBlock(action, block);
      throw error;
    }
    const index = bytes === undefined ? -1 : findDamage(bytes, block);
    if (index === -1) return undefined;
    return damaged(action, block, index, bytes![index]!);
  }

  /** What is wrong with live blocks and was not said before; the caller is about to say it. */
  news(action: string): CorruptionError[] {
    return this.reported.news(this.#damages(action));
  }

  *#damages(action: string): Iterable<Finding> {
    for (const block of this.#blocks.walk()) {
      try {
        const damage = this.damage(block, action);
        if (damage !== undefined) yield [block, damage];
        else this.reported.forget(block);
      } catch (error) {
        // Somebody has disposed the inner allocator: there is nothing left to be looked at.
        if (error instanceof DisposedError) break;
        // Its region was detached from outside: nothing can be seen, and the inner allocator's check() says so.
        if (!(error instanceof CorruptionError)) throw error;
      }
    }
  }
}
