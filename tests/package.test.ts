/**
 * The package as it is published: built into a temporary directory, used by programs of the runtime under test.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import * as source from "../mod.ts";
import { buildPackage } from "../scripts/build_package.ts";
import { joinDeclarations } from "../scripts/declarations.ts";
import { ESBUILD, runTool, TYPESCRIPT } from "../scripts/npm_tools.ts";
import { isEmulated, isWindows, rootPath, run, runFile, runtimeName } from "./support/runtime.ts";

// It is built on the machine of a developer or of CI: there is no npm in Wine, on the emulated processors, or in Bun's
// own container.
const cannotBuild = isWindows || isEmulated || spawnSync("npx", ["--version"]).status !== 0;

/** What a program finds in both entries and does with them, as JSON. */
const PROGRAM = `
import * as whole from "@offheap/alloc";
import * as part from "@offheap/alloc/heap";

const heap = new part.Heap();
const address = heap.allocate(100);
heap.view(address).fill(7);
const copy = heap.reallocate(address, 5000);
const sum = heap.view(copy).subarray(0, 100).reduce((a, b) => a + b);
heap.free(copy);
function error(action: () => void): unknown {
  try {
    action();
  } catch (thrown) {
    return thrown;
  }
}
const double = error(() => heap.free(copy)) as Error;
heap.check();

const debug = new whole.DebugAllocator(new whole.Heap(), { stacks: true });
function freeTwice(): void {
  const block = debug.allocate(8);
  debug.free(block);
  debug.free(block);
}
const violation = error(freeTwice) as whole.InvalidFreeError;
const history = violation.message;
const stacks = [violation.allocatedAt, violation.freedAt].map((stack) => String(stack?.stack).split("\\n"));

console.log(JSON.stringify({
  sum,
  live: heap.stats().liveBlocks,
  double: [double.name, double.message.replace(/0x[0-9a-f]+/, "ADDRESS")],
  same: double instanceof whole.InvalidFreeError && heap instanceof whole.Heap,
  source: heap.source === whole.systemPageSource(),
  whole: Object.keys(whole).sort(),
  part: Object.keys(part).filter((name) => Object.is(part[name as "Heap"], whole[name as "Heap"])).sort(),
  names: Object.entries(whole).filter(([name, value]) => /^[A-Z]/.test(name) && value.name !== name).map(([name]) => name),
  stacks: stacks.map(([head, first]) => [head, /freeTwice|error/.exec(first ?? "")?.[0]]),
  frames: history.split("\\n").filter((line) => line.includes(" at ")).map((line) => /freeTwice|error/.exec(line)?.[0]),
}));
`;

/** What must type-check, and what must not. */
const TYPED = `
import { type Address, type Allocator, Arena, Heap, InvalidFreeError, type PageSource, Vec } from "@offheap/alloc";
import { Heap as OnlyHeap, type HeapOptions, systemPageSource } from "@offheap/alloc/heap";

const source: PageSource = systemPageSource();
const options: HeapOptions = { source, limit: 2 ** 20 };
const allocator: Allocator = new OnlyHeap(options);
const same: Heap = new OnlyHeap();
const address: Address = same.allocate(16);
const words: Float64Array = same.array(Float64Array, 4);
const kind: "double" | "foreign" | "interior" = (null as unknown as InvalidFreeError).kind;
const owned = same.buffer(8);
// Whatever takes bytes takes these, without a cast.
const response = new Response(owned.bytes);
const digest = crypto.subtle.digest("SHA-256", allocator.view(address));
const body = fetch("http://localhost", { method: "POST", body: same.view(address) });
crypto.getRandomValues(same.array(Uint8Array, 8));
const parts: ArrayBuffer[] = [owned.arrayBuffer, owned.view(Int32Array).buffer, new Vec(Uint8Array).asArray().buffer];
console.log(allocator, address, words, kind, Arena, Vec, response, digest, body, parts, new Blob([owned.bytes]));
// @ts-expect-error Not a number.
same.allocate("16");
// @ts-expect-error There is no such option.
new Heap({ sources: source });
import { ArenaScope } from "@offheap/alloc";
// @ts-expect-error Only its type is exported.
console.log(ArenaScope);
// @ts-expect-error It is not exported at all.
import { HeapCore } from "@offheap/alloc";
console.log(HeapCore);
`;

