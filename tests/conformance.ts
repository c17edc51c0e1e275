/**
 * The conformance suite: the whole contract of `src/allocator.ts`, against any allocator.
 *
 * ```ts
 * conformance("Heap over a fixed buffer", (overrides) => new Heap({ source: ..., ...overrides }), { isolating: false });
 * ```
 *
 * Every test's name begins with the item of the catalogue that it covers: A allocate and free, B alignment, C arguments,
 * D reallocate and resize, E zeroing, F invalid addresses, I structure, J the page source, L figures and limits, M fault
 * injection, P messages, V views, W owned buffers. What an allocator does not do by design is left out by an option, and
 * shows as a skipped test with the reason in its name.
 *
 * @module
 */
import { describe, it } from "@std/testing/bdd";
import { ALIGNMENT_CASES } from "./conformance/alignment.ts";
import { ALLOCATION_CASES } from "./conformance/allocation.ts";
import { ARGUMENT_CASES } from "./conformance/arguments.ts";
import {
  type ConformanceCase,
  type ConformanceOptions,
  expectations,
  type MakeAllocator,
  reasonToSkip,
  runCase,
} from "./conformance/case.ts";
import { DISPOSAL_CASES } from "./conformance/disposal.ts";
import { FAULT_CASES } from "./conformance/faults.ts";
import { INVALID_FREE_CASES } from "./conformance/invalid_free.ts";
import { MESSAGE_CASES } from "./conformance/messages.ts";
import { REALLOCATION_CASES } from "./conformance/reallocation.ts";
import { STATISTICS_CASES } from "./conformance/statistics.ts";
import { STRUCTURE_CASES } from "./conformance/structure.ts";
import { VIEW_CASES } from "./conformance/views.ts";
import { ZEROING_CASES } from "./conformance/zeroing.ts";

export type {
  ConformanceCase,
  ConformanceOptions,
  FaultySource,
  MakeAllocator,
  MakeOverrides,
} from "./conformance/case.ts";
export { expectations, reasonToSkip, runCase } from "./conformance/case.ts";

/** Every case of the suite. */
export const CONFORMANCE_CASES: readonly ConformanceCase[] = [
  ...ALLOCATION_CASES,
  ...ALIGNMENT_CASES,
  ...ARGUMENT_CASES,
  ...REALLOCATION_CASES,
  ...ZEROING_CASES,
  ...INVALID_FREE_CASES,
  ...DISPOSAL_CASES,
  ...STRUCTURE_CASES,
  ...STATISTICS_CASES,
  ...FAULT_CASES,
  ...MESSAGE_CASES,
  ...VIEW_CASES,
];

/** Registers the suite for one allocator. `make` is called again and again, each time for a fresh one. */
export function conformance(name: string, make: MakeAllocator, options: ConformanceOptions = {}): void {
  const expected = expectations(options);
  describe(`conformance of ${name}`, () => {
    for (const test of CONFORMANCE_CASES) {
      const reason = reasonToSkip(test, expected);
      if (reason === undefined) it(`${test.id} ${test.name}`, () => runCase(test, make, options));
      else it.skip(`${test.id} ${test.name} (left out: ${reason})`, () => {});
    }
  });
}
