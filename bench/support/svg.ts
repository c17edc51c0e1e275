/**
 * Charts as SVG text: bars in groups, and lines in panels. Plain elements and one style sheet, which has a dark half, so
 * a chart reads on a light page and on a dark one.
 *
 * ```text
 *   bars      title                       lines     title
 *             ■ series  ■ series                    ━ series  ━ series
 *             label ████████ 1.2                    panel            panel
 *                   ██████ 0.9                    9 ┤       ╱      9 ┤
 *             label ███████████ 1.7               3 ┤   ╱╱         3 ┤ ────
 *                   0     1     2                 1 ┼──┴──┴──      1 ┼──┴──┴──
 * ```
 *
 * Values are on a linear axis from 0, or on a logarithmic one. What is not there (`undefined`) is left out, bars with
 * their place.
 *
 * @module
 */

/** A group of bars, one of each series, under one label. */
export interface BarGroup {
  readonly label: string;
  /** By series, in the same order. */
  readonly values: readonly (number | undefined)[];
}

/** A bar chart: the bars lie, so that labels can be long. */
export interface BarChart {
  readonly title: string;
  readonly series: readonly string[];
  readonly groups: readonly BarGroup[];
  /** Where a line across is drawn: what 1x is. */
  readonly reference?: number;
  readonly logarithmic?: boolean;
}

/** A line of a panel. */
export interface Line {
  readonly series: string;
  /** By x, in the same order as {@link LineChart.x}. */
  readonly values: readonly (number | undefined)[];
}

/** Panels side by side with the same axes. */
export interface LineChart {
  readonly title: string;
  /** The labels of the x axis, evenly spaced. */
  readonly x: readonly string[];
  readonly xTitle: string;
  readonly panels: readonly { readonly title: string; readonly lines: readonly Line[] }[];
  readonly logarithmic?: boolean;
}

