/**
 * A shared heap without its fast paths, as one attachment sees it: every rule of the `Allocator` contract that is not a
 * matter of views.
 *
 * `SharedHeap` answers the usual small calls by itself, or by `SharedMoves`, and comes here with all others: wrong arguments,
 * bad addresses, blocks that are large, owned or another's, and whatever the short ways refuse. What is decided here and
 * nowhere else:
 *
 * - where a block goes: a page of this attachment up to 16 KiB, a run of units above, and when no page can be had;
 * - bad addresses: {@link SharedCore.live} turns an address into a block or a violation;
 * - what a NativeBuffer owns: only the attachment that made it may free or resize the block.
 *
 * @module
 */
import type { Allocator, BlockInfo } from "./allocator.ts";
import { AllocatorMemory } from "./allocator_memory.ts";
import { assertAddress, assertAlignment, assertSize, DEFAULT_ALIGNMENT } from "./arguments.ts";
import { Attempts } from "./attempts.ts";
import { DisposedError, formatAddress, InvalidFreeError, OutOfMemoryError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";
import {
  FREE_MASK,
  GRANULES_MASK,
  LINKS,
  linkWithOwned,
  LIVE,
  liveLink,
  ONE_USED,
  SHAPE,
  SLACK_MASK,
  STATE,
} from "./page_table.ts";
import { UNIT } from "./run_record.ts";
import type { Attachment } from "./shared_attachment.ts";
import { type SharedBlock, SharedBlocks } from "./shared_blocks.ts";
import { OWNER, OWNER_MASK } from "./shared_layout.ts";
import { SharedPages } from "./shared_pages.ts";
import { freeRemotely, isFreedRemotely } from "./shared_remote.ts";
import type { SharedSpace } from "./shared_space.ts";
import { CLASS_GRANULES, CLASS_OF, classFor, GRANULE, LAST_ENTRY, SMALL_MAX } from "./size_class.ts";
import { reportViolation, throwAfterReport } from "./violations.ts";

/** The complete, careful half of one attachment. */
export class SharedCore {
  /** What all attachments share. */
  readonly space: SharedSpace;
  /** The pages of this one. */
  readonly pages: SharedPages;
  /** Which block an address means. */
  readonly blocks: SharedBlocks;
  /** The bytes of blocks. */
  readonly memory: AllocatorMemory;
  /** Blocks that NativeBuffers of this attachment own. */
  readonly owned: Set<Address> = new Set();
  readonly #heap: Allocator;
  /** Whether the block of the last `allocate` is memory that reads as zero. */
  isFresh = false;
  #isDisposed = false;

  /** For `heap`, which is attached to `space`. */
  constructor(heap: Allocator & { readonly source: PageSource }, space: SharedSpace) {
    const { tables } = space;
    this.#heap = heap;
    this.space = space;
    this.pages = new SharedPages(space);
    this.blocks = new SharedBlocks(space, this.pages);
    this.memory = new AllocatorMemory(heap, {
      name: "shared heap",
      isDisposed: () => this.#isDisposed,
      find: (address) => this.blocks.find(address),
      explain: (address) => this.blocks.explain(address),
      regionOf: (address) => tables.regionOf(Math.floor((address - tables.base) / UNIT)),
      regions: () => tables.wrappedRegions(),
      setOwned: (address, owned) => this.#setOwned(address, owned),
    });
  }

  /**
   * Places a block.
   *
   * @throws {OutOfMemoryError} When there is no place for it.
   * @throws {InvalidFreeError} When it is found out that two workers have freed the same block; nothing is allocated then.
   */
  allocate(size: number, alignment: number): Address {
    assertSize(size);
    assertAlignment(alignment);
    this.memory.assertNotDisposed("allocate");
    this.pages.collectNews();
    this.reportDoubles();
    let address = this.#place(size, alignment);
    if (address === 0) {
      // What idle pages hold may be just what is missing.
      this.pages.releaseIdle(true);
      address = this.#place(size, alignment);
    }
    if (address !== 0) return address;
    const most = this.space.tables.unitsReserved * UNIT;
    const cause = this.space.regions.failure ??
      new OutOfMemoryError("the heap has no free memory of that size left", size, most);
    throw new OutOfMemoryError(
      `Cannot allocate ${size} bytes at alignment ${alignment}: ${cause.message}`,
      size,
      cause.limit,
      { cause },
    );
  }

  /** Places a block of zeroes; small ones only when {@link SharedMoves} has no short way. */
  allocateZeroed(size: number, alignment: number): Address {
    this.isFresh = false;
    const address = this.#heap.allocate(size, alignment);
    if (!this.isFresh && size !== 0) this.memory.clearNew(address, size);
    return address;
  }

  /** An address for the block, or 0. */
  #place(size: number, alignment: number): Address {
    const space = this.space;
    const { tables } = space;
    space.regions.failure = undefined;
    const sizeClass = alignment === DEFAULT_ALIGNMENT && size <= SMALL_MAX
      ? CLASS_OF[(size + 15) >>> 4]!
      : classFor(size, alignment);
    if (sizeClass !== -1) {
      const slack = CLASS_GRANULES[sizeClass]! * GRANULE - size;
      const granule = this.#placeSmall(sizeClass, liveLink(Math.max(alignment, GRANULE), slack));
      if (granule !== -1) return tables.base + granule * GRANULE;
    }
    const count = Math.max(1, Math.ceil(size / UNIT));
    if (count > tables.unitsReserved) return 0;
    const unit = space.takeLarge(count, alignment, count * UNIT - size, 31 - Math.clz32(Math.max(alignment, GRANULE)));
    if (unit === -1) return 0;
    this.isFresh = space.isFresh;
    return tables.base + unit * UNIT;
  }

  /** Takes a slot of the class and writes its link; its granule, or -1. */
  #placeSmall(sizeClass: number, link: number): number {
    const pages = this.pages;
    const { tables } = this.space;
    for (;;) {
      const page = pages.current[LAST_ENTRY[sizeClass]!]!;
      const state = tables.pages[page + STATE]!;
      const slot = (state & FREE_MASK) - 1;
      if (slot === -1) {
        if (!pages.refill(sizeClass)) return -1;
        continue;
      }
      if (isFreedRemotely(tables, page, slot)) {
        pages.collect(page);
        this.reportDoubles();
        continue;
      }
      const index = tables.pages[page + LINKS]! + slot;
      tables.pages[page + STATE] = state + ONE_USED - slot - 1 + tables.links[index]!;
      tables.links[index] = link;
      return (page << 8) + slot * (tables.pages[page + SHAPE]! & GRANULES_MASK);
    }
  }

  /** Reports blocks that were found to have been freed by two workers at once. All is in order when it throws. */
  reportDoubles(): void {
    if (this.space.doubles.length === 0) return;
    for (const violation of this.takeDoubles()) reportViolation(violation);
  }

  /** The same as errors, each of which is to be reported by who takes it. */
  *takeDoubles(): IterableIterator<InvalidFreeError> {
    const { doubles, tables } = this.space;
    for (let granule = doubles.pop(); granule !== undefined; granule = doubles.pop()) {
      const address = tables.base + granule * GRANULE;
      yield new InvalidFreeError("free", address, "double", "two workers have freed the block at the same moment");
    }
  }

  /** Whether this attachment has ended. */
  get isDisposed(): boolean {
    return this.#isDisposed;
  }

  /** A view of a small block, without the detour over a description of it; undefined for whatever else `address` is. */
  viewSmall(address: Address): Uint8Array<ArrayBuffer> | undefined {
    const { tables } = this.space;
    const granule = typeof address === "number" && !this.#isDisposed ? this.blocks.granuleAt(address) : -1;
    const link = granule === -1 ? 0 : this.blocks.liveLink(granule);
    if (link === 0) return undefined;
    const size = (tables.pages[((granule >>> 8) & -16) + SHAPE]! & GRANULES_MASK) * GRANULE;
    const region = tables.regionOf(granule >>> 8);
    const code = tables.links[link]!;
    // What another worker frees meanwhile has no size.
    if (region.bytes.byteLength === 0 || code < LIVE) return undefined;
    const offset = region.byteOffset + (address - region.address);
    return new Uint8Array(region.buffer, offset, size - (code & SLACK_MASK));
  }

  /** Frees the block at `address`; does nothing for 0. */
  free(address: Address): void {
    assertAddress(address);
    this.memory.assertUsable("free", address);
    if (address === 0) return;
    const block = this.#findToFree(address);
    if (block === undefined) {
      reportViolation(this.memory.invalid(address, "free"));
      return;
    }
    if (block.owned) {
      if (!this.owned.has(address)) {
        reportViolation(ownedElsewhere("free", address));
        return;
      }
      this.memory.revoke(address);
    }
    if (!this.#release(block)) reportViolation(freedMeanwhile("free", address));
  }

  /** The live block at `address`. One that a NativeBuffer of a worker owns that has ended is nobody's. */
  #findToFree(address: Address): SharedBlock | undefined {
    const block = this.blocks.find(address);
    if (block === undefined || !block.owned || this.owned.has(address)) return block;
    this.space.clearUp();
    return this.blocks.find(address);
  }

  /** Frees a live block; false when another worker was faster. */
  #release({ granule, link }: SharedBlock): boolean {
    if (link === 0) return this.space.freeLarge(granule >>> 8);
    const { tables } = this.space;
    const page = (granule >>> 8) & -16;
    if ((tables.pages[page + OWNER]! & OWNER_MASK) !== this.space.number) {
      return freeRemotely(tables, page, link - tables.pages[page + LINKS]!);
    }
    this.pages.free(page, link - tables.pages[page + LINKS]!);
    return true;
  }

  /** Gives a live block a new size in place; false when that cannot be done. */
  resize({ address, usableSize, granule, link }: SharedBlock, size: number): boolean {
    if (link === 0) {
      const count = Math.max(1, Math.ceil(size / UNIT));
      if (count > this.space.tables.unitsReserved) return false;
      return this.space.resizeLarge(granule >>> 8, count, count * UNIT - size);
    }
    if (size > usableSize || usableSize - size > SLACK_MASK) return false;
    const { links } = this.space.tables;
    const code = links[link]!;
    const isOurs = code >= LIVE &&
      Atomics.compareExchange(links, link, code, (code & ~SLACK_MASK) + usableSize - size) === code;
    if (!isOurs) throwAfterReport(freedMeanwhile("resize", address));
    return true;
  }

  /** Gives the block at `address`, which is not 0, a new size, moving it when it must. */
  reallocate(address: Address, size: number): Address {
    const block = this.live(address, "reallocate");
    assertSize(size);
    this.refuseOwned(block, "reallocate");
    if (size === 0) {
      this.#heap.free(address);
      return 0;
    }
    const { usableSize, requestedSize, alignment } = block;
    if ((size * 2 > usableSize || usableSize === GRANULE) && this.resize(block, size)) return address;
    const moved = this.#heap.allocate(size, alignment);
    // Freed by another worker before we took its place, it would be copied to itself, and freed.
    if (moved !== address) {
      this.memory.copyToNew(address, moved, Math.min(size, requestedSize));
      const left = this.blocks.find(address);
      if (left !== undefined && !left.owned && this.#release(left)) return moved;
    }
    this.#heap.free(moved);
    throwAfterReport(freedMeanwhile("reallocate", address));
  }

  #setOwned(address: Address, owned: boolean): void {
    if (owned) this.owned.add(address);
    else this.owned.delete(address);
    const block = this.blocks.find(address);
    if (block === undefined) return;
    if (block.link === 0) {
      this.space.setLargeOwned(block.granule >>> 8, owned);
      return;
    }
    const { links } = this.space.tables;
    links[block.link] = linkWithOwned(links[block.link]!, owned);
  }

  /** The live blocks of all workers, as the contract describes them. */
  *walk(): IterableIterator<BlockInfo> {
    for (const { address, requestedSize, usableSize, alignment } of this.blocks.live()) {
      yield { address, requestedSize, usableSize, alignment };
    }
  }

  /**
   * The live block at `address`.
   *
   * @throws {InvalidFreeError} When there is none; it says why.
   */
  live(address: Address, action: string): SharedBlock {
    assertAddress(address);
    if (this.#isDisposed) throw new DisposedError(`${action} ${formatAddress(address)}`, "shared heap");
    const block = this.blocks.find(address);
    return block ?? throwAfterReport(this.memory.invalid(address, action));
  }

  /** Throws when a NativeBuffer owns the block, in whichever worker: only it may change it. */
  refuseOwned(block: SharedBlock, action: string): void {
    if (!block.owned) return;
    if (!this.owned.has(block.address)) throwAfterReport(ownedElsewhere(action, block.address));
    this.memory.refuseOwned(block.address, action);
  }

  /**
   * Collects what others have freed, and gives back all that is free; the bytes.
   *
   * @throws {InvalidFreeError} When it is found out that two workers have freed the same block; all is done then.
   */
  trim(): number {
    this.pages.collectAll();
    this.pages.releaseIdle(true);
    const given = this.space.trim();
    this.reportDoubles();
    return given;
  }

  /** Throws OutOfMemoryError when the tables cannot be wrapped by which the pages are handed back. */
  prepareToLeave(): void {
    try {
      this.space.locked(() => {});
    } catch (error) {
      // Whatever else is wrong must not keep the views from being detached, and is thrown when all is done.
      if (error instanceof OutOfMemoryError) throw error;
    }
  }

  /**
   * The end, of which every step is taken: frees what NativeBuffers own, detaches every view, has `attachment`, which is this
   * one, leave the heap, and reports. Every later call throws DisposedError.
   */
  leave(attachment: Attachment): void {
    const attempts = new Attempts();
    for (const address of [...this.owned]) attempts.make(() => this.free(address));
    this.#isDisposed = true;
    attempts.make(() => this.memory.dispose());
    attempts.make(() => this.pages.collectAll());
    attempts.make(() => this.pages.releaseIdle(true));
    attempts.make(() => this.space.tables.unwrapData());
    attempts.make(() => attachment.leave());
    attempts.report(this.takeDoubles());
    attempts.end();
  }
}

function ownedElsewhere(action: string, address: Address): InvalidFreeError {
  return new InvalidFreeError(action, address, "foreign", "a NativeBuffer of another worker owns the block");
}

function freedMeanwhile(action: string, address: Address): InvalidFreeError {
  return new InvalidFreeError(action, address, "double", "another worker has freed the block at the same moment");
}
