/**
 * A pool: slots of one size, handed out and taken back in constant time.
 *
 * ```text
 *   regions     ┌──────┬──────┬──────┬──────┐ ┌──────┬──────┬──────┬─── ...   each twice as large as all before
 *               │slot 0│slot 1│slot 2│slot 3│ │slot 4│slot 5│slot 6│
 *               └──────┴──────┴──────┴──────┘ └──────┴──────┴──────┴───
 *               ├ stride ┤  slotSize rounded up to the alignment
 *
 *   links       [ live,   3,    live,   0,      live,  never ─────▶ ]         one Int32 a slot, out of line
 *                         └──────────▶┘
 *   #head = 2 ────────────┘ (numbers in links are one more than a slot's; 0 ends the list)
 * ```
 *
 * The free list runs through `links`, on JavaScript's heap, and not through the free slots as in C: what a stale view
 * or foreign code writes into a free slot corrupts nothing, and a link that is negative says that its slot is live,
 * which is how every bad free is found. Slots that nobody ever had are not in the list; a region counts them.
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
} from "./allocator.ts";
import { AllocatorMemory, assertAttached, type InvalidAddress, type MemoryRegion } from "./allocator_memory.ts";
import {
  alignUp,
  assertAddress,
  assertAlignment,
  assertSize,
  assertTypedArrayConstructor,
  DEFAULT_ALIGNMENT,
} from "./arguments.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { CorruptionError, describeValue, formatAddress, OutOfMemoryError } from "./errors.ts";
import type { NativeBuffer } from "./native_buffer.ts";
import type { Address, PageSource } from "./page_source.ts";
import { ALIGNMENT_SHIFT, checkLinks, linksWithout, LIVE, REQUESTED_MASK } from "./pool_links.ts";
import type { PoolAllocatorOptions } from "./pool_options.ts";
import { PoolRegions } from "./pool_regions.ts";
import { tryAllocate } from "./try_allocate.ts";
import { reportViolation, throwReported } from "./violations.ts";

const LIVE_DEFAULT = LIVE + (4 << ALIGNMENT_SHIFT);

/** The largest slot: what a link has room for. Larger blocks are no business of a pool. */
const SLOT_MAX = 2 ** ALIGNMENT_SHIFT - 16;

/**
 * A pool of slots of one size.
 *
 * What differs from the {@link Allocator} contract:
 * - Blocks have up to `slotSize` bytes at alignments up to `alignment`; anything larger is `OutOfMemoryError`, from
 *   `array` it is `RangeError`. `usableSize` is always `slotSize`.
 * - `resize` and `reallocate` never move: every size up to `slotSize` fits where the block is.
 * - The slot freed last is the first to be used again.
 * - `trim` gives regions back in which no slot is in use; never those of a pool that cannot grow.
 *
 * `allocate`, `free` and all else that takes an address take constant time while there is one region, otherwise O(log
 * regions). A slot costs 4 bytes of link on JavaScript's heap.
 *
 * @example
 * ```ts
 * import { PoolAllocator } from "@offheap/alloc";
 *
 * using pool = new PoolAllocator({ slotSize: 3 * 8, capacity: 1000 });
 * const point = pool.array(Float64Array); // three elements: the whole slot
 * point.set([1, 2, 3]);
 * pool.freeArray(point);
 * ```
 */
export class PoolAllocator implements Allocator {
  /** Where the memory comes from. */
  readonly source: PageSource;
  /** Bytes of a slot, as asked for. */
  readonly slotSize: number;
  /** What every slot is aligned to. */
  readonly alignment: number;
  /** Whether more slots are taken when all are in use. */
  readonly growable: boolean;
  readonly #regions: PoolRegions;
  readonly #memory: AllocatorMemory;
  /** By slot: 0 or the number of the next free slot and one, or a negative number for a live one. */
  #links = new Int32Array(0);
  /** The slot freed last and one, or 0. */
  #head = 0;
  /** How many slots are in the free list. */
  #free = 0;
  #live = 0;
  #disposed = false;

