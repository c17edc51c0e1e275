/**
 * That the package still works when a bundler has left out what a program does not use.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { isWindows, rootPath, run, runtimeName } from "./support/runtime.ts";

// Wine has no symbolic links, and the other runtimes no bundler of their own that works without a network.
describe("a bundled program", { ignore: runtimeName !== "bun" || isWindows }, () => {
  it("that imports one name only still finds the page source that heap.ts registers", async () => {
    const directory = mkdtempSync(join(tmpdir(), "offheap-test-"));
    try {
      // As an installed package, so that the bundler reads package.json.
      mkdirSync(join(directory, "node_modules/@offheap"), { recursive: true });
      symlinkSync(rootPath, join(directory, "node_modules/@offheap/alloc"));
      writeFileSync(
        join(directory, "program.ts"),
        `import { Heap } from "@offheap/alloc";
        using heap = new Heap();
        heap.view(heap.allocate(64)).fill(7);
        console.log(heap.stats().liveBlocks);`,
      );
      const command = process.env["OFFHEAP_RUNTIME"] || process.execPath;
      const outfile = join(directory, "program.js");
      const args = ["build", "--target=bun", `--outfile=${outfile}`, join(directory, "program.ts")];
      const built = await run(command, args, { cwd: directory });
      assertEquals(built.code, 0, built.stderr);
      const { code, stdout, stderr } = await run(command, [outfile], { cwd: directory });
      assertEquals([code, stdout.trim(), stderr], [0, "1", ""]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
