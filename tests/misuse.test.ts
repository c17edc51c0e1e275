/**
 * Every misuse of tests/misuse/ in every mode, in child processes, against the table of what must come of it; and the page
 * that is made from the table.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { InvalidFreeError } from "../mod.ts";
import { BENCH_NOT_RESTATED, GROUPS, HARDENED_NOT_RESTATED, MISUSES } from "./misuse/catalogue.ts";
import { CHECKS } from "./misuse/checks.ts";
import { EXPECTED, expectedOutcome } from "./misuse/expected.ts";
import { BENCH_PROGRAMS, HARDENED_PROGRAMS } from "./misuse/lists.ts";
import { type Mode, MODES, SYSTEMS } from "./misuse/modes.ts";
import { describeViolation, isTellingMessage, outcomeKind } from "./misuse/outcome.ts";
import { misusePage } from "./misuse/page.ts";
import { itemsOf, runItems } from "./misuse/run.ts";
import type { Result, SizeName } from "./misuse/scene.ts";
import { isEmulated, isLinux, isWindows, rootPath, runtimeName } from "./support/runtime.ts";

/** Modes that run at the same time: their processes mostly wait for each other's start. */
const SIDE_BY_SIDE = 2;

/**
 * Where a process takes half a second and more to start, faults are seen in one variant of each misuse only: after each a new
 * process is needed.
 */
const isSlowToStart = isWindows || runtimeName === "node" || isEmulated;

/** What is run in a mode here. */
function itemsHere(mode: Mode): string[] {
  const faults = new Set<string>();
  return itemsOf(mode, isLinux).filter((item) => {
    const [name = "", variant] = item.split("/");
    if (!isSlowToStart || expectedOutcome(name, variant as SizeName, mode.name) !== "fault") return true;
    const isFirst = !faults.has(name);
    faults.add(name);
    return isFirst;
  });
}

/**
 * Headers and links are in the memory of the reference systems: what an overflow hits there depends on how the mappings lie,
 * and on Windows they lie 64 KiB apart.
 */
function isRunHere(mode: Mode): boolean {
  return !isWindows || !SYSTEMS.includes(mode);
}

/**
 * What is otherwise on Windows: giving memory back there has a moment in which an access by another worker faults, so a shared
 * heap keeps it, and with it its contents.
 */
const ON_WINDOWS: { readonly [item: string]: string } = {
  "shared read_after_free/huge": "missed: reads the old contents",
  "shared uninitialized_read/huge": "missed: reads the old contents",
};

/** The runs of all modes, started with the first that is asked for and then in their order. */
class Runs {
  readonly #runs = new Map<string, Promise<Map<string, Result>>>();

  /** What came of everything in a mode. */
  of(mode: Mode): Promise<Map<string, Result>> {
    if (this.#runs.size === 0) this.#start();
    return this.#runs.get(mode.name)!;
  }

  #start(): void {
    const ends: Promise<unknown>[] = [];
    for (const [i, mode] of MODES.filter(isRunHere).entries()) {
      const run = (ends[i - SIDE_BY_SIDE] ?? Promise.resolve()).then(() => runItems(mode, itemsHere(mode)));
      this.#runs.set(mode.name, run);
      ends.push(run.catch(() => {}));
    }
  }
}

const runs = new Runs();

/** Every program that the misuses restate, with those that none does. */
function restated(of: (name: string) => readonly string[], not: { readonly [name: string]: string }): string[] {
  return [...[...MISUSES.keys()].flatMap(of), ...Object.keys(not)].sort();
}

