/**
 * A page source that says when it is at work.
 *
 * Anybody can write a page source, and so one that calls the heap that has just called it: to free a cache when memory is
 * short, to log into a buffer, by mistake. A heap in the middle of a change has records that do not agree yet (a page
 * that is in no list, a table of which the end is being moved), and what is done to it then destroys it. So the heap is
 * told:
 *
 * ```text
 *   heap  ── reserve, commit, ... ──▶  WatchedSource  ── watch(true) ───▶  heap: refuses every change
 *                                           │
 *                                           ▼
 *                                      the source itself  ── free(...) ──▶  CorruptionError, and nothing is changed
 *                                           │
 *                                           ▼
 *                                           ── watch(false) ──▶  heap: goes on
 * ```
 *
 * Its fields and methods are those of the source at the time of the call, as tests replace them.
 *
 * Cost: two calls around a system call.
 *
 * @module
 */
import type { Address, NativePointer, PageSource, Protection } from "./page_source.ts";

/** See above. It has no `buffers`, as these would go past it. */
export class WatchedSource implements PageSource {
  readonly #source: PageSource;
  readonly #watch: (isBusy: boolean) => void;

  /** Calls `watch` with true before, and with false after, every call of `source`; when the first throws, that is all. */
  constructor(source: PageSource, watch: (isBusy: boolean) => void) {
    this.#source = source;
    this.#watch = watch;
  }

  get name(): string {
    return this.#source.name;
  }

  get pageSize(): number {
    return this.#source.pageSize;
  }

  get granularity(): number {
    return this.#source.granularity;
  }

  get maxWrapBytes(): number {
    return this.#source.maxWrapBytes;
  }

  get lazy(): boolean {
    return this.#source.lazy;
  }

  get isolating(): boolean {
    return this.#source.isolating;
  }

  reserve(byteLength: number, alignment: number): Address {
    return this.#call(() => this.#source.reserve(byteLength, alignment));
  }

  commit(address: Address, byteLength: number): void {
    this.#call(() => this.#source.commit(address, byteLength));
  }

  decommit(address: Address, byteLength: number): void {
    this.#call(() => this.#source.decommit(address, byteLength));
  }

  /** Written out: a heap gives small pieces back by the hundred, and each would make a closure. */
  discard(address: Address, byteLength: number): void {
    this.#watch(true);
    try {
      this.#source.discard(address, byteLength);
    } finally {
      this.#watch(false);
    }
  }

  protect(address: Address, byteLength: number, protection: Protection): void {
    this.#call(() => this.#source.protect(address, byteLength, protection));
  }

  unmap(address: Address, byteLength: number): void {
    this.#call(() => this.#source.unmap(address, byteLength));
  }

  wrap(address: Address, byteLength: number): Uint8Array<ArrayBuffer> {
    return this.#call(() => this.#source.wrap(address, byteLength));
  }

  unwrap(bytes: Uint8Array): void {
    this.#call(() => this.#source.unwrap(bytes));
  }

  move(from: Address, to: Address, byteLength: number): boolean {
    return this.#call(() => this.#source.move?.(from, to, byteLength) ?? false);
  }

  toPointer(address: Address): NativePointer {
    return this.#source.toPointer(address);
  }

  #call<T>(request: () => T): T {
    this.#watch(true);
    try {
      return request();
    } finally {
      this.#watch(false);
    }
  }
}
