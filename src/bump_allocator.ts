/**
 * The simplest allocator: a fixed piece of memory and a cursor that each allocation moves up.
 *
 * ```text
 *   ┌─────────┬────────┬───┬──────────────┬──────────────────────────────────────┐
 *   │ block   │ block  │gap│ block        │ free                                 │
 *   └─────────┴────────┴───┴──────────────┴──────────────────────────────────────┘
 *                       ▲                 ▲ cursor ──▶
 *                       └ alignUp: the next address that is a multiple of the alignment
 * ```
 *
 * All memory is taken when it is made and none afterwards, so what a program can use is fixed before it starts: the
 * allocator of embedded systems. Which blocks there are is recorded out of line; see bump_region.ts.
 *
 * @module
 */
import type { Allocator, AllocatorStats, BlockInfo } from "./allocator.ts";
import { AllocatorMemory, assertAttached } from "./allocator_memory.ts";
import { assertAlignment, assertOptions, assertSize, DEFAULT_ALIGNMENT } from "./arguments.ts";
import { BUMP_GRANULE, BUMP_SHORT_MAX, BumpRegion } from "./bump_region.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { OutOfMemoryError } from "./errors.ts";
import { largestRegion, regionBytes } from "./mapped_region.ts";
import type { Address, PageSource } from "./page_source.ts";
import { ViewedAllocator } from "./viewed_allocator.ts";
import { throwReported } from "./violations.ts";

/** The size of the arena in the article that this allocator is after: 1 MiB. */
const DEFAULT_SIZE = 2 ** 20;

/** Records that there is room for at first; the record doubles as blocks come. */
const FIRST_RECORDS = 64;

// V8 reads an imported constant from memory at each use, but folds one of this file: for `allocate`.
const SHORT_MAX = BUMP_SHORT_MAX;
const DEFAULT = DEFAULT_ALIGNMENT;

/** Options of a {@link BumpAllocator}. */
export interface BumpAllocatorOptions {
  /** Where memory comes from: once, when the allocator is made. @defaultValue the operating system */
  source?: PageSource;
  /** Bytes to hand out, rounded up to whole OS pages; less than 4 GiB. @defaultValue 1 MiB */
  size?: number;
}

/**
 * A bump allocator over one fixed piece of memory.
 *
 * What differs from the {@link Allocator} contract:
 * - `free` of the last block gives its bytes back at once. `free` of another block only marks it as freed: its bytes
 *   come back when all blocks behind it are freed too (the cursor then falls back over it), or by
 *   {@link BumpAllocator.reset}. A second, interior or foreign free is detected in any case, from a record out of line.
 * - `resize` grows the last block only, and only it gives bytes back when it shrinks.
 * - Sizes are rounded up to 16 bytes; what alignment skips over is not used.
 * - `trim` gives the contents of OS pages above the cursor back; the address space stays.
 *
 * `allocate` and `free` of the last block take constant time, everything else that takes an address O(log blocks).
 * A block costs 16 bytes of record on JavaScript's heap.
 *
 * @example
 * ```ts
 * import { BumpAllocator, fixedPageSource } from "@offheap/alloc";
 *
 * // No permission is needed: all memory is this ArrayBuffer.
 * using bump = new BumpAllocator({ source: fixedPageSource(new ArrayBuffer(65536)), size: 65536 });
 * const address = bump.allocate(100, 64);
 * bump.view(address).fill(1);
 * bump.reset();
 * ```
 */
export class BumpAllocator extends ViewedAllocator implements Allocator {
  /** Where the memory came from. */
  readonly source: PageSource;
  readonly #region: BumpRegion;
  readonly #memory: AllocatorMemory;
  #disposed = false;

