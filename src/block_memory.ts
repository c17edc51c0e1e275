/**
 * The bytes of blocks: views of them, and copying and clearing them, whatever kind of block they are.
 *
 * Small and large blocks lie in a region that is wrapped already; a huge block is wrapped when its bytes are first
 * wanted, and may be longer than any wrap.
 *
 * @module
 */
import type { TypedArray, TypedArrayConstructor } from "./allocator.ts";
import type { LiveBlock } from "./block_lookup.ts";
import type { Blocks } from "./blocks.ts";
import { clearBytes, copyBytes } from "./bytes.ts";
import type { Address } from "./page_source.ts";

/** Where the bytes of a block are found. */
export interface WrappedMemory {
  /** The buffer. */
  readonly buffer: ArrayBufferLike;
  /** Where in it the byte at `address` is. */
  readonly byteOffset: number;
  /** See {@link WrappedMemory.byteOffset}. */
  readonly address: Address;
}

/** The bytes of the blocks of one heap. */
export class BlockMemory {
  readonly #blocks: Blocks;

  /** Looks blocks up in `blocks`. */
  constructor(blocks: Blocks) {
    this.#blocks = blocks;
  }

  /** The wrapped memory around the first `byteLength` bytes of a block: its region, or the wrap of a huge block. */
  around(block: LiveBlock, byteLength: number): WrappedMemory {
    if (block.huge === undefined) return this.#blocks.regionOf(block);
    const { buffer, byteOffset } = this.#blocks.huge.view(block.huge, byteLength);
    return { buffer, byteOffset, address: block.address };
  }

  /** A view of `length` elements from the start of a block, which has that many bytes. */
  view<T extends TypedArray>(block: LiveBlock, type: TypedArrayConstructor<T>, length: number): T {
    const { buffer, byteOffset, address } = this.around(block, length * type.BYTES_PER_ELEMENT);
    return new type(buffer, byteOffset + (block.address - address), length);
  }

  /** The address of byte 0 of a buffer that views of blocks are on; undefined for any other. */
  originOf(buffer: ArrayBufferLike): Address | undefined {
    for (const { range } of this.#blocks.ranges) {
      for (const { bytes, address } of range.regions) {
        if (bytes.buffer === buffer) return address - bytes.byteOffset;
      }
    }
    const huge = this.#blocks.huge.wrappedIn(buffer);
    return huge && huge.address - huge.wrapped!.bytes.byteOffset;
  }

  /** Clears the first `length` bytes of a block. */
  clear(block: LiveBlock, length: number): void {
    if (block.huge !== undefined) {
      this.#blocks.huge.clear(block.address, length);
    } else {
      const region = this.#blocks.regionOf(block);
      clearBytes(region, block.address - region.address, length);
    }
  }

  /** Clears a block from `size` to its end. */
  clearTail(block: LiveBlock, size: number): void {
    const length = block.usableSize - size;
    if (block.huge !== undefined) {
      this.#blocks.huge.clear(block.address + size, length);
    } else {
      const { bytes, address } = this.#blocks.regionOf(block);
      const offset = block.address + size - address;
      bytes.fill(0, offset, offset + length);
    }
  }

  /** Copies the first `length` bytes of one block to another. */
  copy(from: LiveBlock, to: LiveBlock, length: number): void {
    if (from.huge !== undefined || to.huge !== undefined) {
      // A region that was detached is noticed before its contents are moved: nobody could free the block afterwards.
      if (from.huge === undefined) this.#blocks.regionOf(from);
      this.#blocks.huge.copy(from.address, to.address, length);
      return;
    }
    const source = this.#blocks.regionOf(from);
    const target = this.#blocks.regionOf(to);
    copyBytes(source, from.address - source.address, target, to.address - target.address, length);
  }
}
