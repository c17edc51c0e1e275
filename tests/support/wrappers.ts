/**
 * Wrappers around allocators, each alone and one around the other.
 *
 * @module
 */
import { type Allocator, DebugAllocator, type PageSource, QuarantineAllocator } from "../../mod.ts";

/** An allocator that a wrapper can be put around. */
export type Inner = Allocator & { readonly source: PageSource };

/** A wrapper, or two. */
export interface Wrapper {
  readonly name: string;
  wrap(inner: Inner): Inner;
}

/** All of them. */
export const WRAPPERS: readonly Wrapper[] = [
  { name: "DebugAllocator", wrap: (inner) => new DebugAllocator(inner, { stacks: false }) },
  { name: "QuarantineAllocator", wrap: (inner) => new QuarantineAllocator(inner, { maxBytes: 10_000 }) },
  {
    name: "DebugAllocator over a QuarantineAllocator",
    wrap: (inner) => new DebugAllocator(new QuarantineAllocator(inner), { stacks: false }),
  },
  {
    name: "QuarantineAllocator over a DebugAllocator",
    wrap: (inner) => new QuarantineAllocator(new DebugAllocator(inner, { stacks: false })),
  },
];
