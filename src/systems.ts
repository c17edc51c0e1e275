/**
 * The reference systems by name: a choice of options, nothing more.
 *
 * ```text
 *                 basicalloc         rustyMalloc         memAlloc            rulloc
 *   order         address            lifo                fifo                fifo, in each bucket
 *   header        0                  8                   40                  24 (theirs: 40)
 *   split         end                start               start               start
 *   coalesce      eager              lazy                eager               eager
 *   regions       joined             joined              apart               apart, by bucket
 *   given back    by trim            by trim             when free           when free
 *   reallocate    in place, moves    in place, moves     in place, moves     in place, down, moves
 * ```
 *
 * All take the first fit. docs/references.md says where each differs from its original, and why.
 *
 * @module
 */
import { assertOptions } from "./arguments.ts";
import { BucketAllocator, type BucketOptions } from "./bucket_allocator.ts";
import { contiguousPageSource } from "./contiguous_page_source.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { FreeListAllocator, type FreeListOptions } from "./free_list_allocator.ts";

/**
 * As basicalloc: an address-ordered free list over mappings, no header on live blocks, merging with both neighbours, also
 * across mappings that touch. `free(address, size)` has the size checked.
 */
export function basicalloc(options: FreeListOptions = {}): FreeListAllocator {
  assertOptions(options);
  return new FreeListAllocator({
    order: "address",
    header: 0,
    split: "end",
    coalesce: "eager",
    joinRegions: true,
    ...options,
  });
}

/**
 * As rusty_malloc: one growing buffer, size and free bit in a word of 8 bytes, a LIFO free list, and merging while it searches. The
 * buffer is a reservation of the system's, or what `source` gives: `brkPageSource`, `fixedPageSource`, or your own.
 */
export function rustyMalloc(options: FreeListOptions = {}): FreeListAllocator {
  assertOptions(options);
  return new FreeListAllocator({
    order: "lifo",
    header: 8,
    split: "start",
    coalesce: "lazy",
    joinRegions: true,
    ...options,
    source: options.source ?? contiguousPageSource(defaultPageSource()),
  });
}

/** As MemAlloc: linked blocks with long headers, a FIFO free list, and regions that are unmapped when their only block is free. */
export function memAlloc(options: FreeListOptions = {}): FreeListAllocator {
  assertOptions(options);
  return new FreeListAllocator({
    order: "fifo",
    header: 40,
    split: "start",
    coalesce: "eager",
    releaseRegions: true,
    ...options,
  });
}

/** As Rulloc: a bucket with its own regions and free list for each of `sizes`, and a dynamic one for larger blocks. */
export function rulloc(sizes?: readonly number[], options: Omit<BucketOptions, "sizes"> = {}): BucketAllocator {
  assertOptions(options);
  return new BucketAllocator(sizes === undefined ? options : { ...options, sizes });
}
