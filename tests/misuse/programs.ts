/**
 * What a misuse is, and the lists of all of them. Each is a restatement, written against the `Allocator` contract, of a
 * program of two public lists: the tests of hardened_malloc and the security programs of mimalloc-bench; or it is one of
 * ours.
 *
 * @module
 */
import type { Mode } from "./modes.ts";
import type { Program, SizeName } from "./scene.ts";

/** What hardened_malloc's own test of a program asks for: an abort with a message, a fault, or a clean end. */
export type HardenedOutcome = "abort" | "fault" | "ok" | "unstated";

/** One misuse. */
export interface Misuse {
  /** As in the public lists where it is there; without `_small` and `_large`, which are variants here. */
  readonly name: string;
  /** In a few words. */
  readonly what: string;
  /** The programs of hardened_malloc that it restates, and how each ends there as far as we know from its own tests. */
  readonly hardened: { readonly [name: string]: HardenedOutcome };
  /** The programs of mimalloc-bench that it restates. */
  readonly bench: readonly string[];
  /** Its variants. */
  readonly sizes: readonly SizeName[];
  /** The modes that it makes sense in. @defaultValue all */
  readonly modes?: readonly string[];
  /** Whether the allocator is good for nothing but `dispose` afterwards. @defaultValue false */
  readonly ruins?: boolean;
  /** Where it can be run. @defaultValue everywhere */
  readonly needs?: "linux";
  /** Commits it. */
  readonly run: Program;
}

/** Whether a misuse is committed in a mode. */
export function isIn({ name, modes }: Misuse, mode: Mode): boolean {
  return (modes?.includes(mode.name) ?? true) && !(mode.skips?.includes(name) ?? false);
}

/** Every variant, with the one whose end is not that of a size class. */
export const ANY_SIZE: readonly SizeName[] = ["odd", "small", "large", "huge"];
/** The variants of most misuses. */
export const ALL_SIZES: readonly SizeName[] = ["small", "large", "huge"];
/** For misuses in which the size is no matter. */
export const SMALL: readonly SizeName[] = ["small"];
/** For misuses that need more than an OS page. */
export const LARGE_ONLY: readonly SizeName[] = ["large", "huge"];
