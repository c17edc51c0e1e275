/**
 * The modes: an allocator, and how its blocks are held.
 *
 * @module
 */
import {
  type Allocator,
  basicalloc,
  DebugAllocator,
  GuardAllocator,
  Heap,
  memAlloc,
  type PageSource,
  QuarantineAllocator,
  rulloc,
  rustyMalloc,
  SharedHeap,
} from "../../mod.ts";
import { contiguousPageSource } from "../../src/contiguous_page_source.ts";
import type { Holding } from "./holders.ts";

/** One column of the table. */
export interface Mode {
  /** For the command line and the table of expectations. */
  readonly name: string;
  /** For the page. */
  readonly title: string;
  /** In a few words, for the page. */
  readonly what: string;
  /** Misuses that are not committed in this mode, because they would hit memory of the runtime's. */
  readonly skips?: readonly string[];
  /** How blocks are held. */
  readonly holding: Holding;
  /** Makes the allocator. */
  make(source: PageSource): Allocator;
}

const BY_C = "read and written by C";

/** The reference systems. */
export const SYSTEMS: readonly Mode[] = [
  {
    name: "basicalloc",
    title: "`basicalloc()`",
    what: `the reference system, ${BY_C}`,
    holding: "address",
    make: (source) => basicalloc({ source }),
  },
  {
    name: "rustyMalloc",
    title: "`rustyMalloc()`",
    what: `the reference system, in one contiguous buffer, ${BY_C}`,
    holding: "address",
    make: (source) => rustyMalloc({ source: contiguousPageSource(source, 2 ** 28) }),
  },
  {
    name: "memAlloc",
    title: "`memAlloc()`",
    what: `the reference system, ${BY_C}`,
    holding: "address",
    make: (source) => memAlloc({ source }),
  },
  {
    name: "rulloc",
    title: "`rulloc()`",
    what: `the reference system, ${BY_C}`,
    holding: "address",
    make: (source) => rulloc(undefined, { source }),
  },
];

/** All modes, in the order of the page. */
export const MODES: readonly Mode[] = [
  {
    name: "heap",
    title: "`Heap`, address",
    what: `\`new Heap()\`: addresses from \`allocate\`, ${BY_C}`,
    holding: "address",
    make: (source) => new Heap({ source }),
  },
  {
    name: "view",
    title: "`Heap`, view",
    what: "the same, and JavaScript reads and writes through the `Uint8Array` of `view`",
    holding: "view",
    make: (source) => new Heap({ source }),
  },
  {
    name: "buffer",
    title: "`NativeBuffer`",
    what: "the same, and JavaScript reads and writes through the `bytes` of `buffer`",
    holding: "buffer",
    make: (source) => new Heap({ source }),
  },
  {
    name: "guard",
    title: "`GuardAllocator`",
    what: `\`new GuardAllocator()\`: every block before a guard page, ${BY_C}`,
    holding: "address",
    make: (source) => new GuardAllocator({ source }),
  },
  {
    name: "secure",
    title: "`Heap`, secure",
    what: `\`new Heap({ secure: true })\`: cleared, delayed, at random places (the seed is fixed), ${BY_C}`,
    holding: "address",
    make: (source) => new Heap({ source, secure: { seed: 1 } }),
  },
  {
    name: "quarantine",
    title: "`QuarantineAllocator`",
    what: `over a \`Heap\`, with \`maxBlocks: 32\`, ${BY_C}`,
    holding: "address",
    make: (source) => new QuarantineAllocator(new Heap({ source }), { maxBlocks: 32 }),
  },
  {
    name: "debug",
    title: "`DebugAllocator`",
    what: `over a \`Heap\`, ${BY_C}`,
    holding: "address",
    make: (source) => new DebugAllocator(new Heap({ source })),
  },
  {
    name: "shared",
    title: "`SharedHeap`",
    what:
      `of one worker, ${BY_C}; over the system's memory as it is, as it takes no other source; on Windows a freed huge block keeps its contents`,
    holding: "address",
    // There are no fences around its mappings.
    skips: ["one_mbyte_underflow", "one_mbyte_memcpy_underflow", "use_after_dispose"],
    make: () => SharedHeap.create({ reserve: 2 ** 30 }),
  },
  ...SYSTEMS,
];
