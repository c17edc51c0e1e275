/**
 * What each misuse comes to in each mode: the table that the test holds against what happens, and that docs/misuse.md is made
 * from.
 *
 * A row lists modes and their outcome; the first entry that names a mode counts, and `"*"` is all others. An outcome is one
 * for all variants, or one for each, of which `"*"` again is all others. outcome.ts says how to read one.
 *
 * @module
 */
import type { Mode } from "./modes.ts";
import type { SizeName } from "./scene.ts";

/** The outcome of one misuse in one mode, for all variants or by variant. */
export type Cell = string | { readonly [variant in SizeName | "*"]?: string };

/** Modes, separated by spaces, and their outcome. */
export type Row = readonly (readonly [modes: string, cell: Cell])[];

const DOUBLE = "InvalidFreeError double, at once";
const DOUBLE_LATER = "InvalidFreeError double, at free";
const FOREIGN = "InvalidFreeError foreign, at once";
const INTERIOR = "InvalidFreeError interior, at once";
const USED = "UseAfterFreeError, at once";
const DISPOSED = "DisposedError, at once";
const TYPE = "TypeError, at once";
const RANGE = "RangeError, at once";
const NO_MEMORY = "OutOfMemoryError, at once";
const SIZE = "SizeMismatchError, at once";
const CORRUPT = "CorruptionError, at once";
const CORRUPT_AT_FREE = "CorruptionError, at free";
const CORRUPT_AT_REUSE = "CorruptionError, at reuse";
const FAULT = "fault";
const EMPTY = "empty view";
const NO_INDEX = "harmless: no such index";
const ANOTHER = "harmless: another address";
const ZEROS = "harmless: reads zeros";
const WRITTEN = "missed: written";
const OLD = "missed: reads the old contents";
const NEXT = "missed: reads the next owner's contents";
const NEIGHBOUR = "missed: reads another block";
const REUSED = "missed: reused at once";
const UNSIZED = "missed: freed, the size is not looked at";
const UNALIGNED = "missed: freed, the alignment is not looked at";

