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
 *   kept   ├╌╌╌╌╌╌╌╌╌╌╌╌╌╌╱╌╌╌╌╌╌╌╌╌│╌╌╌╌ doubles when half of what was given back was soon needed again;
 *          │      ╭──────╯          │     halves when half of it lay idle while 16 times as much came and went
 *          └──────┴─────────────────┴──▶
 * ```
 *
 * So the first time that a program frees much, it goes back; the second or third time it is kept, up to 256 MiB; and when
 * the program does something smaller, it goes back after all. All counts are of units (4 KiB).
 *
 * @module
 */

/** What is kept at least: 32 MiB. */
const KEPT_MIN = 8192;

/** What is kept at the most: 256 MiB. */
const KEPT_MAX = 65536;

/** Units that come and go, in multiples of what is kept, before it is seen whether that was too much. */
const WINDOW = 16;

/** The free memory of one range that the operating system has still to account for. */
export class Surplus {
  /** Units of free runs whose contents were not given back: an estimate, as a merged run does not say which of its are. */
  #dirty = 0;
  /** What may be dirty whatever is in use. */
  #kept = KEPT_MIN;
  /** Units given back the last time. */
  #given = 0;
  /** How many of these were needed again since. */
  #missed = 0;
  /** Units taken in this window. */
  #taken = 0;
  /** The least that was dirty in this window: it was not needed. */
  #idle = 0;

  /** Notes that so many units were freed. */
  freed(units: number): void {
    this.#dirty += units;
  }

  /** Notes that so many units were taken; `fresh` when they have no contents. */
  taken(units: number, fresh: boolean): void {
    const reused = fresh ? 0 : Math.min(units, this.#dirty);
    this.#dirty -= reused;
    this.#missed = Math.min(this.#given, this.#missed + units - reused);
    this.#taken += units;
    this.#idle = Math.min(this.#idle, this.#dirty);
    if (this.#taken < this.#kept * WINDOW) return;
    if (this.#idle > this.#kept / 2) this.#kept = Math.max(KEPT_MIN, this.#kept / 2);
    this.#taken = 0;
    this.#idle = this.#dirty;
  }

  /** Whether there is more than is worth keeping beside `used` units in use; learns from what was given back before. */
  isExcessive(used: number): boolean {
    if (this.#dirty <= this.#kept || this.#dirty <= used / 2) return false;
    if (this.#missed <= this.#given / 2 || this.#kept === KEPT_MAX) return true;
    this.#kept *= 2;
    this.#given = 0;
    this.#missed = 0;
    return this.#dirty > this.#kept;
  }

  /** Notes that everything is given back. */
  discarded(): void {
    this.#given = this.#dirty;
    this.#missed = 0;
    this.#dirty = 0;
    this.#idle = 0;
  }
}
