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
 * whole (shared_rebuild.ts). That is also all that happens when the lock itself was the dead one's.
 *
 * What a terminated worker can take with it: the blocks that it had and told nobody of, which stay live; the double frees that
 * it had found and not yet reported; and 8 KiB of links for every time it dies between cutting a chunk of links and using it.
 * Nothing else.
 *
 * @module
 */
import { AllocatorError, OutOfMemoryError } from "./errors.ts";
import type { PageSource } from "./page_source.ts";
import { CAPACITY, CLASS, clearPageRecord, LINKS, NEXT, NO_PAGE, SHAPE, shapeOf } from "./page_table.ts";
import { biasOf, FREE_RUN, INFO_OWNED, LARGE_RUN, PAGE_RUN, PAGE_UNITS, type RunKind, UNIT } from "./run_record.ts";
import { assertAlive, type SharedHeapHandle } from "./shared_handle.ts";
import {
  ABANDONED,
  ABANDONED_END,
  attachmentAt,
  CHUNK,
  chunkLength,
  ESCAPED,
  LEAVING,
  LINK_END,
  LINK_TABLE,
  MAGIC,
  NEWS,
  OWNER,
  REGIONS,
} from "./shared_layout.ts";
import { SharedLock } from "./shared_lock.ts";
import { freePlace, isPlaceAbandoned, takenPlaces } from "./shared_places.ts";
import type { Scratch, SharedPlatform } from "./shared_platform.ts";
import { rebuildSpace } from "./shared_rebuild.ts";
import { SharedRegions } from "./shared_regions.ts";
import { collectLate } from "./shared_remote.ts";
import { collectUnowned, restorePage } from "./shared_restore.ts";
import { HELD_RUN, INFO_OWNER_SHIFT, SharedRuns } from "./shared_runs.ts";
import type { SharedTables } from "./shared_tables.ts";
import { CLASS_GRANULES, CLASS_SLOTS, PAGE_SIZE } from "./size_class.ts";

/** Large blocks from here on have their contents given back as soon as they are freed: 4 MiB, as `Heap` does. */
const DISCARD_UNITS = 1024;

/** From this many units on, what lies before an aligned region is not committed: a mebibyte. */
const GAP_LEAST = 256;

/** How many free runs `trim` holds at a time. */
const TRIM_BATCH = 64;

