/**
 * The few statistics of the benchmarks. Nothing here knows what was measured.
 *
 * A figure of several processes is their median, shown with the least and the most: five values have no quartiles worth
 * the name. Ratios over several traces or loops are averaged geometrically, so that 2x and 0.5x cancel out.
 *
 * @module
 */

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The geometric mean. */
export function geometricMean(values: readonly number[]): number {
  if (values.length === 0) return NaN;
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** A figure over several processes. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Median and extremes; `undefined` without values. */
export function spread(values: readonly number[]): Spread | undefined {
  if (values.length === 0) return undefined;
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

/** The rows that have all of these properties, in their order; none when there are no rows at all. */
export function rowsWith<Row extends object>(
  rows: readonly Row[] | undefined,
  properties: NoInfer<Partial<Row>>,
): Row[] {
  const wanted = Object.entries(properties) as [keyof Row, unknown][];
  return (rows ?? []).filter((row) => wanted.every(([key, value]) => row[key] === value));
}

/** Net times are at least this, in nanoseconds: a ratio to nothing would say nothing. */
const LEAST_NET = 0.1;

/** Times with what the loop itself takes taken off; `undefined` when either was not measured. */
export function net(gross: Spread | undefined, loop: number | undefined): Spread | undefined {
  if (gross === undefined || loop === undefined) return undefined;
  const netOf = (value: number) => Math.max(value - loop, LEAST_NET);
  return { median: netOf(gross.median), least: netOf(gross.least), most: netOf(gross.most) };
}
