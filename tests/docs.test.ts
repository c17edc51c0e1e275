/**
 * The pages of the documentation: what they link to, name, and tell the reader to run is there. README's programs are in
 * readme.test.ts, the rows of docs/references.md in references_doc.test.ts.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { rootPath } from "./support/runtime.ts";

/** Where pages are. */
const DIRECTORIES = [".", "docs", "bench", "examples"];

/** Every page, by its path from the root. */
const PAGES = new Map(
  DIRECTORIES.flatMap((directory) =>
    readdirSync(join(rootPath, directory)).filter((name) => name.endsWith(".md")).map((name) => {
      const path = directory === "." ? name : `${directory}/${name}`;
      return [path, readFileSync(join(rootPath, path), "utf8").replaceAll("\r\n", "\n")] as const;
    })
  ),
);

/** What the programs say of themselves at their top, by the path of the program. */
const HEADS = new Map(
  ["bench", "bench/support", "examples", "scripts"].flatMap((directory) =>
    readdirSync(join(rootPath, directory)).filter((name) => name.endsWith(".ts")).map((name) => {
      const text = readFileSync(join(rootPath, directory, name), "utf8").replaceAll("\r\n", "\n");
      return [`${directory}/${name}`, text.slice(0, text.indexOf("*/")).replace(/^ \* ?/gm, "")] as const;
    })
  ),
);

const { tasks } = JSON.parse(readFileSync(join(rootPath, "deno.json"), "utf8")) as {
  tasks: { readonly [name: string]: { readonly command: string } };
};

/** Directories that a task makes, and what is of the reader's own. */
const NOT_OURS = ["docs/api", "main.ts"];

/** What is wrong on all pages, or other texts: each line begins with the page. */
function problems(
  find: (page: string, text: string) => Iterable<string>,
  pages: ReadonlyMap<string, string> = PAGES,
): string[] {
  return [...pages].flatMap(([page, text]) => [...find(page, text)].map((problem) => `${page}: ${problem}`));
}

/** Whether a path that a page names is there, from the root or from the page's own directory. */
function resolve(page: string, path: string): string | undefined {
  return [path, join(dirname(page), path)].find((file) => existsSync(join(rootPath, file)));
}

/** The name that a link has for a heading: lower case, without marks, spaces as hyphens. */
function anchorOf(heading: string): string {
  return heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase().replace(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(
    " ",
    "-",
  );
}

function anchorsOf(text: string): string[] {
  const prose = text.replace(/^```[^]*?^```/gm, "");
  return [...prose.matchAll(/^#+ +(.+?) *$/gm)].map((match) => anchorOf(match[1]!));
}

/** The programs that a page starts: each with the rest of its line. */
function* commandsOf(text: string): Iterable<readonly [program: string, rest: string]> {
  const code = [...text.matchAll(/^```.*\n([^]*?)^```|^ {4}(.*)|`([^`\n]+)`/gm)].map((match) =>
    match[1] ?? match[2] ?? match[3]!
  );
  for (const line of code.flatMap((block) => block.split("\n"))) {
    const run = /\b(?:deno run|bun run|bun|deno test|node)\b[^|;&#]*?((?:[\w.-]+\/)*[\w-][\w.-]*\.ts)\b(.*)/.exec(line);
    // What follows in brackets is a remark.
    if (run !== null) yield [run[1]!, run[2]!.replace(/ \(.*/, "")];
    const task = /\bdeno task ([\w-]+)(.*)/.exec(line);
    const program = task && /[\w./]+\.ts(?!.*\.ts)/.exec(tasks[task[1]!]?.command ?? "")?.[0];
    if (task !== null && program) yield [program, task[2]!];
  }
}

/** Whether a program or a file that it imports reads an option of this name: as a key of options, or in a text. */
function reads(program: string, option: string, seen: Set<string> = new Set()): boolean {
  if (seen.has(program)) return false;
  seen.add(program);
  const source = readFileSync(join(rootPath, program), "utf8").replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, "");
  if (new RegExp(`(?:^|[\\s{,"])${option}"?: \\{|["'\`]--${option}\\b`, "m").test(source)) return true;
  const imports = [...source.matchAll(/\bfrom "(\.[^"]*\.ts)"/g)].map((match) => join(dirname(program), match[1]!));
  return imports.some((file) => reads(file, option, seen));
}

describe("the documentation", () => {
  it("links to files that are there, and to headings that they have", () => {
    let count = 0;
    const wrong = problems(function* (page, text) {
      for (const [, target = ""] of text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
        count++;
        const [path = "", anchor] = target.split("#");
        const file = path === "" ? page : join(dirname(page), path).replaceAll("\\", "/");
        if (!existsSync(join(rootPath, file))) yield target;
        else if (anchor !== undefined && PAGES.has(file) && !anchorsOf(PAGES.get(file)!).includes(anchor)) yield target;
      }
    });
    assertEquals(wrong, []);
    assert(count > 50, `only ${count} links were found`);
  });

  it("names files that are there", () => {
    const wrong = problems(function* (page, text) {
      for (
        const [, path = ""] of text.matchAll(
          /(?<![\w./-])((?:src|ffi|tests|bench|examples|scripts|docs|\.github)\/[\w./-]*\w)/g,
        )
      ) {
        if (!NOT_OURS.includes(path) && resolve(page, path) === undefined) yield path;
      }
    });
    assertEquals(wrong, []);
  });

  it("names tasks that are in deno.json", () => {
    const wrong = problems(function* (_page, text) {
      for (const [, name = ""] of text.matchAll(/deno(?:@[\d.]+)? task ([\w:-]+)/g)) if (!(name in tasks)) yield name;
    });
    assertEquals(wrong, []);
  });

  it("starts programs that are there, with options that they have", () => {
    let count = 0;
    const wrong = problems(function* (page, text) {
      for (const [name, rest] of commandsOf(text)) {
        if (NOT_OURS.includes(name)) continue;
        const program = resolve(page, name);
        if (program === undefined) yield name;
        for (const [, option = ""] of program === undefined ? [] : rest.matchAll(/(?<!\w)--([a-z][\w-]*)/g)) {
          count++;
          const isRead = [option, option.replace(/^no-/, "")].some((name) => reads(program!, name));
          if (!isRead) yield `${name} --${option}`;
        }
      }
    }, new Map([...PAGES, ...HEADS]));
    assertEquals(wrong, []);
    assert(count > 40, `only ${count} options were found`);
  });
});
