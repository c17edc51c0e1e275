/**
 * What is measured: every allocator that a benchmark can be run on, under one name each.
 *
 * A subject either gives addresses, which the drivers keep in a `Float64Array`, or handles (buffers, BigInts), which
 * they keep in an array. Each kind has a null subject: the same loop and the same stores with no allocator in it, which
 * is what "net of the loop" takes off. A process opens one subject only, so every call site stays monomorphic.
 *
 * | name           | what                                                                          | kind    |
 * |----------------|-------------------------------------------------------------------------------|---------|
 * | `heap`         | `new Heap()` of this package, or of the module given with `--module`          | address |
 * | `null`         | nothing: a counter in the place of an address                                 | address |
 * | `ffi-malloc`   | the C library's malloc by FFI, in the runtime's cheapest spelling             | Bun: address, Deno: handle |
 * | `uint8array`   | `new Uint8Array(size)`, freed by forgetting it                                | handle  |
 * | `buffer`       | `Buffer.allocUnsafe(size)`, likewise                                          | handle  |
 * | `thi.ng`       | `@thi.ng/malloc`, one pool of a fixed size                                    | address |
 * | `null-handles` | nothing: always the same object                                               | handle  |
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { OwnPages, WatchedSource } from "./own_pages.ts";
import { detectRuntime, type Libc, openLibc, openWrap, type RawAddress } from "./libc.ts";

/** The part of the package's `Allocator` that a replay needs, for subjects that give addresses. */
export interface AddressAllocator {
  allocate(size: number, alignment?: number): number;
  allocateZeroed(size: number): number;
  reallocate(address: number, size: number): number;
  free(address: number): void;
}

/** The same for subjects that give anything else. */
export interface HandleAllocator<H> {
  allocate(size: number, alignment?: number): H;
  allocateZeroed(size: number): H;
  reallocate(handle: H, size: number): H;
  free(handle: H): void;
}

/** The part of this package's `Heap` that the benchmarks use beyond {@link AddressAllocator}. */
export interface HeapLike extends AddressAllocator {
  view(address: number, byteLength?: number): Uint8Array;
  array<T>(type: new (buffer: ArrayBuffer, byteOffset?: number, length?: number) => T, length: number): T;
  freeArray(array: ArrayBufferView): void;
  buffer(byteLength: number, options?: { zeroed?: boolean }): { free(): void };
  stats(): object;
  [Symbol.dispose](): void;
}

/** An opened subject, with what only some benchmarks need of it. */
export interface AddressSubject {
  readonly kind: "address";
  readonly allocator: AddressAllocator;
  /** Writes to the first byte of a block, every `step` bytes from there, and the last; absent where nothing is there. */
  readonly touch?: (address: number, size: number, step: number) => void;
  /** Figures of the allocator itself. */
  readonly stats?: () => object;
  /** Gives everything back. */
  close(): void;
}

/** An opened subject that gives handles. */
export interface HandleSubject {
  readonly kind: "handle";
  readonly allocator: HandleAllocator<unknown>;
  /** As {@link AddressSubject.touch}. */
  readonly touch?: (handle: unknown, size: number, step: number) => void;
  /** As {@link AddressSubject.stats}. */
  readonly stats?: () => object;
  /** As {@link AddressSubject.close}. */
  close(): void;
}

/** Either kind. */
export type Subject = AddressSubject | HandleSubject;

/** What a subject may want to know before it opens. */
export interface SubjectOptions {
  /** The module that exports `Heap`; the package's own when absent. */
  readonly module?: string | undefined;
  /** The most bytes that will be live, for subjects of a fixed size. */
  readonly capacity?: number;
  /** Watches the OS pages of a heap. */
  readonly pages?: OwnPages;
}

/** The subjects that {@link openSubject} knows. */
export const SUBJECTS: readonly string[] = [
  "heap",
  "null",
  "ffi-malloc",
  "uint8array",
  "buffer",
  "thi.ng",
  "null-handles",
];

/** Opens a subject by name; throws when it is not there. */
export async function openSubject(name: string, options: SubjectOptions = {}): Promise<Subject> {
  switch (name) {
    case "heap":
      return heapSubject(await openHeap(options.module, options.pages));
    case "null":
      return { kind: "address", allocator: new NullAllocator(), close() {} };
    case "null-handles":
      return { kind: "handle", allocator: new NullHandleAllocator(), close() {} };
    case "ffi-malloc":
      return await openFfiMalloc();
    case "uint8array":
      return { kind: "handle", allocator: new Uint8ArrayAllocator(), touch: touchArray, close() {} };
    case "buffer":
      return { kind: "handle", allocator: new BufferAllocator(), touch: touchArray, close() {} };
    case "thi.ng":
      return await openThing(options.capacity ?? 2 ** 26);
    default:
      throw new Error(`Unknown allocator ${name}; known are ${SUBJECTS.join(", ")}`);
  }
}

