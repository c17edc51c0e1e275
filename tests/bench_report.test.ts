/**
 * What the benchmarks print and draw: tables, the comparison of two runs, charts, generated blocks.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { compareResults } from "../bench/compare.ts";
import { BLOCK_NAMES, fillBlocks, isBundled, kindOf, makeBlock, NOTHING } from "../bench/support/blocks.ts";
import { CHARTS, drawChart } from "../bench/support/charts.ts";
import { findError } from "../bench/support/children.ts";
import { formatMissing, formatReport } from "../bench/support/report.ts";
import { formatGroup } from "../bench/support/report_groups.ts";
import { formatGrowth } from "../bench/support/report_growth.ts";
import { readResults } from "../bench/support/results.ts";
import { formatMicroSummary } from "../bench/support/summary.ts";
import { barChart, lineChart, makeAxis } from "../bench/support/svg.ts";
import { formatNumber, formatSpread, formatTable, formatTimes } from "../bench/support/text.ts";
import { sampleResults } from "./fixtures/bench_results.ts";
import { rootPath } from "./support/runtime.ts";

describe("bench text", () => {
  it("formatTable() pads columns, the first to the left", () => {
    assertEquals(
      formatTable(["a", "number"], [["long name", "1"], ["b"]]),
      ["| a         | number |", "| --------- | -----: |", "| long name |      1 |", "| b         |        |"].join(
        "\n",
      ),
    );
  });

  it("formatTable() can have more columns of words", () => {
    assertEquals(
      formatTable(["a", "b", "c"], [["x", "yy", "1"]], 2),
      "| a   | b   |   c |\n| --- | --- | --: |\n| x   | yy  |   1 |",
    );
  });

  it("numbers have about three digits, ratios about two", () => {
    assertEquals([0.123, 1, 9.876, 54.32, 543.2, 5432.1].map(formatNumber), [
      "0.12",
      "1.00",
      "9.88",
      "54.3",
      "543",
      "5,432",
    ]);
    assertEquals(formatNumber(undefined), "-");
    assertEquals([0.98, 2.5, 3.44, 28.4, 1230].map(formatTimes), ["0.98x", "2.50x", "3.4x", "28x", "1,230x"]);
    assertEquals(formatSpread({ median: 2, least: 1, most: 3 }), "2.00 (1.00-3.00)");
    assertEquals(formatSpread({ median: 2, least: 2, most: 2 }), "2.00");
  });

  it("findError() finds what each runtime says, without the paths of the machine", () => {
    assertEquals(
      findError("Warning\nerror: Uncaught (in promise) Error: Cannot open X\n    at file:///a/b/c.ts:1:2"),
      "Error: Cannot open X",
    );
    assertEquals(findError("90 | throw new Error(`x`)\n   ^\nerror: Cannot open X\n"), "error: Cannot open X");
    assertEquals(findError('error: Module not found "file:///a/b/x.ts".'), 'error: Module not found "x.ts".');
    assertEquals(findError(""), "no output");
  });
});

describe("bench report", () => {
  it("has a section for everything that was measured, and none for what was not", () => {
    const report = formatReport(sampleResults());
    for (
      const title of [
        "Traces, warm",
        "elapsed",
        "cold",
        "reference systems",
        "Small loops",
        "Memory",
        "Growth",
        "Workers",
      ]
    ) {
      assertMatch(report, new RegExp(`^## .*${title}`, "m"));
    }
    assertNotMatch(report, /## Traces, the modes/);
    const empty = formatReport(sampleResults({ replays: [], memory: [], micro: [], growth: [], shared: [] }));
    assertEquals([...empty.matchAll(/^## (.*)$/gm)].map(([, title]) => title), ["Bars"]);
  });

  it("a stopped replay is marked with its records, and its mean as a lower bound", () => {
    const [section] = formatGroup(sampleResults(), "systems");
    const row = section!.text.split("\n").find((line) => line.includes("basicalloc"))!;
    assertStringIncludes(row, "100 (10x) ");
    assertStringIncludes(row, "4,000 (100x) [1 k]");
    assertStringIncludes(row, ">32x");
    assertEquals(formatGroup(sampleResults(), "modes"), []);
  });

  it("the small loops in short: how many times faster, how near to the bare object, and what was not measured", () => {
    const { micro } = sampleResults();
    const bare = [["heap", 30], ["bare", 20]].map(([subject, time]) => ({
      ...{ case: "view", side: "deno", round: 0 },
      ...{ subject: String(subject), process: Number(time), thread: 1, wall: 1 },
    }));
    const { text } = formatMicroSummary(sampleResults({ micro: [...micro, ...bare] }));
    assertMatch(text, /malloc.* \| 3\.00x \|/);
    assertMatch(text, /view.*offset.* \| 1\.50x \|/);
    assertMatch(text, /wrap.* \| +- \|/);
  });

  it("the growth table has the originals beside ours, and says what did not age", () => {
    const { text } = formatGrowth(sampleResults());
    assertMatch(text, /\| heap +\| deno +\| +6\.00 \| +8\.00 \|/);
    assertMatch(text, /\| basicalloc +\| deno +\| +200 \| +1,000 \* \|/);
    assertMatch(text, /\| basicalloc +\| Rust original +\| +55\.0 \| +309 \|/);
  });

  it("what was left out is listed by reason", () => {
    const missing = [{ what: "a", why: "x" }, { what: "b", why: "y" }, { what: "c", why: "x" }];
    assertEquals(formatMissing(sampleResults({ missing })), "- a; c: x\n- b: y");
  });
});

describe("bench compare", () => {
  it("marks what changed by more than the spread", () => {
    const before = sampleResults();
    const faster = before.replays.map((r) =>
      r.allocator === "heap" && r.trace === "one" ? { ...r, warm: r.warm - 6 } : r
    );
    const text = compareResults(before, sampleResults({ replays: faster }));
    assertMatch(text, /deno heap: one +\| +10\.0 \| +4\.00 \| +0\.40x \*/);
    assertMatch(text, /deno heap: two +\| +40\.0 \| +40\.0 \| +1\.00x {2} /);
    const less = before.replays.map((r) => r.allocator === "heap" ? { ...r, warm: r.warm - 1 } : r);
    assertNotMatch(compareResults(before, sampleResults({ replays: less })), / \* \|/);
  });

  it("says what differs between the runs, and leaves out what only one has", () => {
    const before = sampleResults();
    const machine = { ...before.machine, host: "other", versions: { deno: "3.0.0" } };
    const text = compareResults(
      before,
      sampleResults({ machine, micro: [], traces: [{ ...before.traces[0]!, records: 7 }] }),
    );
    assertStringIncludes(text, "two machines");
    assertStringIncludes(text, "deno 2.9.6 before, 3.0.0 after");
    assertStringIncludes(text, "one has 1000 records before, 7 after");
    assertNotMatch(text, /Small loops/);
  });

  it("compares growth and workers too", () => {
    const text = compareResults(sampleResults(), sampleResults());
    assertMatch(text, /deno basicalloc: 1,000 live +\| +1,000 \| +1,000 \| +1\.00x/);
    assertMatch(text, /deno one-lock, larson: 2 workers/);
  });
});

