/**
 * The scripts that run the tests and count them: a crash or an empty run that is reported as success would hide
 * everything else.
 *
 * @module
 */
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { mkdtempSync, rmdirSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { codeLines, coverageTable, parseLcov, percent, totalCoverage } from "../scripts/coverage.ts";
import { closingLine, countTests } from "../scripts/junit.ts";
import { execute, failureReport, type Runner, runSuites, runTestFile, type SuiteResult } from "../scripts/runners.ts";
import { isEmulated, isWindows, runtimeName } from "./support/runtime.ts";

describe("countTests()", () => {
  it("counts the test cases, whatever their group says", () => {
    const report = `<?xml version="1.0"?>
      <testsuites name="bun test" tests="99" failures="99">
        <testsuite name="a > b" tests="4">
          <testcase name="one > two" time="0.1" />
          <testcase name='with "quotes" and />' time="0.1"></testcase>
          <testsuite name="inner">
            <testcase name="three"><skipped/></testcase>
            <testcase name="four">
              <failure message="&lt;skipped/&gt;">text</failure>
            </testcase>
            <testcase name="five"><error/></testcase>
          </testsuite>
        </testsuite>
      </testsuites>
      `;
    assertEquals(countTests(report), { passed: 2, failed: 2, skipped: 1 });
  });

  it("gives zero for a report without tests", () => {
    assertEquals(countTests(`<testsuites name="deno test" tests="0"></testsuites>`), {
      passed: 0,
      failed: 0,
      skipped: 0,
    });
    assertEquals(countTests("<testsuites/>"), { passed: 0, failed: 0, skipped: 0 });
  });

  it("throws on a report that is empty, cut or something else", () => {
    assertThrows(() => countTests(""), Error, "JUnit");
    assertThrows(() => countTests(`<testsuites><testcase name="a"/>`), Error, "JUnit");
    assertThrows(() => countTests("ok | 5 passed"), Error, "JUnit");
  });

  it("closingLine() names skipped tests only when there are any", () => {
    assertEquals(closingLine({ passed: 3, failed: 0, skipped: 0 }), "3 passed, 0 failed");
    assertEquals(closingLine({ passed: 3, failed: 1, skipped: 2 }), "3 passed, 1 failed, 2 skipped");
  });
});

describe("coverage", () => {
  const lcov = [
    ...["SF:/there/src/b.ts", "DA:1,1", "DA:2,0", "DA:3,0", "DA:5,0", "LF:4", "LH:1", "end_of_record"],
    ...["SF:/there/src/a.ts", "DA:1,5", "LF:1", "LH:1", "end_of_record"],
  ].join("\n");

  it("parseLcov() reads lines per file, sorted", () => {
    assertEquals(parseLcov(lcov, "/there/"), [
      { file: "src/a.ts", lines: 1, hit: 1, missed: [] },
      { file: "src/b.ts", lines: 4, hit: 1, missed: [2, 3, 5] },
    ]);
    assertEquals(parseLcov("", "/there/"), []);
  });

  it("codeLines() leaves out empty lines and comments", () => {
    assertEquals(codeLines("/** a\n * b */\nlet c = 1;\n\n  // d\n  c = 2;\n"), [3, 6]);
  });

  it("the table has the share of each file and of all, and the lines that did not run", () => {
    const files = parseLcov(lcov, "/there/");
    assertEquals(percent(totalCoverage(files)), 40);
    assertMatch(coverageTable(files), /src\/b\.ts +25\.0 % +1\/4 +not run: 2-3, 5\n +all files +40\.0 % +2\/5$/);
  });
});

describe("failureReport()", () => {
  function suite(output: string, failed: number, before = ""): SuiteResult {
    const counts = { passed: 2, failed, skipped: 0 };
    const file = { file: "tests/a.test.ts", counts, seconds: 1, trouble: "", output, before };
    return { runner: { name: "bun-win", kind: "bun", executable: "bun" }, files: [file], counts, seconds: 1 };
  }

  it("names the file and shows what its runner wrote, without the tests that passed", () => {
    const output = "(pass) one [1ms]\n\n200 |  spawn()\r\nEUNKNOWN\n(fail) two\n(skip) three\na > b ... ok (1ms)\n✔ c";
    assertMatch(
      failureReport([suite("", 0), suite(output, 1)]),
      /^failures:\nbun-win +tests\/a\.test\.ts +2 passed, 1 FAILED +1\.0 s\n {4}200 \| {2}spawn\(\)\n {4}EUNKNOWN\n {4}\(fail\) two$/,
    );
  });

  it("shows the end of what is long", () => {
    const report = failureReport([suite(Array.from({ length: 500 }, (_, index) => `line ${index}`).join("\n"), 1)]);
    assertEquals(report.split("\n").length, 62);
    assertMatch(report, /line 499$/);
  });

  it("tells what failed and then passed", () => {
    const report = failureReport([suite("(pass) two", 0, "EBADFD\n(fail) two")]);
    assertMatch(report, /2 passed, not at the first attempt +1\.0 s\n {4}EBADFD\n {4}\(fail\) two$/);
  });

  it("is empty when nothing failed", () => {
    assertEquals(failureReport([suite("anything", 0)]), "");
  });
});

/** A test file of its own for each case, run by the runtime of this process. */
describe("runTestFile()", { ignore: isEmulated || isWindows }, () => {
  const runner: Runner = { name: "self", kind: runtimeName, executable: process.execPath };
  const register = {
    deno: "const it = Deno.test;",
    bun: `import { it } from "bun:test";`,
    node: `import { it } from "node:test";`,
  }[runtimeName];

  async function outcome(body: string): Promise<string> {
    const directory = mkdtempSync(join(tmpdir(), "offheap-runner-"));
    const file = join(directory, "a.test.ts");
    writeFileSync(file, body);
    try {
      const { counts, trouble } = await runTestFile(runner, file);
      return `${closingLine(counts)}; ${trouble}`;
    } finally {
      unlinkSync(file);
      rmdirSync(directory);
    }
  }

  it("counts what passed and what failed", async () => {
    assertEquals(await outcome(`${register} it("a", () => {}); it("b", () => {});`), "2 passed, 0 failed; ");
    assertEquals(
      await outcome(`${register} it("a", () => {}); it("b", () => { throw new Error("b"); });`),
      "1 passed, 1 failed; ",
    );
  });

  it("counts what the adapter of bdd skips as skipped", async () => {
    const adapter = new URL("./support/std_testing_bdd.ts", import.meta.url).href;
    const body = `import { describe, it } from "${adapter}";
      function fail() { throw new Error("it ran"); }
      it("a", () => {});
      it.skip("b", fail);
      it("c", { ignore: true }, fail);
      describe("d", () => it.ignore("e", fail));`;
    assertEquals(await outcome(body), "1 passed, 0 failed, 3 skipped; ");
    // Node counts a skipped group as one test, skipped; Deno and Bun count those in it.
    assertEquals(await outcome(`${body} describe.skip("f", () => it("g", fail));`), "1 passed, 0 failed, 4 skipped; ");
  });

  it("fails on a file without tests, except where Node counts the file as one", async () => {
    const expected = runtimeName === "node" ? /^1 passed, 0 failed; $/ : /^0 passed, 1 failed; .*no (tests|report)/;
    assertMatch(await outcome("export {};"), expected);
  });

  it("fails on a file that does not load, crashes or ends the process", async () => {
    assertMatch(await outcome(`throw new Error("load");`), /, 1 failed; /);
    assertMatch(
      await outcome(`import process from "node:process"; process.kill(process.pid, "SIGKILL");`),
      /, 1 failed; /,
    );
    // Node reports the tests that had ended, and is content.
    if (runtimeName === "node") return;
    const exit = `it("a", () => {}); it("b", () => process.reallyExit(0));`;
    assertMatch(await outcome(`${register} import process from "node:process"; ${exit}`), /, [1-9] failed; /);
  });

  it("runs a file again only where its runner says so", async () => {
    const directory = mkdtempSync(join(tmpdir(), "offheap-runner-"));
    const [file, seen] = [join(directory, "a.test.ts"), join(directory, "seen")];
    writeFileSync(
      file,
      `import { existsSync, writeFileSync } from "node:fs";
      const seen = ${JSON.stringify(seen)};
      ${register}
      it("a", () => { if (!existsSync(seen)) { writeFileSync(seen, ""); throw new Error("the first time"); } });`,
    );
    try {
      const once = await runTestFile(runner, file);
      assertEquals([closingLine(once.counts), once.before], ["0 passed, 1 failed", ""]);
      unlinkSync(seen);
      const twice = await runTestFile({ ...runner, attempts: 2 }, file);
      assertEquals(closingLine(twice.counts), "1 passed, 0 failed");
      assertMatch(twice.before, /the first time/);
    } finally {
      unlinkSync(file);
      unlinkSync(seen);
      rmdirSync(directory);
    }
  });

  it("ends with the command, though a program that it has started keeps its output open", async () => {
    const child = `const { spawn } = require("node:child_process");
      const left = spawn("sleep", ["600"], { stdio: ["ignore", "inherit", "inherit"], detached: true });
      console.log(left.pid);
      process.reallyExit(3);`;
    const { code, output } = await execute("node", ["-e", child]);
    process.kill(Number(output), "SIGKILL");
    assertEquals(code, 3);
  });

  it("fails when the command is not there", async () => {
    const { counts, trouble } = await runTestFile({ ...runner, executable: "no-such-command-offheap" }, "a.test.ts");
    assertEquals(counts.failed, 1);
    assertMatch(trouble, /ENOENT|not found|No such file|entity not found|no-such-command/i);
  });

  it("runSuites() fails a suite in which nothing ran", async () => {
    const [suite] = await runSuites([runner], () => []);
    assertEquals(suite?.counts, { passed: 0, failed: 1, skipped: 0 });
  });
});