const WIDTH = 760;
const MARGIN = 16;
const LINE = 18;
/** Fill and stroke of series, in order; told apart by lightness too. */
const COLORS = ["#4477aa", "#cc6677", "#55a868", "#b8860b", "#9467bd", "#40a0c0", "#a05030", "#808080"] as const;

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .small { font-size: 10px }
  .title { font-weight: 600; font-size: 14px }
  .axis { stroke: #bbb; stroke-width: 1 }
  .reference { stroke: #333; stroke-width: 1; stroke-dasharray: 4 3 }
  .line { fill: none; stroke-width: 2 }
${COLORS.map((color, i) => `  .s${i} { fill: ${color} } .line.s${i} { fill: none; stroke: ${color} }`).join("\n")}
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .axis { stroke: #555 } .reference { stroke: #ddd }
  }
`;

/** A bar chart as SVG. */
export function barChart({ title, series, groups, reference, logarithmic = false }: BarChart): string {
  const thickness = 11;
  const left = MARGIN + Math.max(...groups.map(({ label }) => label.length)) * 7 + 8;
  const right = WIDTH - 60;
  const values = groups.flatMap(({ values }) => values).filter((value) => value !== undefined);
  const axis = makeAxis([...values, ...(reference === undefined ? [] : [reference])], logarithmic);
  const x = (value: number) => round(left + axis.at(value) * (right - left));
  const parts: string[] = [legend(series)];
  const top = MARGIN + 3 * LINE;
  let y = top;
  for (const { label, values } of groups) {
    const shown = values.map((value, i) => [value, i] as const).filter(([value]) => value !== undefined);
    const middle = y + shown.length * thickness / 2 + 4;
    parts.push(`<text x="${left - 8}" y="${round(middle)}" text-anchor="end">${escape(label)}</text>`);
    for (const [value, i] of shown) {
      const width = round(Math.max(x(value!) - left, 1));
      parts.push(
        `<rect class="s${i % COLORS.length}" x="${left}" y="${y}" width="${width}" height="${thickness - 2}"/>`,
      );
      parts.push(`<text x="${round(left + width + 4)}" y="${y + 8}" class="small">${formatTick(value!)}</text>`);
      y += thickness;
    }
    y += 8;
  }
  // The axis goes in first, so that it lies behind the bars.
  const grid = axis.ticks.flatMap((tick) => [
    `<line class="axis" x1="${x(tick)}" y1="${top - 4}" x2="${x(tick)}" y2="${y}"/>`,
    `<text x="${x(tick)}" y="${y + LINE - 4}" text-anchor="middle">${formatTick(tick)}</text>`,
  ]);
  parts.unshift(...grid);
  if (reference !== undefined) {
    parts.push(`<line class="reference" x1="${x(reference)}" y1="${top - 4}" x2="${x(reference)}" y2="${y}"/>`);
  }
  return document(title, y + LINE + MARGIN, parts);
}

/** A line chart as SVG. */
export function lineChart({ title, x: labels, xTitle, panels, logarithmic = false }: LineChart): string {
  const series = [...new Set(panels.flatMap(({ lines }) => lines.map((line) => line.series)))];
  const values = panels.flatMap(({ lines }) => lines.flatMap((line) => line.values))
    .filter((value) => value !== undefined);
  const axis = makeAxis(values, logarithmic);
  const top = MARGIN + 3 * LINE + LINE * (series.length > 5 ? 1 : 0) + 12;
  const height = 220;
  const gutter = 52;
  // The last label of the x axis stands half beside the panel.
  const width = (WIDTH - 2 * MARGIN) / Math.max(1, panels.length) - gutter - MARGIN;
  const y = (value: number) => round(top + height - axis.at(value) * height);
  const parts: string[] = [legend(series)];
  panels.forEach(({ title, lines }, panel) => {
    const left = MARGIN + gutter + panel * (width + gutter + MARGIN);
    const x = (i: number) => round(left + (labels.length === 1 ? 0.5 : i / (labels.length - 1)) * width);
    parts.push(`<text x="${round(left)}" y="${top - 8}">${escape(title)}</text>`);
    for (const tick of axis.ticks) {
      parts.push(
        `<line class="axis" x1="${round(left)}" y1="${y(tick)}" x2="${round(left + width)}" y2="${y(tick)}"/>`,
      );
      parts.push(`<text x="${round(left - 6)}" y="${y(tick) + 4}" text-anchor="end">${formatTick(tick)}</text>`);
    }
    labels.forEach((label, i) => {
      parts.push(`<text x="${x(i)}" y="${top + height + LINE}" text-anchor="middle">${escape(label)}</text>`);
    });
    for (const { series: name, values } of lines) {
      const points = values.map((value, i) => value === undefined ? undefined : `${x(i)},${y(value)}`)
        .filter((point) => point !== undefined);
      const color = `s${series.indexOf(name) % COLORS.length}`;
      if (points.length > 1) parts.push(`<polyline class="line ${color}" points="${points.join(" ")}"/>`);
      for (const point of points) {
        const [cx, cy] = point.split(",");
        parts.push(`<circle class="${color}" cx="${cx}" cy="${cy}" r="3"/>`);
      }
    }
  });
  parts.push(`<text x="${WIDTH / 2}" y="${top + height + 2 * LINE}" text-anchor="middle">${escape(xTitle)}</text>`);
  return document(title, top + height + 2 * LINE + MARGIN, parts);
}

/** An axis: where a value is, from 0 to 1, and the values to mark. */
export interface Axis {
  readonly ticks: readonly number[];
  at(value: number): number;
}

/** An axis that has room for all values: from 0 in round steps, or over whole decades. */
export function makeAxis(values: readonly number[], logarithmic: boolean): Axis {
  const most = Math.max(...values, Number.MIN_VALUE);
  if (logarithmic) {
    const from = Math.floor(Math.log10(Math.min(...values)));
    const to = Math.max(Math.ceil(Math.log10(most)), from + 1);
    const ticks = Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i));
    return { ticks, at: (value) => (Math.log10(value) - from) / (to - from) };
  }
  const rough = most / 5;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * decade).find((step) => step >= rough) ?? 10 * decade;
  const count = Math.ceil(most / step);
  return {
    ticks: Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(6))),
    at: (value) => value / (count * step),
  };
}

/** Five to a row. */
function legend(series: readonly string[]): string {
  return series.map((name, i) => {
    const x = MARGIN + (i % 5) * ((WIDTH - 2 * MARGIN) / 5);
    const y = MARGIN + LINE + Math.floor(i / 5) * LINE;
    return `<rect class="s${i % COLORS.length}" x="${round(x)}" y="${y}" width="10" height="10"/>` +
      `<text x="${round(x + 16)}" y="${y + 9}">${escape(name)}</text>`;
  }).join("\n");
}

function document(title: string, height: number, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${Math.ceil(height)}" role="img">
<title>${escape(title)}</title>
<style>${STYLE}</style>
<text class="title" x="${MARGIN}" y="${MARGIN}">${escape(title)}</text>
${parts.join("\n")}
</svg>
`;
}

function formatTick(value: number): string {
  if (value >= 1000) return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
  return `${Number(value.toPrecision(value < 1 ? 2 : 3))}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
