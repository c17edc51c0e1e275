/**
 * Runs one small loop for a while and takes its time, round by round.
 *
 * @module
 */
import { elapsed, type Times } from "./clock.ts";

/** The line of JSON that a process prints which measured a small loop. */
export interface LoopReport {
  /** Operations of each round. */
  readonly operations: readonly number[];
  /** Times of each round. */
  readonly rounds: readonly Times[];
}

/** Runs one batch of operations; `count` is how many. */
export type Batch = (count: number) => void;

/** Operations per call of a loop at most; see drivers.ts for why a loop is not left running. */
export const LARGEST_BATCH = 4096;

/** Measures `rounds` rounds of at least `roundMs` each, after a fifth as many to warm up. */
export function measure(batch: Batch, clock: () => Times, rounds: number, roundMs: number): LoopReport {
  const size = findBatchSize(batch);
  const warmUp = Math.ceil(rounds / 5);
  const operations: number[] = [];
  const times: Times[] = [];
  for (let round = 0; round < warmUp + rounds; round++) {
    const end = performance.now() + roundMs;
    const start = clock();
    let count = 0;
    do {
      batch(size);
      count += size;
    } while (performance.now() < end);
    if (round < warmUp) continue;
    operations.push(count);
    times.push(elapsed(start, clock()));
  }
  return { operations, rounds: times };
}

/**
 * A slow subject gets small batches, so that a round does not overrun by much. The first batches are interpreted and say
 * little, so the size may grow later too.
 */
function findBatchSize(batch: Batch): number {
  let size = 16;
  for (let trial = 0; trial < 24; trial++) {
    const start = performance.now();
    batch(size);
    const took = performance.now() - start;
    if (took > 50) break;
    if (took < 1 && size < LARGEST_BATCH) size *= 2;
  }
  return size;
}
