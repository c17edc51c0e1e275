/**
 * Runs of units to be tested.
 *
 * @module
 */
import { Runs } from "../../src/runs.ts";

/** The units of a region. */
export interface Extent {
  readonly firstUnit: number;
  readonly endUnit: number;
}

/** Runs over regions of the given lengths, all free. */
export function makeRuns(...lengths: number[]): { runs: Runs; regions: Extent[] } {
  const runs = new Runs();
  runs.units = new Int32Array(4 * lengths.reduce((sum, length) => sum + length, 0));
  const regions: Extent[] = [];
  let unit = 0;
  for (const length of lengths) {
    runs.add(unit, unit + length);
    regions.push({ firstUnit: unit, endUnit: unit + length });
    unit += length;
  }
  runs.check(regions);
  return { runs, regions };
}

/** What the runs are, as text: `free 3, large 2, ...`. */
export function tiling(runs: Runs, regions: readonly Extent[]): string {
  const names = ["free", "large", "page", "parked"];
  const parts: string[] = [];
  for (const { firstUnit, endUnit } of regions) {
    for (let unit = firstUnit; unit < endUnit; unit += runs.lengthAt(unit)) {
      parts.push(`${names[runs.kindAt(unit)]} ${runs.lengthAt(unit)}`);
    }
  }
  return parts.join(", ");
}
