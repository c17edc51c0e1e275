/**
 * The chunks of an arena: which one is allocated from, when another is mapped, and which are given back. See the
 * drawing in arena.ts.
 *
 * @module
 */
import type { BlockInfo } from "./allocator.ts";
import { alignDown } from "./arguments.ts";
import { BUMP_GRANULE, BumpRegion } from "./bump_region.ts";
import { CorruptionError, OutOfMemoryError } from "./errors.ts";
import { largestRegion, regionBytes } from "./mapped_region.ts";
import type { Address, PageSource } from "./page_source.ts";
import { Unreleased } from "./unreleased.ts";

/** Chunks stop doubling here: what a chunk leaves unused stays bearable. */
const CHUNK_MAX = 64 * 2 ** 20;

/** Records that a chunk has room for at first; a chunk of one large block needs one. */
const FIRST_RECORDS = 64;

/** All memory of one arena. */
export class ArenaChunks {
  /** Chunks in order of use. Those behind `index` are empty. */
  readonly chunks: BumpRegion[] = [];
  /** Which chunk is allocated from; `chunks.length` when the next one is yet to be mapped. */
  index = 0;
  /** The number of the youngest large block. */
  serial = 0;
  /** Bytes of all chunks. */
  committedBytes = 0;
  /** The most that `committedBytes` ever was. */
  peakBytes = 0;
  /** Chunks that could not be unmapped. */
  readonly unreleased: Unreleased;
  readonly #source: PageSource;
  readonly #firstBytes: number;
  readonly #largest: number;
  /** Large blocks by the number they got, in order of allocation. */
  readonly #large = new Map<BumpRegion, number>();
  /** Chunks of large blocks that are freed. */
  readonly #spares: BumpRegion[] = [];
  /** All of the above in order of address. */
  readonly #sorted: BumpRegion[] = [];

  /** Starts with none. */
  constructor(source: PageSource, chunkSize: number) {
    this.#source = source;
    this.unreleased = new Unreleased(source);
    this.#largest = largestRegion(source);
    this.#firstBytes = Math.min(regionBytes(source, chunkSize), this.#largest);
  }

  /** The chunk that is allocated from, if there is one. */
  get current(): BumpRegion | undefined {
    return this.chunks[this.index];
  }

