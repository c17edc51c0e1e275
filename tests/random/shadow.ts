/**
 * The shadow of an allocator: does operations on it, knows what must be the case afterwards, and verifies that it is.
 *
 * For every live block it knows address, size, alignment and the pattern that was written. Short blocks are filled and
 * verified whole; of long ones the ends and a few words between, so that a run is fast and a wrong byte anywhere
 * still unlikely to pass for long.
 *
 * ```text
 *   block    │ 64 bytes │ ... │ 8 │ ... │ 8 │ ... │ 8 │ ... │ 64 bytes │
 *            ╵ 0              ╵ 4001    ╵ 8002                          ╵ written
 * ```
 *
 * @module
 */
import type { Allocator, AllocatorStats, TypedArray, TypedArrayConstructor } from "../../src/allocator.ts";
import { InvalidFreeError, type InvalidFreeKind, OutOfMemoryError } from "../../src/errors.ts";
import type { NativeBuffer } from "../../src/native_buffer.ts";
import type { Address } from "../../src/page_source.ts";
import type { Operation } from "./operations.ts";

/** One live block. */
interface ShadowBlock {
  readonly block: number;
  address: Address;
  size: number;
  readonly alignment: number;
  readonly buffer: NativeBuffer | undefined;
  /** Its place in the list of live blocks. */
  place: number;
}

/** What may happen in a run. */
export interface ShadowOptions {
  /** Whether memory may run out. */
  readonly mayRunOut: boolean;
  /** Whether views of freed owned buffers must be empty. */
  readonly isolating: boolean;
}

const EDGE = 64;
const STEP = 4001;
const WORD = 8;
const FREED_KEPT = 64;

/** The longest block that is filled whole before the samples are written. */
const FILLED_UP_TO = 2 ** 18;

const ARRAY_TYPES: readonly TypedArrayConstructor<TypedArray>[] = [
  ...[Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array],
  ...[Float64Array, BigInt64Array, BigUint64Array],
];

/** The methods that must reject a bad address. */
const METHODS: readonly ((allocator: Allocator, address: Address) => unknown)[] = [
  (allocator, address) => allocator.free(address),
  (allocator, address) => allocator.usableSize(address),
  (allocator, address) => allocator.view(address),
  (allocator, address) => allocator.resize(address, 40),
  (allocator, address) => allocator.reallocate(address, 4000),
  (allocator, address) => allocator.reallocate(address, 0),
];

/** Does operations on an allocator and throws when something is not as it must be. */
export class Shadow {
  /** The numbers of the live blocks. */
  readonly live: number[] = [];
  /** The numbers of the blocks that were freed last. */
  readonly freed: number[] = [];
  /** Bytes asked for by the live blocks. */
  liveBytes = 0;
  readonly #allocator: Allocator;
  readonly #options: ShadowOptions;
  readonly #blocks = new Map<number, ShadowBlock>();
  readonly #byAddress = new Map<Address, ShadowBlock>();
  /** Where the blocks in `freed` were. */
  readonly #freedAddresses = new Map<number, Address>();

  /** Of an allocator with no block. */
  constructor(allocator: Allocator, options: ShadowOptions) {
    this.#allocator = allocator;
    this.#options = options;
  }

  /** The figures of the allocator. */
  stats(): AllocatorStats {
    return this.#allocator.stats();
  }

