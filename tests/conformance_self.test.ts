/**
 * The conformance suite on trial: it must pass on an allocator that is right, and fail on each that has one thing wrong.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, type PageSource, systemPageSource } from "../mod.ts";
import { conformance, CONFORMANCE_CASES, type ConformanceOptions, reasonToSkip, runCase } from "./conformance.ts";
import { expectations, type MakeAllocator } from "./conformance.ts";
import { type Flaw, NaiveAllocator } from "./support/naive_allocator.ts";
import { ProtocolError, Recorder } from "./support/recording_source.ts";

const MIB = 2 ** 20;

/** Makes naive allocators over fresh page sources. */
function naiveOver(makeSource: () => PageSource, flaw?: Flaw): MakeAllocator {
  return ({ wrapSource = (source: PageSource) => source, ...options } = {}) =>
    new NaiveAllocator({ source: wrapSource(makeSource()), flaw, ...options });
}

/** A naive allocator takes a mapping per large block and a mebibyte per first small one. */
const NAIVE: ConformanceOptions = { without: { I2: "it never merges" }, budget: 32 * MIB, largestBlock: 2 ** 28 };

conformance("the naive allocator over the system", naiveOver(systemPageSource), NAIVE);

const FIXED: ConformanceOptions = {
  ...NAIVE,
  largestBlock: 4 * MIB,
  budget: 12 * MIB,
  largestAlignment: 2 ** 16,
  isolating: false,
};

conformance(
  "the naive allocator over a fixed buffer",
  naiveOver(() => fixedPageSource(new ArrayBuffer(40 * MIB))),
  FIXED,
);

/** Each flaw with the cases of which at least one must find it. */
const FLAWS: readonly [Flaw, string][] = [
  ["blocks overlap", "A1 A2 A8"],
  ["alignment ignored", "B1 B2"],
  ["alignment lost by reallocate", "B4"],
  ["usable size above the block", "A1 A3 V3"],
  ["NaN accepted as a size", "C3"],
  ["count times size wraps around at 2^32", "C2"],
  ["dirty memory called zeroed", "E1"],
  ["contents cut by reallocate", "D2"],
  ["old block kept by reallocate", "D2 D4"],
  ["block lost by a failed reallocate", "D5"],
  ["resize claims what it cannot", "D6"],
  ["second free accepted", "F1"],
  ["interior free accepted", "F2"],
  ["foreign free ignored", "F2"],
  ["bad free counted", "F1 F2"],
  ["mapping leaked by a failed allocation", "M"],
  ["mapping leaked by dispose", "A2 F4"],
  ["views alive after dispose", "F4 J1"],
  ["usable after dispose", "F4"],
  ["live bytes miscounted", "L1"],
  ["walk leaves a block out", "L1 L5"],
  ["limit off by one", "L6"],
  ["out of memory swallowed", "M J3"],
  ["memory never reused", "A5"],
  ["buffer not detached", "W1 W2"],
  ["unmapped while wrapped", "J1 J7"],
];

/** The cases of these ids that fail on an allocator with a flaw. */
function failingCases(flaw: Flaw, ids: string[]): string[] {
  const make = naiveOver(systemPageSource, flaw);
  const failed: string[] = [];
  for (const test of CONFORMANCE_CASES) {
    if (!ids.includes(test.id) || reasonToSkip(test, expectations(NAIVE)) !== undefined) continue;
    try {
      runCase(test, make, NAIVE);
    } catch (error) {
      assert(error instanceof Error && error.message !== "", `${test.id} threw ${String(error)}`);
      failed.push(test.id);
    }
  }
  return failed;
}

