/**
 * The end of the program, in programs that end.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { rootUrl, runSource } from "./support/runtime.ts";

describe("atExit()", () => {
  it("calls what was not taken back, once, by itself or by exit(), in order", async () => {
    for (const [end, expected] of [["", 0], ["process.exit(3);", 3]] as const) {
      const { code, stdout, stderr } = await runSource(`
        import process from "node:process";
        import { atExit } from "${rootUrl}src/exit_hook.ts";
        atExit(() => console.log("first"));
        const forget = atExit(() => console.log("never"));
        atExit(() => console.log("second"));
        forget();
        forget();
        console.log("running");
        ${end}
      `);
      assertEquals([code, stdout.split(/\r?\n/), stderr], [expected, ["running", "first", "second", ""], ""]);
    }
  });

  it("calls each once, though the program should announce its own end before", async () => {
    const { stdout } = await runSource(`
      import process from "node:process";
      import { atExit } from "${rootUrl}src/exit_hook.ts";
      atExit(() => console.log("called"));
      if ("Deno" in globalThis) globalThis.dispatchEvent(new Event("unload"));
      else process.emit("exit", 0);
      console.log("not yet");
    `);
    assertEquals(stdout.trim().split(/\r?\n/), ["called", "not yet"]);
  });

  it("calls the others when one throws, and the error is seen", async () => {
    const { stdout, stderr } = await runSource(`
      import { atExit } from "${rootUrl}src/exit_hook.ts";
      atExit(() => { throw new Error("the first one failed"); });
      atExit(() => console.log("second"));
    `);
    assertEquals(stdout.trim(), "second");
    assertMatch(stderr, /the first one failed/);
  });

  it("listens to nothing until it is called", async () => {
    const { code, stdout, stderr } = await runSource(`
      const listening = [];
      const { addEventListener } = globalThis;
      globalThis.addEventListener = (name, ...rest) => { listening.push(name); addEventListener?.(name, ...rest); };
      const { on } = process;
      process.on = (name, ...rest) => { listening.push(name); return on.call(process, name, ...rest); };
      const { atExit } = await import("${rootUrl}src/exit_hook.ts");
      const { DebugAllocator, Heap } = await import("${rootUrl}mod.ts");
      new DebugAllocator(new Heap())[Symbol.dispose]();
      const before = listening.length;
      atExit(() => {});
      atExit(() => {});
      console.log(before, listening.length);
    `);
    assertEquals([code, stdout.trim(), stderr], [0, "0 1", ""]);
  });
});
