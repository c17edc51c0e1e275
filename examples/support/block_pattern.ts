/**
 * Fills blocks with a pattern, and finds the first byte that is not as it was filled.
 *
 * The pattern of a block is a sequence of 32-bit words that starts at a seed of its own and goes on by a fixed odd step,
 * so a byte that comes from another block, or from another place in the same one, is wrong but by rare chance:
 *
 * ```text
 *  byte  0           4           8           12       14
 *        ├───────────┼───────────┼───────────┼────────┤
 *        │ seed      │ seed+step │ seed+2step│ bytes  │   a block of 14 bytes: the rest is part of the next word
 *        └───────────┴───────────┴───────────┴────────┘
 * ```
 *
 * Blocks are reached through one pair of views for each region, found by the block's address and kept: a view for each
 * block would make more garbage than the program that is replayed. A view whose region was given back is empty, and is
 * dropped when it is met.
 *
 * @module
 */
import type { Address, Allocator } from "../../mod.ts";

/** One ArrayBuffer of the allocator. */
interface Region {
  /** The address of byte 0 of the buffer. */
  readonly base: Address;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
}

/** From one word to the next: 2^32 divided by the golden ratio, made odd, so that 2^32 words follow before one recurs. */
const STEP = 0x9e3779b1 | 0;

/** The seed for the `n`th block: two blocks share one only when their numbers differ by a multiple of 2^32. */
export function seedOf(n: number): number {
  // Another multiplier than STEP: with the same one, block 8's first word would be block 7's second.
  return Math.imul(n + 1, 0x85ebca6b) ^ 0x5bd1e995;
}

/** Patterns in the blocks of one allocator. */
export class BlockPattern {
  readonly #allocator: Allocator;
  readonly #regions: Region[] = [];

  /** Nothing is read or written yet. */
  constructor(allocator: Allocator) {
    this.#allocator = allocator;
  }

  /** Fills the bytes `from` to `to` (exclusive) of the live block at `address` with their part of the pattern of `seed`. */
  fill(address: Address, from: number, to: number, seed: number): void {
    if (from >= to) return;
    const { base, bytes, words } = this.#regionOf(address, to);
    const offset = address - base;
    let at = from;
    for (; at < to && (at & 3) !== 0; at++) bytes[offset + at] = byteAt(seed, at);
    const first = (offset + at) / 4;
    const end = first + Math.floor((to - at) / 4);
    let word = (seed + Math.imul(at / 4, STEP)) | 0;
    for (let index = first; index < end; index++) {
      words[index] = word;
      word = (word + STEP) | 0;
    }
    for (at += Math.max(end - first, 0) * 4; at < to; at++) bytes[offset + at] = byteAt(seed, at);
  }

  /** The offset of the first of `size` bytes of the live block at `address` that is not as filled with `seed`; or -1. */
  findDifference(address: Address, size: number, seed: number): number {
    if (size === 0) return -1;
    const { base, bytes, words } = this.#regionOf(address, size);
    const offset = address - base;
    const first = offset / 4;
    const count = Math.floor(size / 4);
    let word = seed;
    for (let index = 0; index < count; index++) {
      if (words[first + index] !== word) return this.#differenceIn(bytes, offset, index * 4, seed);
      word = (word + STEP) | 0;
    }
    for (let at = count * 4; at < size; at++) {
      if (bytes[offset + at] !== byteAt(seed, at)) return at;
    }
    return -1;
  }

  /** The offset of the first of `size` bytes of the live block at `address` that is not zero; or -1. */
  findNonZero(address: Address, size: number): number {
    if (size === 0) return -1;
    const { base, bytes } = this.#regionOf(address, size);
    const offset = address - base;
    for (let at = 0; at < size; at++) {
      if (bytes[offset + at] !== 0) return at;
    }
    return -1;
  }

  /** One byte of a live block: for messages. */
  byteOf(address: Address, offset: number): number {
    return this.#allocator.view(address)[offset]!;
  }

  #differenceIn(bytes: Uint8Array, offset: number, from: number, seed: number): number {
    let at = from;
    while (bytes[offset + at] === byteAt(seed, at)) at++;
    return at;
  }

  /** The region that holds `size` bytes from `address` on. */
  #regionOf(address: Address, size: number): Region {
    const regions = this.#regions;
    for (let index = 0; index < regions.length; index++) {
      const region = regions[index]!;
      // The length of a detached view is 0: it contains nothing.
      if (address < region.base || address + size > region.base + region.bytes.length) continue;
      // The next block is probably in the same region.
      if (index > 0) {
        regions[index] = regions[0]!;
        regions[0] = region;
      }
      return region;
    }
    return this.#addRegion(address);
  }

  #addRegion(address: Address): Region {
    // No block of its own is needed for this view: its buffer is what is kept.
    const { buffer, byteOffset } = this.#allocator.view(address);
    const region: Region = {
      base: address - byteOffset,
      bytes: new Uint8Array(buffer),
      words: new Int32Array(buffer, 0, Math.floor(buffer.byteLength / 4)),
    };
    const attached = this.#regions.filter(({ bytes }) => bytes.length > 0 && bytes.buffer !== buffer);
    this.#regions.splice(0, this.#regions.length, region, ...attached);
    return region;
  }
}

/** Byte `at` of the pattern of `seed`: all systems that we run on are little-endian. */
export function byteAt(seed: number, at: number): number {
  return ((seed + Math.imul(at >>> 2, STEP)) >>> ((at & 3) * 8)) & 255;
}
