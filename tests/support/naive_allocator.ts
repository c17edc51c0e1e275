/**
 * The simplest allocator that keeps the whole contract: for testing the tests, and for comparing others with.
 *
 * Sizes are rounded up to powers of two, alignments included, so that every block of a size is aligned to that size. Blocks up to
 * 64 KiB are cut from chunks of 1 MiB, and a freed one goes to the list of its size; larger ones have a mapping each.
 * All records are in a Map.
 *
 * ```text
 *   chunk   │ 64 │ 64 │ 16 │ .. │     4096      │ 64 │ ...      │ not cut yet │
 *           └────┴────┴────┴────┴───────────────┴────┴──────────┴─────────────┘
 *                                                               ╵ cut
 * ```
 *
 * With a {@link Flaw} it makes one mistake on purpose, of the kind that allocators have been shipped with. A conformance
 * suite that does not find each of them is not worth running.
 *
 * @module
 */
import type {
  Allocator,
  AllocatorStats,
  BlockInfo,
  BufferOptions,
  TypedArray,
  TypedArrayConstructor,
} from "../../src/allocator.ts";
import { alignUp, assertAddress, assertAlignment, assertSize } from "../../src/arguments.ts";
import {
  CorruptionError,
  countBytes,
  describeValue,
  DisposedError,
  formatAddress,
  InvalidFreeError,
  OutOfMemoryError,
  UseAfterFreeError,
} from "../../src/errors.ts";
import type { NativeBuffer } from "../../src/native_buffer.ts";
import { OwnedBlocks } from "../../src/owned_blocks.ts";
import type { Address, PageSource } from "../../src/page_source.ts";
import { type Flaw, type Mapping, NaiveMappings } from "./naive_mappings.ts";

export type { Flaw } from "./naive_mappings.ts";

/** Options of a {@link NaiveAllocator}. */
export interface NaiveOptions {
  /** Where memory comes from. */
  source: PageSource;
  /** The limit on requested bytes. */
  limit?: number;
  /** Whether freed memory is cleared. */
  zeroOnFree?: boolean;
  /** The mistake to make. */
  flaw?: Flaw | undefined;
}

interface Block {
  readonly address: Address;
  readonly mapping: Mapping;
  readonly usableSize: number;
  readonly alignment: number;
  requestedSize: number;
  owned: boolean;
}

/** What all typed arrays inherit from. */
const TYPED_ARRAY = Object.getPrototypeOf(Uint8Array) as new () => object;

const CHUNK = 2 ** 20;
const SMALL_MAX = 2 ** 16;

/** An allocator that is simple instead of fast. */
export class NaiveAllocator implements Allocator {
  /** Where memory comes from. */
  readonly source: PageSource;
  readonly #limit: number;
  readonly #zeroOnFree: boolean;
  readonly #flaw: Flaw | undefined;
  readonly #owned: OwnedBlocks;
  readonly #blocks = new Map<Address, Block>();
  readonly #mappings: NaiveMappings;
  /** Freed small blocks, by size. */
  readonly #free = new Map<number, { address: Address; mapping: Mapping }[]>();
  /** Every address that was ever given out and is not live. */
  readonly #stale = new Set<Address>();
  #chunk: Mapping | undefined;
  #requested = 0;
  #ownedBytes = 0;
  #disposed = false;
  #count = 0;

