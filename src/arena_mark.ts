/**
 * Places in an arena that it can be rewound to.
 *
 * @module
 */
import type { Allocator } from "./allocator.ts";
import type { Address } from "./page_source.ts";

/** A place in an arena, made by `arena.mark()`: how many blocks each of its chunks had then. */
export class ArenaMark {
  /** The arena that made it. */
  readonly arena: Allocator;
  /** The chunk that allocations came from. */
  readonly chunk: number;
  /** How many blocks of that chunk were there already. */
  readonly count: number;
  /** The number of the youngest large block then. */
  readonly serial: number;
  /** Where the cursor was, for messages; 0 when the arena had no memory yet. */
  readonly address: Address;

  /** Made by `arena.mark()`. */
  constructor(arena: Allocator, chunk: number, count: number, serial: number, address: Address) {
    this.arena = arena;
    this.chunk = chunk;
    this.count = count;
    this.serial = serial;
    this.address = address;
  }
}

/** A stretch of time in an arena, made by `arena.scope()`: what was allocated in it is freed when it is disposed. */
export class ArenaScope implements Disposable {
  readonly #end: () => void;

  /** Made by `arena.scope()`. */
  constructor(end: () => void) {
    this.#end = end;
  }

  /** Frees what was allocated in the scope. Does nothing when that is gone already: after a reset, or a second time. */
  [Symbol.dispose](): void {
    this.#end();
  }
}
