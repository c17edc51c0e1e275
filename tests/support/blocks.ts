/**
 * Blocks to be tested, and the bytes around them.
 *
 * @module
 */
import type { Address, Allocator } from "../../mod.ts";

/** `count` blocks of `size` bytes. */
export function allocateMany(allocator: Allocator, count: number, size: number): Address[] {
  return Array.from({ length: count }, () => allocator.allocate(size));
}

/** Allocates, so that this function is in the stack of the block. */
export function allocateHere(allocator: Allocator, size: number): Address {
  const address = allocator.allocate(size);
  allocator.check(); // a call that is the last thing in a function has no frame in JavaScriptCore
  return address;
}

/** Frees, so that this function is in the stack of the free. */
export function freeHere(allocator: Allocator, address: Address): void {
  allocator.free(address);
  allocator.check();
}

/** Writes a byte at any distance from a block, through the region that it lies in. */
export function poke(allocator: Allocator, address: Address, offset: number, value: number): void {
  const { buffer, byteOffset } = allocator.view(address);
  new Uint8Array(buffer)[byteOffset + offset] = value;
}

/** Fills a block with bytes that say which it is. */
export function mark(allocator: Allocator, address: Address, seed: number): void {
  const bytes = allocator.view(address);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 1 + ((i * 13 + seed) % 251);
}

/** Whether the first `length` bytes of a block are still those of {@link mark}. */
export function isMarked(allocator: Allocator, address: Address, seed: number, length: number): boolean {
  return allocator.view(address, length).every((byte, i) => byte === 1 + ((i * 13 + seed) % 251));
}
