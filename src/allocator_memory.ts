/**
 * The view half of the {@link Allocator} contract, written once for the simple allocators.
 *
 * ```text
 *   allocator ── allocate, free, resize ...      its own
 *       │
 *       └── AllocatorMemory                      this file
 *             ├── view, array, freeArray, addressOf     over the regions that `hooks.regions()` lists
 *             ├── copy, clear                           between them, by address
 *             └── OwnedBlocks: buffer                   native_buffer.ts
 * ```
 *
 * The allocator says through {@link MemoryHooks} which blocks are live and where the regions are; this class knows neither headers
 * nor free lists. What the allocator must do in return:
 *
 * - `free`: give what {@link AllocatorMemory.invalid} returns to `reportViolation`, and do nothing more when that returns;
 *   call {@link AllocatorMemory.revoke} before the block goes, if {@link AllocatorMemory.ownedBlocks} is not 0;
 * - `resize`, `reallocate`: call {@link AllocatorMemory.refuseOwned}, likewise;
 * - `dispose`: call {@link AllocatorMemory.dispose} first, then unwrap the regions (which detaches all other views).
 *
 * Nothing here is on the path of `allocate` and `free` of blocks that nobody owns.
 *
 * @module
 */
import type { Allocator, BlockInfo, BufferOptions, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import { assertAddress, assertSize, assertTypedArrayConstructor } from "./arguments.ts";
import { clearBytes, copyBytes, type WrappedBytes } from "./bytes.ts";
import {
  type AllocatorError,
  CorruptionError,
  describeValue,
  DisposedError,
  formatAddress,
  InvalidFreeError,
  type InvalidFreeKind,
  UseAfterFreeError,
} from "./errors.ts";
import { type NativeBuffer, OwnedBlocks } from "./native_buffer.ts";
import type { Address, PageSource } from "./page_source.ts";
import { reportViolation, throwAfterReport } from "./violations.ts";

/** One wrapped piece of memory that blocks lie in. */
export interface MemoryRegion extends WrappedBytes {
  /** Where it starts. */
  readonly address: Address;
}

/** Why an address is not that of a live block: the kind of the error and the end of its sentence. */
export interface InvalidAddress {
  /** See {@link InvalidFreeError.kind}. */
  readonly kind: InvalidFreeKind;
  /** Such as `the block is already freed`. */
  readonly detail: string;
}

/** What {@link AllocatorMemory} needs to know of its allocator. None of these is called after `dispose`, but `isDisposed`. */
export interface MemoryHooks {
  /** The kind of allocator, for messages: `the arena is disposed`. */
  readonly name: string;
  /** Whether the allocator is disposed. */
  isDisposed(): boolean;
  /** The live block that starts at `address`, if one does. Any number may come: fractions, NaN, negative ones. */
  find(address: Address): BlockInfo | undefined;
  /** Why there is none. */
  explain(address: Address): InvalidAddress;
  /** The region that the live block at `address` lies in. */
  regionOf(address: Address): MemoryRegion;
  /** All regions, for `addressOf`. */
  regions(): Iterable<MemoryRegion>;
  /**
   * Allocates what is about to take the place of `block`, at its alignment. For allocators with a limit, which must have room
   * for the difference only. @defaultValue `allocate`
   */
  replace?(block: BlockInfo, size: number): Address;
  /** Is told when a `NativeBuffer` comes to own a block, and when it no longer does. @defaultValue nothing */
  setOwned?(address: Address, owned: boolean): void;
}

/** The memory of one allocator, as its callers see it. */
export class AllocatorMemory {
  /** How many live blocks are owned by a `NativeBuffer`. */
  ownedBlocks = 0;
  readonly #allocator: Allocator & { readonly source: PageSource };
  readonly #hooks: MemoryHooks;
  readonly #owned: OwnedBlocks;

  /** Starts with no owned blocks. */
  constructor(allocator: Allocator & { readonly source: PageSource }, hooks: MemoryHooks) {
    this.#allocator = allocator;
    this.#hooks = hooks;
    this.#owned = new OwnedBlocks(allocator, {
      setOwned: (address, owned) => {
        this.ownedBlocks += owned ? 1 : -1;
        hooks.setOwned?.(address, owned);
      },
      replace: (address, size) => {
        const block = this.live(address, "resize");
        return hooks.replace?.(block, size) ?? allocator.allocate(size, block.alignment);
      },
    });
  }

  /** Throws `DisposedError` when the allocator is disposed. */
  assertNotDisposed(action: string): void {
    if (this.#hooks.isDisposed()) throw new DisposedError(action, this.#hooks.name);
  }

  /** The live block at `address`; otherwise throws the error that says why there is none, after reporting it. */
  live(address: Address, action: string): BlockInfo {
    assertAddress(address);
    this.assertNotDisposed(`${action} ${formatAddress(address)}`);
    return this.#hooks.find(address) ?? throwAfterReport(this.invalid(address, action));
  }

  /** The error for an `address` that is not that of a live block. */
  invalid(address: Address, action: string): InvalidFreeError {
    const { kind, detail } = this.#hooks.explain(address);
    return new InvalidFreeError(action, address, kind, detail);
  }

  /** See {@link Allocator.view}. */
  view(address: Address, byteLength?: number): Uint8Array {
    const block = this.live(address, "view");
    if (byteLength === undefined) return this.#viewOf(address, Uint8Array, block.requestedSize);
    assertSize(byteLength, "byteLength");
    if (byteLength > block.usableSize) {
      throw new RangeError(
        `Cannot view ${byteLength} bytes at ${formatAddress(address)}: the block has ${block.usableSize}`,
      );
    }
    return this.#viewOf(address, Uint8Array, byteLength);
  }

  /** See {@link Allocator.array}. */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T {
    assertSize(length, "length");
    assertTypedArrayConstructor(type);
    const address = this.#allocator.allocate(length * type.BYTES_PER_ELEMENT);
    try {
      return this.#viewOf(address, type, length);
    } catch (error) {
      this.#allocator.free(address);
      throw error;
    }
  }

  /** See {@link Allocator.freeArray}. */
  freeArray(array: ArrayBufferView): void {
    const address = this.#addressOf(array, "free");
    if (typeof address === "number") this.#allocator.free(address);
    else reportViolation(address);
  }

  /** See {@link Allocator.addressOf}. Time in the number of regions. */
  addressOf(view: ArrayBufferView): Address {
    const address = this.#addressOf(view, "take the address of");
    return typeof address === "number" ? address : throwAfterReport(address);
  }

  /** See {@link Allocator.buffer}. */
  buffer(byteLength: number, options: BufferOptions = {}): NativeBuffer {
    this.assertNotDisposed("allocate a buffer");
    return this.#owned.create(byteLength, options);
  }

  /** Detaches the views of the block at `address`, which is about to be freed, if it is owned. */
  revoke(address: Address): void {
    this.#owned.revoke(address);
  }

  /** Throws when a `NativeBuffer` owns the live block at `address`: only it may change the block. */
  refuseOwned(address: Address, action: string): void {
    if (this.ownedBlocks === 0 || !this.#owned.has(address)) return;
    const detail = "a NativeBuffer owns the block; use its resize method";
    throwAfterReport(new InvalidFreeError(action, address, "foreign", detail));
  }

  /** Copies `length` bytes from one live block to another; up to 3 bytes more may be copied. */
  copy(from: Address, to: Address, length: number): void {
    const source = this.#wrappedRegionOf(from);
    const target = this.#wrappedRegionOf(to);
    copyBytes(source, from - source.address, target, to - target.address, length);
  }

  /** Clears the first `length` bytes of a live block; up to 7 bytes more may be cleared. */
  clear(address: Address, length: number): void {
    const region = this.#wrappedRegionOf(address);
    clearBytes(region, address - region.address, length);
  }

  /** Detaches the views of all owned blocks. The first thing that the allocator's own `dispose` does. */
  dispose(): void {
    this.#owned.revokeAll();
    this.ownedBlocks = 0;
  }

  #viewOf<T extends TypedArray>(address: Address, type: TypedArrayConstructor<T>, length: number): T {
    const region = this.#wrappedRegionOf(address);
    return new type(region.bytes.buffer, region.bytes.byteOffset + (address - region.address), length);
  }

  #wrappedRegionOf(address: Address): MemoryRegion {
    const region = this.#hooks.regionOf(address);
    assertAttached(region);
    return region;
  }

  /** The address of the first byte of a view, or the violation that it is of no memory of this allocator. */
  #addressOf(view: ArrayBufferView, action: string): Address | AllocatorError {
    this.assertNotDisposed(`${action} a view`);
    if (!ArrayBuffer.isView(view)) {
      throw new TypeError(`Cannot ${action} ${describeValue(view)}: it must be a typed array or DataView`);
    }
    const { buffer } = view;
    if (buffer.byteLength === 0 && (buffer as ArrayBuffer).detached === true) {
      return new UseAfterFreeError(`Cannot ${action} the view: its memory was freed and its buffer detached`);
    }
    const origin = this.#originOf(buffer) ?? this.#owned.originOf(buffer);
    if (origin !== undefined) return origin + view.byteOffset;
    return new InvalidFreeError(action, 0, "foreign", `it is not of this ${this.#hooks.name}'s memory`, "the view");
  }

  /** The address of byte 0 of a region's buffer. */
  #originOf(buffer: ArrayBufferLike): Address | undefined {
    for (const { bytes, address } of this.#hooks.regions()) {
      if (bytes.buffer === buffer) return address - bytes.byteOffset;
    }
    return undefined;
  }
}

/** Throws when somebody outside detached a region's ArrayBuffer: all views of it are empty, and so are the allocator's. */
export function assertAttached(region: MemoryRegion): void {
  if (region.bytes.byteLength > 0) return;
  const where = formatAddress(region.address);
  throwAfterReport(new CorruptionError(`Cannot use the region at ${where}: its ArrayBuffer was detached from outside`));
}
