/**
 * Two attachments to one heap, in one thread: every order of their steps can be had.
 *
 * @module
 */
import { SharedHeap } from "../../mod.ts";

/** Address space for heaps that stay small. */
export const RESERVE: number = 2 ** 28;

/** Two attachments to one heap; the handle goes as it would to a worker. */
export function pair(reserve = RESERVE): [SharedHeap, SharedHeap] {
  const first = SharedHeap.create({ reserve });
  return [first, SharedHeap.attach(structuredClone(first.handle))];
}

/** Verifies all attachments, then ends them. */
export function checkAndDetach(...heaps: readonly SharedHeap[]): void {
  for (const heap of heaps) heap.check();
  for (const heap of heaps) heap.detach();
}
