/**
 * Where aligned blocks begin in free ones: the lowest or the highest of all places that there are.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource } from "../mod.ts";
import { layoutFor } from "../src/block.ts";
import { BlockPlacement } from "../src/block_placement.ts";
import { RegionList } from "../src/region_list.ts";
import { Prng } from "./support/prng.ts";

describe("BlockPlacement", () => {
  it("takes the lowest place, or the highest, that is aligned and leaves nothing or a whole block below", () => {
    const regions = new RegionList(fixedPageSource(new ArrayBuffer(2 ** 16)), layoutFor(8));
    regions.map(8192, 0);
    const region = regions.map(8192, 0);
    const seed = 72;
    const random = new Prng(seed);
    for (let step = 0; step < 5000; step++) {
      const [p, n, need] = [1 + random.below(100), 1 + random.below(80), 1 + random.below(20)];
      const [minimum, alignment] = [1 + random.below(4), 16 << random.below(6)];
      const places = Array.from({ length: n }, (_, i) => p + i).filter((at) =>
        (region.address + at * 16) % alignment === 0 && at + need <= p + n && (at === p || at - p >= minimum)
      );
      const [start, end] = [new BlockPlacement(minimum, false), new BlockPlacement(minimum, true)];
      const found = [start, end].map((placement) => placement.placing(need, alignment)(region, p, n));
      assertEquals(found, [places[0] ?? -1, places.at(-1) ?? -1], `seed ${seed}, step ${step}`);
      assertEquals(end.atStart(region, p, n, need, alignment), places[0] ?? -1, `seed ${seed}, step ${step}`);
    }
  });
});
