/**
 * The options of a `GuardAllocator`, and what becomes of those that cannot be.
 *
 * @module
 */
import { stackDepth as depthOf } from "./allocation_site.ts";
import { assertOptions, assertSize } from "./arguments.ts";
import { describeValue, UnsupportedPlatformError } from "./errors.ts";
import type { GuardPlacement } from "./guard_layout.ts";
import type { PageSource } from "./page_source.ts";
import { randomSeed } from "./sampler.ts";

/** Options of a `GuardAllocator`. */
export interface GuardAllocatorOptions {
  /** Where memory comes from; reserved memory of it must be inaccessible. @defaultValue the operating system */
  source?: PageSource;
  /** One in so many allocations is guarded, chosen at random: from 1, for every one, to 2^30. @defaultValue 1 */
  sampleRate?: number;
  /** A whole number below 2^32 that fixes which allocations are chosen. @defaultValue random */
  seed?: number;
  /**
   * Which guard page a block touches: `"end"` stops what runs over its end, `"start"` what runs below its start.
   *
   * @defaultValue "end"
   */
  placement?: GuardPlacement;
  /**
   * Whether a block ends exactly at the guard page behind it, whatever its size. An allocation that asks for no
   * alignment then has none (its address is any number), an array that of its elements, and any other what it asks for.
   * Otherwise alignments below 16 are 16, and up to 15 bytes of slack lie between the block and the guard page.
   *
   * @defaultValue false
   */
  precise?: boolean;
  /**
   * The most guarded blocks that may be live. Each needs two mappings of the operating system; Linux allows a process
   * 65,530 unless told otherwise.
   *
   * @defaultValue 16384
   */
  maxBlocks?: number;
  /**
   * How many freed blocks keep their address space, without memory, so that a late access faults; the oldest goes
   * first. With 0 the address space goes back at once.
   *
   * @defaultValue 4096
   */
  maxFreedBlocks?: number;
  /** The most address space that they keep, in bytes. @defaultValue 2^32 */
  maxFreedBytes?: number;
  /**
   * Whether errors say where a block was allocated and freed, and how many frames deep: one to four microseconds and up
   * to half a kilobyte for each stack.
   *
   * @defaultValue false
   */
  stacks?: boolean | number;
}

/** The options with the defaults filled in. */
export interface GuardSettings extends Required<Omit<GuardAllocatorOptions, "source" | "stacks">> {
  /** Frames of the stacks that are noted; 0 for none. */
  readonly stackDepth: number;
}

/** The default of {@link GuardAllocatorOptions.maxBlocks}: half of what Linux allows, at two mappings each. */
const MAX_BLOCKS = 16_384;

/** The default of {@link GuardAllocatorOptions.maxFreedBlocks}. */
const MAX_FREED_BLOCKS = 4096;

/** The default of {@link GuardAllocatorOptions.maxFreedBytes}. */
const MAX_FREED_BYTES = 2 ** 32;

/** Throws for options that make no sense, fills in the others. */
export function guardSettings(options: GuardAllocatorOptions): GuardSettings {
  assertOptions(options);
  if ("allocate" in options) {
    throw new TypeError(
      "Cannot guard an allocator: a GuardAllocator has memory of its own. Its options may name a page source",
    );
  }
  const {
    sampleRate = 1,
    seed = randomSeed(),
    placement = "end",
    precise = false,
    maxBlocks = MAX_BLOCKS,
    maxFreedBlocks = MAX_FREED_BLOCKS,
    maxFreedBytes = MAX_FREED_BYTES,
    stacks = false,
  } = options;
  assertBetween(sampleRate, 1, 2 ** 30, "sampleRate");
  assertBetween(seed, 0, 2 ** 32 - 1, "seed");
  if (placement !== "end" && placement !== "start") {
    throw new RangeError(`Cannot use ${describeValue(placement)} as placement: it must be "end" or "start"`);
  }
  if (typeof precise !== "boolean") {
    throw new TypeError(`Cannot use ${describeValue(precise)} as precise: it must be a boolean`);
  }
  assertSize(maxBlocks, "maxBlocks");
  assertSize(maxFreedBlocks, "maxFreedBlocks");
  assertSize(maxFreedBytes, "maxFreedBytes");
  const stackDepth = depthOf(stacks);
  return { sampleRate, seed, placement, precise, maxBlocks, maxFreedBlocks, maxFreedBytes, stackDepth };
}

/**
 * Throws unless memory of `source` becomes inaccessible when it is not committed, and views of it can be taken away
 * first.
 *
 * A fixed buffer can do neither. The program break can do only the second: what is below the break is accessible, so
 * its `decommit` is its `discard`.
 */
export function assertCanGuard(source: PageSource): void {
  if (source.isolating && source.decommit !== source.discard) return;
  throw new UnsupportedPlatformError(
    `Cannot guard memory of the page source ${JSON.stringify(source.name)}: it cannot be made inaccessible. ` +
      "systemPageSource() has memory that can",
  );
}

function assertBetween(value: number, least: number, most: number, name: string): void {
  assertSize(value, name);
  if (value >= least && value <= most) return;
  throw new RangeError(`Cannot use ${value} as ${name}: it must be from ${least} to ${most}`);
}
