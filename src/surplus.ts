/**
 * When free memory that was used goes back to the operating system, and when it is kept.
 *
 * Giving memory back costs a system call and, when it is needed again, a page fault and a cleared OS page for each 4 KiB:
 * a program that allocates, writes and frees the same amount over and over is several times slower if its memory is
 * given back each time. A program that is past its peak wants it given back.
 *
 * ```text
 *   dirty  ▲                        ╭─ above both: all of it is given back
 *          │               ╭────────┤
 *   kept   ├╌╌╌╌╌╌╌╌╌╌╌╌╌╌╱╌╌╌╌╌╌╌╌╌│╌╌╌╌ doubles, up to what was given back, when half of that was needed again;
 *          │      ╭──────╯          │     halves when half of it lay idle while 16 times as much came and went
 *          └──────┴─────────────────┴──▶
 * ```
 *
 * So the first time that a program frees much, it goes back; when it needed that again it is kept, up to 256 MiB; and
 * when the program does something smaller, it goes back after all. Dirty is what runs.ts counts as written, less what could
 * not go back the last time. All counts are of units (4 KiB).
 *
 * @module
 */

/** What is kept at least: 32 MiB. */
const KEPT_MIN = 8192;

/** What is kept at the most: 256 MiB. */
const KEPT_MAX = 65536;

/** Units that come and go, in multiples of what is kept, before it is seen whether that was too much. */
const WINDOW = 16;

/** Decides for one range. */
export class Surplus {
  /** What may lie free and written whatever is in use. */
  #kept = KEPT_MIN;
  /** Units of free memory that stayed written the last time: runs too short to go back, or the system refused. */
  #left = 0;
  /** Units given back since it was last learned what to keep. */
  #given = 0;
  /** How many of these were needed again. */
  #missed = 0;
  /** Units taken in this window. */
  #taken = 0;
  /** The least that was dirty in this window: it was not needed. */
  #idle = 0;

  /** Notes that so many units were taken, `fresh` of them without contents, and how many free ones are still written. */
  taken(units: number, fresh: number, written: number): void {
    const dirty = this.#dirtyOf(written);
    this.#missed = Math.min(this.#given, this.#missed + fresh);
    this.#taken += units;
    this.#idle = Math.min(this.#idle, dirty);
    if (this.#taken < this.#kept * WINDOW) return;
    if (this.#idle > this.#kept / 2) this.#kept = Math.max(KEPT_MIN, this.#kept / 2);
    this.#taken = 0;
    this.#idle = dirty;
  }

  /**
   * Whether the free units that are written, so many, are more than is worth keeping beside `used` units in use; learns
   * from what was given back before.
   */
  isExcessive(used: number, written: number): boolean {
    const dirty = this.#dirtyOf(written);
    if (dirty <= this.#kept || dirty <= used / 2) return false;
    if (this.#missed <= this.#given / 2 || this.#kept === KEPT_MAX) return true;
    do this.#kept *= 2; while (this.#kept < this.#given && this.#kept < KEPT_MAX);
    this.#given = 0;
    this.#missed = 0;
    return dirty > this.#kept;
  }

  /** Notes that memory was given back: how many free units were written before, and how many of `free` are now. */
  discarded(before: number, after: number, free: number): void {
    // Some was given back for the second time, when runs were merged in between: but never more than is not written.
    this.#given = Math.min(this.#given + before - after, free - after);
    this.#left = after;
    this.#idle = 0;
  }

  /** What can go back, of so much that is written. */
  #dirtyOf(written: number): number {
    if (written < this.#left) this.#left = written;
    return written - this.#left;
  }
}
