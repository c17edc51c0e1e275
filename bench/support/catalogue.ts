/**
 * The names of everything that can be measured, and which table each belongs to. Data only: opening is in subjects.ts.
 *
 * | name            | what                                                                          | group   |
 * |-----------------|-------------------------------------------------------------------------------|---------|
 * | `heap`          | `new Heap()` of this package, or of the module given with `--module`          | -       |
 * | `null`          | nothing: a number in the place of an address                                  | -       |
 * | `null-handles`  | nothing: always the same object                                               | -       |
 * | `ffi-malloc`    | the C library's malloc by FFI, in the runtime's cheapest spelling             | peers   |
 * | `uint8array`    | `new Uint8Array(size)`, freed by forgetting it                                | peers   |
 * | `buffer`        | `Buffer.allocUnsafe(size)`, likewise                                          | peers   |
 * | `thi.ng`        | `@thi.ng/malloc`, one pool of a fixed size                                    | peers   |
 * | `basicalloc`    | this package's `basicalloc()`                                                 | systems |
 * | `rustyMalloc`   | `rustyMalloc()`                                                               | systems |
 * | `memAlloc`      | `memAlloc()`                                                                  | systems |
 * | `rulloc`        | `rulloc()`, with its usual buckets                                            | systems |
 * | `arena`         | `new Arena()`, every block freed by itself: what order of death it needs      | systems |
 * | `pool`          | `new PoolAllocator({ slotSize: 64 })`: loops of one size only                 | -       |
 * | `bump`          | `new BumpAllocator()` of 1 MiB: loops that drop everything only               | -       |
 * | `shared`        | `SharedHeap.create()`, one worker                                             | -       |
 * | `zeroOnFree`    | `new Heap({ zeroOnFree: true })`                                              | modes   |
 * | `secure`        | `new Heap({ secure: true })`                                                  | modes   |
 * | `debug`         | `new DebugAllocator(new Heap())`                                              | modes   |
 * | `quarantine`    | `new QuarantineAllocator(new Heap())`                                         | modes   |
 * | `guard-sampled` | `new GuardAllocator({ sampleRate: 1000 })`: one block in a thousand           | modes   |
 * | `guard`         | `new GuardAllocator()`: every block                                           | modes   |
 * | `native-buffer` | `heap.buffer(size)` for every block: each with an ArrayBuffer of its own      | modes   |
 *
 * @module
 */

/** Which table of allocators on traces a subject is in. */
export type Group = "peers" | "systems" | "modes";

/** One subject. */
export interface SubjectInfo {
  readonly name: string;
  readonly group?: Group;
  /** The sides on which it gives handles and not addresses. */
  readonly handles?: "all" | "deno";
}

/** Every subject, in the order of the tables. */
export const SUBJECTS: readonly SubjectInfo[] = [
  { name: "heap" },
  { name: "null" },
  { name: "null-handles", handles: "all" },
  { name: "ffi-malloc", group: "peers", handles: "deno" },
  { name: "uint8array", group: "peers", handles: "all" },
  { name: "buffer", group: "peers", handles: "all" },
  { name: "thi.ng", group: "peers" },
  { name: "basicalloc", group: "systems" },
  { name: "rustyMalloc", group: "systems" },
  { name: "memAlloc", group: "systems" },
  { name: "rulloc", group: "systems" },
  { name: "arena", group: "systems" },
  { name: "pool" },
  { name: "bump" },
  { name: "shared" },
  { name: "zeroOnFree", group: "modes" },
  { name: "secure", group: "modes" },
  { name: "debug", group: "modes" },
  { name: "quarantine", group: "modes" },
  { name: "guard-sampled", group: "modes" },
  { name: "guard", group: "modes" },
  { name: "native-buffer", group: "modes", handles: "all" },
];

/** The groups, in the order of the report. */
export const GROUPS: readonly Group[] = ["peers", "systems", "modes"];

/** The names of a group. */
export function subjectsOf(group: Group): string[] {
  return SUBJECTS.filter((subject) => subject.group === group).map(({ name }) => name);
}

/** Whether a subject gives handles on a side (`"deno"` or `"bun"`). */
export function isHandleSubject(side: string, name: string): boolean {
  const handles = SUBJECTS.find((subject) => subject.name === name)?.handles;
  return handles === "all" || (handles === "deno" && side === "deno");
}