describe("the conformance suite", () => {
  for (const [flaw, ids] of FLAWS) {
    it(`${ids.split(" ").join(" or ")} fails when: ${flaw}`, () => {
      const failed = failingCases(flaw, ids.split(" "));
      if (failed.length === 0) fail(`no case of ${ids} found it`);
    });
  }

  it("has a case for every section, and no two of the same name", () => {
    const sections = new Set(CONFORMANCE_CASES.map(({ id }) => id.charAt(0)));
    assertEquals([...sections].sort().join(""), "ABCDEFIJLMPVW");
    const names = CONFORMANCE_CASES.map(({ id, name }) => `${id} ${name}`);
    assertEquals(names.length, new Set(names).size);
  });

  it("skips what an option says, with the reason", () => {
    const options = expectations({ without: { I2: "it never merges" }, limitable: false });
    const reasons = CONFORMANCE_CASES.map((test) => reasonToSkip(test, options)).filter((reason) =>
      reason !== undefined
    );
    assert(reasons.includes("it never merges") && reasons.includes("it has no limit"));
  });
});

describe("the recording page source", () => {
  it("counts what is held and complains of what is left", () => {
    const recorder = new Recorder(fixedPageSource(new ArrayBuffer(MIB)));
    const { source } = recorder;
    const address = source.reserve(32_768, 4096);
    source.commit(address, 8192);
    source.commit(address + 16_384, 8192);
    source.commit(address + 8192, 8192);
    assertEquals([recorder.reservedBytes, recorder.committedBytes], [32_768, 24_576]);
    const bytes = source.wrap(address + 4096, 100);
    assertEquals(recorder.wrappedBytes, 100);
    assert(recorder.isCommitted(address + 1, 24_575) && !recorder.isCommitted(address, 24_577));
    source.decommit(address + 8192, 4096);
    assertEquals([recorder.committedBytes, recorder.releasedBytes], [20_480, 4096]);
    assert(!recorder.isCommitted(address, 24_576) && recorder.isCommitted(address + 12_288, 12_288));
    assert(/never unmapped.*never ended/.test(recorder.complaint()), recorder.complaint());
    source.unwrap(bytes);
    source.unmap(address, 32_768);
    assertEquals([recorder.complaint(), recorder.committedBytes, recorder.reservedBytes], ["", 0, 0]);
  });

  it("refuses what the contract forbids", () => {
    const recorder = new Recorder(fixedPageSource(new ArrayBuffer(MIB)));
    const { source } = recorder;
    const address = source.reserve(16_384, 4096);
    source.commit(address, 8192);
    const bytes = source.wrap(address, 4096);
    const offences: (() => unknown)[] = [
      () => source.reserve(100, 16),
      () => source.commit(address + 100, 4096),
      () => source.commit(address + 8192, 16_384),
      () => source.decommit(address + 8192, 4096),
      () => source.decommit(address, 4096),
      () => source.discard(address + 4096, 8192),
      () => source.wrap(address, 16_384),
      () => source.unmap(address, 8192),
      () => source.unmap(address + 4096, 12_288),
      () => source.unmap(address, 16_384),
      () => source.unwrap(new Uint8Array(4096)),
    ];
    for (const offence of offences) {
      let thrown: unknown;
      try {
        offence();
      } catch (error) {
        thrown = error;
      }
      assert(thrown instanceof ProtocolError, `${offence} was accepted: ${String(thrown)}`);
    }
    assertEquals(recorder.violations.length, offences.length);
    source.unwrap(bytes);
    source.unmap(address, 16_384);
    assert(recorder.complaint() !== "", "offences are forgotten");
  });

  it("fails on request, for good or so many times", () => {
    const recorder = new Recorder(fixedPageSource(new ArrayBuffer(MIB)));
    const outcome = (): string => {
      let letters = "";
      for (let i = 0; i < 6; i++) {
        try {
          recorder.source.reserve(4096, 16);
          letters += "+";
        } catch {
          letters += "-";
        }
      }
      return letters;
    };
    recorder.failAfter(2);
    assertEquals(outcome(), "++----");
    recorder.failAfter(1, 2);
    assertEquals(outcome(), "+--+++");
    recorder.rearm();
    assertEquals([outcome(), recorder.failedRequests, recorder.requests], ["++++++", 6, 18]);
  });
});