  /** Every chunk: in order of use, then those of large blocks, then the spares. */
  all(): BumpRegion[] {
    return [...this.chunks, ...this.#large.keys(), ...this.#spares];
  }

  /**
   * Places a block.
   *
   * @throws {OutOfMemoryError} When there is no memory for it.
   */
  allocate(size: number, alignment: number): Address {
    const here = this.current?.allocate(size, alignment) ?? 0;
    if (here !== 0) return here;
    // The most that it takes at an address that is a multiple of a granule only.
    const needed = size + Math.max(0, alignment - BUMP_GRANULE) + BUMP_GRANULE;
    const next = this.#nextBytes();
    if (needed > next / 2) return this.#allocateLarge(size, alignment, needed);
    this.#advance(next, needed);
    return this.current!.allocate(size, alignment);
  }

  /** Bytes of the chunk that comes behind the current one. */
  #nextBytes(): number {
    const next = this.chunks[this.index + 1];
    if (next !== undefined) return next.byteLength;
    const last = this.chunks.at(-1);
    if (last === undefined) return this.#firstBytes;
    const most = alignDown(Math.min(CHUNK_MAX, this.#largest), this.#source.pageSize);
    return Math.min(last.byteLength * 2, Math.max(most, this.#firstBytes));
  }

  /**
   * Makes the next chunk the current one, mapping it if there is none: with `wanted` bytes, or less when memory is
   * scarce.
   */
  #advance(wanted: number, needed: number): void {
    if (this.index + 1 < this.chunks.length) {
      this.index++;
      return;
    }
    const least = regionBytes(this.#source, needed);
    for (let byteLength = wanted;; byteLength = Math.max(least, regionBytes(this.#source, byteLength / 2))) {
      try {
        this.chunks.push(this.#map(byteLength, this.#source.pageSize, FIRST_RECORDS));
        this.index = this.chunks.length - 1;
        return;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        if (byteLength > least) continue;
        // What is kept for later may be just what is missing.
        if (!this.#giveBackSpares()) throw this.#failure(needed, error);
      }
    }
  }

  #allocateLarge(size: number, alignment: number, needed: number): Address {
    const spare = this.#takeSpare(size, alignment);
    if (spare !== undefined) return this.#placeLarge(spare, size, alignment);
    const behind = this.#smallestBehind(needed);
    if (behind !== -1) {
      this.chunks.splice(this.index + 1, 0, ...this.chunks.splice(behind, 1));
      this.index++;
      return this.current!.allocate(size, alignment);
    }
    const byteLength = regionBytes(this.#source, size);
    if (byteLength > this.#largest) {
      throw new OutOfMemoryError(
        `Cannot allocate ${size} bytes in the arena: a chunk has ${this.#largest} bytes at most`,
        size,
        this.#largest,
      );
    }
    // Smaller spares cannot serve this size; kept, they would add up with every larger one.
    this.#giveBackSpares();
    try {
      const region = this.#map(byteLength, Math.max(alignment, this.#source.pageSize), 1);
      return this.#placeLarge(region, size, alignment);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      if (!this.#giveBackEmpty()) throw this.#failure(size, error);
      return this.allocate(size, alignment);
    }
  }

  #placeLarge(region: BumpRegion, size: number, alignment: number): Address {
    this.#large.set(region, ++this.serial);
    return region.allocate(size, alignment);
  }

  /** The smallest empty chunk behind the current one that has `needed` bytes, or -1. */
  #smallestBehind(needed: number): number {
    let best = -1;
    for (let i = this.index + 1; i < this.chunks.length; i++) {
      const { byteLength } = this.chunks[i]!;
      if (byteLength >= needed && (best === -1 || byteLength < this.chunks[best]!.byteLength)) best = i;
    }
    return best;
  }

  /** The smallest spare chunk that the block fits in. */
  #takeSpare(size: number, alignment: number): BumpRegion | undefined {
    let best = -1;
    for (let i = 0; i < this.#spares.length; i++) {
      const { address, byteLength } = this.#spares[i]!;
      if (byteLength < size || address % alignment !== 0) continue;
      if (best === -1 || byteLength < this.#spares[best]!.byteLength) best = i;
    }
    return best === -1 ? undefined : this.#spares.splice(best, 1)[0];
  }

  /** What to do when the last block of a chunk is freed. Chunks up to `pinned` stay where they are. */
  emptied(chunk: BumpRegion, pinned: number): void {
    if (this.#large.delete(chunk)) {
      this.#spares.push(chunk);
      return;
    }
    const place = this.chunks.indexOf(chunk);
    if (place <= pinned || place >= this.index) return this.#stepBack(pinned);
    // An empty chunk in the middle is used again after the current one.
    this.chunks.splice(place, 1);
    this.index--;
    this.chunks.splice(this.index + 1, 0, chunk);
  }

  /** Goes back over empty chunks: to the one with the youngest block, but not below `pinned`. */
  #stepBack(pinned: number): void {
    while (this.index > 0 && this.index > pinned && (this.current?.count ?? 0) === 0) this.index--;
  }

  /** The live blocks that are younger than a mark. */
  *blocksSince(index: number, count: number, serial: number): IterableIterator<BlockInfo> {
    for (let i = index; i < this.chunks.length; i++) yield* this.chunks[i]!.live(i === index ? count : 0);
    for (const [region, number] of this.#large) {
      if (number > serial) yield* region.live();
    }
  }

  /** Frees the blocks that are younger than a mark; the requested bytes they had. */
  rewind(index: number, count: number, serial: number): number {
    let freed = 0;
    for (let i = index; i < this.chunks.length; i++) {
      const chunk = this.chunks[i]!;
      chunk.floor = i === index ? count : 0;
      freed += chunk.truncate(chunk.floor);
    }
    for (const [region, number] of this.#large) {
      if (number <= serial) continue;
      freed += region.truncate(0);
      this.#large.delete(region);
      this.#spares.push(region);
    }
    this.index = Math.min(index, this.chunks.length);
    return freed;
  }

  /** Lets go of the records above those that a mark at `count` blocks of chunk `index` pins; -1 for no mark at all. */
  unpin(index: number, count: number): void {
    for (let i = Math.max(index, 0); i < this.chunks.length; i++) {
      const chunk = this.chunks[i]!;
      chunk.floor = i === index ? count : 0;
      chunk.dropFreed();
    }
    this.#stepBack(index);
  }

  /** Frees all blocks and keeps all chunks. */
  reset(): void {
    for (const chunk of this.chunks) chunk.reset();
    for (const region of this.#large.keys()) {
      region.reset();
      this.#spares.push(region);
    }
    this.#large.clear();
    this.index = this.serial = 0;
  }

  /** Gives chunks back until at most `keep` bytes are left, of which the largest stay. There are no blocks. */
  giveBackTo(keep: number): void {
    let left = keep;
    for (const chunk of this.all().sort((a, b) => b.byteLength - a.byteLength)) {
      if (chunk.byteLength <= left) left -= chunk.byteLength;
      else this.#unmap(chunk);
    }
    this.index = 0;
  }

  /** Gives back what holds no block; the bytes given. */
  trim(pinned: number): number {
    this.#stepBack(pinned);
    const held = (): number => this.committedBytes + this.unreleased.byteLength;
    const before = held();
    this.#giveBackEmpty();
    this.unreleased.retry();
    let given = before - held();
    for (const chunk of [...this.chunks, ...this.#large.keys()]) given += chunk.discardUnused();
    return given;
  }

  /**
   * Gives back the spares, the empty chunks behind the current one, and that too if it is empty; false when there are
   * none. A mark that stands at the start of such a chunk is as good without it.
   */
  #giveBackEmpty(): boolean {
    const had = this.#giveBackSpares();
    const behind = this.chunks.slice(this.current?.count === 0 ? this.index : this.index + 1);
    for (const chunk of behind) this.#unmap(chunk);
    return had || behind.length > 0;
  }

  #giveBackSpares(): boolean {
    const retried = this.unreleased.retry() > 0;
    const spares = [...this.#spares];
    for (const spare of spares) this.#unmap(spare);
    return retried || spares.length > 0;
  }

  /** The chunk that `address` lies in. Any value may come. */
  around(address: Address): BumpRegion | undefined {
    if (typeof address !== "number") return undefined;
    const sorted = this.#sorted;
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sorted[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    const chunk = sorted[low - 1];
    return chunk !== undefined && address < chunk.address + chunk.byteLength ? chunk : undefined;
  }

  /** Verifies the records of every chunk, and their order. */
  check(requested: number): void {
    let sum = 0;
    let committed = 0;
    for (const chunk of this.all()) {
      chunk.check();
      sum += chunk.requestedBytes;
      committed += chunk.byteLength;
      if (this.around(chunk.address) !== chunk) throw new CorruptionError("Cannot trust the order of the chunks");
    }
    const behind = this.chunks.slice(this.index + 1).concat(this.#spares);
    if (behind.some((chunk) => chunk.count > 0) || this.index > this.chunks.length) {
      throw new CorruptionError("Cannot trust the chunks of the arena: one that should be empty has blocks");
    }
    if (sum !== requested || committed !== this.committedBytes || this.all().length !== this.#sorted.length) {
      throw new CorruptionError(
        `Cannot trust the figures of the arena: ${requested} bytes are requested and ${this.committedBytes} ` +
          `committed by count, ${sum} and ${committed} by the chunks`,
      );
    }
  }

  /**
   * Detaches and gives back everything. When giving back fails the rest is given back all the same, and what failed
   * first is thrown at the end.
   */
  dispose(): void {
    const regions = this.all();
    for (const region of regions) region.unwrap();
    for (const region of regions) region.forget();
    this.chunks.length =
      this.#spares.length =
      this.#sorted.length =
      this.index =
        0;
    this.#large.clear();
    this.unreleased.dispose(regions);
  }

  #map(byteLength: number, alignment: number, records: number): BumpRegion {
    const region = new BumpRegion(this.#source, byteLength, alignment, records, this.unreleased);
    const place = this.#sorted.findIndex(({ address }) => address > region.address);
    this.#sorted.splice(place === -1 ? this.#sorted.length : place, 0, region);
    this.committedBytes += byteLength;
    this.peakBytes = Math.max(this.peakBytes, this.committedBytes);
    return region;
  }

  /** Gives an empty chunk back, wherever it is. */
  #unmap(region: BumpRegion): void {
    for (const list of [this.chunks, this.#spares, this.#sorted]) {
      const place = list.indexOf(region);
      if (place !== -1) list.splice(place, 1);
    }
    this.#large.delete(region);
    this.committedBytes -= region.byteLength;
    region.unwrap();
    region.forget();
    this.unreleased.unmap(region);
  }

  #failure(size: number, cause: OutOfMemoryError): OutOfMemoryError {
    return new OutOfMemoryError(`Cannot allocate ${size} bytes in the arena: ${cause.message}`, size, cause.limit, {
      cause,
    });
  }
}
