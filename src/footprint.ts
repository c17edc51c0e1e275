/**
 * When free memory goes back to the operating system before more is touched.
 *
 * What a program frees stays resident, to be used again. When it then needs blocks of other sizes, for which nothing free
 * fits, it touches new memory, and has both. So before a heap grows beyond what it ever had resident, the free memory that
 * it has is given back, if that is worth a few system calls:
 *
 * ```text
 *   resident  ▲              ╭╮                     ╭─ above most: now free memory is given back
 *   most      ├╌╌╌╌╌╌╌╌╌╌╌╌╌╌│╰──╮╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌│╮╌╌╌ rises by an eighth of what was given back
 *             │       ╭──────╯   ╰──╮        ╭──────╯╰──
 *             └────────────────────────────────────────────▶
 * ```
 *
 * Where free memory is not enough, there are pages of small blocks that lost most of theirs: what of them holds nothing live
 * goes back (page_units.ts). To find that costs a look at the pages, so there is one only after some growth.
 *
 * A program that needs the same memory again soon, in turns with other, pays for that with page faults each time. Therefore
 * the rise: after some turns it keeps both. As long as a heap stays below its most, nothing is done at all.
 *
 * All counts are of units (4 KiB). See surplus.ts for what is given back of a heap that shrinks.
 *
 * @module
 */

/** What may be touched before free memory is given back again, at least: 128 KiB. */
const STEP = 32;

/** The same beside much that is resident: a thirty-second of it. */
const STEP_PART = 32;

/**
 * Spare memory goes back when it is a sixteenth of what is resident, or more. With a thirty-second a heap that just grows
 * gives back, all the way, what it needs again at once.
 */
const SPARE_PART = 16;

/** Pages in use are looked at again when a sixty-fourth more is resident than after the last look, 32 KiB at least. */
const LOOK_PART = 64;

/** See {@link LOOK_PART}. */
const LOOK_LEAST = 8;

/** Of what was given back, an eighth may come again beside what was kept. */
const RISE_PART = 8;

/** What the pages of small blocks know of their memory. */
export interface PageMemory {
  /** Units of pages in use that were not written since their memory was last given back. */
  readonly untouchedUnits: number;
  /** Units of idle pages: empty ones that are kept. */
  readonly idleUnits: number;
  /** Frees these as runs, and with `all` the empty current pages too. */
  releaseIdle(all: boolean): void;
  /**
   * Has `discard` give back the units of pages in use in which nothing is live, in multiples of `step` units at such
   * multiples. When it throws, what it gave back before is noted.
   */
  discardUnused(discard: (unit: number, count: number) => void, step: number): void;
}

/** Decides for one range. */
export class Footprint {
  /** Units that may be resident before anything is given back. */
  most: number = STEP;
  /** Units that are resident when pages in use are looked at again. */
  #lookFrom = 0;

  /**
   * How many of `spare` units, which are free, to give back with `resident` units resident, them included. When none, what
   * is needed may be resident from now on.
   */
  excess(resident: number, spare: number): number {
    if (resident <= this.most) return 0;
    const step = stepFrom(resident);
    if (spare >= Math.max(STEP, Math.floor(resident / SPARE_PART))) return resident - this.most + step;
    this.most = Math.max(this.most, resident - spare);
    return 0;
  }

  /** Whether to look, with nothing to spare and so much resident, for units of pages in use in which nothing is live. */
  isWorthLooking(resident: number): boolean {
    return resident >= this.#lookFrom;
  }

  /** Notes that this was done: how many units were resident before and how many are now. An eighth may come again. */
  looked(before: number, after: number): void {
    this.#lookFrom = after + Math.max(LOOK_LEAST, Math.floor(after / LOOK_PART));
    this.most += Math.floor((before - after) / RISE_PART);
  }

  /** Notes that so many units were given back as too much (surplus.ts): they may come again beside what was kept. */
  shrank(units: number): void {
    this.most += units;
  }

  /** Notes that memory was given back: how many units were resident before and how many are now. */
  gaveBack(before: number, after: number): void {
    this.most = Math.max(this.most + Math.floor((before - after) / RISE_PART), after + stepFrom(after));
  }
}

/** What may be touched with so much resident. */
function stepFrom(resident: number): number {
  return Math.max(STEP, Math.floor(resident / STEP_PART));
}