describe("misuse", () => {
  for (const mode of MODES) {
    it(`${mode.name}: every misuse comes to what the table says`, { ignore: !isRunHere(mode) }, async () => {
      const results = await runs.of(mode);
      assertEquals([...results.keys()], itemsHere(mode));
      const wrong: string[] = [];
      for (const [item, { outcome, message, subject }] of results) {
        const [name = "", variant] = item.split("/");
        const otherwise = isWindows ? ON_WINDOWS[`${mode.name} ${item}`] : undefined;
        const expected = otherwise ?? expectedOutcome(name, variant as SizeName, mode.name);
        if (outcome !== expected) wrong.push(`${item}: expected ${expected}, got ${outcome}`);
        if (!/Error/.test(outcome)) continue;
        if (!isTellingMessage(outcome, message)) wrong.push(`${item}: the message is ${message}`);
        // An error about a number names it; one about a view that is empty cannot.
        if (!outcome.startsWith("UseAfterFreeError") && !message.includes(subject)) {
          wrong.push(`${item}: the message does not name ${subject}: ${message}`);
        }
      }
      assertEquals(wrong, []);
    });
  }
});

describe("misuse table", () => {
  it("restates every program of the two lists once, or says why not", () => {
    assertEquals(restated((name) => Object.keys(MISUSES.get(name)!.hardened), HARDENED_NOT_RESTATED), [
      ...HARDENED_PROGRAMS,
    ]);
    assertEquals(restated((name) => MISUSES.get(name)!.bench, BENCH_NOT_RESTATED), [...BENCH_PROGRAMS]);
  });

  it("has a row for each misuse, and no other", () => {
    assertEquals(Object.keys(EXPECTED).sort(), [...MISUSES.keys()].sort());
    assertEquals(MISUSES.size, GROUPS.flatMap(({ misuses }) => misuses).length);
    assertThrows(() => expectedOutcome("no_such", "small", "heap"), Error, "no_such/small");
  });

  it("expects nothing broken, and every error of a kind whose message is known", () => {
    for (const mode of MODES) {
      for (const item of itemsOf(mode, true)) {
        const [name = "", variant] = item.split("/");
        const outcome = expectedOutcome(name, variant as SizeName, mode.name);
        assert(outcomeKind(outcome) !== "broken", `${mode.name} ${item}: ${outcome}`);
      }
    }
  });

  it("names no mode that is not there, and each once in a row", () => {
    const names = MODES.map(({ name }) => name);
    for (const [misuse, row] of Object.entries(EXPECTED)) {
      const named = row.flatMap(([modes]) => modes.split(" "));
      assertEquals(named.filter((name) => name !== "*" && !names.includes(name)), [], misuse);
      assertEquals(new Set(named).size, named.length, misuse);
      assert(!named.slice(0, -1).includes("*"), `${misuse}: what follows "*" never counts`);
    }
  });

  it("compares by misuses that are there", () => {
    assertEquals(CHECKS.flatMap(({ misuses }) => misuses).filter((name) => !MISUSES.has(name)), []);
  });

  it("docs/misuse.md is what scripts/misuse_table.ts writes", () => {
    const page = readFileSync(join(rootPath, "docs", "misuse.md"), "utf8").replaceAll("\r\n", "\n");
    assertEquals(page.split("\n"), misusePage().split("\n"));
    assertStringIncludes(page, "**missed**");
  });
});

describe("outcomes", () => {
  it("an error is described by class, kind and moment, and counts as caught", () => {
    const error = new InvalidFreeError("free", 4096, "double", "the block is already freed");
    const outcome = describeViolation(error, "at free");
    assertEquals(outcome, "InvalidFreeError double, at free");
    assertEquals(outcomeKind(outcome), "caught");
    assert(isTellingMessage(outcome, error.message));
    assert(!isTellingMessage(outcome, "freed"));
    assert(!isTellingMessage("SomethingElse, at once", error.message));
  });

  it("a line that no table may have is broken", () => {
    const kinds = ["fault", "empty view", "harmless: a", "missed: a", "broken: a", "InvalidFreeError double", ""];
    assertEquals(kinds.map(outcomeKind), ["caught", "harmless", "harmless", "missed", "broken", "broken", "broken"]);
  });
});
