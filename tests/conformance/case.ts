/**
 * What a conformance case is, and what it is run with.
 *
 * A case is data with a function, so that the same list can be registered with a test runner or run by a program (the
 * suite's own test does that, on allocators that are broken on purpose). It asks its {@link Trial} for allocators; each
 * gets a page source that is watched, and whatever the case did, all of them are disposed afterwards and must have given
 * everything back.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Allocator } from "../../src/allocator.ts";
import type { PageSource } from "../../src/page_source.ts";
import { Recorder, type RecorderOptions } from "../support/recording_source.ts";

/** What a case wants to be different from the allocator that the suite was given. */
export interface MakeOverrides {
  /** Put this around the page source before the allocator gets it. */
  wrapSource?: (source: PageSource) => PageSource;
  /** The limit on requested bytes. */
  limit?: number;
  /** Whether freed memory is cleared. */
  zeroOnFree?: boolean;
}

/** Makes a fresh allocator. */
export type MakeAllocator = (overrides?: MakeOverrides) => Allocator;

/** What can be expected of the allocator under test. The defaults are those of `Heap` on the operating system. */
export interface ConformanceOptions {
  /** The largest block that must be had, on a fresh allocator. @defaultValue 256 MiB */
  largestBlock?: number;
  /** The most bytes that a case may hold at one time. @defaultValue 256 MiB */
  budget?: number;
  /** Sizes that are allocated in different ways, small to huge. @defaultValue 64, 40,000, and 6,000,000 bytes */
  sizes?: readonly number[];
  /** The largest alignment that must be had; a larger one may also end in `OutOfMemoryError`. @defaultValue 2^30 */
  largestAlignment?: number;
  /** Whether the source gives each owned buffer an ArrayBuffer of its own. @defaultValue true */
  isolating?: boolean;
  /** Whether the allocator takes its memory from the source that `wrapSource` returns. @defaultValue true */
  observable?: boolean;
  /** Whether the allocator wraps several reservations that touch as one. @defaultValue false */
  joining?: boolean;
  /** Whether `make` knows `limit`. @defaultValue true */
  limitable?: boolean;
  /** Whether `make` knows `zeroOnFree`. @defaultValue true */
  zeroing?: boolean;
  /** The usable size that must not be exceeded for a requested one, with the default alignment. @defaultValue none */
  usableBound?: (size: number) => number;
  /** Documented cases in which `resize` does not shrink in place. @defaultValue none */
  refusesToShrink?: (usableSize: number, size: number) => boolean;
  /** The step of the sweeps over all sizes; larger is faster and less thorough. @defaultValue 61 */
  stride?: number;
  /** Cases that the allocator does not pass by design, with the reason. They are registered as skipped tests. */
  without?: Readonly<Record<string, string>>;
  /**
   * Puts a failure into a source: `succeed` reserve and commit requests succeed, the next `times` throw.
   *
   * @defaultValue by the recorder
   */
  faulty?: (source: PageSource, succeed: number, times: number) => FaultySource;
}

/** A source that fails on purpose. */
export interface FaultySource {
  /** What the allocator gets. */
  readonly source: PageSource;
  /** Ends the failures. */
  rearm(): void;
}

/** Options with the defaults filled in. */
export type Expectations =
  & Required<Omit<ConformanceOptions, "faulty" | "usableBound">>
  & ConformanceOptions;

/** Fills in the defaults. */
export function expectations(options: ConformanceOptions = {}): Expectations {
  return {
    largestBlock: 2 ** 28,
    budget: 2 ** 28,
    sizes: [64, 40_000, 6_000_000],
    largestAlignment: 2 ** 30,
    isolating: true,
    observable: true,
    joining: false,
    limitable: true,
    zeroing: true,
    refusesToShrink: () => false,
    stride: 61,
    without: {},
    ...options,
  };
}

/** One test of the contract. */
export interface ConformanceCase {
  /** The item of the catalogue, or of the contract where the catalogue has none. Unique together with `name`. */
  readonly id: string;
  /** What is the case, as a sentence. */
  readonly name: string;
  /** Why it does not apply to these expectations; undefined when it does. */
  readonly unless?: (expected: Expectations) => string | undefined;
  /** Throws when it is not the case. */
  readonly run: (trial: Trial) => void;
}

/** An allocator and the watch on its source. */
export interface Opened {
  /** The allocator. */
  readonly allocator: Allocator;
  /** Its source; shows nothing when the allocator is not `observable`. */
  readonly recorder: Recorder;
}

/** Hands allocators to one case and clears up after it. */
export class Trial {
  /** What can be expected of the allocators. */
  readonly expected: Expectations;
  readonly #make: MakeAllocator;
  readonly #opened: Opened[] = [];
  readonly #recorders: Recorder[] = [];

  /** For one run of one case. */
  constructor(make: MakeAllocator, expected: Expectations) {
    this.#make = make;
    this.expected = expected;
  }

  /** A fresh allocator. */
  make(overrides: Omit<MakeOverrides, "wrapSource"> = {}): Allocator {
    return this.open(overrides).allocator;
  }

  /** A fresh allocator with its source, which `adapt` may still change between allocator and recorder. */
  open(
    overrides: Omit<MakeOverrides, "wrapSource"> = {},
    adapt: (source: PageSource) => PageSource = (source) => source,
    recorderOptions: RecorderOptions = {},
  ): Opened {
    let recorder: Recorder | undefined;
    const wrapSource = (source: PageSource): PageSource => {
      recorder = new Recorder(source, { joining: this.expected.joining, ...recorderOptions });
      this.#recorders.push(recorder);
      return adapt(recorder.source);
    };
    const allocator = this.#make({ ...overrides, wrapSource });
    if (this.expected.observable) {
      assert(recorder !== undefined, "make() did not use wrapSource: set observable: false");
    }
    const opened = { allocator, recorder: recorder ?? new Recorder(NOTHING) };
    this.#opened.push(opened);
    return opened;
  }

  /** Disposes everything, and throws when anything is left or was done wrong. */
  finish(): void {
    for (const { allocator } of this.#opened) allocator[Symbol.dispose]();
    for (const recorder of this.#recorders) assertEquals(recorder.complaint(), "", "after dispose");
  }

  /** Disposes everything as far as it goes: after a case that has failed. */
  abandon(): void {
    for (const { allocator } of this.#opened) {
      try {
        allocator[Symbol.dispose]();
      } catch {
        // The failure that brought us here is the one to report.
      }
    }
  }
}

/** Stands in where the allocator's own source is out of sight. */
const NOTHING: PageSource = {
  name: "nothing",
  pageSize: 4096,
  granularity: 4096,
  maxWrapBytes: 0,
  lazy: false,
  isolating: false,
  reserve: () => 0,
  commit() {},
  decommit() {},
  discard() {},
  protect() {},
  unmap() {},
  wrap: () => new Uint8Array(0),
  unwrap() {},
  toPointer: (address) => address,
};

/** Why a case is left out for these expectations; undefined when it is to be run. */
export function reasonToSkip(test: ConformanceCase, expected: Expectations): string | undefined {
  return expected.without[test.id] ?? test.unless?.(expected);
}

/** Runs one case on fresh allocators and throws when it fails, or when something was not given back. */
export function runCase(test: ConformanceCase, make: MakeAllocator, options: ConformanceOptions = {}): void {
  const trial = new Trial(make, expectations(options));
  let passed = false;
  // Not caught and thrown again: Bun would show this place instead of the true one.
  try {
    test.run(trial);
    passed = true;
  } finally {
    if (!passed) trial.abandon();
  }
  trial.finish();
}
