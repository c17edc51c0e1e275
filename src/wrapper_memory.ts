/**
 * The memory of the allocators that wrap another one: views of blocks that lie in the other's.
 *
 * ```text
 *   wrapper ── allocate, free, resize ...        its own: records of the live blocks, by address
 *      │
 *      ├── WrapperMemory                         this file
 *      │     ├── copy, clear                           through views of the inner allocator
 *      │     ├── claims                                to the inner blocks of NativeBuffers; block_claims.ts
 *      │     └── ViewedMemory: view, array, buffer     viewed_memory.ts
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
 * in a wrapper that adds nothing).
 *
 * A wrapper owns the allocator that it wraps: its `dispose` calls {@link ViewedMemory.dispose} first, and then disposes
 * the inner allocator, which detaches all other views. Somebody can use that one directly all the same. The ArrayBuffers
 * of the wrapper's NativeBuffers are detached before the memory under them goes, whoever frees, resets or disposes: their
 * inner blocks are claimed for as long as they live.
 *
 * @module
 */
import type { BlockInfo, BufferOptions, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import { claimKeeper, freeClaimed } from "./block_claims.ts";
import { describeValue, type InvalidFreeError } from "./errors.ts";
import { endLoan, lendMemory } from "./lent_memory.ts";
import type { NativeBuffer } from "./native_buffer.ts";
import type { OwningAllocator } from "./owned_blocks.ts";
import type { Address } from "./page_source.ts";
import { type BlockBytes, ViewedMemory, type ViewHooks } from "./viewed_memory.ts";
import { freeUnlessRefused } from "./wrapper_reports.ts";

/** A live block of a wrapper. */
export interface WrappedBlock extends BlockInfo {
  /** The address of the inner allocator's block that it lies in: `address` or less. */
  readonly inner: Address;
}

/** What {@link WrapperMemory} needs to know of its wrapper, besides what is in {@link ViewHooks}. */
export interface WrapperHooks<Block extends WrappedBlock = WrappedBlock> extends ViewHooks<Block> {
  /** The error that says why there is no live block at `address`. */
  invalid(address: Address, action: string): InvalidFreeError;
}

/** What a wrapper's blocks lie in when that is no allocator that others could use: the bytes of one, by its address. */
export type InnerView = Pick<OwningAllocator, "view">;

/** Throws `TypeError` for what no wrapper can be put around. */
export function assertWrappable(inner: OwningAllocator): void {
  if (typeof inner?.allocate === "function" && inner.source !== undefined) return;
  throw new TypeError(`Cannot wrap ${describeValue(inner)}: it must be an allocator with a page source`);
}

/** The memory of one wrapper, as its callers see it. `addressOf` takes constant time. */
export class WrapperMemory<Block extends WrappedBlock = WrappedBlock> extends ViewedMemory<Block> {
  readonly #inner: OwningAllocator | InnerView;
  readonly #hooks: WrapperHooks<Block>;
  readonly #bytes: InnerBytes;

  /** For `allocator`, whose blocks lie in those of `inner`. Starts with no owned blocks. */
  constructor(allocator: OwningAllocator, inner: OwningAllocator | InnerView, hooks: WrapperHooks<Block>) {
    const bytes = new InnerBytes(inner, hooks);
    super(allocator, hooks, bytes);
    this.#inner = inner;
    this.#hooks = hooks;
    this.#bytes = bytes;
  }

  /** See `Allocator.owns`. No for a block that somebody has freed in the inner allocator. */
  override owns(address: Address): boolean {
    if (!super.owns(address)) return false;
    const inner = this.#inner;
    return !("owns" in inner) || inner.owns(this.#hooks.find(address)!.inner);
  }

  /** Whether a view is on a buffer that views were made on here, those of NativeBuffers included. */
  covers(view: ArrayBufferView): boolean {
    return this.originOf(view.buffer) !== undefined;
  }

  /** See `Allocator.buffer`. */
  override buffer(byteLength: number, options?: BufferOptions): NativeBuffer {
    const buffer = super.buffer(byteLength, options);
    // Over a source that cannot isolate its views are on a buffer that no view may have been made on yet.
    if (!buffer.isolated) this.view(buffer.address, 0);
    return buffer;
  }

  /**
   * Frees the inner block of a live block. Once nothing can keep it from going any more its views are detached, if it is
   * owned, and `leave` is called.
   *
   * @returns False when the block stays as it is: a violation was reported, and the hook returned.
   */
  freeInner(inner: OwningAllocator, { address, inner: start }: WrappedBlock, leave?: () => void): boolean {
    const isOwned = this.isOwned(address);
    if (leave === undefined && !isOwned) return freeUnlessRefused(inner, start);
    return freeClaimed(inner, start, isOwned, () => {
      if (isOwned) this.revoke(address);
      leave?.();
    });
  }

  /** Copies `length` bytes from the start of one live block to that of another. */
  copy(from: WrappedBlock, to: WrappedBlock, length: number): void {
    this.#bytes.viewOf(to, Uint8Array, length).set(this.#bytes.viewOf(from, Uint8Array, length));
  }

  /** Clears the first `length` bytes of a live block. */
  clear(block: WrappedBlock, length: number): void {
    this.#bytes.viewOf(block, Uint8Array, length).fill(0);
  }
}

/** The bytes of blocks that lie in blocks of another allocator. */
class InnerBytes implements BlockBytes {
  readonly #inner: OwningAllocator | InnerView;
  readonly #hooks: WrapperHooks;
  /** The address of byte 0 of every ArrayBuffer of the inner allocator that a view was made on. */
  readonly #origins = new WeakMap<ArrayBufferLike, Address>();

  constructor(inner: OwningAllocator | InnerView, hooks: WrapperHooks) {
    this.#inner = inner;
    this.#hooks = hooks;
  }

  invalid(address: Address, action: string): InvalidFreeError {
    return this.#hooks.invalid(address, action);
  }

  viewAt<T extends TypedArray>(address: Address, type: TypedArrayConstructor<T>, length: number): T {
    return this.viewOf(this.#hooks.find(address)!, type, length);
  }

  viewOf<T extends TypedArray>(block: WrappedBlock, type: TypedArrayConstructor<T>, length: number): T {
    const offset = block.address - block.inner;
    const { buffer, byteOffset } = this.#inner.view(block.inner, offset + length * type.BYTES_PER_ELEMENT);
    if (!this.#origins.has(buffer)) this.#origins.set(buffer, block.inner - byteOffset);
    return new type(buffer, byteOffset + offset, length);
  }

  originOf(buffer: ArrayBufferLike): Address | undefined {
    return this.#origins.get(buffer);
  }

  /** Claims the inner block of a block that is owned, or ends the claim. */
  setOwned(address: Address, owned: boolean, recall: () => void): void {
    const block = this.#hooks.find(address);
    if (block === undefined) return;
    const keeper = claimKeeper(this.#inner, block.inner);
    if (keeper !== undefined) {
      if (owned) keeper.claim(block.inner, recall);
      else keeper.endClaim(block.inner);
    } else if ("allocate" in this.#inner) {
      if (owned) lendMemory(address, block.requestedSize, recall);
      else endLoan(address);
    }
  }
}
