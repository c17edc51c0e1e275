/**
 * Heap profiles: a tree of calls that viewers of `.heapprofile` files can read.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { DebugAllocator, Heap } from "../mod.ts";
import { type HeapProfile, type HeapProfileNode, SiteTotals } from "../src/heap_profile.ts";

function errorAt(...frames: string[]): Error {
  const error = new Error("allocated");
  Object.defineProperty(error, "stack", { value: ["Error", ...frames.map((frame) => `    at ${frame}`)].join("\n") });
  return error;
}

/** All nodes, the root first; throws when the profile is not what the format asks for. */
function nodesOf(profile: HeapProfile): HeapProfileNode[] {
  const { head, samples } = JSON.parse(JSON.stringify(profile)) as HeapProfile;
  const nodes: HeapProfileNode[] = [];
  const visit = (node: HeapProfileNode): void => {
    nodes.push(node);
    const { functionName, scriptId, url, lineNumber, columnNumber } = node.callFrame;
    assertEquals([functionName, scriptId, url].map((text) => typeof text), ["string", "string", "string"]);
    assert(Number.isInteger(lineNumber) && Number.isInteger(columnNumber) && lineNumber >= -1 && columnNumber >= -1);
    assert(Number.isSafeInteger(node.selfSize) && node.selfSize >= 0);
    node.children.forEach(visit);
  };
  visit(head);
  assertEquals(head.callFrame.functionName, "(root)");
  assertEquals(new Set(nodes.map(({ id }) => id)).size, nodes.length, "ids are unique");
  for (const { size, nodeId } of samples) assertEquals(nodes.find(({ id }) => id === nodeId)?.selfSize, size);
  assertEquals(new Set(samples.map(({ ordinal }) => ordinal)).size, samples.length);
  return nodes;
}

function totalOf(profile: HeapProfile): number {
  return nodesOf(profile).reduce((sum, { selfSize }) => sum + selfSize, 0);
}

describe("SiteTotals", () => {
  it("makes one node of each call, with the bytes in the innermost", () => {
    const totals = new SiteTotals();
    totals.add(errorAt("a (file:///m.ts:3:4)", "main (file:///m.ts:9:1)"), 16);
    totals.add(errorAt("b (file:///n.ts:1:2)", "a (file:///m.ts:3:4)", "main (file:///m.ts:9:1)"), 20);
    totals.add(errorAt("a (file:///m.ts:3:4)", "main (file:///m.ts:9:1)"), 4);
    totals.add(errorAt("a (file:///m.ts:5:4)", "main (file:///m.ts:9:1)"), 1);
    totals.add(undefined, 7);
    const nodes = nodesOf(totals.toProfile());
    assertEquals(
      nodes.map(({ callFrame: { functionName, url, lineNumber, columnNumber }, selfSize, children }) => [
        functionName,
        url,
        lineNumber,
        columnNumber,
        selfSize,
        children.length,
      ]),
      [
        ["(root)", "", -1, -1, 7, 1],
        ["main", "file:///m.ts", 8, 0, 0, 2],
        ["a", "file:///m.ts", 2, 3, 20, 1],
        ["b", "file:///n.ts", 0, 1, 20, 0],
        ["a", "file:///m.ts", 4, 3, 1, 0],
      ],
    );
    assertEquals(nodes[1]!.callFrame.scriptId, nodes[2]!.callFrame.scriptId);
    assert(nodes[1]!.callFrame.scriptId !== nodes[3]!.callFrame.scriptId);
  });

  it("is a root without anything at first", () => {
    assertEquals(totalOf(new SiteTotals().toProfile()), 0);
  });
});

describe("DebugAllocator.heapProfile()", () => {
  it("counts what is live, and in total what ever was, by the function that allocated it", () => {
    using debug = new DebugAllocator(new Heap(), { totals: true });
    function large(): number {
      const address = debug.allocate(3000);
      return address + 0; // so that Bun keeps the frame
    }
    debug.free(large());
    const kept = large();
    debug.allocate(50);
    assertEquals([totalOf(debug.heapProfile()), totalOf(debug.heapProfile("total"))], [3050, 6050]);
    const named = (profile: HeapProfile): number[] =>
      nodesOf(profile).filter(({ callFrame }) => callFrame.functionName === "large").map(({ selfSize }) => selfSize);
    assertEquals(named(debug.heapProfile("live")).reduce((a, b) => a + b), 3000);
    assertEquals(named(debug.heapProfile("total")).reduce((a, b) => a + b), 6000);
    debug.free(kept);
    assertEquals([totalOf(debug.heapProfile()), totalOf(debug.heapProfile("total"))], [50, 6050]);
  });

  it("counts what a block grows by in the total, and not what it shrinks by", () => {
    using debug = new DebugAllocator(new Heap(), { totals: true });
    const address = debug.allocate(100);
    assertEquals([debug.resize(address, 40), debug.resize(address, 90)], [true, true]);
    assertEquals([totalOf(debug.heapProfile()), totalOf(debug.heapProfile("total"))], [90, 150]);
  });

  it("has no total without the option, and no other kinds", () => {
    using debug = new DebugAllocator(new Heap());
    assertThrows(() => debug.heapProfile("total"), TypeError, "totals");
    assertThrows(() => debug.heapProfile("dead" as "live"), TypeError, '"dead"');
  });
});
