/**
 * Owned blocks: memory with an ArrayBuffer of its own, which is detached when the block is freed. The allocator's side; the
 * holder's is native_buffer.ts.
 *
 * ```text
 *   NativeBuffer ──▶ OwnedBlock { address, buffer } ◀── OwnedBlocks of the allocator, by address
 *                                   │
 *                                   ▼ wrapped by the page source for exactly the block
 *                    ArrayBuffer ◀── every view made from it: length 0 after free
 * ```
 *
 * Invariants: an address has an entry here, or a claim, exactly while its allocator has it marked as owned; a block with an
 * entry has its `buffer`, and one without has none. So nothing is freed under a view: `free` of a marked block's address comes
 * here first, as does the end of the allocator.
 *
 * Making and freeing one takes a third of a microsecond, most of it the runtime's wrap; a plain `view` of a block a tenth
 * of that.
 *
 * @module
 */
import { AddressMap } from "./address_map.ts";
import type { Allocator, BufferOptions } from "./allocator.ts";
import { alignUp, assertAlignment, assertOptions, assertSize, DEFAULT_ALIGNMENT } from "./arguments.ts";
import { Attempts } from "./attempts.ts";
import { type ClaimKeeper, keepClaims } from "./block_claims.ts";
import { wrapWhole } from "./commit_wrapped.ts";
import { CorruptionError, describeValue, formatAddress, InvalidFreeError } from "./errors.ts";
import { isTransferred, NativeBuffer, type OwnedBlock, transferred } from "./native_buffer.ts";
import { type Address, buffersOf, type BufferWraps, type PageSource } from "./page_source.ts";
import { throwAfterReport } from "./violations.ts";

/** Bytes of a word: contents are copied by whole ones. */
const WORD = 8;

/** An allocator that can make owned blocks. */
export interface OwningAllocator extends Allocator {
  /** Where wraps come from. */
  readonly source: PageSource;
}

/** What owned blocks need of their allocator besides its public methods. */
export interface OwnerHooks {
  /** Marks a block as owned, or not: `free` of an owned block's address calls `revoke` first. */
  setOwned(address: Address, owned: boolean): void;
  /** Allocates the block that is about to take the place of the one at `address`, whose alignment it has. */
  replace(address: Address, size: number): Address;
  /**
   * Copies `length` bytes, to a whole word perhaps, of the block at `from`, which is about to be freed and may be without
   * contents from then on, to the one at `to`; when it throws, the first is as it was. @defaultValue through views
   */
  move?(from: Address, to: Address, length: number): void;
  /** Whether the block that `replace` has given last reads as zero. @defaultValue false */
  isFresh?(): boolean;
}

/** The owned blocks of one allocator: those of its NativeBuffers, and those that a wrapper around it claims. */
export class OwnedBlocks implements ClaimKeeper {
  /**
   * Whether nothing can keep a live block from being freed, so that its views may be detached before the allocator is
   * asked to; set by an allocator of which that is true, as long as it is.
   */
  freesAnyLive = false;
  readonly #allocator: OwningAllocator;
  readonly #hooks: OwnerHooks;
  readonly #blocks = new AddressMap<OwnedBlock>();
  /** What to call before a claimed block goes; nobody claims blocks of most allocators. */
  #claims: AddressMap<() => void> | undefined;
  /** Where ArrayBuffers come from; undefined where only `wrap` of the source makes them, and before the first. */
  #wraps: BufferWraps | undefined;
  #source: PageSource | undefined;
  /**
   * Addresses by ArrayBuffer, for `addressOf`: kept once somebody has asked, as an entry costs more than all else here
   * but the wrap, most of it at the next garbage collection.
   */
  #origins: WeakMap<ArrayBufferLike, Address> | undefined;

  /** Starts with none. */
  constructor(allocator: OwningAllocator, hooks: OwnerHooks) {
    this.#allocator = allocator;
    this.#hooks = hooks;
    keepClaims(allocator, () => this);
  }

