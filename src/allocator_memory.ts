/**
 * The memory of the simple allocators: views of the regions that they have mapped and wrapped themselves.
 *
 * ```text
 *   allocator ── allocate, free, resize ...      its own
 *       │
 *       └── AllocatorMemory                      this file
 *             ├── copy, clear                           between the regions that `hooks.regions()` lists, by address
 *             └── ViewedMemory: view, array, buffer     viewed_memory.ts
 * ```
 *
 * The allocator says through {@link MemoryHooks} which blocks are live and where the regions are; this class knows neither
 * headers nor free lists. Beside what viewed_memory.ts asks of it, its `free` passes an address where no live block starts to
 * {@link AllocatorMemory.rejectFree}, and does nothing more when that returns; its `dispose` unwraps the regions, which
 * detaches all views but those of NativeBuffers.
 *
 * @module
 */
import type { BlockInfo, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import { clearBytes, copyBytes, type WrappedBytes } from "./bytes.ts";
import { CorruptionError, formatAddress, type InvalidAddress, InvalidFreeError } from "./errors.ts";
import type { OwningAllocator } from "./owned_blocks.ts";
import type { Address } from "./page_source.ts";
import { type BlockBytes, ViewedMemory, type ViewHooks } from "./viewed_memory.ts";
import { throwAfterReport } from "./violations.ts";

/** One wrapped piece of memory that blocks lie in. */
export interface MemoryRegion extends WrappedBytes {
  /** Where it starts. */
  readonly address: Address;
}

/** What {@link AllocatorMemory} needs to know of its allocator, besides what is in {@link ViewHooks}. */
export interface MemoryHooks extends ViewHooks<BlockInfo> {
  /** Why there is no live block at `address`. */
  explain(address: Address): InvalidAddress;
  /** The region that the live block at `address` lies in. */
  regionOf(address: Address): MemoryRegion;
  /** All regions, for `addressOf`. */
  regions(): Iterable<MemoryRegion>;
}

/** The memory of one allocator, as its callers see it. `addressOf` takes time in the number of regions. */
export class AllocatorMemory extends ViewedMemory<BlockInfo> {
  readonly #allocator: OwningAllocator;
  readonly #hooks: MemoryHooks;

  /** Starts with no owned blocks. */
  constructor(allocator: OwningAllocator, hooks: MemoryHooks) {
    super(allocator, hooks, new RegionBytes(hooks));
    this.#allocator = allocator;
    this.#hooks = hooks;
  }

  /** Copies `length` bytes from one live block to another; up to 3 bytes more may be copied. */
  copy(from: Address, to: Address, length: number): void {
    const source = wrappedRegionOf(this.#hooks, from);
    const target = wrappedRegionOf(this.#hooks, to);
    copyBytes(source, from - source.address, target, to - target.address, length);
  }

  /** Clears the first `length` bytes of a live block; up to 7 bytes more may be cleared. */
  clear(address: Address, length: number): void {
    const region = wrappedRegionOf(this.#hooks, address);
    clearBytes(region, address - region.address, length);
  }

  /** As `copy`, to the block just allocated at `to`, which is freed again when that fails. */
  copyToNew(from: Address, to: Address, length: number): void {
    try {
      this.copy(from, to, length);
    } catch (error) {
      this.#allocator.free(to);
      throw error;
    }
  }

  /** As `clear`, of the block just allocated at `address`, which is freed again when that fails. */
  clearNew(address: Address, length: number): void {
    try {
      this.clear(address, length);
    } catch (error) {
      this.#allocator.free(address);
      throw error;
    }
  }
}

/** The bytes of blocks that lie in the regions which `hooks` knows. */
class RegionBytes implements BlockBytes {
  readonly #hooks: MemoryHooks;

  constructor(hooks: MemoryHooks) {
    this.#hooks = hooks;
  }

  invalid(address: Address, action: string): InvalidFreeError {
    const { kind, detail } = this.#hooks.explain(address);
    return new InvalidFreeError(action, address, kind, detail);
  }

  viewAt<T extends TypedArray>(address: Address, type: TypedArrayConstructor<T>, length: number): T {
    const region = wrappedRegionOf(this.#hooks, address);
    return new type(region.bytes.buffer, region.bytes.byteOffset + (address - region.address), length);
  }

  originOf(buffer: ArrayBufferLike): Address | undefined {
    for (const { bytes, address } of this.#hooks.regions()) {
      if (bytes.buffer === buffer) return address - bytes.byteOffset;
    }
    return undefined;
  }
}

function wrappedRegionOf(hooks: MemoryHooks, address: Address): MemoryRegion {
  const region = hooks.regionOf(address);
  assertAttached(region);
  return region;
}

/** Throws when somebody outside detached a region's ArrayBuffer: all views of it are empty, and so are the allocator's. */
export function assertAttached(region: MemoryRegion): void {
  if (region.bytes.byteLength > 0) return;
  const where = formatAddress(region.address);
  throwAfterReport(new CorruptionError(`Cannot use the region at ${where}: its ArrayBuffer was detached from outside`));
}
