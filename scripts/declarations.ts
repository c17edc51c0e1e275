/**
 * One declaration file out of the many that tsc writes: what an entry exports, and what that refers to, each with its
 * documentation.
 *
 * ```text
 *   tsc                                              here
 *   mod.d.ts      export { Heap } from "./src/heap.ts"      export declare class Heap ...
 *   src/heap.d.ts import type { Address } from ...     ─▶   export type Address = number;
 *                 export declare class Heap ...             interface TableShape ...      (not exported: nobody's to name)
 *   ...                                                     export {};
 * ```
 *
 * It reads the text as tsc prints it, where every statement starts at the beginning of a line and nothing else does, and
 * throws on what it does not know: a renamed import or export, a name declared by two modules, an inline `import()`.
 *
 * @module
 */
import { posix } from "node:path";

/** What an importer can do with a name. */
export type Kind = "type" | "value";

/** A name in a module. */
interface Place {
  readonly module: string;
  readonly name: string;
}

/** One module, as tsc declares it. */
interface Module {
  /** Text of the declarations, with their documentation, by name. Overloads are one text. */
  readonly declarations: Map<string, string>;
  /** What the names stand for that are imported, or exported from elsewhere. */
  readonly links: Map<string, Place>;
  /** The names that others can import; those marked as types only are types, even where they are classes. */
  readonly exported: Map<string, Kind>;
  /** Modules whose exports are all exported again. */
  readonly all: string[];
}

/** The declarations of an entry. */
export interface Declarations {
  /** The names it exports, sorted. */
  readonly names: ReadonlyMap<string, Kind>;
  /** The text of one file with everything. */
  readonly text: string;
}

const START = /^(?:\/\*\*|export |declare |import |interface |type |class |abstract |const |function |enum )/;
const DECLARATION =
  /^(?:export )?(?:declare )?(?:abstract )?(?:const enum|class|interface|type|const|let|function|enum) ([\w$]+)/;
const LIST = /^(?:export|import) (?:type )?\{([^}]*)\}(?: from "([^"]+)")?;$/;

/** Whether these lines are a whole comment or statement. The members of a union are documented at the start of lines. */
function isComplete(lines: readonly string[] | undefined): boolean {
  if (lines === undefined) return true;
  const text = lines.join("\n");
  if (text.startsWith("/**")) return text.endsWith("*/");
  const code = withoutComments(text);
  const depth = code.split("{").length - code.split("}").length;
  return depth === 0 && (/^(?:export )?type /.test(code) ? code.endsWith(";") : /[;}]$/.test(code));
}

/** Splits a file into its statements, each after its documentation. */
function statementsOf(text: string): { readonly doc: string; readonly code: string }[] {
  const parts: string[][] = [];
  for (const line of text.trimEnd().split("\n")) {
    if (START.test(line) && isComplete(parts.at(-1))) parts.push([]);
    parts.at(-1)!.push(line);
  }
  const statements: { doc: string; code: string }[] = [];
  let doc = "";
  for (const part of parts.map((lines) => lines.join("\n"))) {
    const isDoc = part.startsWith("/**");
    if (!isDoc) statements.push({ doc, code: part });
    doc = isDoc ? part : "";
  }
  return statements;
}

/** Reads the declarations of one module, whose path from the root is `path`. */
function readModule(path: string, text: string): Module {
  const module: Module = { declarations: new Map(), links: new Map(), exported: new Map(), all: [] };
  for (const { doc, code } of statementsOf(text)) {
    // That of the module itself may stand before an import that is not there any more.
    readStatement(module, path, doc.includes("@module") ? "" : doc, code);
  }
  return module;
}

