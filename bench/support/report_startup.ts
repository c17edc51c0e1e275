/**
 * The table of `bench/startup.ts`.
 *
 * @module
 */
import { distinct, figure } from "./figures.ts";
import type { Results } from "./results.ts";
import { EMPTY } from "./startup_steps.ts";
import { formatSpread, formatTable, type Section } from "./text.ts";

/** The kind of the figures. */
export const STARTUP = "startup";

const CLOCKS = ["wall", "cpu"] as const;

/** The steps. */
export function formatStartup(results: Results): Section {
  const head = ["program"];
  for (const side of results.runtimes) for (const clock of CLOCKS) head.push(`${side}, ${clock}`);
  const rows = distinct(results, "subject", { kind: STARTUP }).map((subject) => [
    subject,
    ...results.runtimes.flatMap((side) =>
      CLOCKS.map((clock) => {
        const metric = subject === EMPTY ? `${clock} ms` : `${clock} ms above empty`;
        const time = figure(results, { kind: STARTUP, subject, side, metric });
        // The extremes of a difference are those of the machine's noise, twice.
        return formatSpread(time === undefined ? undefined : { ...time, least: time.median, most: time.median });
      })
    ),
  ]);
  return {
    title: "Start-up: milliseconds above an empty program, medians",
    text: [
      formatTable(head, rows),
      `Whole processes, from start to end, modules cached; what the ${EMPTY} takes is in its row. wall: elapsed time, which is ` +
      "the neighbours' too; cpu: of all threads. The bars are 15 ms on Deno and 5 ms on Bun for the first block. only the " +
      "modules of Heap: src/heap.ts and ffi/system_page_source.ts with what they import. all in one file: everything that " +
      "mod.ts exports, as bun build --minify makes it; bundled with the program: what a program that uses Heap only is left " +
      "with then.",
    ].join("\n\n"),
  };
}
