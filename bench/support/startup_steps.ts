/**
 * The programs of `bench/startup.ts`.
 *
 * @module
 */
import { dirname } from "node:path";

/** A program. */
export interface Step {
  readonly name: string;
  /** Its source, given the path of the package's module, which a bundler wants. */
  readonly source: (module: string) => string;
  /** Whether it is made one file first, without what it does not use. */
  readonly bundled?: boolean;
}

/** The step that the others are compared with. */
export const EMPTY = "empty program";

/** The step that the bar is about. */
export const FIRST = "first block";

const FIRST_BLOCK = "new Heap().allocate(64);";

/** The programs, each with what the ones before it of the same kind do. */
export const STEPS: readonly Step[] = [
  { name: EMPTY, source: () => "" },
  { name: "import of a module without imports", source: (module) => `import "${besides(module)}src/size_class.ts";` },
  { name: "import", source: (module) => `import "${module}";` },
  {
    name: "page source",
    source: (module) => `import { systemPageSource } from "${module}"; systemPageSource();`,
  },
  { name: "heap", source: (module) => `import { Heap } from "${module}"; new Heap();` },
  { name: FIRST, source: (module) => `import { Heap } from "${module}"; ${FIRST_BLOCK}` },
  { name: "import, only the modules of Heap", source: (module) => onlyHeap(module) },
  {
    name: "first block, only the modules of Heap",
    source: (module) => `${onlyHeap(module)} new Heap({ source: systemPageSource() }).allocate(64);`,
  },
  { name: "import, all in one file", bundled: true, source: (module) => `export * from "${module}";` },
  {
    name: "first block, all in one file",
    bundled: true,
    source: (module) => `export * from "${module}"; import { Heap } from "${module}"; ${FIRST_BLOCK}`,
  },
  {
    name: "first block, bundled with the program",
    bundled: true,
    source: (module) => `import { Heap } from "${module}"; ${FIRST_BLOCK}`,
  },
];

function besides(module: string): string {
  return `${dirname(module)}/`;
}

function onlyHeap(module: string): string {
  const root = besides(module);
  return [
    // By themselves too: what a program does not use is left out by a compiler.
    `import "${root}ffi/system_page_source.ts"; import { systemPageSource } from "${root}ffi/system_page_source.ts";`,
    `import "${root}src/heap.ts"; import { Heap } from "${root}src/heap.ts";`,
  ].join("\n");
}
