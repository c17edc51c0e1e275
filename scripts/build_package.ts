/**
 * `deno task build [DIRECTORY]`: the package as JavaScript, in `dist/` if nothing else is said. Few files, and no types to
 * erase at every start: docs/scale.md says under "The first block" what that is worth.
 *
 * ```text
 *   mod.ts ─┐  esbuild              ┌─▶ mod.js ───▶ offheap.js ──┐
 *   src/    ├───────────────────────┤                            ├──▶ offheap_heap.js   what both entries need, once
 *   ffi/    │                       └─▶ heap.js ─────────────────┘
 *   heap.ts ┘  tsc, declarations.ts ──▶ mod.d.ts ◀── heap.d.ts
 *   package.json                    ──▶ package.json, deno.json: ready for `npm publish` and `deno publish`
 * ```
 *
 * Both entries share one copy of each class, so that an error of one is an `instanceof` the other's.
 *
 * Comments and indentation are gone, and the names of locals, parameters and private members are a letter or two each: Bun
 * reads the files at every start, and is 1 ms sooner. All other names are kept, so that an error has its class's name and a
 * stack the functions'; lines are short, so that an uncaught error shows a piece of code and not a file.
 *
 * @module
 */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { joinDeclarations } from "./declarations.ts";
import { ESBUILD, runTool, TYPESCRIPT } from "./npm_tools.ts";
import { root } from "./runners.ts";

/** What only `mod.js` needs; `src/allocation_site.ts` knows the name. */
const REST = "offheap.js";

/** What both entries need. */
const SHARED = "offheap_heap.js";

/** Stands for `import.meta.url`, which no script may have. */
const MODULE_URL = "OFFHEAP_MODULE_URL";

/** What is copied as it is. */
const COPIED = ["README.md", "CHANGELOG.md", "LICENSE"];

/** Every file of the package. A directory with anything else in it is somebody's, and not emptied. */
const PACKAGE_FILES = [
  ...["mod.js", "heap.js", SHARED, REST, "mod.d.ts", "heap.d.ts", "package.json", "deno.json"],
  ...COPIED,
];

const SHORT = ["--minify-syntax", "--minify-whitespace", "--line-limit=120", "--target=esnext", "--log-level=warning"];

/** A file of the package: its name and its text. */
type PackageFile = readonly [name: string, text: string];

/** What is read of package.json. */
interface Description {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly [field: string]: unknown;
}

/**
 * Builds the package in `directory`, in the place of an earlier build if there is one, and gives the names of its files.
 *
 * @throws {Error} When there is anything else in the directory, a tool fails, or what it wrote is not what is expected here; the directory is as it was then.
 */
