/**
 * Validation of the options of the in-band allocators.
 *
 * @module
 */
import { assertSize } from "./arguments.ts";
import { describeValue } from "./errors.ts";
import type { PageSource } from "./page_source.ts";

/** Bytes of a region where address space costs nothing: sixteen OS pages for one system call. */
const REGION_SIZE = 65_536;

/** Throws unless `value` is one of `choices`. */
export function assertChoice(value: unknown, name: string, choices: readonly (string | number)[]): void {
  if (choices.includes(value as string | number)) return;
  const ErrorClass = choices.some((choice) => typeof choice === typeof value) ? RangeError : TypeError;
  const list = choices.map((choice) => describeValue(choice)).join(", ");
  throw new ErrorClass(`Cannot use ${describeValue(value)} as ${name}: it must be one of ${list}`);
}

/** Throws unless `value` is a boolean. */
export function assertBoolean(value: unknown, name: string): void {
  if (typeof value === "boolean") return;
  throw new TypeError(`Cannot use ${describeValue(value)} as ${name}: it must be a boolean`);
}

/** Throws unless `value` is a function or not there. */
export function assertHook(value: unknown): void {
  if (value === undefined || typeof value === "function") return;
  throw new TypeError(`Cannot use ${describeValue(value)} as onEvent: it must be a function`);
}

/** The least bytes of a region over `source`, in whole pages. */
export function regionSizeFor(source: PageSource, wanted: number | undefined): number {
  if (wanted !== undefined) assertSize(wanted, "regionSize");
  const bytes = wanted ?? (source.lazy ? REGION_SIZE : source.pageSize);
  return Math.max(1, Math.ceil(bytes / source.granularity)) * source.granularity;
}
