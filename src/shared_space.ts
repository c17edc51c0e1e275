/**
 * What the attachments of a shared heap do under its lock: growing, giving out runs and pages, and clearing up after each
 * other.
 *
 * The life of a page:
 *
 * ```text
 *                takePage                     owner detaches, or its thread ends
 *    free run ─────────────▶ owned ────────────────────────────────────────────▶ abandoned
 *        ▲                    │  ▲                                                │   │
 *        └────────────────────┘  └────────────────────────────────────────────────┘   │
 *         releasePage: no live slot     takePage of the same class: adopted           │
 *        ▲                                                                            │
 *        └────────────────────────────────────────────────────────────────────────────┘
 *                       sweep: no live slot, before the heap grows, and in trim
 * ```
 *
 * An owner changes its pages without the lock. Whoever finds that a thread has ended goes through all runs once
 * ({@link SharedSpace.reap}): pages of the dead are abandoned, runs that they held are free, what they left half done is made
 * whole. That is also all that happens when the lock itself was the dead one's.
 *
 * What a terminated worker can take with it: the blocks that it had and told nobody of, which stay live; and 8 KiB of links
 * for every time it dies between cutting a chunk of links and using it. Nothing else.
 *
 * @module
 */
import { alignDown, alignUp } from "./arguments.ts";
import { AllocatorError, OutOfMemoryError } from "./errors.ts";
import type { PageSource } from "./page_source.ts";
import {
  CAPACITY,
  CLASS,
  clearPageRecord,
  LINKS,
  NEXT,
  NO_PAGE,
  pageTableBytes,
  SHAPE,
  shapeOf,
} from "./page_table.ts";
import { FREE_RUN, INFO_OWNED, LARGE_RUN, PAGE_RUN, PAGE_UNITS, type RunKind, UNIT, UNIT_RECORD } from "./runs.ts";
import {
  ABANDONED,
  ABANDONED_END,
  ATTACHMENT_MAX,
  attachmentAt,
  CHUNK,
  chunkLength,
  END_UNIT,
  ESCAPED,
  GAP_UNITS,
  LINK_END,
  LINK_TABLE,
  MAGIC,
  NEWS,
  OWNER,
  PAGE_TABLE,
  REGION_COUNT,
  REGION_COUNT_MAX,
  REGIONS,
  REMOTE_TABLE,
  remoteTableBytes,
  SIGNAL,
  THREAD,
  UNIT_TABLE,
} from "./shared_layout.ts";
import { assertAlive, type SharedHeapHandle } from "./shared_handle.ts";
import { SharedLock } from "./shared_lock.ts";
import { restorePage } from "./shared_restore.ts";
import type { Scratch, SharedPlatform } from "./shared_platform.ts";
import { clearBitmap, countFreed, raiseNews } from "./shared_remote.ts";
import { HELD_RUN, SharedRuns } from "./shared_runs.ts";
import type { SharedTables } from "./shared_tables.ts";
import { CLASS_GRANULES, CLASS_SLOTS, PAGE_SIZE } from "./size_class.ts";

/** Bytes of the first region; each further one is as long as all before it. */
const FIRST_REGION = 2 ** 20;

/** The most bytes of a region that no single block asks for. */
const REGION_MAX = 2 ** 32;

/** Large blocks from here on have their contents given back as soon as they are freed: 4 MiB, as `Heap` does. */
const DISCARD_UNITS = 1024;

/** From this many units on, what lies before an aligned region is not committed: a mebibyte. */
const GAP_LEAST = 256;

/** How many free runs `trim` holds at a time. */
const TRIM_BATCH = 64;

/** In INFO of a large block: the attachment whose NativeBuffer owns it, from this bit on. In that of a held run, all of it. */
const INFO_OWNER_SHIFT = 8;

/** The shared space, as one attachment uses it. */
export class SharedSpace {
  /** The wraps of this worker. */
  readonly tables: SharedTables;
  /** The units; to be changed under the lock only. */
  readonly runs: SharedRuns;
  /** This attachment. */
  readonly number: number;
  /** Whether the run of the last `takeLarge` reads as zero. */
  isFresh = false;
  /** Why memory could last not be had. */
  failure: OutOfMemoryError | undefined;
  readonly #source: PageSource;
  readonly #platform: SharedPlatform;
  readonly #handle: SharedHeapHandle;
  readonly #lock: SharedLock;