  /**
   * Takes the memory of `capacity` slots.
   *
   * @throws {OutOfMemoryError} When it cannot be had.
   */
  constructor(options: PoolAllocatorOptions) {
    const { slotSize, alignment = DEFAULT_ALIGNMENT, capacity, growable = true } = options;
    assertSize(slotSize, "slotSize");
    if (slotSize === 0 || slotSize > SLOT_MAX) {
      throw new RangeError(`Cannot use ${slotSize} as slotSize: it must be from 1 to ${SLOT_MAX} bytes`);
    }
    assertAlignment(alignment);
    if (capacity !== undefined) assertSize(capacity, "capacity");
    if (typeof growable !== "boolean") {
      throw new TypeError(`Cannot use ${describeValue(growable)} as growable: it must be a boolean`);
    }
    if (!growable && capacity === undefined) {
      throw new TypeError("Cannot make a pool that does not grow without a capacity");
    }
    this.source = options.source ?? defaultPageSource();
    this.slotSize = slotSize;
    this.alignment = Math.max(alignment, DEFAULT_ALIGNMENT);
    this.growable = growable;
    this.#regions = new PoolRegions(this.source, alignUp(slotSize, this.alignment), this.alignment);
    this.#memory = new AllocatorMemory(this, {
      name: "pool",
      isDisposed: () => this.#disposed,
      find: (address) => {
        const slot = this.#liveSlot(address);
        return slot === -1 ? undefined : this.#info(slot);
      },
      explain: (address) => this.#explain(address),
      regionOf: (address) => this.#regions.around(address)!.memory,
      regions: () => this.#wrapped(),
    });
    if (capacity !== undefined && capacity > 0) this.#add(capacity, true);
  }

  /** Slots there are, in use or not. A pool that may grow can have more. */
  get capacity(): number {
    return this.#regions.slots;
  }

  /** Slots that can be had before more memory is needed. */
  get available(): number {
    return this.#regions.slots - this.#live;
  }

  /** See {@link Allocator.allocate}. Constant time, unless the pool grows. */
  allocate(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    const head = this.#head;
    if (head !== 0 && (size >>> 0) === size && size <= this.slotSize && alignment === DEFAULT_ALIGNMENT) {
      const links = this.#links;
      this.#head = links[head - 1]!;
      links[head - 1] = LIVE_DEFAULT + size;
      this.#free--;
      this.#live++;
      return this.#regions.addressOf(head - 1);
    }
    return this.#allocateSlow(size, alignment);
  }

  /** Gives a whole slot: `allocate(slotSize)` at the alignment of the pool. */
  allocateSlot(): Address {
    return this.allocate(this.slotSize, this.alignment);
  }

  #allocateSlow(size: number, alignment: number): Address {
    assertSize(size);
    assertAlignment(alignment);
    this.#memory.assertNotDisposed("allocate");
    if (size > this.slotSize || alignment > this.alignment) {
      throw new OutOfMemoryError(
        `Cannot allocate ${size} bytes at alignment ${alignment}: the slots of the pool have ${this.slotSize} bytes ` +
          `at alignment ${this.alignment}`,
        size,
        this.slotSize,
      );
    }
    if (this.available === 0) this.#grow(1);
    const slot = this.#takeSlot();
    this.#links[slot] = LIVE + ((31 - Math.clz32(Math.max(alignment, DEFAULT_ALIGNMENT))) << ALIGNMENT_SHIFT) + size;
    this.#live++;
    return this.#regions.addressOf(slot);
  }

  /** A slot that is free: the one freed last, else one that nobody had. */
  #takeSlot(): number {
    if (this.#head === 0) return this.#regions.takeNew();
    const slot = this.#head - 1;
    this.#head = this.#links[slot]!;
    this.#free--;
    return slot;
  }

  /**
   * Takes memory until `count` slots are free, so that the next `count` allocations need none.
   *
   * @throws {OutOfMemoryError} When it cannot be had, or the pool does not grow; nothing is taken then.
   */
  preheat(count: number): void {
    assertSize(count, "count");
    this.#memory.assertNotDisposed("preheat");
    if (count > this.available) this.#grow(count - this.available);
  }

  #grow(slots: number): void {
    if (!this.growable) {
      throw new OutOfMemoryError(
        `Cannot have ${slots} more slots of ${this.slotSize} bytes: ${this.#live} of ${this.capacity} are in use, and ` +
          "the pool does not grow",
        slots * this.slotSize,
        this.capacity * this.slotSize,
      );
    }
    this.#add(slots, false);
  }

  #add(slots: number, exactly: boolean): void {
    this.#regions.add(slots, exactly);
    if (this.#links.length >= this.#regions.slots) return;
    const longer = new Int32Array(Math.max(this.#regions.slots, this.#links.length * 2));
    longer.set(this.#links);
    this.#links = longer;
  }

  /** See {@link Allocator.tryAllocate}. */
  tryAllocate(size: number, alignment?: number): Address {
    return tryAllocate(this, size, alignment);
  }

  /** See {@link Allocator.allocateZeroed}. A slot that nobody had before is not cleared again. */
  allocateZeroed(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    const isNew = this.#head === 0;
    const address = this.allocate(size, alignment);
    if (!isNew) this.#memory.clear(address, size);
    return address;
  }

  /** See {@link Allocator.resize}. True for every size up to `slotSize`. */
  resize(address: Address, size: number): boolean {
    this.#memory.live(address, "resize");
    assertSize(size);
    this.#memory.refuseOwned(address, "resize");
    return this.#setSize(this.#liveSlot(address), size);
  }

  #setSize(slot: number, size: number): boolean {
    if (size > this.slotSize) return false;
    this.#links[slot] = (this.#links[slot]! & ~REQUESTED_MASK) + size;
    return true;
  }

  /** See {@link Allocator.reallocate}. Always in place. */
  reallocate(address: Address, size: number): Address {
    if (address === 0) return this.allocate(size);
    this.#memory.live(address, "reallocate");
    assertSize(size);
    this.#memory.refuseOwned(address, "reallocate");
    if (size === 0) {
      this.free(address);
      return 0;
    }
    if (this.#setSize(this.#liveSlot(address), size)) return address;
    throw new OutOfMemoryError(
      `Cannot reallocate ${formatAddress(address)} to ${size} bytes: the slots of the pool have ${this.slotSize}`,
      size,
      this.slotSize,
    );
  }

  /** See {@link Allocator.free}. Constant time. */
  free(address: Address): void {
    const slot = this.#liveSlot(address);
    if (slot === -1) return this.#rejectFree(address);
    if (this.#memory.ownedBlocks !== 0) this.#memory.revoke(address);
    this.#links[slot] = this.#head;
    this.#head = slot + 1;
    this.#free++;
    this.#live--;
  }

  #rejectFree(address: Address): void {
    assertAddress(address);
    this.#memory.assertNotDisposed(`free ${formatAddress(address)}`);
    if (address !== 0) reportViolation(this.#memory.invalid(address, "free"));
  }

  /** See {@link Allocator.usableSize}. Always `slotSize`. */
  usableSize(address: Address): number {
    return this.#memory.live(address, "measure").usableSize;
  }

  /** See {@link Allocator.owns}. */
  owns(address: Address): boolean {
    this.#memory.assertNotDisposed(`look up ${formatAddress(address)}`);
    return this.#liveSlot(address) !== -1;
  }

  /** See {@link Allocator.view}. A view is empty once `trim` gave its region back. */
  view(address: Address, byteLength?: number): Uint8Array {
    return this.#memory.view(address, byteLength);
  }

  /**
   * See {@link Allocator.array}. Without a length it covers the slot: as many elements as fit.
   *
   * @throws {RangeError} When the array does not fit in a slot.
   */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, ...lengths: [length?: number]): T {
    assertTypedArrayConstructor(type);
    const most = Math.floor(this.slotSize / type.BYTES_PER_ELEMENT);
    const length = lengths.length === 0 ? most : lengths[0];
    assertSize(length, "length");
    if (length > most || most === 0) {
      throw new RangeError(
        `Cannot have an array of ${length} elements of ${type.BYTES_PER_ELEMENT} bytes in a slot of ` +
          `${this.slotSize} bytes: ${most} fit`,
      );
    }
    return this.#memory.array(type, length);
  }

  /** See {@link Allocator.freeArray}. */
  freeArray(array: ArrayBufferView): void {
    this.#memory.freeArray(array);
  }

  /** See {@link Allocator.addressOf}. */
  addressOf(view: ArrayBufferView): Address {
    return this.#memory.addressOf(view);
  }

  /** See {@link Allocator.buffer}. */
  buffer(byteLength: number, options: BufferOptions = {}): NativeBuffer {
    return this.#memory.buffer(byteLength, options);
  }

  /** See {@link Allocator.blocks}. In order of slots. */
  *blocks(): IterableIterator<BlockInfo> {
    this.#memory.assertNotDisposed("walk the blocks");
    for (const region of [...this.#regions.inOrder]) {
      // `trim` may renumber the slots while the caller has the walk, so each is found anew.
      for (let i = 0; i < region.used; i++) {
        if (this.#links[region.first + i]! < 0) yield this.#info(region.first + i);
      }
    }
  }

  /** See {@link Allocator.stats}. Links are on JavaScript's heap and not counted. */
  stats(): AllocatorStats {
    this.#memory.assertNotDisposed("report");
    const { committedBytes, peakBytes, inOrder, unreleased } = this.#regions;
    return {
      liveBlocks: this.#live,
      liveBytes: this.#live * this.slotSize,
      committedBytes,
      peakCommittedBytes: peakBytes,
      tableBytes: 0,
      reservedBytes: committedBytes + unreleased.byteLength,
      wrappedBytes: committedBytes,
      regions: inOrder.length,
      limit: Infinity,
    };
  }

  /** See {@link Allocator.check}. */
  check(): void {
    this.#memory.assertNotDisposed("check");
    for (const { memory } of this.#regions.inOrder) assertAttached(memory);
    try {
      this.#regions.check();
      const { live, free } = checkLinks(this.#links, this.#head, this.#regions, this.slotSize);
      if (live === this.#live && free === this.#free) return;
      throw new CorruptionError(
        `Cannot trust the figures of the pool: ${this.#live} live and ${this.#free} free slots are counted, ` +
          `${live} and ${free} are found`,
      );
    } catch (error) {
      throwReported(error);
    }
  }

  /** See {@link Allocator.trim}. Gives regions back in which no slot is in use. */
  trim(): number {
    this.#memory.assertNotDisposed("trim");
    if (!this.growable) return 0;
    const links = this.#links;
    const idle = this.#regions.inOrder.filter(({ first, used }) => {
      for (let i = 0; i < used; i++) if (links[first + i]! < 0) return false;
      return true;
    });
    if (idle.length > 0) {
      const left = linksWithout(links, this.#head, this.#regions, new Set(idle));
      this.#links = left.links;
      this.#head = left.head;
      this.#free = left.free;
    }
    return this.#regions.giveBack(idle);
  }

  /** Frees every slot, detaches every view and gives the memory back. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#memory.dispose();
    this.#head = this.#free = this.#live = 0;
    this.#regions.dispose();
  }

  /** The live slot that starts at `address`, or -1. Any value may come. */
  #liveSlot(address: Address): number {
    if (typeof address !== "number") return -1;
    const region = this.#regions.around(address);
    if (region === undefined) return -1;
    const place = (address - region.address) / this.#regions.stride;
    const slot = place | 0;
    return slot === place && slot < region.used && this.#links[region.first + slot]! < 0 ? region.first + slot : -1;
  }

  #info(slot: number): BlockInfo {
    const link = this.#links[slot]!;
    return {
      address: this.#regions.addressOf(slot),
      requestedSize: link & REQUESTED_MASK,
      usableSize: this.slotSize,
      alignment: 2 ** ((link >>> ALIGNMENT_SHIFT) & 31),
    };
  }

  #explain(address: Address): InvalidAddress {
    const region = this.#regions.around(address);
    if (region === undefined) return { kind: "foreign", detail: "it is in no region of this pool" };
    const { stride } = this.#regions;
    const slot = Math.floor((address - region.address) / stride);
    const start = region.address + slot * stride;
    if (slot >= region.used) return { kind: "foreign", detail: "the slot there was never in use" };
    if (this.#links[region.first + slot]! >= 0) {
      return address === start
        ? { kind: "double", detail: "the block is already freed" }
        : { kind: "foreign", detail: `it is inside the free slot at ${formatAddress(start)}` };
    }
    if (address - start >= this.slotSize) return { kind: "foreign", detail: "it is between two slots" };
    const detail = `it is ${address - start} bytes inside the live block of ${this.slotSize} bytes at ${
      formatAddress(start)
    }`;
    return { kind: "interior", detail };
  }

  *#wrapped(): IterableIterator<MemoryRegion> {
    for (const { memory } of this.#regions.inOrder) yield memory;
  }
}
