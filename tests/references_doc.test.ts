/**
 * docs/references.md names a file and a test for everything that the reference systems can do: both must be there.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { rootPath } from "./support/runtime.ts";

const DIRECTORY = join(rootPath, "docs");
const PAGE = readFileSync(join(DIRECTORY, "references.md"), "utf8").replaceAll("\r\n", "\n");

interface Row {
  /** The number of its line. */
  readonly line: number;
  readonly cells: readonly string[];
}

/** The rows of all tables, without their headings. */
function rowsOf(markdown: string): Row[] {
  return markdown.split("\n")
    .map((text, i) => ({ line: i + 1, cells: text.split("|").slice(1, -1).map((cell) => cell.trim()) }))
    .filter(({ cells }) => cells.length === 3 && !/^(-+|what .*|system)$/.test(cells[0]!));
}

/** Each test file that a cell links to, with the names of tests that stand behind the link. */
function testsIn(cell: string): { path: string; names: string[] }[] {
  return cell.split("; ").map((part) => ({
    path: /\]\(([^)]+)\)/.exec(part)?.[1] ?? "",
    names: [...part.matchAll(/`([^`]+)`/g)].map(([, name]) => name!),
  }));
}

/** Whether a file has a test of that name, or of a name of which that is the part that does not vary. */
function hasTest(source: string, name: string): boolean {
  const quoted = source.replaceAll("\\'", "'").replaceAll('\\"', '"');
  return [`"${name}"`, `"${name}`, `${name}"`, `${name}\``, `} ${name}`, `\`${name}`, `${name} $`]
    .some((text) => quoted.includes(text));
}

const ROWS = rowsOf(PAGE);

describe("docs/references.md", () => {
  it("has a row for each of what the four systems and the article can do, and for each bug", () => {
    const counts = PAGE.split("\n## ").slice(1, 6).map((section) => [section.split("\n")[0]!, rowsOf(section).length]);
    assertEquals(counts.map(([title]) => title), ["basicalloc", "rusty_malloc", "MemAlloc", "Rulloc", "The article"]);
    for (const [title, count] of counts) assert(Number(count) >= 13, `${title} has ${count} rows`);
    assert(rowsOf(PAGE.split("\n## Their bugs")[1]!).length >= 18);
  });

  it("every row names a test, and the test is there, or says that it is not done", () => {
    const wrong: string[] = [];
    for (const { line, cells } of ROWS) {
      const [, here = "", test = ""] = cells;
      if (/^none/.test(test)) {
        if (!here.includes("**Not done**") && !test.startsWith("none: ")) wrong.push(`line ${line}: no reason`);
      } else if (!test.startsWith("**Not done**")) {
        for (const { path, names } of testsIn(test)) {
          if (names.length === 0) wrong.push(`line ${line}: no name of a test`);
          const source = existsSync(join(DIRECTORY, path)) ? readFileSync(join(DIRECTORY, path), "utf8") : "";
          for (const name of names) if (!hasTest(source, name)) wrong.push(`line ${line}: ${path} has no "${name}"`);
        }
      }
    }
    assertEquals(wrong, []);
  });
});
