/**
 * A small allocator that threads share under locks: what a shared heap is measured against. One class for two designs,
 * one lock around everything or one lock for each size class; apart from that they do the same.
 *
 * ```text
 *   SharedArrayBuffer, as 32-bit words
 *   word  0        64        128        192                    64 + pages...
 *         │ locks  │ heads   │ cursor   │ pageClass[page]      │ links[granule]        │
 *         └────────┴─────────┴──────────┴──────────────────────┴───────────────────────┘
 *   locks      0 free, 1 held, 2 held and somebody sleeps; one for each class, or the first for all
 *   heads      by class: the first free granule, plus one; 0 when the list is empty
 *   cursor     the next page that nobody has; advanced atomically
 *   links      of a slot's first granule: the next free one plus one, or LIVE
 * ```
 *
 * Pages of 64 KiB hold slots of one size class, as in `Heap`; free lists are out of line, so double and foreign frees are
 * found here too. The blocks themselves would be a mapping beside it: nobody writes to them here, so there is none, and
 * addresses are counted from {@link BASE}. Everything of a class is read and written under its lock only.
 *
 * @module
 */
import {
  CLASS_COUNT,
  CLASS_GRANULES,
  CLASS_OF,
  CLASS_SLOTS,
  GRANULE,
  PAGE_GRANULES,
  SMALL_MAX,
} from "../../src/size_class.ts";

/** Which lock a size class is under. */
export type Locking = "one lock" | "class locks";

/** The address of the first granule, so that 0 is no block. */
const BASE = 2 ** 32;
const LOCKS = 0;
const HEADS = 64;
const CURSOR = 128;
const PAGE_CLASS = 192;
/** In `links`: the slot is live. A slot that was never handed out has 0 or a successor, so this is neither. */
const LIVE = -1;
/** How often a lock is tried before the thread goes to sleep. */
const SPINS = 64;

/** Makes the words that the threads share, for so many pages of blocks. */
export function makeLockedMemory(pages: number): SharedArrayBuffer {
  return new SharedArrayBuffer(4 * (PAGE_CLASS + pages + pages * PAGE_GRANULES));
}

/** One thread's view of a heap under locks. */
export class LockedHeap {
  readonly #words: Int32Array;
  readonly #links: Int32Array;
  readonly #pages: number;
  /** Multiplied with a class to get its lock: 0 when there is one for all. */
  readonly #lockStep: number;

  /** Opens what {@link makeLockedMemory} made. */
  constructor(memory: SharedArrayBuffer, locking: Locking) {
    this.#words = new Int32Array(memory);
    this.#pages = (this.#words.length - PAGE_CLASS) / (PAGE_GRANULES + 1);
    this.#links = this.#words.subarray(PAGE_CLASS + this.#pages);
    this.#lockStep = locking === "class locks" ? 1 : 0;
  }

  /** Gets a block of up to 16 KiB. */
  allocate(size: number): number {
    if (!(size >= 0 && size <= SMALL_MAX)) throw new RangeError(`Cannot allocate ${size} bytes: 16 KiB is the most`);
    const sizeClass = CLASS_OF[(size + GRANULE - 1) >>> 4]!;
    this.#lock(sizeClass);
    let granule = this.#words[HEADS + sizeClass]! - 1;
    if (granule < 0) granule = this.#addPage(sizeClass);
    if (granule >= 0) {
      this.#words[HEADS + sizeClass] = this.#links[granule]!;
      this.#links[granule] = LIVE;
    }
    this.#unlock(sizeClass);
    if (granule < 0) throw new Error(`Cannot allocate ${size} bytes: all ${this.#pages} pages are in use`);
    return BASE + granule * GRANULE;
  }

  /** Frees a block, whichever thread it is from. */
  free(address: number): void {
    const granule = (address - BASE) / GRANULE;
    const sizeClass = (this.#words[PAGE_CLASS + Math.floor(granule / PAGE_GRANULES)] ?? 0) - 1;
    if (sizeClass < 0) throw new RangeError(`Cannot free ${address}: there is no block`);
    this.#lock(sizeClass);
    const live = this.#links[granule] === LIVE;
    if (live) {
      this.#links[granule] = this.#words[HEADS + sizeClass]!;
      this.#words[HEADS + sizeClass] = granule + 1;
    }
    this.#unlock(sizeClass);
    if (!live) throw new RangeError(`Cannot free ${address}: it is not the start of a live block`);
  }

  /** Cuts the next page into slots, under the class's lock. Returns the first of them, or -1. */
  #addPage(sizeClass: number): number {
    const page = Atomics.add(this.#words, CURSOR, 1);
    if (page >= this.#pages) return -1;
    // Stored atomically: threads read it before they have the lock.
    Atomics.store(this.#words, PAGE_CLASS + page, sizeClass + 1);
    const first = page * PAGE_GRANULES;
    const step = CLASS_GRANULES[sizeClass]!;
    const slots = CLASS_SLOTS[sizeClass]!;
    for (let slot = 0; slot < slots; slot++) {
      this.#links[first + slot * step] = slot + 1 < slots ? first + (slot + 1) * step + 1 : 0;
    }
    return first;
  }

  #lock(sizeClass: number): void {
    const lock = LOCKS + sizeClass * this.#lockStep;
    if (Atomics.compareExchange(this.#words, lock, 0, 1) === 0) return;
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.load(this.#words, lock) === 0 && Atomics.compareExchange(this.#words, lock, 0, 1) === 0) return;
    }
    while (Atomics.exchange(this.#words, lock, 2) !== 0) Atomics.wait(this.#words, lock, 2);
  }

  #unlock(sizeClass: number): void {
    const lock = LOCKS + sizeClass * this.#lockStep;
    if (Atomics.exchange(this.#words, lock, 0) === 2) Atomics.notify(this.#words, lock, 1);
  }
}

// Locks and heads have 64 words each.
if (CLASS_COUNT > HEADS - LOCKS) throw new Error("More size classes than words for their locks");