function readStatement(module: Module, path: string, doc: string, code: string): void {
  if (code === "export {};") return;
  const star = /^export \* from "([^"]+)";$/.exec(code)?.[1];
  if (star !== undefined) {
    module.all.push(resolve(path, star));
    return;
  }
  const list = LIST.exec(code);
  if (list !== null) {
    const [, names = "", from] = list;
    for (const part of names.split(",").map((text) => text.trim()).filter((text) => text !== "")) {
      const name = part.replace(/^type /, "");
      if (!/^[\w$]+$/.test(name)) throw new Error(`Cannot follow ${name} in ${path}: it is renamed`);
      if (from !== undefined) module.links.set(name, { module: resolve(path, from), name });
      const kind = name !== part || code.startsWith("export type ") ? "type" : "value";
      if (code.startsWith("export")) module.exported.set(name, kind);
    }
    return;
  }
  const name = DECLARATION.exec(code)?.[1];
  if (name === undefined || /\bimport\(/.test(withoutComments(code))) {
    throw new Error(`Cannot understand a declaration of ${path}: ${code.slice(0, 100)}`);
  }
  const plain = code.replace(/^export /, "");
  if (plain !== code) module.exported.set(name, /^(?:interface|type) /.test(plain) ? "type" : "value");
  const text = `${doc === "" ? "" : `${doc}\n`}${plain}`;
  const before = module.declarations.get(name);
  module.declarations.set(name, before === undefined ? text : `${before}\n${text}`);
}

function resolve(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier).replace(/\.ts$/, ".d.ts");
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, "");
}

/**
 * The declarations of `entry`, from the text of each file that tsc wrote, by its path.
 *
 * @throws {Error} When there is something that this reader does not know.
 */
export function joinDeclarations(entry: string, read: (path: string) => string): Declarations {
  const modules = new Map<string, Module>();
  function moduleAt(path: string): Module {
    let module = modules.get(path);
    if (module === undefined) modules.set(path, module = readModule(path, read(path)));
    return module;
  }
  function declared(place: Place): Place {
    const module = moduleAt(place.module);
    if (module.declarations.has(place.name)) return place;
    const link = module.links.get(place.name);
    if (link !== undefined) return declared(link);
    const through = module.all.find((path) => exportsOf(path).has(place.name));
    if (through !== undefined) return declared({ module: through, name: place.name });
    throw new Error(`Cannot find ${place.name} in ${place.module}`);
  }
  function exportsOf(path: string): Map<string, Kind> {
    const { exported, all } = moduleAt(path);
    return new Map([...all.flatMap((from) => [...exportsOf(from)]), ...exported]);
  }

  const wanted = exportsOf(entry);
  const names = [...wanted.keys()].sort();
  const kept = new Map<string, Place>();
  const queue = names.map((name) => declared({ module: entry, name }));
  for (const place of queue) {
    const other = kept.get(place.name);
    if (other !== undefined) {
      if (other.module === place.module) continue;
      throw new Error(`Cannot join ${other.module} and ${place.module}: both declare ${place.name}`);
    }
    kept.set(place.name, place);
    const { declarations, links } = moduleAt(place.module);
    for (const [word] of withoutComments(declarations.get(place.name)!).matchAll(/[A-Za-z_$][\w$]*/g)) {
      if (declarations.has(word) || links.has(word)) queue.push(declared({ module: place.module, name: word }));
    }
  }

  const texts: string[] = [];
  const kinds = new Map<string, Kind>();
  const asTypes: string[] = [];
  for (const { module, name } of kept.values()) {
    const { declarations, exported } = moduleAt(module);
    const text = declarations.get(name)!;
    const kind = wanted.get(name) === "value" ? exported.get(name) : wanted.get(name);
    if (kind !== undefined) kinds.set(name, kind);
    if (kind === "type" && exported.get(name) === "value") asTypes.push(name);
    const isExported = kind !== undefined && kind === exported.get(name);
    texts.push(isExported ? text.replaceAll(/^(?=(?:declare|interface|type) )/gm, "export ") : text);
  }
  const end = asTypes.length === 0 ? "export {};" : `export type { ${asTypes.sort().join(", ")} };`;
  return {
    names: new Map(names.map((name) => [name, kinds.get(name)!])),
    text: `${texts.join("\n")}\n${end}\n`,
  };
}
