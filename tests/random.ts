/**
 * The random test: many operations drawn from a seed, on any allocator, beside a model that knows what must come out.
 *
 * ```ts
 * randomTest(() => new Heap(), { seed: 1, operations: 200_000 });
 * ```
 *
 * When something is wrong, the operations are run again on fresh allocators with ever more of them left out, and the error
 * has the seed and the shortest list that still fails, as text for {@link replay}. `OFFHEAP_SEED` and
 * `OFFHEAP_RANDOM_OPS` change the seed and the length of every run that asks for {@link fromEnvironment}.
 *
 * @module
 */
import process from "node:process";
import type { Allocator, AllocatorStats } from "../src/allocator.ts";
import { Draw, formatOperations, type Operation, parseOperations } from "./random/operations.ts";
import { Shadow } from "./random/shadow.ts";
import { shrink, type ShrinkOptions } from "./random/shrink.ts";

export { formatOperations, parseOperations } from "./random/operations.ts";
export type { Operation } from "./random/operations.ts";

/** Options of {@link randomTest}. */
export interface RandomOptions {
  /** The same seed, the same operations. @defaultValue 1 */
  seed?: number;
  /** How many operations. @defaultValue 20,000 */
  operations?: number;
  /** The most bytes asked for at one time. @defaultValue 64 MiB */
  maxLiveBytes?: number;
  /** The most blocks at one time. @defaultValue 2000 */
  maxLiveBlocks?: number;
  /** The largest alignment. @defaultValue 2^16 */
  maxAlignment?: number;
  /** Operations from one `check()` to the next; the walk comes every fourth time. @defaultValue 500 */
  checkEvery?: number;
  /** Whether memory may run out; otherwise `OutOfMemoryError` is a failure. @defaultValue false */
  mayRunOut?: boolean;
  /** Whether views of freed owned buffers must be empty. @defaultValue true */
  isolating?: boolean;
  /** Whether owned buffers are made. @defaultValue true */
  buffers?: boolean;
  /** Whether typed arrays are made. @defaultValue true */
  arrays?: boolean;
  /** Whether addresses are passed that must be rejected. @defaultValue true */
  badAddresses?: boolean;
  /** Is told the figures of the allocator now and then. @defaultValue nobody is */
  observe?: (stats: AllocatorStats) => void;
  /** Limits of the shortening of a failing run. */
  shrink?: ShrinkOptions;
}

/** A random test has found something. */
export class RandomTestError extends Error {
  override name = "RandomTestError";
  /** The seed of the run. */
  readonly seed: number;
  /** The shortened operations, one a line, for {@link replay}. */
  readonly operations: string;

  /** Made by {@link randomTest}. */
  constructor(message: string, seed: number, operations: string, options: ErrorOptions) {
    super(message, options);
    this.seed = seed;
    this.operations = operations;
  }
}

/**
 * Does random operations on an allocator and verifies every result.
 *
 * @throws {RandomTestError} When a result is wrong or an operation throws what it must not.
 */
export function randomTest(make: () => Allocator, options: RandomOptions = {}): void {
  const { seed = 1, operations = 20_000 } = options;
  const done: Operation[] = [];
  const failure = attempt(make, options, (shadow) => {
    const draw = new Draw(seed, {
      maxLiveBytes: options.maxLiveBytes ?? 2 ** 26,
      maxLiveBlocks: options.maxLiveBlocks ?? 2000,
      maxAlignment: options.maxAlignment ?? 2 ** 16,
      checkEvery: options.checkEvery ?? 500,
      buffers: options.buffers ?? true,
      arrays: options.arrays ?? true,
      badAddresses: options.badAddresses ?? true,
    });
    for (let i = 0; i < operations; i++) {
      const operation = draw.next(shadow);
      done.push(operation);
      shadow.apply(operation);
      if (options.observe !== undefined && i % 100 === 0) options.observe(shadow.stats());
    }
  });
  if (failure === undefined) return;
  const fails = (list: readonly Operation[]): boolean =>
    attempt(make, options, (shadow) => all(shadow, list)) !== undefined;
  // A failure that does not come again cannot be shortened; the whole list is all there is to say then.
  const again = fails(done);
  const shortest = again ? shrink(done, fails, options.shrink) : done;
  const last = again ? attempt(make, options, (shadow) => all(shadow, shortest)) ?? failure : failure;
  const text = formatOperations(shortest);
  const how = again ? `shortened to ${shortest.length}` : "which did not fail a second time";
  throw new RandomTestError(
    `Seed ${seed} failed after ${done.length} operations, ${how}: ${last.message}\n\n${text.slice(0, 10_000)}\n`,
    seed,
    text,
    { cause: last },
  );
}

/** Does the operations of a {@link RandomTestError} again, and throws what they end in. */
export function replay(make: () => Allocator, text: string, options: RandomOptions = {}): void {
  const operations = parseOperations(text);
  const failure = attempt(make, options, (shadow) => all(shadow, operations));
  if (failure !== undefined) throw failure;
}

/** Seed and length as the environment wants them, otherwise as given. */
export function fromEnvironment(options: RandomOptions): RandomOptions {
  const { OFFHEAP_SEED, OFFHEAP_RANDOM_OPS } = process.env;
  const changed = { ...options };
  if (OFFHEAP_SEED !== undefined && OFFHEAP_SEED !== "") changed.seed = wholeNumber("OFFHEAP_SEED", OFFHEAP_SEED);
  if (OFFHEAP_RANDOM_OPS !== undefined && OFFHEAP_RANDOM_OPS !== "") {
    changed.operations = wholeNumber("OFFHEAP_RANDOM_OPS", OFFHEAP_RANDOM_OPS);
  }
  return changed;
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`Cannot use ${text} as ${name}: no whole number`);
  return value;
}

function all(shadow: Shadow, operations: readonly Operation[]): void {
  for (const operation of operations) shadow.apply(operation);
}

/** Runs something on a fresh allocator; what it threw, or undefined. */
function attempt(make: () => Allocator, options: RandomOptions, run: (shadow: Shadow) => void): Error | undefined {
  const { mayRunOut = false, isolating = true } = options;
  let allocator: Allocator | undefined;
  try {
    allocator = make();
    const shadow = new Shadow(allocator, { mayRunOut, isolating });
    run(shadow);
    shadow.finish();
    allocator[Symbol.dispose]();
    return undefined;
  } catch (error) {
    try {
      allocator?.[Symbol.dispose]();
    } catch {
      // An allocator that has failed may fail again; the first failure is the one to report.
    }
    return error instanceof Error ? error : new Error(String(error));
  }
}
