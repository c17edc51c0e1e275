/**
 * Runs misuses in child processes: as many as will go in one, and a new one after each that was ended by a fault.
 *
 * @module
 */
import { isWindows, runFile, type RunResult } from "../support/runtime.ts";
import { GROUPS } from "./catalogue.ts";
import type { Mode } from "./modes.ts";
import { isIn } from "./programs.ts";
import type { Result } from "./scene.ts";

/** Everything that makes sense in a mode, as `NAME/VARIANT`. */
export function itemsOf(mode: Mode, isLinux: boolean): string[] {
  return GROUPS.flatMap(({ misuses }) => misuses)
    .filter((misuse) => isIn(misuse, mode) && (misuse.needs !== "linux" || isLinux))
    .flatMap(({ name, sizes }) => sizes.map((size) => `${name}/${size}`));
}

/** Commits `items` in `mode`; the results in the same order. */
export async function runItems(mode: Mode, items: readonly string[]): Promise<Map<string, Result>> {
  const results = new Map<string, Result>();
  while (results.size < items.length) {
    const rest = items.slice(results.size);
    const child = await runFile("tests/misuse/child.ts", { args: [mode.name, ...rest], timeoutMs: 120_000 });
    const before = results.size;
    const ended = collect(child.stdout, results);
    if (ended !== undefined) results.set(ended, ending(child));
    if (results.size === before) throw new Error(`Cannot run ${mode.name} ${rest[0]}: ${describeEnd(child)}`);
  }
  return results;
}

/** Reads what a child wrote. The item that has no result, if there is one, is the one that it ended in. */
function collect(stdout: string, results: Map<string, Result>): string | undefined {
  let current: string | undefined;
  for (const line of stdout.split(/\r?\n/)) {
    if (line.startsWith("> ")) current = line.slice(2);
    else if (line.startsWith("= ") && current !== undefined) {
      results.set(current, JSON.parse(line.slice(2)) as Result);
      current = undefined;
    }
  }
  return current;
}

/** What a process that ended in the middle of a misuse came to. Windows has no signals: there any failing code will do. */
function ending(child: RunResult): Result {
  const faulted = isWindows
    ? child.code !== 0 && !child.stderr.includes("Error: ")
    : child.signal === "SIGSEGV" || child.signal === "SIGBUS" || child.code === 139;
  return { outcome: faulted ? "fault" : `broken: ${describeEnd(child)}`, message: "", subject: "" };
}

function describeEnd({ code, signal, stderr }: RunResult): string {
  return `code ${code}, signal ${signal}\n${stderr.slice(0, 2000)}`;
}
