/**
 * Blocks that a program has freed and a wrapper holds on to: live for the allocator below, but nobody's leak.
 *
 * ```text
 *   free() of a QuarantineAllocator      the block waits in its queue
 *          │ hold(address)
 *          ▼
 *   the allocator below                  a DebugAllocator: leaves it out of its leaks from now on
 *          │ hold(address)               a QuarantineAllocator: passes it on
 *          ▼
 *   the one below that, ...
 * ```
 *
 * What is held is freed below later, or goes when that allocator is disposed. It is never handed back to the program.
 *
 * @module
 */
import type { Address } from "./page_source.ts";

/** Is told the address of a block that is held from now on. */
export type Hold = (address: Address) => void;

/** Who wants to know, by allocator. */
const holds = new WeakMap<object, Hold>();

/** Has `hold` told of the blocks of `allocator` that a wrapper holds on to. */
export function onHeldBlocks(allocator: object, hold: Hold): void {
  holds.set(allocator, hold);
}

/** Whom a wrapper of `inner` is to tell; undefined when it makes no difference to that. */
export function holdIn(inner: object): Hold | undefined {
  return holds.get(inner);
}