  /** Does one operation. */
  apply(operation: Operation): void {
    const { action, block, a, b } = operation;
    const allocator = this.#allocator;
    switch (action) {
      case "allocate":
        return this.#add(block, a, b, undefined, () => allocator.allocate(a, b));
      case "try":
        return this.#add(block, a, b, undefined, () => {
          const address = allocator.tryAllocate(a, b);
          if (address === 0) throw new OutOfMemoryError("Cannot allocate: tryAllocate() gave 0", a);
          return address;
        });
      case "zeroed":
        return this.#add(block, a, b, undefined, () => {
          const address = allocator.allocateZeroed(a, b);
          assertZero(allocator.view(address), `block ${block} of allocateZeroed(${a}, ${b})`);
          return address;
        });
      case "array":
        return this.#addArray(block, a, b);
      case "buffer":
        return this.#addBuffer(block, a, b);
      case "trim":
        return assertThat(allocator.trim() >= 0, "trim() returned less than 0");
      case "walk":
        return this.#walk();
      case "stats":
        return this.#compareStats();
      case "check":
        return allocator.check();
      case "foreign":
        if (block !== 0 && !this.#blocks.has(block)) return;
        return this.#reject((this.#blocks.get(block)?.address ?? 0) + a, ["foreign", "double", "interior"], b);
      case "double":
        return this.#rejectFreed(block, b);
    }
    const known = this.#blocks.get(block);
    if (known === undefined) return;
    if (action === "free") this.#free(known, a);
    else if (action === "reallocate") this.#reallocate(known, a);
    else if (action === "resize") this.#resize(known, a);
    else if (action === "edge") this.#rejectAtEdge(known, a, b);
    else if (action === "interior") this.#rejectInterior(known, a, b);
    else this.#verify(known);
  }

  /** Verifies and frees everything. */
  finish(): void {
    for (const block of [...this.#blocks.values()]) this.#free(block, 0);
    this.#walk();
    this.#compareStats();
    this.#allocator.check();
  }

  #add(block: number, size: number, alignment: number, buffer: NativeBuffer | undefined, make: () => Address): void {
    let address: Address;
    try {
      address = make();
    } catch (error) {
      if (this.#mayIgnore(error)) return this.#compareStats();
      throw error;
    }
    assertThat(address > 0 && address % Math.max(16, alignment) === 0, `block ${block} is at ${address}`);
    const there = this.#byAddress.get(address);
    if (there !== undefined) throw new Error(`block ${block} got the address ${address} of block ${there.block}`);
    const added = { block, address, size, alignment: Math.max(16, alignment), buffer, place: this.live.length };
    this.#blocks.set(block, added);
    this.#byAddress.set(address, added);
    this.live.push(block);
    this.liveBytes += size;
    this.#write(added);
  }

  #addArray(block: number, type: number, length: number): void {
    const constructor = ARRAY_TYPES[type % ARRAY_TYPES.length] as TypedArrayConstructor<TypedArray>;
    const size = length * constructor.BYTES_PER_ELEMENT;
    this.#add(block, size, 16, undefined, () => {
      const array = this.#allocator.array(constructor, length);
      assertThat(array.length === length && array instanceof constructor, `array ${block} is not as asked for`);
      return this.#allocator.addressOf(array);
    });
  }

  #addBuffer(block: number, size: number, alignment: number): void {
    let buffer: NativeBuffer;
    try {
      buffer = this.#allocator.buffer(size, { alignment });
    } catch (error) {
      if (this.#mayIgnore(error)) return;
      throw error;
    }
    assertThat(buffer.byteLength === size, `buffer ${block} has ${buffer.byteLength} bytes`);
    assertZero(buffer.bytes, `buffer ${block}`);
    this.#add(block, size, alignment, buffer, () => buffer.address);
  }

  #free(known: ShadowBlock, way: number): void {
    const { block, address, buffer } = known;
    const allocator = this.#allocator;
    this.#verify(known);
    if (buffer !== undefined) {
      const { bytes } = buffer;
      if (way === 0) buffer.free();
      else if (way === 1) buffer[Symbol.dispose]();
      else allocator.free(address);
      assertThat(buffer.freed && (!this.#options.isolating || bytes.length === 0), `buffer ${block} survived its free`);
    } else if (way === 1 && known.size > 0) {
      allocator.freeArray(allocator.view(address));
    } else if (way === 2) {
      assertThat(allocator.reallocate(address, 0) === 0, `reallocate() of block ${block} to 0 is not 0`);
    } else {
      allocator.free(address);
    }
    this.#remove(known);
  }

  #remove(known: ShadowBlock): void {
    const { block, address, place } = known;
    this.#blocks.delete(block);
    this.#byAddress.delete(address);
    this.liveBytes -= known.size;
    const last = this.live.pop() as number;
    if (last !== block) {
      this.live[place] = last;
      (this.#blocks.get(last) as ShadowBlock).place = place;
    }
    this.freed.push(block);
    this.#freedAddresses.set(block, address);
    if (this.freed.length > FREED_KEPT) this.#freedAddresses.delete(this.freed.shift() as number);
  }

  #reallocate(known: ShadowBlock, size: number): void {
    if (known.buffer !== undefined) return this.#resizeBuffer(known, known.buffer, size);
    if (size === 0) return this.#free(known, 2);
    const { block, address } = known;
    let moved: Address;
    this.#verify(known);
    try {
      moved = this.#allocator.reallocate(address, size);
    } catch (error) {
      if (!this.#mayIgnore(error)) throw error;
      return this.#verify(known);
    }
    this.#rename(known, moved);
    verifyBytes(this.#allocator.view(moved), block, known.size, Math.min(known.size, size), "after reallocate()");
    this.#setSize(known, size);
  }

  #resizeBuffer(known: ShadowBlock, buffer: NativeBuffer, size: number): void {
    const { block } = known;
    const { bytes } = buffer;
    try {
      buffer.resize(size);
    } catch (error) {
      if (!this.#mayIgnore(error)) throw error;
      return this.#verify(known);
    }
    assertThat(!this.#options.isolating || bytes.length === 0, `the old views of buffer ${block} survived its resize`);
    this.#rename(known, buffer.address);
    verifyBytes(buffer.bytes, block, known.size, Math.min(known.size, size), "after resize() of the buffer");
    this.#setSize(known, size);
  }

  #resize(known: ShadowBlock, size: number): void {
    if (known.buffer !== undefined) return this.#resizeBuffer(known, known.buffer, size);
    const { block, address } = known;
    if (this.#allocator.resize(address, size)) {
      verifyBytes(this.#allocator.view(address), block, known.size, Math.min(known.size, size), "after resize()");
      this.#setSize(known, size);
    } else {
      this.#verify(known);
    }
  }

  #rename(known: ShadowBlock, address: Address): void {
    if (address === known.address) return;
    this.#byAddress.delete(known.address);
    const there = this.#byAddress.get(address);
    if (there !== undefined) throw new Error(`block ${known.block} moved to ${address}, where block ${there.block} is`);
    known.address = address;
    this.#byAddress.set(address, known);
    assertThat(address % known.alignment === 0, `block ${known.block} moved to ${address}, unaligned`);
  }

  #setSize(known: ShadowBlock, size: number): void {
    this.liveBytes += size - known.size;
    known.size = size;
    this.#write(known);
  }

  #write(known: ShadowBlock): void {
    writeBytes(this.#allocator.view(known.address), known.block, known.size);
  }

  #verify(known: ShadowBlock): void {
    const { block, address, size } = known;
    const view = known.buffer === undefined ? this.#allocator.view(address) : known.buffer.bytes;
    assertThat(view.length === size, `the view of block ${block} has ${view.length} instead of ${size} bytes`);
    assertThat(this.#allocator.usableSize(address) >= size, `the usable size of block ${block} is below its size`);
    verifyBytes(view, block, size, size, "");
  }

  #rejectFreed(block: number, method: number): void {
    const address = this.#freedAddresses.get(block);
    // Another block may live there by now.
    if (address === undefined || this.#byAddress.has(address)) return;
    this.#reject(address, ["double", "foreign", "interior"], method);
  }

  #rejectInterior(known: ShadowBlock, offset: number, method: number): void {
    const usable = this.#allocator.usableSize(known.address);
    if (usable < 2) return;
    this.#reject(known.address + 1 + offset % (usable - 1), ["interior"], method);
    this.#verify(known);
  }

  /** An address just below a multiple of 64 KiB: where the last slot of a page may not quite fit. */
  #rejectAtEdge(known: ShadowBlock, granules: number, method: number): void {
    const end = (Math.floor(known.address / 65_536) + 1) * 65_536;
    this.#reject(end - 16 * granules, ["foreign", "double", "interior"], method);
  }

  #reject(address: Address, kinds: readonly InvalidFreeKind[], method: number): void {
    // 0 is allowed in some methods, and Windows gives out low addresses.
    if (address === 0 || this.#byAddress.has(address)) return;
    try {
      METHODS[method % METHODS.length]?.(this.#allocator, address);
    } catch (error) {
      if (error instanceof InvalidFreeError && kinds.includes(error.kind)) return this.#compareStats();
      throw new Error(`the bad address ${address} was rejected as ${String(error)}`, { cause: error });
    }
    throw new Error(`the bad address ${address} was accepted by method ${method}`);
  }

  #compareStats(): void {
    const { liveBlocks, liveBytes, committedBytes, peakCommittedBytes } = this.#allocator.stats();
    assertThat(liveBlocks === this.#blocks.size, `${liveBlocks} blocks are live by stats(), ${this.#blocks.size} are`);
    assertThat(liveBytes >= this.liveBytes, `${liveBytes} bytes are live by stats(), ${this.liveBytes} are`);
    assertThat(peakCommittedBytes >= committedBytes, "the peak is below what is committed");
  }

  #walk(): void {
    const seen: { address: Address; end: Address }[] = [];
    let usable = 0;
    for (const { address, requestedSize, usableSize, alignment } of this.#allocator.blocks()) {
      const known = this.#byAddress.get(address);
      if (known === undefined) throw new Error(`blocks() has ${address}, which is not live`);
      if (requestedSize !== known.size || alignment !== known.alignment || usableSize < requestedSize) {
        throw new Error(`blocks() has block ${known.block} as ${requestedSize}/${usableSize}@${alignment}`);
      }
      seen.push({ address, end: address + Math.max(1, usableSize) });
      usable += usableSize;
    }
    const { liveBytes } = this.#allocator.stats();
    assertThat(liveBytes === usable, `${liveBytes} bytes are live by stats(), ${usable} by blocks()`);
    assertThat(seen.length === this.#blocks.size, `blocks() has ${seen.length} blocks, ${this.#blocks.size} are live`);
    seen.sort((x, y) => x.address - y.address);
    for (let i = 1; i < seen.length; i++) {
      const [before, after] = [seen[i - 1], seen[i]] as [(typeof seen)[0], (typeof seen)[0]];
      assertThat(before.end <= after.address, `the blocks at ${before.address} and ${after.address} overlap`);
    }
  }

  #mayIgnore(error: unknown): boolean {
    return this.#options.mayRunOut && error instanceof OutOfMemoryError;
  }
}

