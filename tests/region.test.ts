/**
 * Regions by page, and reservations: what address_range.test.ts does not reach through an AddressRange.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError, OutOfMemoryError, type PageSource, systemPageSource } from "../mod.ts";
import { NO_REGION, type Region, RegionIndex, reserveRange } from "../src/region.ts";

const MIB = 2 ** 20;

/** An index with regions of so many units. */
function indexOf(lengths: readonly number[]): { index: RegionIndex; regions: Region[] } {
  const regions: Region[] = [];
  const index = new RegionIndex(regions);
  let firstUnit = 0;
  for (const length of lengths) {
    index.add({ ...NO_REGION, index: regions.length, firstUnit, endUnit: firstUnit + length });
    firstUnit += length;
  }
  return { index, regions };
}

describe("RegionIndex", () => {
  it("of() finds the region of every unit, of() and check() after each removal", () => {
    const { index, regions } = indexOf([16, 1, 2, 40, 13, 16, 300, 3, 3, 3, 7]);
    while (regions.length > 0) {
      index.check();
      for (const region of regions) {
        for (let unit = region.firstUnit; unit < region.endUnit; unit++) {
          assert(index.of(unit) === region, `unit ${unit}`);
        }
      }
      index.removeLast();
    }
    index.check();
  });

  it("has room for more than 255 regions", () => {
    const { index, regions } = indexOf(new Array<number>(1000).fill(16));
    index.check();
    for (const region of regions) assertEquals(index.of(region.firstUnit + 15).index, region.index);
  });

  it("check() finds a region that is entered wrongly", () => {
    const { index, regions } = indexOf([16, 32, 16]);
    regions[1] = { ...regions[1]!, index: 7 };
    assertThrows(() => index.check(), CorruptionError, "Cannot trust region 7: its page 1 is entered under 1");
  });
});

describe("reserveRange()", () => {
  it("halves until the source agrees, down to what is needed", () => {
    const asked: number[] = [];
    const inner = systemPageSource();
    const source: PageSource = {
      ...inner,
      reserve(byteLength, alignment) {
        asked.push(byteLength);
        if (byteLength > 5 * MIB) {
          throw new OutOfMemoryError(`Cannot reserve ${byteLength} bytes: too many`, byteLength);
        }
        return inner.reserve(byteLength, alignment);
      },
    };
    const { base, byteLength } = reserveRange(source, 16 * MIB, MIB);
    assertEquals([byteLength, base % 65_536], [4 * MIB, 0]);
    assertEquals(asked, [16 * MIB, 8 * MIB, 4 * MIB]);
    source.unmap(base, byteLength);
    assertThrows(() => reserveRange(source, 64 * MIB, 6 * MIB), OutOfMemoryError, "too many");
    assertEquals(asked.slice(3), [64 * MIB, 32 * MIB, 16 * MIB, 8 * MIB]);
  });
});
