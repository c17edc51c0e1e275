/**
 * The address ranges of one heap, each with the pages of small blocks in it.
 *
 * ```text
 *   first               second                 ...            only when all before it are full
 *   ├── 32 GiB ──┤      ├── 32 GiB ──┤                        source that reserves for nothing (an operating system)
 *   ├ 1 MiB ┤           ├─ 2 MiB ─┤            ├─ 4 MiB ─┤    source where reserving is spending (a fixed buffer)
 *   │
 *   └ stays as long as the heap: its fast paths work on it
 * ```
 *
 * Less is taken where there is less: half of it, down to what the block at hand needs.
 *
 * Invariant: there is a first range, and every other one has a region, or is about to get one for the block that it was
 * reserved for.
 *
 * @module
 */
import { AddressRange, RANGE_MAX } from "./address_range.ts";
import { alignDown, alignUp } from "./arguments.ts";
import { giveAllBack } from "./attempts.ts";
import { OutOfMemoryError } from "./errors.ts";
import type { PageSource } from "./page_source.ts";
import type { RandomNumbers } from "./random_numbers.ts";
import { type Reservation, reserveRange } from "./region.ts";
import { UNIT } from "./run_record.ts";
import { SmallPages } from "./small_pages.ts";

/** Bytes of the first range over a source where reserving is spending; each further one doubles. */
const FIRST_BUDGET_RANGE = 2 ** 20;

/** The ranges of one heap. */
export class HeapRanges {
  /** In the order in which they were reserved. */
  readonly list: SmallPages[] = [];
  readonly #source: PageSource;
  readonly #random: RandomNumbers | undefined;
  /** Whether no range could be had the last time. */
  #refused = false;

  /**
   * Reserves the first range.
   *
   * @throws {OutOfMemoryError} When it cannot be had; nothing is held then.
   */
  constructor(source: PageSource, random: RandomNumbers | undefined) {
    this.#source = source;
    this.#random = random;
    this.#add(UNIT);
  }

  /**
   * Reserves another range when the last has no room left for `byteLength` more bytes; false when it has, or there is
   * none.
   */
  addIfFull(byteLength: number): boolean {
    const { range } = this.list.at(-1)!;
    if (range.byteLength - range.committedBytes >= byteLength) return false;
    try {
      if (this.#refused) this.#assertReservable(byteLength);
      this.#add(byteLength);
      this.#refused = false;
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      this.#refused = true;
    }
    return !this.#refused;
  }

  /** The search for a range throws at each step. Where it has failed before, one request tells whether to search again. */
  #assertReservable(byteLength: number): void {
    const source = this.#source;
    const least = alignUp(byteLength, Math.max(source.pageSize, UNIT));
    const { base } = reserveRange(source, least, least);
    source.unmap(base, least);
  }

  /** Reserves another range with its tables, as large as can be had but at least `least` bytes. */
  #add(least: number): void {
    const source = this.#source;
    let wanted = source.lazy ? RANGE_MAX : FIRST_BUDGET_RANGE * 2 ** this.list.length;
    for (;;) {
      const reservation = reserveRange(source, wanted, least);
      try {
        this.list.push(this.#make(reservation));
        return;
      } catch (error) {
        // The tables of a smaller range are smaller too.
        wanted = alignDown(reservation.byteLength / 2, Math.max(source.pageSize, UNIT));
        if (!(error instanceof OutOfMemoryError) || wanted < Math.max(least, source.pageSize)) throw error;
      }
    }
  }

  #make(reservation: Reservation): SmallPages {
    const range = new AddressRange(this.#source, reservation);
    try {
      return new SmallPages(this.#source, range, this.#random);
    } catch (error) {
      try {
        giveAllBack((attempt) => range.dispose(attempt));
      } catch {
        // The failure that brought us here is the one to report.
      }
      throw error;
    }
  }

  /**
   * Leaves the first `count` ranges. One that was reserved for a block, and then could not be committed, is not kept. (A
   * region always is used: where a page or its links cannot be had, a run of it serves.)
   */
  drop(count: number): void {
    giveAllBack((attempt) => {
      while (this.list.length > count) disposeRange(this.list.pop()!, attempt);
    });
  }

  /** Gives the last ranges back as long as they are without a region; the first stays. */
  dropEmpty(): void {
    while (this.list.length > 1 && this.list.at(-1)!.range.endUnit === 0) this.drop(this.list.length - 1);
  }

  /** Detaches every region. */
  unwrapAll(): void {
    for (const { range } of this.list) range.unwrapAll();
  }

  /** Gives everything back, one `attempt` each. */
  dispose(attempt: (giveBack: () => void) => void): void {
    for (const pages of this.list) disposeRange(pages, attempt);
    this.list.length = 0;
  }
}

function disposeRange(pages: SmallPages, attempt: (giveBack: () => void) => void): void {
  pages.range.unwrapAll();
  attempt(() => pages.dispose());
  pages.range.dispose(attempt);
}