describe("the package as built", { ignore: cannotBuild }, () => {
  let directory = "";
  let files: string[] = [];
  // Where a package manager would have put it, for all runtimes: nothing there is under deno.json.
  const installed = () => join(directory, "node_modules/@offheap/alloc");
  const read = (name: string) => readFileSync(join(installed(), name), "utf8");

  function program(name: string, text: string): string {
    const file = join(directory, name);
    writeFileSync(file, text);
    return file;
  }

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "offheap-test-"));
    files = await buildPackage(installed());
    program("package.json", `{ "type": "module", "dependencies": { "@offheap/alloc": "*" } }`);
    program("deno.json", `{ "nodeModulesDir": "manual", "lock": false }`);
  });

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("has two entries, their declarations, two files of code, and the papers", () => {
    assertEquals(files.filter((file) => /\.(js|ts)$/.test(file)), [
      ...["heap.d.ts", "heap.js", "mod.d.ts", "mod.js"],
      ...["offheap.js", "offheap_heap.js"],
    ]);
    for (const file of ["README.md", "LICENSE", "CHANGELOG.md"]) {
      assertEquals(read(file), readFileSync(join(rootPath, file), "utf8"), file);
    }
  });

  it("is built over an earlier build, and never over anything else", async () => {
    assertEquals(await buildPackage(installed()), files);
    const own = join(directory, "own");
    mkdirSync(own);
    // The first is a name that a build has too; with the second it could be an earlier build, and with the third not.
    for (const name of ["package.json", "offheap_heap.js", "thesis.txt"]) {
      writeFileSync(join(own, name), name);
      if (name === "offheap_heap.js") continue;
      const telling = `it has ${name} in it, which no build has written`;
      await assertRejects(() => buildPackage(own), Error, telling);
      assertEquals(readFileSync(join(own, "package.json"), "utf8"), "package.json");
    }
    assertEquals(readdirSync(own).sort(), ["offheap_heap.js", "package.json", "thesis.txt"]);
  });

  it("works, with one copy of each class for both entries, and classes that have their names", async () => {
    const { code, stdout, stderr } = await runFile(program("program.ts", PROGRAM), { cwd: directory });
    assertEquals([code, stderr], [0, ""]);
    const found = JSON.parse(stdout);
    assertEquals([found.sum, found.live], [700, 0]);
    assertEquals(found.double, [
      "InvalidFreeError",
      "Cannot free ADDRESS: the block is already freed",
    ]);
    assert(found.same && found.source, stdout);
    assertEquals(found.whole, Object.keys(source).sort());
    assertEquals(found.part, Object.keys(await import("../heap.ts")).sort());
    assertEquals(found.names, []);
    // Allocated, freed, and nothing of the package before the program's own.
    assert(found.frames.length >= 2 && found.frames[0] === "freeTwice", stdout);
    assertEquals(found.stacks, [["Error: allocated", "freeTwice"], ["Error: freed", "freeTwice"]]);
  });

  it("works in a bundle that leaves out what a program does not use", async () => {
    for (const entry of ["@offheap/alloc", "@offheap/alloc/heap"]) {
      const text = `import { Heap } from "${entry}"; console.log(new Heap().allocate(64) > 0);`;
      const [source, bundle] = [program("small.ts", text), join(directory, "small.js")];
      // Bun's bundler leaves out more than esbuild.
      if (runtimeName === "bun") {
        const built = await run(process.execPath, ["build", "--target=bun", `--outfile=${bundle}`, source]);
        assertEquals(built.code, 0, built.stderr);
      } else {
        await runTool(ESBUILD, [source, "--bundle", "--format=esm", "--log-level=error", `--outfile=${bundle}`]);
      }
      const { code, stdout, stderr } = await runFile(bundle, { cwd: directory });
      assertEquals([code, stdout.trim(), stderr], [0, "true", ""], entry);
    }
  });

  it("type-checks", async () => {
    const file = program("typed.ts", TYPED);
    if (runtimeName === "deno") {
      const { code, stdout, stderr } = await run(process.execPath, ["check", "--quiet", file], { cwd: directory });
      assertEquals(code, 0, stdout + stderr);
    } else {
      const flags = ["--noEmit", "--strict", "--lib", "esnext,dom", "--module", "nodenext", "--target", "esnext"];
      await runTool(TYPESCRIPT, ["--ignoreConfig", ...flags, file]);
    }
  });

  it("declares what it exports, each with its documentation", () => {
    const text = read("mod.d.ts");
    const declared = [
      ...text.matchAll(/^(.*)\nexport (?:declare )?(?:abstract )?(class|function|interface|type|const) (\w+)/gm),
    ];
    assertEquals(declared.filter(([, before]) => !before!.endsWith("*/")).map(([, , , name]) => name), []);
    const values = declared.filter(([, , kind]) => kind !== "interface" && kind !== "type");
    assertEquals([...new Set(values.map(([, , , name]) => name!))].sort(), Object.keys(source).sort());
    assertMatch(text, /^\/\*\*\n \* Native memory for Deno and Bun/);
    assertMatch(
      read("heap.d.ts"),
      /^\/\*\*\n \* The general-purpose heap alone[\s\S]*\n {2}Heap,\n[\s\S]*} from "\.\/mod\.js";/,
    );
  });

  it("describes itself to npm and to JSR", () => {
    const { private: hidden, version, exports, types, sideEffects } = JSON.parse(read("package.json"));
    const own = JSON.parse(readFileSync(join(rootPath, "package.json"), "utf8"));
    assertEquals([hidden, version, types], [undefined, own.version, "./mod.d.ts"]);
    const forDeno = JSON.parse(read("deno.json"));
    assertEquals([forDeno.name, forDeno.version, forDeno.license], [own.name, own.version, own.license]);
    for (const [entry, name] of [[".", "mod"], ["./heap", "heap"]] as const) {
      assertEquals(exports[entry], { types: `./${name}.d.ts`, default: `./${name}.js` });
      assertEquals(forDeno.exports[entry], `./${name}.js`);
      assertMatch(
        read(`${name}.js`),
        new RegExp(`^// @bun\n/\\* @ts-self-types="\\./${name}\\.d\\.ts" \\*/\n.* MIT licence`),
      );
    }
    assertEquals(sideEffects.sort(), files.filter((file) => file.endsWith(".js")).map((file) => `./${file}`));
  });
});

