/**
 * The view half of the {@link Allocator} contract, written once for all allocators but `Heap`, whose fast paths have it
 * in them.
 *
 * ```text
 *   allocator ── allocate, free, resize ...      its own: which blocks are live
 *       │
 *       └── ViewedMemory                         this file: view, array, freeArray, addressOf
 *            │   └── OwnedBlocks: buffer         owned_blocks.ts, native_buffer.ts
 *            │
 *            ├── AllocatorMemory                 the bytes are in regions that it has           allocator_memory.ts
 *            └── WrapperMemory                   the bytes are in blocks of another allocator   wrapper_memory.ts
 * ```
 *
 * What is not the start of a live block is a violation, and goes through the hook of violations.ts. What the allocator
 * must do in return:
 *
 * - `free`: call {@link ViewedMemory.revoke} before the block goes, if {@link ViewedMemory.ownedBlocks} is not 0;
 * - `resize`, `reallocate`: begin with {@link ViewedMemory.liveToResize}, as owned blocks refuse both;
 * - `dispose`: call {@link ViewedMemory.dispose} first, then see to it that all other views are detached.
 *
 * Nothing here is on the path of `allocate` and `free` of blocks that nobody owns.
 *
 * @module
 */
import type { Allocator, BlockInfo, BufferOptions, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import { assertAddress, assertArrayLength, assertSize, assertTypedArrayConstructor } from "./arguments.ts";
import { type AllocatorError, DisposedError, formatAddress, type InvalidFreeError, reentered } from "./errors.ts";
import type { NativeBuffer } from "./native_buffer.ts";
import { OwnedBlocks, type OwningAllocator, throwOwned } from "./owned_blocks.ts";
import type { Address } from "./page_source.ts";
import { addressOfView, type ViewOrigins } from "./view_origin.ts";
import { provideMemory } from "./viewed_allocator.ts";
import { reportViolation, throwAfterReport } from "./violations.ts";

/** What {@link ViewedMemory} needs to know of its allocator. None of these is called after `dispose`, but `isDisposed`. */
export interface ViewHooks<Block extends BlockInfo> {
  /** The kind of allocator, for messages: `the arena is disposed`. */
  readonly name: string;
  /** Whether the allocator is disposed. */
  isDisposed(): boolean;
  /** The live block that starts at `address`, if one does. Any number may come: fractions, NaN, negative ones. */
  find(address: Address): Block | undefined;
  /**
   * Allocates what is about to take the place of `block`, at its alignment. For allocators with a limit, which must have room
   * for the difference only. @defaultValue `allocate`
   */
  replace?(block: Block, size: number): Address;
  /** Is told when a `NativeBuffer` comes to own a block, and when it no longer does. @defaultValue nothing */
  setOwned?(address: Address, owned: boolean): void;
}

/** Where the bytes of the live blocks are. */
export interface BlockBytes {
  /** The error for an `address` that is not that of a live block. */
  invalid(address: Address, action: string): InvalidFreeError;
  /** A view of the first `length` elements of the live block at `address`. */
  viewAt<T extends TypedArray>(address: Address, type: TypedArrayConstructor<T>, length: number): T;
  /** The address of byte 0 of a buffer that plain views were made on. */
  originOf(buffer: ArrayBufferLike): Address | undefined;
  /**
   * Is told what {@link ViewHooks.setOwned} is, with what detaches the buffer of that owner. For bytes that somebody else
   * can take away. @defaultValue nothing
   */
  setOwned?(address: Address, owned: boolean, recall: () => void): void;
}

/** The memory of one allocator, as its callers see it. */
export class ViewedMemory<Block extends BlockInfo> implements ViewOrigins {
  /** How many live blocks are owned by a `NativeBuffer`. */
  ownedBlocks = 0;
  readonly #allocator: Allocator;
  readonly #hooks: ViewHooks<Block>;
  readonly #bytes: BlockBytes;
  readonly #owned: OwnedBlocks;

  /** For the blocks of `allocator`, which are where `bytes` says. Starts with no owned blocks. */
  constructor(allocator: OwningAllocator, hooks: ViewHooks<Block>, bytes: BlockBytes) {
    this.#allocator = allocator;
    this.#hooks = hooks;
    this.#bytes = bytes;
    provideMemory(allocator, this);
    this.#owned = new OwnedBlocks(allocator, {
      setOwned: (address, owned) => {
        this.ownedBlocks += owned ? 1 : -1;
        hooks.setOwned?.(address, owned);
        bytes.setOwned?.(address, owned, () => this.#owned.revoke(address));
      },
      replace: (address, size) => {
        const block = this.live(address, "resize");
        return hooks.replace?.(block, size) ?? allocator.allocate(size, block.alignment);
      },
    });
  }

  /** The error for an `address` that is not that of a live block. */
  invalid(address: Address, action: string): InvalidFreeError {
    return this.#bytes.invalid(address, action);
  }

  /** Throws `DisposedError` when the allocator is disposed. */
  assertNotDisposed(action: string): void {
    if (this.#hooks.isDisposed()) throw new DisposedError(action, this.#hooks.name);
  }

  /** The same for a call with an address, in words only when there is an error: they cost more than all else. */
  assertUsable(action: string, address: Address): void {
    if (this.#hooks.isDisposed()) this.assertNotDisposed(`${action} ${formatAddress(address)}`);
  }

  /** The live block at `address`, for a call that owes a result: otherwise the violation is reported and thrown. */
  live(address: Address, action: string): Block {
    assertAddress(address);
    this.assertUsable(action, address);
    return this.#hooks.find(address) ?? throwAfterReport(this.invalid(address, action));
  }

  /**
   * The live block at `address`, for `free`: undefined for address 0, and for what is no live block once the violation is
   * reported and the hook returned. There is nothing to free then.
   */
  liveToFree(address: Address): Block | undefined {
    assertAddress(address);
    this.assertUsable("free", address);
    const block = this.#hooks.find(address);
    if (block === undefined) this.rejectFree(address);
    return block;
  }

  /** The live block at `address` that is to have `size` bytes; the violation is thrown also when somebody owns the block. */
  liveToResize(address: Address, size: number, action: string): Block {
    const block = this.live(address, action);
    assertSize(size);
    this.refuseOwned(address, action);
    return block;
  }

  /** Reports that there is no live block at `address` to free; does nothing for address 0. */
  rejectFree(address: Address): void {
    assertAddress(address);
    this.assertUsable("free", address);
    if (address !== 0) reportViolation(this.invalid(address, "free"));
  }

  /** Whether `address` is that of a live block: see {@link Allocator.owns}. */
  owns(address: Address): boolean {
    this.assertUsable("look up", address);
    return typeof address === "number" && this.#hooks.find(address) !== undefined;
  }

  /** See {@link Allocator.view}. */
  view(address: Address, byteLength?: number): Uint8Array<ArrayBuffer> {
    const block = this.live(address, "view");
    if (byteLength === undefined) return this.#bytes.viewAt(address, Uint8Array, block.requestedSize);
    assertSize(byteLength, "byteLength");
    if (byteLength > block.usableSize) {
      throw new RangeError(
        `Cannot view ${byteLength} bytes at ${formatAddress(address)}: the block has ${block.usableSize}`,
      );
    }
    return this.#bytes.viewAt(address, Uint8Array, byteLength);
  }

  /** See {@link Allocator.array}. With `alignment`, at that. */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number, alignment?: number): T {
    assertSize(length, "length");
    assertTypedArrayConstructor(type);
    const byteLength = length * type.BYTES_PER_ELEMENT;
    const address = this.#allocator.allocate(byteLength, alignment);
    try {
      const array = this.#bytes.viewAt(address, type, length);
      assertArrayLength(array, byteLength);
      return array;
    } catch (error) {
      this.#allocator.free(address);
      throw error;
    }
  }

  /** See {@link Allocator.freeArray}. A view of other memory is a violation; when the hook returns, nothing is freed. */
  freeArray(array: ArrayBufferView): void {
    const address = this.#addressOf(array, "free");
    if (typeof address === "number") this.#allocator.free(address);
    else reportViolation(address);
  }

  /** See {@link Allocator.addressOf}. */
  addressOf(view: ArrayBufferView): Address {
    const address = this.#addressOf(view, "take the address of");
    return typeof address === "number" ? address : throwAfterReport(address);
  }

  /** See {@link Allocator.buffer}. */
  buffer(byteLength: number, options: BufferOptions = {}): NativeBuffer {
    this.assertNotDisposed("allocate a buffer");
    return this.#owned.create(byteLength, options);
  }

  /**
   * Detaches the views of the block at `address`, which is about to be freed, if it is owned.
   *
   * @throws {CorruptionError} When the page source, which is asked to end a wrap, has freed the block meanwhile.
   */
  revoke(address: Address): void {
    if (!this.isOwned(address)) return;
    this.#owned.revoke(address);
    this.assertUsable("free", address);
    if (this.#hooks.find(address) === undefined) throw reentered("free", address);
  }

  /** Whether a `NativeBuffer`, or whoever wraps the allocator, owns the block at `address`. */
  isOwned(address: Address): boolean {
    return this.ownedBlocks !== 0 && this.#owned.has(address);
  }

  /** Throws when a `NativeBuffer` owns the live block at `address`: only it may change the block. */
  refuseOwned(address: Address, action: string): void {
    if (this.isOwned(address)) throwOwned(address, action);
  }

  /** Detaches the views of all owned blocks. The first thing that the allocator's own `dispose` does. */
  dispose(): void {
    try {
      this.#owned.revokeAll();
    } finally {
      this.ownedBlocks = 0;
    }
  }

  /** The address of byte 0 of a buffer that views were made on, those of NativeBuffers included. */
  originOf(buffer: ArrayBufferLike): Address | undefined {
    return this.#bytes.originOf(buffer) ?? this.#owned.originOf(buffer);
  }

  /** The address of the first byte of a view, or the violation that it is of no memory of this allocator. */
  #addressOf(view: ArrayBufferView, action: string): Address | AllocatorError {
    if (this.#hooks.isDisposed()) this.assertNotDisposed(`${action} a view`);
    return addressOfView(view, action, this.#hooks.name, this);
  }
}
