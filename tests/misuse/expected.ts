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
const ALIGNMENT = "AlignmentMismatchError, at once";
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
    ["view", { huge: USED, "*": DOUBLE_LATER }],
    ["basicalloc", { small: DOUBLE, "*": DOUBLE_LATER }],
    ["heap debug", { huge: DOUBLE, "*": DOUBLE_LATER }],
    ["shared rustyMalloc", DOUBLE_LATER],
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
  delete_type_size_mismatch: [["debug basicalloc rustyMalloc memAlloc rulloc", SIZE], ["*", UNSIZED]],
  invalid_aligned_sized_delete: [["debug", ALIGNMENT], ["*", UNALIGNED]],
  one_byte_overflow: [
    ["guard", { odd: CORRUPT_AT_FREE, "*": FAULT }],
    ["debug", CORRUPT_AT_FREE],
    ["basicalloc", { large: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["view buffer", NO_INDEX],
    ["*", WRITTEN],
  ],
  one_byte_underflow: [["guard", { large: FAULT, huge: FAULT, "*": CORRUPT_AT_FREE }], ["view buffer", NO_INDEX], [
    "debug rustyMalloc",
    CORRUPT_AT_FREE,
  ], ["*", WRITTEN]],
  "8_byte_overflow": [["guard", FAULT], ["debug", CORRUPT_AT_FREE], ["view buffer", NO_INDEX], ["*", WRITTEN]],
  "8_byte_underflow": [
    ["guard", { small: CORRUPT_AT_FREE, "*": FAULT }],
    ["view buffer", NO_INDEX],
    ["debug rustyMalloc", CORRUPT_AT_FREE],
    ["memAlloc rulloc", { small: WRITTEN, "*": CORRUPT_AT_FREE }],
    ["*", WRITTEN],
  ],
  "32_byte_overflow": [
    ["guard", FAULT],
    ["debug", CORRUPT_AT_FREE],
    ["rustyMalloc", { small: WRITTEN, "*": CORRUPT_AT_REUSE }],
    ["view buffer", NO_INDEX],
    ["*", WRITTEN],
  ],
  "32_byte_underflow": [
    ["guard", { small: CORRUPT_AT_FREE, "*": FAULT }],
    ["debug", { huge: WRITTEN, "*": CORRUPT_AT_FREE }],
    ["memAlloc", { small: WRITTEN, "*": CORRUPT_AT_FREE }],
    ["view buffer", NO_INDEX],
    ["*", WRITTEN],
  ],
  one_mbyte_overflow: [["rustyMalloc", { huge: WRITTEN, "*": FAULT }], ["view buffer", NO_INDEX], ["*", WRITTEN]],
  one_mbyte_underflow: [["view buffer", NO_INDEX], ["*", WRITTEN]],
  one_byte_memcpy_overflow: [
    ["guard", { odd: CORRUPT_AT_FREE, "*": FAULT }],
    ["debug", CORRUPT_AT_FREE],
    ["basicalloc", { large: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["view buffer", RANGE],
    ["*", WRITTEN],
  ],
  one_byte_memcpy_underflow: [["guard", { large: FAULT, huge: FAULT, "*": CORRUPT_AT_FREE }], ["view buffer", RANGE], [
    "debug rustyMalloc",
    CORRUPT_AT_FREE,
  ], ["*", WRITTEN]],
  "32_byte_memcpy_overflow": [
    ["guard", FAULT],
    ["basicalloc", { large: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["rustyMalloc", { small: CORRUPT_AT_FREE, "*": CORRUPT_AT_REUSE }],
    ["view buffer", RANGE],
    ["debug memAlloc rulloc", CORRUPT_AT_FREE],
    ["*", WRITTEN],
  ],
  "32_byte_memcpy_underflow": [["guard", { small: CORRUPT_AT_FREE, "*": FAULT }], ["view buffer", RANGE], [
    "debug rustyMalloc memAlloc rulloc",
    CORRUPT_AT_FREE,
  ], ["*", WRITTEN]],
  one_mbyte_memcpy_overflow: [
    ["guard", FAULT],
    ["basicalloc", { large: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["rustyMalloc", { huge: CORRUPT_AT_FREE, "*": FAULT }],
    ["view buffer", RANGE],
    ["debug memAlloc rulloc", CORRUPT_AT_FREE],
    ["*", WRITTEN],
  ],
  one_mbyte_memcpy_underflow: [
    ["guard", FAULT],
    ["basicalloc", { small: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["view buffer", RANGE],
    ["heap secure quarantine shared", WRITTEN],
    ["*", CORRUPT_AT_FREE],
  ],
  overflow_large_aligned: [
    ["guard", { small: CORRUPT_AT_FREE, "*": FAULT }],
    ["debug", CORRUPT_AT_FREE],
    ["basicalloc", { small: CORRUPT_AT_FREE, "*": WRITTEN }],
    ["view buffer", NO_INDEX],
    ["*", WRITTEN],
  ],
  overflow_realloc_shrink_large: [
    ["guard", FAULT],
    ["heap secure", { huge: FAULT, "*": WRITTEN }],
    ["view buffer", NO_INDEX],
    ["debug basicalloc", CORRUPT_AT_FREE],
    ["*", WRITTEN],
  ],
  read_overflow: [["guard", FAULT], ["view buffer", NO_INDEX], ["*", NEIGHBOUR]],
  string_overflow: [
    ["guard", FAULT],
    ["heap quarantine debug shared basicalloc", "missed: runs on into other memory"],
    ["*", "harmless: ends where the block ends"],
  ],
  read_after_realloc_shrink_large: [["guard", FAULT], ["view buffer", NO_INDEX], [
    "quarantine basicalloc rustyMalloc memAlloc",
    OLD,
  ], ["*", "missed: reads other memory"]],
  read_after_free: [
    ["heap", { huge: FAULT, "*": OLD }],
    ["view", { huge: EMPTY, "*": OLD }],
    ["buffer", EMPTY],
    ["guard", FAULT],
    ["secure", { huge: FAULT, "*": ZEROS }],
    ["quarantine", "harmless: reads the fill 0xdf"],
    ["debug", { huge: FAULT, "*": "harmless: reads the fill 0xdf" }],
    ["shared", { huge: ZEROS, "*": OLD }],
    ["basicalloc rustyMalloc", OLD],
    ["*", { small: OLD, "*": FAULT }],
  ],
  read_after_reuse: [
    ["view", { huge: EMPTY, "*": NEXT }],
    ["buffer", EMPTY],
    ["guard", FAULT],
    ["secure", { huge: FAULT, "*": ZEROS }],
    ["quarantine", "harmless: reads the fill 0xdf"],
    ["heap debug", { huge: FAULT, "*": NEXT }],
    ["memAlloc rulloc", { small: NEXT, "*": FAULT }],
    ["*", NEXT],
  ],
  write_after_free: [
    ["view", { huge: EMPTY, "*": WRITTEN }],
    ["buffer", EMPTY],
    ["guard", FAULT],
    ["quarantine", CORRUPT_AT_REUSE],
    ["memAlloc rulloc", { small: WRITTEN, "*": FAULT }],
    ["heap secure debug", { huge: FAULT, "*": WRITTEN }],
    ["*", WRITTEN],
  ],
  write_after_realloc: [
    ["view", { huge: EMPTY, "*": WRITTEN }],
    ["buffer", EMPTY],
    ["guard", FAULT],
    ["quarantine", { huge: CORRUPT_AT_FREE, "*": CORRUPT_AT_REUSE }],
    ["memAlloc rulloc", { small: WRITTEN, "*": FAULT }],
    ["heap secure debug", { huge: FAULT, "*": WRITTEN }],
    ["*", WRITTEN],
  ],
  use_after_dispose: [["view buffer", EMPTY], ["*", FAULT]],
  malloc_reuse: [["basicalloc", { small: ANOTHER, "*": REUSED }], ["shared rustyMalloc", REUSED], [
    "heap view buffer debug",
    { huge: ANOTHER, "*": REUSED },
  ], ["*", ANOTHER]],
  malloc_reuse_downsize: [["heap view buffer debug", { large: REUSED, "*": ANOTHER }], ["shared", {
    small: ANOTHER,
    "*": REUSED,
  }], [
    "rustyMalloc",
    REUSED,
  ], ["*", ANOTHER]],
  realloc_reuse: [["basicalloc", "harmless: grown in place"], ["guard secure quarantine memAlloc rulloc", ANOTHER], [
    "*",
    REUSED,
  ]],
  malloc_noreuse: [["*", ANOTHER]],
  uninitialized_read: [
    ["debug", "harmless: reads the fill 0xd0"],
    ["basicalloc rustyMalloc", OLD],
    ["memAlloc rulloc", { small: OLD, "*": "missed: reads remains" }],
    ["heap view shared", { huge: ZEROS, "*": OLD }],
    ["*", ZEROS],
  ],
  calloc_zeroed: [["*", ZEROS]],
  read_zero_size: [["guard", FAULT], ["view buffer", NO_INDEX], ["*", "missed: reads remains"]],
  write_zero_size: [["guard", FAULT], ["debug", CORRUPT_AT_FREE], ["view buffer", NO_INDEX], ["*", WRITTEN]],
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