/** By misuse. */
export const EXPECTED: { readonly [misuse: string]: Row } = {
  double_free: [["view", { huge: USED, "*": DOUBLE }], ["*", DOUBLE]],
  double_free_interleaved: [["view", { huge: USED, "*": DOUBLE }], ["*", DOUBLE]],
  double_free_single_reuse: [
    ["heap", { huge: DOUBLE, "*": DOUBLE_LATER }],
    ["view", { huge: USED, "*": DOUBLE_LATER }],
    ["basicalloc", { small: DOUBLE, "*": DOUBLE_LATER }],
    ["rustyMalloc", DOUBLE_LATER],
    ["*", DOUBLE],
  ],
  invalid_free: [["*", FOREIGN]],
  invalid_free_stack: [["*", FOREIGN]],
  invalid_free_unprotected: [["*", FOREIGN]],
  invalid_free_protected: [["*", FOREIGN]],
  invalid_free_close: [["*", { small: FOREIGN, "*": INTERIOR }]],
  invalid_free_far: [["*", FOREIGN]],
  invalid_free_unaligned: [["*", INTERIOR]],
  invalid_free_unaligned_multiple: [["*", INTERIOR]],
  interior_free: [["*", INTERIOR]],
  free_in_another_allocator: [["*", FOREIGN]],
  free_after_dispose: [["buffer", DOUBLE], ["*", DISPOSED]],
  uninitialized_free: [["*", TYPE]],
  uninitialized_realloc: [["*", TYPE]],
  uninitialized_malloc_usable_size: [["*", TYPE]],
  invalid_malloc_usable_size_small: [["*", FOREIGN]],
  invalid_malloc_usable_size_small_quarantine: [["view", { huge: USED, "*": DOUBLE }], ["buffer", USED], ["*", DOUBLE]],
  unaligned_malloc_usable_size_small: [["*", INTERIOR]],
  realloc_after_free: [["view", { huge: USED, "*": DOUBLE }], ["buffer", USED], ["*", DOUBLE]],
  view_after_free: [["view", { huge: USED, "*": DOUBLE }], ["buffer", USED], ["*", DOUBLE]],
  delete_type_size_mismatch: [["heap view buffer guard", UNSIZED], ["*", SIZE]],
  invalid_aligned_sized_delete: [["*", UNALIGNED]],
  one_byte_overflow: [
    ["guard", { odd: CORRUPT_AT_FREE, "*": FAULT }],
    ["basicalloc", { large: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["view buffer", NO_INDEX],
    ["*", WRITTEN],
  ],
  one_byte_underflow: [
    ["guard", { large: FAULT, huge: FAULT, "*": CORRUPT_AT_FREE }],
    ["rustyMalloc", CORRUPT_AT_FREE],
    ["view buffer", NO_INDEX],
    ["*", WRITTEN],
  ],
  "8_byte_overflow": [["guard", FAULT], ["view buffer", NO_INDEX], ["*", WRITTEN]],
  "8_byte_underflow": [
    ["guard", { small: CORRUPT_AT_FREE, "*": FAULT }],
    ["rustyMalloc", CORRUPT_AT_FREE],
    ["heap basicalloc", WRITTEN],
    ["view buffer", NO_INDEX],
    ["*", { small: WRITTEN, "*": CORRUPT_AT_FREE }],
  ],
  "32_byte_overflow": [["guard", FAULT], ["rustyMalloc", { small: WRITTEN, "*": CORRUPT_AT_REUSE }], [
    "view buffer",
    NO_INDEX,
  ], ["*", WRITTEN]],
  "32_byte_underflow": [
    ["guard", { small: CORRUPT_AT_FREE, "*": FAULT }],
    ["memAlloc", { small: WRITTEN, "*": CORRUPT_AT_FREE }],
    ["view buffer", NO_INDEX],
    ["*", WRITTEN],
  ],
  one_mbyte_overflow: [["rustyMalloc", { huge: WRITTEN, "*": FAULT }], ["view buffer", NO_INDEX], ["*", WRITTEN]],
  one_mbyte_underflow: [["view buffer", NO_INDEX], ["*", WRITTEN]],
  one_byte_memcpy_overflow: [
    ["guard", { odd: CORRUPT_AT_FREE, "*": FAULT }],
    ["basicalloc", { large: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["view buffer", RANGE],
    ["*", WRITTEN],
  ],
  one_byte_memcpy_underflow: [
    ["guard", { large: FAULT, huge: FAULT, "*": CORRUPT_AT_FREE }],
    ["rustyMalloc", CORRUPT_AT_FREE],
    ["view buffer", RANGE],
    ["*", WRITTEN],
  ],
  "32_byte_memcpy_overflow": [
    ["heap", WRITTEN],
    ["guard", FAULT],
    ["basicalloc", { large: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["rustyMalloc", { small: CORRUPT_AT_FREE, "*": CORRUPT_AT_REUSE }],
    ["view buffer", RANGE],
    ["*", CORRUPT_AT_FREE],
  ],
  "32_byte_memcpy_underflow": [["guard", { small: CORRUPT_AT_FREE, "*": FAULT }], ["heap basicalloc", WRITTEN], [
    "view buffer",
    RANGE,
  ], ["*", CORRUPT_AT_FREE]],
  one_mbyte_memcpy_overflow: [
    ["heap", WRITTEN],
    ["guard", FAULT],
    ["basicalloc", { large: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["rustyMalloc", { huge: CORRUPT_AT_FREE, "*": FAULT }],
    ["view buffer", RANGE],
    ["*", CORRUPT_AT_FREE],
  ],
  one_mbyte_memcpy_underflow: [
    ["heap", WRITTEN],
    ["guard", FAULT],
    ["basicalloc", { small: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["view buffer", RANGE],
    ["*", CORRUPT_AT_FREE],
  ],
  overflow_large_aligned: [
    ["guard", { small: CORRUPT_AT_FREE, "*": FAULT }],
    ["basicalloc", { small: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["view buffer", NO_INDEX],
    ["*", WRITTEN],
  ],
  overflow_realloc_shrink_large: [
    ["heap", { huge: FAULT, "*": WRITTEN }],
    ["guard", FAULT],
    ["basicalloc", CORRUPT_AT_FREE],
    ["view buffer", NO_INDEX],
    ["*", WRITTEN],
  ],
  read_overflow: [["guard", FAULT], ["view buffer", NO_INDEX], ["*", NEIGHBOUR]],
  string_overflow: [["guard", FAULT], ["heap basicalloc", "missed: runs on into other memory"], [
    "*",
    "harmless: ends where the block ends",
  ]],
  read_after_realloc_shrink_large: [["guard", FAULT], ["heap rulloc", "missed: reads other memory"], [
    "view buffer",
    NO_INDEX,
  ], ["*", OLD]],
  read_after_free: [
    ["heap", { huge: FAULT, "*": OLD }],
    ["view", { huge: EMPTY, "*": OLD }],
    ["buffer", EMPTY],
    ["guard", FAULT],
    ["basicalloc rustyMalloc", OLD],
    ["*", { small: OLD, "*": FAULT }],
  ],
  read_after_reuse: [
    ["heap", { huge: FAULT, "*": NEXT }],
    ["view", { huge: EMPTY, "*": NEXT }],
    ["buffer", EMPTY],
    ["guard", FAULT],
    ["basicalloc rustyMalloc", NEXT],
    ["*", { small: NEXT, "*": FAULT }],
  ],
  write_after_free: [
    ["heap", { huge: FAULT, "*": WRITTEN }],
    ["view", { huge: EMPTY, "*": WRITTEN }],
    ["buffer", EMPTY],
    ["guard", FAULT],
    ["basicalloc rustyMalloc", WRITTEN],
    ["*", { small: WRITTEN, "*": FAULT }],
  ],
  write_after_realloc: [
    ["heap", { huge: FAULT, "*": WRITTEN }],
    ["view", { huge: EMPTY, "*": WRITTEN }],
    ["buffer", EMPTY],
    ["guard", FAULT],
    ["basicalloc rustyMalloc", WRITTEN],
    ["*", { small: WRITTEN, "*": FAULT }],
  ],
  use_after_dispose: [["view buffer", EMPTY], ["*", FAULT]],
  malloc_reuse: [["basicalloc", { small: ANOTHER, "*": REUSED }], ["rustyMalloc", REUSED], ["heap view buffer", {
    huge: ANOTHER,
    "*": REUSED,
  }], ["*", ANOTHER]],
  malloc_reuse_downsize: [["rustyMalloc", REUSED], ["*", ANOTHER]],
  realloc_reuse: [["basicalloc", "harmless: grown in place"], ["guard memAlloc rulloc", ANOTHER], ["*", REUSED]],
  malloc_noreuse: [["*", ANOTHER]],
  uninitialized_read: [["heap view", { huge: ZEROS, "*": OLD }], ["buffer guard", ZEROS], [
    "basicalloc rustyMalloc",
    OLD,
  ], ["*", { small: OLD, "*": "missed: reads remains" }]],
  calloc_zeroed: [["*", ZEROS]],
  read_zero_size: [["guard", FAULT], ["view buffer", NO_INDEX], ["*", "missed: reads remains"]],
  write_zero_size: [["guard", FAULT], ["view buffer", NO_INDEX], ["*", WRITTEN]],
  malloc_zero_different: [["*", ANOTHER]],
  executable_heap: [["*", "harmless: not executable"]],
  impossibly_large_malloc: [["*", NO_MEMORY]],
  impossibly_large_realloc: [["*", NO_MEMORY]],
  calloc_overflow: [["*", RANGE]],
  count_overflow: [["*", RANGE]],
  size_nan: [["*", RANGE]],
  size_negative: [["*", RANGE]],
  aligned_alloc_einval: [["*", RANGE]],
  neighbour_through_buffer: [["view", { huge: "harmless: the buffer is the block", "*": NEIGHBOUR }], [
    "*",
    "harmless: the buffer is the block",
  ]],
  view_kept_after_free: [["view", { huge: EMPTY, "*": OLD }], ["*", EMPTY]],
  view_kept_after_dispose: [["*", EMPTY]],
  buffer_transferred: [["*", CORRUPT]],
};

/** What is expected of one variant of a misuse in a mode. */
export function expectedOutcome(misuse: string, variant: SizeName, mode: Mode["name"]): string {
  const row = EXPECTED[misuse] ?? [];
  const cell = row.find(([modes]) => modes === "*" || modes.split(" ").includes(mode))?.[1];
  const outcome = typeof cell === "object" ? cell[variant] ?? cell["*"] : cell;
  if (outcome === undefined) throw new Error(`Cannot find what is expected of ${misuse}/${variant} in mode ${mode}`);
  return outcome;
}
