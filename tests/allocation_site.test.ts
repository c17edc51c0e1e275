/**
 * Stacks as errors: captured to a depth, read as frames, without the package's own.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { DebugAllocator, Heap, InvalidFreeError, Vec } from "../mod.ts";
import { captureStack, formatFrames, formatStack, framesOf, historyOf, stackDepth } from "../src/allocation_site.ts";
import { rootUrl, runSource } from "./support/runtime.ts";

/** An error with a stack of our making. */
function errorWith(stack: unknown): Error {
  const error = new Error("made");
  Object.defineProperty(error, "stack", { value: stack });
  return error;
}

/** Captures a stack under `depth` calls of itself. */
function nested(depth: number, frames: number): Error | undefined {
  let error: Error | undefined;
  if (depth === 0) error = captureStack("allocated", frames);
  else error = nested(depth - 1, frames);
  calls++; // so that neither call is the last thing done: JavaScriptCore drops the frame of a function that ends in a call
  return error;
}

let calls = 0;

describe("captureStack()", () => {
  it("starts with the caller, whatever the limit of the program is, and leaves that limit as it was", () => {
    const errors = Error as { stackTraceLimit?: number };
    const before = errors.stackTraceLimit;
    try {
      for (const limit of [0, 1, 10, 200]) {
        errors.stackTraceLimit = limit;
        const frames = framesOf(nested(30, 20), 20);
        assertEquals([frames.length, errors.stackTraceLimit], [20, limit]);
        assertMatch(frames[0]!.url, /allocation_site\.test\.ts$/);
        assertEquals([frames[0]!.functionName, frames[19]!.functionName], ["nested", "nested"]);
      }
      delete errors.stackTraceLimit;
      captureStack("allocated", 3);
      assertEquals("stackTraceLimit" in errors, false);
    } finally {
      if (before !== undefined) errors.stackTraceLimit = before;
    }
  });

  it("does without a limit that the program has made an accessor which throws", () => {
    const errors = Error as { stackTraceLimit?: number };
    const { stackTraceLimit: before } = errors;
    const refuse = (): never => {
      throw new Error("the program's own");
    };
    const accessors: readonly PropertyDescriptor[] = [
      { get: refuse, set: () => {} },
      { get: () => 5, set: refuse },
      { get: () => 5, set: (limit: number) => limit === 5 && refuse() },
    ];
    // Node itself reads the limit when it loads its foreign function interface.
    using _first = new Heap();
    for (const accessor of accessors) {
      Object.defineProperty(errors, "stackTraceLimit", { ...accessor, configurable: true });
      try {
        assert(captureStack("allocated", 3) instanceof Error);
        using debug = new DebugAllocator(new Heap());
        debug.free(debug.allocate(10));
      } finally {
        Object.defineProperty(errors, "stackTraceLimit", { value: before, writable: true, configurable: true });
      }
    }
  });

  it("captures nothing at depth 0", () => {
    assertEquals(captureStack("allocated", 0), undefined);
    assertEquals(framesOf(undefined), []);
    assertEquals(formatStack(undefined), "    (no stack was recorded)");
  });

  it("captures a stack where Error is frozen", async () => {
    const { code, stdout, stderr } = await runSource(`
      import { captureStack, framesOf } from "${rootUrl}src/allocation_site.ts";
      Object.freeze(Error);
      function caller() { const errors = [captureStack("x", 4)]; return errors[0]; }
      console.log(framesOf(caller(), 1)[0].functionName);
    `);
    assertEquals([code, stdout.trim(), stderr], [0, "caller", ""]);
  });
});

