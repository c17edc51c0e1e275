/**
 * Line coverage from an lcov report, as a table.
 *
 * @module
 */

/** Lines of one file, or of all. */
export interface LineCoverage {
  /** Path from the root of the checkout, with slashes. */
  readonly file: string;
  /** Lines that hold code. */
  readonly lines: number;
  /** Lines that ran. */
  readonly hit: number;
  /** Numbers of the lines that did not run. */
  readonly missed: readonly number[];
}

/** Reads the coverage per file of an lcov report; paths are made relative to `root`. Sorted by file. */
export function parseLcov(lcov: string, root: string): LineCoverage[] {
  const files = new Map<string, Map<number, number>>();
  let lines = new Map<number, number>();
  for (const record of lcov.split(/\r?\n/)) {
    if (record.startsWith("SF:")) {
      const file = record.slice(3).replaceAll("\\", "/").replace(root.replaceAll("\\", "/"), "").replace(/^\/+/, "");
      lines = files.get(file) ?? new Map<number, number>();
      files.set(file, lines);
    } else if (record.startsWith("DA:")) {
      const [line = NaN, count = NaN] = record.slice(3).split(",").map(Number);
      lines.set(line, (lines.get(line) ?? 0) + count);
    }
  }
  return [...files]
    .map(([file, counts]) => {
      const missed = [...counts].filter(([, count]) => count === 0).map(([line]) => line);
      return { file, lines: counts.size, hit: counts.size - missed.length, missed };
    })
    .sort((a, b) => (a.file < b.file ? -1 : 1));
}

/** Numbers of the lines that are neither empty nor comment: about those that lcov would count if the file had run. */
export function codeLines(source: string): number[] {
  return source
    .split("\n")
    .map((text, index) => (/^\s*(?:$|\/\/|\/?\*)/.test(text) ? 0 : index + 1))
    .filter((line) => line > 0);
}

/** The sum over all files. */
export function totalCoverage(files: readonly LineCoverage[]): LineCoverage {
  const lines = files.reduce((sum, file) => sum + file.lines, 0);
  const hit = files.reduce((sum, file) => sum + file.hit, 0);
  return { file: "all files", lines, hit, missed: [] };
}

/** Share of lines that ran, in percent; 100 for a file without code. */
export function percent({ lines, hit }: LineCoverage): number {
  return lines === 0 ? 100 : (100 * hit) / lines;
}

/** A table with a row for each file and one for the sum. */
export function coverageTable(files: readonly LineCoverage[]): string {
  const rows = [...files, totalCoverage(files)];
  const width = Math.max(...rows.map((row) => row.file.length));
  return rows
    .map((row) => {
      const share = `${percent(row).toFixed(1).padStart(5)} %`;
      const count = `${row.hit}/${row.lines}`.padStart(11);
      const missed = row.missed.length === 0 ? "" : `  not run: ${ranges(row.missed)}`;
      return `  ${row.file.padEnd(width)}  ${share}  ${count}${missed}`;
    })
    .join("\n");
}

/** `1-3, 7` for 1, 2, 3, 7; cut after ten ranges. */
function ranges(lines: readonly number[]): string {
  const parts: string[] = [];
  let start = NaN;
  let end = NaN;
  for (const line of [...lines.toSorted((a, b) => a - b), Infinity]) {
    if (line === end + 1) {
      end = line;
      continue;
    }
    if (!Number.isNaN(start)) parts.push(start === end ? `${start}` : `${start}-${end}`);
    start = end = line;
  }
  return parts.length > 10 ? `${parts.slice(0, 10).join(", ")}, ...` : parts.join(", ");
}
