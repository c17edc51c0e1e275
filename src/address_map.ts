/**
 * Records by address, for addresses that come and go all the time.
 *
 * ```text
 *   keys      [  0  , 0x7f10 , 0x7f40 , 0x7f20 ,  0  , ... ]    0 for an empty place
 *   values    [     ,   A    ,   B    ,   C    ,     , ... ]
 *               hash(0x7f20) ─▶ place 1, taken ─▶ 2, taken ─▶ 3
 * ```
 *
 * A hash table with linear probing, twice as long as it has entries at least. What is removed leaves no trace: the
 * entries behind it that were pushed aside move up.
 *
 * Not a `Map`, in which what is removed stays in the chain of its hash until the whole map is made anew. An allocator hands
 * out the address freed last, so that it is entered and removed again and again: beside 1,000 other entries that took
 * 1,190 ns in V8 and 900 in JavaScriptCore, as the chain grew to the length of the map.
 *
 * Every operation takes constant time, spread over many, but for `values` and `clear`.
 *
 * @module
 */
import type { Address } from "./page_source.ts";

/** Places of an empty table: a power of two. */
const LEAST_PLACES = 16;

/** The table is made half as long when there are fewer entries than one in so many places. */
const SHRINK_BELOW = 8;

/** 2^32 divided by the golden ratio, odd: the upper bits of a product with it depend on all bits of the other factor. */
const SPREAD = 0x9e3779b1 | 0;

/** Addresses are multiples of this, but for odd ones of page sources that somebody wrote, which find a place too. */
const GRANULE = 16;

/** Values by address. No address is 0. */
export class AddressMap<T> {
  /** Count of entries. */
  size = 0;
  #keys = new Float64Array(LEAST_PLACES);
  #values: (T | undefined)[] = new Array<T | undefined>(LEAST_PLACES).fill(undefined);
  /** 32 less the logarithm of the count of places: the upper bits of a hash are the place. */
  #shift = 32 - Math.log2(LEAST_PLACES);

  /** The value at an address. */
  get(address: Address): T | undefined {
    return this.#values[this.#placeOf(address)];
  }

  /** Enters a value, in the place of the one at the same address if there is one. */
  set(address: Address, value: T): void {
    const place = this.#placeOf(address);
    const isNew = this.#keys[place] === 0;
    this.#keys[place] = address;
    this.#values[place] = value;
    if (isNew && ++this.size * 2 > this.#keys.length) this.#rebuild(this.#keys.length * 2);
  }

  /** Removes the value at an address, and returns it. */
  delete(address: Address): T | undefined {
    const keys = this.#keys;
    const values = this.#values;
    const mask = keys.length - 1;
    let hole = this.#placeOf(address);
    const value = values[hole];
    if (keys[hole] === 0) return undefined;
    // Whatever follows and does not belong behind the hole moves into it, and leaves the next hole.
    for (let place = (hole + 1) & mask; keys[place] !== 0; place = (place + 1) & mask) {
      const home = this.#homeOf(keys[place]!);
      if (((place - home) & mask) < ((place - hole) & mask)) continue;
      keys[hole] = keys[place]!;
      values[hole] = values[place];
      hole = place;
    }
    keys[hole] = 0;
    values[hole] = undefined;
    if (--this.size * SHRINK_BELOW < keys.length && keys.length > LEAST_PLACES) this.#rebuild(keys.length / 2);
    return value;
  }

  /** All values, in no order. */
  values(): T[] {
    const keys = this.#keys;
    return this.#values.filter((_value, place): _value is T => keys[place] !== 0);
  }

  /** Removes everything. */
  clear(): void {
    this.size = 0;
    this.#rebuild(LEAST_PLACES);
  }

  /** Where an address is, or the empty place where it would be. */
  #placeOf(address: Address): number {
    const keys = this.#keys;
    const mask = keys.length - 1;
    let place = this.#homeOf(address);
    while (keys[place] !== address && keys[place] !== 0) place = (place + 1) & mask;
    return place;
  }

  #homeOf(address: Address): number {
    return Math.imul((address / GRANULE) | 0, SPREAD) >>> this.#shift;
  }

  /** Makes the table anew with so many places, and enters what is left in it. */
  #rebuild(places: number): void {
    const keys = this.#keys;
    const values = this.#values;
    const entered = this.size;
    this.#keys = new Float64Array(places);
    this.#values = new Array<T | undefined>(places).fill(undefined);
    this.#shift = 32 - Math.log2(places);
    if (entered === 0) return;
    for (let i = 0; i < keys.length; i++) {
      if (keys[i] === 0) continue;
      const place = this.#placeOf(keys[i]!);
      this.#keys[place] = keys[i]!;
      this.#values[place] = values[i];
    }
  }
}
