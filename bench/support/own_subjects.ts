/**
 * The allocators of this package as subjects, looked up by name in `mod.ts` when they are opened: a benchmark of a
 * version that has no such allocator says so, and measures the others.
 *
 * @module
 */
import type { Allocator } from "../../src/allocator.ts";
import type { NativeBuffer } from "../../src/native_buffer.ts";
import type { PageSource } from "../../src/page_source.ts";
import type { OwnPages } from "./own_pages.ts";
import type { AddressSubject, HandleAllocator, HandleSubject, Subject, SubjectOptions } from "./subject.ts";

/** What a module exports, before anything is known of it. */
interface Exports {
  readonly [name: string]: unknown;
}

/** One block in so many is guarded in `guard-sampled`. */
const GUARD_SAMPLE = 1000;
/** The fixed memory of `bump`. */
const BUMP_BYTES = 2 ** 20;
/** The slots of `pool`. */
const POOL_SLOT = 64;

/** Opens an allocator of this package, or of another copy of it. */
export async function openOwnSubject(name: string, options: SubjectOptions): Promise<Subject> {
  const exports = await importModule(options.module);
  const { pages, source: given } = options;
  const source = pages === undefined ? given : pages.watch(given ?? call<PageSource>(exports, "systemPageSource"));
  if (name === "native-buffer") return bufferSubject(openAllocator("heap", exports, source));
  const allocator = openAllocator(name, exports, source);
  return name === "guard" || name === "arena" ? plainSubject(allocator) : heapSubject(allocator);
}

function openAllocator(name: string, exports: Exports, source: PageSource | undefined): Allocator {
  const from = source === undefined ? {} : { source };
  const heap = () => construct<Allocator>(exports, "Heap", from);
  switch (name) {
    case "heap":
      return heap();
    case "zeroOnFree":
      return construct(exports, "Heap", { ...from, zeroOnFree: true });
    case "secure":
      assertOption(exports, "Heap", "secure");
      return construct(exports, "Heap", { ...from, secure: true });
    case "debug":
      return construct(exports, "DebugAllocator", heap());
    case "quarantine":
      return construct(exports, "QuarantineAllocator", heap());
    case "guard":
      return construct(exports, "GuardAllocator", from);
    case "guard-sampled":
      assertOption(exports, "GuardAllocator", "sampleRate");
      return construct(exports, "GuardAllocator", { ...from, sampleRate: GUARD_SAMPLE });
    case "arena":
      return construct(exports, "Arena", from);
    case "bump":
      return construct(exports, "BumpAllocator", { ...from, size: BUMP_BYTES });
    case "pool":
      return construct(exports, "PoolAllocator", { ...from, slotSize: POOL_SLOT });
    case "shared":
      return call(exported(exports, "SharedHeap") as unknown as Exports, "create", from);
    case "rulloc":
      return call(exports, "rulloc", undefined, from);
    case "rustyMalloc":
      // Left alone it takes contiguous memory from the system; a source of ours must be made contiguous for it.
      return call(exports, name, source === undefined ? {} : { source: call(exports, "contiguousPageSource", source) });
    default:
      return call(exports, name, from);
  }
}

/** A new `Heap` with its defaults, from the package or from another copy of it, its OS pages watched if asked. */
export async function openHeap(module?: string, pages?: OwnPages): Promise<Allocator> {
  const exports = await importModule(module);
  const from = pages === undefined ? {} : { source: pages.watch(call<PageSource>(exports, "systemPageSource")) };
  return construct(exports, "Heap", from);
}

/** The exports of the package, or of the module given. */
export async function importModule(module?: string): Promise<Exports> {
  return (await import(module ?? new URL("../../mod.ts", import.meta.url).href)) as Exports;
}

function construct<T>(exports: Exports, name: string, ...args: unknown[]): T {
  return new (exported(exports, name) as new (...args: unknown[]) => T)(...args);
}

function call<T>(exports: Exports, name: string, ...args: unknown[]): T {
  return (exported(exports, name) as (...args: unknown[]) => T)(...args);
}

function exported(exports: Exports, name: string): unknown {
  const value = exports[name];
  if (typeof value !== "function") throw new Error(`Cannot open ${name}: the module has no such export`);
  return value;
}

/**
 * Whether a class knows an option: an unknown one would be ignored, and something else would be measured under its name. One
 * that is known refuses a value that makes no sense.
 */
function assertOption(exports: Exports, name: string, option: string): void {
  let made: Disposable;
  try {
    made = construct(exports, name, { [option]: Symbol("no value") });
  } catch {
    return;
  }
  made[Symbol.dispose]();
  throw new Error(`Cannot open ${name} with ${option}: it has no such option`);
}

/** Allocators whose regions hold many blocks. */
export function heapSubject(allocator: Allocator): AddressSubject {
  const regions = new RegionViews(allocator);
  return { ...plainSubject(allocator), touch: (address, size, step) => regions.touch(address, size, step) };
}

/** Any allocator; touching costs a view. */
function plainSubject(allocator: Allocator): AddressSubject {
  return {
    kind: "address",
    allocator,
    touch(address, size, step) {
      const view = allocator.view(address, size);
      for (let at = 0; at < size; at += step) view[at] = 1;
      view[size - 1] = 1;
    },
    stats: () => allocator.stats(),
    close: () => allocator[Symbol.dispose](),
  };
}

/** Blocks that own an ArrayBuffer each. */
function bufferSubject(heap: Allocator): HandleSubject {
  return {
    kind: "handle",
    allocator: new BufferBlocks(heap) as HandleAllocator<unknown>,
    touch(buffer, size, step) {
      const { bytes } = buffer as NativeBuffer;
      for (let at = 0; at < size; at += step) bytes[at] = 1;
      bytes[size - 1] = 1;
    },
    stats: () => heap.stats(),
    close: () => heap[Symbol.dispose](),
  };
}

class BufferBlocks implements HandleAllocator<NativeBuffer | null> {
  readonly #heap: Allocator;

  constructor(heap: Allocator) {
    this.#heap = heap;
  }

  allocate(size: number, alignment?: number): NativeBuffer {
    return alignment === undefined
      ? this.#heap.buffer(size, UNCLEARED)
      : this.#heap.buffer(size, { zeroed: false, alignment });
  }

  allocateZeroed(size: number): NativeBuffer {
    return this.#heap.buffer(size);
  }

  /** As `reallocate` of addresses: nothing becomes a new block, and a block of no bytes becomes nothing. */
  reallocate(buffer: NativeBuffer | null, size: number): NativeBuffer | null {
    if (buffer === null) return this.allocate(size);
    if (size > 0) {
      buffer.resize(size);
      return buffer;
    }
    buffer.free();
    return null;
  }

  free(buffer: NativeBuffer | null): void {
    buffer?.free();
  }
}

const UNCLEARED = { zeroed: false } as const;

/**
 * One view per region of a heap, found by address, so that touching a block makes no garbage: a view per block would be
 * charged to the memory figures. A region's view is made from the first block seen in it, and covers the whole buffer;
 * one that was detached since has length 0 and is dropped.
 */
class RegionViews {
  readonly #heap: Allocator;
  #bases: number[] = [];
  #views: Uint8Array[] = [];
  #last = 0;

  constructor(heap: Allocator) {
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
