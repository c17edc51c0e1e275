/**
 * Runs every TypeScript block of the README on the runtime under test, as a program of its own.
 *
 * A block that starts with `// Deno:` or `// Bun:` is for that runtime alone. What a block must print is the text block
 * right after it or, where there is none, the comments behind its calls of `console.log`. Addresses count as equal.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isEmulated, isLinux, rootPath, rootUrl, runSource, runtimeName } from "./support/runtime.ts";

interface Block {
  /** The heading it is under. */
  readonly heading: string;
  readonly language: string;
  readonly code: string;
  /** The line of the README after which it starts. */
  readonly line: number;
  /** The code of the text block that follows with nothing but empty lines between, if one does. */
  readonly output: string | undefined;
}

const README = readFileSync(join(rootPath, "README.md"), "utf8").replaceAll("\r\n", "\n");

function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  for (const match of markdown.matchAll(/^```(\w+)\n(.*?)^```\n(?:\n+```text\n(.*?)^```\n)?/gms)) {
    const before = markdown.slice(0, match.index);
    const heading = [...before.matchAll(/^#+ (.*)$/gm)].at(-1)?.[1] ?? "";
    blocks.push({
      heading,
      language: match[1]!,
      code: match[2]!,
      line: before.split("\n").length,
      output: match[3],
    });
  }
  return blocks;
}

/** What a block says that it prints. */
function expectedOutput({ code, output }: Block): string[] {
  if (output !== undefined) return output.trimEnd().split("\n").map(hideAddresses);
  return [...code.matchAll(/^ *console\.log\(.*\); \/\/ (.*)$/gm)].map((match) => hideAddresses(match[1]!));
}

function hideAddresses(text: string): string {
  return text.replaceAll(/0x[0-9a-f]{8,}/g, "0x...");
}

const blocks = blocksOf(README);
const programs = blocks.filter(({ language }) => language === "ts");

describe("README.md", () => {
  it("has programs for every runtime, for Deno and for Bun", () => {
    assert(programs.length >= 6);
    assertEquals(programs.filter(({ code }) => code.startsWith("// Deno: ")).length, 1);
    assertEquals(programs.filter(({ code }) => code.startsWith("// Bun: ")).length, 1);
  });

  for (const block of programs) {
    const only = /^\/\/ (Deno|Bun): /.exec(block.code)?.[1]?.toLowerCase();
    // A process costs 15 seconds under an emulator: one program is enough there.
    const ignore = (only === undefined ? isEmulated : only !== runtimeName) ||
      (block.code.includes("libc.so.6") && !isLinux);
    it(`the program at line ${block.line} ("${block.heading}") prints what the page says`, { ignore }, async () => {
      const expected = expectedOutput(block);
      assert(expected.length > 0, "a program that prints nothing shows nothing");
      assert(block.code.includes('from "@offheap/alloc";'));
      const source = block.code.replaceAll('"@offheap/alloc"', `"${rootUrl}mod.ts"`);
      // A program says at its top what it needs beyond --allow-ffi.
      const denoFlags = ["--allow-ffi", ...(/^\/\/ deno run .*--allow-read /.test(block.code) ? ["--allow-read"] : [])];
      const { code, stdout, stderr } = await runSource(source, { denoFlags });
      assertEquals({ code, stderr }, { code: 0, stderr: "" });
      assertEquals(stdout.trimEnd().split(/\r?\n/).map(hideAddresses), expected);
    });
  }
});