describe("bench charts", () => {
  it("an axis has round steps from 0, or whole decades", () => {
    const linear = makeAxis([0.3, 1.7], false);
    assertEquals(linear.ticks, [0, 0.5, 1, 1.5, 2]);
    assertEquals(linear.at(1), 0.5);
    const decades = makeAxis([3, 800], true);
    assertEquals(decades.ticks, [1, 10, 100, 1000]);
    assertEquals(Math.round(decades.at(100) * 3), 2);
  });

  it("bars are as long as their values, and absent values have none", () => {
    const svg = barChart({
      title: "a < b & c",
      series: ["s", "t"],
      groups: [{ label: "x", values: [1, undefined] }, { label: "y", values: [2, 4] }],
      reference: 1,
    });
    assertWellFormed(svg);
    const widths = [...svg.matchAll(/<rect class="s\d" x="\S+" y="\S+" width="(\S+)" height="9"/g)].map(([, w]) =>
      Number(w)
    );
    assertEquals(widths.length, 3);
    assert(Math.abs(widths[1]! / widths[0]! - 2) < 0.01 && Math.abs(widths[2]! / widths[0]! - 4) < 0.01, `${widths}`);
    assertStringIncludes(svg, "a &lt; b &amp; c");
    assertEquals(svg.match(/class="reference"/g)?.length, 1);
    assertStringIncludes(svg, "prefers-color-scheme: dark");
  });

  it("lines go through their points, in each panel on the same axis", () => {
    const svg = lineChart({
      title: "t",
      x: ["1", "2", "4"],
      xTitle: "workers",
      panels: [
        { title: "left", lines: [{ series: "s", values: [1, 10, 100] }] },
        { title: "right", lines: [{ series: "s", values: [1, undefined, 100] }] },
      ],
      logarithmic: true,
    });
    assertWellFormed(svg);
    const [left, right] = [...svg.matchAll(/points="([^"]+)"/g)].map(([, points]) =>
      points!.split(" ").map((point) => point.split(",").map(Number) as [number, number])
    );
    assertEquals([left!.length, right!.length], [3, 2]);
    assert(Math.abs((left![0]![1] + left![2]![1]) / 2 - left![1]![1]) < 0.2, "10 lies half way from 1 to 100");
    assertEquals(right!.map(([, y]) => y), [left![0]![1], left![2]![1]]);
  });

  it("every chart is drawn from a results file, or not at all", () => {
    const drawn = CHARTS.map((name) => [name, drawChart(sampleResults(), name)] as const);
    assertEquals(drawn.filter(([, svg]) => svg === undefined).map(([name]) => name), ["modes"]);
    for (const [, svg] of drawn) if (svg !== undefined) assertWellFormed(svg);
    const nothing = sampleResults({ traces: [], replays: [], growth: [], shared: [] });
    assertEquals(CHARTS.filter((name) => drawChart(nothing, name) !== undefined), []);
  });
});

