/**
 * A source that fails when told to: which requests fail, how many, and that a failed one has no effect.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { OutOfMemoryError } from "../src/errors.ts";
import { failingPageSource, type PageOperation } from "../src/failing_page_source.ts";
import { fixedPageSource } from "../src/fixed_page_source.ts";
import type { PageSource } from "../src/page_source.ts";

const PAGE = 4096;

function source(pages = 16): PageSource {
  return fixedPageSource(new ArrayBuffer(pages * PAGE));
}

describe("failingPageSource()", () => {
  it("the first n reservations and commits succeed, every later one fails", () => {
    const failing = failingPageSource(source(), 3);
    assertEquals(failing.name, "failing fixed");
    const a = failing.reserve(PAGE, 1);
    failing.commit(a, PAGE);
    const b = failing.reserve(PAGE, 1);
    for (let attempt = 4; attempt < 8; attempt++) {
      const error = assertThrows(() => failing.commit(b, PAGE), OutOfMemoryError);
      assertEquals(error.requested, PAGE);
      assertEquals(error.limit, Infinity);
      assertEquals(
        error.message,
        `Cannot commit 4096 bytes at 0x${b.toString(16)}: request ${attempt} fails on purpose`,
      );
    }
    assertThrows(() => failing.reserve(PAGE, 1), OutOfMemoryError, "Cannot reserve 4096 bytes: request 8");
    assertEquals(failing.requests, 8);
    assertEquals(failing.failures, 5);
  });

  it("what is not counted works on, so that everything can be given back", () => {
    const failing = failingPageSource(source(), 2);
    const address = failing.reserve(PAGE, 1);
    failing.commit(address, PAGE);
    const bytes = failing.wrap(address, PAGE);
    failing.discard(address, PAGE);
    failing.protect(address, PAGE, "read-write");
    failing.unwrap(bytes);
    failing.decommit(address, PAGE);
    failing.unmap(address, PAGE);
    assertEquals(failing.requests, 2);
    assertEquals(failing.failures, 0);
  });

  it("a failed request has no effect", () => {
    const failing = failingPageSource(source(1), 0);
    assertThrows(() => failing.reserve(PAGE, 1), OutOfMemoryError);
    failing.rearm(1);
    failing.reserve(PAGE, 1); // the only page is still there
  });

  it("rearm() starts anew, and keeps the counters", () => {
    const failing = failingPageSource(source(), 0);
    assertThrows(() => failing.reserve(PAGE, 1), OutOfMemoryError);
    failing.rearm(2);
    failing.reserve(PAGE, 1);
    failing.reserve(PAGE, 1);
    assertThrows(() => failing.reserve(PAGE, 1), OutOfMemoryError);
    failing.rearm(Infinity);
    for (let index = 0; index < 5; index++) failing.reserve(PAGE, 1);
    assertEquals(failing.requests, 9);
    assertEquals(failing.failures, 2);
  });

  it("the times option lets requests succeed again", () => {
    const failing = failingPageSource(source(), 1, { times: 2 });
    failing.reserve(PAGE, 1);
    assertThrows(() => failing.reserve(PAGE, 1), OutOfMemoryError);
    assertThrows(() => failing.reserve(PAGE, 1), OutOfMemoryError);
    failing.reserve(PAGE, 1);
    failing.rearm(0);
    assertThrows(() => failing.reserve(PAGE, 1), OutOfMemoryError);
    assertThrows(() => failing.reserve(PAGE, 1), OutOfMemoryError);
    failing.reserve(PAGE, 1);
    failing.rearm(0, 1);
    assertThrows(() => failing.reserve(PAGE, 1), OutOfMemoryError);
    failing.reserve(PAGE, 1);
  });

  it("the operations option chooses what fails", () => {
    const every: PageOperation[] = ["reserve", "commit", "decommit", "discard", "unmap", "wrap", "protect", "move"];
    for (const chosen of every) {
      const failing = failingPageSource(source(), 0, { operations: [chosen] });
      const failed: PageOperation[] = [];
      const attempt = (operation: PageOperation, run: () => void): void => {
        try {
          run();
        } catch (error) {
          assertEquals((error as OutOfMemoryError).code, "ERR_OUT_OF_MEMORY");
          failed.push(operation);
        }
      };
      let address = 0;
      attempt("reserve", () => {
        address = failing.reserve(PAGE, 1);
      });
      if (chosen !== "reserve") {
        attempt("commit", () => failing.commit(address, PAGE));
        attempt("wrap", () => void failing.wrap(address, PAGE));
        attempt("move", () => void failing.move!(address, address + PAGE, PAGE));
        attempt("protect", () => failing.protect(address, PAGE, "read-write"));
        attempt("discard", () => failing.discard(address, PAGE));
        attempt("decommit", () => failing.decommit(address, PAGE));
        attempt("unmap", () => failing.unmap(address, PAGE));
      }
      assertEquals(failed, [chosen]);
      assertEquals(failing.requests, 1);
    }
  });

  it("a move that fails throws or is refused, and one that does not is the source's own", () => {
    for (const isAble of [true, false, undefined]) {
      for (const moves of ["throw", "refuse"] as const) {
        const calls: number[][] = [];
        const move = (...args: [number, number, number]): boolean => {
          calls.push(args);
          return isAble === true;
        };
        const inner = { ...source(), move: isAble === undefined ? undefined : move };
        const failing = failingPageSource(inner, 1, { operations: ["move"], times: 1, moves });
        assertEquals(failing.move!(PAGE, 2 * PAGE, PAGE), isAble === true);
        if (moves === "refuse") assertEquals(failing.move!(PAGE, 2 * PAGE, PAGE), false);
        else {
          const error = assertThrows(() => failing.move!(PAGE, 2 * PAGE, PAGE), OutOfMemoryError);
          assertEquals(error.message, "Cannot move 4096 bytes at 0x1000: request 2 fails on purpose");
        }
        assertEquals(failing.move!(3 * PAGE, PAGE, PAGE), isAble === true);
        assertEquals(calls, isAble === undefined ? [] : [[PAGE, 2 * PAGE, PAGE], [3 * PAGE, PAGE, PAGE]]);
        assertEquals([failing.requests, failing.failures], [3, 1]);
      }
    }
  });

  it("wrong arguments throw", () => {
    for (const bad of [-1, 1.5, NaN]) {
      assertThrows(() => failingPageSource(source(), bad), RangeError, `${bad}`);
      assertThrows(() => failingPageSource(source(), 1, { times: bad }), RangeError, `${bad}`);
      assertThrows(() => failingPageSource(source(), 1).rearm(bad), RangeError, `${bad}`);
    }
    assertThrows(() => failingPageSource(source(), "1" as unknown as number), TypeError);
    const operations = ["reserve", "free"] as unknown as PageOperation[];
    assertThrows(() => failingPageSource(source(), 1, { operations }), RangeError, '"free"');
    const moves = false as unknown as "refuse";
    assertThrows(() => failingPageSource(source(), 1, { moves }), RangeError, "Cannot use false as moves");
  });
});
