/**
 * Every allocator that `mod.ts` exports, and the stacks that can be made of them: what the fault tests, the corpus and
 * `scripts/soak.ts` run on. To add one, add a line to {@link SUBJECTS}.
 *
 * A subject takes its memory from the page source that it is given and from nowhere else, so that whoever runs it can
 * watch that source, or make it fail.
 *
 * @module
 */
import {
  type Allocator,
  Arena,
  basicalloc,
  BucketAllocator,
  BumpAllocator,
  contiguousPageSource,
  DebugAllocator,
  FreeListAllocator,
  GuardAllocator,
  Heap,
  memAlloc,
  type PageSource,
  PoolAllocator,
  QuarantineAllocator,
  rulloc,
  rustyMalloc,
  SharedHeap,
} from "../mod.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** One allocator, or a stack of them. */
export interface Subject {
  /** As on the command line of the soak: short, without spaces. */
  readonly name: string;
  /** Makes a fresh one over `source`. */
  readonly make: (source: PageSource) => Allocator;
  /** The largest block that it gives out. @defaultValue 16 MiB */
  readonly largestBlock?: number;
  /** The largest alignment. @defaultValue 64 KiB */
  readonly largestAlignment?: number;
  /** Whether memory can run out on it though the source has more: it is of a fixed size, or has a limit. */
  readonly runsOut?: boolean;
  /** Whether it wraps several reservations that touch as one. */
  readonly joining?: boolean;
  /** Whether its stats leave out address space that lies ready below it. */
  readonly hidesReservations?: boolean;
  /** Whether time is linear in the count of live blocks, which should then be few. */
  readonly linear?: boolean;
  /** Whether each block is a mapping of its own: hundreds of them are thousands of requests of the page source. */
  readonly mapsBlocks?: boolean;
  /**
   * Whether dispose gives the contents of blocks back before it unmaps them, and does without where that fails: others may
   * be attached, to whom the memory stays.
   */
  readonly discardsInDispose?: boolean;
}

/** All of them. */
export const SUBJECTS: readonly Subject[] = [
  { name: "heap", make: (source) => new Heap({ source }) },
  { name: "heap-limit", make: (source) => new Heap({ source, limit: 24 * MIB }), runsOut: true },
  { name: "heap-zero", make: (source) => new Heap({ source, zeroOnFree: true }) },
  { name: "free-list", make: (source) => new FreeListAllocator({ source }), linear: true },
  {
    name: "free-list-best",
    make: (source) => new FreeListAllocator({ source, fit: "best", order: "lifo", header: 24, coalesce: "lazy" }),
    linear: true,
  },
  { name: "bucket", make: (source) => new BucketAllocator({ source }), linear: true },
  { name: "basicalloc", make: (source) => basicalloc({ source }), joining: true, linear: true },
  { name: "rusty-malloc", make: (source) => rustyMalloc({ source }), joining: true, linear: true },
  {
    name: "rusty-malloc-contiguous",
    make: (source) => rustyMalloc({ source: contiguousPageSource(source, 256 * MIB) }),
    joining: true,
    hidesReservations: true,
    linear: true,
  },
  { name: "mem-alloc", make: (source) => memAlloc({ source }), linear: true },
  { name: "rulloc", make: (source) => rulloc(undefined, { source }), linear: true },
  { name: "bump", make: (source) => new BumpAllocator({ source, size: 48 * MIB }), runsOut: true },
  { name: "arena", make: (source) => new Arena({ source }) },
  { name: "arena-limit", make: (source) => new Arena({ source, chunkSize: 4 * KIB, limit: 24 * MIB }), runsOut: true },
  {
    name: "pool",
    make: (source) => new PoolAllocator({ source, slotSize: 9000, alignment: 64 }),
    largestBlock: 9000,
    largestAlignment: 64,
    runsOut: true,
  },
  {
    name: "pool-fixed",
    make: (source) => new PoolAllocator({ source, slotSize: 9000, capacity: 300, growable: false }),
    largestBlock: 9000,
    largestAlignment: 16,
    runsOut: true,
  },
  { name: "heap-secure", make: (source) => new Heap({ source, secure: true }) },
  { name: "debug", make: (source) => new DebugAllocator(new Heap({ source }), { reportLeaks: false }), linear: true },
  { name: "quarantine", make: (source) => new QuarantineAllocator(new Heap({ source })), linear: true },
  {
    name: "debug-quarantine",
    make: (source) =>
      new DebugAllocator(new QuarantineAllocator(new Heap({ source }), { maxBytes: MIB }), { reportLeaks: false }),
    linear: true,
  },
];

/** Those, and two of which the fault tests make some of their own: see faults_guarded.test.ts. */
export const SOAK_SUBJECTS: readonly Subject[] = [
  ...SUBJECTS,
  { name: "guard", make: (source) => new GuardAllocator({ source }), linear: true, mapsBlocks: true },
  { name: "shared-heap", make: (source) => SharedHeap.create({ source }) },
];

/** The subjects of these names; all for an empty list. */
export function subjectsNamed(names: readonly string[]): readonly Subject[] {
  if (names.length === 0) return SOAK_SUBJECTS;
  return names.map((name) => {
    const subject = SOAK_SUBJECTS.find((one) => one.name === name);
    if (subject !== undefined) return subject;
    const known = SOAK_SUBJECTS.map((one) => one.name).join(", ");
    throw new RangeError(`Cannot use ${JSON.stringify(name)} as an allocator: there are ${known}`);
  });
}
