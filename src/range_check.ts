/**
 * The verification of the regions of an address range: that they tile what is committed, and that no run in use lies where
 * memory is taken to be untouched. The runs themselves must have been verified.
 *
 * @module
 */
import { CorruptionError } from "./errors.ts";
import type { Region } from "./region.ts";
import { FREE_RUN, UNIT } from "./run_record.ts";
import type { Runs } from "./runs.ts";

/**
 * Verifies that `regions` are contiguous from unit 0 to `endUnit`. Time in their number.
 *
 * @throws {CorruptionError} When they are not.
 */
export function checkExtents(regions: readonly Region[], endUnit: number): void {
  let unit = 0;
  for (const region of regions) {
    if (region.firstUnit !== unit || region.bytes.byteLength !== (region.endUnit - unit) * UNIT) {
      throw new CorruptionError(`Cannot trust region ${region.index}: its extent disagrees with its records`);
    }
    unit = region.endUnit;
  }
  if (unit !== endUnit) throw new CorruptionError("Cannot trust the range: its regions do not end at its end");
}

/**
 * Verifies that all runs from the frontier of each region up are free. Time in the number of runs.
 *
 * @throws {CorruptionError} When one is not.
 */
export function checkFrontiers(regions: readonly Region[], runs: Runs): void {
  for (const { index, firstUnit, endUnit, frontier } of regions) {
    for (let unit = firstUnit; unit < endUnit; unit += runs.lengthAt(unit)) {
      if (runs.kindAt(unit) !== FREE_RUN && unit + runs.lengthAt(unit) > frontier) {
        throw new CorruptionError(
          `Cannot trust region ${index}: unit ${unit} is in use above its frontier ${frontier}`,
        );
      }
    }
  }
}
