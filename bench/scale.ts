/**
 * What becomes of a heap that is large, and of many heaps: starts every measuring process, prints the tables, and writes
 * `bench/results/DATE-scale-HOST.json` and `.csv`. Linux only.
 *
 *     deno run -A bench/scale.ts [--quick] [--only loop,big,many,idle] [--processes 3] [--runtimes deno,bun] [--module FILE]
 *
 * - `loop`: the time of a replacement with 1,000 to 10 million blocks live (1 million of the large ones), beside native glibc and mimalloc
 *   (support/scale_loop.ts, native/scale.c). Takes up to 5 GiB.
 * - `big`: 16 GiB of blocks in one heap, `many`: 1,000 heaps, `idle`: one that holds one block (support/scale_space.ts).
 *
 * With `--quick` nothing is larger than 100,000 blocks, 256 MiB and 50 heaps: under a minute.
 *
 * @module
 */
import { progress } from "./support/children.ts";
import { type Figure, hasFigures } from "./support/figures.ts";
import type { LoopReport } from "./support/measure.ts";
import { type Program, type Run, runProgram } from "./support/program.ts";
import { BIG, formatLoop, formatSpace, IDLE, LIVE, loopSubject, MANY, SCALE } from "./support/report_scale.ts";
import type { ScaleReport } from "./support/scale_loop.ts";
import { MOST_LIVE, SIZE_SETS } from "./support/scale_sizes.ts";
import type { SpaceLoad, SpaceReport } from "./support/scale_space.ts";
import { median } from "./support/statistics.ts";

const PROGRAM: Program = {
  name: "scale.ts",
  parts: ["loop", BIG, MANY, IDLE],
  measure(run) {
    return [...(run.wants("loop") ? measureLoops(run) : []), ...measureSpace(run)];
  },
  sections: (results) => hasFigures(results, SCALE) ? [...formatLoop(results), ...formatSpace(results)] : [],
};

/** Blocks of the big heap, in bytes. */
const BIG_BLOCK = 256;

/** How often each slot is replaced before the first round: the larger the heap, the longer that takes. */
function ageOf(live: number): number {
  return live >= 1e7 ? 2 : live >= 1e6 ? 5 : 20;
}

function measureLoops({ children, quick, processes = quick ? 1 : 3 }: Run): Figure[] {
  const counts = quick ? [1e3, 1e5] : LIVE;
  const times = quick ? ["3", "10"] : ["10", "50"];
  const figures: Figure[] = [];
  for (const sizes of SIZE_SETS) {
    for (const live of counts.filter((count) => count <= MOST_LIVE[sizes])) {
      for (let round = 0; round < processes; round++) {
        const keep = (side: string, allocator: string, report: ScaleReport | undefined) => {
          if (report !== undefined) {
            figures.push(...loopFigures(loopSubject(sizes, live), side, allocator, round, report));
          }
        };
        for (const allocator of children.native) {
          const who = `${allocator}, ${live} ${sizes}, native`;
          progress(who);
          const args = [`${live}`, sizes, `${ageOf(live)}`, ...times];
          keep("native", allocator, children.runNative("scale", allocator, who, args));
        }
        for (const side of children.runtimes) {
          for (const allocator of ["null", "heap"]) {
            const who = `${allocator}, ${live} ${sizes}, ${side}`;
            progress(who);
            const args = ["--allocator", allocator, "--live", `${live}`, "--sizes", sizes, "--age", `${ageOf(live)}`];
            args.push("--rounds", times[0]!, "--round-ms", times[1]!);
            keep(side, allocator, children.runScript(side, "support/scale_loop.ts", who, args));
          }
        }
      }
    }
  }
  return figures;
}

function loopFigures(subject: string, side: string, allocator: string, round: number, report: LoopReport): Figure[] {
  const { operations, rounds } = report;
  return (["process", "thread", "wall"] as const).map((clock) => ({
    kind: SCALE,
    subject,
    side,
    allocator,
    round,
    metric: `${clock} ns/op`,
    value: median(rounds.map((times, i) => times[clock] / operations[i]!)),
  }));
}

function measureSpace({ children, quick, processes = quick ? 1 : 3, wants }: Run): Figure[] {
  const loads: readonly (readonly [load: SpaceLoad, processes: number, args: readonly string[]])[] = [
    // Once: it is a question of whether, and takes a minute.
    ["big", 1, ["--bytes", `${quick ? 2 ** 28 : 2 ** 34}`, "--block", `${BIG_BLOCK}`]],
    ["many", processes, ["--heaps", `${quick ? 50 : 1000}`]],
    ["idle", 1, []],
  ];
  const figures: Figure[] = [];
  for (const [load, count, args] of loads) {
    if (!wants(load)) continue;
    for (let round = 0; round < count; round++) {
      for (const side of children.runtimes) {
        const who = `${load}, ${side}`;
        progress(who);
        const report = children.runScript<SpaceReport>(side, "support/scale_space.ts", who, ["--load", load, ...args]);
        for (const [metric, value] of Object.entries(report ?? {})) {
          figures.push({ kind: SCALE, subject: load, side, allocator: "heap", round, metric, value });
        }
      }
    }
  }
  return figures;
}

await runProgram(PROGRAM);
