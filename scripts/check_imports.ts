/**
 * The rules about imports and texts that no linter knows; a part of `deno task lint`.
 *
 * - What only describes the arrows of the architecture: src/ imports nothing but src/, ffi/ nothing but ffi/ and src/,
 *   and neither imports a package or a builtin of Node statically (both load in any runtime, at no cost).
 * - No import cycle among mod.ts, heap.ts, src/ and ffi/, types aside: those are erased.
 * - No address of a package registry and no absolute path of somebody's machine in a tracked file.
 *
 * @module
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import process from "node:process";
import { root } from "./runners.ts";

/** `import ... from "x"`, `export ... from "x"` and `import "x"`, with what stands before `from`. */
const IMPORT = /^\s*(?:import|export)\s+(?:([^"';]*?)\s+from\s+)?"([^"]+)"/gm;

/** Written in two parts, so that this file does not hold what it looks for. */
const FORBIDDEN: readonly [RegExp, string][] = [
  [new RegExp(["registry", "npmjs"].join("\\."), "i"), "an address of a package registry"],
  [new RegExp(["https?://(www\\.)?(jsr\\.io/@|npm", "jsr\\.io)"].join("\\."), "i"), "an address of a package registry"],
  [
    new RegExp(["/", "(work/main|home/[a-z]+|Users/[a-z]+|root|tmp/bin|tmp/platforms)/"].join("")),
    "a path of a machine",
  ],
];

interface Import {
  readonly specifier: string;
  /** Whether only types are imported, which leaves nothing at run time. */
  readonly typeOnly: boolean;
}

function importsOf(source: string): Import[] {
  // Comments hold examples; only those that start a line could look like an import.
  const code = source.replaceAll(/^\s*\/?\*.*$/gm, "");
  return [...code.matchAll(IMPORT)].map(([, clause = "", specifier = ""]) => ({
    specifier,
    typeOnly: /^type\b/.test(clause) || /^\{\s*(type\s+\w+(\s+as\s+\w+)?\s*,?\s*)+\}$/.test(clause),
  }));
}

function trackedFiles(): string[] {
  const output = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: root,
    encoding: "utf8",
  });
  return output.split("\0").filter((file) => file !== "" && existsSync(join(root, file)));
}

/** Whether a module in `from` may import one at `to`, both from the root. */
function isAllowed(from: string, to: string): boolean {
  if (from.startsWith("src/")) return to.startsWith("src/");
  if (from.startsWith("ffi/")) return to.startsWith("ffi/") || to.startsWith("src/");
  return to === "heap.ts" || to.startsWith("src/") || to.startsWith("ffi/");
}

/** A cycle through `start`, as the modules on it, or undefined. */
function cycleThrough(start: string, graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const seen = new Set<string>();
  function search(file: string, path: readonly string[]): string[] | undefined {
    for (const next of graph.get(file) ?? []) {
      if (next === start) return [...path, next];
      if (seen.has(next)) continue;
      seen.add(next);
      const found = search(next, [...path, next]);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  return search(start, [start]);
}

const problems: string[] = [];
const graph = new Map<string, string[]>();
for (const file of trackedFiles()) {
  if (/\.(gz|png|wasm|trace|bin)$/.test(file)) continue;
  const text = readFileSync(join(root, file), "utf8");
  for (const [pattern, what] of FORBIDDEN) {
    const match = pattern.exec(text);
    if (match === null) continue;
    problems.push(`${file}:${text.slice(0, match.index).split("\n").length}: holds ${what}, ${match[0]}`);
  }
  if (!/^((mod|heap)\.ts$|(src|ffi)\/.*\.ts$)/.test(file)) continue;
  const targets: string[] = [];
  for (const { specifier, typeOnly } of importsOf(text)) {
    if (!specifier.startsWith(".")) {
      problems.push(`${file}: imports ${specifier}, which not every runtime has`);
      continue;
    }
    const target = posix.normalize(posix.join(posix.dirname(file), specifier));
    if (!isAllowed(file, target)) problems.push(`${file}: imports ${target}, against the direction of the layers`);
    if (!typeOnly) targets.push(target);
  }
  graph.set(file, targets);
}
const reported = new Set<string>();
for (const file of graph.keys()) {
  const cycle = cycleThrough(file, graph);
  if (cycle === undefined) continue;
  const key = cycle.slice(1).toSorted().join();
  if (!reported.has(key)) problems.push(`Import cycle: ${cycle.join(" -> ")}`);
  reported.add(key);
}

for (const problem of problems) console.error(problem);
console.log(`${graph.size} modules, ${problems.length} problems`);
if (problems.length > 0) process.exitCode = 1;
