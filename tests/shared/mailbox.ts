/**
 * What the workers of the tests hand each other: words in a block of the heap, each the number of a block or 0; and
 * blocks with patterns that tell who they are and how long.
 *
 * @module
 */
import type { SharedHeap } from "../../mod.ts";
import type { Address } from "../../src/page_source.ts";

/** Bytes of the granules that blocks are numbered by. */
const GRANULE = 16;

/** Words in a block of the heap, read and written atomically. */
export class Mailbox {
  /** The words. */
  readonly words: Int32Array;
  readonly #base: Address;

  /** Over the block at `address`. Blocks are numbered from `base`, an address below all of them. */
  constructor(heap: SharedHeap, address: Address, base: Address) {
    const { buffer, byteOffset, byteLength } = heap.view(address);
    this.words = new Int32Array(buffer, byteOffset, byteLength / 4);
    this.#base = base;
  }

  /** Puts a block into a word, and returns the one that was there, or 0. */
  exchange(index: number, address: Address): Address {
    return this.#address(Atomics.exchange(this.words, index, this.#number(address)));
  }

  /** Puts a block into a word that has none; false when it has one. */
  tryPut(index: number, address: Address): boolean {
    return Atomics.compareExchange(this.words, index, 0, this.#number(address)) === 0;
  }

  #number(address: Address): number {
    return address === 0 ? 0 : ((address - this.#base) / GRANULE + 1) | 0;
  }

  #address(number: number): Address {
    return number === 0 ? 0 : this.#base + ((number >>> 0) - 1) * GRANULE;
  }
}

/** Waits in a loop for another worker: at first by trying again, then by sleeping, as there may be fewer processors than workers. */
export class Patience {
  #tries = 0;
  readonly #bed = new Int32Array(new SharedArrayBuffer(4));

  /** To be called each time there was nothing to do. */
  wait(): void {
    if (++this.#tries % 200 === 0) Atomics.wait(this.#bed, 0, 0, 1);
  }
}

/** Fills a block so that {@link assertFilled} can tell whether anybody else has written to it. */
export function fillBlock(heap: SharedHeap, address: Address): void {
  const bytes = heap.view(address);
  bytes.fill(patternOf(address, bytes.length));
}

/** Fails unless the block is as {@link fillBlock} left it. */
export function assertFilled(heap: SharedHeap, address: Address): void {
  const bytes = heap.view(address);
  const expected = patternOf(address, bytes.length);
  const step = bytes.length > 4096 ? 61 : 1;
  for (let at = 0; at < bytes.length; at += step) {
    if (bytes[at] !== expected) throw new Error(`byte ${at} of ${bytes.length} is ${bytes[at]}, not ${expected}`);
  }
}

function patternOf(address: Address, length: number): number {
  return (Math.floor(address / GRANULE) * 31 + length * 7 + 1) & 255;
}
