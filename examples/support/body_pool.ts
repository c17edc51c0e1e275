/**
 * Memory for the bodies of requests and responses: native and used again, or the runtime's own, for comparison.
 *
 * ```text
 *   take(50_000) ──▶ a free buffer of 64 KiB, or a new one ──▶ release: to the free ones, or back to the heap
 *
 *   free   4 KiB [ ... ]   8 KiB [ ... ]   16 KiB [ ... ]   ...   most recently used last
 * ```
 *
 * The buffers are plain views of heap memory and not `NativeBuffer`s: a pool does not free while somebody writes, so there
 * is nothing that detaching could protect from, and a view costs nothing when it is used again.
 *
 * @module
 */
import { Heap } from "../../mod.ts";

/** Where bodies are. */
export interface BodyMemory extends Disposable {
  /** A buffer of at least `byteLength` bytes, with any contents. The caller gives it back once. */
  take(byteLength: number): Uint8Array;
  /** Takes a buffer back, of which no view may be in use any more. */
  release(buffer: Uint8Array): void;
  /** Buffers that are not given back yet. */
  readonly inUse: number;
  /** Bytes of native memory that it holds, in use or not. */
  readonly heldBytes: number;
}

/** The least buffer: smaller ones are not worth a class of their own. */
const LEAST_BYTES = 4096;

/** Native buffers by powers of two, used again and again. */
export class BodyPool implements BodyMemory {
  readonly #heap = new Heap();
  readonly #free = new Map<number, Uint8Array[]>();
  readonly #taken = new Set<Uint8Array>();
  readonly #keepBytes: number;
  #idleBytes = 0;

  /** Keeps up to `keepBytes` bytes of free buffers. */
  constructor(keepBytes: number = 64 * 2 ** 20) {
    this.#keepBytes = keepBytes;
  }

  /** See {@link BodyMemory.inUse}. */
  get inUse(): number {
    return this.#taken.size;
  }

  /** See {@link BodyMemory.heldBytes}. */
  get heldBytes(): number {
    return this.#heap.stats().liveBytes;
  }

  /** See {@link BodyMemory.take}. */
  take(byteLength: number): Uint8Array {
    const size = Math.max(LEAST_BYTES, 2 ** Math.ceil(Math.log2(byteLength)));
    let buffer = this.#free.get(size)?.pop();
    if (buffer === undefined) buffer = this.#heap.array(Uint8Array, size);
    else this.#idleBytes -= size;
    this.#taken.add(buffer);
    return buffer;
  }

  /** See {@link BodyMemory.release}. A second time would give one buffer to two requests, so it is an error. */
  release(buffer: Uint8Array): void {
    if (!this.#taken.delete(buffer)) throw new Error("Cannot release a buffer that was not taken from this pool");
    const size = buffer.byteLength;
    if (this.#idleBytes + size > this.#keepBytes) {
      this.#heap.freeArray(buffer);
      return;
    }
    this.#idleBytes += size;
    const free = this.#free.get(size);
    if (free === undefined) this.#free.set(size, [buffer]);
    else free.push(buffer);
  }

  /** Gives all memory back to the operating system; every buffer is empty afterwards. */
  [Symbol.dispose](): void {
    this.#free.clear();
    this.#taken.clear();
    this.#heap[Symbol.dispose]();
  }
}

/** A new `Uint8Array` for each body, which the garbage collector frees. */
export class PlainBodies implements BodyMemory {
  /** See {@link BodyMemory.inUse}. */
  inUse = 0;
  /** None of it is native. */
  readonly heldBytes = 0;

  /** See {@link BodyMemory.take}. */
  take(byteLength: number): Uint8Array {
    this.inUse++;
    return new Uint8Array(byteLength);
  }

  /** See {@link BodyMemory.release}. */
  release(_buffer: Uint8Array): void {
    this.inUse--;
  }

  /** Nothing to do. */
  [Symbol.dispose](): void {}
}
