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
 * `allocate` and `free` go from a slot to its address and back by the tables of pool_index.ts, of which the pool has copies
 * (`#add` and `trim` renew them), so that they search for no region.
 *
 * @module
 */
import type { Allocator, AllocatorStats, BlockInfo, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import { AllocatorMemory, assertAttached } from "./allocator_memory.ts";
import { alignUp, assertAlignment, assertSize, assertTypedArrayConstructor, DEFAULT_ALIGNMENT } from "./arguments.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { CorruptionError, formatAddress, OutOfMemoryError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";
import { GROUP_SHIFT, GROUP_SLOTS, KEYS_PER_BYTE, PLACE, PLACE_END, PLACE_FIRST, PLACE_START } from "./pool_index.ts";
import { ALIGNMENT_SHIFT, checkLinks, linksWithout, LIVE, REQUESTED_MASK } from "./pool_links.ts";
import { explainSlot, idleRegions, poolStats, searchSlot, slotInfo } from "./pool_lookup.ts";
import { type PoolAllocatorOptions, poolRules } from "./pool_options.ts";
import { PoolRegions } from "./pool_regions.ts";
import { ViewedAllocator } from "./viewed_allocator.ts";
import { throwReported } from "./violations.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file: for the fast paths.
const LIVE_DEFAULT = LIVE + (4 << ALIGNMENT_SHIFT);
const DEFAULT = DEFAULT_ALIGNMENT;
const SHIFT = GROUP_SHIFT;
const GROUP_BITS = GROUP_SLOTS - 1;
const KEYS = KEYS_PER_BYTE;
const RECORD = PLACE;
const START_AT = PLACE_START;
const END_AT = PLACE_END;
const FIRST_AT = PLACE_FIRST;

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
 * `allocate` and `free` take constant time; all else that takes an address O(log regions). A slot costs 4 bytes of link
 * on JavaScript's heap.
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
export class PoolAllocator extends ViewedAllocator implements Allocator {
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
  /** How many slots are in the free list: all others that were ever given out are live. */
  #free = 0;
  /** Bytes from one slot to the next. */
  readonly #stride: number;
  /** One divided by it. */
  readonly #inverse: number;
  /** Where `#keys` begin; this and what follows are copies of the tables of pool_index.ts. */
  #origin: Address = 0;
  #keys: Int32Array = new Int32Array(0);
  #records: Float64Array = new Float64Array(0);
  #groups: Float64Array = new Float64Array(0);
  #disposed = false;

  /**
   * Takes the memory of `capacity` slots.
   *
   * @throws {OutOfMemoryError} When it cannot be had.
   */
  constructor(options: PoolAllocatorOptions) {
    super();
    const { slotSize, alignment, capacity, growable } = poolRules(options);
    this.source = options.source ?? defaultPageSource();
    this.slotSize = slotSize;
    this.alignment = alignment;
    this.growable = growable;
    this.#stride = alignUp(slotSize, this.alignment);
    this.#inverse = 1 / this.#stride;
    this.#regions = new PoolRegions(this.source, this.#stride, this.alignment);
    this.#memory = new AllocatorMemory(this, {
      name: "pool",
      isDisposed: () => this.#disposed,
      find: (address) => {
        const slot = this.#liveSlot(address);
        return slot === -1 ? undefined : slotInfo(this.#regions, this.#links, this.slotSize, slot);
      },
      explain: (address) => explainSlot(this.#regions, this.#links, this.slotSize, address),
      regionOf: (address) => this.#regions.around(address)!.memory,
      regions: () => this.#regions.wraps(),
    });
    if (capacity > 0) this.#add(capacity, true);
  }

  /** Slots there are, in use or not. A pool that may grow can have more. */
  get capacity(): number {
    return this.#regions.slots;
  }

  /** Slots that can be had before more memory is needed. */
  get available(): number {
    return this.#regions.slots - this.#live();
  }

  /** How many slots are in use. */
  #live(): number {
    return this.#regions.used - this.#free;
  }

  /** See {@link Allocator.allocate}. Constant time, unless the pool grows. */
  allocate(size: number, alignment: number = DEFAULT): Address {
    const head = this.#head;
    const bytes = typeof size === "number" ? size >>> 0 : -1;
    if (head !== 0 && bytes === size && bytes <= this.slotSize && alignment === DEFAULT) {
      const links = this.#links;
      const slot = head - 1;
      this.#head = links[slot]!;
      links[slot] = LIVE_DEFAULT + bytes;
      this.#free--;
      return this.#groups[slot >>> SHIFT]! + (slot & GROUP_BITS) * this.#stride;
    }
    return +this.#allocateSlow(size, alignment);
  }

  /** Gives a whole slot: `allocate(slotSize)` at the alignment of the pool. */
  allocateSlot(): Address {
    return this.allocate(this.slotSize, this.alignment);
  }

  /**
   * One method of more than 460 bytes of bytecode, which V8 never inlines: a loop that allocates and frees has room for one
   * of the two only when this takes it, and is slower by two thirds.
   */
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
    const regions = this.#regions;
    if (this.#head === 0 && regions.used === regions.slots) {
      if (!this.growable) {
        throw new OutOfMemoryError(
          `Cannot allocate ${size} bytes: of the slots of ${this.slotSize} bytes ${regions.used - this.#free} of ` +
            `${regions.slots} are in use, and the pool does not grow`,
          size,
          regions.slots * this.slotSize,
        );
      }
      this.#add(1, false);
    }
    // The slot freed last, else one that nobody had.
    let slot = this.#head - 1;
    if (slot === -1) {
      slot = regions.takeNew();
    } else {
      this.#head = this.#links[slot]!;
      this.#free--;
    }
    const alignmentLog = 31 - Math.clz32(Math.max(alignment, DEFAULT_ALIGNMENT));
    this.#links[slot] = LIVE + (alignmentLog << ALIGNMENT_SHIFT) + size;
    return this.#groups[slot >>> SHIFT]! + (slot & GROUP_BITS) * this.#stride;
  }

  /**
   * Takes memory until `count` slots are free, so that the next `count` allocations need none.
   *
   * @throws {OutOfMemoryError} When it cannot be had, or the pool does not grow; nothing is taken then.
   */
  preheat(count: number): void {
    assertSize(count, "count");
    this.#memory.assertNotDisposed("preheat");
    const slots = count - this.available;
    if (slots <= 0) return;
    if (!this.growable) {
      throw new OutOfMemoryError(
        `Cannot have ${slots} more slots of ${this.slotSize} bytes: ${this.#live()} of ${this.capacity} are in use, and ` +
          "the pool does not grow",
        slots * this.slotSize,
        this.capacity * this.slotSize,
      );
    }
    this.#add(slots, false);
  }

  #add(slots: number, exactly: boolean): void {
    try {
      this.#regions.add(slots, exactly);
    } finally {
      this.#copyIndex();
    }
    if (this.#links.length >= this.#regions.end) return;
    const longer = new Int32Array(Math.max(this.#regions.end, this.#links.length * 2));
    longer.set(this.#links);
    this.#links = longer;
  }

  /** Renews the copies for the fast paths, after regions came or went. */
  #copyIndex(): void {
    const { origin, keys, records, groups } = this.#regions.index;
    this.#origin = origin;
    this.#keys = keys;
    this.#records = records;
    this.#groups = groups;
  }

  /** See {@link Allocator.allocateZeroed}. A slot that nobody had before is not cleared again. */
  allocateZeroed(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    const isNew = this.#head === 0;
    const address = this.allocate(size, alignment);
    if (!isNew) this.#memory.clearNew(address, size);
    return address;
  }

  /** See {@link Allocator.resize}. True for every size up to `slotSize`. */
  resize(address: Address, size: number): boolean {
    this.#memory.liveToResize(address, size, "resize");
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
    this.#memory.liveToResize(address, size, "reallocate");
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
    if (slot === -1) return this.#memory.rejectFree(address);
    if (this.#memory.ownedBlocks !== 0) this.#memory.revoke(address);
    this.#links[slot] = this.#head;
    this.#head = slot + 1;
    this.#free++;
  }

  /**
   * See {@link Allocator.array}. Without a length it covers the slot: as many elements as fit.
   *
   * @throws {RangeError} When the array does not fit in a slot.
   */
  override array<T extends TypedArray>(type: TypedArrayConstructor<T>, ...lengths: [length?: number]): T {
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

  /** See {@link Allocator.blocks}. In order of slots. */
  *blocks(): IterableIterator<BlockInfo> {
    this.#memory.assertNotDisposed("walk the blocks");
    for (const region of [...this.#regions.inOrder]) {
      // `trim` may renumber the slots while the caller has the walk, so each is found anew.
      for (let i = 0; i < region.used; i++) {
        if (this.#links[region.first + i]! < 0) {
          yield slotInfo(this.#regions, this.#links, this.slotSize, region.first + i);
        }
      }
    }
  }

  /** See {@link Allocator.stats}. Links are on JavaScript's heap and not counted. */
  stats(): AllocatorStats {
    this.#memory.assertNotDisposed("report");
    return poolStats(this.#regions, this.#live(), this.slotSize);
  }

  /** See {@link Allocator.check}. */
  check(): void {
    this.#memory.assertNotDisposed("check");
    for (const region of this.#regions.wraps()) assertAttached(region);
    try {
      this.#regions.check();
      const { live, free } = checkLinks(this.#links, this.#head, this.#regions, this.slotSize);
      if (live === this.#live() && free === this.#free) return;
      throw new CorruptionError(
        `Cannot trust the figures of the pool: ${this.#live()} live and ${this.#free} free slots are counted, ` +
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
    const idle = idleRegions(this.#regions, links);
    if (idle.length > 0) {
      const left = linksWithout(links, this.#head, this.#regions, new Set(idle));
      this.#links = left.links;
      this.#head = left.head;
      this.#free = left.free;
    }
    try {
      return this.#regions.giveBack(idle);
    } finally {
      this.#copyIndex();
    }
  }

  /** Frees every slot, detaches every view and gives the memory back. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#memory.dispose();
    this.#head = this.#free = 0;
    try {
      this.#regions.dispose();
    } finally {
      this.#copyIndex();
    }
  }

  /** The live slot that starts at `address`, or -1. Any value may come. */
  #liveSlot(address: Address): number {
    if (typeof address !== "number") return -1;
    const keys = this.#keys;
    const key = ((address - this.#origin) * KEYS) | 0;
    if (key >>> 0 >= keys.length) return keys.length === 0 ? searchSlot(this.#regions, this.#links, address) : -1;
    const records = this.#records;
    let record = keys[key]!;
    // Regions that begin within the same 64 KiB are entered under the last of them.
    while (address < records[record + START_AT]!) record -= RECORD;
    if (!(address < records[record + END_AT]!)) return -1;
    const offset = address - records[record + START_AT]!;
    // The nearest slot: rounding cannot miss the right one, and a product is three times as fast as a quotient.
    const number = (offset * this.#inverse + 0.5) | 0;
    if (number * this.#stride !== offset) return -1;
    const slot = (records[record + FIRST_AT]! + number) | 0;
    return this.#links[slot]! < 0 ? slot : -1;
  }
}
