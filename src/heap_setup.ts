/**
 * What a heap is made with, for the fields that are made of it. A base class and no allocator: it has no method.
 *
 * ```text
 *   new Heap(options)
 *    ├─ HeapSetup   options → source, rules       or an error, before anything is reserved
 *    └─ Heap        fields, in their order: core, first range, base ...; each set once
 * ```
 *
 * A class sets its own fields before the body of its constructor runs, so they cannot be made of the constructor's arguments; and
 * a field that is set in the body was `undefined` before, and is not a constant to any compiler. With the arguments in a base
 * class the fields can be made of them, and are set once: in a function that always uses the same heap JavaScriptCore
 * writes the heap's base into the code, instead of a load, a test of the tag and an addition (3 to 5 % of the time of a
 * trace; none on V8. docs/performance.md, "The loop").
 *
 * @module
 */
import { defaultPageSource } from "./default_page_source.ts";
import { type HeapOptions, type HeapRules, heapRules } from "./heap_options.ts";
import type { PageSource } from "./page_source.ts";

/** What a heap was made with. */
export interface Setup {
  /** Where the memory comes from. */
  readonly source: PageSource;
  /** What the options amount to. */
  readonly rules: HeapRules;
}

let readSetup: (heap: HeapSetup) => Setup;

/**
 * What a `Heap` begins as.
 *
 * @ignore
 */
export class HeapSetup {
  readonly #setup: Setup;

  /**
   * Reads the options.
   *
   * @throws {TypeError | RangeError} When one is of the wrong type or value.
   * @throws {UnsupportedPlatformError} When no source is given and the system's cannot be loaded.
   */
  constructor(options: HeapOptions) {
    const rules = heapRules(options);
    this.#setup = { source: options.source ?? defaultPageSource(), rules };
  }

  static {
    readSetup = (heap) => heap.#setup;
  }
}

/** What a heap was made with. */
export function setupOf(heap: HeapSetup): Setup {
  return readSetup(heap);
}
