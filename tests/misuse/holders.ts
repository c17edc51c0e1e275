/**
 * Three ways to hold a block, and what a program can do to it in each: the tiers of the README.
 *
 * ```text
 *   by address   the block is written and read by C: nothing stands between the program and the memory
 *   by view      through a typed array over the region; out of its range the language reads undefined and ignores writes
 *   by buffer    through a NativeBuffer, whose views end with the block and are detached when it is freed
 * ```
 *
 * Offsets may be negative and beyond the end: that is the point.
 *
 * @module
 */
import type { Address, Allocator, NativeBuffer } from "../../mod.ts";
import type { NativeCode } from "./native.ts";

/** How the blocks of a mode are held. */
export type Holding = "address" | "view" | "buffer";

/** One block, held. Methods go on working after it is freed: as far as the allocator lets them. */
export interface Held {
  /** Where it started when it was allocated. */
  readonly address: Address;
  /** The size that was asked for. */
  readonly size: number;
  /** Frees it. */
  free(): void;
  /** Frees what starts `offset` bytes further. */
  freeAt(offset: number): void;
  /** Asks for its usable size, as of the block that starts `offset` bytes further. */
  measure(offset?: number): number;
  /** Asks for a view of it. */
  look(): Uint8Array;
  /** Changes its size; gives the block that it is now. */
  resize(size: number): Held;
  /** Sets bytes one by one; the result says how many really were. */
  write(offset: number, byte: number, length: number): number;
  /** Sets bytes in one go; the result says how many really were. */
  copyIn(offset: number, byte: number, length: number): number;
  /** Bytes of it; fewer than asked for where there are none. */
  read(offset: number, length: number): Uint8Array;
  /** Its length as a text that ends with a zero byte. */
  textLength(): number;
}

/** What may be asked for besides the size. */
export interface HoldOptions {
  /** As of `allocate`. */
  alignment?: number;
  /** Whether it must be zero. Without it the memory comes as it is, but from `buffer`, which clears unless told not to. */
  zeroed?: boolean;
}

/** Allocates a block and holds it. */
export function hold(
  holding: Holding,
  allocator: Allocator,
  native: NativeCode,
  size: number,
  options: HoldOptions = {},
): Held {
  if (holding === "buffer") return new HeldBuffer(allocator, allocator.buffer(size, options), size);
  const { alignment, zeroed = false } = options;
  const address = zeroed ? allocator.allocateZeroed(size, alignment) : allocator.allocate(size, alignment);
  if (holding === "address") return new HeldAddress(allocator, native, address, size);
  return new HeldView(allocator, allocator.view(address), address, size);
}

/** A number, and C. */
class HeldAddress implements Held {
  readonly address: Address;
  readonly size: number;
  readonly #allocator: Allocator;
  readonly #native: NativeCode;

  constructor(allocator: Allocator, native: NativeCode, address: Address, size: number) {
    this.#allocator = allocator;
    this.#native = native;
    this.address = address;
    this.size = size;
  }

  free(): void {
    this.#allocator.free(this.address);
  }

  freeAt(offset: number): void {
    this.#allocator.free(this.address + offset);
  }

  measure(offset = 0): number {
    return this.#allocator.usableSize(this.address + offset);
  }

  look(): Uint8Array {
    return this.#allocator.view(this.address);
  }

  resize(size: number): Held {
    return new HeldAddress(this.#allocator, this.#native, this.#allocator.reallocate(this.address, size), size);
  }

  write(offset: number, byte: number, length: number): number {
    this.#native.write(this.address + offset, byte, length);
    return length;
  }

  copyIn(offset: number, byte: number, length: number): number {
    this.#native.copyIn(this.address + offset, byte, length);
    return length;
  }

  read(offset: number, length: number): Uint8Array {
    return this.#native.read(this.address + offset, length);
  }

  textLength(): number {
    return this.#native.textLength(this.address);
  }
}

/** A view over the region. */
class HeldView implements Held {
  readonly address: Address;
  readonly size: number;
  readonly #allocator: Allocator;
  readonly #view: Uint8Array;

