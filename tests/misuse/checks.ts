/**
 * The checks by which allocators are compared, the misuses that belong to each, and what others have published about
 * themselves. Those cells are copied from the collection that this project was started with (conformance, section 3); they say what the
 * projects' documents and sources say, and were not measured by us.
 *
 * @module
 */
import { outcomeKind } from "./outcome.ts";

/** The other allocators. */
export const PUBLISHED = ["scudo", "hardened_malloc", "mimalloc secure", "mimalloc debug", "glibc"] as const;

/** One check. */
export interface PublishedCheck {
  readonly title: string;
  /** The misuses that belong to it. */
  readonly misuses: readonly string[];
  /** Which outcomes count as having it. */
  counts(outcome: string): boolean;
  /** What others say. */
  readonly published: { readonly [name in (typeof PUBLISHED)[number]]: string };
}

const OVERFLOWS = [
  "one_byte_overflow",
  "8_byte_overflow",
  "32_byte_overflow",
  "one_byte_underflow",
  "8_byte_underflow",
  "32_byte_underflow",
  "one_byte_memcpy_overflow",
  "32_byte_memcpy_overflow",
  "one_byte_memcpy_underflow",
  "32_byte_memcpy_underflow",
];

/** In the order of the page. */
export const CHECKS: readonly PublishedCheck[] = [
  {
    title: "double free",
    misuses: ["double_free", "double_free_interleaved"],
    counts: isStopped,
    published: published("Y, state in header", "Y, bitmap", "Y, ignored", "Y", "p, cache key and list scan"),
  },
  {
    title: "foreign pointer",
    misuses: ["invalid_free", "invalid_free_unprotected", "invalid_free_protected", "invalid_free_far"],
    counts: isStopped,
    published: published("p, checksum", "Y", "p, cookie", "Y, region check", "p, `invalid pointer`"),
  },
  {
    title: "misaligned pointer",
    misuses: ["invalid_free_unaligned", "invalid_free_unaligned_multiple"],
    counts: isStopped,
    published: published("Y", "Y", "-", "Y", "Y"),
  },
  {
    title: "interior pointer",
    misuses: ["interior_free", "invalid_free_close"],
    counts: isStopped,
    published: published("p", "Y", "p", "p", "p"),
  },
  {
    title: "write after free",
    misuses: ["write_after_free", "write_after_realloc"],
    counts: isStopped,
    published: published("o, quarantine", "Y, zero check at reuse", "p, list corrupt", "p", "p"),
  },
  {
    title: "read after free",
    misuses: ["read_after_free", "read_after_reuse"],
    counts: isStopped,
    published: published("o, MTE", "large: fault; small: reads zero", "-", "poison 0xDF", "-"),
  },
  {
    title: "quarantine: not reused at once",
    misuses: ["malloc_reuse", "malloc_reuse_downsize"],
    counts: isStopped,
    published: published("o", "Y, FIFO and random", "-", "-", "-"),
  },
  {
    title: "canary: overruns found later",
    misuses: OVERFLOWS,
    counts: (outcome) => outcome.startsWith("CorruptionError"),
    published: published("-", "Y, 8 bytes", "o, padding", "Y, padding", "-"),
  },
  {
    title: "guard pages: overruns fault",
    misuses: OVERFLOWS,
    counts: (outcome) => outcome === "fault",
    published: published("Y, large", "Y, slabs and large", "o, metadata", "o, sampled", "-"),
  },
  {
    title: "zero on free",
    misuses: ["read_after_free"],
    counts: (outcome) => outcome === "harmless: reads zeros",
    published: published("o", "Y", "-", "-", "-"),
  },
  {
    title: "sized free with another size",
    misuses: ["delete_type_size_mismatch"],
    counts: isStopped,
    published: published("Y", "Y", "-", "assert", "o"),
  },
  {
    title: "count times size overflows",
    misuses: ["calloc_overflow", "count_overflow"],
    counts: isStopped,
    published: published("Y", "Y", "Y", "Y", "Y"),
  },
  {
    title: "block of no bytes: access is stopped",
    misuses: ["read_zero_size", "write_zero_size"],
    counts: isStopped,
    published: published("valid pointer", "Y, faults", "valid pointer", "valid pointer", "valid pointer"),
  },
];

function published(
  scudo: string,
  hardened: string,
  secure: string,
  debug: string,
  glibc: string,
): PublishedCheck["published"] {
  return {
    scudo,
    hardened_malloc: hardened,
    "mimalloc secure": secure,
    "mimalloc debug": debug,
    glibc,
  };
}

function isStopped(outcome: string): boolean {
  return outcomeKind(outcome) !== "missed";
}
