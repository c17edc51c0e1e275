/**
 * Moving the contents of OS pages on Linux, with `mremap`.
 *
 * What is moved goes to where nothing is first, and from there to its place:
 *
 * ```text
 *   from   ├───── a ─────┼─────── b ────────┤      two mappings for Linux: into a something was moved before
 *            │ lift: MAYMOVE | DONTUNMAP
 *            ▼
 *          ├───── a ─────┤                         wherever Linux has room
 *            │ settle: MAYMOVE | FIXED
 *            ▼
 *   to     ├───── a ─────┼─ ...                    and then b, in the same way
 * ```
 *
 * It could be one call with all three flags, but not safely where `from` consists of several mappings, as every block
 * does that was moved into and then written. Until 6.16 Linux finds that out after it has unmapped the target, and other
 * threads map memory in the hole before anybody could close it; since 6.17 it moves one mapping after the other, and
 * when it fails at the second (a process may have 65,530) the first has gone. A lift takes one mapping or does nothing.
 *
 * @module
 */
import { alignDown } from "../src/arguments.ts";
import type { Wrapping } from "../src/commit_wrapped.ts";
import { copyMemory } from "../src/copy_memory.ts";
import type { Address, PageSource } from "../src/page_source.ts";
import { MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE } from "./constants.ts";
import type { BoundSymbols, MOVE_SYMBOLS } from "./symbols.ts";

/** The function that moves. */
export type MoveLibrary = BoundSymbols<typeof MOVE_SYMBOLS>;

/** What moving needs of the page source. */
export interface PageMoverOptions {
  /** The bound C function. */
  readonly library: MoveLibrary;
  /** Reads `errno` of this thread. */
  readonly errno: () => number;
  /** Bytes of the system's own OS pages. */
  readonly pageSize: number;
  /** For what must be copied after all. */
  readonly wraps: Wrapping;
  /** Puts fresh memory in place of what is there, and throws when it cannot. */
  readonly renew: (address: Address, byteLength: number) => void;
  /** Gives up what was lifted. */
  readonly drop: (address: Address, byteLength: number) => void;
}

/** What Linux answers to a lift of more than one mapping. */
const EFAULT = 14;
const MAP_FAILED = -1;
const LIFT = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
const SETTLE = MREMAP_MAYMOVE | MREMAP_FIXED;

/** A `move` of a page source; see there. Lifts that fail at the end of a mapping cost a fraction of a microsecond each. */
export function pageMover(options: PageMoverOptions): NonNullable<PageSource["move"]> {
  const { library: { mremap }, errno, pageSize, wraps, renew, drop } = options;
  /** Where the last lift put it. */
  let lifted: Address = 0;

  function move(from: Address, to: Address, byteLength: number): boolean {
    let done = 0;
    while (done < byteLength) {
      const length = lift(from + done, byteLength - done);
      if (length === 0) {
        copyMemory(wraps, to, from, done);
        return false;
      }
      try {
        settle(to + done, length);
      } catch (error) {
        copyMemory(wraps, lifted, from + done, length);
        drop(lifted, length);
        copyMemory(wraps, to, from, done);
        throw error;
      }
      done += length;
    }
    return true;
  }

  /** Takes as much as is one mapping, or a part of that, of up to `most` bytes; how much, and 0 when it cannot. */
  function lift(from: Address, most: number): number {
    for (let length = most;; length = Math.max(pageSize, alignDown(length / 2, pageSize))) {
      lifted = mremap(from, length, length, LIFT, 0);
      if (lifted !== MAP_FAILED) return length;
      if (errno() !== EFAULT || length === pageSize) return 0;
    }
  }

  /** Puts what was lifted in its place. */
  function settle(to: Address, length: number): void {
    if (mremap(lifted, length, length, SETTLE, to) !== MAP_FAILED) return;
    // Linux may have unmapped the target before it found out that it has no memory to move anything there.
    renew(to, length);
    copyMemory(wraps, lifted, to, length);
    drop(lifted, length);
  }

  return move;
}
