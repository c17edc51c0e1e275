/**
 * `layout()` and `heapMap`: exact for small known heaps.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, Heap, type HeapLayout, heapMap } from "../mod.ts";
import { formatBytes } from "../src/heap_map.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** A region at 0x10000 that holds these spans. */
function layout(
  byteLength: number,
  spans: readonly (readonly [kind: string, byteLength: number, fill?: number])[],
): HeapLayout {
  let address = 0x10000;
  const region = { address, byteLength, spans: [] as HeapLayout["regions"][number]["spans"][number][] };
  for (const [kind, length, fill = 1] of spans) {
    region.spans.push({
      kind: kind as "page" | "large" | "free",
      address,
      byteLength: length,
      blockSize: kind === "page" ? 64 : length,
      slots: kind === "page" ? 1000 : 1,
      liveSlots: kind === "page" ? fill * 1000 : 1,
    });
    address += length;
  }
  return { regions: [region], huge: [], sizeClasses: [] };
}

/** The cells of a map without its headings. */
function cells(text: string): string {
  return text.split("\n").slice(2).join("|").replaceAll(" ", "");
}

describe("Heap.layout()", () => {
  it("lists regions, spans, size classes and huge blocks", () => {
    using heap = new Heap({ source: fixedPageSource(new ArrayBuffer(16 * MIB)) });
    assertEquals(heap.layout(), { regions: [], huge: [], sizeClasses: [] });
    const small = heap.allocate(64);
    heap.allocate(64);
    heap.allocate(16_000);
    const large = heap.allocate(100_000);
    const freed = heap.allocate(20_000);
    const huge = heap.allocate(5_000_000);
    heap.free(freed);
    const base = small;
    const free = { kind: "free", blockSize: 0, slots: 0, liveSlots: 0 } as const;
    assertEquals(heap.layout(), {
      regions: [{
        address: base,
        byteLength: MIB,
        spans: [
          { kind: "page", address: base, byteLength: 65_536, blockSize: 64, slots: 1024, liveSlots: 2 },
          { kind: "page", address: base + 65_536, byteLength: 65_536, blockSize: 16_384, slots: 4, liveSlots: 1 },
          { kind: "large", address: large, byteLength: 102_400, blockSize: 102_400, slots: 1, liveSlots: 1 },
          // Parked: free, at its length.
          { ...free, address: freed, byteLength: 20_480 },
          { ...free, address: freed + 20_480, byteLength: MIB - 2 * 65_536 - 102_400 - 20_480 },
        ],
      }],
      huge: [{ address: huge, byteLength: 5_001_216 }],
      sizeClasses: [{ size: 64, liveBlocks: 2, pages: 1 }, { size: 16_384, liveBlocks: 1, pages: 1 }],
    });
  });

  it("adds up the pages of a class, and sorts the classes", () => {
    using heap = new Heap();
    for (let i = 0; i < 9; i++) heap.allocate(16_384);
    for (let i = 0; i < 5000; i++) heap.allocate(16);
    assertEquals(heap.layout().sizeClasses, [
      { size: 16, liveBlocks: 5000, pages: 2 },
      { size: 16_384, liveBlocks: 9, pages: 3 },
    ]);
  });

  it("spans tile every region, and agree with stats()", () => {
    using heap = new Heap();
    for (let i = 0; i < 2000; i++) {
      const address = heap.allocate((i * 7919) % 40_000);
      if (i % 3 === 0) heap.free(address);
    }
    const { regions, huge } = heap.layout();
    let live = huge.length;
    for (const { address, byteLength, spans } of regions) {
      let end = address;
      for (const span of spans) {
        assertEquals(span.address, end);
        end += span.byteLength;
        live += span.liveSlots;
      }
      assertEquals(end, address + byteLength);
    }
    assertEquals([live, regions.length], [heap.stats().liveBlocks, heap.stats().regions]);
  });
});

