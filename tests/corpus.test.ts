/**
 * The corpus: histories that once went wrong somewhere, as lists of operations, replayed on every allocator and stack.
 *
 * A failing random run prints such a list (see random.ts): add it to tests/corpus/histories.json when it is mended.
 *
 * @module
 */
import { assert, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import { systemPageSource } from "../mod.ts";
import { parseOperations, replay } from "./random.ts";
import { SOAK_SUBJECTS } from "./subjects.ts";
import { NaiveAllocator } from "./support/naive_allocator.ts";

interface History {
  readonly name: string;
  readonly operations: string;
}

const histories: readonly History[] = JSON.parse(
  readFileSync(new URL("./corpus/histories.json", import.meta.url), "utf8"),
);

for (const { name, operations } of histories) {
  describe(`history: ${name}`, () => {
    for (const { name, make } of SOAK_SUBJECTS) {
      it(`on ${name}`, () => {
        replay(() => make(systemPageSource()), operations, { mayRunOut: true });
      });
    }
  });
}

describe("the corpus on trial", () => {
  it("is read whole", () => {
    for (const { operations } of histories) assert(parseOperations(operations).length > 5);
  });

  for (const flaw of ["second free accepted", "interior free accepted", "alignment lost by reallocate"] as const) {
    it(`finds an allocator with a flaw: ${flaw}`, () => {
      assertThrows(() => {
        for (const { operations } of histories) {
          replay(() => new NaiveAllocator({ source: systemPageSource(), flaw }), operations);
        }
      }, Error);
    });
  }
});
