/**
 * The options of a heap, and the rules that they amount to.
 *
 * @module
 */
import { assertKnownOptions, assertSize } from "./arguments.ts";
import type { DelayRules } from "./delayed_frees.ts";
import { describeValue } from "./errors.ts";
import type { PageSource } from "./page_source.ts";
import { RandomNumbers } from "./random_numbers.ts";

/** Freed blocks that `delayedReuse` keeps when nothing else is said: as many, and so many bytes. */
const DELAYED_BLOCKS = 1024;
const DELAYED_BYTES = 2 ** 20;

/** The most blocks that may be kept: 16 MiB of addresses and sizes. */
const DELAYED_BLOCKS_MAX = 2 ** 20;

/** Bounds of {@link SecureOptions.delayedReuse}. */
export interface DelayedReuseOptions {
  /** The most freed blocks that are kept from being used again; from 1 to 2^20. @defaultValue 1024 */
  blocks?: number;
  /** The most bytes of them together; larger blocks are not kept. @defaultValue 1 MiB */
  bytes?: number;
}

/** What a secure heap does; all of it unless an option is turned off. */
export interface SecureOptions {
  /** Whether freed memory is cleared at once. @defaultValue true */
  zeroOnFree?: boolean;
  /** Whether blocks up to 16 KiB get an unforeseeable slot of their page. @defaultValue true */
  randomPlacement?: boolean;
  /** Whether, and for how long, the memory of freed blocks is kept from being used again. @defaultValue true */
  delayedReuse?: boolean | DelayedReuseOptions;
  /**
   * A whole number that decides every random choice, for tests that must come out the same again.
   *
   * @defaultValue the runtime's entropy
   */
  seed?: number;
}

/** Options of a `Heap`. */
export interface HeapOptions {
  /** Where memory comes from. @defaultValue the operating system */
  source?: PageSource;
  /**
   * The most bytes that may be live at once, counted as requested. Allocating and freeing are slower with one.
   *
   * @defaultValue Infinity
   */
  limit?: number;
  /** Whether freed memory is cleared at once; freeing is slower then. @defaultValue false */
  zeroOnFree?: boolean;
  /** Makes memory errors of the program harder to exploit; freeing is slower then. @defaultValue false */
  secure?: boolean | SecureOptions;
}

/** What a heap was made with. */
export interface HeapRules {
  /** The most requested bytes that may be live; `Infinity` for no limit. */
  readonly limit: number;
  /** Whether freed memory is cleared at once. */
  readonly zeroOnFree: boolean;
  /** What decides the order of slots; undefined for the fastest order. */
  readonly random: RandomNumbers | undefined;
  /** How many freed blocks are kept from being used again; undefined for none. */
  readonly delay: DelayRules | undefined;
}

/**
 * The rules of a heap with these options.
 *
 * @throws {TypeError | RangeError} When an option is of the wrong type or value.
 */
export function heapRules(options: HeapOptions): HeapRules {
  assertKnownOptions<HeapOptions>(options, "make a heap", {
    source: true,
    limit: true,
    zeroOnFree: true,
    secure: true,
  });
  const { limit = Infinity, zeroOnFree = false, secure = false } = options;
  if (limit !== Infinity) assertSize(limit, "limit");
  assertBoolean(zeroOnFree, "zeroOnFree");
  if (secure === false) return { limit, zeroOnFree, random: undefined, delay: undefined };
  const wanted: SecureOptions = secure === true ? {} : secure;
  assertObject(wanted, "secure");
  assertKnownOptions<SecureOptions>(wanted, "make a heap", {
    zeroOnFree: true,
    randomPlacement: true,
    delayedReuse: true,
    seed: true,
  }, "secure.");
  const { zeroOnFree: zero = true, randomPlacement = true, delayedReuse = true, seed } = wanted;
  assertBoolean(zero, "secure.zeroOnFree");
  assertBoolean(randomPlacement, "secure.randomPlacement");
  if (seed !== undefined) assertSize(seed, "secure.seed");
  return {
    limit,
    zeroOnFree: zeroOnFree || zero,
    random: randomPlacement ? new RandomNumbers(seed) : undefined,
    delay: delayRules(delayedReuse),
  };
}

function delayRules(delayedReuse: boolean | DelayedReuseOptions): DelayRules | undefined {
  if (delayedReuse === false) return undefined;
  const bounds: DelayedReuseOptions = delayedReuse === true ? {} : delayedReuse;
  assertObject(bounds, "secure.delayedReuse");
  assertKnownOptions<DelayedReuseOptions>(bounds, "make a heap", { blocks: true, bytes: true }, "secure.delayedReuse.");
  const { blocks = DELAYED_BLOCKS, bytes = DELAYED_BYTES } = bounds;
  assertSize(blocks, "secure.delayedReuse.blocks");
  assertSize(bytes, "secure.delayedReuse.bytes");
  if (blocks < 1 || blocks > DELAYED_BLOCKS_MAX) {
    throw new RangeError(`Cannot use ${blocks} as secure.delayedReuse.blocks: it must be from 1 to 2^20`);
  }
  return { blocks, bytes };
}

function assertBoolean(value: unknown, name: string): void {
  if (typeof value === "boolean") return;
  throw new TypeError(`Cannot use ${describeValue(value)} as ${name}: it must be a boolean`);
}

function assertObject(value: unknown, name: string): void {
  if (typeof value === "object" && value !== null) return;
  throw new TypeError(`Cannot use ${describeValue(value)} as ${name}: it must be a boolean or an object of options`);
}
