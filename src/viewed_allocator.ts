/**
 * The methods of the {@link Allocator} contract that are the same in every allocator whose memory is a
 * {@link ViewedMemory}: those that look at blocks, and those that make one and look at it.
 *
 * ```text
 *   Arena, PoolAllocator, ...       allocate, resize, free, stats, dispose ...      their own
 *      │ extends
 *      ▼
 *   ViewedAllocator                 view, array, freeArray, addressOf, buffer,      this file
 *      │                            owns, usableSize, tryAllocate
 *      ▼ passed on to
 *   ViewedMemory                    what they do                                    viewed_memory.ts
 * ```
 *
 * `Heap` and `SharedHeap` have these methods themselves, written for speed.
 *
 * @module
 */
import type { Allocator, BlockInfo, BufferOptions, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import type { NativeBuffer } from "./native_buffer.ts";
import type { Address } from "./page_source.ts";
import { tryAllocate } from "./try_allocate.ts";
import type { ViewedMemory } from "./viewed_memory.ts";

let setMemory: (allocator: ViewedAllocator, memory: ViewedMemory<BlockInfo>) => void;

/** The view half of an allocator. Not made itself. */
export abstract class ViewedAllocator {
  #memory: ViewedMemory<BlockInfo> | undefined;

  static {
    setMemory = (allocator, memory) => {
      allocator.#memory = memory;
    };
  }

  /** See {@link Allocator.allocate}. */
  abstract allocate(size: number, alignment?: number): Address;

  /** See {@link Allocator.tryAllocate}. */
  tryAllocate(size: number, alignment?: number): Address {
    return tryAllocate(this, size, alignment);
  }

  /** See {@link Allocator.usableSize}. */
  usableSize(address: Address): number {
    return this.#memory!.live(address, "measure").usableSize;
  }

  /** See {@link Allocator.owns}. */
  owns(address: Address): boolean {
    return this.#memory!.owns(address);
  }

  /** See {@link Allocator.view}. A view is empty once the memory that it shows was given back to the page source. */
  view(address: Address, byteLength?: number): Uint8Array<ArrayBuffer> {
    return this.#memory!.view(address, byteLength);
  }

  /** See {@link Allocator.array}. */
  array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T {
    return this.#memory!.array(type, length);
  }

  /** See {@link Allocator.freeArray}. */
  freeArray(array: ArrayBufferView): void {
    this.#memory!.freeArray(array);
  }

  /** See {@link Allocator.addressOf}. */
  addressOf(view: ArrayBufferView): Address {
    return this.#memory!.addressOf(view);
  }

  /** See {@link Allocator.buffer}. */
  buffer(byteLength: number, options?: BufferOptions): NativeBuffer {
    return this.#memory!.buffer(byteLength, options);
  }
}

/** Makes `memory` that of `allocator`, if that passes calls on to one. */
export function provideMemory(allocator: Allocator, memory: ViewedMemory<BlockInfo>): void {
  if (allocator instanceof ViewedAllocator) setMemory(allocator, memory);
}