describe("framesOf()", () => {
  it("leaves out the frames of this package at the top, and only those", () => {
    using heap = new Heap();
    const thrown = assertThrows(() => [heap.view(4096)], InvalidFreeError);
    assertMatch(framesOf(thrown)[0]!.url, /allocation_site\.test\.ts$/);
    assertMatch(thrown.stack!, /heap/);
    // Called back from the package, so that its frames are in the middle as well.
    let inner: Error | undefined;
    const vec = new Vec(Int32Array, { allocator: new Heap() });
    const liar = { valueOf: () => [inner = captureStack("inside", 10)].length };
    vec.push(liar as unknown as number);
    assertMatch(framesOf(inner)[0]!.url, /allocation_site\.test\.ts$/);
    assert(framesOf(inner).some(({ url }) => /src.vec\.ts$/.test(url)), "the package's frames are in the middle");
    vec.allocator[Symbol.dispose]();
  });

  it("reads the frames of V8 and JavaScriptCore, of URLs and of paths", () => {
    const stack = [
      "Error: at first",
      "    at plain (file:///a/b.ts:10:2)",
      "    at file:///a/b.ts:11:3",
      "    at async Thing.method [as other] (https://example.org/c.ts:1:2)",
      "    at new Thing (C:\\dir (x)\\d.ts:5:6)",
      "    at async file:///a/e.ts:7:8",
      "    at Array.map (<anonymous>)",
      "    at <anonymous> (/path with space/f.ts:9:10)",
      "    at map (native:1:11)",
      "    at eval (eval at g (file:///a.ts:1:1), <anonymous>:3:8)",
      "    at native",
    ].join("\n");
    assertEquals(framesOf(errorWith(stack)).map((f) => [f.functionName, f.url, f.line, f.column]), [
      ["plain", "file:///a/b.ts", 10, 2],
      ["", "file:///a/b.ts", 11, 3],
      ["Thing.method [as other]", "https://example.org/c.ts", 1, 2],
      ["new Thing", "C:\\dir (x)\\d.ts", 5, 6],
      ["", "file:///a/e.ts", 7, 8],
      ["Array.map", "<anonymous>", 0, 0],
      ["", "/path with space/f.ts", 9, 10],
      ["map", "native", 1, 11],
      ["eval", "eval at g (file:///a.ts:1:1), <anonymous>", 3, 8],
      ["", "native", 0, 0],
    ]);
    assertEquals(
      formatFrames(framesOf(errorWith(stack), 3), "  "),
      "  at plain (file:///a/b.ts:10:2)\n  at file:///a/b.ts:11:3\n" +
        "  at Thing.method [as other] (https://example.org/c.ts:1:2)",
    );
    assertEquals(formatStack(errorWith("Error: x\n    at Array.map (<anonymous>)")), "    at Array.map (<anonymous>)");
  });

  it("passes over the frames in its message", () => {
    const error = new Error("first line\n    at somebodyElse (file:///a.ts:1:1)\n  freed");
    assertMatch(framesOf(error)[0]!.url, /allocation_site\.test\.ts$/);
    assertEquals(framesOf(errorWith("    at a (b:1:1)"))[0]?.functionName, "a");
  });

  it("finds no frames where the program has made the stack something else", () => {
    for (const stack of [undefined, 5, [], "no frames", {}]) assertEquals(framesOf(errorWith(stack)), []);
  });

  it("finds no frames where reading the stack throws, and a report of leaks is made all the same", () => {
    const errors = Error as { prepareStackTrace?: unknown };
    const before = errors.prepareStackTrace;
    let leaked = 0;
    const allocator = new DebugAllocator(new Heap(), { reportLeaks: ({ count }) => void (leaked = count) });
    const address = allocator.allocate(1);
    allocator.allocate(2);
    try {
      errors.prepareStackTrace = () => {
        throw new Error("the program's own");
      };
      allocator.free(address);
      assertThrows(() => allocator.free(address), InvalidFreeError, "already freed");
      allocator[Symbol.dispose]();
    } finally {
      errors.prepareStackTrace = before;
    }
    assertEquals(leaked, 1);
  });
});

describe("historyOf()", () => {
  it("cuts the frames of this package off the stacks that it shows, once, and no others", () => {
    const source = `${rootUrl}src/`;
    const ours = (file: string): string => `    at Ours.method (${source}${file}:1:2)`;
    const theirs = "    at theirs (file:///a/b.ts:10:2)";
    const error = new Error("allocated");
    error.stack = ["Error: allocated", ours("heap.ts"), ours("vec.ts"), theirs, ours("vec.ts"), theirs].join("\n");
    const cut = ["Error: allocated", theirs, ours("vec.ts"), theirs].join("\n");
    const history = historyOf({ allocatedAt: error });
    assertEquals(error.stack, cut);
    assertEquals(historyOf({ allocatedAt: error }), history);
    assertEquals(error.stack, cut);
    const foreign = ["made by the program's own prepareStackTrace", theirs].join("\n");
    const freedAt = errorWith(foreign);
    assertMatch(historyOf({ freedAt }), /freed\n {4}at theirs/);
    assertEquals(freedAt.stack, foreign);
  });

  it("leaves a stack that cannot be written to, or is no text, as it is", () => {
    for (const stack of [["Error: made", `    at ours (${rootUrl}src/heap.ts:1:2)`].join("\n"), 5, undefined]) {
      const allocatedAt = Object.freeze(errorWith(stack));
      assertEquals(historyOf({ allocatedAt }), "\n  allocated\n    (no stack was recorded)");
      assertEquals(allocatedAt.stack as unknown, stack);
    }
  });
});

describe("totals: true", () => {
  it("counts blocks whose stacks cannot be read, and leaves none behind", () => {
    const errors = Error as { prepareStackTrace?: unknown };
    const { prepareStackTrace: before } = errors;
    const inner = new Heap();
    using debug = new DebugAllocator(inner, { totals: true });
    const hostile = [
      () => {
        throw new Error("the program's own");
      },
      () => ({
        get length() {
          throw new Error("no length");
        },
      }),
      () => "    at (((:1:2:3)\n    at \n    at %zz:1:1",
    ];
    for (const prepare of hostile) {
      errors.prepareStackTrace = prepare;
      try {
        const address = debug.allocate(100);
        debug.resize(address, 120);
        debug.free(debug.reallocate(address, 5000));
      } finally {
        errors.prepareStackTrace = before;
      }
    }
    assertEquals([debug.stats().liveBlocks, inner.stats().liveBlocks], [0, 0]);
    let bytes = 0;
    for (const { size } of debug.heapProfile("total").samples) bytes += size;
    assertEquals(bytes, 3 * (120 + 5000));
    debug.check();
  });
});

describe("stackDepth()", () => {
  it("is a number of frames, or a default, or none", () => {
    assertEquals([stackDepth(true), stackDepth(false), stackDepth(0), stackDepth(5)], [12, 0, 0, 5]);
  });

  it("refuses everything else", () => {
    assertThrows(() => stackDepth("yes"), TypeError, 'Cannot use "yes" as stacks');
    assertThrows(() => stackDepth(null), TypeError, "Cannot use null as stacks");
    for (const bad of [-1, 1.5, NaN]) assertThrows(() => stackDepth(bad), RangeError, `${bad} as stacks`);
  });
});
