/**
 * Figures one by one: what a program of its own (`scale.ts`, `startup.ts`, `collector.ts`) puts into a results file. A line
 * of the table beside the file is a figure, so nothing more is known of them here.
 *
 * @module
 */
import type { Results, Side } from "./results.ts";
import { rowsWith, type Spread, spread } from "./statistics.ts";

/** One value that one process found. */
export interface Figure {
  /** The program that measured it. */
  readonly kind: string;
  /** What was measured: a size set and a count, a step, a load. */
  readonly subject: string;
  readonly side: Side;
  readonly allocator: string;
  /** Which of the interleaved rounds it was, from 0. */
  readonly round: number;
  /** What the value is, with its unit. */
  readonly metric: string;
  readonly value: number;
}

/** Which figures: all that have these properties. */
export type FigureFilter = Partial<Omit<Figure, "round" | "value">>;

/** The figures that a filter lets through, in the order they were measured. */
export function figuresOf(results: Results, filter: FigureFilter): Figure[] {
  return rowsWith(results.figures, filter);
}

/** Median and extremes of them over the processes; `undefined` when there are none. */
export function figure(results: Results, filter: FigureFilter): Spread | undefined {
  return spread(figuresOf(results, filter).map(({ value }) => value));
}

/** The values that a property has among the figures, each once, in the order they were measured. */
export function distinct(results: Results, property: keyof FigureFilter, filter: FigureFilter): string[] {
  return [...new Set(figuresOf(results, filter).map((figure) => figure[property]))];
}

/** Whether a program has been run for these results. */
export function hasFigures(results: Results, kind: string): boolean {
  return (results.figures ?? []).some((figure) => figure.kind === kind);
}
