/**
 * The pages of small blocks that one attachment of a shared heap owns.
 *
 * As in small_pages.ts a page is current, partial, full or idle, and STATE and the free list are changed by plain reads and
 * writes, as nobody else touches them. What is different:
 *
 * ```text
 *   the lists                in this worker's own memory: `current`, partial lists, idle pages
 *   frees by others          arrive in the page's bitmap, and are collected here when a page runs out of slots
 *   pages                    come from the shared space and go back to it, both under its lock
 * ```
 *
 * {@link SharedPages.current} has an entry for each size, as the table of a `Heap` has (`sizeEntry` in size_class.ts), so that the fast path
 * needs no size class.
 *
 * Cost: O(1), but for collecting (a word for each 32 pages of the heap, then a word for each 16 slots of a page with news)
 * and `check`.
 *
 * @module
 */
import {
  CAPACITY,
  CLASS,
  EXTENDED,
  FREE_MASK,
  FULL,
  GRANULES_MASK,
  LINKS,
  LIVE,
  NEXT,
  NO_PAGE,
  ONE_USED,
  OWNED,
  PREV,
  SHAPE,
  STATE,
} from "./page_table.ts";
import { ANNOUNCED, attachmentAt, COLLECTING, HELD, OWNER, OWNER_MASK, SIGNAL, SLOT_BITS } from "./shared_layout.ts";
import { checkSharedPages } from "./shared_page_check.ts";
import {
  acknowledgeNews,
  bitmapAt,
  countFreed,
  freeRemotely,
  granuleOf,
  isFreedRemotely,
  visitDirty,
} from "./shared_remote.ts";
import { restorePage } from "./shared_restore.ts";
import type { SharedSpace } from "./shared_space.ts";
import type { SharedTables } from "./shared_tables.ts";
import { CLASS_COUNT, FIRST_ENTRY, GRANULE, LAST_ENTRY, SIZE_ENTRIES } from "./size_class.ts";

/** Bytes of slots that join the free list at once: an OS page, so that memory is touched as late as possible. */
const EXTEND_BYTES = 4096;

/** Idle pages kept for the next class that needs one; half of them go back to the space when there are more. */
const IDLE_MAX = 16;

/** Free slots for which the first partial page is worth waiting for, as in small_pages.ts. */
const RICH = 8;

// V8 reads an imported constant from memory at each use, but folds one of this file.
const CAPACITY_AT = CAPACITY;
const CLASS_AT = CLASS;
const EXTENDED_AT = EXTENDED;
const FIRST_ENTRIES = FIRST_ENTRY;
const FREE_BITS = FREE_MASK;
const FULL_LESS = FULL;
const HELD_AT = HELD;
const LAST_ENTRIES = LAST_ENTRY;
const NEXT_AT = NEXT;
const NONE = NO_PAGE;
const ONE_MORE = ONE_USED;
const OWNER_AT = OWNER;
const OWNER_BITS = OWNER_MASK;
const PREV_AT = PREV;
const STATE_AT = STATE;

/** The pages of one attachment. */
export class SharedPages {
  /** The page that each size is allocated from, by `sizeEntry`. */
  readonly current: Int32Array = new Int32Array(SIZE_ENTRIES).fill(NO_PAGE);
  /** As {@link SharedSpace.doubles}. */
  readonly doubles: number[];
  readonly #space: SharedSpace;
  readonly #tables: SharedTables;
  readonly #number: number;
  readonly #partial = new Int32Array(CLASS_COUNT).fill(NO_PAGE);
  readonly #last = new Int32Array(CLASS_COUNT).fill(NO_PAGE);
  readonly #idle: number[] = [];
  /** Where others say that there is news. */
  readonly #signal: number;

  /** Starts with none. */
  constructor(space: SharedSpace) {
    this.#space = space;
    this.#tables = space.tables;
    this.#number = space.number;
    this.doubles = space.doubles;
    this.#signal = attachmentAt(space.number) + SIGNAL;
  }

