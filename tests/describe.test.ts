/**
 * Drawings of live allocators, as expected layouts.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, type PageSource } from "../mod.ts";
import { describe as draw } from "../src/describe.ts";
import { basicalloc, memAlloc, rulloc, rustyMalloc } from "../src/systems.ts";

function fixed(pageSize = 4096): PageSource {
  return fixedPageSource(new ArrayBuffer(2 ** 18), { pageSize });
}

describe("describe()", () => {
  it("draws an allocator that holds nothing", () => {
    using allocator = basicalloc({ source: fixed() });
    assertEquals(draw(allocator), "0 -> (no region)");
  });

  it("draws blocks without headers, split from the end", () => {
    using allocator = basicalloc({ source: fixed(64) });
    const first = allocator.allocate(40);
    allocator.allocate(64);
    allocator.allocate(16);
    allocator.free(first);
    assertEquals(
      draw(allocator),
      `
0 -> +--------+--------------------------------------------+
     | Region | +--------+    +----------+    +----------+ |
     |    128 | | Free 1 | -> | Block 64 | -> | Block 16 | |
     |        | | 48     |    | at 48    |    | at 112   | |
     |        | | at 0   |    |          |    |          | |
     |        | +--------+    +----------+    +----------+ |
     +--------+--------------------------------------------+
     free list: 1 at 0`.slice(1),
    );
  });

  it("draws free blocks that lie beside each other until a search merges them", () => {
    using allocator = rustyMalloc({ source: fixed() });
    const blocks = Array.from({ length: 3 }, () => allocator.allocate(100));
    allocator.free(blocks[0]!);
    allocator.free(blocks[1]!);
    assertEquals(
      draw(allocator),
      `
0 -> +--------+---------------------------------------------------------+
     | Region | +--------+    +--------+    +-----------+    +--------+ |
     |   4096 | | Free 2 | -> | Free 1 | -> | Block 112 | -> | Free 3 | |
     |        | | 112    |    | 112    |    | at 240    |    | 3744   | |
     |        | | at 16  |    | at 128 |    |           |    | at 352 | |
     |        | +--------+    +--------+    +-----------+    +--------+ |
     +--------+---------------------------------------------------------+
     free list: 1 at 128 -> 2 at 16 -> 3 at 352`.slice(1),
    );
    allocator.allocate(200);
    assertEquals(draw(allocator).split("\n").at(-1), "     free list: 1 at 352");
  });

  it("draws several regions and a free list through them", () => {
    using allocator = memAlloc({ source: fixed() });
    const blocks = Array.from({ length: 4 }, () => allocator.allocate(1800));
    allocator.free(blocks[2]!);
    const lines = draw(allocator).split("\n");
    assertEquals(lines.filter((line) => line.includes("Region")).length, 2);
    assertEquals(lines.at(-1)!.includes("of region 1"), true);
  });

  it("draws each bucket, and counts what there is no room for", () => {
    using allocator = rulloc([128, 1024], { source: fixed() });
    const first = allocator.allocate(100);
    for (let i = 0; i < 5; i++) allocator.allocate(30);
    allocator.allocate(5000);
    allocator.free(first);
    const text = draw(allocator, { maxBlocks: 2 });
    for (const part of ["1 -> (no region)", "blocks of more than 1024 bytes", "| 5 more |", "Free 2", "Block 5024"]) {
      assertEquals(text.includes(part), true, part);
    }
    assertThrows(() => draw(allocator, { maxBlocks: -1 }), RangeError);
  });
});