  constructor(allocator: Allocator, view: Uint8Array, address: Address, size: number) {
    this.#allocator = allocator;
    this.#view = view;
    this.address = address;
    this.size = size;
  }

  free(): void {
    this.#allocator.freeArray(this.#view);
  }

  freeAt(offset: number): void {
    // No view can start outside the block, short of one made by hand on its buffer: there it is the number again.
    if (offset < 0 || offset > this.#view.length) this.#allocator.free(this.address + offset);
    else this.#allocator.freeArray(this.#view.subarray(offset));
  }

  measure(offset = 0): number {
    return this.#allocator.usableSize(this.#allocator.addressOf(this.#view) + offset);
  }

  look(): Uint8Array {
    return this.#allocator.view(this.#allocator.addressOf(this.#view));
  }

  resize(size: number): Held {
    const address = this.#allocator.reallocate(this.#allocator.addressOf(this.#view), size);
    return new HeldView(this.#allocator, this.#allocator.view(address), address, size);
  }

  write(offset: number, byte: number, length: number): number {
    return writeEach(this.#view, offset, byte, length);
  }

  copyIn(offset: number, byte: number, length: number): number {
    return copyInto(this.#view, offset, byte, length);
  }

  read(offset: number, length: number): Uint8Array {
    return readEach(this.#view, offset, length);
  }

  textLength(): number {
    return textLengthOf(this.#view);
  }
}

/** A NativeBuffer, and its bytes as they were taken when it was made. */
class HeldBuffer implements Held {
  readonly address: Address;
  readonly size: number;
  readonly #allocator: Allocator;
  readonly #buffer: NativeBuffer;
  readonly #view: Uint8Array;

  constructor(allocator: Allocator, buffer: NativeBuffer, size: number) {
    this.#allocator = allocator;
    this.#buffer = buffer;
    this.#view = buffer.bytes;
    this.address = buffer.address;
    this.size = size;
  }

  free(): void {
    this.#buffer.free();
  }

  freeAt(offset: number): void {
    this.#allocator.free(this.address + offset);
  }

  measure(offset = 0): number {
    return offset === 0 ? this.#buffer.byteLength : this.#allocator.usableSize(this.#buffer.address + offset);
  }

  look(): Uint8Array {
    return this.#buffer.view(Uint8Array);
  }

  resize(size: number): Held {
    this.#buffer.resize(size);
    return new HeldBuffer(this.#allocator, this.#buffer, size);
  }

  write(offset: number, byte: number, length: number): number {
    return writeEach(this.#view, offset, byte, length);
  }

  copyIn(offset: number, byte: number, length: number): number {
    return copyInto(this.#view, offset, byte, length);
  }

  read(offset: number, length: number): Uint8Array {
    return readEach(this.#view, offset, length);
  }

  textLength(): number {
    return textLengthOf(this.#view);
  }
}

/** Writes by index, which the language ignores where the view has no such byte. */
function writeEach(view: Uint8Array, offset: number, byte: number, length: number): number {
  let written = 0;
  for (let i = offset; i < offset + length; i++) {
    view[i] = byte;
    if (view[i] === byte) written++;
  }
  return written;
}

/** `set` throws where the bytes do not fit; on a detached view there is nothing to write to. */
function copyInto(view: Uint8Array, offset: number, byte: number, length: number): number {
  view.set(new Uint8Array(length).fill(byte), offset);
  return length;
}

/** Reads by index as far as there are bytes. */
function readEach(view: Uint8Array, offset: number, length: number): Uint8Array {
  const bytes: number[] = [];
  for (let i = offset; i < offset + length; i++) {
    const byte = view[i];
    if (byte !== undefined) bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/** As `strlen`, but a view ends where it ends. */
function textLengthOf(view: Uint8Array): number {
  const end = view.indexOf(0);
  return end < 0 ? view.length : end;
}
