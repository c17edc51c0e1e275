/**
 * The regions of an in-band allocator: mappings of a page source, found by number and by address.
 *
 * ```text
 *   region.address                                                    region.address + byteLength
 *   ├─ unused ─┬─ block ──┬─ block ──┬──────────── ... ─────┬─ block ─┬─ unused ─┤
 *   granule 0   first                                                  end
 * ```
 *
 * `unused` is what no payload fits into: at most 15 bytes at each end. A region has a number below 4096, by which nodes of free lists
 * name it, and belongs to one bucket. Two regions of a bucket whose memory touches can be joined: their bytes are wrapped
 * once more, together, and blocks may then lie across the seam. An older wrap that callers have views of is kept until
 * the region goes, so that these views stay as they are; wraps that nobody has seen are ended at once.
 *
 * Invariants: `sorted` is by address; regions do not overlap; a region is wrapped whole. Finding a region takes logarithmic
 * time, the one found last is tried first.
 *
 * A page source that fails to unmap keeps nobody from going on: the mapping is remembered and tried again by `retryUnmaps`.
 *
 * @module
 */
import type { MemoryRegion } from "./allocator_memory.ts";
import type { BlockLayout } from "./block.ts";
import { type WrappedBytes, wrappedBytes } from "./bytes.ts";
import { wrapWhole } from "./commit_wrapped.ts";
import { OutOfMemoryError } from "./errors.ts";
import { GRANULE, MAX_GRANULES, STALE } from "./marks.ts";
import type { Address, PageSource } from "./page_source.ts";
import { type Mapping, Unreleased } from "./unreleased.ts";

/** Numbers of regions are below this: two of them fit into one word of a node. */
export const MAX_REGIONS = 4096;

/** How many regions that were given back are remembered. */
const REMEMBERED_RELEASES = 16;

/** How many granules of each: the first MiB. */
const REMEMBERED_GRANULES = 65_536;

/** A wrap that a wider one has taken the place of. `byteLength` is what it had: somebody may have detached it. */
interface OldWrap extends MemoryRegion {
  readonly byteLength: number;
}

/** One region. */
export class Region implements MemoryRegion {
  /** From 1; 0 is no region. */
  readonly number: number;
  /** Which bucket of the allocator it belongs to. */
  readonly bucket: number;
  /** Where it starts. */
  readonly address: Address;
  /** Bytes of all mappings together. */
  byteLength = 0;
  /** The first granule of a payload. */
  readonly first: number;
  /** One past the last granule of the last block. */
  end = 0;
  /** All of it, wrapped. */
  bytes!: Uint8Array<ArrayBuffer>;
  /** The buffer of the wrap. */
  buffer!: ArrayBuffer;
  /** Where in that buffer the region begins. */
  byteOffset = 0;
  /** The same as 32-bit words: four a granule. */
  words!: Int32Array;
  /** The same as 64-bit words. */
  doubles!: Float64Array;
  /** One mark a granule, see block.ts. */
  marks: Uint16Array = new Uint16Array(0);
  /** Granules of live blocks, by their first; only where blocks have no header. */
  sizes: Int32Array = new Int32Array(0);
  /** Wraps of what it was before it grew; callers may have views of them. */
  readonly oldWraps: OldWrap[] = [];
  /** Whether callers may have views of the present wrap. */
  viewed = false;
  /** What was reserved, lowest first. */
  readonly mappings: Mapping[];

  /** Made by {@link RegionList}. */
  constructor(
    number: number,
    bucket: number,
    address: Address,
    mapping: Mapping,
    wrapped: WrappedBytes,
    layout: BlockLayout,
  ) {
    this.number = number;
    this.bucket = bucket;
    this.address = address;
    this.first = layout.first;
    this.mappings = [mapping];
    this.rewrap(wrapped, layout);
  }

  /** Gives the contents of whole OS pages back, one mapping at a time: Windows refuses what spans two reservations. */
  discard(source: PageSource, from: Address, to: Address): void {
    for (const { address, byteLength } of this.mappings) {
      const start = Math.max(from, address);
      const end = Math.min(to, address + byteLength);
      if (end > start) source.discard(start, end - start);
    }
  }

  /** Takes a wrap of the whole region, and makes room for its marks. */
  rewrap({ bytes, buffer, byteOffset, words, doubles }: WrappedBytes, layout: BlockLayout): void {
    this.bytes = bytes;
    this.buffer = buffer;
    this.byteOffset = byteOffset;
    this.words = words;
    this.doubles = doubles;
    this.byteLength = bytes.byteLength;
    const granules = bytes.byteLength / GRANULE;
    const lead = layout.first * GRANULE - layout.header;
    this.end = layout.first + Math.floor((bytes.byteLength - lead) / GRANULE);
    // Ends of blocks with long headers lie a granule or two beyond the end of the memory.
    const marks = new Uint16Array(Math.max(granules, this.end) + 1);
    marks.set(this.marks);
    this.marks = marks;
    if (layout.header !== 0) return;
    const sizes = new Int32Array(granules);
    sizes.set(this.sizes);
    this.sizes = sizes;
  }
}

