/**
 * Where a guarded block lies, for every kind of size, alignment, placement and OS page.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { guardLayout, type GuardPlacement } from "../src/guard_layout.ts";

const PAGES = [4096, 16_384, 65_536];
const SIZES = [0, 1, 13, 16, 100, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1_000_000, 2 ** 33 + 1];
const ALIGNMENTS = [1, 8, 16, 4096, 65_536, 2 ** 20, 2 ** 30];

describe("guardLayout()", () => {
  it("has the places that the drawing shows", () => {
    const common = { reserved: 12_288, alignment: 4096, lead: 4096, committed: 4096 };
    assertEquals(guardLayout(100, 16, "end", 4096), { ...common, offset: 8080 - 4096 });
    assertEquals(guardLayout(100, 1, "end", 4096), { ...common, offset: 8092 - 4096 });
    assertEquals(guardLayout(100, 16, "start", 4096), { ...common, offset: 0 });
  });

  it("keeps the block within its pages, aligned, with a guard page at least on either side", () => {
    for (const pageSize of PAGES) {
      for (const size of SIZES) {
        for (const alignment of ALIGNMENTS) {
          for (const placement of ["end", "start"] as const) {
            const what = `${size} bytes at ${alignment}, ${placement}, OS pages of ${pageSize}`;
            const layout = guardLayout(size, alignment, placement, pageSize);
            const { reserved, lead, committed, offset } = layout;
            assert([reserved, layout.alignment, lead, committed].every((bytes) => bytes % pageSize === 0), what);
            // The reservation starts at a multiple of layout.alignment, so this is what the address is modulo that.
            assertEquals((lead + offset) % alignment, 0, what);
            assertEquals(layout.alignment % alignment, 0, what);
            assert(lead >= pageSize && reserved - lead - committed === pageSize, what);
            assert(offset >= 0 && offset + size <= committed, what);
            assert(committed < size + pageSize, `${what}: more pages than it needs`);
          }
        }
      }
    }
  });

  it("leaves less than the alignment between the block and the guard page that it is placed at", () => {
    function gap(size: number, alignment: number, placement: GuardPlacement): number {
      const { committed, offset } = guardLayout(size, alignment, placement, 4096);
      return placement === "end" ? committed - offset - size : offset;
    }
    for (const size of SIZES) {
      assertEquals(gap(size, 1, "end"), 0);
      assert(gap(size, 16, "end") < 16 && gap(size, 4096, "end") < 4096);
      for (const alignment of ALIGNMENTS) assertEquals(gap(size, alignment, "start"), 0);
    }
  });

  it("commits nothing for a block of no bytes, which lies on its guard page", () => {
    for (const alignment of ALIGNMENTS) {
      const { committed, offset, lead, reserved } = guardLayout(0, alignment, "end", 4096);
      assertEquals([committed, offset, reserved - lead], [0, 0, 4096]);
    }
  });
});