  /** Makes the class's current page one with a free slot; false when none can be had. */
  refill(sizeClass: number): boolean {
    let page = this.current[LAST_ENTRY[sizeClass]!]!;
    let { pages } = this.#tables;
    if (page !== NO_PAGE) {
      if (pages[page + OWNER] !== this.#number) this.collect(page);
      if ((pages[page + STATE]! & FREE_MASK) !== 0) return true;
      if (pages[page + EXTENDED]! < pages[page + CAPACITY]!) {
        this.#extend(page);
        return true;
      }
      pages[page + HELD] = 0;
      pages[page + STATE] = pages[page + STATE]! - ONE_USED - FULL;
    }
    page = this.#partial[sizeClass]!;
    if (page === NO_PAGE) {
      this.#setCurrent(sizeClass, NO_PAGE);
      // Not sooner: as long as a page has news, bringing more costs the others a single atomic operation.
      this.collectNews();
      page = this.#partial[sizeClass]!;
    }
    if (page !== NO_PAGE) this.#removePartial(page);
    else {
      page = this.#takePage(sizeClass);
      if (page === NO_PAGE) return false;
      ({ pages } = this.#tables);
    }
    this.#setCurrent(sizeClass, page);
    pages[page + HELD] = 1;
    pages[page + STATE] = pages[page + STATE]! + ONE_USED;
    if (pages[page + OWNER] !== this.#number) this.collect(page);
    if ((pages[page + STATE]! & FREE_MASK) === 0) this.#extend(page);
    return true;
  }

  #setCurrent(sizeClass: number, page: number): void {
    const { current } = this;
    const to = LAST_ENTRIES[sizeClass]!;
    for (let at = FIRST_ENTRIES[sizeClass]!; at <= to; at++) current[at] = page;
  }

  /** Puts the next slots that were never used, an OS page's worth, into the empty free list. */
  #extend(page: number): void {
    const { pages, links } = this.#tables;
    const from = pages[page + EXTENDED]!;
    const count = Math.max(1, Math.floor(EXTEND_BYTES / ((pages[page + SHAPE]! & GRANULES_MASK) * GRANULE)));
    const to = Math.min(from + count, pages[page + CAPACITY]!);
    const base = pages[page + LINKS]!;
    for (let slot = from; slot < to - 1; slot++) links[base + slot] = slot + 2;
    links[base + to - 1] = 0;
    pages[page + EXTENDED] = to;
    pages[page + STATE] = pages[page + STATE]! + from + 1;
  }

  /** A page of the class with room for a block, in no list; `NO_PAGE` when none can be had. */
  #takePage(sizeClass: number): number {
    const tables = this.#tables;
    for (let at = this.#idle.length - 1; at >= 0; at--) {
      const page = this.#idle[at]!;
      if (tables.pages[page + CLASS] !== sizeClass) continue;
      this.#idle.splice(at, 1);
      return page;
    }
    if (this.#idle.length > 0) this.#space.releasePages([this.#idle.pop()!]);
    for (;;) {
      const { page, adopted } = this.#space.takePage(sizeClass);
      if (!adopted) return page;
      const live = restorePage(tables, page, this.doubles);
      if (live < tables.pages[page + CAPACITY]!) return page;
      tables.pages[page + STATE] = tables.pages[page + STATE]! - FULL;
    }
  }

  /** Frees a slot of a page, whoever owns that; false when the slot is not live, or a NativeBuffer owns the block. */
  freeAny(page: number, slot: number): boolean {
    const tables = this.#tables;
    const { pages, links } = tables;
    if ((pages[page + OWNER_AT]! & OWNER_BITS) !== this.#number) return freeRemotely(tables, page, slot);
    const link = links[pages[page + LINKS]! + slot]!;
    if (link < LIVE || link >= OWNED || isFreedRemotely(tables, page, slot)) return false;
    this.free(page, slot);
    return true;
  }

  /** Frees a live slot of a page of ours. */
  free(page: number, slot: number): void {
    const { pages, links } = this.#tables;
    const state = pages[page + STATE]!;
    const free = state & FREE_MASK;
    const after = state - ONE_USED - free + slot + 1;
    links[pages[page + LINKS]! + slot] = free;
    pages[page + STATE] = after;
    if (after < ONE_USED) this.settle(page);
  }

  /**
   * After a free of ours left STATE below one used slot: the page is in no use now, or full no longer. As `SmallPages.settle`, where it is
   * said why one that was full may become current at once, and why this is one long method. Pages with news wait: those are
   * for `refill` to collect.
   */
  settle(page: number): void {
    const { pages } = this.#tables;
    const sizeClass = pages[page + CLASS_AT]!;
    const state = pages[page + STATE_AT]!;
    if (state >= 0) {
      const next = pages[page + NEXT_AT]!;
      const prev = pages[page + PREV_AT]!;
      if (prev === NONE) this.#partial[sizeClass] = next;
      else pages[prev + NEXT_AT] = next;
      if (next === NONE) this.#last[sizeClass] = prev;
      else pages[next + PREV_AT] = prev;
      return this.#keep(page);
    }
    const { current } = this;
    const entry = LAST_ENTRIES[sizeClass]!;
    const before = current[entry]!;
    const spent = pages[before + STATE_AT]!;
    const isSpent = (spent & FREE_BITS) === 0 && pages[before + EXTENDED_AT] === pages[before + CAPACITY_AT];
    const number = this.#number;
    if (isSpent && pages[before + OWNER_AT] === number && pages[page + OWNER_AT] === number) {
      const first = this.#partial[sizeClass]!;
      if (first === NONE || pages[first + EXTENDED_AT]! - (pages[first + STATE_AT]! >>> 12) < RICH) {
        pages[before + HELD_AT] = 0;
        pages[before + STATE_AT] = spent - ONE_MORE - FULL_LESS;
        for (let at = FIRST_ENTRIES[sizeClass]!; at <= entry; at++) current[at] = page;
        pages[page + HELD_AT] = 1;
        pages[page + STATE_AT] = state + FULL_LESS + ONE_MORE;
        return;
      }
    }
    const ends = this.#last;
    const last = ends[sizeClass]!;
    pages[page + STATE_AT] = state + FULL_LESS;
    pages[page + NEXT_AT] = NONE;
    pages[page + PREV_AT] = last;
    if (last === NONE) this.#partial[sizeClass] = page;
    else pages[last + NEXT_AT] = page;
    ends[sizeClass] = page;
  }

  /** The same after frees that were collected: the page does not become current, as all of its slots can have come back at once. */
  #relist(page: number): void {
    const { pages } = this.#tables;
    const state = pages[page + STATE]!;
    if (state >= 0) return this.#retire(page);
    pages[page + STATE] = state + FULL;
    this.#insertPartial(page);
    if (state + FULL < ONE_USED) this.#retire(page);
  }

  #retire(page: number): void {
    this.#removePartial(page);
    this.#keep(page);
  }

