/**
 * All misuses, in the order of the page, and what of the public lists is not among them.
 *
 * @module
 */
import { AFTER_FREE } from "./after_free.ts";
import { IMPOSSIBLE_ARGUMENTS, OF_VIEWS } from "./arguments.ts";
import { BAD_FREES } from "./bad_frees.ts";
import { OVERFLOWS } from "./overflows.ts";
import type { Misuse } from "./programs.ts";

/** A part of the page. */
export interface Group {
  /** Its heading. */
  readonly title: string;
  readonly misuses: readonly Misuse[];
}

/** All of them. */
export const GROUPS: readonly Group[] = [
  { title: "Bad frees", misuses: BAD_FREES },
  { title: "Beyond the ends of a block", misuses: OVERFLOWS },
  { title: "Freed and uninitialised memory", misuses: AFTER_FREE },
  { title: "Impossible arguments", misuses: IMPOSSIBLE_ARGUMENTS },
  { title: "What only views have", misuses: OF_VIEWS },
];

const ABOUT_OTHER_CALLS = "a call that this package has not";
const NO_MISUSE = "no misuse, but a use that must work: the conformance suite has it";

/** Programs of hardened_malloc's `test/` that no misuse restates, and why. */
export const HARDENED_NOT_RESTATED: { readonly [name: string]: string } = {
  aligned_alloc_zero_size: NO_MISUSE,
  aligned_sized_delete_large: NO_MISUSE,
  aligned_sized_delete_small: NO_MISUSE,
  aligned_sized_delete_small_min_align: NO_MISUSE,
  free_sized_large: NO_MISUSE,
  free_sized_small: NO_MISUSE,
  invalid_malloc_object_size_small: ABOUT_OTHER_CALLS,
  invalid_malloc_object_size_small_canary: ABOUT_OTHER_CALLS,
  invalid_malloc_object_size_small_quarantine: ABOUT_OTHER_CALLS,
  large_array_growth: NO_MISUSE,
  mallinfo: ABOUT_OTHER_CALLS,
  mallinfo2: ABOUT_OTHER_CALLS,
  malloc_info: ABOUT_OTHER_CALLS,
  malloc_object_size: ABOUT_OTHER_CALLS,
  malloc_object_size_offset: ABOUT_OTHER_CALLS,
  malloc_object_size_zero: ABOUT_OTHER_CALLS,
  offset: "about the machine's mappings, not about a heap",
  pvalloc: ABOUT_OTHER_CALLS,
  realloc_init: NO_MISUSE,
};

/** Programs of mimalloc-bench's `bench/security/` that no misuse restates, and why. */
export const BENCH_NOT_RESTATED: { readonly [name: string]: string } = {
  invalid_array_delete_char: "`delete` is C++",
  invalid_array_delete_string: "`delete` is C++",
  invalid_delete_array_char: "`delete` is C++",
  invalid_delete_array_string: "`delete` is C++",
};

/** Every misuse by name. */
export const MISUSES: ReadonlyMap<string, Misuse> = new Map(
  GROUPS.flatMap(({ misuses }) => misuses).map((misuse) => [misuse.name, misuse]),
);
