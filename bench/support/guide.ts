/**
 * The guide of docs/allocators.md: which allocator to pick when, with what it costs. The words are here because the
 * figures stand between them.
 *
 * @module
 */
import { formatGroupMean, groupMean } from "./report_groups.ts";
import { growthTime, memoryMean, microTime, type Results } from "./results.ts";
import { formatNumber, formatTable, type Section } from "./text.ts";

/** One allocator of the guide. */
interface Entry {
  /** As the reader writes it. */
  readonly name: string;
  readonly pick: string;
  readonly not: string;
  /** Its name in catalogue.ts. */
  readonly subject: string;
  /** The time of an allocation and its free, in nanoseconds, on a runtime. */
  readonly cost: (results: Results, side: string, subject: string) => number | undefined;
}

/** Live blocks at which the guide quotes the growth table. */
const LIVE = 1000;

/** Random replacement with 1,000 live: an allocation and a free. */
function replaced(results: Results, side: string, subject: string): number | undefined {
  const time = growthTime(results, side, subject, LIVE)?.median;
  return time === undefined ? undefined : 2 * time;
}

/** A small loop whose operation is an allocation and its free, net of the same loop without an allocator. */
function micro(name: string): Entry["cost"] {
  return (results, side, subject) => {
    const own = microTime(results, name, side, subject)?.median;
    const loop = microTime(results, name, side, "null")?.least;
    return own === undefined || loop === undefined ? undefined : Math.max(own - loop, 0);
  };
}

const ENTRIES: readonly Entry[] = [
  {
    name: "`Heap`",
    subject: "heap",
    pick: "by default: any sizes, any order, any number of blocks",
    not: "the budget is below some megabytes: each size class in use takes 64 KiB",
    cost: replaced,
  },
  {
    name: "`Arena`",
    subject: "arena",
    pick: "blocks that end together: a request, a frame, a parse",
    not: "blocks that end in any order: what is freed comes back late",
    cost: micro("drop-1k"),
  },
  {
    name: "`BumpAllocator`",
    subject: "bump",
    pick: "the same in memory that is fixed from the start",
    not: "nobody can say how much that is",
    cost: micro("drop-1k"),
  },
  {
    name: "`PoolAllocator`",
    subject: "pool",
    pick: "very many blocks of one size; a bound on their number",
    not: "there is more than one size",
    cost: micro("replace-64-10k"),
  },
  {
    name: "`basicalloc()`",
    subject: "basicalloc",
    pick: "to learn; a small fixed budget, where no byte goes to headers",
    not: "more than some hundred blocks are live",
    cost: replaced,
  },
  {
    name: "`rustyMalloc()`",
    subject: "rustyMalloc",
    pick: "to learn; one contiguous buffer, frees in constant time",
    not: "more than some thousand blocks are live",
    cost: replaced,
  },
  {
    name: "`memAlloc()`",
    subject: "memAlloc",
    pick: "to learn; regions that go back as soon as they are empty",
    not: "more than some hundred blocks are live",
    cost: replaced,
  },
  {
    name: "`rulloc()`",
    subject: "rulloc",
    pick: "to learn; sizes that fall into a few known buckets",
    not: "sizes are spread wide within a bucket",
    cost: replaced,
  },
  {
    name: "`new Heap({ zeroOnFree: true })`",
    subject: "zeroOnFree",
    pick: "freed contents must not linger",
    not: "-",
    cost: () => undefined,
  },
  {
    name: "`new Heap({ secure: true })`",
    subject: "secure",
    pick: "an attacker may be about: unpredictable places, late reuse, nothing lingers",
    not: "the last bit of speed counts",
    cost: () => undefined,
  },
  {
    name: "`DebugAllocator`",
    subject: "debug",
    pick: "to find leaks, overruns and who allocated what, in tests",
    not: "in production",
    cost: () => undefined,
  },
  {
    name: "`QuarantineAllocator`",
    subject: "quarantine",
    pick: "to find writes after free",
    not: "memory is scarce: what is freed is held back",
    cost: () => undefined,
  },
  {
    name: "`GuardAllocator`, one in 1,000",
    subject: "guard-sampled",
    pick: "to find overruns by native code in production, some time",
    not: "the first one must be found",
    cost: () => undefined,
  },
  {
    name: "`GuardAllocator`",
    subject: "guard",
    pick: "to make an overrun by native code fault where it happens",
    not: "some ten thousand blocks are live: each takes OS pages and two mappings",
    cost: () => undefined,
  },
  {
    name: "`heap.buffer()`",
    subject: "native-buffer",
    pick: "views that must be empty after the free, buffers given to others",
    not: "many small blocks: each has an ArrayBuffer of its own",
    cost: () => undefined,
  },
];

/** The guide: a row for each allocator. */
export function formatGuide(results: Results): Section {
  const { runtimes } = results;
  const each = (figure: (side: string) => string) => {
    const cells = runtimes.map(figure);
    return cells.every((cell) => cell === "-") ? "-" : cells.join(" / ");
  };
  const rows = ENTRIES.map(({ name, subject, pick, not, cost }) => {
    const memory = runtimes.map((side) => memoryMean(results, side, subject, "ownRatio")).find((one) =>
      one !== undefined
    );
    return [
      name,
      pick,
      not,
      each((side) => formatNumber(cost(results, side, subject))),
      subject === "heap" ? "1" : each((side) => formatGroupMean(groupMean(results, side, subject))),
      formatNumber(memory),
    ];
  });
  const names = runtimes.join(" / ");
  const head = ["allocator", "pick it for", "not when", `ns (${names})`, `traces (${names})`, "memory"];
  return {
    title: "Which allocator to pick when, and what it costs",
    text: [
      formatTable(head, rows, 3),
      "ns: an allocation and its free, net of the loop. Heap and the reference systems: 16 to 512 B replaced at random with " +
      "1,000 live; arena and bump: 1,000 blocks of 16 to 512 B and one reset; pool: 64 B replaced at random with 10,000 live.",
      "traces: CPU time over that of `Heap` on the bundled traces, geometric mean; > where a trace would have taken too long " +
      "and was cut, so that the whole costs more still; (-n) where n traces could not be replayed at all. memory: most resident OS pages of its own mappings over most " +
      "live bytes, on the same traces.",
    ].join("\n\n"),
  };
}
