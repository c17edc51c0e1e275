/**
 * A block of native memory as its holder has it: an object that knows whether the block is freed.
 *
 * A detached typed array fails silently (it reads `undefined`), so the accessors of a freed `NativeBuffer` throw.
 *
 * Over a page source that cannot isolate (a fixed buffer) there is no ArrayBuffer for the block alone: the accessors
 * throw after free all the same, but views taken before stay readable. `isolated` tells which it is.
 *
 * Blocks are allocated, wrapped, resized and freed by owned_blocks.ts, where a drawing shows how the two belong together.
 *
 * @module
 */
import type { TypedArray, TypedArrayConstructor, ViewConstructor } from "./allocator.ts";
import { assertTypedArrayConstructor } from "./arguments.ts";
import { CorruptionError, formatAddress, InvalidFreeError, UseAfterFreeError } from "./errors.ts";
import type { OwnedBlocks, OwningAllocator } from "./owned_blocks.ts";
import type { Address, RuntimePointer } from "./page_source.ts";
import { reportViolation, throwAfterReport } from "./violations.ts";

/** One owned block as its allocator knows it. */
export interface OwnedBlock {
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

/** Whether somebody has moved the memory of a block to an ArrayBuffer that we do not know. */
export function isTransferred({ buffer, byteOffset, byteLength }: OwnedBlock): boolean {
  return buffer!.byteLength < byteOffset + byteLength;
}

/** The error for a block whose memory somebody has moved so. */
export function transferred(action: string, address: Address): CorruptionError {
  return new CorruptionError(
    `Cannot ${action} the buffer at ${formatAddress(address)}: its ArrayBuffer was transferred elsewhere`,
  );
}
