/**
 * Native memory for Deno and Bun: it never moves, is never garbage-collected, is freed when you say so, and a
 * view of freed memory is stale or empty, but never a crash.
 *
 * Nothing is loaded and no permission is asked for before the first allocator is made.
 *
 * @example
 * ```ts
 * import { Heap } from "@offheap/alloc";
 *
 * using heap = new Heap();
 * const address = heap.allocate(256);
 * heap.view(address).fill(1);
 * heap.free(address);
 * ```
 *
 * @module
 */
import { systemSharedPlatform } from "./ffi/address_wait.ts";
import { setSharedPlatform } from "./src/shared_platform.ts";

setSharedPlatform(systemSharedPlatform);

export * from "./heap.ts";
export { brkPageSource } from "./ffi/brk_page_source.ts";
export type { StackFrame } from "./src/allocation_site.ts";
export { Arena } from "./src/arena.ts";
export { type ArenaMark, type ArenaScope } from "./src/arena_mark.ts";
export type { ArenaOptions, ArenaResetMode } from "./src/arena_options.ts";
export type { HeaderSize } from "./src/block.ts";
export { BucketAllocator, type BucketOptions } from "./src/bucket_allocator.ts";
export type { BucketLayout, FreeStats, LayoutBlock, LayoutRegion } from "./src/bucket_layout.ts";
export type { AllocatorEvent } from "./src/bucket_policy.ts";
export { BumpAllocator, type BumpAllocatorOptions } from "./src/bump_allocator.ts";
export { contiguousPageSource } from "./src/contiguous_page_source.ts";
export { DebugAllocator } from "./src/debug_allocator.ts";
export type { DebugAllocatorOptions } from "./src/debug_options.ts";
export { type Describable, describe, type DescribeOptions } from "./src/describe.ts";
export {
  type FailingPageSource,
  failingPageSource,
  type FailingPageSourceOptions,
  type PageOperation,
} from "./src/failing_page_source.ts";
export type { FreeFit, FreeOrder } from "./src/free_list.ts";
export { FreeListAllocator, type FreeListOptions, type FreeListValidity } from "./src/free_list_allocator.ts";
export {
  allocate,
  allocateZeroed,
  free,
  globalAllocator,
  reallocate,
  setGlobalAllocator,
  tryAllocate,
} from "./src/global_allocator.ts";
export { GuardAllocator } from "./src/guard_allocator.ts";
export type { GuardPlacement } from "./src/guard_layout.ts";
export type { GuardAllocatorOptions } from "./src/guard_options.ts";
export type { HeapProfile, HeapProfileKind, HeapProfileNode, HeapProfileSample } from "./src/heap_profile.ts";
export { heapMap, type HeapMapOptions } from "./src/heap_map.ts";
export type { InBandAllocator } from "./src/in_band_allocator.ts";
export type { LeakedBlock, LeakReport, LeakSite } from "./src/leak_report.ts";
export type { LeakScope } from "./src/leak_scope.ts";
export { type LimitedPageSource, limitedPageSource } from "./src/limited_page_source.ts";
export { PoolAllocator } from "./src/pool_allocator.ts";
export type { PoolAllocatorOptions } from "./src/pool_options.ts";
export { QuarantineAllocator, type QuarantineAllocatorOptions } from "./src/quarantine_allocator.ts";
export type { SharedHeapOptions } from "./src/shared_attachment.ts";
export { InvalidHandleError, type SharedHeapHandle } from "./src/shared_handle.ts";
export { SharedHeap } from "./src/shared_heap.ts";
export { basicalloc, memAlloc, rulloc, rustyMalloc } from "./src/systems.ts";
export { Vec, type VecOptions } from "./src/vec.ts";
export type { ViewedAllocator } from "./src/viewed_allocator.ts";
