/**
 * A scope that reports the blocks that were allocated in it and not freed.
 *
 * @module
 */
import type { DebugBlocks } from "./debug_blocks.ts";
import { type LeakReport, leakReport } from "./leak_report.ts";

/**
 * Made by `DebugAllocator.scope`. At the end of a `using` scope it reports the blocks that are live and younger than itself;
 * a block that was reallocated is as old as it was.
 *
 * @example
 * ```ts
 * import { DebugAllocator, Heap } from "@offheap/alloc";
 *
 * using allocator = new DebugAllocator(new Heap());
 * {
 *   using _scope = allocator.scope((report) => console.log(`${report}`));
 *   allocator.allocate(100);
 * } // 1 site, 1 block, 100 bytes are not freed
 * ```
 */
export class LeakScope implements Disposable {
  readonly #blocks: DebugBlocks;
  readonly #since: number;
  readonly #depth: number;
  readonly #onLeak: (report: LeakReport) => void;
  #ended = false;

  /** Watches the blocks with a number above `since`. */
  constructor(blocks: DebugBlocks, since: number, depth: number, onLeak: (report: LeakReport) => void) {
    this.#blocks = blocks;
    this.#since = since;
    this.#depth = depth;
    this.#onLeak = onLeak;
  }

  /** The blocks that are live and were allocated since the scope began. None once the allocator is disposed. */
  leaks(): LeakReport {
    const young = [...this.#blocks.owed()].filter(({ number }) => number > this.#since);
    return leakReport(young, this.#depth);
  }

  /** Reports, when there is something to report. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#ended) return;
    this.#ended = true;
    const report = this.leaks();
    if (report.count > 0) this.#onLeak(report);
  }
}
