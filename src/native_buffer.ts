/**
 * Owned blocks: memory with an ArrayBuffer of its own, which is detached when the block is freed.
 *
 * ```text
 *   NativeBuffer ──▶ OwnedBlock { address, buffer } ◀── OwnedBlocks of the allocator, by address
 *                                   │
 *                                   ▼ wrapped by the page source for exactly the block
 *                    ArrayBuffer ◀── every view made from it: length 0 after free
 * ```
 *
 * A detached typed array fails silently (it reads `undefined`), so the accessors of a freed `NativeBuffer` throw.
 * Making and freeing one takes a third of a microsecond, most of it the runtime's wrap; a plain `view` of a block a tenth
 * of that.
 *
 * Over a page source that cannot isolate (a fixed buffer) there is no ArrayBuffer for the block alone: the accessors
 * throw after free all the same, but views taken before stay readable. `isolated` tells which it is.
 *
 * @module
 */
import { AddressMap } from "./address_map.ts";
import type { Allocator, BufferOptions, TypedArray, TypedArrayConstructor, ViewConstructor } from "./allocator.ts";
import {
  alignUp,
  assertAlignment,
  assertOptions,
  assertSize,
  assertTypedArrayConstructor,
  DEFAULT_ALIGNMENT,
} from "./arguments.ts";
import { type ClaimKeeper, keepClaims } from "./block_claims.ts";
import { wrapWhole } from "./commit_wrapped.ts";
import { CorruptionError, describeValue, formatAddress, InvalidFreeError, UseAfterFreeError } from "./errors.ts";
import { type Address, buffersOf, type BufferWraps, type PageSource, type RuntimePointer } from "./page_source.ts";
import { reportViolation, throwAfterReport } from "./violations.ts";

/** Bytes of a word: contents are copied by whole ones. */
const WORD = 8;

