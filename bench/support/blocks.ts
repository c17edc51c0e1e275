/**
 * Generated blocks: the parts of documents that come out of a results file. Nothing else in a document is touched, and no
 * measured number stands anywhere else.
 *
 * ```text
 *   <!-- bench: growth from 2026-11-21-03-21-vm.json -->       what, and from which file of bench/results/
 *   ...                                                        generated
 *   <!-- bench: end -->
 * ```
 *
 * A block that has not been measured yet is `from nothing`. Blocks about traces come in three kinds: of the bundled traces,
 * with `recorded-` before the name of the reader's own recordings (`--traces`), and with `others-` of those in a directory of that
 * name: programs that nobody looked at while the code was written.
 *
 * @module
 */
import { findBars, formatBars } from "./bars.ts";
import { GROUPS } from "./catalogue.ts";
import { hasFigures } from "./figures.ts";
import { formatGuide } from "./guide.ts";
import { formatColdReplays, formatMemory, formatMicro, formatMissing, formatReplays, formatWall } from "./report.ts";
import { COLLECTOR, formatCollector } from "./report_collector.ts";
import { formatGroup } from "./report_groups.ts";
import { formatGrowth, formatShared } from "./report_growth.ts";
import { formatLoop, formatSpace, SCALE } from "./report_scale.ts";
import { formatStartup, STARTUP } from "./report_startup.ts";
import { formatWorkers } from "./report_workers.ts";
import type { Results } from "./results.ts";
import { formatMicroSummary, formatSummary } from "./summary.ts";
import type { Section } from "./text.ts";

/** Makes the sections of a block; none when the results have nothing for it. */
type Maker = (results: Results) => readonly Section[];

function when(measured: (results: Results) => boolean, make: (results: Results) => Section): Maker {
  return (results) => measured(results) ? [make(results)] : [];
}

/** Blocks of a program of its own, by the kind of its figures. */
function of(kind: string, make: Maker): Maker {
  return (results) => hasFigures(results, kind) ? make(results) : [];
}

function hasReplays(results: Results): boolean {
  return results.replays.length > 0;
}

function hasMemory(results: Results): boolean {
  return results.memory.length > 0;
}

/** Blocks that depend on which traces were replayed. */
const TRACE_BLOCKS: { readonly [name: string]: Maker } = {
  traces: when(hasReplays, formatReplays),
  wall: when(hasReplays, formatWall),
  cold: when(hasReplays, formatColdReplays),
  memory: when(hasMemory, formatMemory),
  missing: when(hasReplays, leftOut),
  summary: when((results) => hasReplays(results) && hasMemory(results), formatSummary),
  ...Object.fromEntries(GROUPS.map((group) => [group, (results: Results) => formatGroup(results, group)])),
};

/** What a run could not measure, its groups on the bundled traces in the first place. */
function leftOut(results: Results): Section {
  return { title: "Left out", text: formatMissing(results) || "Nothing was left out." };
}

const OTHER_BLOCKS: { readonly [name: string]: Maker } = {
  micro: when(({ micro }) => micro.length > 0, formatMicro),
  "micro-summary": when(({ micro }) => micro.length > 0, formatMicroSummary),
  growth: when(({ growth = [] }) => growth.length > 0, formatGrowth),
  workers: when(({ shared = [] }) => shared.length > 0, formatShared),
  "shared-heap": (results) => (results.workers ?? []).length > 0 ? formatWorkers(results) : [],
  "scale-loop": of(SCALE, formatLoop),
  "scale-space": of(SCALE, formatSpace),
  startup: of(STARTUP, (results) => [formatStartup(results)]),
  collector: of(COLLECTOR, formatCollector),
  bars: when((results) => hasReplays(results) && results.micro.length > 0, (results) => formatBars(findBars(results))),
  guide: when((results) => hasReplays(results) && (results.growth ?? []).length > 0, formatGuide),
};

/** What stands before the name of a block about traces, by where they are from. */
const KINDS = ["", "recorded-", "others-"] as const;

/** The names that a block can have. */
export const BLOCK_NAMES: readonly string[] = [
  ...Object.keys(TRACE_BLOCKS).flatMap((name) => KINDS.map((kind) => kind + name)),
  ...Object.keys(OTHER_BLOCKS),
];

/** Whether the traces of a run are the bundled ones. */
export function isBundled({ bundled, command }: Results): boolean {
  return bundled ?? !command.includes("--traces");
}

/** Where the traces of a run are from. */
export function kindOf(results: Results): (typeof KINDS)[number] {
  if (isBundled(results)) return "";
  return /--traces others( |$)/.test(results.command) ? "others-" : "recorded-";
}

/** The text of a block; `undefined` when the results have nothing for it. */
export function makeBlock(name: string, results: Results, file: string, toRoot: string): string | undefined {
  const sections = makerOf(name, results)?.(results) ?? [];
  if (sections.length === 0) return undefined;
  const { machine, date, command } = results;
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const origin =
    `${date}: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.os}; ${versions}. ` +
    `\`${command}\`, [results](${toRoot}bench/results/${file}).`;
  return [...sections.map(({ title, text }) => `${title}:\n\n${text}`), origin].join("\n\n");
}

function makerOf(name: string, results: Results): Maker | undefined {
  const kind = kindOf(results);
  return OTHER_BLOCKS[name] ?? (name.startsWith(kind) ? TRACE_BLOCKS[name.slice(kind.length)] : undefined);
}

/** What stands in a marker for a block that has not been measured. */
export const NOTHING = "nothing";

const BLOCK = /<!-- bench: ([\w-]+) from (\S+) -->\n([\s\S]*?)<!-- bench: end -->/g;

/**
 * Makes every block of a document again.
 *
 * @param choose The results file of a block, given the one that its marker names; undefined to leave the block as it is.
 * @param toRoot From the document to the root of the repository: `""` or `"../"`.
 * @throws When a block has a name that nobody knows, or a file that has nothing for it.
 */
export function fillBlocks(
  document: string,
  toRoot: string,
  choose: (name: string, file: string) => { readonly file: string; readonly results: Results } | undefined,
): string {
  return document.replaceAll(BLOCK, (whole, name: string, file: string) => {
    if (!BLOCK_NAMES.includes(name)) throw new Error(`Cannot make block ${name}: known are ${BLOCK_NAMES.join(", ")}`);
    const chosen = choose(name, file);
    if (chosen === undefined) return whole;
    const text = makeBlock(name, chosen.results, chosen.file, toRoot);
    if (text === undefined) throw new Error(`Cannot make block ${name}: ${chosen.file} has no figures for it`);
    return `<!-- bench: ${name} from ${chosen.file} -->\n\n${text}\n\n<!-- bench: end -->`;
  });
}
