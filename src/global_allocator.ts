/**
 * The allocator of those that are given none: a `Heap` on the default page source, unless the program sets another.
 *
 * This is what `#[global_allocator]` is in Rust, with one difference: it can be set at any time, and blocks stay with
 * the allocator that gave them. Freeing an older allocator's block after the change is an `InvalidFreeError`.
 *
 * @module
 */
import type { Allocator } from "./allocator.ts";
import { DEFAULT_ALIGNMENT } from "./arguments.ts";
import { describeValue } from "./errors.ts";
import { Heap } from "./heap.ts";
import type { Address } from "./page_source.ts";

let current: Allocator | undefined;

/**
 * The global allocator. The first call makes a `Heap` on the operating system's memory, unless one was set before.
 *
 * @throws {UnsupportedPlatformError} When none was set and the system's memory cannot be had: see its message.
 */
export function globalAllocator(): Allocator {
  current ??= new Heap();
  return current;
}

/**
 * Makes `allocator` the global one, and returns the one that was, so that it can be set again or disposed. Undefined
 * stands for the heap that is made when first needed: it is returned when that was not made yet, and may be passed to
 * have a new one.
 */
export function setGlobalAllocator(allocator: Allocator | undefined): Allocator | undefined {
  if (allocator !== undefined && typeof allocator?.allocate !== "function") {
    throw new TypeError(`Cannot use ${describeValue(allocator)} as the global allocator: it must be an allocator`);
  }
  const previous = current;
  current = allocator;
  return previous;
}

/** See {@link Allocator.allocate}; on the global allocator. */
export function allocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
  return globalAllocator().allocate(size, alignment);
}

/** See {@link Allocator.tryAllocate}; on the global allocator. */
export function tryAllocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
  return globalAllocator().tryAllocate(size, alignment);
}

/** See {@link Allocator.allocateZeroed}; on the global allocator. */
export function allocateZeroed(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
  return globalAllocator().allocateZeroed(size, alignment);
}

/** See {@link Allocator.reallocate}; on the global allocator. */
export function reallocate(address: Address, size: number): Address {
  return globalAllocator().reallocate(address, size);
}

/** See {@link Allocator.free}; on the global allocator. */
export function free(address: Address): void {
  globalAllocator().free(address);
}