describe("joinDeclarations()", () => {
  const join = (files: Record<string, string>) => joinDeclarations("mod.d.ts", (path) => files[path]!);
  const entry = `/** The entry. @module */\nexport { Heap } from "./src/heap.ts";\n`;

  it("keeps what an entry exports and what that refers to, in one file", () => {
    const { names, text } = join({
      "mod.d.ts": `${entry}export * from "./src/more.ts";\nexport type { Scope } from "./src/scope.ts";\n`,
      "src/heap.d.ts": `import type { Address } from "./address.ts";\n/** A heap. */\nexport declare class Heap {\n` +
        `    at(): Address;\n    /** Not of type Unused. */\n    mode(): Mode;\n}\ninterface Unused {\n}\n` +
        `type Mode = \n/** One. */\n"one"\n/** Two. */\n | {\n    two: number;\n};\nexport {};\n`,
      "src/address.d.ts": `/** An address. */\nexport type Address = number;\n`,
      "src/more.d.ts":
        `/** More. */\nexport declare function more(): void;\nexport declare function more(x: number): number;\n`,
      "src/scope.d.ts": `/** A scope. */\nexport declare class Scope {\n}\n`,
    });
    assertEquals([...names], [["Heap", "value"], ["Scope", "type"], ["more", "value"]]);
    assertEquals(
      text,
      [
        ...["/** A heap. */", "export declare class Heap {", "    at(): Address;", "    /** Not of type Unused. */"],
        ...["    mode(): Mode;", "}", "/** A scope. */", "declare class Scope {", "}", "/** More. */"],
        ...["export declare function more(): void;", "export declare function more(x: number): number;"],
        ...["/** An address. */", "type Address = number;"],
        ...["type Mode = ", "/** One. */", `"one"`, "/** Two. */", " | {", "    two: number;", "};"],
        ...["export type { Scope };", ""],
      ].join("\n"),
    );
  });

  it("throws on what it does not know", () => {
    const cases: [Record<string, string>, string][] = [
      [{ "mod.d.ts": `export { Heap as Pile } from "./src/heap.ts";` }, "Heap as Pile in mod.d.ts: it is renamed"],
      [{ "mod.d.ts": `export declare const a: import("./b.ts").B;` }, "Cannot understand a declaration of mod.d.ts"],
      [{ "mod.d.ts": entry, "src/heap.d.ts": "export {};" }, "Cannot find Heap in src/heap.d.ts"],
      [
        {
          "mod.d.ts": entry,
          "src/heap.d.ts":
            `import { Other } from "./other.ts";\ntype Options = 1;\nexport type Heap = Options | Other;`,
          "src/other.d.ts": `type Options = 2;\nexport type Other = Options;`,
        },
        "both declare Options",
      ],
    ];
    for (const [files, message] of cases) assertThrows(() => join(files), Error, message);
  });
});
