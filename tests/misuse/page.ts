/**
 * docs/misuse.md, as text: the table of expectations beside the published rows of other allocators.
 *
 * @module
 */
import { BENCH_NOT_RESTATED, GROUPS, HARDENED_NOT_RESTATED, MISUSES } from "./catalogue.ts";
import { CHECKS, PUBLISHED, type PublishedCheck } from "./checks.ts";
import { expectedOutcome } from "./expected.ts";
import { type Mode, MODES, SYSTEMS } from "./modes.ts";
import { outcomeKind } from "./outcome.ts";
import { type HardenedOutcome, isIn, type Misuse } from "./programs.ts";
import type { SizeName } from "./scene.ts";

const INTRODUCTION = `# What comes of a misuse

Written by \`scripts/misuse_table.ts\` from the table in [tests/misuse/expected.ts](../tests/misuse/expected.ts); do not edit. A
test ([misuse.test.ts](../tests/misuse.test.ts)) commits every misuse of this page on Deno and on Bun, each in an allocator of
its own in a child process, and fails when anything else comes of it than what is written here.

The misuses are those of two public lists, restated against the \`Allocator\` interface: the tests of hardened_malloc and the
security programs of mimalloc-bench; a few are ours. Where such a list has a small and a large program, they are variants of one
row here: \`small\` is a block of 64 bytes, \`large\` of 256 KiB, \`huge\` of 8 MiB, and \`odd\` of 61 bytes, which is not the size of a
class. A cell without variants is true of all.
`;

const READING_ROWS: readonly (readonly string[])[] = [
  [
    "`double` at once",
    "the wrong call itself threw: an `InvalidFreeError` of kind double, foreign or interior, or the error that is named",
  ],
  [
    "... at free, at reuse, at check, at trim, at dispose",
    "nothing happened until the block was freed; until blocks of its size came and went; until `check()`, `trim()` or dispose; " +
    "the first of these that finds it",
  ],
  ["fault", "the process was ended at the instruction (SIGSEGV)"],
  ["empty view", "the view was detached: nothing was read, nothing written"],
  ["_in italics_", "nothing is wrong, for the reason that it gives"],
  ["**missed**", "not caught"],
  ["(empty)", "not committed in that mode: it makes no sense there, or would hit memory of the runtime's"],
];

const READING = `
## How to read a cell

${table(["cell", "means"], READING_ROWS)}

After an error at once the allocator is as it was: the test goes on to use it, to \`check()\` it and to dispose it.

The memory beyond an allocator's own mappings is readable and writable in these tests, and there is other memory in use beside the
block. A fault is the allocator's doing, not luck. What is unmapped stays unmapped for the rest of the test; in a program something
else can be mapped there later, and then a stale address from C reaches that.
`;

/** The page. */
export function misusePage(): string {
  return [
    INTRODUCTION,
    modesSection(),
    READING,
    scoreSection(),
    checksSection(),
    ...GROUPS.map(({ title, misuses }) => groupSection(title, misuses)),
    systemsSection(),
    listsSection(),
  ].join("\n").replaceAll(/\n{3,}/g, "\n\n");
}

const MAIN: readonly Mode[] = MODES.filter((mode) => !SYSTEMS.includes(mode));

function modesSection(): string {
  const rows = MODES.map(({ title, what }) => [title, what]);
  return `
## The modes

${table(["mode", "what it is, and who reads and writes the block"], rows)}

C that is given the address of any block, a view's or a \`NativeBuffer\`'s, is in the row of the allocator that it comes from.
`;
}

/** Counts of all variants of `misuses` in a mode, by group of outcome. */
function countOutcomes(mode: Mode, misuses: Iterable<Misuse>, variants?: readonly SizeName[]): Record<string, number> {
  const counts = { caught: 0, harmless: 0, missed: 0, broken: 0 };
  for (const misuse of misuses) {
    if (!isIn(misuse, mode)) continue;
    for (const size of misuse.sizes) {
      if (variants?.includes(size) ?? true) counts[outcomeKind(expectedOutcome(misuse.name, size, mode.name))]++;
    }
  }
  return counts;
}

function scoreSection(): string {
  const rows = MODES.map((mode) => {
    const { caught, harmless, missed } = countOutcomes(mode, MISUSES.values());
    return [mode.title, `${caught}`, `${harmless}`, `${missed}`, benchScore(mode)];
  });
  return `
## In figures

All variants of all rows below, and the score in mimalloc-bench's own terms: of its programs that make sense here, built small and
large, how many do not end with NOT_CAUGHT.

${table(["mode", "caught", "harmless", "missed", "mimalloc-bench"], rows)}
`;
}

/** Of mimalloc-bench's programs, each small and large, how many are stopped or harmless. */
function benchScore(mode: Mode): string {
  let stopped = 0;
  let all = 0;
  for (const misuse of MISUSES.values()) {
    const sizes = misuse.sizes.includes("large") ? ["small", "large"] as const : ["small"] as const;
    for (const size of sizes) {
      if (!isIn(misuse, mode)) continue;
      all += misuse.bench.length;
      if (outcomeKind(expectedOutcome(misuse.name, size, mode.name)) !== "missed") stopped += misuse.bench.length;
    }
  }
  return `${stopped} of ${all}`;
}

