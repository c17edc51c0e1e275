/**
 * `deno task soak`: random operations on every allocator and wrapper stack in turn, each result verified, for as long as
 * is asked for.
 *
 * ```text
 * deno task soak --seconds 600                     both runtimes, all allocators, round-robin
 *   --seed 7  --runtime deno|bun|both  --allocator heap  --write
 * ```
 *
 * Each round runs some thousand operations of a fresh seed on a fresh allocator, which is drained, checked and disposed
 * at the end. A failure is shortened (tests/random.ts) and printed with its seed. `--write` writes docs/soak.md. The exit code
 * is 1 when anything failed.
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { type Allocator, systemPageSource } from "../mod.ts";
import { randomTest } from "../tests/random.ts";
import { type Subject, subjectsNamed } from "../tests/subjects.ts";
import { execute, root } from "./runners.ts";

/** Operations of one round. */
const ROUND = 20_000;

/** Before the line of a child that its parent reads. */
const RESULT = "soak-result ";

/** What came of one allocator in one runtime. */
interface Row {
  readonly runtime: string;
  readonly name: string;
  operations: number;
  rounds: number;
  peakBytes: number;
  readonly failures: string[];
}

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
    runtime: { type: "string", default: "both" },
    allocator: { type: "string", multiple: true, default: [] },
    write: { type: "boolean", default: false },
    child: { type: "boolean", default: false },
  },
});
const seconds = positive("seconds", values.seconds);
const firstSeed = positive("seed", values.seed);

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new RangeError(`Cannot use ${JSON.stringify(text)} as --${name}: it must be a whole number above 0`);
}

/** One round on one allocator. */
function round(subject: Subject, row: Row, seed: number): void {
  const make = (): Allocator => subject.make(systemPageSource());
  const few = subject.linear === true;
  const maxLiveBytes = 2 ** (few ? 22 : 24);
  try {
    randomTest(make, {
      seed,
      operations: ROUND,
      maxLiveBytes: Math.min(maxLiveBytes, (subject.largestBlock ?? maxLiveBytes) * 1000),
      maxLiveBlocks: few ? 100 : 600,
      maxAlignment: subject.largestAlignment ?? 2 ** 16,
      mayRunOut: subject.runsOut ?? false,
      arrays: subject.largestBlock === undefined,
      checkEvery: few ? 250 : 500,
      observe: (stats) => row.peakBytes = Math.max(row.peakBytes, stats.liveBytes),
    });
    row.operations += ROUND;
    row.rounds++;
  } catch (error) {
    row.failures.push(`${subject.name}, seed ${seed}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** All rounds in this process. */
function soakHere(runtime: string): Row[] {
  const subjects = subjectsNamed(values.allocator);
  const rows = subjects.map((subject): Row => (
    { runtime, name: subject.name, operations: 0, rounds: 0, peakBytes: 0, failures: [] }
  ));
  const end = performance.now() + seconds * 1000;
  for (let seed = firstSeed; performance.now() < end; seed++) {
    subjects.forEach((subject, i) => {
      const row = rows[i]!;
      if (performance.now() < end && row.failures.length < 3) round(subject, row, seed);
    });
    if (seed % 20 === 0) {
      const total = rows.reduce((sum, { operations }) => sum + operations, 0);
      console.error(`${runtime}: ${total.toLocaleString("en")} operations, seed ${seed}`);
    }
  }
  return rows;
}

/** All rounds in a process of a runtime. */
async function soakIn(runtime: string): Promise<Row[]> {
  const script = [join(root, "scripts/soak.ts"), "--child", "--runtime", runtime];
  const args = [
    "--seconds",
    `${seconds}`,
    "--seed",
    `${firstSeed}`,
    ...values.allocator.flatMap((a) => ["--allocator", a]),
  ];
  const map = `--import-map=${join(root, "tests/support/import_map.json")}`;
  const command = runtime === "deno" ? ["run", "-A", "--quiet", map] : ["run"];
  const { code, output } = await execute(runtime, [...command, ...script, ...args]);
  const line = output.split("\n").find((text) => text.startsWith(RESULT));
  if (line !== undefined) return JSON.parse(line.slice(RESULT.length));
  const failures = [`the process ended with ${code}: ${output.slice(-2000)}`];
  return [{ runtime, name: "(process)", operations: 0, rounds: 0, peakBytes: 0, failures }];
}

function table(rows: readonly Row[]): string {
  const number = (value: number): string => value.toLocaleString("en");
  const lines = rows.map(({ runtime, name, operations, rounds, peakBytes, failures }) =>
    `| ${runtime} | ${name} | ${number(operations)} | ${rounds} | ${
      number(Math.round(peakBytes / 1024))
    } | ${failures.length} |`
  );
  const total = number(rows.reduce((sum, row) => sum + row.operations, 0));
  const failed = rows.reduce((sum, row) => sum + row.failures.length, 0);
  return [
    "| runtime | allocator | operations | rounds | peak live KiB | failures |",
    "| --- | --- | ---: | ---: | ---: | ---: |",
    ...lines,
    `| | all | ${total} | | | ${failed} |`,
  ].join("\n");
}

const runtimes = values.runtime === "both" ? ["deno", "bun"] : [values.runtime];
if (!runtimes.every((runtime) => runtime === "deno" || runtime === "bun")) {
  throw new RangeError(`Cannot use ${JSON.stringify(values.runtime)} as --runtime: it must be deno, bun or both`);
}
if (values.child) {
  console.log(RESULT + JSON.stringify(soakHere(values.runtime)));
} else {
  const rows = (await Promise.all(runtimes.map(soakIn))).flat();
  const failures = rows.flatMap((row) => row.failures.map((text) => `${row.runtime}: ${text}`));
  console.log(`${failures.join("\n")}\n${table(rows)}`);
  if (values.write) {
    const text = `# Soak: random operations on every allocator

\`deno task soak --seconds N [--seed S] [--runtime deno|bun|both] [--allocator NAME] [--write]\` runs rounds of
${
      ROUND.toLocaleString("en")
    } random operations (\`tests/random.ts\`: sizes in the mix of talc's tests, every result, pattern and
bad address verified, \`check()\` as it goes), each on a fresh allocator and with a seed of its own, drained and disposed at its
end. Only rounds that passed are counted.

A failing sequence is shortened by delta debugging of our own (\`tests/random/shrink.ts\`), not by fast-check: the tests
have to run where there is no \`node_modules\`, with an import map alone, and our operations name their blocks by number, so that any
of them can be left out.

## The last result

${process.platform}-${process.arch}, ${
      new Date().toISOString().slice(0, 10)
    }, ${seconds} s for each runtime side by side, first seed ${firstSeed}:

${table(rows)}
${
      failures.length === 0
        ? ""
        : `\n## What failed\n\n${failures.map((f) => `\`\`\`text\n${f.slice(0, 1500)}\n\`\`\``).join("\n\n")}\n`
    }`;
    writeFileSync(join(root, "docs/soak.md"), text);
  }
  if (failures.length > 0) process.exitCode = 1;
}
