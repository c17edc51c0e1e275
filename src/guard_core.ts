/**
 * An allocator that guards every block: the whole {@link Allocator} contract over `GuardedBlocks`. `GuardAllocator` is
 * this, with a heap beside it for the blocks that are not sampled.
 *
 * What is decided here and nowhere else:
 *
 * - a block whose slack was written is a violation, found before anything is done to the block, which then stays as it
 *   is;
 * - `reallocate` to another size moves, so that the block touches its guard page again, and a stale address faults;
 * - the default alignment is 16, or 1 when blocks are placed precisely.
 *
 * @module
 */
import { captureStack } from "./allocation_site.ts";
import type { Allocator, AllocatorStats, BlockInfo, TypedArray, TypedArrayConstructor } from "./allocator.ts";
import {
  assertAlignment,
  assertElementSize,
  assertSize,
  assertTypedArrayConstructor,
  DEFAULT_ALIGNMENT,
} from "./arguments.ts";
import { Attempts, reportAll } from "./attempts.ts";
import { InvalidFreeError } from "./errors.ts";
import type { GuardSettings } from "./guard_options.ts";
import { GuardedBlocks } from "./guarded_blocks.ts";
import type { GuardedBlock } from "./guarded_memory.ts";
import type { Address, PageSource } from "./page_source.ts";
import { ViewedAllocator } from "./viewed_allocator.ts";
import { reportViolation, throwAfterReport } from "./violations.ts";
import { WrapperMemory } from "./wrapper_memory.ts";

/** Every block guarded. The methods are those of {@link Allocator}. */
export class GuardCore extends ViewedAllocator implements Allocator {
  /** Where the memory comes from. */
  readonly source: PageSource;
  /** The blocks, live and freed. */
  readonly guarded: GuardedBlocks;
  readonly #memory: WrapperMemory;
  /** The alignment of a block when none is asked for, and the least that any has. */
  readonly #alignment: number;
  /** Frames of the stacks that are noted; 0 for none. */
  readonly #stackDepth: number;
  #disposed = false;

