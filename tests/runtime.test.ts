/**
 * The helpers of tests/support/runtime.ts: a child process whose failure goes unnoticed would make every test that
 * looks at one worthless.
 *
 * @module
 */
import { assertEquals, assertGreater, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  envInteger,
  isLinux,
  mappingCount,
  rootUrl,
  rssBytes,
  run,
  runFile,
  runSource,
  runtimeName,
} from "./support/runtime.ts";

describe("child processes", () => {
  it("runSource() gives the output, the exit code, the arguments and the environment", async () => {
    const result = await runSource(
      `import process from "node:process";
      const text: string = process.argv.slice(2).join("+") + process.env["OFFHEAP_TEST_A"] + process.env["OFFHEAP_TEST_B"];
      console.log(text);
      console.error("\\u00e9");
      process.exitCode = 3;`,
      { args: ["one two", "three"], env: { OFFHEAP_TEST_A: "a", OFFHEAP_TEST_B: undefined } },
    );
    assertEquals(result.stdout.trim(), "one two+threeaundefined");
    assertEquals(result.stderr.trim(), "\u00e9");
    assertEquals(result.code, 3);
  });

  it("runFile() runs the same runtime, with the adapters mapped", async () => {
    const result = await runSource(
      `import { runtimeName } from "${rootUrl}tests/support/runtime.ts"; console.log(runtimeName);`,
    );
    assertEquals(result, { code: 0, signal: null, stdout: `${runtimeName}\n`, stderr: "" });
    assertEquals((await runFile("tests/support/std_assert.ts")).code, 0);
  });

  it("runFile() reports a missing file and a thrown error by the exit code", async () => {
    assertNotEquals((await runFile("tests/no_such_file.ts")).code, 0);
    assertNotEquals((await runSource("throw new Error('on purpose')")).code, 0);
  });

  it("run() rejects when the command is not there or takes too long", async () => {
    await assertRejects(() => run("no-such-command-offheap", []));
    await assertRejects(() => runSource("setTimeout(() => {}, 60_000)", { timeoutMs: 1500 }), Error, "1500 ms");
  });

  it("a child without Deno permissions has none", { ignore: runtimeName !== "deno" }, async () => {
    const result = await runSource(`console.log((await Deno.permissions.query({ name: "ffi" })).state);`, {
      denoFlags: [],
    });
    assertEquals(result.stdout, "prompt\n");
  });
});

describe("figures of the process", () => {
  it("rssBytes() is at least a megabyte", () => {
    assertGreater(rssBytes(), 1_000_000);
  });

  it("mappingCount() counts at least ten", { ignore: !isLinux }, () => {
    assertGreater(mappingCount(), 10);
  });

  it("envInteger() takes whole numbers only", () => {
    assertEquals(envInteger("OFFHEAP_TEST_UNSET", 7), 7);
    assertThrows(() => envInteger("PATH", 7), RangeError, "PATH");
  });
});
