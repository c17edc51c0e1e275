/**
 * The gap of a free run: where nothing was written since its memory was last given back, if that is one stretch.
 *
 * So a block can be placed on memory that is resident already, at the end of a run that has its gap at the start, and what
 * is given back later is known to the unit:
 *
 * ```text
 *   free run   ├── written ──┼───── gap ─────┼─ written ─┤
 *   take       at the start; where it cannot grow there and less of the gap is in the way: at the end
 *   release    merged runs keep the longer of two gaps that do not touch; the other counts as written
 * ```
 *
 * It is kept in the record of the run (run_record.ts), in its last unit, and here while runs are merged and taken apart.
 *
 * @module
 */
import { GAP_FROM, GAP_TO, HAS_GAP, LENGTH_SHIFT, WRITTEN_MASK } from "./run_record.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file.
const FROM_AT = GAP_FROM;
const TO_AT = GAP_TO;
const WITH_GAP = HAS_GAP;
const LENGTH_FROM = LENGTH_SHIFT;
const WRITTEN_BITS = WRITTEN_MASK;

/** A gap that is being worked on. There is one for each address range: making one for each run would be garbage. */
export class Gap {
  /** Its first unit. */
  from = 0;
  /** The unit after the last: `from` when there is none. */
  to = 0;

  /** Makes it that of the free run at `unit`, whose HEAD is `head`. */
  read(units: Int32Array, unit: number, head: number): void {
    const end = unit + (head >>> LENGTH_FROM);
    const written = head & WRITTEN_BITS;
    const last = (end - 1) * 4;
    this.to = written === WITH_GAP ? units[last + TO_AT]! : end;
    this.from = written === WITH_GAP ? units[last + FROM_AT]! : written === 0 ? unit : end;
  }

  /** Joins that of the free run at `unit` beside it: both together where they touch, else the longer. */
  join(units: Int32Array, unit: number, head: number): void {
    const { from, to } = this;
    this.read(units, unit, head);
    if (this.from === to) this.from = from;
    else if (this.to === from) this.to = to;
    else if (this.to - this.from <= to - from) {
      this.from = from;
      this.to = to;
    }
  }
}

/** Enters a gap in the record of the free run that ends at `end`, and gives what its HEAD has to say. */
export function writeGap(units: Int32Array, end: number, from: number, to: number): number {
  units[(end - 1) * 4 + FROM_AT] = from;
  units[(end - 1) * 4 + TO_AT] = to;
  return WITH_GAP;
}
