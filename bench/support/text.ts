/**
 * Numbers and tables as text: Markdown that also reads well in a terminal.
 *
 * @module
 */
import type { Spread } from "./statistics.ts";

/** A part of a report: what it is, and the table with its notes. */
export interface Section {
  readonly title: string;
  readonly text: string;
}

/** A table in Markdown, as `deno fmt` writes one: its columns padded, the first `left` to the left, the others to the right. */
export function formatTable(head: readonly string[], rows: readonly (readonly string[])[], left = 1): string {
  const widths = head.map((title, i) => Math.max(title.length, 3, ...rows.map((row) => (row[i] ?? "").length)));
  const line = (row: readonly string[]) =>
    `| ${
      widths.map((width, i) => i < left ? (row[i] ?? "").padEnd(width) : (row[i] ?? "").padStart(width)).join(" | ")
    } |`;
  const rule = `| ${
    widths.map((width, i) => i < left ? "-".repeat(width) : `${"-".repeat(width - 1)}:`).join(" | ")
  } |`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

/** A number with about three digits. */
export function formatNumber(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "-";
  if (value >= 1000) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

/** A median, with the extremes over the processes. */
export function formatSpread(value: Spread | undefined): string {
  if (value === undefined) return "-";
  const { median, least, most } = value;
  return least === most
    ? formatNumber(median)
    : `${formatNumber(median)} (${formatNumber(least)}-${formatNumber(most)})`;
}

/** How many times `base` something is. */
export function formatRatio(own: Spread | undefined, base: Spread | undefined): string {
  return own === undefined || base === undefined ? "-" : `${(own.median / base.median).toFixed(2)}x`;
}

/** A mean of ratios. */
export function formatMean(value: number | undefined): string {
  return value === undefined ? "-" : `${value.toFixed(2)}x`;
}

/** A ratio to about two digits: `0.98x`, `28x`, `1,230x`. */
export function formatTimes(value: number): string {
  return value >= 10 ? `${Math.round(value).toLocaleString("en-US")}x` : `${value.toFixed(value >= 3 ? 1 : 2)}x`;
}