  /** Maps nothing yet. */
  constructor(options: NaiveOptions) {
    const { source, limit = Infinity, zeroOnFree = false, flaw } = options;
    if (limit !== Infinity) assertSize(limit, "limit");
    this.source = source;
    this.#limit = limit;
    this.#zeroOnFree = zeroOnFree;
    this.#flaw = flaw;
    this.#mappings = new NaiveMappings(source, flaw);
    this.#owned = new OwnedBlocks(this, {
      setOwned: (address, owned) => {
        const block = this.#live(address, "free");
        block.owned = owned;
        this.#ownedBytes += owned ? block.requestedSize : -block.requestedSize;
      },
      replace: (address, newSize) => {
        const { requestedSize, alignment } = this.#live(address, "resize");
        this.#assertLimit(newSize, newSize - requestedSize);
        return this.#allocate(newSize, alignment).address;
      },
    });
  }

  allocate(size: number, alignment = 16): Address {
    if (this.#flaw !== "NaN accepted as a size" || !Number.isNaN(size)) assertSize(size);
    assertAlignment(alignment);
    this.#assertNotDisposed("allocate");
    this.#assertLimit(size, size);
    return this.#allocate(size || 0, alignment).address;
  }

  tryAllocate(size: number, alignment = 16): Address {
    try {
      return this.allocate(size, alignment);
    } catch (error) {
      if (error instanceof OutOfMemoryError) return 0;
      throw error;
    }
  }

  allocateZeroed(size: number, alignment = 16): Address {
    const address = this.allocate(size, alignment);
    // A mapping of its own is fresh.
    const isFresh = this.#live(address, "clear").mapping.isChunk === false;
    if (!isFresh && this.#flaw !== "dirty memory called zeroed" && size > 0) this.view(address).fill(0);
    return address;
  }

  resize(address: Address, size: number): boolean {
    const block = this.#live(address, "resize");
    assertSize(size);
    this.#refuseOwned(block, "resize");
    if (this.#requested - block.requestedSize + size > this.#limit) return false;
    if (size > block.usableSize && this.#flaw !== "resize claims what it cannot") return false;
    if (this.#zeroOnFree && size < block.requestedSize) this.#bytes(block, block.usableSize).fill(0, size);
    this.#requested += size - block.requestedSize;
    block.requestedSize = size;
    return true;
  }

  reallocate(address: Address, size: number): Address {
    if (address === 0) return this.allocate(size);
    const block = this.#live(address, "reallocate");
    assertSize(size);
    this.#refuseOwned(block, "reallocate");
    if (size === 0) {
      this.free(address);
      return 0;
    }
    if (size <= block.usableSize && this.resize(address, size)) return address;
    this.#assertLimit(size, size - block.requestedSize);
    if (this.#flaw === "block lost by a failed reallocate") this.#release(block);
    const kept = this.#flaw === "contents cut by reallocate" ? block.requestedSize - 1 : block.requestedSize;
    const alignment = this.#flaw === "alignment lost by reallocate" ? 16 : block.alignment;
    const moved = this.#allocate(size, alignment);
    if (kept > 0) this.#bytes(moved, size).set(this.#bytes(block, Math.min(kept, size)));
    const forgotten = this.#flaw === "old block kept by reallocate" || !this.#blocks.has(address);
    if (!forgotten) this.#release(block);
    return moved.address;
  }

  free(address: Address): void {
    assertAddress(address);
    this.#assertNotDisposed(`free ${formatAddress(address)}`);
    if (address === 0) return;
    if (this.#flaw === "second free accepted" && this.#stale.has(address)) return;
    if (this.#flaw === "bad free counted" && !this.#blocks.has(address)) this.#requested -= 16;
    const inside = this.#flaw === "interior free accepted" ? this.#around(address) : undefined;
    if (this.#flaw === "foreign free ignored" && !this.#blocks.has(address) && !this.#stale.has(address)) {
      if (this.#around(address) === undefined) return;
    }
    const block = inside ?? this.#live(address, "free");
    if (block.owned && this.#flaw !== "buffer not detached") this.#owned.revoke(address);
    this.#release(block);
  }

  usableSize(address: Address): number {
    const block = this.#live(address, "measure");
    return this.#flaw === "usable size above the block" ? block.usableSize + 16 : block.usableSize;
  }

  owns(address: Address): boolean {
    this.#assertNotDisposed(`look up ${formatAddress(address)}`);
    return this.#blocks.has(address);
  }

  view(address: Address, byteLength?: number): Uint8Array<ArrayBuffer> {
    const block = this.#live(address, "view");
    if (byteLength === undefined) return this.#bytes(block, block.requestedSize);
    assertSize(byteLength, "byteLength");
    if (byteLength > block.usableSize) {
      throw new RangeError(
        `Cannot view ${byteLength} bytes at ${formatAddress(address)}: the block has ${block.usableSize}`,
      );
    }
    return this.#bytes(block, byteLength);
  }

  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T {
    assertSize(length, "length");
    // In JavaScriptCore even DataView has BYTES_PER_ELEMENT.
    if (typeof type !== "function" || !(type.prototype instanceof TYPED_ARRAY)) {
      throw new TypeError(`Cannot use ${describeValue(type)} as an array type: it must be a typed array`);
    }
    const wraps = this.#flaw === "count times size wraps around at 2^32";
    const size = wraps ? (length * type.BYTES_PER_ELEMENT) % 2 ** 32 : length * type.BYTES_PER_ELEMENT;
    const address = this.allocate(size);
    try {
      const { buffer, byteOffset } = this.view(address);
      return new type(buffer, byteOffset, Math.floor(size / type.BYTES_PER_ELEMENT));
    } catch (error) {
      this.free(address);
      throw error;
    }
  }

  freeArray(array: ArrayBufferView): void {
    this.free(this.#addressOf(array, "free"));
  }

  addressOf(view: ArrayBufferView): Address {
    return this.#addressOf(view, "take the address of");
  }

  buffer(byteLength: number, options: BufferOptions = {}): NativeBuffer {
    this.#assertNotDisposed("allocate a buffer");
    return this.#owned.create(byteLength, options);
  }

  *blocks(): IterableIterator<BlockInfo> {
    this.#assertNotDisposed("walk the blocks");
    const blocks = [...this.#blocks.values()];
    if (this.#flaw === "walk leaves a block out" && blocks.length > 3) blocks.pop();
    for (const block of blocks) {
      if (this.#blocks.get(block.address) !== block) continue;
      const { address, requestedSize, usableSize, alignment } = block;
      yield { address, requestedSize, usableSize, alignment };
    }
  }

  stats(): AllocatorStats {
    this.#assertNotDisposed("report");
    let liveBytes = 0;
    for (const block of this.#blocks.values()) {
      liveBytes += this.#flaw === "live bytes miscounted" ? block.requestedSize : block.usableSize;
    }
    const { committed, peak, wrappedBytes, all } = this.#mappings;
    return {
      liveBlocks: this.#blocks.size,
      liveBytes,
      committedBytes: committed,
      peakCommittedBytes: peak,
      tableBytes: 0,
      reservedBytes: committed,
      wrappedBytes: wrappedBytes + this.#ownedBytes,
      regions: all.size,
      limit: this.#limit,
    };
  }

  check(): void {
    this.#assertNotDisposed("check");
    let requested = 0;
    const live = new Map<Mapping, number>();
    for (const block of this.#blocks.values()) {
      requested += block.requestedSize;
      live.set(block.mapping, (live.get(block.mapping) ?? 0) + 1);
    }
    if (requested !== this.#requested) {
      throw new CorruptionError(
        `Cannot trust the count of requested bytes: it is ${this.#requested}, not ${requested}`,
      );
    }
    for (const mapping of this.#mappings.all) {
      if (mapping.live !== (live.get(mapping) ?? 0)) {
        throw new CorruptionError(`Cannot trust the mapping at ${formatAddress(mapping.address)}: its count is wrong`);
      }
      this.#mappings.assertAttached(mapping);
    }
  }

  trim(): number {
    this.#assertNotDisposed("trim");
    let given = 0;
    for (const mapping of [...this.#mappings.all]) {
      if (mapping.live > 0) continue;
      for (const list of this.#free.values()) {
        const kept = list.filter((place) => place.mapping !== mapping);
        list.splice(0, list.length, ...kept);
      }
      if (this.#chunk === mapping) this.#chunk = undefined;
      this.#mappings.unmap(mapping);
      given += mapping.byteLength;
    }
    return given;
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = this.#flaw !== "usable after dispose";
    this.#owned.revokeAll();
    this.#ownedBytes = 0;
    this.#blocks.clear();
    this.#free.clear();
    this.#chunk = undefined;
    this.#requested = 0;
    this.#mappings.dispose();
  }

  #allocate(size: number, alignment: number): Block {
    const usableSize = powerOfTwo(Math.max(size, alignment, 16));
    const align = Math.max(16, alignment);
    if (this.#flaw === "alignment ignored" && align > 16) return this.#allocate(size, 16);
    if (usableSize > SMALL_MAX) {
      const byteLength = alignUp(Math.max(size, 1), Math.max(this.source.pageSize, this.source.granularity));
      return this.#add(this.#mappings.map(byteLength, align, false), 0, byteLength, size, align);
    }
    const place = this.#flaw === "memory never reused" ? undefined : this.#free.get(usableSize)?.pop();
    if (place !== undefined) return this.#add(place.mapping, place.address, usableSize, size, align);
    let chunk = this.#chunk;
    if (chunk === undefined || alignUp(chunk.cut, usableSize) + usableSize > chunk.byteLength) {
      chunk = this.#mappings.map(CHUNK, SMALL_MAX, true);
      this.#chunk = chunk;
    }
    const offset = alignUp(chunk.cut, usableSize);
    chunk.cut = offset + usableSize;
    const overlaps = this.#flaw === "blocks overlap" && offset > 0 && align === 16 && ++this.#count % 50 === 0;
    return this.#add(chunk, chunk.address + (overlaps ? offset - 16 : offset), usableSize, size, align);
  }

  #add(mapping: Mapping, place: Address, usableSize: number, requestedSize: number, alignment: number): Block {
    const address = place === 0 ? mapping.address : place;
    const block = { address, mapping, usableSize, alignment, requestedSize, owned: false };
    this.#blocks.set(address, block);
    this.#stale.delete(address);
    mapping.live++;
    this.#requested += requestedSize;
    return block;
  }

  #release(block: Block): void {
    const { address, mapping, usableSize } = block;
    if (this.#zeroOnFree) this.#bytes(block, usableSize).fill(0);
    this.#blocks.delete(address);
    this.#stale.add(address);
    mapping.live--;
    this.#requested -= block.requestedSize;
    if (!mapping.isChunk) {
      this.#mappings.unmap(mapping);
      return;
    }
    const list = this.#free.get(usableSize);
    if (list === undefined) this.#free.set(usableSize, [{ address, mapping }]);
    else list.push({ address, mapping });
  }

  #bytes(block: Block, byteLength: number): Uint8Array<ArrayBuffer> {
    return this.#mappings.bytes(block.mapping, block.address, byteLength);
  }

  #live(address: Address, action: string): Block {
    assertAddress(address);
    this.#assertNotDisposed(`${action} ${formatAddress(address)}`);
    const block = this.#blocks.get(address);
    if (block !== undefined) return block;
    const around = this.#around(address);
    if (around !== undefined) {
      const offset = countBytes(address - around.address);
      const detail = `it is ${offset} inside the block at ${formatAddress(around.address)}`;
      throw new InvalidFreeError(action, address, "interior", detail);
    }
    if (this.#stale.has(address)) throw new InvalidFreeError(action, address, "double", "the block is already freed");
    throw new InvalidFreeError(action, address, "foreign", "there was never a block");
  }

  #around(address: Address): Block | undefined {
    for (const block of this.#blocks.values()) {
      if (address >= block.address && address < block.address + block.usableSize) return block;
    }
    return undefined;
  }

  #refuseOwned(block: Block, action: string): void {
    if (!block.owned) return;
    throw new InvalidFreeError(action, block.address, "foreign", "a NativeBuffer owns the block");
  }

  #addressOf(view: ArrayBufferView, action: string): Address {
    this.#assertNotDisposed(`${action} a view`);
    if (!ArrayBuffer.isView(view)) throw new TypeError(`Cannot ${action} ${describeValue(view)}: it is no view`);
    const { buffer } = view;
    if (buffer.byteLength === 0 && (buffer as ArrayBuffer).detached === true) {
      throw new UseAfterFreeError(`Cannot ${action} the view: its buffer is detached`);
    }
    const origin = this.#owned.originOf(buffer);
    if (origin !== undefined) return origin + view.byteOffset;
    const address = this.#mappings.addressOf(view);
    if (address !== undefined) return address;
    throw new InvalidFreeError(action, 0, "foreign", "the view is not of this allocator's memory");
  }

  #assertLimit(size: number, extra: number): void {
    const limit = this.#flaw === "limit off by one" ? this.#limit + 1 : this.#limit;
    if (this.#requested + extra <= limit) return;
    throw new OutOfMemoryError(
      `Cannot allocate ${size} bytes: ${this.#requested} of the limit of ${this.#limit} bytes are live`,
      size,
      this.#limit,
    );
  }

  #assertNotDisposed(action: string): void {
    if (this.#disposed) throw new DisposedError(action, "naive allocator");
  }
}

/** The least power of two that is not below `value`. */
function powerOfTwo(value: number): number {
  let power = 16;
  while (power < value) power *= 2;
  return power;
}