describe("bench blocks", () => {
  const document = [
    "# Title",
    "<!-- bench: growth from nothing -->",
    "old",
    "<!-- bench: end -->",
    "between",
    "<!-- bench: recorded-traces from other.json -->",
    "<!-- bench: end -->",
    "",
  ].join("\n");

  it("only what is between the markers changes, and a second time nothing does", () => {
    const results = sampleResults();
    const choose = (name: string) => name === "growth" ? { file: "r.json", results } : undefined;
    const filled = fillBlocks(document, "../", choose);
    assertMatch(
      filled,
      /^# Title\n<!-- bench: growth from r\.json -->\n\nGrowth: [\s\S]*\n\n<!-- bench: end -->\nbetween\n/,
    );
    assertStringIncludes(filled, "(../bench/results/r.json)");
    assertStringIncludes(filled, "<!-- bench: recorded-traces from other.json -->\n<!-- bench: end -->\n");
    assertNotMatch(filled, /^old$/m);
    assertEquals(fillBlocks(filled, "../", choose), filled);
  });

  it("a block that cannot be made is an error, not an empty table", () => {
    const choose = (growth: []) => () => ({ file: "r.json", results: sampleResults({ growth }) });
    assertThrows(() => fillBlocks(document, "", choose([])), Error, "r.json has no figures for it");
    assertThrows(
      () => fillBlocks(document.replace("growth", "grwoth"), "", choose([])),
      Error,
      "Cannot make block grwoth",
    );
  });

  it("bundled traces, recorded ones and those in a directory called others are kept apart", () => {
    const bundled = sampleResults();
    const recorded = sampleResults({ bundled: false });
    const others = sampleResults({ bundled: false, command: "bench/run.ts --traces others --processes 2" });
    assertEquals([bundled, recorded, others].map(kindOf), ["", "recorded-", "others-"]);
    const made = ["traces", "recorded-traces", "others-traces"].filter((name) => makeBlock(name, others, "r.json", ""));
    assertEquals(made, ["others-traces"]);
    assertEquals([isBundled(bundled), isBundled(recorded)], [true, false]);
    const { bundled: _, ...old } = sampleResults({ command: "bench/run.ts --traces traces" });
    assertEquals(isBundled(old), false);
    assert(makeBlock("traces", bundled, "r.json", "") !== undefined);
    assertEquals(makeBlock("recorded-traces", bundled, "r.json", ""), undefined);
    assertEquals(makeBlock("traces", recorded, "r.json", ""), undefined);
    assert(makeBlock("recorded-traces", recorded, "r.json", "") !== undefined);
  });

  it("every block says machine, versions and command", () => {
    for (const name of BLOCK_NAMES) {
      const bundled = !/^(recorded|others)-/.test(name);
      const command = name.startsWith("others-") ? "bench/run.ts --traces others" : "bench/run.ts";
      const text = makeBlock(name, sampleResults({ bundled, command }), "r.json", "");
      if (text === undefined) continue;
      assertStringIncludes(text, `A CPU, 2 cores, 8 GiB, linux 6 x64; deno 2.9.6, libc glibc 2.36. \`${command}\``);
    }
  });

  it("the documents say what their results files say", () => {
    const paths = [
      "README.md",
      "bench/README.md",
      ...readdirSync(join(rootPath, "docs")).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
    ];
    let blocks = 0;
    for (const path of paths) {
      const text = readFileSync(join(rootPath, path), "utf8").replaceAll("\r\n", "\n");
      const made = fillBlocks(text, "../".repeat(path.split("/").length - 1), (_, file) => {
        blocks++;
        return file === NOTHING ? undefined : { file, results: readResults(join(rootPath, "bench/results", file)) };
      });
      assertEquals(made, text, `${path}: deno run -A bench/tables.ts makes it anew`);
    }
    assert(blocks >= 10, `${blocks} blocks`);
    for (const name of CHARTS) {
      const file = join(rootPath, "docs/charts", `${name}.svg`);
      if (!existsSync(file)) continue;
      const svg = readFileSync(file, "utf8").replaceAll("\r\n", "\n");
      const source = /^<!-- bench: from (\S+) -->\n/.exec(svg)!;
      assertEquals(
        svg.slice(source[0].length),
        drawChart(readResults(join(rootPath, "bench/results", source[1]!)), name),
      );
    }
  });
});

/** Tags are closed in order, and no attribute or text has a number that is none. */
function assertWellFormed(svg: string): void {
  const open: string[] = [];
  for (const [, close, name, self] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
    if (close === "/") assertEquals(open.pop(), name);
    else if (self === "") open.push(name!);
  }
  assertEquals(open, []);
  assertNotMatch(svg, /NaN|Infinity|undefined/);
}

function assertNotMatch(text: string, pattern: RegExp): void {
  assertEquals(pattern.exec(text)?.[0], undefined);
}