/** A new `Heap` with its defaults, from the package or from another copy of it, its OS pages watched if asked. */
export async function openHeap(module?: string, pages?: OwnPages): Promise<HeapLike> {
  const specifier = module ?? new URL("../../mod.ts", import.meta.url).href;
  const { Heap, systemPageSource } = (await import(specifier)) as {
    readonly Heap: new (options?: { source: WatchedSource }) => HeapLike;
    systemPageSource(): WatchedSource;
  };
  return pages === undefined ? new Heap() : new Heap({ source: pages.watch(systemPageSource()) });
}

function heapSubject(heap: HeapLike): AddressSubject {
  const regions = new RegionViews(heap);
  return {
    kind: "address",
    allocator: heap,
    touch: (address, size, step) => regions.touch(address, size, step),
    stats: () => heap.stats(),
    close: () => heap[Symbol.dispose](),
  };
}

/**
 * One view per region of a heap, found by address, so that touching a block makes no garbage: a view per block would be
 * charged to the memory figures. A region's view is made from the first block seen in it, and covers the whole buffer;
 * one that was detached since has length 0 and is dropped.
 */
class RegionViews {
  readonly #heap: HeapLike;
  #bases: number[] = [];
  #views: Uint8Array[] = [];
  #last = 0;

  constructor(heap: HeapLike) {
    this.#heap = heap;
  }

  touch(address: number, size: number, step: number): void {
    const found = this.#find(address, size);
    const view = this.#views[found]!;
    const start = address - this.#bases[found]!;
    for (let at = start; at < start + size; at += step) view[at] = 1;
    view[start + size - 1] = 1;
  }

  #find(address: number, size: number): number {
    if (this.#covers(this.#last, address, size)) return this.#last;
    for (let i = 0; i < this.#views.length; i++) {
      if (this.#covers(i, address, size)) return this.#last = i;
    }
    return this.#last = this.#add(address, size);
  }

  // A method of its own: JavaScriptCore allocates the scope of a function with closures at every call.
  #add(address: number, size: number): number {
    const live = this.#views.map((view) => view.length > 0);
    this.#bases = this.#bases.filter((_, i) => live[i]);
    this.#views = this.#views.filter((_, i) => live[i]);
    const block = this.#heap.view(address, size);
    this.#bases.push(address - block.byteOffset);
    this.#views.push(new Uint8Array(block.buffer));
    return this.#views.length - 1;
  }

  #covers(i: number, address: number, size: number): boolean {
    const view = this.#views[i];
    if (view === undefined) return false;
    const offset = address - this.#bases[i]!;
    return offset >= 0 && offset + size <= view.length;
  }
}

/**
 * Numbers of the magnitude of real addresses, so that the drivers store doubles as they do with an allocator. Made from the
 * size, not from a counter: a counter in a field costs V8 a boxed double per call, which would be taken off our time.
 */
class NullAllocator implements AddressAllocator {
  allocate(size: number, _alignment?: number): number {
    return NULL_BASE + size;
  }

  allocateZeroed(size: number): number {
    return NULL_BASE + size;
  }

  reallocate(_address: number, size: number): number {
    return NULL_BASE + size;
  }

  free(_address: number): void {}
}

const NULL_BASE = 0x7f00_0000_0000;

class NullHandleAllocator implements HandleAllocator<unknown> {
  readonly #handle = new Uint8Array(16);

  allocate(_size: number, _alignment?: number): unknown {
    return this.#handle;
  }

  allocateZeroed(_size: number): unknown {
    return this.#handle;
  }

  reallocate(_handle: unknown, _size: number): unknown {
    return this.#handle;
  }

  free(_handle: unknown): void {}
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

async function openFfiMalloc(): Promise<Subject> {
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
export async function openFfiViews(): Promise<{
  allocate(size: number): RawAddress;
  view(address: RawAddress, size: number): Uint8Array;
  free(address: RawAddress): void;
}> {
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
async function openThing(capacity: number): Promise<AddressSubject> {
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