  /** Allocates an owned block. */
  create(byteLength: number, options: BufferOptions = {}): NativeBuffer {
    assertOptions(options);
    const { alignment = DEFAULT_ALIGNMENT, zeroed = true } = options;
    // The usual arguments are right by four comparisons.
    const isUsual = typeof byteLength === "number" && byteLength >>> 0 === byteLength &&
      alignment === DEFAULT_ALIGNMENT && typeof zeroed === "boolean";
    if (!isUsual) {
      assertSize(byteLength, "byteLength");
      assertAlignment(alignment);
      if (typeof zeroed !== "boolean") {
        throw new TypeError(`Cannot use ${describeValue(zeroed)} as zeroed: it must be a boolean`);
      }
    }
    const allocator = this.#allocator;
    const address = zeroed
      ? allocator.allocateZeroed(byteLength, alignment)
      : allocator.allocate(byteLength, alignment);
    const block: OwnedBlock = { address, byteLength, buffer: undefined, byteOffset: 0, bytes: undefined, zeroed };
    this.#attach(block, address, byteLength);
    return new NativeBuffer(this.#allocator, this, block);
  }

  /** Whether `address` is that of an owned block. */
  has(address: Address): boolean {
    return this.#blocks.get(address) !== undefined || this.#claims?.get(address) !== undefined;
  }

  /** See {@link ClaimKeeper.claim}. */
  claim(address: Address, recall: () => void): (() => void) | undefined {
    this.#claims ??= new AddressMap();
    const before = this.#claims.get(address);
    this.#claims.set(address, recall);
    if (before === undefined) this.#hooks.setOwned(address, true);
    return before;
  }

  /** See {@link ClaimKeeper.endClaim}. */
  endClaim(address: Address): boolean {
    if (this.#claims?.delete(address) === undefined) return false;
    this.#hooks.setOwned(address, false);
    return true;
  }

  /** Ends a claim by calling whoever made it. */
  #recall(address: Address): void {
    const recall = this.#claims?.get(address);
    if (recall === undefined) return;
    this.endClaim(address);
    recall();
  }

  /** The address of byte 0 of an owned block's ArrayBuffer, if `buffer` is one. */
  originOf(buffer: ArrayBufferLike): Address | undefined {
    if (this.#origins === undefined) {
      this.#origins = new WeakMap();
      for (const block of this.#blocks.values()) this.#noteOrigin(block);
    }
    return this.#origins.get(buffer);
  }

  /** Enters the ArrayBuffer of a block that is its alone. */
  #noteOrigin({ address, buffer }: OwnedBlock): void {
    if (this.#allocator.source.isolating) this.#origins?.set(buffer!, address);
  }

  /** Detaches the views of the owned block at `address`, which is about to be freed. */
  revoke(address: Address): void {
    const block = this.#blocks.delete(address);
    if (block === undefined) return this.#recall(address);
    this.#hooks.setOwned(address, false);
    this.#detach(block);
  }

  /** Frees an owned block that is live. */
  free(block: OwnedBlock): void {
    const { address } = block;
    // The allocator would look for the block, come back to `revoke`, and look again.
    if (this.freesAnyLive) this.revoke(address);
    this.#allocator.free(address);
  }

  /** Detaches the views of every owned block, of those too that come after one where that fails; the allocator is being disposed. */
  revokeAll(): void {
    const blocks = this.#blocks.values();
    const recalls = this.#claims?.values() ?? [];
    this.#blocks.clear();
    this.#claims = undefined;
    const attempts = new Attempts();
    for (const block of blocks) attempts.make(() => this.#detach(block));
    for (const recall of recalls) attempts.make(recall);
    attempts.end();
  }

  /** Gives `block` a new size, keeping its contents; its views are detached. On failure nothing has changed. */
  resize(block: OwnedBlock, byteLength: number): void {
    assertSize(byteLength, "byteLength");
    const allocator = this.#allocator;
    const old = { ...block };
    if (isTransferred(block)) throwAfterReport(transferred("resize", block.address));
    const next: OwnedBlock = { ...block, buffer: undefined, bytes: undefined };
    const address = this.#hooks.replace(old.address, byteLength);
    const isZero = this.#hooks.isFresh?.() === true;
    this.#attach(next, address, byteLength);
    const kept = Math.min(byteLength, old.byteLength);
    try {
      this.#move(old.address, next.address, kept);
      if (block.zeroed) {
        // Of fresh memory only what was copied beyond the end, up to a whole word: all of it takes seconds for a gibibyte, and
        // would be resident then. Nobody else has the new buffer yet.
        const end = isZero ? Math.min(byteLength, alignUp(kept, WORD)) : byteLength;
        new Uint8Array(next.buffer!, next.byteOffset + kept, end - kept).fill(0);
      }
    } catch (error) {
      allocator.free(next.address);
      throw error;
    }
    Object.assign(block, next);
    this.#blocks.set(block.address, block);
    // The old address is freed as a block of its own, whose views go with it.
    this.#blocks.set(old.address, old);
    try {
      allocator.free(old.address);
    } finally {
      if (this.#blocks.get(old.address) === old) this.#undoResize(block, old, next, kept);
    }
    // A violation was found at the old place, and the hook returned: as everywhere, there is no result then.
    if (block.address === old.address) throw notFreed(old.address);
  }

  /**
   * By default through views of our own: those of the buffer are the holder's, who can have changed what they do. A view can
   * be what fails: that of a huge block is a wrap.
   */
  #move(from: Address, to: Address, length: number): void {
    if (this.#hooks.move !== undefined) this.#hooks.move(from, to, length);
    else this.#allocator.view(to, length).set(this.#allocator.view(from, length));
  }

  /** Makes `block` what it was: its old place was not freed, as that violates a rule of the allocator. */
  #undoResize(block: OwnedBlock, old: OwnedBlock, next: OwnedBlock, kept: number): void {
    // What was copied through views is still there.
    this.#hooks.move?.(next.address, old.address, kept);
    Object.assign(block, old);
    this.#blocks.set(old.address, block);
    this.#blocks.set(next.address, next);
    this.#allocator.free(next.address);
  }

  /**
   * Makes the block just allocated at `address` that of `block`; when wrapping it fails it is freed, and `block` as it
   * was.
   */
  #attach(block: OwnedBlock, address: Address, byteLength: number): void {
    try {
      this.#wrap(block, address, byteLength);
    } catch (error) {
      this.#allocator.free(address);
      throw error;
    }
    block.address = address;
    block.byteLength = byteLength;
    this.#blocks.set(address, block);
    if (this.#origins !== undefined) this.#noteOrigin(block);
    this.#hooks.setOwned(address, true);
  }

  #wrap(block: OwnedBlock, address: Address, byteLength: number): void {
    if (this.#source === undefined) {
      this.#source = this.#allocator.source;
      this.#wraps = buffersOf(this.#source);
    }
    if (this.#wraps !== undefined && byteLength > 0) {
      block.buffer = this.#wraps.wrap(address, byteLength);
      return;
    }
    // A wrap of no bytes is an error in one runtime and a null pointer in another.
    const bytes = byteLength === 0 ? new Uint8Array(0) : wrapWhole(this.#source, address, byteLength);
    block.buffer = bytes.buffer;
    block.byteOffset = bytes.byteOffset;
    block.bytes = bytes;
  }

  #detach(block: OwnedBlock): void {
    const { address, byteLength, buffer, bytes } = block;
    block.buffer = block.bytes = undefined;
    // Also when `buffer` is empty because somebody transferred it: the source must know that the memory is still seen.
    if (byteLength === 0) return;
    if (this.#wraps !== undefined) this.#wraps.unwrap(buffer!, address, byteLength);
    else this.#source!.unwrap(bytes!);
  }
}

function notFreed(address: Address): CorruptionError {
  return new CorruptionError(
    `Cannot resize the buffer at ${formatAddress(address)}: its block cannot be freed, for the reason just reported`,
  );
}

/** Throws the violation that the block at `address`, which a call was to change, has an owner. */
export function throwOwned(address: Address, action: string): never {
  const detail = "a NativeBuffer owns the block; use its resize method";
  throwAfterReport(new InvalidFreeError(action, address, "foreign", detail));
}
