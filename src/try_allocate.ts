/**
 * Out of memory as a result instead of an error.
 *
 * @module
 */
import type { Allocator } from "./allocator.ts";
import { OutOfMemoryError } from "./errors.ts";
import type { Address } from "./page_source.ts";

/** `allocate` of an allocator that has no shorter way: 0 instead of `OutOfMemoryError`. */
export function tryAllocate(allocator: Pick<Allocator, "allocate">, size: number, alignment?: number): Address {
  try {
    return allocator.allocate(size, alignment);
  } catch (error) {
    if (error instanceof OutOfMemoryError) return 0;
    throw error;
  }
}