  /** For the attachment `number` of the heap whose control block is wrapped in `tables`. */
  constructor(
    tables: SharedTables,
    source: PageSource,
    platform: SharedPlatform,
    number: number,
    handle: SharedHeapHandle,
    scratch: Scratch,
  ) {
    this.tables = tables;
    this.number = number;
    this.runs = new SharedRuns(tables);
    this.#source = source;
    this.#platform = platform;
    this.#handle = handle;
    this.#lock = new SharedLock(tables.control, handle.address, platform, number, scratch);
  }

  /**
   * Runs `section` under the lock, with the wraps of this worker up to date.
   *
   * @throws {DisposedError} When the heap ended while this attachment was being made.
   */
  locked<T>(section: () => T): T {
    const wasTaken = this.#lock.acquire();
    try {
      assertAlive(this.tables.control, this.#handle);
      this.tables.refresh();
      if (wasTaken) this.reap();
      return section();
    } catch (error) {
      // Our own errors are thrown where all is whole. Anything else (a stack overflow) can have come at any place.
      if (!(error instanceof AllocatorError)) this.#rebuild(() => false);
      throw error;
    } finally {
      this.#lock.release();
    }
  }

  /** Under the lock: takes a run; -1 when none can be had. */
  #take(count: number, alignment: number, kind: RunKind, slack: number, info: number): number {
    const { runs, tables } = this;
    const alignmentUnits = Math.max(1, alignment / UNIT);
    const bias = (tables.base / UNIT) % alignmentUnits;
    let unit = runs.take(count, alignmentUnits, bias, kind, slack, info);
    if (unit === -1 && (this.reap() || this.sweep())) unit = runs.take(count, alignmentUnits, bias, kind, slack, info);
    if (unit === -1) {
      const before = -(tables.endUnit + bias) & (alignmentUnits - 1);
      if (before >= GAP_LEAST ? !this.#skip(before) || !this.#grow(count) : !this.#grow(before + count)) return -1;
      unit = runs.take(count, alignmentUnits, bias, kind, slack, info);
      if (unit === -1) return -1;
    }
    const frontier = REGIONS + tables.regionIndex(unit) * 2 + 1;
    if (tables.control[frontier]! < unit + count) tables.control[frontier] = unit + count;
    return unit;
  }

  /** Takes a run for a large block; -1 when none can be had. */
  takeLarge(count: number, alignment: number, slack: number, info: number): number {
    return this.locked(() => {
      const unit = this.#take(count, alignment, LARGE_RUN, slack, info);
      this.isFresh = this.runs.isFresh;
      return unit;
    });
  }

  /** Frees the large block at `unit`, which no NativeBuffer owns; false when there is none. */
  freeLarge(unit: number): boolean {
    const { runs } = this;
    const count = this.locked(() => {
      const units = runs.largeAt(unit);
      if (units === 0 || (runs.info(unit) & INFO_OWNED) !== 0) return 0;
      if (units < DISCARD_UNITS || !this.#platform.discardsAtOnce) this.#release(unit);
      else runs.setKind(unit, HELD_RUN, this.number);
      return units;
    });
    if (count >= DISCARD_UNITS && this.#platform.discardsAtOnce) {
      const zeroed = this.#discard(unit, count) === count * UNIT;
      this.locked(() => this.#release(unit, zeroed));
    }
    return count > 0;
  }

  #release(unit: number, zeroed = false): void {
    const { runs, tables } = this;
    const index = tables.regionIndex(unit);
    runs.release(unit, tables.regionStart(index), tables.regionEnd(index), zeroed);
  }

  /** Grows or shrinks the large block at `unit` in place, which then has `slack`; false when that cannot be done. */
  resizeLarge(unit: number, count: number, slack: number): boolean {
    const { runs, tables } = this;
    return this.locked(() => {
      const index = tables.regionIndex(unit);
      if (runs.largeAt(unit) === 0) return false;
      if (!runs.resize(unit, count, tables.regionStart(index), tables.regionEnd(index))) return false;
      runs.describe(unit, slack, runs.info(unit));
      const frontier = REGIONS + index * 2 + 1;
      if (tables.control[frontier]! < unit + count) tables.control[frontier] = unit + count;
      return true;
    });
  }

  /** Marks the large block at `unit` as owned by a NativeBuffer of this attachment, or by none. */
  setLargeOwned(unit: number, owned: boolean): void {
    const { runs } = this;
    this.locked(() => {
      const info = runs.info(unit) & (INFO_OWNED - 1);
      runs.describe(unit, runs.slack(unit), owned ? info | INFO_OWNED | (this.number << INFO_OWNER_SHIFT) : info);
    });
  }

  /**
   * A page of the class for this attachment: adopted, or new and without links in its list; `NO_PAGE` when none can be had.
   * One that is adopted must be restored first.
   */
  takePage(sizeClass: number): { page: number; adopted: boolean } {
    return this.locked(() => {
      const { control, pages } = this.tables;
      const abandoned = control[ABANDONED + sizeClass]!;
      if (abandoned !== 0) {
        const page = abandoned - 1;
        pages[page + OWNER] = this.number;
        control[ABANDONED + sizeClass] = pages[page + NEXT]!;
        return { page, adopted: true };
      }
      const page = this.#take(PAGE_UNITS, PAGE_SIZE, PAGE_RUN, 0, 0);
      if (page === -1) return { page: NO_PAGE, adopted: false };
      return { page: this.#describePage(page, sizeClass) ? page : NO_PAGE, adopted: false };
    });
  }

  /** Makes a run that nobody has seen a page of the class. SHAPE comes last: without, a page run is a free one. */
  #describePage(page: number, sizeClass: number): boolean {
    const { tables } = this;
    const { control } = tables;
    const needed = chunkLength(CLASS_SLOTS[sizeClass]!);
    let pages = tables.pages;
    let links = pages[page + LINKS]!;
    let chunk = pages[page + CHUNK]!;
    if (chunk < needed) {
      links = control[LINK_END]!;
      chunk = needed;
      try {
        tables.ensure(LINK_TABLE, (links + chunk) * 2);
      } catch (error) {
        this.#release(page);
        if (!(error instanceof OutOfMemoryError)) throw error;
        this.failure = error;
        return false;
      }
      control[LINK_END] = links + chunk;
    }
    pages = tables.pages;
    clearPageRecord(pages, page);
    pages[page + LINKS] = links;
    pages[page + CHUNK] = chunk;
    pages[page + CLASS] = sizeClass;
    pages[page + CAPACITY] = CLASS_SLOTS[sizeClass]!;
    clearBitmap(tables, page);
    pages[page + OWNER] = this.number;
    pages[page + SHAPE] = shapeOf(CLASS_GRANULES[sizeClass]!);
    return true;
  }

  /** Makes a page without live slots, in no list, a free run. */
  releasePages(list: readonly number[]): void {
    if (list.length === 0) return;
    this.locked(() => {
      for (const page of list) this.#releasePage(page);
    });
  }

  #releasePage(page: number): void {
    const { pages } = this.tables;
    pages[page + SHAPE] = 0;
    pages[page + OWNER] = 0;
    this.#release(page);
  }

  /** Under the lock: adds a region with room for `count` units. */
  #grow(count: number): boolean {
    const { tables } = this;
    const source = this.#source;
    const step = Math.max(source.pageSize, UNIT);
    const committed = (tables.endUnit - tables.control[GAP_UNITS]!) * UNIT;
    const left = (tables.unitsReserved - tables.endUnit) * UNIT;
    const needed = alignUp(count * UNIT, step);
    const wanted = alignUp(Math.max(needed, Math.min(FIRST_REGION + committed, REGION_MAX)), PAGE_SIZE);
    let length = Math.min(wanted, left, source.maxWrapBytes);
    while (length >= needed && tables.regionCount < REGION_COUNT_MAX) {
      try {
        this.#addRegion(length);
        return true;
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        this.failure = error;
        if (length === needed) return false;
      }
      length = Math.max(needed, alignDown(length / 2, step));
    }
    const most = Math.min(left, source.maxWrapBytes);
    this.failure ??= new OutOfMemoryError(`${needed} more bytes are needed, and ${most} can be had`, needed, most);
    return false;
  }

