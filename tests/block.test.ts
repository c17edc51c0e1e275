/**
 * Blocks by themselves: what stands where in front of them, as drawn in block.ts, and what is read of it.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError, fixedPageSource } from "../mod.ts";
import {
  alignmentLog2At,
  freeAt,
  freeBelow,
  type HeaderSize,
  layoutFor,
  setPrevious,
  sizeOfFree,
  sizeOfLive,
  slackAt,
  writeFree,
  writeLive,
} from "../src/block.ts";
import { END, FREE, GRANULE, LIVE } from "../src/marks.ts";
import { type Region, RegionList } from "../src/region_list.ts";

/** A region with a live block of 6 granules, a free one of 8, and a live one up to its end. */
function threeBlocks(header: HeaderSize): { region: Region; live: number; free: number; last: number } {
  const layout = layoutFor(header);
  const region = new RegionList(fixedPageSource(new ArrayBuffer(8192)), layout).map(4096, 0);
  const live = region.first;
  const [free, last] = [live + 6, live + 14];
  setPrevious(region, layout, live, 0);
  region.marks[free] = FREE;
  region.marks[last - 1] = END;
  writeFree(region, layout, free, 8);
  writeLive(region, layout, last, region.end - last, 0, 4);
  setPrevious(region, layout, last, 8);
  writeLive(region, layout, live, 6, 5, 7);
  return { region, live, free, last };
}

describe("blocks", () => {
  it("have their fields where the drawing has them, in bytes from the payload", () => {
    const fields: [HeaderSize, block: "live" | "free" | "last", offset: number, value: number][] = [
      [0, "free", 0, 8],
      [8, "live", -8, 6 << 1],
      [8, "free", -8, 8 << 1 | 1],
      [24, "live", -24, 6],
      [24, "free", -20, 6],
      [24, "live", -16, 1],
      [24, "free", -12, 8 << 1 | 1],
      [40, "free", -40, 8],
      [40, "last", -32, 8],
      [40, "live", -24, 1],
      [40, "live", -16, 6 << 1],
    ];
    for (const [header, block, offset, value] of fields) {
      const blocks = threeBlocks(header);
      const { region } = blocks;
      const bytes = new DataView(region.bytes.buffer, region.bytes.byteOffset);
      const at = blocks[block] * GRANULE + offset;
      assertEquals(bytes.getInt32(at, true), value, `${header}, ${block}, ${offset}`);
    }
    // Without links a free block says its size at its other end too.
    for (const header of [0, 8] as const) {
      const { region, last } = threeBlocks(header);
      assertEquals(region.words[4 * (last - 1)], 8);
    }
  });

  for (const header of [0, 8, 24, 40] as const) {
    it(`with headers of ${header} bytes give back what was written, and find their neighbours`, () => {
      const layout = layoutFor(header);
      const { region, live, free, last } = threeBlocks(header);
      assertEquals([sizeOfLive(region, layout, live), slackAt(region, live), alignmentLog2At(region, live)], [6, 5, 7]);
      assertEquals([sizeOfFree(region, layout, free), sizeOfLive(region, layout, last)], [8, region.end - last]);
      assertEquals([live, free, last].map((p) => freeBelow(region, layout, p)), [0, 0, 8]);
      assertEquals([live, free, last, region.end].map((p) => freeAt(region, layout, p)), [0, 8, 0, 0]);
      assertEquals(region.marks[live]! & (LIVE | FREE), LIVE);
    });

    it(`with headers of ${header} bytes are not read when a size was written to`, () => {
      const layout = layoutFor(header);
      for (const size of [0, 1, 7, 9, 14, 4096, -1, 2 ** 31 - 1]) {
        const { region, free } = threeBlocks(header);
        region.words[4 * free] = size;
        assertThrows(() => sizeOfFree(region, layout, free), CorruptionError, "written to");
        assertThrows(() => freeAt(region, layout, free), CorruptionError);
        assertThrows(() => freeBelow(region, layout, free + 8), CorruptionError);
      }
      // The end of another free block is no end of this one.
      const { region, free } = threeBlocks(header);
      region.marks[free + 9] = END;
      region.words[4 * free] = 10;
      assertThrows(() => sizeOfFree(region, layout, free), CorruptionError);
    });
  }
});
