/**
 * Leaks of a `DebugAllocator`: of all its blocks or of a scope, at dispose and at the end of the program. The report
 * itself is in leak_report.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { DebugAllocator, DisposedError, Heap, type LeakReport } from "../mod.ts";
import { rootUrl, runSource } from "./support/runtime.ts";

describe("DebugAllocator leaks", () => {
  it("are the live blocks by site, and reported at dispose to a function", () => {
    const reports: LeakReport[] = [];
    const debug = new DebugAllocator(new Heap(), { reportLeaks: (report) => void reports.push(report) });
    const blocks: number[] = [];
    function leaky(): void {
      blocks.push(debug.allocate(1000));
      blocks.push(debug.allocate(1000));
    }
    for (let i = 0; i < 3; i++) leaky();
    debug.free(debug.allocate(50));
    debug.allocate(7);
    const report = debug.leaks();
    assertEquals([report.count, report.bytes, report.sites.length], [7, 6007, 3]);
    assertEquals(report.sites.map(({ count, bytes }) => [count, bytes]), [[3, 3000], [3, 3000], [1, 7]]);
    assertEquals(report.sites[0]!.frames[0]!.functionName, "leaky");
    assertEquals(report.sites[0]!.blocks.map(({ address }) => address), blocks.filter((_, i) => i % 2 === 0));
    assertEquals(reports, []);
    debug[Symbol.dispose]();
    debug[Symbol.dispose]();
    assertEquals(reports.map(({ count, bytes }) => [count, bytes]), [[7, 6007]]);
  });

  it("are not reported where there are none, nor where nobody asked", () => {
    let reports = 0;
    new DebugAllocator(new Heap(), { reportLeaks: () => void reports++ })[Symbol.dispose]();
    const written: unknown[] = [];
    const { error } = console;
    console.error = (...words: unknown[]) => void written.push(words);
    try {
      const debug = new DebugAllocator(new Heap());
      debug.allocate(10);
      debug[Symbol.dispose]();
      assertEquals([reports, written], [0, []]);
      const asked = new DebugAllocator(new Heap(), { reportLeaks: true });
      asked.allocate(10);
      asked[Symbol.dispose]();
    } finally {
      console.error = error;
    }
    assertEquals(written.length, 1);
    assertMatch(`${written[0]}`, /1 site, 1 block, 10 bytes are not freed/);
  });

  it("of a scope are the blocks that were allocated in it, reallocated ones as old as they were", () => {
    using debug = new DebugAllocator(new Heap());
    const old = debug.allocate(10);
    const reports: LeakReport[] = [];
    let moved = 0;
    {
      using scope = debug.scope((report) => void reports.push(report));
      moved = debug.reallocate(old, 100_000);
      assert(moved !== old);
      assertEquals(scope.leaks().count, 0);
      debug.free(debug.allocate(30));
      debug.allocate(20);
    }
    assertEquals(reports.map(({ count, bytes }) => [count, bytes]), [[1, 20]]);
    {
      using _clean = debug.scope((report) => void reports.push(report));
      debug.free(debug.allocate(1));
      debug.free(moved);
    }
    assertEquals(reports.length, 1);
  });

  it("are reported although the report throws, and damage beside it", () => {
    const debug = new DebugAllocator(new Heap(), {
      reportLeaks() {
        throw new Error("no room in the log");
      },
    });
    const inner = debug.allocate(10);
    assertThrows(() => debug[Symbol.dispose](), Error, "no room in the log");
    assertThrows(() => debug.free(inner), DisposedError);
  });

  it("are written when the program ends, by itself or by exit(), unless it was disposed", async () => {
    for (const end of ["", "process.exit(0);"]) {
      const { code, stdout, stderr } = await runSource(`
        import process from "node:process";
        import { DebugAllocator, Heap } from "${rootUrl}mod.ts";
        const options = { leaksAtExit: true };
        const left = new DebugAllocator(new Heap(), options);
        function forgets() { const block = [left.allocate(1234)]; return block.length; }
        forgets();
        new DebugAllocator(new Heap(), options).free(0);
        const disposed = new DebugAllocator(new Heap(), { leaksAtExit: true, reportLeaks() {} });
        disposed.allocate(99);
        disposed[Symbol.dispose]();
        console.log("the end");
        ${end}
      `);
      assertEquals([code, stdout.trim()], [0, "the end"]);
      assertMatch(
        stderr,
        /^1 site, 1 block, 1,234 bytes are not freed\n\n1,234 bytes in 1 block: 0x\w+\n {4}at forgets /,
      );
      assert(!stderr.includes(" 99 "), stderr);
    }
  });
});