  #addRegion(length: number): void {
    const { tables, runs } = this;
    const from = tables.endUnit;
    const to = from + length / UNIT;
    this.#ensureRecords(to);
    this.#source.commit(tables.base + from * UNIT, length);
    runs.prepare(from, to);
    this.#announceRegion(from, to);
    runs.add(from);
  }

  /** Under the lock: adds a gap of `count` units before the next region. */
  #skip(count: number): boolean {
    const { tables, runs } = this;
    const from = tables.endUnit;
    const to = from + count;
    if (to >= tables.unitsReserved || tables.regionCount >= REGION_COUNT_MAX) return false;
    try {
      this.#ensureRecords(to);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.failure = error;
      return false;
    }
    runs.prepareGap(from, to);
    tables.control[GAP_UNITS] = tables.control[GAP_UNITS]! + count;
    this.#announceRegion(from, to);
    return true;
  }

  #ensureRecords(end: number): void {
    const { tables } = this;
    tables.ensure(UNIT_TABLE, end * UNIT_RECORD);
    tables.ensure(PAGE_TABLE, pageTableBytes(end));
    tables.ensure(REMOTE_TABLE, remoteTableBytes(end));
  }

  /** Lets the others know of the region that is ready: REGION_COUNT is the commit point. */
  #announceRegion(from: number, to: number): void {
    const { tables } = this;
    const { control } = tables;
    const index = control[REGION_COUNT]!;
    control[REGIONS + index * 2] = to;
    control[REGIONS + index * 2 + 1] = from;
    control[REGION_COUNT] = index + 1;
    Atomics.store(control, END_UNIT, to);
    tables.endUnit = to;
  }

  /** Under the lock: clears up after all attachments whose threads have ended. False when there are none. */
  reap(): boolean {
    const { control } = this.tables;
    const gone = new Set<number>();
    for (let number = 1; number <= ATTACHMENT_MAX; number++) {
      const thread = Atomics.load(control, attachmentAt(number) + THREAD);
      if (thread !== 0 && number !== this.number && this.#platform.isThreadGone(thread)) gone.add(number);
    }
    if (gone.size === 0) return false;
    this.#rebuild((number) => gone.has(number));
    for (const number of gone) this.freePlace(number);
    return true;
  }

  /** How many places are taken, after clearing up. */
  countAttachments(): number {
    const { control } = this.tables;
    return this.locked(() => {
      this.reap();
      let count = 0;
      for (let number = 1; number <= ATTACHMENT_MAX; number++) {
        if (Atomics.load(control, attachmentAt(number) + THREAD) !== 0) count++;
      }
      return count;
    });
  }

  /** Frees the place of an attachment that has nothing any more. */
  freePlace(number: number): void {
    const at = attachmentAt(number);
    const { control } = this.tables;
    const thread = Atomics.load(control, at + THREAD);
    Atomics.store(control, at + SIGNAL, 0);
    Atomics.store(control, at + THREAD, 0);
    this.#platform.releaseThread(thread);
  }

  /**
   * Hands everything of this attachment back and says whether it was the last, which ends the heap. Its place is to be
   * freed next.
   *
   * @param escaped Whether somebody may still see memory that this attachment had wrapped.
   */
  leave(escaped: boolean): boolean {
    const { control } = this.tables;
    return this.locked(() => {
      this.reap();
      this.#rebuild((number) => number === this.number);
      for (let number = 1; number <= ATTACHMENT_MAX; number++) {
        if (number === this.number || Atomics.load(control, attachmentAt(number) + THREAD) === 0) continue;
        if (escaped) control[ESCAPED] = 1;
        return false;
      }
      Atomics.store(control, MAGIC, 0);
      return true;
    });
  }

  /** Under the lock: makes everything derived anew, and abandons what belongs to the attachments that are `gone`. */
  #rebuild(gone: (number: number) => boolean): void {
    const { tables, runs } = this;
    const { control } = tables;
    runs.clear();
    control.fill(0, ABANDONED, ABANDONED_END);
    const count = control[REGION_COUNT]!;
    for (let index = 0; index < count; index++) {
      runs.rebuild(tables.regionStart(index), tables.regionEnd(index), (unit, kind) => this.#keep(unit, kind, gone));
    }
    // A region can have been added, and this not been said.
    if (count > 0) Atomics.store(control, END_UNIT, tables.regionEnd(count - 1));
  }

  /** Whether a used run stays, once the attachments that are `gone` have nothing any more. */
  #keep(unit: number, kind: RunKind, gone: (number: number) => boolean): boolean {
    const { tables, runs } = this;
    const info = runs.info(unit);
    if (kind as number === HELD_RUN) return !gone(info);
    if (kind === LARGE_RUN) {
      if ((info & INFO_OWNED) !== 0 && gone(info >>> INFO_OWNER_SHIFT)) {
        runs.describe(unit, runs.slack(unit), info & (INFO_OWNED - 1));
      }
      return true;
    }
    const { control, pages } = tables;
    if (pages[unit + SHAPE] === 0) {
      pages[unit + OWNER] = 0;
      return false;
    }
    const owner = pages[unit + OWNER]!;
    if (owner === 0 || gone(owner)) {
      const list = ABANDONED + pages[unit + CLASS]!;
      pages[unit + OWNER] = 0;
      pages[unit + NEXT] = control[list]!;
      control[list] = unit + 1;
    }
    // The owner can have died while it took the news, or who brought them while it announced them.
    if (pages[unit + OWNER] === 0) Atomics.store(pages, unit + NEWS, 0);
    if (countFreed(tables, unit) > 0) raiseNews(tables, unit);
    return true;
  }

  /** Under the lock: makes abandoned pages without live slots free runs. False when there are none. */
  sweep(): boolean {
    const { tables } = this;
    const { control, pages } = tables;
    let found = false;
    for (let list = ABANDONED; list < ABANDONED_END; list++) {
      let kept = 0;
      for (let next = control[list]!; next !== 0;) {
        const page = next - 1;
        next = pages[page + NEXT]!;
        if (restorePage(tables, page) === 0) {
          this.#releasePage(page);
          found = true;
        } else {
          pages[page + NEXT] = kept;
          kept = page + 1;
        }
      }
      control[list] = kept;
    }
    return found;
  }

  /** Clears up after attachments whose threads have ended, and restores all abandoned pages. */
  clearUp(): void {
    this.locked(() => {
      this.reap();
      this.sweep();
    });
  }

  /** Gives the contents of all free runs back; the bytes. */
  trim(): number {
    this.clearUp();
    if (!this.#platform.discardsAtOnce) return 0;
    let given = 0;
    for (let from = 0, batch = this.#hold(from); batch.length > 0; batch = this.#hold(from)) {
      for (const run of batch) {
        const bytes = this.#discard(run.unit, run.count);
        run.zeroed = bytes === run.count * UNIT;
        given += bytes;
        from = run.unit + run.count;
      }
      this.locked(() => {
        for (const { unit, zeroed } of batch) this.#release(unit, zeroed);
      });
    }
    return given;
  }

  /** Holds some free runs that begin at `from` or above and do not read as zero. */
  #hold(from: number): { unit: number; count: number; zeroed: boolean }[] {
    const { tables, runs } = this;
    const batch: { unit: number; count: number; zeroed: boolean }[] = [];
    this.locked(() => {
      const first = from < tables.endUnit ? tables.regionStart(tables.regionIndex(from)) : from;
      for (let unit = first; unit < tables.endUnit && batch.length < TRIM_BATCH;) {
        const count = runs.lengthAt(unit);
        if (unit >= from && runs.kindAt(unit) === FREE_RUN && !runs.isZeroed(unit)) {
          runs.hold(unit, this.number);
          batch.push({ unit, count, zeroed: false });
        }
        unit += count;
      }
    });
    return batch;
  }

  /** Gives the contents of a run that is ours back, without the lock; the bytes. */
  #discard(unit: number, count: number): number {
    const step = Math.max(this.#source.pageSize, UNIT) / UNIT;
    const from = alignUp(unit, step);
    const to = alignDown(unit + count, step);
    if (to <= from) return 0;
    try {
      this.#source.discard(this.tables.base + from * UNIT, (to - from) * UNIT);
    } catch (error) {
      // The run is free all the same.
      if (!(error instanceof AllocatorError)) throw error;
      return 0;
    }
    return (to - from) * UNIT;
  }
}