  /**
   * Takes all memory at once.
   *
   * @throws {OutOfMemoryError} When it cannot be had.
   */
  constructor(options: BumpAllocatorOptions = {}) {
    super();
    assertOptions(options);
    const { source = defaultPageSource(), size = DEFAULT_SIZE } = options;
    assertSize(size);
    const byteLength = regionBytes(source, size);
    const largest = largestRegion(source);
    if (size === 0 || byteLength > largest) {
      throw new RangeError(`Cannot use ${size} as the size of a bump allocator: it must be from 1 to ${largest} bytes`);
    }
    this.source = source;
    this.#region = new BumpRegion(source, byteLength, source.pageSize, FIRST_RECORDS);
    const region = this.#region;
    this.#memory = new AllocatorMemory(this, {
      name: "bump allocator",
      isDisposed: () => this.#disposed,
      find: (address) => {
        const index = region.indexOf(address);
        return index === -1 ? undefined : region.info(index);
      },
      explain: (address) =>
        region.explain(address) ?? { kind: "foreign", detail: "it is outside of the memory of this bump allocator" },
      regionOf: () => region.memory,
      regions: () => [region.memory],
    });
  }

  /** Bytes that can be handed out in all. */
  get capacity(): number {
    return this.#region.byteLength;
  }

  /** Bytes below the cursor: blocks, gaps of alignment, and freed blocks that lie below live ones. */
  get used(): number {
    return this.#region.cursor * BUMP_GRANULE;
  }

  /** Bytes above the cursor. */
  get available(): number {
    return this.capacity - this.used;
  }

  /** See {@link Allocator.allocate}. Constant time. */
  allocate(size: number, alignment: number = DEFAULT): Address {
    if (
      typeof size === "number" && (size >>> 0) === size && size <= SHORT_MAX && alignment === DEFAULT && !this.#disposed
    ) {
      const address = this.#region.allocateShort(size);
      if (address !== 0) return address;
    }
    return +this.#allocateSlow(size, alignment);
  }

  #allocateSlow(size: number, alignment: number): Address {
    assertSize(size);
    assertAlignment(alignment);
    this.#memory.assertNotDisposed("allocate");
    const address = this.#region.allocate(size, alignment);
    if (address !== 0) return address;
    throw new OutOfMemoryError(
      `Cannot allocate ${size} bytes at alignment ${alignment}: ${this.available} of the ${this.capacity} bytes of ` +
        "the bump allocator are left",
      size,
      this.capacity,
    );
  }

  /** See {@link Allocator.tryAllocate}. */
  override tryAllocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    assertSize(size);
    assertAlignment(alignment);
    this.#memory.assertNotDisposed("allocate");
    return this.#region.allocate(size, alignment);
  }

  /** See {@link Allocator.allocateZeroed}. Memory that nobody had before is not cleared again. */
  allocateZeroed(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    const address = this.allocate(size, alignment);
    const dirty = this.#region.dirtyBytes(address, size);
    if (dirty > 0) this.#memory.clearNew(address, dirty);
    return address;
  }

  /** See {@link Allocator.resize}. True for the last block as long as there is room, for others within their bytes. */
  resize(address: Address, size: number): boolean {
    this.#memory.liveToResize(address, size, "resize");
    return this.#region.resize(this.#region.indexOf(address), size);
  }

  /** See {@link Allocator.reallocate}. In place wherever `resize` can. */
  reallocate(address: Address, size: number): Address {
    if (address === 0) return this.allocate(size);
    const block = this.#memory.liveToResize(address, size, "reallocate");
    if (size === 0) {
      this.free(address);
      return 0;
    }
    const index = this.#region.indexOf(address);
    if (this.#region.resize(index, size)) return address;
    assertAttached(this.#region.memory);
    const moved = this.#allocateSlow(size, block.alignment);
    this.#memory.copyToNew(address, moved, block.requestedSize);
    this.#region.free(index);
    return moved;
  }

  /** See {@link Allocator.free}, and the class for when the bytes come back. */
  free(address: Address): void {
    const region = this.#region;
    const index = region.indexOf(address);
    if (index === -1) return this.#memory.rejectFree(address);
    if (this.#memory.ownedBlocks !== 0) this.#memory.revoke(address);
    region.free(index);
  }

  /** Frees every block: the cursor goes back to the start. Views stay readable and show what is allocated next. */
  reset(): void {
    this.#memory.assertNotDisposed("reset");
    // Revokes all owned buffers; the memory object stays usable.
    this.#memory.dispose();
    this.#region.reset();
  }

  /** See {@link Allocator.blocks}. In order of address. */
  *blocks(): IterableIterator<BlockInfo> {
    this.#memory.assertNotDisposed("walk the blocks");
    yield* this.#region.live();
  }

  /** See {@link Allocator.stats}. The record is on JavaScript's heap and not counted. */
  stats(): AllocatorStats {
    this.#memory.assertNotDisposed("report");
    const { byteLength, liveBlocks, liveBytes } = this.#region;
    return {
      liveBlocks,
      liveBytes,
      committedBytes: byteLength,
      peakCommittedBytes: byteLength,
      tableBytes: 0,
      reservedBytes: byteLength,
      wrappedBytes: byteLength,
      regions: 1,
      limit: Infinity,
    };
  }

  /** See {@link Allocator.check}. */
  check(): void {
    this.#memory.assertNotDisposed("check");
    assertAttached(this.#region.memory);
    try {
      this.#region.check();
    } catch (error) {
      throwReported(error);
    }
  }

  /** See {@link Allocator.trim}. Gives the contents of OS pages above the cursor back, not the address space. */
  trim(): number {
    this.#memory.assertNotDisposed("trim");
    return this.#region.discardUnused();
  }

  /** Frees every block, detaches every view and gives the memory back. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#memory.dispose();
    this.#region.unwrap();
    this.#region.unmap();
  }
}
