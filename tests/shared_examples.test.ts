/**
 * The examples of shared heaps, run as programs.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runFile } from "./support/runtime.ts";

describe("examples/share_array.ts", () => {
  it("has a worker change a Float64Array in place, and frees what the worker allocated", async () => {
    const { code, stdout, stderr } = await runFile("examples/share_array.ts", {
      denoFlags: ["--allow-ffi", "--allow-read"],
    });
    assertEquals(code, 0, stderr);
    assertEquals(stdout.trim().split(/\r?\n/), [
      "sent             1000000 numbers, 0 bytes copied",
      "doubled by it    samples[999999] = 1999998",
      "received         1000 sums, the last 1998999000",
      "blocks left      0",
    ]);
  });
});

describe("examples/workers.ts", () => {
  it("counts the words of a generated text in workers as it does alone", async () => {
    const { code, stdout, stderr } = await runFile("examples/workers.ts", {
      args: ["6", "3"],
      denoFlags: ["--allow-ffi", "--allow-read"],
    });
    assertEquals(code, 0, stderr);
    assert(/^text +6 MiB in 6 blocks, \d{6,} words, \d{4,} different$/m.test(stdout), stdout);
    assert(/^3 workers +\d+ ms, [\d.]+ times as fast$/m.test(stdout), stdout);
    assert(/^results +identical$/m.test(stdout), stdout);
    assert(/^blocks left +0, attachments 1$/m.test(stdout), stdout);
  });
});