/** The shared space, as one attachment uses it. */
export class SharedSpace {
  /** The wraps of this worker. */
  readonly tables: SharedTables;
  /** The units; to be changed under the lock only. */
  readonly runs: SharedRuns;
  /** The regions; likewise. */
  readonly regions: SharedRegions;
  /** This attachment. */
  readonly number: number;
  /** Whether the run of the last `takeLarge` reads as zero. */
  isFresh = false;
  /** Granules of blocks that turned out to have been freed twice at the same moment; taken by who reports them. */
  readonly doubles: number[] = [];
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
    this.regions = new SharedRegions(tables, this.runs, source);
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
      if (!(error instanceof AllocatorError)) rebuildSpace(this.tables, this.runs, () => false);
      throw error;
    } finally {
      this.#lock.release();
    }
  }

  /** Under the lock: takes a run; -1 when none can be had. */
  #take(count: number, alignment: number, kind: RunKind, slack: number, info: number): number {
    const { runs, tables } = this;
    const alignmentUnits = Math.max(1, alignment / UNIT);
    const bias = biasOf(tables.base, alignmentUnits);
    let unit = runs.take(count, alignmentUnits, bias, kind, slack, info);
    if (unit === -1 && (this.reap() || this.sweep())) unit = runs.take(count, alignmentUnits, bias, kind, slack, info);
    if (unit === -1) {
      const before = -(tables.endUnit + bias) & (alignmentUnits - 1);
      if (
        before >= GAP_LEAST
          ? !this.regions.skip(before) || !this.regions.grow(count)
          : !this.regions.grow(before + count)
      ) return -1;
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
      const zeroed = this.regions.discard(unit, count) === count * UNIT;
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
        Atomics.store(pages, page + OWNER, this.number);
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
    let links = tables.pages[page + LINKS]!;
    let chunk = tables.pages[page + CHUNK]!;
    if (chunk < needed) {
      links = control[LINK_END]!;
      chunk = needed;
      try {
        tables.ensure(LINK_TABLE, (links + chunk) * 2);
      } catch (error) {
        this.#release(page);
        if (!(error instanceof OutOfMemoryError)) throw error;
        this.regions.failure = error;
        return false;
      }
      control[LINK_END] = links + chunk;
    }
    const { pages } = tables;
    const lastClass = pages[page + CLASS]!;
    clearPageRecord(pages, page);
    pages[page + LINKS] = links;
    pages[page + CHUNK] = chunk;
    pages[page + CLASS] = sizeClass;
    pages[page + CAPACITY] = CLASS_SLOTS[sizeClass]!;
    // Before the bits are collected: what comes after that must find whom to tell, and NEWS must stay then.
    Atomics.store(pages, page + OWNER, this.number);
    collectLate(tables, page, this.doubles, lastClass);
    pages[page + SHAPE] = shapeOf(CLASS_GRANULES[sizeClass]!);
    return true;
  }

  /** Makes pages without live slots, in no list, free runs. */
  releasePages(list: readonly number[]): void {
    if (list.length === 0) return;
    this.locked(() => {
      for (const page of list) this.#releasePage(page);
    });
  }

  #releasePage(page: number): void {
    const { pages } = this.tables;
    pages[page + SHAPE] = 0;
    if ((Atomics.exchange(pages, page + OWNER, 0) & NEWS) !== 0) collectLate(this.tables, page, this.doubles);
    this.#release(page);
  }

  /** Under the lock: clears up after all attachments whose threads have ended. False when there are none. */
  reap(): boolean {
    const { control } = this.tables;
    const gone = new Set<number>();
    for (const number of takenPlaces(control, this.number, true)) {
      if (isPlaceAbandoned(control, this.#platform, number)) gone.add(number);
    }
    if (gone.size === 0) return false;
    rebuildSpace(this.tables, this.runs, (number) => gone.has(number));
    for (const number of gone) this.vacate(number);
    return true;
  }

  /** How many attachments there are, after clearing up. */
  countAttachments(): number {
    return this.locked(() => {
      this.reap();
      return takenPlaces(this.tables.control, this.number, false).length + 1;
    });
  }

  /** Frees the place of an attachment that has nothing any more. */
  vacate(number: number): void {
    freePlace(this.tables.control, this.#platform, number);
  }

  /**
   * Hands everything of this attachment back and says whether it was the last, which ends the heap. Its place is to be freed
   * next. `escaped` says that somebody may still see memory that this attachment had wrapped.
   */
  leave(escaped: boolean): boolean {
    const { tables } = this;
    const { control } = tables;
    return this.locked(() => {
      this.reap();
      rebuildSpace(tables, this.runs, (number) => number === this.number);
      const isLast = takenPlaces(control, this.number, false).length === 0;
      // Nobody comes after the last one who could find them.
      if (isLast) collectUnowned(tables, this.doubles);
      // Not before the lock is let go of, which needs the number, and not after, as the next to leave must know.
      Atomics.store(control, attachmentAt(this.number) + LEAVING, 1);
      if (isLast) Atomics.store(control, MAGIC, 0);
      else if (escaped) control[ESCAPED] = 1;
      return isLast;
    });
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
        if (restorePage(tables, page, this.doubles) === 0) {
          this.#releasePage(page);
          found = true;
        } else {
          pages[page + NEXT] = kept;
          kept = page + 1;
        }
      }
      control[list] = kept;
    }
    collectUnowned(tables, this.doubles);
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
        const bytes = this.regions.discard(run.unit, run.count);
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
}