function checksSection(): string {
  const heads = ["check", ...MAIN.map(({ title }) => title), ...PUBLISHED];
  const rows = CHECKS.map((check) => [
    check.title,
    ...MAIN.map((mode) => stopped(check, mode)),
    ...PUBLISHED.map((name) => check.published[name]),
  ]);
  return `
## Beside other allocators

Our columns are counted from the tables below: Y is every variant of every misuse that belongs to the check, n/m some of them, - none.
The others are as published, collected from the projects' own documents and sources: Y on by default, o an option or a build, p partial
or by chance, - none. They were not run here.

${table(heads, rows)}

${CHECKS.map(({ title, misuses }) => `- ${title}: ${misuses.map((name) => `\`${name}\``).join(", ")}`).join("\n")}
`;
}

/** How many of the misuses of a check a mode stops, as `Y`, `n/m` or `-`. */
function stopped({ misuses, counts }: PublishedCheck, mode: Mode): string {
  let yes = 0;
  let all = 0;
  for (const name of misuses) {
    const misuse = MISUSES.get(name)!;
    for (const size of misuse.sizes) {
      all++;
      if (counts(expectedOutcome(name, size, mode.name))) yes++;
    }
  }
  return yes === all ? "Y" : yes === 0 ? "-" : `${yes}/${all}`;
}

function groupSection(title: string, misuses: readonly Misuse[]): string {
  const modes = MAIN.filter((mode) => misuses.some((misuse) => isIn(misuse, mode)));
  const heads = ["misuse", ...modes.map(({ title }) => title), "hardened_malloc's test"];
  const rows = misuses.map((misuse) => [
    `\`${misuse.name}\`: ${misuse.what}`,
    ...modes.map((mode) => cellText(misuse, mode)),
    hardenedText(misuse),
  ]);
  return `\n## ${title}\n\n${table(heads, rows)}\n`;
}

function systemsSection(): string {
  const rows = [...MISUSES.values()].filter((misuse) => SYSTEMS.some((mode) => isIn(misuse, mode))).map((misuse) => [
    `\`${misuse.name}\``,
    ...SYSTEMS.map((mode) => cellText(misuse, mode)),
  ]);
  return `
## The reference systems

Their headers and free lists are in the memory that they hand out, and are verified before they are followed: what an overflow does to
them is found when the block beside it is freed or merged, if the bytes that it hits are a header's. What it does to another block's
contents is not found.

${table(["misuse", ...SYSTEMS.map(({ title }) => title)], rows)}
`;
}

function listsSection(): string {
  const reasons = (list: { readonly [name: string]: string }): string =>
    [...Map.groupBy(Object.entries(list), ([, reason]) => reason)]
      .map(([reason, entries]) => `- ${reason}: ${entries.map(([name]) => `\`${name}\``).join(", ")}`).join("\n");
  return `
## What of the lists is not here

Of hardened_malloc:

${reasons(HARDENED_NOT_RESTATED)}

Of mimalloc-bench:

${reasons(BENCH_NOT_RESTATED)}
`;
}

/** A cell: one text, or one for each group of variants that come to the same. */
function cellText(misuse: Misuse, mode: Mode): string {
  if (!isIn(misuse, mode)) return "";
  const groups = Map.groupBy(misuse.sizes, (size) => outcomeText(expectedOutcome(misuse.name, size, mode.name)));
  if (groups.size === 1) return [...groups.keys()][0]!;
  return [...groups].map(([text, sizes]) => `${sizes.join(", ")}: ${text}`).join("<br>");
}

function outcomeText(outcome: string): string {
  const [kind, detail = ""] = outcome.split(/: (.*)/s);
  if (kind === "missed") return `**missed**: ${detail}`;
  if (kind === "harmless") return `_${detail}_`;
  const [, name, free, moment] = /^(\w+)Error(?: (\w+))?, (.*)$/.exec(outcome) ?? [];
  return name === undefined ? outcome : `\`${free ?? `${name}Error`}\` ${moment}`;
}

const HARDENED_TEXT: { readonly [outcome in HardenedOutcome]: string } = {
  abort: "abort",
  fault: "fault",
  ok: "goes on, unharmed",
  unstated: "",
};

/** What hardened_malloc's tests ask for, one text or by variant. */
function hardenedText({ hardened }: Misuse): string {
  const entries = Object.entries(hardened).filter(([, outcome]) => outcome !== "unstated");
  const groups = Map.groupBy(entries, ([, outcome]) => outcome);
  if (groups.size <= 1) return [...groups.keys()].map((outcome) => HARDENED_TEXT[outcome]).join("");
  return [...groups].map(([outcome, names]) => {
    const variants = new Set(names.map(([name]) => name.includes("large") ? "large" : "small"));
    return `${[...variants].join(", ")}: ${HARDENED_TEXT[outcome]}`;
  }).join("<br>");
}

/** A Markdown table, its columns aligned as `deno fmt` does it. */
function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  return [line(heads), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}
