/**
 * What counts as reported before, and what is new.
 *
 * @module
 */
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError } from "../mod.ts";
import { type Finding, ReportedProblems } from "../src/reported_problems.ts";

/** The error for a byte `offset` bytes from the start of a block. */
function damage(offset: number, found: number): CorruptionError {
  return new CorruptionError("Cannot check 0x1000: no", { address: 4096, offset, expected: 0, found });
}

describe("ReportedProblems.note()", () => {
  it("says that a byte is new the first time, and each time that it or its value is another", () => {
    const reported = new ReportedProblems();
    const block = {};
    const seen = [[5, 1], [5, 1], [5, 2], [5, 2], [4, 2], [5, 2]] as const;
    const news = seen.map(([offset, found]) => reported.note(block, damage(offset, found)));
    assertEquals(news, [true, false, true, false, true, true]);
  });

  it("tells blocks from each other, and bytes from problems that are about none", () => {
    const reported = new ReportedProblems();
    const [block, other] = [{}, {}];
    const lost = new CorruptionError("Cannot check 0x1000: lost");
    assertEquals([reported.note(block, damage(1, 1)), reported.note(other, damage(1, 1))], [true, true]);
    assertEquals([reported.note(block, lost), reported.note(block, lost)], [true, false]);
    assertEquals(reported.note(other, damage(1, 1)), false);
  });

  it("starts anew when the block was found intact", () => {
    const reported = new ReportedProblems();
    const block = {};
    reported.forget(block);
    assertEquals(reported.note(block, damage(1, 1)), true);
    reported.forget(block);
    assertEquals(reported.note(block, damage(1, 1)), true);
  });
});

describe("ReportedProblems.news()", () => {
  it("gives the problems that were not noted, in their order, and notes them", () => {
    const reported = new ReportedProblems();
    const found: Finding[] = [1, 2, 3].map((offset) => [{}, damage(offset, 1)]);
    reported.note(...found[1]!);
    assertEquals(reported.news(found), [found[0]![1], found[2]![1]]);
    assertEquals(reported.news(found), []);
  });

  it("notes nothing when the search for problems throws, as none of them will be reported", () => {
    const reported = new ReportedProblems();
    const finding: Finding = [{}, damage(1, 1)];
    const failure = new Error("no memory");
    function* search(): Iterable<Finding> {
      yield finding;
      throw failure;
    }
    assertStrictEquals(assertThrows(() => reported.news(search())), failure);
    assertEquals(reported.news([finding]), [finding[1]]);
  });
});
