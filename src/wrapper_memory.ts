/**
 * The view half of the `Allocator` contract, written once for the allocators that wrap another one.
 *
 * ```text
 *   wrapper ── allocate, free, resize ...        its own: records of the live blocks, by address
 *      │
 *      ├── WrapperMemory                         this file
 *      │     ├── view, array, freeArray, addressOf     through views of the inner allocator
 *      │     ├── copy, clear                           between blocks of the wrapper
 *      │     └── OwnedBlocks: buffer                   native_buffer.ts
 *      ▼
 *   inner ── has the regions and the page source
 *
 *   a block of the inner allocator     ┌───────────────┬────────────────────┬──────────────┐
 *                                      │ the wrapper's │ the caller's block │ the wrapper's│
 *                                      └───────────────┴────────────────────┴──────────────┘
 *                                   inner           address
 * ```
 *
 * The caller's block lies anywhere inside the inner one, which has an address of its own (`inner`; the same as `address`
 * in a wrapper that adds nothing). What is not the start of a live block of the wrapper is a violation, and goes
 * through the hook of violations.ts. What the wrapper must do in return:
 *
 * - `free`: call {@link WrapperMemory.revoke} before the block goes, if {@link WrapperMemory.ownedBlocks} is not 0;
 * - `resize`, `reallocate`: call {@link WrapperMemory.refuseOwned}, likewise;
 * - `dispose`: call {@link WrapperMemory.dispose} first, then dispose the inner allocator (which detaches all other
 *   views): a wrapper owns the allocator that it wraps.
 *
 * @module
 */
