/**
 * The loops of `bench/micro.ts`, a maker for each.
 *
 * A loop is a function that is made once in a process, and what it works on are the arguments of its maker: so they are
 * constants to both compilers, as is a program's heap in a `const` of a module (docs/performance.md, "The loop"). Variables of
 * an async function would not be, to JavaScriptCore.
 *
 * @module
 */
import type { Allocator } from "../../src/allocator.ts";
import type { RawAddress, Wrap } from "./libc.ts";
import type { Batch } from "./measure.ts";
import type { FfiViews } from "./peer_subjects.ts";
import type { AddressAllocator, HandleAllocator } from "./subject.ts";
import { Xorshift } from "./xorshift.ts";

/** Length of the tables of random numbers; a power of two. */
export const TABLE = 1 << 16;

/** Views kept alive by the loops that make views, so that none is optimised away or dies at once. */
export const RING = 1024;

/** Blocks that end together in `drop-1k`. */
export const DROP_BLOCKS = 1000;

/** Bytes of a large block. */
export const LARGE_SIZE = 65_536;

/** Makes and frees what is a block and its view in one. */
export interface LargeMaker {
  create(): Uint8Array;
  free(view: Uint8Array): void;
}

/** A block allocated and freed at once. */
export function pairAddresses(allocator: AddressAllocator, kept: Float64Array): Batch {
  return (count) => {
    for (let i = 0; i < count; i++) {
      kept[0] = allocator.allocate(64);
      allocator.free(kept[0]!);
    }
  };
}

/** The same, for handles. */
export function pairHandles(allocator: HandleAllocator<unknown>, kept: unknown[]): Batch {
  return (count) => {
    for (let i = 0; i < count; i++) {
      kept[0] = allocator.allocate(64);
      allocator.free(kept[0]);
    }
  };
}

/** A block freed at random, another in its place. */
export function replaceAddresses(
  allocator: AddressAllocator,
  kept: Float64Array,
  victims: Int32Array,
  sizes: Int32Array,
): Batch {
  let cursor = 0;
  return (count) => {
    let at = cursor;
    for (let i = 0; i < count; i++) {
      at = (at + 1) & (TABLE - 1);
      const victim = victims[at]!;
      allocator.free(kept[victim]!);
      kept[victim] = allocator.allocate(sizes[at]!);
    }
    cursor = at;
  };
}

/** The same, for handles. */
export function replaceHandles(
  allocator: HandleAllocator<unknown>,
  kept: unknown[],
  victims: Int32Array,
  sizes: Int32Array,
): Batch {
  let cursor = 0;
  return (count) => {
    let at = cursor;
    for (let i = 0; i < count; i++) {
      at = (at + 1) & (TABLE - 1);
      const victim = victims[at]!;
      allocator.free(kept[victim]);
      kept[victim] = allocator.allocate(sizes[at]!);
    }
    cursor = at;
  };
}

/** Blocks that live together and end together: freed one by one, or by `reset`. */
export function dropAddresses(allocator: AddressAllocator, reset: (() => void) | undefined): Batch {
  const sizes = new Xorshift().table(TABLE, 16, 512);
  const kept = new Float64Array(DROP_BLOCKS);
  // Arguments, not variables around it, are what it counts with: those cost a tenth more.
  function fill(from: number, to: number, cursor: number): number {
    for (let i = from; i < to; i++) {
      cursor = (cursor + 1) & (TABLE - 1);
      kept[i] = allocator.allocate(sizes[cursor]!);
    }
    return cursor;
  }
  function freeAll(): void {
    for (let i = 0; i < kept.length; i++) allocator.free(kept[i]!);
  }
  const drop = reset ?? freeAll;
  let filled = 0;
  let cursor = 0;
  return (count) => {
    for (let left = count; left > 0;) {
      const end = Math.min(DROP_BLOCKS, filled + left);
      cursor = fill(filled, end, cursor);
      left -= end - filled;
      filled = end % DROP_BLOCKS;
      if (filled === 0) drop();
    }
  };
}