  /** Keeps an empty page that is in no list for the next class that needs one. */
  #keep(page: number): void {
    this.#idle.push(page);
    if (this.#idle.length > IDLE_MAX) this.#space.releasePages(this.#idle.splice(0, IDLE_MAX / 2));
  }

  /** Collects what others have freed, if they say that there is something. */
  collectNews(): void {
    const { control } = this.#tables;
    const signal = this.#signal;
    if (Atomics.load(control, signal) === 0) return;
    Atomics.store(control, signal, 0);
    this.collectAll();
  }

  /** Collects what others have freed. */
  collectAll(): void {
    const tables = this.#tables;
    const { pages } = tables;
    visitDirty(tables, (page) => {
      if ((pages[page + OWNER]! & OWNER_MASK) === this.#number) this.collect(page);
    });
  }

  /**
   * Collects what others have freed of one page of ours. As collectPage in shared_remote.ts, which is for all other pages,
   * written out: half of the time that a block of another worker's takes is spent here.
   */
  collect(page: number): void {
    const tables = this.#tables;
    const { pages, links, remote } = tables;
    const base = pages[page + LINKS]!;
    const start = bitmapAt(page);
    const end = start + ((pages[page + CAPACITY]! + 15) >>> 4);
    acknowledgeNews(tables, page);
    pages[page + COLLECTING] = 1;
    let state = pages[page + STATE]!;
    for (let at = start; at < end; at++) {
      for (let seen = remote[at]!; seen !== 0;) {
        for (let bits = seen & SLOT_BITS; bits !== 0; bits &= bits - 1) {
          const slot = (at - start) * 16 + 31 - Math.clz32(bits & -bits);
          if (links[base + slot]! < LIVE) {
            this.doubles.push(granuleOf(page, slot, pages[page + CLASS]!));
            continue;
          }
          const free = state & FREE_MASK;
          links[base + slot] = free;
          state += slot + 1 - free - ONE_USED;
        }
        pages[page + STATE] = state;
        const clear = ~(seen | ANNOUNCED);
        seen = Atomics.and(remote, at, clear) & clear;
      }
    }
    pages[page + COLLECTING] = 0;
    if (state >= ONE_USED || this.#isListedAsIs(page)) return;
    this.#relist(page);
  }

  /** Whether a page whose STATE is below one used slot is where it belongs: full without a free slot, or idle. */
  #isListedAsIs(page: number): boolean {
    const state = this.#tables.pages[page + STATE]!;
    return state < 0 ? (state & FREE_MASK) === 0 : this.#idle.includes(page);
  }

  /** Gives the idle pages, and with `all` the empty current pages too, back to the space. */
  releaseIdle(all: boolean): void {
    const { pages } = this.#tables;
    const released = this.#idle.splice(0);
    for (let sizeClass = 0; all && sizeClass < CLASS_COUNT; sizeClass++) {
      const page = this.current[LAST_ENTRY[sizeClass]!]!;
      // Only the hold is left.
      if (page === NO_PAGE || pages[page + STATE]! >>> 12 !== 1) continue;
      this.#setCurrent(sizeClass, NO_PAGE);
      released.push(page);
    }
    this.#space.releasePages(released);
  }

  /** Puts a page at the end of its class's partial list: by the time it comes to the front it has more free slots. */
  #insertPartial(page: number): void {
    const { pages } = this.#tables;
    const ends = this.#last;
    const sizeClass = pages[page + CLASS]!;
    const last = ends[sizeClass]!;
    pages[page + NEXT] = NO_PAGE;
    pages[page + PREV] = last;
    if (last === NO_PAGE) this.#partial[sizeClass] = page;
    else pages[last + NEXT] = page;
    ends[sizeClass] = page;
  }

