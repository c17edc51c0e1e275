/**
 * What happens without heap.ts, which registers the system's page source. This file must not import it, nor mod.ts.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { defaultPageSource, setDefaultPageSource } from "../src/default_page_source.ts";
import { UnsupportedPlatformError } from "../src/errors.ts";
import { fixedPageSource } from "../src/fixed_page_source.ts";
import { Heap } from "../src/heap.ts";

describe("defaultPageSource()", () => {
  it("says what to do when none is registered, and is not called when a source is given", () => {
    const error = assertThrows(() => new Heap(), UnsupportedPlatformError);
    assertEquals(error.message, "Cannot find a page source: pass one as the source option, or import mod.ts");
    using heap = new Heap({ source: fixedPageSource(new ArrayBuffer(65_536)) });
    heap.free(heap.allocate(10));
  });

  it("calls what was registered, once for each allocator", () => {
    let calls = 0;
    const source = fixedPageSource(new ArrayBuffer(65_536));
    setDefaultPageSource(() => {
      calls++;
      return source;
    });
    assertEquals([calls, defaultPageSource() === source, calls], [0, true, 1]);
    using heap = new Heap();
    assertEquals([heap.source === source, calls], [true, 2]);
  });
});
