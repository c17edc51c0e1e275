/**
 * Heaps to be tested.
 *
 * @module
 */
import {
  type Address,
  type FailingPageSource,
  failingPageSource,
  type FailingPageSourceOptions,
  Heap,
  type PageSource,
  systemPageSource,
} from "../../mod.ts";
import { Recorder } from "./recording_source.ts";

/** A heap over a recorded source. */
export function recordedHeap(source: PageSource): { heap: Heap; recorder: Recorder } {
  const recorder = new Recorder(source);
  return { heap: new Heap({ source: recorder.source }), recorder };
}

/** A heap over the system's memory, recorded, that fails at these operations when `failing` is armed. */
export function failingHeap(
  ...operations: NonNullable<FailingPageSourceOptions["operations"]>
): { heap: Heap; failing: FailingPageSource; recorder: Recorder } {
  const recorder = new Recorder(systemPageSource());
  const failing = failingPageSource(recorder.source, Infinity, { operations });
  return { heap: new Heap({ source: failing }), failing, recorder };
}

/** Allocates until memory runs out, blocks of the first size as long as there is room, then of the next. */
export function fillUp(heap: Heap, ...sizes: readonly number[]): Address[] {
  const addresses: Address[] = [];
  for (const size of sizes) {
    for (let address = heap.tryAllocate(size); address !== 0; address = heap.tryAllocate(size)) addresses.push(address);
  }
  return addresses;
}
