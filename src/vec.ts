/**
 * A growable array of numbers in native memory.
 *
 * ```text
 *   address                      length                 capacity
 *      ▼                            ▼                       ▼
 *      ┌────┬────┬────┬────┬────┬───┬───────────────────────┐
 *      │ 0  │ 1  │ 2  │ 3  │ 4  │ 5 │ room to grow           │   one block of the allocator
 *      └────┴────┴────┴────┴────┴───┴───────────────────────┘
 *      └─ #array: a typed array over all of it, made anew whenever the block is reallocated
 * ```
 *
 * `push` stores into that typed array and counts; only when it is full the block is reallocated to twice the size. An
 * array that was detached (its allocator is disposed) has length 0 and so is always full: no store is ever lost
 * silently.
 *
 * @module
 */
import type { Allocator, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import { assertOptions, assertSize, assertTypedArrayConstructor } from "./arguments.ts";
import { describeValue, DisposedError, OutOfMemoryError, UseAfterFreeError } from "./errors.ts";
import { globalAllocator } from "./global_allocator.ts";
import type { Address } from "./page_source.ts";

/** Bytes of the first block when elements come one by one. */
const FIRST_BYTES = 64;

/** Options of a {@link Vec}. */
export interface VecOptions {
  /** Where the elements live. @defaultValue the global allocator */
  allocator?: Allocator;
  /** Elements that there is room for at first. @defaultValue 0 */
  capacity?: number;
}

/**
 * A vector of numbers (or of bigints) in native memory, that grows.
 *
 * `push` and `pop` take constant time, amortised; `at` and `set` constant time; `insert` time in the number of elements
 * behind. It owns one block, freed when it is disposed. It may not be used any more once its allocator is disposed, or
 * has freed its blocks in bulk (an arena that is reset or rewound).
 *
 * @example
 * ```ts
 * import { Vec } from "@offheap/alloc";
 *
 * using primes = new Vec(Uint32Array);
 * primes.push(2);
 * primes.push(3);
 * primes.asArray(); // Uint32Array(2) [2, 3], no copy
 * ```
 *
 * @typeParam T The typed array that an element is one of.
 */
export class Vec<T extends TypedArray> implements Disposable, Iterable<T[number]> {
  /** Where the elements live. */
  readonly allocator: Allocator;
  /** The type of the elements. */
  readonly type: TypedArrayConstructor<T>;
  /** Over the whole block. */
  #array: T;
  #length = 0;
  /** The block, or 0 while there is none. */
  #address: Address = 0;
  #disposed = false;

  /** Takes memory for `capacity` elements, none if that is 0. */
  constructor(type: TypedArrayConstructor<T>, options: VecOptions = {}) {
    assertOptions(options);
    const { capacity = 0 } = options;
    assertTypedArrayConstructor(type);
    assertSize(capacity, "capacity");
    this.type = type;
    this.allocator = options.allocator ?? globalAllocator();
    this.#array = new type(new ArrayBuffer(0));
    if (capacity > 0) this.#reallocate(capacity);
  }

  /** How many elements there are. */
  get length(): number {
    return this.#length;
  }

  /** How many elements there is room for before the block must grow. */
  get capacity(): number {
    return this.#array.length;
  }

  /** Where the first element is; 0 while there is no block. Changes when the vector grows. */
  get address(): Address {
    return this.#address;
  }

  /** Adds an element at the end. Returns the new length. */
  push(value: T[number]): number {
    const length = this.#length;
    if (length >= this.#array.length) this.#grow(1);
    this.#array[length] = value;
    return this.#length = length + 1;
  }

  /** Takes the last element away and returns it; undefined when there is none. */
  pop(): T[number] | undefined {
    if (this.#length === 0) return undefined;
    const value = this.#read(this.#length - 1);
    this.#length--;
    return value;
  }

  /**
   * The element at `index`. As in JavaScript's arrays -1 is the last one.
   *
   * @throws {RangeError} When there is none.
   */
  at(index: number): T[number] {
    const place = index < 0 ? index + this.#length : index;
    this.#assertIndex(place, this.#length - 1, index, "read");
    return this.#read(place);
  }

  /**
   * Replaces the element at `index`.
   *
   * @throws {RangeError} When there is none.
   */
  set(index: number, value: T[number]): void {
    this.#assertIndex(index, this.#length - 1, index, "set");
    this.#read(index);
    this.#array[index] = value;
  }

  /**
   * Puts an element before the one at `index`; at the end when `index` is the length.
   *
   * @throws {RangeError} When `index` is beyond the length.
   */
  insert(index: number, value: T[number]): void {
    const length = this.#length;
    this.#assertIndex(index, length, index, "insert at");
    // The end first: a value of the wrong type throws before anything moved.
    this.push(value);
    if (index === length) return;
    const array = this.#array;
    array.copyWithin(index + 1, index, length);
    array[index] = value;
  }

  /** Takes all elements from `length` on away; does nothing when there are not so many. The capacity stays. */
  truncate(length: number): void {
    assertSize(length, "length");
    if (length < this.#length) this.#length = length;
  }

  /**
   * Makes room for `additional` more elements than there are: pushing that many needs no memory then.
   *
   * @throws {OutOfMemoryError} When it cannot be had; the vector is as before.
   */
  reserve(additional: number): void {
    assertSize(additional, "additional");
    if (this.#length + additional > this.#array.length) this.#grow(additional);
  }

  /** Gives the room beyond the length back, as far as the allocator can. */
  shrinkToFit(): void {
    this.#assertUsable();
    if (this.#length === this.#array.length) return;
    if (this.#length > 0) this.#reallocate(this.#length);
    else this.#release();
  }

  /**
   * The elements as a typed array, without a copy. It goes stale when the vector moves, shrinks or is disposed (it
   * shows whatever the memory is used for next): take it anew after anything that may reallocate.
   */
  asArray(): T {
    this.#assertUsable();
    const { buffer, byteOffset } = this.#array;
    return new this.type(buffer, byteOffset, this.#length);
  }

  /** The elements in order. The vector may change meanwhile, and may move. */
  *[Symbol.iterator](): IterableIterator<T[number]> {
    for (let index = 0; index < this.#length; index++) yield this.#read(index);
  }

  /** Frees the block, unless its allocator is disposed and it is gone already. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    try {
      this.#release();
    } catch (error) {
      if (!(error instanceof DisposedError)) throw error;
    }
  }

  /** The element at an index below the length. There is one, unless the memory went away under the vector. */
  #read(index: number): T[number] {
    const value = this.#array[index];
    if (value === undefined) this.#assertUsable();
    return value!;
  }

  /** Makes room for `additional` more elements: by doubling, or just so much where that cannot be had. */
  #grow(additional: number): void {
    this.#assertUsable();
    const needed = this.#length + additional;
    const bytes = this.type.BYTES_PER_ELEMENT;
    const doubled = Math.max(needed, this.#length * 2, FIRST_BYTES / bytes);
    try {
      this.#reallocate(doubled);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError) || doubled === needed) throw error;
      this.#reallocate(needed);
    }
  }

  /** Gives the block room for `capacity` elements. On failure nothing has changed. */
  #reallocate(capacity: number): void {
    const { allocator } = this;
    const bytes = this.type.BYTES_PER_ELEMENT;
    const before = this.#array.length;
    this.#address = allocator.reallocate(this.#address, capacity * bytes);
    try {
      this.#renew(capacity);
    } catch (error) {
      // No typed array can be that long here.
      this.#address = allocator.reallocate(this.#address, before * bytes);
      if (before > 0) this.#renew(before);
      throw error;
    }
  }

  /**
   * After every reallocation, in place or not: a typed array over the whole block. The block is resized to all of its
   * usable size first, as only what was asked for is sure to be kept by the next reallocation.
   */
  #renew(capacity: number): void {
    const { type, allocator } = this;
    const bytes = type.BYTES_PER_ELEMENT;
    const usable = Math.floor(allocator.usableSize(this.#address) / bytes);
    const length = allocator.resize(this.#address, usable * bytes) ? usable : capacity;
    const { buffer, byteOffset } = allocator.view(this.#address, length * bytes);
    this.#array = new type(buffer, byteOffset, length);
  }

  #release(): void {
    const address = this.#address;
    this.#address = this.#length = 0;
    this.#array = new this.type(new ArrayBuffer(0));
    if (address !== 0) this.allocator.free(address);
  }

  #assertUsable(): void {
    if (this.#disposed) throw new UseAfterFreeError("Cannot use the vector: it is disposed");
    if (this.#address !== 0 && this.#array.length === 0) {
      throw new UseAfterFreeError("Cannot use the vector: its memory was given back, as its allocator is disposed");
    }
  }

  #assertIndex(place: number, most: number, index: number, action: string): void {
    if (typeof index !== "number") {
      throw new TypeError(`Cannot ${action} ${describeValue(index)}: an index must be a number`);
    }
    if (place >= 0 && place <= most && Number.isInteger(place)) return;
    throw new RangeError(`Cannot ${action} index ${describeValue(index)}: the vector has a length of ${this.#length}`);
  }
}
