/**
 * Running the measuring programs of bench/.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { isLinux, runFile, type RunResult, runtimeName } from "./runtime.ts";

/** The programs bind the C library by its glibc name, and know two runtimes. */
export const cannotMeasure: boolean = !isLinux || runtimeName === "node";

/** What a program prints that must end well. */
export async function runBench(file: string, args: readonly string[]): Promise<string> {
  return outputOf(await runFile(`bench/${file}`, { args }));
}

/** What a program printed that must have ended well. */
export function outputOf({ code, stdout, stderr }: RunResult): string {
  assertEquals(code, 0, stderr);
  return stdout;
}