import type { BlockInfo, BufferOptions, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import { assertAddress, assertArrayLength, assertSize, assertTypedArrayConstructor } from "./arguments.ts";
import {
  type AllocatorError,
  describeValue,
  DisposedError,
  formatAddress,
  InvalidFreeError,
  UseAfterFreeError,
} from "./errors.ts";
import { type NativeBuffer, OwnedBlocks, type OwningAllocator } from "./native_buffer.ts";
import type { Address } from "./page_source.ts";
import { reportViolation, throwAfterReport } from "./violations.ts";

/** A live block of a wrapper. */
export interface WrappedBlock extends BlockInfo {
  /** The address of the inner allocator's block that it lies in: `address` or less. */
  readonly inner: Address;
}

/** What {@link WrapperMemory} needs to know of its wrapper. None of these is called after `dispose`, but `isDisposed`. */
export interface WrapperHooks {
  /** The kind of allocator, for messages: `the debug allocator is disposed`. */
  readonly name: string;
  /** Whether the wrapper is disposed. */
  isDisposed(): boolean;
  /** The live block that starts at `address`, if one does. Any number may come: fractions, NaN, negative ones. */
  find(address: Address): WrappedBlock | undefined;
  /** The error that says why there is none. */
  invalid(address: Address, action: string): InvalidFreeError;
  /**
   * Allocates what is about to take the place of `block`, at its alignment. For wrappers with a limit, which must have room
   * for the difference only. @defaultValue `allocate`
   */
  replace?(block: WrappedBlock, size: number): Address;
}

/** Throws `TypeError` for what no wrapper can be put around. */
export function assertWrappable(inner: OwningAllocator): void {
  if (typeof inner?.allocate === "function" && inner.source !== undefined) return;
  throw new TypeError(`Cannot wrap ${describeValue(inner)}: it must be an allocator with a page source`);
}

/** The memory of one wrapper, as its callers see it. */
export class WrapperMemory {
  /** How many live blocks are owned by a `NativeBuffer`. */
  ownedBlocks = 0;
  readonly #allocator: OwningAllocator;
  readonly #inner: Pick<OwningAllocator, "view">;
  readonly #hooks: WrapperHooks;
  readonly #owned: OwnedBlocks;
  /** The address of byte 0 of every ArrayBuffer of the inner allocator that a view was made on, for `addressOf`. */
  readonly #origins = new WeakMap<ArrayBufferLike, Address>();

  /** For `allocator`, whose blocks lie in those of `inner`. Starts with no owned blocks. */
  constructor(allocator: OwningAllocator, inner: Pick<OwningAllocator, "view">, hooks: WrapperHooks) {
    this.#allocator = allocator;
    this.#inner = inner;
    this.#hooks = hooks;
    this.#owned = new OwnedBlocks(allocator, {
      setOwned: (_address, owned) => {
        this.ownedBlocks += owned ? 1 : -1;
      },
      replace: (address, size) => {
        const block = this.live(address, "resize");
        return hooks.replace?.(block, size) ?? allocator.allocate(size, block.alignment);
      },
    });
  }

  /** Throws `DisposedError` when the wrapper is disposed. */
  assertNotDisposed(action: string): void {
    if (this.#hooks.isDisposed()) throw new DisposedError(action, this.#hooks.name);
  }

  /** The same for a call with an address, in words only when there is an error: they cost more than all else. */
  #assertUsable(action: string, address: Address): void {
    if (this.#hooks.isDisposed()) this.assertNotDisposed(`${action} ${formatAddress(address)}`);
  }

  /** The live block at `address`, for a call that owes a result: otherwise the violation is reported and thrown. */
  live(address: Address, action: string): WrappedBlock {
    assertAddress(address);
    this.#assertUsable(action, address);
    return this.#hooks.find(address) ?? throwAfterReport(this.#hooks.invalid(address, action));
  }

  /**
   * The live block at `address`, for `free`: undefined for address 0, and for what is no live block once the violation is
   * reported and the hook returned. There is nothing to free then.
   */
  liveToFree(address: Address): WrappedBlock | undefined {
    assertAddress(address);
    this.#assertUsable("free", address);
    const block = this.#hooks.find(address);
    if (block === undefined && address !== 0) reportViolation(this.#hooks.invalid(address, "free"));
    return block;
  }

  /** Whether `address` is that of a live block: see `Allocator.owns`. */
  owns(address: Address): boolean {
    this.#assertUsable("look up", address);
    return typeof address === "number" && this.#hooks.find(address) !== undefined;
  }

  /** See `Allocator.view`. */
  view(address: Address, byteLength?: number): Uint8Array {
    const block = this.live(address, "view");
    if (byteLength === undefined) return this.#viewOf(block, Uint8Array, block.requestedSize);
    assertSize(byteLength, "byteLength");
    if (byteLength > block.usableSize) {
      throw new RangeError(
        `Cannot view ${byteLength} bytes at ${formatAddress(address)}: the block has ${block.usableSize}`,
      );
    }
    return this.#viewOf(block, Uint8Array, byteLength);
  }

  /** See `Allocator.array`. */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T {
    assertSize(length, "length");
    assertTypedArrayConstructor(type);
    const byteLength = length * type.BYTES_PER_ELEMENT;
    const address = this.#allocator.allocate(byteLength);
    try {
      const array = this.#viewOf(this.live(address, "view"), type, length);
      assertArrayLength(array, byteLength);
      return array;
    } catch (error) {
      this.#allocator.free(address);
      throw error;
    }
  }

  /** See `Allocator.freeArray`. A view of other memory is a violation; when the hook returns, nothing is freed. */
  freeArray(array: ArrayBufferView): void {
    const address = this.#addressOf(array, "free");
    if (typeof address === "number") this.#allocator.free(address);
    else reportViolation(address);
  }

  /** See `Allocator.addressOf`. Constant time. */
  addressOf(view: ArrayBufferView): Address {
    const address = this.#addressOf(view, "take the address of");
    return typeof address === "number" ? address : throwAfterReport(address);
  }

  /** Whether a view is on a buffer that views were made on here, those of NativeBuffers included. */
  covers(view: ArrayBufferView): boolean {
    return this.#origins.has(view.buffer) || this.#owned.originOf(view.buffer) !== undefined;
  }

  /** See `Allocator.buffer`. */
  buffer(byteLength: number, options: BufferOptions = {}): NativeBuffer {
    this.assertNotDisposed("allocate a buffer");
    const buffer = this.#owned.create(byteLength, options);
    // Over a source that cannot isolate its views are on a buffer that no view may have been made on yet.
    if (!buffer.isolated) this.view(buffer.address, 0);
    return buffer;
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

  /** Copies `length` bytes from the start of one live block to that of another. */
  copy(from: WrappedBlock, to: WrappedBlock, length: number): void {
    this.#viewOf(to, Uint8Array, length).set(this.#viewOf(from, Uint8Array, length));
  }

  /** Clears the first `length` bytes of a live block. */
  clear(block: WrappedBlock, length: number): void {
    this.#viewOf(block, Uint8Array, length).fill(0);
  }

  /** Detaches the views of all owned blocks. The first thing that the wrapper's own `dispose` does. */
  dispose(): void {
    this.#owned.revokeAll();
    this.ownedBlocks = 0;
  }

  #viewOf<T extends TypedArray>(block: WrappedBlock, type: TypedArrayConstructor<T>, length: number): T {
    const offset = block.address - block.inner;
    const { buffer, byteOffset } = this.#inner.view(block.inner, offset + length * type.BYTES_PER_ELEMENT);
    if (!this.#origins.has(buffer)) this.#origins.set(buffer, block.inner - byteOffset);
    return new type(buffer, byteOffset + offset, length);
  }

  /** Where a view starts, or the violation that it is of no memory of this allocator. */
  #addressOf(view: ArrayBufferView, action: string): Address | AllocatorError {
    this.assertNotDisposed(`${action} a view`);
    if (!ArrayBuffer.isView(view)) {
      throw new TypeError(`Cannot ${action} ${describeValue(view)}: it must be a typed array or DataView`);
    }
    const { buffer } = view;
    if (buffer.byteLength === 0 && (buffer as ArrayBuffer).detached === true) {
      return new UseAfterFreeError(`Cannot ${action} the view: its memory was freed and its buffer detached`);
    }
    // Asking the inner allocator would report the violation in its name, and `freeArray` could not go on from there.
    const origin = this.#origins.get(buffer) ?? this.#owned.originOf(buffer);
    if (origin !== undefined) return origin + view.byteOffset;
    const detail = `it is not of this ${this.#hooks.name}'s memory`;
    return new InvalidFreeError(action, 0, "foreign", detail, "the view");
  }
}
