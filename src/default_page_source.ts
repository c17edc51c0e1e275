/**
 * The page source of allocators that are given none.
 *
 * `src/` knows no operating system; `heap.ts` registers the system's page source here, for `mod.ts` too. What is registered is
 * a function: nothing is loaded before the first allocator is made.
 *
 * @module
 */
import { UnsupportedPlatformError } from "./errors.ts";
import type { PageSource } from "./page_source.ts";

let makeDefault: (() => PageSource) | undefined;

/** Registers the function that makes the default page source. */
export function setDefaultPageSource(make: () => PageSource): void {
  makeDefault = make;
}

/**
 * The default page source.
 *
 * @throws {UnsupportedPlatformError} When none is registered, or the system's cannot be loaded.
 */
export function defaultPageSource(): PageSource {
  if (makeDefault === undefined) {
    throw new UnsupportedPlatformError("Cannot find a page source: pass one as the source option, or import mod.ts");
  }
  return makeDefault();
}
