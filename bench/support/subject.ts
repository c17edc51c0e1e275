/**
 * What a subject of the benchmarks is: an allocator behind one of two faces.
 *
 * A subject either gives addresses, which the drivers keep in a `Float64Array`, or handles (buffers, BigInts), which
 * they keep in an array. A process opens one subject only, so every call site stays monomorphic.
 *
 * @module
 */
import type { AllocatorStats } from "../../src/allocator.ts";
import type { PageSource } from "../../src/page_source.ts";
import type { OwnPages } from "./own_pages.ts";

/** The part of the package's `Allocator` that a replay needs, for subjects that give addresses. */
export interface AddressAllocator {
  allocate(size: number, alignment?: number): number;
  allocateZeroed(size: number): number;
  reallocate(address: number, size: number): number;
  free(address: number): void;
}

/** The same for subjects that give anything else. */
export interface HandleAllocator<H> {
  allocate(size: number, alignment?: number): H;
  allocateZeroed(size: number): H;
  reallocate(handle: H, size: number): H;
  free(handle: H): void;
}

/** An opened subject, with what only some benchmarks need of it. */
export interface AddressSubject {
  readonly kind: "address";
  readonly allocator: AddressAllocator;
  /** Writes to the first byte of a block, every `step` bytes from there, and the last; absent where nothing is there. */
  readonly touch?: (address: number, size: number, step: number) => void;
  /** Figures of the allocator itself. */
  readonly stats?: () => AllocatorStats;
  /** Gives everything back. */
  close(): void;
}

/** An opened subject that gives handles. */
export interface HandleSubject {
  readonly kind: "handle";
  readonly allocator: HandleAllocator<unknown>;
  /** As {@link AddressSubject.touch}. */
  readonly touch?: (handle: unknown, size: number, step: number) => void;
  /** As {@link AddressSubject.stats}. */
  readonly stats?: () => AllocatorStats;
  /** As {@link AddressSubject.close}. */
  close(): void;
}

/** Either kind. */
export type Subject = AddressSubject | HandleSubject;

/** What a subject may want to know before it opens. */
export interface SubjectOptions {
  /** The module that exports `Heap`; the package's own when absent. */
  readonly module?: string | undefined;
  /** The most bytes that will be live, for subjects of a fixed size. */
  readonly capacity?: number;
  /** Watches the OS pages of a heap. */
  readonly pages?: OwnPages;
  /** Where an allocator of this package takes its memory from; the system when absent. */
  readonly source?: PageSource;
}
