/**
 * Leak reports as data and as text, on blocks and stacks of our making.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { leakReport, type TracedBlock } from "../src/leak_report.ts";

function block(number: number, size: number, stack: string | undefined): TracedBlock {
  const address = 0x1000 * number;
  if (stack === undefined) return { address, size, alignment: 16, number, allocatedAt: undefined };
  const allocatedAt = new Error("allocated");
  Object.defineProperty(allocatedAt, "stack", { value: `Error: allocated\n${stack}` });
  return { address, size, alignment: 16, number, allocatedAt };
}

const READ = "    at readAll (file:///app/main.ts:10:23)\n    at file:///app/main.ts:31:1";
const MAIN = "    at file:///app/main.ts:33:6";

describe("leakReport()", () => {
  it("groups by stack: most bytes first, the blocks of a site by age", () => {
    const blocks = [block(4, 16, MAIN), block(3, 1000, READ), block(1, 1000, READ), block(2, 1000, READ)];
    const report = leakReport(blocks, 12);
    assertEquals([report.count, report.bytes], [4, 3016]);
    assertEquals(report.sites.map(({ count, bytes, blocks }) => [count, bytes, blocks.map(({ number }) => number)]), [
      [3, 3000, [1, 2, 3]],
      [1, 16, [4]],
    ]);
    assertEquals(report.sites[0]!.frames[0], {
      functionName: "readAll",
      url: "file:///app/main.ts",
      line: 10,
      column: 23,
    });
    assertEquals(report.sites[1]!.blocks, [{ address: 0x4000, size: 16, alignment: 16, number: 4 }]);
    assertEquals(
      `${report}`,
      [
        "2 sites, 4 blocks, 3,016 bytes are not freed",
        "",
        "3,000 bytes in 3 blocks: 0x1000 (1,000), 0x2000 (1,000), 0x3000 (1,000)",
        READ,
        "",
        "16 bytes in 1 block: 0x4000",
        MAIN,
      ].join("\n"),
    );
  });

  it("puts the site with more blocks first where the bytes are equal, and then the older one", () => {
    const blocks = [block(1, 4, MAIN), block(2, 2, READ), block(3, 2, READ), block(4, 4, "    at x (a:1:1)")];
    assertEquals(leakReport(blocks, 12).sites.map(({ blocks }) => blocks[0]!.number), [2, 1, 4]);
  });

  it("tells stacks apart by as many frames as it is asked for", () => {
    const deep = [block(1, 8, `    at f (a:1:1)\n    at g (a:2:1)`), block(2, 8, `    at f (a:1:1)\n    at h (a:3:1)`)];
    assertEquals(leakReport(deep, 2).sites.length, 2);
    assertEquals(leakReport(deep, 1).sites.map(({ count }) => count), [2]);
  });

  it("names a few addresses and counts the others, with commas", () => {
    const blocks = Array.from({ length: 12_345 }, (_, i) => block(i + 1, 100, undefined));
    assertEquals(
      `${leakReport(blocks, 12)}`,
      "1 site, 12,345 blocks, 1,234,500 bytes are not freed\n\n1,234,500 bytes in 12,345 blocks: 0x1000 (100), " +
        "0x2000 (100), 0x3000 (100), 0x4000 (100), 12,341 more\n    (no stack was recorded)",
    );
  });

  it("says that nothing is left, and counts blocks of no bytes", () => {
    assertEquals(`${leakReport([], 12)}`, "0 blocks are not freed");
    const empty = leakReport([block(1, 0, MAIN)], 12);
    assertEquals([empty.count, empty.bytes], [1, 0]);
    assertEquals(`${empty}`, `1 site, 1 block, 0 bytes are not freed\n\n0 bytes in 1 block: 0x1000\n${MAIN}`);
  });
});