/** A large block and its view freed at random, another in its place. */
export function replaceViewed(
  heap: Allocator,
  kept: Float64Array,
  views: Uint8Array[],
  victims: Int32Array,
  zeroed: boolean,
): Batch {
  let cursor = 0;
  return (count) => {
    let at = cursor;
    for (let i = 0; i < count; i++) {
      at = (at + 1) & (TABLE - 1);
      const victim = victims[at]!;
      heap.free(kept[victim]!);
      const address = zeroed ? heap.allocateZeroed(LARGE_SIZE) : heap.allocate(LARGE_SIZE);
      kept[victim] = address;
      views[victim] = heap.view(address, LARGE_SIZE);
    }
    cursor = at;
  };
}

/** The same with libc's blocks and the runtime's views. */
export function replaceForeign(
  ffi: FfiViews,
  kept: RawAddress[],
  views: Uint8Array[],
  victims: Int32Array,
  zeroed: boolean,
): Batch {
  let cursor = 0;
  return (count) => {
    let at = cursor;
    for (let i = 0; i < count; i++) {
      at = (at + 1) & (TABLE - 1);
      const victim = victims[at]!;
      ffi.free(kept[victim]!);
      const address = ffi.allocate(LARGE_SIZE);
      const view = ffi.view(address, LARGE_SIZE);
      if (zeroed) view.fill(0);
      kept[victim] = address;
      views[victim] = view;
    }
    cursor = at;
  };
}

/** The same with blocks that are views. */
export function replaceMade(make: LargeMaker, views: Uint8Array[], victims: Int32Array): Batch {
  let cursor = 0;
  return (count) => {
    let at = cursor;
    for (let i = 0; i < count; i++) {
      at = (at + 1) & (TABLE - 1);
      const victim = victims[at]!;
      make.free(views[victim]!);
      views[victim] = make.create();
    }
    cursor = at;
  };
}

/** Views of live blocks. */
export function viewHeap(heap: Allocator, kept: Float64Array, ring: Uint8Array[]): Batch {
  return (count) => {
    for (let i = 0; i < count; i++) ring[i & (RING - 1)] = heap.view(kept[i & (RING - 1)]!, 64);
  };
}

/** Views of a buffer at such offsets. */
export function viewBare(buffer: ArrayBuffer, blocks: number, ring: Uint8Array[]): Batch {
  return (count) => {
    for (let i = 0; i < count; i++) ring[i & (RING - 1)] = new Uint8Array(buffer, (i & (blocks - 1)) * 64, 64);
  };
}

/** Arrays freed and made. */
export function arraysOf(heap: Allocator): Batch {
  const ring = Array.from({ length: RING }, () => heap.array(Float64Array, 8));
  return (count) => {
    for (let i = 0; i < count; i++) {
      heap.freeArray(ring[i & (RING - 1)]!);
      ring[i & (RING - 1)] = heap.array(Float64Array, 8);
    }
  };
}

/** The same over a slab with a stack of free slots. */
export function bareArrays(buffer: ArrayBuffer): Batch {
  const ring = Array.from({ length: RING }, (_, i) => new Float64Array(buffer, i * 64, 8));
  const free = new Int32Array(RING + 1);
  let top = 0;
  free[top++] = RING * 64;
  return (count) => {
    for (let i = 0; i < count; i++) {
      free[top++] = ring[i & (RING - 1)]!.byteOffset;
      ring[i & (RING - 1)] = new Float64Array(buffer, free[--top]!, 8);
    }
  };
}

/** Owned buffers made and freed. */
export function buffersOf(heap: Allocator): Batch {
  const options = { zeroed: false };
  return (count) => {
    for (let i = 0; i < count; i++) heap.buffer(256, options).free();
  };
}

/** Existing memory wrapped and detached. */
export function bareBuffers(wrap: Wrap, address: RawAddress): Batch {
  return (count) => {
    for (let i = 0; i < count; i++) wrap(address, 256).transfer(0);
  };
}
