/**
 * The operations of a random test: what they are, how they are drawn, and how they are written down.
 *
 * An operation names the block it works on by a number that the block got when it was allocated, not by its address or by its
 * place among the live blocks. So any operation can be left out of a run and all others still mean the same; those
 * on a block that is not there are skipped. That is what makes a failing run easy to shorten.
 *
 * @module
 */
import { Prng } from "../support/prng.ts";

/** What is done. */
export type Action =
  | "allocate"
  | "zeroed"
  | "try"
  | "array"
  | "buffer"
  | "free"
  | "reallocate"
  | "resize"
  | "verify"
  | "double"
  | "interior"
  | "foreign"
  | "edge"
  | "trim"
  | "walk"
  | "stats"
  | "check";

/** One operation. What `a` and `b` are depends on the action. */
export interface Operation {
  /** What is done. */
  readonly action: Action;
  /** The number of the block it is done to; 0 for actions on the allocator. */
  readonly block: number;
  /** A size, an offset, or a type of array. */
  readonly a: number;
  /** An alignment, a length, or a method. */
  readonly b: number;
}

/** What operations may be drawn. */
export interface DrawOptions {
  /** The most bytes asked for at one time. */
  readonly maxLiveBytes: number;
  /** The most blocks at one time. */
  readonly maxLiveBlocks: number;
  /** The largest alignment. */
  readonly maxAlignment: number;
  /** Operations from one `check` to the next. */
  readonly checkEvery: number;
  /** Whether owned buffers are drawn. */
  readonly buffers: boolean;
  /** Whether arrays are drawn. */
  readonly arrays: boolean;
  /** Whether addresses that must be rejected are drawn. */
  readonly badAddresses: boolean;
}

/** What the draw needs to know of the run so far. */
export interface DrawState {
  /** The numbers of the live blocks. */
  readonly live: readonly number[];
  /** The numbers of some blocks that were freed. */
  readonly freed: readonly number[];
  /** Bytes asked for by the live blocks. */
  readonly liveBytes: number;
}

const ACTIONS: readonly Action[] = [
  ...["allocate", "zeroed", "try", "array", "buffer", "free", "reallocate", "resize", "verify"] as const,
  ...["double", "interior", "foreign", "edge", "trim", "walk", "stats", "check"] as const,
];

/** Draws operations: the same ones for the same seed and the same states. */
export class Draw {
  readonly #random: Prng;
  readonly #options: DrawOptions;
  #step = 0;
  #blocks = 0;
  /** How many live blocks the present phase heads for: a run grows, shrinks and empties again and again. */
  #target: number;

  /** Starts a sequence. */
  constructor(seed: number, options: DrawOptions) {
    this.#random = new Prng(seed);
    this.#options = options;
    this.#target = options.maxLiveBlocks;
  }

  /** The next operation. */
  next(state: DrawState): Operation {
    const { checkEvery, maxLiveBlocks } = this.#options;
    const step = ++this.#step;
    if (step % checkEvery === 0) return operation("check");
    if (step % (checkEvery * 4) === 1) return operation("walk");
    if (step % 1500 === 0) {
      this.#target = this.#random.chance(25) ? 0 : this.#random.below(maxLiveBlocks + 1);
    }
    const random = this.#random;
    const choice = random.below(1000);
    if (choice < 2) return operation("trim");
    if (choice < 4) return operation("stats");
    if (choice < 24 && this.#options.badAddresses) return this.#badAddress(state);
    const some = state.live[random.below(Math.max(1, state.live.length))];
    if (some === undefined) return this.#allocation(state);
    if (choice < 50) return operation("verify", some);
    if (choice < 150) return operation("reallocate", some, this.#sizeBeside(state));
    if (choice < 200) return operation("resize", some, this.#sizeBeside(state));
    const grows = state.live.length < this.#target;
    return random.chance(grows ? 62 : 35) ? this.#allocation(state) : operation("free", some, random.below(3));
  }

  #allocation(state: DrawState): Operation {
    const random = this.#random;
    const { maxLiveBlocks, maxLiveBytes, maxAlignment, arrays, buffers } = this.#options;
    const size = this.#size();
    if (state.live.length >= maxLiveBlocks || state.liveBytes + size > maxLiveBytes) {
      const some = state.live[random.below(Math.max(1, state.live.length))];
      if (some !== undefined) return operation("free", some, random.below(3));
    }
    const block = ++this.#blocks;
    const most = Math.min(maxAlignment, 2 ** 16);
    const alignment = random.chance(85) ? 16 : 2 ** random.below(Math.log2(most) + 1);
    const choice = random.below(100);
    if (choice < 15) return operation("zeroed", block, size, alignment);
    if (choice < 20) return operation("try", block, size, alignment);
    if (choice < 27 && arrays) return operation("array", block, random.below(11), Math.min(size, 100_000));
    if (choice < 32 && buffers) return operation("buffer", block, size, alignment);
    return operation("allocate", block, size, alignment);
  }

  /** Sizes as in the tests of talc: mostly small, some near an OS page, some at multiples of it, few large. */
  #size(): number {
    const random = this.#random;
    const choice = random.below(100);
    if (choice < 45) return random.below(256);
    if (choice < 65) return random.below(2048);
    if (choice < 85) return random.below(16_384);
    if (choice < 93) return Math.max(0, 4096 * random.between(1, 20) + random.between(-33, 33));
    if (choice < 99) return random.below(400_000);
    return random.below(Math.min(6_000_000, Math.floor(this.#options.maxLiveBytes / 4)));
  }

  /** A size that the live blocks leave room for. */
  #sizeBeside(state: DrawState): number {
    const size = this.#size();
    return state.liveBytes + size > this.#options.maxLiveBytes ? this.#random.below(256) : size;
  }

  #badAddress(state: DrawState): Operation {
    const random = this.#random;
    const method = random.below(6);
    const freed = state.freed[random.below(Math.max(1, state.freed.length))];
    const some = state.live[random.below(Math.max(1, state.live.length))];
    const choice = random.below(4);
    if (choice === 3 && some !== undefined) return operation("edge", some, random.between(1, 64), method);
    if (choice === 0 && freed !== undefined) return operation("double", freed, 0, method);
    if (choice === 1 && some !== undefined) return operation("interior", some, random.below(2 ** 20), method);
    // Half a mebibyte around a live block there are other blocks, free memory, and the ends of pages and regions.
    if (some !== undefined) return operation("foreign", some, (random.below(2 ** 17) - 2 ** 16) * 8, method);
    return operation("foreign", 0, random.below(2 ** 32) - 2 ** 20, method);
  }
}

function operation(action: Action, block = 0, a = 0, b = 0): Operation {
  return { action, block, a, b };
}

/** Writes operations down, one a line. */
export function formatOperations(operations: readonly Operation[]): string {
  return operations.map(({ action, block, a, b }) => `${action} ${block} ${a} ${b}`).join("\n");
}

/**
 * Reads what {@link formatOperations} wrote.
 *
 * @throws {SyntaxError} On a line that is none.
 */
export function parseOperations(text: string): Operation[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line !== "").map((line) => {
    const [name, ...figures] = line.split(" ");
    const action = ACTIONS.find((known) => known === name);
    const [block, a, b] = figures.map(Number);
    if (
      action === undefined || block === undefined || a === undefined || b === undefined ||
      figures.some((f) => isNaN(+f))
    ) {
      throw new SyntaxError(`Cannot read an operation from ${JSON.stringify(line)}`);
    }
    return { action, block, a, b };
  });
}
