/**
 * The development tools from npm, in the versions that package.json pins: from node_modules where they are installed,
 * else fetched by npx, so that a machine needs nothing but npm.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { execute, root } from "./runners.ts";

/** A tool: the package that it is in, and the name of the command. */
export type Tool = readonly [packageName: string, command: string];

/** The bundler. */
export const ESBUILD: Tool = ["esbuild", "esbuild"];

/** The TypeScript compiler. */
export const TYPESCRIPT: Tool = ["typescript", "tsc"];

/**
 * Runs a tool to its end, from the root.
 *
 * @throws {Error} When it fails, with what it wrote.
 */
export async function runTool([packageName, command]: Tool, args: readonly string[]): Promise<void> {
  const wanted = readVersion("package.json", ({ devDependencies }) => devDependencies?.[packageName]);
  const installed = readVersion(`node_modules/${packageName}/package.json`, ({ version }) => version);
  const { code, output } = wanted === installed && process.platform !== "win32"
    ? await execute(join(root, "node_modules/.bin", command), args)
    : await execute("npx", ["-y", `--package=${packageName}@${wanted}`, command, ...args]);
  if (code !== 0) throw new Error(`Cannot run ${command} ${args.join(" ")}: it ended with ${code}\n${output}`);
}

interface PackageFile {
  readonly version?: string;
  readonly devDependencies?: { readonly [name: string]: string };
}

function readVersion(file: string, of: (json: PackageFile) => string | undefined): string | undefined {
  const path = join(root, file);
  return existsSync(path) ? of(JSON.parse(readFileSync(path, "utf8")) as PackageFile) : undefined;
}
