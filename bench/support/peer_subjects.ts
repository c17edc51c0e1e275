/**
 * What a program could use instead of this package: the C library by FFI, typed arrays, Node's buffers, another
 * allocator in TypeScript.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { detectRuntime, type Libc, openLibc, openWrap, type RawAddress } from "./libc.ts";
import type { AddressAllocator, AddressSubject, HandleAllocator, HandleSubject, Subject } from "./subject.ts";

/** The two ways of the language and of Node to make bytes, freed by the collector. */
export function peerSubject(name: "uint8array" | "buffer"): HandleSubject {
  const allocator = name === "buffer" ? new BufferAllocator() : new Uint8ArrayAllocator();
  return { kind: "handle", allocator: allocator as HandleAllocator<unknown>, touch: touchArray, close() {} };
}

class Uint8ArrayAllocator implements HandleAllocator<Uint8Array> {
  allocate(size: number): Uint8Array {
    return new Uint8Array(size);
  }

  allocateZeroed(size: number): Uint8Array {
    return new Uint8Array(size);
  }

  reallocate(old: Uint8Array, size: number): Uint8Array {
    const moved = new Uint8Array(size);
    moved.set(old.length > size ? old.subarray(0, size) : old);
    return moved;
  }

  free(_old: Uint8Array): void {}
}

class BufferAllocator implements HandleAllocator<Buffer> {
  allocate(size: number): Buffer {
    return Buffer.allocUnsafe(size);
  }

  allocateZeroed(size: number): Buffer {
    return Buffer.alloc(size);
  }

  reallocate(old: Buffer, size: number): Buffer {
    const moved = Buffer.allocUnsafe(size);
    moved.set(old.length > size ? old.subarray(0, size) : old);
    return moved;
  }

  free(_old: Buffer): void {}
}

function touchArray(array: unknown, size: number, step: number): void {
  const bytes = array as Uint8Array;
  for (let at = 0; at < size; at += step) bytes[at] = 1;
  bytes[size - 1] = 1;
}

/** malloc by FFI; the methods are thin enough to be inlined away. */
class FfiMallocAllocator<A extends RawAddress> implements HandleAllocator<A> {
  readonly #libc: Libc<A>;

  constructor(libc: Libc<A>) {
    this.#libc = libc;
  }

  allocate(size: number, alignment?: number): A {
    return alignment === undefined ? this.#libc.malloc(size) : this.#libc.aligned_alloc(alignment, size);
  }

  allocateZeroed(size: number): A {
    return this.#libc.calloc(1, size);
  }

  reallocate(address: A, size: number): A {
    return this.#libc.realloc(address, size);
  }

  free(address: A): void {
    this.#libc.free(address);
  }
}

/** malloc by FFI: of addresses in Bun, of BigInts in Deno. */
export async function openFfiMalloc(): Promise<Subject> {
  if (detectRuntime() === "deno") {
    const libc = await openLibc<bigint>();
    return {
      kind: "handle",
      allocator: new FfiMallocAllocator(libc) as HandleAllocator<unknown>,
      touch(address, size, step) {
        for (let at = 0; at < size; at += step) libc.memset((address as bigint) + BigInt(at), 1, 1);
        libc.memset((address as bigint) + BigInt(size - 1), 1, 1);
      },
      close() {},
    };
  }
  const libc = await openLibc<number>();
  return {
    kind: "address",
    allocator: new FfiMallocAllocator(libc),
    touch(address, size, step) {
      for (let at = 0; at < size; at += step) libc.memset(address + at, 1, 1);
      libc.memset(address + size - 1, 1, 1);
    },
    close() {},
  };
}

/** A malloc block wrapped and viewed by the runtime's own means, and the free that goes with it. */
export interface FfiViews {
  allocate(size: number): RawAddress;
  view(address: RawAddress, size: number): Uint8Array;
  free(address: RawAddress): void;
}

/** Opens the C library and the runtime's own wrap. */
export async function openFfiViews(): Promise<FfiViews> {
  const libc = await openLibc<RawAddress>();
  const wrap = await openWrap();
  return {
    allocate: (size) => libc.malloc(size),
    view: (address, size) => new Uint8Array(wrap(address, size)),
    free: (address) => libc.free(address),
  };
}

interface ThingPool {
  malloc(size: number): number;
  calloc(size: number): number;
  realloc(address: number, size: number): number;
  free(address: number): boolean;
}

class ThingAllocator implements AddressAllocator {
  readonly #pool: ThingPool;

  constructor(pool: ThingPool) {
    this.#pool = pool;
  }

  allocate(size: number): number {
    return assertBlock(this.#pool.malloc(size || 1));
  }

  allocateZeroed(size: number): number {
    return assertBlock(this.#pool.calloc(size || 1));
  }

  reallocate(address: number, size: number): number {
    return assertBlock(this.#pool.realloc(address, size || 1));
  }

  free(address: number): void {
    this.#pool.free(address);
  }
}

function assertBlock(address: number): number {
  if (address === 0) throw new Error("The pool of @thi.ng/malloc is full");
  return address;
}

/** A pool with room for twice the live bytes, and headers. Its alignment is 16, as everybody's here. */
export async function openThing(capacity: number): Promise<AddressSubject> {
  type Module = { readonly MemPool: new (options: object) => ThingPool };
  const size = Math.min(2 ** 31, Math.max(2 ** 22, 2 * capacity));
  const { MemPool } = (await importPackage("@thi.ng/malloc")) as Module;
  return { kind: "address", allocator: new ThingAllocator(new MemPool({ size, align: 16 })), close() {} };
}

/** Imports a dev dependency, by name or, where the runtime is told not to look there, from node_modules. */
async function importPackage(name: string): Promise<unknown> {
  try {
    return await import(name);
  } catch (error) {
    try {
      return await import(new URL(`../../node_modules/${name}/index.js`, import.meta.url).href);
    } catch {
      throw new Error(`${name} is not installed (npm install puts it there)`, { cause: error });
    }
  }
}