describe("heapMap()", () => {
  it("draws a known heap", () => {
    using heap = new Heap({ source: fixedPageSource(new ArrayBuffer(16 * MIB)) });
    const base = heap.allocate(16_384);
    for (let i = 0; i < 4; i++) heap.allocate(16_384);
    heap.allocate(200_000);
    const huge = heap.allocate(5_000_000);
    assertEquals(
      heapMap(heap.layout()),
      [
        "░▄█ page of small blocks, by how full   L large block   . free",
        `0x${base.toString(16)}  1 MiB, 64 KiB each`,
        "  █▂LLLL..........",
        `0x${huge.toString(16)}  4.8 MiB, one huge block`,
      ].join("\n"),
    );
  });

  it("draws a heap that has nothing", () => {
    using heap = new Heap();
    assertEquals(heapMap(heap.layout()), "░▄█ page of small blocks, by how full   L large block   . free");
  });

  it("shows by five steps how full a page is", () => {
    const fills = [0, 0.19, 0.2, 0.39, 0.4, 0.59, 0.6, 0.79, 0.8, 1];
    const text = heapMap(layout(MIB, [...fills.map((fill) => ["page", 65_536, fill] as const), ["free", 6 * 65_536]]));
    assertEquals(cells(text), "░░▂▂▄▄▆▆██......");
  });

  it("breaks lines at `columns`", () => {
    const text = heapMap(layout(MIB, [["large", 640 * KIB], ["free", 384 * KIB]]), { columns: 6 });
    assertEquals(cells(text), "LLLLLL|LLLL..|....");
  });

  it("lets each character cover more when `lines` are not enough", () => {
    const text = heapMap(layout(MIB, [["large", 640 * KIB], ["free", 384 * KIB]]), { columns: 4, lines: 1 });
    assertEquals(text.split("\n")[1], "0x10000  1 MiB, 256 KiB each");
    assertEquals(cells(text), "LLL.");
  });

  it("shows what covers most of a cell", () => {
    const half = 32 * KIB;
    assertEquals(cells(heapMap(layout(4 * half, [["large", 40 * KIB], ["free", 88 * KIB]]))), "L.");
    const mixed = layout(8 * half, [["large", half + KIB], ["page", half - KIB, 1], ["page", half + KIB, 1], [
      "large",
      4 * half,
    ]]);
    assertEquals(cells(heapMap(mixed)), "L█LL");
    const little = heapMap(layout(2 * half, [["large", 4 * KIB], ["free", 60 * KIB]]));
    assertEquals(cells(little).length, 1);
  });

  it("draws regions shorter than a cell", () => {
    assertEquals(heapMap(layout(16 * KIB, [["free", 16 * KIB]])).split("\n").slice(1), [
      "0x10000  16 KiB, 64 KiB each",
      "  .",
    ]);
  });

  it("refuses options with which it could not end", () => {
    for (
      const options of [{ columns: -1 }, { columns: 0 }, { lines: 0 }, { lines: -3 }, { columns: NaN }, {
        columns: 1.5,
      }]
    ) {
      let thrown: unknown;
      try {
        heapMap({ regions: [], huge: [], sizeClasses: [] }, options);
      } catch (error) {
        thrown = error;
      }
      assert(thrown instanceof RangeError, `${JSON.stringify(options)} is taken`);
    }
  });
});

describe("formatBytes()", () => {
  it("takes the largest unit that keeps it at 1 or above, with at most one decimal", () => {
    const cases: [number, string][] = [
      [0, "0 B"],
      [1023, "1023 B"],
      [1024, "1 KiB"],
      [1536, "1.5 KiB"],
      [65_536, "64 KiB"],
      [5 * MIB + 200 * KIB, "5.2 MiB"],
      [2 ** 30, "1 GiB"],
      [3 * 2 ** 40, "3 TiB"],
      [2 ** 53, "8192 TiB"],
    ];
    for (const [bytes, text] of cases) assertEquals(formatBytes(bytes), text);
  });
});
