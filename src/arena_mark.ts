/**
 * Places in an arena that it can be rewound to.
 *
 * @module
 */
import type { Allocator } from "./allocator.ts";
import { describeValue, formatAddress, InvalidFreeError, UseAfterFreeError } from "./errors.ts";
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

/** The marks of an arena that can still be rewound to, outermost first. */
export class MarkStack {
  readonly #marks: ArenaMark[] = [];

  /** The innermost one. */
  get last(): ArenaMark | undefined {
    return this.#marks.at(-1);
  }

  /** Adds a mark, which is the innermost now. */
  push(mark: ArenaMark): void {
    this.#marks.push(mark);
  }

  /** Whether a mark can still be rewound to. */
  has(mark: ArenaMark): boolean {
    return this.#marks.includes(mark);
  }

  /** Makes a mark the innermost one: those made after it are stale. */
  cutBehind(mark: ArenaMark): void {
    this.#marks.length = this.#marks.lastIndexOf(mark) + 1;
  }

  /** Forgets a mark and those made after it; false when it was stale. */
  drop(mark: ArenaMark): boolean {
    const place = this.#marks.lastIndexOf(mark);
    if (place !== -1) this.#marks.length = place;
    return place !== -1;
  }

  /** Makes all of them stale. */
  clear(): void {
    this.#marks.length = 0;
  }

  /** Why `arena` cannot be rewound to `mark`; undefined when it can. */
  refusal(mark: ArenaMark, arena: Allocator): InvalidFreeError | UseAfterFreeError | undefined {
    if (mark.arena !== arena) {
      return new InvalidFreeError("rewind to", mark.address, "foreign", "the mark was made by another arena");
    }
    if (this.has(mark)) return undefined;
    const where = formatAddress(mark.address);
    return new UseAfterFreeError(
      `Cannot rewind to the mark at ${where}: it is stale, as the arena was rewound to before it, or reset, since`,
    );
  }
}

/** Throws unless `mark` is a mark. */
export function assertMark(mark: unknown): asserts mark is ArenaMark {
  if (mark instanceof ArenaMark) return;
  throw new TypeError(`Cannot rewind to ${describeValue(mark)}: it must be a mark of the arena`);
}