  /** Takes nothing from the source yet. */
  constructor(source: PageSource, settings: GuardSettings) {
    super();
    this.source = source;
    this.guarded = new GuardedBlocks(source, settings);
    this.#alignment = settings.precise ? 1 : DEFAULT_ALIGNMENT;
    this.#stackDepth = settings.stackDepth;
    const { guarded } = this;
    const inner = { view: (address: Address): Uint8Array<ArrayBuffer> => guarded.memory.bytes(guarded.at(address)!) };
    this.#memory = new WrapperMemory(this, inner, {
      name: "guard allocator",
      isDisposed: () => this.#disposed,
      find: (address) => {
        const block = guarded.at(address);
        return block && { ...infoOf(block), inner: address };
      },
      invalid: (address, action) => guarded.explain(address, action) ?? foreign(action, address),
    });
  }

  /** Two system calls. */
  allocate(size: number, alignment: number = this.#alignment): Address {
    assertSize(size);
    assertAlignment(alignment);
    this.#memory.assertNotDisposed("allocate");
    return this.#place(size, Math.max(alignment, this.#alignment));
  }

  /** As `allocate`: the memory is fresh, so it is zero. */
  allocateZeroed(size: number, alignment?: number): Address {
    return this.allocate(size, alignment);
  }

  resize(address: Address, size: number): boolean {
    const block = this.#liveToResize(address, size, "resize");
    this.#refuseDamaged(block, "resize");
    return this.guarded.resize(block, size + 0); // -0 is 0
  }

  reallocate(address: Address, size: number): Address {
    if (address === 0) return this.allocate(size);
    const block = this.#liveToResize(address, size, "reallocate");
    if (size === block.requestedSize && size > 0) return address;
    this.#refuseDamaged(block, "reallocate");
    const moved = size === 0 ? 0 : this.#place(size, block.alignment);
    try {
      this.guarded.memory.copy(address, moved, Math.min(size, block.requestedSize));
      this.guarded.free(block, this.#capture("freed"));
    } catch (error) {
      if (moved !== 0) this.guarded.free(this.guarded.at(moved)!);
      throw error;
    }
    return moved;
  }

  /** One system call, or two when the oldest freed block must go. */
  free(address: Address): void {
    if (this.#memory.liveToFree(address) === undefined) return;
    const block = this.guarded.at(address)!;
    const { memory } = this.guarded;
    const damage = memory.damage(block, "free");
    if (damage !== undefined) {
      memory.reported.note(block, damage);
      return reportViolation(damage);
    }
    if (this.#memory.ownedBlocks !== 0) this.#memory.revoke(address);
    this.guarded.free(block, this.#capture("freed"));
  }

  /** Whether `address` is in the pages of a block, live or freed, or in a guard page of it. Time in all blocks. */
  knows(address: Address): boolean {
    return this.guarded.explain(address, "find") !== undefined;
  }

  /** Aligned to its elements at least, also when blocks are placed precisely. */
  override array<T extends TypedArray>(type: TypedArrayConstructor<T>, length: number): T {
    assertTypedArrayConstructor(type);
    assertElementSize(type);
    return this.#memory.array(type, length, Math.max(this.#alignment, type.BYTES_PER_ELEMENT));
  }

  /** Whether a view is of a block of this allocator, live or freed. */
  covers(view: ArrayBufferView): boolean {
    return this.#memory.covers(view);
  }

  blocks(): IterableIterator<BlockInfo> {
    this.#memory.assertNotDisposed("walk the blocks");
    return this.#walk();
  }

  *#walk(): IterableIterator<BlockInfo> {
    for (const block of [...this.guarded.values()]) {
      if (this.guarded.at(block.address) === block) yield infoOf(block);
    }
  }

  stats(): AllocatorStats {
    this.#memory.assertNotDisposed("report");
    const { count, liveBytes, committedBytes, peakCommittedBytes, reservedBytes, memory } = this.guarded;
    return {
      liveBlocks: count,
      liveBytes,
      committedBytes,
      peakCommittedBytes,
      tableBytes: 0,
      reservedBytes,
      wrappedBytes: memory.wrappedBytes,
      regions: 0,
      limit: Infinity,
    };
  }

  check(): void {
    this.#memory.assertNotDisposed("check");
    reportAll(this.guarded.memory.reported.news(this.guarded.problems("check")));
  }

  /** Gives address space back, which holds no memory but for what the system would not take before: returns that. */
  trim(): number {
    this.#memory.assertNotDisposed("trim");
    return this.guarded.forgetFreed();
  }

  /** Gives everything back, and then reports what was found damaged and was not reported before. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    const damages = this.guarded.memory.reported.news(this.guarded.damages("dispose"));
    this.#disposed = true;
    const attempts = new Attempts();
    attempts.make(() => this.#memory.dispose());
    attempts.make(() => this.guarded.dispose());
    attempts.report(damages);
    attempts.end();
  }

  #place(size: number, alignment: number): Address {
    // The sum, as -0 is 0.
    return this.guarded.allocate(size + 0, alignment, this.#capture("allocated")).address;
  }

  #capture(what: string): Error | undefined {
    return captureStack(what, this.#stackDepth);
  }

  #liveToResize(address: Address, size: number, action: string): GuardedBlock {
    return this.guarded.at(this.#memory.liveToResize(address, size, action).address)!;
  }

  #refuseDamaged(block: GuardedBlock, action: string): void {
    const { memory } = this.guarded;
    const damage = memory.damage(block, action);
    if (damage === undefined) return memory.reported.forget(block);
    memory.reported.note(block, damage);
    throwAfterReport(damage);
  }
}

function infoOf({ address, requestedSize, alignment }: GuardedBlock): BlockInfo {
  return { address, requestedSize, usableSize: requestedSize, alignment };
}

function foreign(action: string, address: Address): InvalidFreeError {
  const detail = "this guard allocator has no block there and had none that it remembers";
  return new InvalidFreeError(action, address, "foreign", detail);
}
