/**
 * Numbers, rows and bars for the reports of the examples.
 *
 * @module
 */

/** 1234567 as `1,234,567`. */
export function formatCount(count: number): string {
  return String(count).replaceAll(/\B(?=(\d{3})+$)/g, ",");
}

/** Bytes in the largest binary unit that keeps them at 1 or above: `512 B`, `1.95 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(2)} ${units[unit]}`;
}

/** How many times `whole` is in `part`: `1.17 x`. */
export function formatRatio(part: number, whole: number): string {
  return whole === 0 ? "-" : `${(part / whole).toFixed(2)} x`;
}

/** Left parts of a cell, in eighths. */
const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** A bar of at most `width` cells, as long as `share` (0 to 1) of them; any share above 0 is seen. */
export function bar(share: number, width: number): string {
  const eighths = share > 0 ? Math.max(1, Math.round(share * width * 8)) : 0;
  return "█".repeat(eighths >> 3) + EIGHTHS[eighths & 7]!;
}

/** One line of a report: what it is, and its value. */
export function row(label: string, value: string): string {
  return `  ${label.padEnd(18)}${value}`.trimEnd();
}

/** Lines of a table, each column as wide as its widest cell, all but the last column set to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const columns = rows[0]?.length ?? 0;
  const widths = Array.from({ length: columns }, (_, column) => {
    return Math.max(...rows.map((cells) => cells[column]!.length));
  });
  return rows.map((cells) => {
    const padded = cells.map((cell, column) => column === columns - 1 ? cell : cell.padStart(widths[column]!));
    return `    ${padded.join("  ")}`.trimEnd();
  });
}
