/**
 * An arena: a bump allocator that grows, and that frees everything since a mark at once.
 *
 * ```text
 *   chunks     ┌─ 64 KiB ──┐ ┌─ 128 KiB ───────────┐ ┌─ 256 KiB ─ ...  kept by reset("keep-capacity"), empty
 *              │ full      │ │ blocks │ ▲          │ │
 *              └───────────┘ └────────┼─┼──────────┘ └───────────────
 *                            #current ┘ └ cursor
 *   large      ┌──────────────────────────┐ ┌────────────────┐         a chunk each, in order of allocation
 *   spares     ┌──────────────────────────┐                            chunks of freed large blocks
 *   marks      m1 (chunk 0, 12 blocks, 0 large), m2 (chunk 1, 3 blocks, 1 large), ...     innermost last
 * ```
 *
 * Invariants:
 * - chunks behind `#current` hold no block; blocks of a chunk are older than those of the next one;
 * - no chunk is mapped for a block that is larger than half of it: such a block gets a chunk of its own, so that no
 *   pattern of sizes makes chunks double that are left unused;
 * - each mark pins the records below it (`floor` of bump_region.ts) and keeps its chunk from being stepped back over,
 *   so that what was allocated after a mark can be told by place alone.
 *
 * @module
 */
import type { Allocator, AllocatorStats, BlockInfo, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import { AllocatorMemory, assertAttached } from "./allocator_memory.ts";
import { ArenaChunks } from "./arena_chunks.ts";
import { ArenaMark, ArenaScope, assertMark, MarkStack } from "./arena_mark.ts";
import {
  type ArenaOptions,
  type ArenaResetMode,
  assertLimit,
  bytesToKeep,
  DEFAULT_CHUNK_SIZE,
} from "./arena_options.ts";
import { assertAlignment, assertOptions, assertSize, DEFAULT_ALIGNMENT } from "./arguments.ts";
import { BUMP_GRANULE, BUMP_SHORT_MAX, type BumpRegion } from "./bump_region.ts";
import { defaultPageSource } from "./default_page_source.ts";
import { type InvalidAddress, overLimit } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";
import { ViewedAllocator } from "./viewed_allocator.ts";
import { reportViolation, throwReported } from "./violations.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file: for `allocate`.
const SHORT_MAX = BUMP_SHORT_MAX;
const DEFAULT = DEFAULT_ALIGNMENT;

/**
 * An arena: allocates by moving a cursor, and frees in bulk.
 *
 * Blocks are freed together: by {@link Arena.rewind} to a mark, at the end of a {@link Arena.scope}, by
 * {@link Arena.reset}, or by disposing the arena. What differs from the {@link Allocator} contract:
 * - `free` of the last block gives its bytes back at once. `free` of another one marks it as freed; its bytes come back
 *   when all blocks behind it in its chunk are freed too, and no mark was set since it was allocated, or in bulk. A
 *   block with a chunk of its own comes back at once. A second, interior or foreign free is detected in any case.
 * - `resize` grows only the last block of a chunk, and only it gives bytes back when it shrinks.
 * - Memory that comes back is kept for the next allocations until `trim` or `reset`.
 *
 * `allocate` and `free` of the last block take constant time, everything else that takes an address
 * O(log chunks + log blocks), `rewind` and `reset` time in the number of blocks freed. A block costs 16 bytes of record
 * on JavaScript's heap.
 *
 * @example
 * ```ts
 * import { Arena } from "@offheap/alloc";
 *
 * using arena = new Arena();
 * const header = arena.allocate(64);
 * {
 *   using _scope = arena.scope();
 *   const samples = arena.array(Float64Array, 1000);
 *   samples.fill(0.5);
 * } // the samples are freed, the header is not
 * arena.view(header).fill(1);
 * arena.reset("keep-capacity");
 * ```
 */
export class Arena extends ViewedAllocator implements Allocator {
  /** Where the memory comes from. */
  readonly source: PageSource;
  readonly #chunks: ArenaChunks;
  readonly #memory: AllocatorMemory;
  readonly #marks = new MarkStack();
  #limit: number;
  /** Requested bytes of live blocks. */
  #requested = 0;
  #disposed = false;
  /** The chunk that allocations come from; undefined before the first one, and after dispose. */
  #current: BumpRegion | undefined;

  /** Takes no memory yet. */
  constructor(options: ArenaOptions = {}) {
    super();
    assertOptions(options);
    const { source = defaultPageSource(), chunkSize = DEFAULT_CHUNK_SIZE, limit = Infinity } = options;
    assertSize(chunkSize, "chunkSize");
    assertLimit(limit);
    this.source = source;
    this.#limit = limit;
    this.#chunks = new ArenaChunks(source, chunkSize);
    this.#memory = new AllocatorMemory(this, {
      name: "arena",
      isDisposed: () => this.#disposed,
      find: (address) => this.#find(address),
      explain: (address) => this.#explain(address),
      regionOf: (address) => this.#chunks.around(address)!.memory,
      regions: () => this.#chunks.all().map(({ memory }) => memory),
      replace: (block, size) => this.#allocateSlow(size, block.alignment, block.requestedSize),
    });
  }

  /**
   * The most bytes that may be live at once, counted as requested. May be set at any time, to below what is live too:
   * then nothing can be allocated until enough is freed. A `limitedPageSource` bounds what is held instead of what is
   * live.
   */
  get limit(): number {
    return this.#limit;
  }

  set limit(limit: number) {
    this.#memory.assertNotDisposed("set the limit");
    assertLimit(limit);
    this.#limit = limit;
  }

  /** See {@link Allocator.allocate}. Constant time. */
  allocate(size: number, alignment: number = DEFAULT): Address {
    const chunk = this.#current;
    if (
      chunk !== undefined && typeof size === "number" && (size >>> 0) === size && size <= SHORT_MAX &&
      alignment === DEFAULT && this.#requested + size <= this.#limit
    ) {
      const address = chunk.allocateShort(size);
      if (address !== 0) {
        this.#requested += size;
        return address;
      }
    }
    return +this.#allocateSlow(size, alignment, 0);
  }

  /** `freed` of the live bytes are about to be freed, and do not count against the limit. */
  #allocateSlow(size: number, alignment: number, freed: number): Address {
    assertSize(size);
    assertAlignment(alignment);
    this.#memory.assertNotDisposed("allocate");
    if (this.#requested - freed + size > this.#limit) {
      throw overLimit(size, size - freed, this.#requested, this.#limit);
    }
    try {
      const address = this.#chunks.allocate(size, alignment);
      this.#requested += size;
      return address;
    } finally {
      this.#current = this.#chunks.current;
    }
  }

  /** See {@link Allocator.allocateZeroed}. Memory that nobody had before is not cleared again. */
  allocateZeroed(size: number, alignment: number = DEFAULT_ALIGNMENT): Address {
    const address = this.allocate(size, alignment);
    const dirty = this.#chunks.around(address)!.dirtyBytes(address, size);
    if (dirty > 0) this.#memory.clearNew(address, dirty);
    return address;
  }

  /**
   * Allocates a typed array and fills it, element by element, with what `element` returns. When that throws, everything
   * allocated meanwhile is freed again, by the callback too, and the error goes on.
   */
  fill<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number, element: (index: number) => T[number]): T {
    const mark = this.mark();
    let filled = false;
    try {
      const array = this.array(type, length);
      for (let i = 0; i < length; i++) array[i] = element(i);
      filled = true;
      return array;
    } finally {
      if (!filled && this.#marks.has(mark)) this.rewind(mark);
      this.#drop(mark);
    }
  }

  /**
   * See {@link Allocator.resize}. True for the last block of a chunk as long as there is room, for others within their
   * bytes.
   */
  resize(address: Address, size: number): boolean {
    const block = this.#memory.liveToResize(address, size, "resize");
    return this.#resize(block, size);
  }

  #resize({ address, requestedSize }: BlockInfo, size: number): boolean {
    if (size > requestedSize && this.#requested + size - requestedSize > this.#limit) return false;
    const chunk = this.#chunks.around(address)!;
    if (!chunk.resize(chunk.indexOf(address), size)) return false;
    this.#requested += size - requestedSize;
    return true;
  }

  /** See {@link Allocator.reallocate}. In place wherever `resize` can. */
  reallocate(address: Address, size: number): Address {
    if (address === 0) return this.allocate(size);
    const block = this.#memory.liveToResize(address, size, "reallocate");
    if (size === 0) {
      this.free(address);
      return 0;
    }
    if (this.#resize(block, size)) return address;
    assertAttached(this.#chunks.around(address)!.memory);
    const moved = this.#allocateSlow(size, block.alignment, block.requestedSize);
    this.#memory.copyToNew(address, moved, block.requestedSize);
    this.free(address);
    return moved;
  }

  /** See {@link Allocator.free}, and the class for when the bytes come back. */
  free(address: Address): void {
    const current = this.#current;
    let chunk = current;
    let index = current === undefined ? -1 : current.indexOf(address);
    if (index === -1) {
      chunk = this.#chunks.around(address);
      index = chunk === undefined ? -1 : chunk.indexOf(address);
      if (index === -1) return this.#memory.rejectFree(address);
    }
    if (this.#memory.ownedBlocks !== 0) this.#memory.revoke(address);
    this.#requested -= chunk!.free(index);
    // The first chunk has none to go back to.
    if (chunk!.count === 0 && (chunk !== current || this.#chunks.index > 0)) {
      this.#chunks.emptied(chunk!, this.#pinnedChunk());
      this.#current = this.#chunks.current;
    }
  }

  /** The place that the arena is at: {@link Arena.rewind} comes back to it. */
  mark(): ArenaMark {
    this.#memory.assertNotDisposed("mark");
    const { index, current, serial } = this.#chunks;
    const count = current === undefined ? 0 : current.count;
    const cursor = current === undefined ? 0 : current.address + current.cursor * BUMP_GRANULE;
    const mark = new ArenaMark(this, index, count, serial, cursor);
    if (current !== undefined) current.floor = count;
    this.#marks.push(mark);
    return mark;
  }

  /**
   * Frees every block allocated since `mark` was made, and keeps the memory for the next ones. The mark stays good and
   * can be rewound to again; marks made after it do not.
   *
   * @throws {UseAfterFreeError} When the mark is stale: the arena was rewound to an earlier one, or reset, since.
   * @throws {InvalidFreeError} When it is a mark of another arena.
   */
  rewind(mark: ArenaMark): void {
    assertMark(mark);
    this.#memory.assertNotDisposed("rewind");
    const refusal = this.#marks.refusal(mark, this);
    if (refusal !== undefined) return reportViolation(refusal);
    this.#marks.cutBehind(mark);
    const { chunk, count, serial } = mark;
    if (this.#memory.ownedBlocks !== 0) {
      for (const block of [...this.#chunks.blocksSince(chunk, count, serial)]) this.#memory.revoke(block.address);
    }
    this.#requested -= this.#chunks.rewind(chunk, count, serial);
    this.#current = this.#chunks.current;
  }

  /**
   * A scope: everything allocated from now on is freed when it is disposed. Scopes nest.
   *
   * ```ts
   * using _scope = arena.scope();
   * ```
   */
  scope(): ArenaScope {
    const mark = this.mark();
    return new ArenaScope(() => {
      // Reset, rewound to before it, or disposed: what the scope would free is gone already.
      if (!this.#marks.has(mark)) return;
      this.rewind(mark);
      this.#drop(mark);
    });
  }

  /** Forgets a mark, and those made after it; what was allocated since stays. */
  #drop(mark: ArenaMark): void {
    if (!this.#marks.drop(mark)) return;
    this.#chunks.unpin(this.#pinnedChunk(), this.#marks.last?.count ?? 0);
    this.#current = this.#chunks.current;
  }

  /** Frees every block. Marks become stale, owned buffers are detached. */
  reset(mode: ArenaResetMode = "keep-capacity"): void {
    this.#memory.assertNotDisposed("reset");
    const keep = bytesToKeep(mode);
    // Revokes all owned buffers; the memory object stays usable.
    this.#memory.dispose();
    this.#marks.clear();
    this.#requested = 0;
    this.#chunks.reset();
    this.#current = this.#chunks.current;
    if (keep === Infinity) return;
    try {
      this.#chunks.giveBackTo(keep);
    } finally {
      this.#current = this.#chunks.current;
    }
  }

  /** See {@link Allocator.blocks}. In order of allocation, large ones last. */
  *blocks(): IterableIterator<BlockInfo> {
    this.#memory.assertNotDisposed("walk the blocks");
    for (const chunk of this.#chunks.all()) yield* chunk.live();
  }

  /** See {@link Allocator.stats}. Regions are chunks; records are on JavaScript's heap and not counted. */
  stats(): AllocatorStats {
    this.#memory.assertNotDisposed("report");
    const { committedBytes, peakBytes, unreleased } = this.#chunks;
    const chunks = this.#chunks.all();
    let liveBlocks = 0;
    let liveBytes = 0;
    for (const chunk of chunks) {
      liveBlocks += chunk.liveBlocks;
      liveBytes += chunk.liveBytes;
    }
    return {
      liveBlocks,
      liveBytes,
      committedBytes,
      peakCommittedBytes: peakBytes,
      tableBytes: 0,
      reservedBytes: committedBytes + unreleased.byteLength,
      wrappedBytes: committedBytes,
      regions: chunks.length,
      limit: this.#limit,
    };
  }

  /** See {@link Allocator.check}. */
  check(): void {
    this.#memory.assertNotDisposed("check");
    for (const { memory } of this.#chunks.all()) assertAttached(memory);
    try {
      this.#chunks.check(this.#requested);
    } catch (error) {
      throwReported(error);
    }
  }

  /** See {@link Allocator.trim}. Gives empty chunks back, and the contents of OS pages above the cursor. */
  trim(): number {
    this.#memory.assertNotDisposed("trim");
    try {
      return this.#chunks.trim(this.#pinnedChunk());
    } finally {
      this.#current = this.#chunks.current;
    }
  }

  /** Frees every block, detaches every view and gives all memory back. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#current = undefined;
    this.#marks.clear();
    this.#memory.dispose();
    this.#chunks.dispose();
  }

  /** The chunk of the innermost mark, or -1. */
  #pinnedChunk(): number {
    return this.#marks.last?.chunk ?? -1;
  }

  #find(address: Address): BlockInfo | undefined {
    const chunk = this.#chunks.around(address);
    const index = chunk === undefined ? -1 : chunk.indexOf(address);
    return index === -1 ? undefined : chunk!.info(index);
  }

  #explain(address: Address): InvalidAddress {
    return this.#chunks.around(address)?.explain(address) ??
      { kind: "foreign", detail: "it is in no chunk of this arena" };
  }
}
