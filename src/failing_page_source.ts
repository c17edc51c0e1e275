/**
 * A page source that fails on purpose, to show that an allocator survives it: with `n` from 0 to the number of requests
 * of a program, every place where memory can run out is reached once.
 *
 * @module
 */
import { assertOptions, assertSize } from "./arguments.ts";
import { describeValue, formatAddress, OutOfMemoryError } from "./errors.ts";
import type { PageSource } from "./page_source.ts";

/** The methods of a page source that can be made to fail. */
export type PageOperation = "reserve" | "commit" | "decommit" | "discard" | "unmap" | "wrap" | "protect" | "move";

/** Options of {@link failingPageSource}. */
export interface FailingPageSourceOptions {
  /** The operations that count as requests, and fail. @defaultValue ["reserve", "commit"] */
  operations?: readonly PageOperation[];
  /** How many requests fail before they succeed again. @defaultValue Infinity */
  times?: number;
  /**
   * What a `move` does when its turn to fail has come: `"throw"` as all others do, or `"refuse"`, which is to return
   * false, as a source does that cannot move these pages. @defaultValue "throw"
   */
  moves?: "throw" | "refuse";
}

/** A page source that fails on purpose. */
export interface FailingPageSource extends PageSource {
  /** Requests so far, failed ones too. A copy made by spread keeps the number it was copied with. */
  readonly requests: number;
  /** Requests that failed on purpose so far. A copy made by spread keeps the number it was copied with. */
  readonly failures: number;
  /** From now on the next `n` requests succeed, and then `times` of them fail. */
  rearm(n: number, times?: number): void;
}

const ALL_OPERATIONS: readonly PageOperation[] = [
  "reserve",
  "commit",
  "decommit",
  "discard",
  "unmap",
  "wrap",
  "protect",
  "move",
];

/**
 * Memory of `source`, but only the first `n` requests succeed: later ones throw `OutOfMemoryError`, without any
 * effect (a `move` may return false instead), until {@link FailingPageSource.rearm}.
 *
 * @example
 * ```ts
 * const source = failingPageSource(fixedPageSource(new ArrayBuffer(2 ** 20)), 1);
 * const address = source.reserve(4096, 16); // request 1
 * source.commit(address, 4096); // request 2 throws OutOfMemoryError
 * ```
 */
export function failingPageSource(
  source: PageSource,
  n: number,
  options: FailingPageSourceOptions = {},
): FailingPageSource {
  assertOptions(options);
  const { operations = ["reserve", "commit"], times = Infinity, moves = "throw" } = options;
  for (const operation of operations) {
    if (!ALL_OPERATIONS.includes(operation)) {
      throw new RangeError(
        `Cannot use ${describeValue(operation)} as an operation: it must be one of ${ALL_OPERATIONS.join(", ")}`,
      );
    }
  }
  if (moves !== "throw" && moves !== "refuse") {
    throw new RangeError(`Cannot use ${describeValue(moves)} as moves: it must be "throw" or "refuse"`);
  }
  let requests = 0;
  let failures = 0;
  /** Requests that still succeed. */
  let remaining = 0;
  /** Requests that fail after that. */
  let failing = 0;
  rearm(n, times);

  function rearm(successes: number, newTimes: number = times): void {
    remaining = assertCount(successes, "n");
    failing = assertCount(newTimes, "times");
  }

  /** Counts a request, and says whether its turn to fail has come. */
  function fails(operation: PageOperation): boolean {
    if (!operations.includes(operation)) return false;
    requests++;
    if (remaining > 0) {
      remaining--;
      return false;
    }
    if (failing === 0) return false;
    failing--;
    failures++;
    return true;
  }

  /** Counts a request, and throws when its turn to fail has come. */
  function request(operation: PageOperation, what: string, byteLength: number): void {
    if (!fails(operation)) return;
    throw new OutOfMemoryError(`Cannot ${operation} ${what}: request ${requests} fails on purpose`, byteLength);
  }

  // Written out rather than spread: a source of the user's may be an instance of a class.
  return {
    name: `failing ${source.name}`,
    pageSize: source.pageSize,
    granularity: source.granularity,
    maxWrapBytes: source.maxWrapBytes,
    lazy: source.lazy,
    isolating: source.isolating,
    get requests() {
      return requests;
    },
    get failures() {
      return failures;
    },
    rearm,
    reserve(byteLength, alignment) {
      request("reserve", `${byteLength} bytes`, byteLength);
      return source.reserve(byteLength, alignment);
    },
    commit(address, byteLength) {
      request("commit", describeRange(address, byteLength), byteLength);
      source.commit(address, byteLength);
    },
    decommit(address, byteLength) {
      request("decommit", describeRange(address, byteLength), byteLength);
      source.decommit(address, byteLength);
    },
    discard(address, byteLength) {
      request("discard", describeRange(address, byteLength), byteLength);
      source.discard(address, byteLength);
    },
    protect(address, byteLength, protection) {
      request("protect", describeRange(address, byteLength), byteLength);
      source.protect(address, byteLength, protection);
    },
    unmap(address, byteLength) {
      request("unmap", describeRange(address, byteLength), byteLength);
      source.unmap(address, byteLength);
    },
    wrap(address, byteLength) {
      request("wrap", describeRange(address, byteLength), byteLength);
      return source.wrap(address, byteLength);
    },
    unwrap(bytes) {
      source.unwrap(bytes);
    },
    move(from, to, byteLength) {
      if (moves === "throw") request("move", describeRange(from, byteLength), byteLength);
      else if (fails("move")) return false;
      return source.move?.(from, to, byteLength) ?? false;
    },
    toPointer(address) {
      return source.toPointer(address);
    },
  };
}

/** Throws unless `count` is a whole number or `Infinity`. */
function assertCount(count: number, name: string): number {
  if (count !== Infinity) assertSize(count, name);
  return count;
}

function describeRange(address: number, byteLength: number): string {
  return `${byteLength} bytes at ${formatAddress(address)}`;
}