/** One owned block as its allocator knows it. */
interface OwnedBlock {
  /** Where it starts; another after `resize`. */
  address: Address;
  /** The size that was asked for; that of `buffer` is 0 when somebody transferred it. */
  byteLength: number;
  /** Undefined once the block is freed. */
  buffer: ArrayBuffer | undefined;
  /** Where in `buffer` the block starts: 0 where it is its own. */
  byteOffset: number;
  /** All of the block, from the first time that it is asked for, or from the start where the source gives no less. */
  bytes: Uint8Array<ArrayBuffer> | undefined;
  /** Whether bytes that `resize` adds are zero. */
  readonly zeroed: boolean;
}

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

  /** Detaches the views of every owned block; the allocator is being disposed. */
  revokeAll(): void {
    const blocks = this.#blocks.values();
    const recalls = this.#claims?.values() ?? [];
    this.#blocks.clear();
    this.#claims = undefined;
    for (const block of blocks) this.#detach(block);
    for (const recall of recalls) recall();
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

/** Whether somebody has moved the memory of a block to an ArrayBuffer that we do not know. */
function isTransferred({ buffer, byteOffset, byteLength }: OwnedBlock): boolean {
  return buffer!.byteLength < byteOffset + byteLength;
}

/**
 * A block of native memory that its holder owns: freed by `free`, at the end of a `using` scope, or with its allocator.
 *
 * Made by `allocator.buffer(byteLength)`. After it is freed its views have length 0 and its accessors throw
 * `UseAfterFreeError`.
 *
 * @example
 * ```ts
 * import { Heap } from "@offheap/alloc";
 *
 * using heap = new Heap();
 * using samples = heap.buffer(1024 * 8);
 * samples.view(Float64Array).fill(0.5);
 * ```
 */
export class NativeBuffer implements Disposable {
  readonly #allocator: OwningAllocator;
  readonly #owner: OwnedBlocks;
  readonly #block: OwnedBlock;

  /** Made by {@link Allocator.buffer}. */
  constructor(allocator: OwningAllocator, owner: OwnedBlocks, block: OwnedBlock) {
    this.#allocator = allocator;
    this.#owner = owner;
    this.#block = block;
  }

  /** Whether the block is freed. The one accessor that never throws. */
  get freed(): boolean {
    return this.#block.buffer === undefined;
  }

  /** Whether `arrayBuffer` covers this block alone and is detached when it is freed. */
  get isolated(): boolean {
    return this.#allocator.source.isolating;
  }

  /** Where the block starts. */
  get address(): Address {
    this.#live("read the address of");
    return this.#block.address;
  }

  /** The size in bytes that was asked for. */
  get byteLength(): number {
    this.#live("read the length of");
    return this.#block.byteLength;
  }

  /** All bytes of the block. */
  get bytes(): Uint8Array<ArrayBuffer> {
    const buffer = this.#live("view");
    const block = this.#block;
    // Of an ArrayBuffer that was transferred there is an empty view, as there would be if it had been made before.
    block.bytes ??= isTransferred(block)
      ? new Uint8Array(0)
      : new Uint8Array(buffer, block.byteOffset, block.byteLength);
    return block.bytes;
  }

  /** The block's own ArrayBuffer. */
  get arrayBuffer(): ArrayBuffer {
    return this.#live("view");
  }

  /**
   * The address as the runtime's foreign function interface takes it.
   *
   * @throws {UnsupportedPlatformError} Over a fixed buffer, whose addresses mean nothing to C.
   */
  get pointer(): RuntimePointer {
    this.#live("take a pointer to");
    return this.#allocator.source.toPointer(this.#block.address) as RuntimePointer;
  }

  /** A view of the block as `type`: a typed array of as many whole elements as fit, or a `DataView`. */
  view<T extends TypedArray>(type: TypedArrayConstructor<T>): T;
  /** A `DataView` of the whole block. */
  view(type: DataViewConstructor): DataView;
  view<T extends ArrayBufferView>(type: ViewConstructor<T> & { readonly BYTES_PER_ELEMENT?: number }): T {
    const buffer = this.#live("view");
    const { address, byteOffset, byteLength } = this.#block;
    if (isTransferred(this.#block)) throwAfterReport(transferred("view", address));
    if (type as unknown !== DataView) assertTypedArrayConstructor(type);
    return new type(buffer, byteOffset, Math.floor(byteLength / (type.BYTES_PER_ELEMENT ?? 1)));
  }

  /**
   * Changes the size, keeping the contents up to the lesser of both. The address may change and older views are
   * detached. New bytes are zero unless the buffer was made with `zeroed: false`. Time in the size; of more than 4 MiB the OS
   * pages are moved where the source can `move` them.
   *
   * @throws {OutOfMemoryError} When the memory cannot be had; the buffer is as before.
   * @throws {CorruptionError} When somebody has transferred the ArrayBuffer, so that the contents cannot be read.
   */
  resize(byteLength: number): void {
    this.#live("resize");
    this.#owner.resize(this.#block, byteLength);
  }

  /**
   * Frees the block and detaches its views.
   *
   * @throws {InvalidFreeError} When it is freed already.
   */
  free(): void {
    if (this.#block.buffer === undefined) {
      const { address } = this.#block;
      return reportViolation(new InvalidFreeError("free", address, "double", "the buffer is already freed"));
    }
    this.#owner.free(this.#block);
  }

  /** Frees the block unless it is freed already: the end of a `using` scope. */
  [Symbol.dispose](): void {
    if (this.#block.buffer !== undefined) this.#owner.free(this.#block);
  }

  #live(action: string): ArrayBuffer {
    const { buffer } = this.#block;
    if (buffer !== undefined) return buffer;
    const where = formatAddress(this.#block.address);
    return throwAfterReport(new UseAfterFreeError(`Cannot ${action} the buffer at ${where}: it is freed`));
  }
}

function notFreed(address: Address): CorruptionError {
  return new CorruptionError(
    `Cannot resize the buffer at ${formatAddress(address)}: its block cannot be freed, for the reason just reported`,
  );
}

function transferred(action: string, address: Address): CorruptionError {
  return new CorruptionError(
    `Cannot ${action} the buffer at ${formatAddress(address)}: its ArrayBuffer was transferred elsewhere`,
  );
}