export async function buildPackage(directory: string): Promise<string[]> {
  const found = existsSync(directory) ? readdirSync(directory) : [];
  // A project that has only just begun may have nothing but names that a build has too; then this one tells.
  const isEarlierBuild = found.includes(SHARED) && found.every((name) => PACKAGE_FILES.includes(name));
  if (found.length > 0 && !isEarlierBuild) {
    const other = found.find((name) => !PACKAGE_FILES.includes(name)) ?? found[0];
    throw new Error(`Cannot build the package in ${directory}: it has ${other} in it, which no build has written`);
  }
  const scratch = mkdtempSync(join(tmpdir(), "offheap-build-"));
  try {
    const files = [...await bundle(scratch), ...await declare(scratch), ...describePackage()];
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
    for (const [name, text] of files) writeFileSync(join(directory, name), text);
    for (const name of COPIED) copyFileSync(join(root, name), join(directory, name));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return readdirSync(directory).sort();
}

/** The JavaScript files. */
async function bundle(scratch: string): Promise<PackageFile[]> {
  const directory = join(scratch, "code");
  await runTool(ESBUILD, [
    ...[join(root, "mod.ts"), join(root, "heap.ts"), "--bundle", "--splitting", "--format=esm", "--platform=neutral"],
    ...[...SHORT, `--outdir=${directory}`, `--chunk-names=${SHARED.replace(".js", "")}`],
  ]);
  const names = readdirSync(directory).sort();
  if (names.join() !== ["heap.js", "mod.js", SHARED].join()) {
    throw new Error(
      `Cannot use what esbuild wrote: one file that both entries share was expected, not ${names.join()}`,
    );
  }
  const [heap, rest, shared] = names.map((name) => withOwnNames(readFileSync(join(directory, name), "utf8")));
  return [
    ["mod.js", withHeader(`export * from "./${REST}";\n`, "mod.d.ts")],
    ["heap.js", withHeader(heap!, "heap.d.ts")],
    [REST, withHeader(await withShortLocals(rest!, scratch))],
    [SHARED, withHeader(await withShortLocals(shared!, scratch))],
  ];
}

/**
 * esbuild writes `Name = class _Name` where a class names itself, and that would be its name. Without one it is called as
 * the variable is.
 */
function withOwnNames(text: string): string {
  let named = text;
  for (const [definition, name] of text.matchAll(/\b([\w$]+)=class _\1\b/g)) {
    named = named.replace(definition, `${name}=class`).replaceAll(
      new RegExp(`(?<![\\w$#.])_${name}(?![\\w$])`, "g"),
      name!,
    );
  }
  return named;
}

/**
 * Shortens the names that are not at the top of a file. esbuild leaves alone what is at the top of a script, as others may
 * know it, but not what is at the top of a module: so imports, exports and `import.meta` wait outside.
 */
async function withShortLocals(text: string, scratch: string): Promise<string> {
  const [, imports, script, exports] = /^((?:import\{[^}]*\}from"[^"]*";)*)(.*)(export\{[^}]*\};\s*)$/s.exec(text) ??
    [];
  if (script === undefined || /^(?:import|export)\b/m.test(script) || script.includes(MODULE_URL)) {
    throw new Error("Cannot shorten a file: it is more than imports, a script and exports");
  }
  const [from, to] = [join(scratch, "script.js"), join(scratch, "shorter.js")];
  writeFileSync(from, script.replaceAll("import.meta.url", MODULE_URL));
  await runTool(ESBUILD, [from, ...SHORT, "--minify-identifiers", `--outfile=${to}`]);
  return `${imports}${readFileSync(to, "utf8").replaceAll(MODULE_URL, "import.meta.url")}${exports}`;
}

/**
 * A file's text under its first lines: the mark by which Bun knows that there is nothing to transpile, for JSR where the
 * types are, and the licence.
 */
function withHeader(text: string, types?: string): string {
  const { name, version, license } = readDescription();
  const typed = types === undefined ? "" : `/* @ts-self-types="./${types}" */\n`;
  return `// @bun\n${typed}// ${name} ${version}, ${license} licence: see LICENSE.\n${text}`;
}

/** The declaration files. */
async function declare(scratch: string): Promise<PackageFile[]> {
  const directory = join(scratch, "types");
  const project = join(scratch, "tsconfig.json");
  const compilerOptions = {
    ...{ noEmit: false, declaration: true, emitDeclarationOnly: true, stripInternal: true },
    // The sources are checked by `deno task verify`, and here without the types of a runtime.
    ...{ noCheck: true, types: [], paths: {}, rootDir: root, outDir: directory },
  };
  const files = ["mod.ts", "heap.ts"].map((file) => join(root, file));
  writeFileSync(
    project,
    JSON.stringify({ extends: join(root, "tsconfig.json"), compilerOptions, include: [], files }),
  );
  await runTool(TYPESCRIPT, ["--project", project]);
  const read = (path: string) => readFileSync(join(directory, path), "utf8");
  const whole = joinDeclarations("mod.d.ts", read);
  const heap = joinDeclarations("heap.d.ts", read);
  for (const [name, kind] of heap.names) {
    if (whole.names.get(name) !== kind) {
      throw new Error(`Cannot declare ${name} in heap.d.ts: mod.d.ts has it otherwise`);
    }
  }
  const list = [...heap.names].map(([name, kind]) => kind === "type" ? `  type ${name},\n` : `  ${name},\n`).join("");
  return [
    ["mod.d.ts", `${moduleDoc("mod.ts")}${whole.text}`],
    ["heap.d.ts", `${moduleDoc("heap.ts")}export {\n${list}} from "./mod.js";\n`],
  ];
}

/** The documentation that an entry begins with, which tsc leaves out. */
function moduleDoc(file: string): string {
  const source = readFileSync(join(root, file), "utf8");
  return source.slice(0, source.indexOf("*/\n") + "*/\n".length);
}

/** `package.json` and `deno.json`. */
function describePackage(): PackageFile[] {
  const { private: _private, scripts: _scripts, devDependencies: _tools, ...kept } = readDescription();
  const { name, version, license } = kept;
  const forNode = {
    ...kept,
    // What registers the page source may be in any of them.
    sideEffects: ["mod.js", "heap.js", REST, SHARED].map((file) => `./${file}`),
    types: "./mod.d.ts",
    files: ["*.js", "*.d.ts", "CHANGELOG.md"],
    exports: {
      ".": { types: "./mod.d.ts", default: "./mod.js" },
      "./heap": { types: "./heap.d.ts", default: "./heap.js" },
    },
  };
  const forDeno = {
    ...{ name, version, license, exports: { ".": "./mod.js", "./heap": "./heap.js" } },
    // Git ignores the directory, and what git ignores would not be published.
    publish: { exclude: ["!.", "package.json"] },
  };
  return [
    ["package.json", `${JSON.stringify(forNode, null, 2)}\n`],
    ["deno.json", `${JSON.stringify(forDeno, null, 2)}\n`],
  ];
}

function readDescription(): Description {
  return JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Description;
}

if (import.meta.main) {
  const directory = resolve(process.argv[2] ?? join(root, "dist"));
  for (const name of await buildPackage(directory)) {
    console.log(`${name.padEnd(16)} ${`${readFileSync(join(directory, name)).length}`.padStart(7)} bytes`);
  }
}
