/**
 * Making a shared heap whole: when attachments are gone, those that detach and those whose threads have ended, at whatever
 * instruction; and when what was done under the lock has ended with an error that nobody foresaw. The caller holds the lock, which can have been one of theirs.
 *
 * What is the truth, and what is made anew from it:
 *
 * ```text
 *   HEADs of all runs, read from the start of each region    ──▶   TAILs, bins, FREE_UNITS          shared_runs.ts
 *   END of each region                                       ──▶   END_UNIT
 *   INFO of held runs                                        ──▶   GAP_UNITS
 *   OWNER and CLASS of pages                                 ──▶   ABANDONED, a list for each class
 *   bitmaps of pages                                         ──▶   NEWS, dirty bits, SIGNAL         shared_remote.ts
 * ```
 *
 * What becomes of what was theirs:
 *
 * ```text
 *   page                                         ──▶   abandoned; it is restored by who takes it    shared_restore.ts
 *   page run that was not made a page            ──▶   free
 *   held run                                     ──▶   free
 *   large block that a NativeBuffer owned        ──▶   live, and nobody's
 * ```
 *
 * Invariant: it can be cut short anywhere, as its caller can be terminated too, and who begins anew comes to the same. Time in
 * the number of runs.
 *
 * @module
 */
import { CLASS, NEXT, SHAPE } from "./page_table.ts";
import { INFO_OWNED, LARGE_RUN, type RunKind } from "./run_record.ts";
import { ABANDONED, ABANDONED_END, END_UNIT, GAP_UNITS, OWNER, OWNER_MASK, REGION_COUNT } from "./shared_layout.ts";
import { countFreed, raiseNewsAgain } from "./shared_remote.ts";
import { HELD_RUN, INFO_OWNER_SHIFT, type SharedRuns } from "./shared_runs.ts";
import type { SharedTables } from "./shared_tables.ts";

/** Whether the attachment of that number is gone. */
export type Gone = (number: number) => boolean;

/** Makes everything derived anew, and abandons what belongs to the attachments that are `gone`. */
export function rebuildSpace(tables: SharedTables, runs: SharedRuns, gone: Gone): void {
  const { control } = tables;
  runs.clear();
  control.fill(0, ABANDONED, ABANDONED_END);
  control[GAP_UNITS] = 0;
  const count = control[REGION_COUNT]!;
  const keep = (unit: number, kind: RunKind) => keepRun(tables, runs, unit, kind, gone);
  for (let index = 0; index < count; index++) {
    runs.rebuild(tables.regionStart(index), tables.regionEnd(index), keep);
  }
  if (count === 0) return;
  // A region can have been added, and its end not been told.
  tables.endUnit = tables.regionEnd(count - 1);
  Atomics.store(control, END_UNIT, tables.endUnit);
}

/** Whether a used run stays, once the attachments that are `gone` have nothing any more. */
function keepRun(tables: SharedTables, runs: SharedRuns, unit: number, kind: RunKind, gone: Gone): boolean {
  const { control, pages } = tables;
  const info = runs.info(unit);
  if (kind as number === HELD_RUN) {
    if (info === 0) control[GAP_UNITS] = control[GAP_UNITS]! + runs.lengthAt(unit);
    return !gone(info);
  }
  if (kind === LARGE_RUN) {
    if ((info & INFO_OWNED) !== 0 && gone(info >>> INFO_OWNER_SHIFT)) {
      runs.describe(unit, runs.slack(unit), info & (INFO_OWNED - 1));
    }
    return true;
  }
  if (pages[unit + SHAPE] === 0) {
    pages[unit + OWNER] = 0;
    return false;
  }
  const owner = pages[unit + OWNER]! & OWNER_MASK;
  if (owner === 0 || gone(owner)) {
    const list = ABANDONED + pages[unit + CLASS]!;
    // Without NEWS: the owner can have died while it took them, or who brought them while it announced them.
    Atomics.store(pages, unit + OWNER, 0);
    pages[unit + NEXT] = control[list]!;
    control[list] = unit + 1;
  }
  if (countFreed(tables, unit) > 0) raiseNewsAgain(tables, unit);
  return true;
}