function assertThat(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

function assertZero(view: Uint8Array, what: string): void {
  for (let i = 0; i < view.length; i += i < 1024 || i + 1024 > view.length ? 1 : 67) {
    if (view[i] !== 0) throw new Error(`${what} holds ${view[i]} instead of 0 at offset ${i}`);
  }
}

function byteAt(seed: number, offset: number): number {
  return (seed * 167 + offset * 31 + (offset >>> 8) * 13 + 1) & 255;
}

/** Writes the pattern of `seed`: whole up to two edges and a step, else in samples. */
function writeBytes(view: Uint8Array, seed: number, size: number): void {
  const samples = size > 2 * EDGE + STEP;
  // What lies between the samples must not be zero, or memory that should have been cleared could not be told.
  if (samples && size <= FILLED_UP_TO) view.fill(0xee);
  for (let i = 0, end = samples ? EDGE : size; i < end; i++) view[i] = byteAt(seed, i);
  if (!samples) return;
  for (let sample = STEP; sample + WORD <= size; sample += STEP) {
    for (let i = sample; i < sample + WORD; i++) view[i] = byteAt(seed, i);
  }
  for (let i = size - EDGE; i < size; i++) view[i] = byteAt(seed, i);
}

/** Verifies the first `length` bytes of what was written for a size of `written`. */
function verifyBytes(view: Uint8Array, seed: number, written: number, length: number, when: string): void {
  const samples = written > 2 * EDGE + STEP;
  verifySpan(view, seed, 0, Math.min(length, samples ? EDGE : written), when);
  if (!samples) return;
  for (let sample = STEP; sample + WORD <= length; sample += STEP) verifySpan(view, seed, sample, sample + WORD, when);
  verifySpan(view, seed, written - EDGE, Math.min(length, written), when);
}

function verifySpan(view: Uint8Array, seed: number, from: number, to: number, when: string): void {
  for (let i = from; i < to; i++) {
    if (view[i] !== byteAt(seed, i)) {
      throw new Error(`block ${seed} ${when} holds ${view[i]} instead of ${byteAt(seed, i)} at offset ${i}`);
    }
  }
}
