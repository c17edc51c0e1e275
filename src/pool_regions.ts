/**
 * The regions of a pool, and the numbers of their slots.
 *
 * ```text
 *   inOrder      ┌─ region 0 ─┬──────┐ ┌─ region 1 ─────────────┬───────┐
 *                │ used       │ new  │ │                        │       │
 *                └────────────┴──────┘ └────────────────────────┴───────┘
 *   numbers      0                99   128                          383 │ end = 384
 * ```
 *
 * A region's numbers begin at a multiple of 64, for the tables of pool_index.ts; those left out are of no slot.
 *
 * @module
 */
import type { MemoryRegion } from "./allocator_memory.ts";
import { alignUp } from "./arguments.ts";
import { CorruptionError, OutOfMemoryError } from "./errors.ts";
import { largestRegion, mapWhole, regionBytes } from "./mapped_region.ts";
import type { Address, PageSource } from "./page_source.ts";
import { emptyIndex, GROUP_SLOTS, indexOf, type PoolIndex } from "./pool_index.ts";
import { Unreleased } from "./unreleased.ts";

/** Bytes of the first region, if the pool was not made with a capacity. */
const FIRST_BYTES = 65_536;

/** Regions stop doubling here. */
const REGION_MAX = 64 * 2 ** 20;

/** Slots that lie behind each other. */
export interface PoolRegion {
  /** Where the first slot starts. */
  readonly address: Address;
  /** Bytes of the region, in whole OS pages. */
  readonly byteLength: number;
  /** How many slots there are. */
  readonly slots: number;
  /** Its views. */
  readonly memory: MemoryRegion;
  /** The number of the first slot: a multiple of {@link GROUP_SLOTS}. */
  first: number;
  /** How many slots were ever given out: those before this one. */
  used: number;
}

/** All memory of one pool. */
export class PoolRegions {
  /** The regions by the numbers of their slots. */
  readonly inOrder: PoolRegion[] = [];
  /** Bytes from one slot to the next. */
  readonly stride: number;
  /** How many slots there are. */
  slots = 0;
  /** The number that the first slot of the next region gets. */
  end = 0;
  /** How many slots were ever given out. */
  used = 0;
  /** From addresses to slots and back; another object whenever a region comes or goes. */
  index: PoolIndex = emptyIndex();
  /** Bytes of all regions. */
  committedBytes = 0;
  /** The most that `committedBytes` ever was. */
  peakBytes = 0;
  /** Regions that could not be unmapped. */
  readonly unreleased: Unreleased;
  readonly #source: PageSource;
  readonly #alignment: number;
  readonly #byAddress: PoolRegion[] = [];

  /** Starts with none. */
  constructor(source: PageSource, stride: number, alignment: number) {
    this.#source = source;
    this.unreleased = new Unreleased(source);
    this.stride = stride;
    this.#alignment = alignment;
  }

  /** The address of a slot. */
  addressOf(slot: number): Address {
    const region = this.inOrder[lastNotAbove(this.inOrder, slot, "first")]!;
    return region.address + (slot - region.first) * this.stride;
  }

  /** The region that `address` lies in. Time in the logarithm of their number. */
  around(address: Address): PoolRegion | undefined {
    const region = this.#byAddress[lastNotAbove(this.#byAddress, address, "address")];
    return region !== undefined && address < region.address + region.byteLength ? region : undefined;
  }

  /** Every wrap. */
  *wraps(): IterableIterator<MemoryRegion> {
    for (const { memory } of this.inOrder) yield memory;
  }

  /** A slot that nobody had yet. There is one. */
  takeNew(): number {
    const region = this.inOrder.find(({ used, slots }) => used < slots)!;
    this.used++;
    return region.first + region.used++;
  }

  /** Whether a slot was ever given out. */
  isUsed(slot: number): boolean {
    const region = this.inOrder[lastNotAbove(this.inOrder, slot, "first")];
    return region !== undefined && slot - region.first < region.used;
  }

  /**
   * Takes memory for `least` more slots: for just these, or for more if that can be had.
   *
   * @throws {OutOfMemoryError} When not even these can be had; none are taken then.
   */
  add(least: number, exactly: boolean): void {
    const had = this.inOrder.length;
    this.unreleased.retry();
    try {
      for (let left = least; left > 0;) left -= this.#map(left, exactly);
    } catch (error) {
      this.giveBack(this.inOrder.slice(had));
      throw error;
    }
  }