/** The regions of one allocator. */
export class RegionList {
  /** Where the memory comes from. */
  readonly source: PageSource;
  /** How blocks are described. */
  readonly layout: BlockLayout;
  /** By number; 0 is never one. */
  readonly byNumber: (Region | undefined)[] = [undefined];
  /** By address. */
  readonly sorted: Region[] = [];
  /** Bytes of all mappings of regions. */
  #mappedBytes = 0;
  /** Bytes committed. */
  committedBytes = 0;
  /** The most there ever were. */
  peakCommittedBytes = 0;
  /** Mappings that the source failed to unmap. */
  readonly #unreleased: Unreleased;
  readonly #freeNumbers: number[] = [];
  /** Starts of the regions that were given back last, to say "double" of an address in one. */
  readonly #released: { readonly address: Address; readonly marks: Uint16Array }[] = [];
  #last: Region | undefined;

  /** Starts with none. */
  constructor(source: PageSource, layout: BlockLayout) {
    this.source = source;
    this.layout = layout;
    this.#unreleased = new Unreleased(source);
  }

  /** The region that `address` lies in. */
  find(address: Address): Region | undefined {
    const last = this.#last;
    if (last !== undefined) {
      const offset = address - last.address;
      if (offset >= 0 && offset < last.byteLength) return last;
    }
    const index = this.#countUpTo(address) - 1;
    const region = this.sorted[index];
    if (region === undefined || !(address - region.address < region.byteLength)) return undefined;
    this.#last = region;
    return region;
  }

  /** How many regions begin at or below `address`. */
  #countUpTo(address: Address): number {
    const { sorted } = this;
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sorted[middle]!.address <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Maps a region of at least `byteLength` bytes. One for an alignment beyond the source's own begins right below an
   * address that is aligned so far, where there is room for a header; what lies under that is reserved and never touched.
   *
   * @throws {OutOfMemoryError} When it cannot be had; nothing has changed then.
   */
  map(byteLength: number, bucket: number, alignment = 1): Region {
    const { source } = this;
    const { granularity } = source;
    const rounded = Math.ceil(byteLength / granularity) * granularity;
    if (rounded > source.maxWrapBytes || rounded / GRANULE > MAX_GRANULES) {
      const most = Math.min(source.maxWrapBytes, MAX_GRANULES * GRANULE);
      throw new OutOfMemoryError(`a region has at most ${most} bytes, ${rounded} are needed`, byteLength);
    }
    if (this.#freeNumbers.length === 0 && this.byNumber.length >= MAX_REGIONS) {
      throw new OutOfMemoryError(`there are ${MAX_REGIONS - 1} regions already`, byteLength);
    }
    // Taken before the source is asked for anything: it can be a caller of this allocator itself.
    const number = this.#freeNumbers.pop() ?? this.byNumber.push(undefined) - 1;
    const skipped = alignment > granularity && this.layout.header > 0 ? alignment - granularity : 0;
    let mapping: Mapping | undefined;
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      const address = source.reserve(skipped + rounded, Math.max(granularity, alignment));
      mapping = { address, byteLength: skipped + rounded };
      source.commit(address + skipped, rounded);
      bytes = wrapWhole(source, address + skipped, rounded);
    } catch (error) {
      this.#freeNumbers.push(number);
      if (mapping !== undefined) this.#unreleased.unmap(mapping);
      throw error;
    }
    const address = mapping.address + skipped;
    const region = new Region(number, bucket, address, mapping, wrappedBytes(bytes), this.layout);
    this.#mappedBytes += mapping.byteLength;
    this.byNumber[number] = region;
    this.sorted.splice(this.#countUpTo(address), 0, region);
    this.committedBytes += rounded;
    if (this.committedBytes > this.peakCommittedBytes) this.peakCommittedBytes = this.committedBytes;
    return region;
  }

