/**
 * The programs of `bench/startup.ts`.
 *
 * @module
 */
import { dirname } from "node:path";

/** Where a program finds what it imports. */
export interface Places {
  /** The package's module: mod.ts. */
  readonly module: string;
  /** The directory of the package as it is built. */
  readonly built: string;
}

/** How a program is made one file first, without what it does not use: minified, and then compiled as well. */
export type Bundling = "minified" | "bytecode";

/** A program. */
export interface Step {
  readonly name: string;
  /** Its source. */
  readonly source: (places: Places) => string;
  /** @defaultValue not at all */
  readonly bundled?: Bundling;
  /** Whether it imports the package as it is built. */
  readonly needsBuilt?: boolean;
  /** The runtime that it is for, if it is not for all. */
  readonly only?: string;
}

/** The step that the others are compared with. */
export const EMPTY = "empty program";

/** The step that the bar is about. */
export const FIRST = "first block";

const FIRST_BLOCK = "new Heap().allocate(64);";

/** The least that any allocator does: opens the C library, takes an OS page from it, wraps it, gives it back. */
const FLOOR = `
  if (globalThis.Deno) {
    const { symbols } = Deno.dlopen("libc.so.6", {
      mmap: { parameters: ["u64", "u64", "i32", "i32", "i32", "i64"], result: "i64" },
      munmap: { parameters: ["u64", "u64"], result: "i32" },
    });
    const address = symbols.mmap(0, 4096, 3, 0x22, -1, 0);
    new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(Deno.UnsafePointer.create(BigInt(address)), 4096))[0] = 1;
    symbols.munmap(address, 4096);
  } else {
    const { dlopen, toArrayBuffer } = process.getBuiltinModule("bun:ffi");
    const { symbols } = dlopen("libc.so.6", {
      mmap: { args: ["i64_fast", "u64_fast", "i32", "i32", "i32", "i64_fast"], returns: "i64_fast" },
      munmap: { args: ["i64_fast", "u64_fast"], returns: "i32" },
    });
    const address = symbols.mmap(0, 4096, 3, 0x22, -1, 0);
    new Uint8Array(toArrayBuffer(address, 0, 4096))[0] = 1;
    symbols.munmap(address, 4096);
  }`;

/** The programs, each with what the ones before it of the same kind do. */
export const STEPS: readonly Step[] = [
  { name: EMPTY, source: () => "" },
  {
    name: "import of a module without imports",
    source: ({ module }) => `import "${rootOf(module)}src/size_class.ts";`,
  },
  { name: "an OS page by FFI, without the package", source: () => FLOOR },
  { name: "import", source: ({ module }) => `import "${module}";` },
  {
    name: "page source",
    source: ({ module }) => `import { systemPageSource } from "${module}"; systemPageSource();`,
  },
  { name: "heap", source: ({ module }) => `import { Heap } from "${module}"; new Heap();` },
  { name: FIRST, source: ({ module }) => firstBlock(module) },
  { name: "import of heap.ts", source: ({ module }) => `import "${rootOf(module)}heap.ts";` },
  { name: "first block, heap.ts", source: ({ module }) => firstBlock(`${rootOf(module)}heap.ts`) },
  { name: "import, the package as built", needsBuilt: true, source: ({ built }) => `import "${built}/mod.js";` },
  { name: "first block, the package as built", needsBuilt: true, source: ({ built }) => firstBlock(`${built}/mod.js`) },
  { name: "import of its heap.js", needsBuilt: true, source: ({ built }) => `import "${built}/heap.js";` },
  { name: "first block, its heap.js", needsBuilt: true, source: ({ built }) => firstBlock(`${built}/heap.js`) },
  {
    name: "first block, bundled with the program",
    bundled: "minified",
    source: ({ module }) => firstBlock(`${rootOf(module)}heap.ts`),
  },
  {
    name: "first block, bundled as bytecode",
    bundled: "bytecode",
    only: "bun",
    source: ({ module }) => firstBlock(`${rootOf(module)}heap.ts`),
  },
];

function firstBlock(module: string): string {
  return `import { Heap } from "${module}"; ${FIRST_BLOCK}`;
}

/** The directory of the package, with the slash. */
function rootOf(module: string): string {
  return `${dirname(module)}/`;
}