  #removePartial(page: number): void {
    const { pages } = this.#tables;
    const sizeClass = pages[page + CLASS]!;
    const next = pages[page + NEXT]!;
    const prev = pages[page + PREV]!;
    if (prev === NO_PAGE) this.#partial[sizeClass] = next;
    else pages[prev + NEXT] = next;
    if (next === NO_PAGE) this.#last[sizeClass] = prev;
    else pages[next + PREV] = prev;
  }

  /** The count of live slots of any page, whoever owns it; exact when nobody is changing it. */
  liveSlots(page: number): number {
    const tables = this.#tables;
    const { pages, links } = tables;
    if ((pages[page + OWNER]! & OWNER_MASK) !== 0) return this.usedSlots(page) - countFreed(tables, page);
    // STATE may be what a terminated worker left, and of what was freed it may have collected some and not yet cleared the bits.
    let live = 0;
    const base = pages[page + LINKS]!;
    for (let slot = 0; slot < pages[page + EXTENDED]!; slot++) {
      if (links[base + slot]! >= LIVE && !isFreedRemotely(tables, page, slot)) live++;
    }
    return live;
  }

  /** The same of a page that somebody owns, without looking at what others have freed meanwhile: exact for one of ours at any moment. */
  usedSlots(page: number): number {
    const { pages } = this.#tables;
    const state = pages[page + STATE]!;
    return state < 0 ? (state + FULL) >>> 12 : (state >>> 12) - pages[page + HELD]!;
  }

  /**
   * Verifies the pages, see {@link checkSharedPages}.
   *
   * @param list The first units of all pages of the heap.
   * @throws {CorruptionError} When two records disagree.
   */
  check(list: readonly number[]): void {
    checkSharedPages(this.#space, this, { partial: this.#partial, last: this.#last, idle: this.#idle }, list);
  }
}