  /** The region of the same bucket that ends where `region` begins. */
  touchingBelow(region: Region): Region | undefined {
    const below = this.sorted[this.#countUpTo(region.address) - 2];
    const touches = below?.bucket === region.bucket && below.address + below.byteLength === region.address;
    return touches ? below : undefined;
  }

  /** The region of the same bucket that begins where `region` ends. */
  touchingAbove(region: Region): Region | undefined {
    const above = this.sorted[this.#countUpTo(region.address)];
    const touches = above?.bucket === region.bucket && region.address + region.byteLength === above.address;
    return touches ? above : undefined;
  }

  /** Makes `upper` the upper part of `lower`, which it touches; false, and nothing changed, when that cannot be. */
  join(lower: Region, upper: Region): boolean {
    const { source, layout } = this;
    const byteLength = lower.byteLength + upper.byteLength;
    if (byteLength > source.maxWrapBytes || byteLength / GRANULE > MAX_GRANULES) return false;
    const shift = lower.byteLength / GRANULE;
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      bytes = wrapWhole(source, lower.address, byteLength);
    } catch {
      return false;
    }
    for (const region of [lower, upper]) {
      if (!region.viewed && this.#tryUnwrap(region.bytes)) continue;
      const { address, bytes, buffer, byteOffset, words, doubles } = region;
      lower.oldWraps.push({ address, byteLength: region.byteLength, bytes, buffer, byteOffset, words, doubles });
    }
    lower.oldWraps.push(...upper.oldWraps);
    lower.viewed = false;
    lower.mappings.push(...upper.mappings);
    lower.rewrap(wrappedBytes(bytes), layout);
    // Blocks that cannot be moved are never in the upper region, and marks of the lower one may reach beyond its memory.
    if (!layout.linked) lower.marks.set(upper.marks.subarray(0, upper.end), shift);
    if (layout.header === 0) lower.sizes.set(upper.sizes, shift);
    this.#forget(upper);
    return true;
  }

  /** Ends a wrap; false when the source could not, and is to try again when the region goes. */
  #tryUnwrap(bytes: Uint8Array<ArrayBuffer>): boolean {
    try {
      this.source.unwrap(bytes);
      return true;
    } catch {
      return false;
    }
  }

  #forget(region: Region): void {
    this.sorted.splice(this.sorted.indexOf(region), 1);
    this.byNumber[region.number] = undefined;
    this.#freeNumbers.push(region.number);
    if (this.#last === region) this.#last = undefined;
  }

  /** Detaches every view of a region and unmaps it; the bytes given back. What cannot be unmapped is kept for later. */
  release(region: Region): number {
    const { byteLength } = region;
    this.#unwrapAll(region);
    this.#forget(region);
    this.committedBytes -= byteLength;
    for (const mapping of region.mappings) this.#mappedBytes -= mapping.byteLength;
    if (this.#released.length === REMEMBERED_RELEASES) this.#released.shift();
    this.#released.push({ address: region.address, marks: region.marks.slice(0, REMEMBERED_GRANULES) });
    let given = 0;
    for (const mapping of region.mappings.toReversed()) given += this.#unreleased.unmap(mapping);
    return given;
  }

  #unwrapAll(region: Region): void {
    for (const { bytes } of region.oldWraps) this.source.unwrap(bytes);
    region.oldWraps.length = 0;
    this.source.unwrap(region.bytes);
  }

  /** Tries again to unmap what could not be unmapped; the bytes given back. */
  retryUnmaps(): number {
    return this.#unreleased.retry();
  }

  /** Bytes of address space held. */
  get reservedBytes(): number {
    return this.#mappedBytes + this.#unreleased.byteLength;
  }

  /** Bytes wrapped. Of wraps that begin at the same address the longest counts. */
  get wrappedBytes(): number {
    let total = 0;
    for (const { address, byteLength, oldWraps } of this.sorted) {
      const longest = new Map<Address, number>();
      for (const old of oldWraps) longest.set(old.address, Math.max(old.byteLength, longest.get(old.address) ?? 0));
      longest.set(address, byteLength);
      for (const length of longest.values()) total += length;
    }
    return total;
  }

  /** Whether a block at `address` was freed in one of the regions that were given back last. */
  wasReleased(address: Address): boolean {
    return this.#released.some((gone) => ((gone.marks[(address - gone.address) / GRANULE] ?? 0) & STALE) !== 0);
  }

  /** Every wrap, older ones included. */
  *wraps(): IterableIterator<MemoryRegion> {
    for (const region of this.sorted) {
      yield region;
      yield* region.oldWraps;
    }
  }

  /** Detaches everything, then unmaps it. What fails is thrown when everything was tried. */
  dispose(): void {
    for (const region of this.sorted) this.#unwrapAll(region);
    const mappings = this.sorted.flatMap((region) => region.mappings).reverse();
    this.sorted.length = 0;
    this.byNumber.length = 1;
    this.#last = undefined;
    this.committedBytes = 0;
    this.#mappedBytes = 0;
    this.#unreleased.dispose(mappings);
  }
}