  /** Takes one region for up to `least` slots or more; how many it has. */
  #map(least: number, exactly: boolean): number {
    const { stride } = this;
    const source = this.#source;
    const most = Math.floor(largestRegion(source) / stride);
    if (most === 0 || least * stride > Number.MAX_SAFE_INTEGER) {
      throw new OutOfMemoryError(
        `Cannot have ${least} slots of ${stride} bytes: a region has ${largestRegion(source)} bytes at most`,
        least * stride,
      );
    }
    const needed = Math.min(least, most);
    const doubled = Math.min(Math.max(this.slots * stride, FIRST_BYTES), REGION_MAX);
    let wanted = exactly ? needed : Math.min(Math.max(needed, Math.floor(doubled / stride)), most);
    for (;; wanted = Math.max(needed, wanted >>> 1)) {
      try {
        return this.#mapSlots(wanted, exactly);
      } catch (error) {
        if (wanted === needed || !(error instanceof OutOfMemoryError)) throw error;
      }
    }
  }

  #mapSlots(wanted: number, exactly: boolean): number {
    const source = this.#source;
    const byteLength = regionBytes(source, wanted * this.stride);
    const memory = mapWhole(source, byteLength, Math.max(this.#alignment, source.pageSize), this.unreleased);
    const { address } = memory;
    const slots = exactly ? wanted : Math.floor(byteLength / this.stride);
    const region = { address, byteLength, slots, memory, first: this.end, used: 0 };
    this.inOrder.push(region);
    this.#byAddress.splice(lastNotAbove(this.#byAddress, address, "address") + 1, 0, region);
    this.#number();
    this.committedBytes += byteLength;
    this.peakBytes = Math.max(this.peakBytes, this.committedBytes);
    return slots;
  }

  /** Gives regions back and renumbers the slots of the others; the bytes given. */
  giveBack(regions: readonly PoolRegion[]): number {
    for (const region of regions) {
      this.inOrder.splice(this.inOrder.indexOf(region), 1);
      this.#byAddress.splice(this.#byAddress.indexOf(region), 1);
    }
    this.#number();
    let given = this.unreleased.retry();
    for (const region of regions) {
      region.used = 0;
      this.committedBytes -= region.byteLength;
      this.#source.unwrap(region.memory.bytes);
      given += this.unreleased.unmap(region);
    }
    return given;
  }

  /** Numbers the slots of all regions, and counts them. */
  #number(): void {
    this.slots = this.end = this.used = 0;
    for (const region of this.inOrder) {
      region.first = this.end;
      this.end = alignUp(this.end + region.slots, GROUP_SLOTS);
      this.slots += region.slots;
      this.used += region.used;
    }
    this.index = indexOf(this.#byAddress, this.stride);
  }

  /** Verifies numbers and order. */
  check(): void {
    let slots = 0;
    let end = 0;
    let given = 0;
    let committed = 0;
    for (const region of this.inOrder) {
      const { first, used, address, byteLength } = region;
      if (first !== end || used > region.slots || region.slots * this.stride > byteLength) {
        throw new CorruptionError(`Cannot trust the numbers of the region of slot ${first}`);
      }
      if (this.around(address) !== region) throw new CorruptionError("Cannot trust the order of the regions");
      slots += region.slots;
      end = alignUp(end + region.slots, GROUP_SLOTS);
      given += used;
      committed += byteLength;
    }
    if (slots !== this.slots || committed !== this.committedBytes || this.#byAddress.length !== this.inOrder.length) {
      throw new CorruptionError(`Cannot trust the count of slots: it is ${this.slots}, the regions have ${slots}`);
    }
    if (end !== this.end || given !== this.used) {
      throw new CorruptionError(`Cannot trust the count of used slots: it is ${this.used}, the regions have ${given}`);
    }
  }

  /**
   * Detaches and gives back everything. When giving back fails the rest is given back all the same, and what failed
   * first is thrown at the end.
   */
  dispose(): void {
    for (const { bytes } of this.wraps()) this.#source.unwrap(bytes);
    for (const region of this.inOrder) region.used = 0;
    const regions = [...this.inOrder];
    this.inOrder.length = this.#byAddress.length = 0;
    this.#number();
    this.unreleased.dispose(regions);
  }
}

/** The last region whose `key` is at most `value`, or -1. */
function lastNotAbove(regions: readonly PoolRegion[], value: number, key: "first" | "address"): number {
  let low = 0;
  let high = regions.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (regions[middle]![key] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
