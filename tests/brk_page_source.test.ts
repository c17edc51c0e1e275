/**
 * The program break as a page source: `breakPageSource` over a break that the test moves, and `brkPageSource` over the real one.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { breakPageSource, brkPageSource, type MoveBreak } from "../ffi/brk_page_source.ts";
import { detectPlatform } from "../ffi/detect.ts";
import { OutOfMemoryError, type PageSource, systemPageSource, UnsupportedPlatformError } from "../mod.ts";
import { rustyMalloc } from "../src/systems.ts";
import { conformance } from "./conformance.ts";

const MIB = 2 ** 20;

/** A break inside a reservation of the system's, which the test can move as somebody else would. */
function fakeBreak(byteLength = 4 * MIB): { source: PageSource; moveBreak: MoveBreak; end: () => void } {
  const system = systemPageSource();
  const base = system.reserve(byteLength, system.granularity);
  system.commit(base, byteLength);
  let now = base;
  const moveBreak = (by: number): number => {
    if (now + by < base || now + by > base + byteLength) return -1;
    const before = now;
    now += by;
    return before;
  };
  return { source: breakPageSource(system, moveBreak, 4096), moveBreak, end: () => system.unmap(base, byteLength) };
}

/** Whether the C library moves the break at all: musl's refuses. */
function hasBreak(): boolean {
  if (detectPlatform().os === "windows") return false;
  try {
    const source = brkPageSource(4096);
    source.unmap(source.reserve(65_536, 65_536), 65_536);
    return true;
  } catch (error) {
    if (error instanceof OutOfMemoryError || error instanceof UnsupportedPlatformError) return false;
    throw error;
  }
}

describe("breakPageSource", () => {
  it("pieces lie one behind the other, and the break goes back with the last", () => {
    const { source, moveBreak, end } = fakeBreak();
    const start = moveBreak(0);
    const size = source.pageSize * 2;
    const a = source.reserve(size, 16);
    const b = source.reserve(size, 16);
    assertEquals([a, b], [start, start + size]);
    source.unmap(b, size);
    source.unmap(a, size);
    assertEquals(moveBreak(0), start);
    end();
  });

  it("a foreign break in between makes a second region, whose blocks are whole", () => {
    const { source, moveBreak, end } = fakeBreak();
    const allocator = rustyMalloc({ source });
    const blocks: number[] = [];
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 30; i++) blocks.push(allocator.allocate(5000));
      allocator.check();
      const foreign = moveBreak(10_000);
      for (const address of blocks) assert(address + 5000 <= foreign || address >= foreign + 10_000);
    }
    assertEquals(allocator.stats().regions, 4);
    blocks.forEach((address, i) => allocator.view(address).fill(i));
    blocks.forEach((address, i) => assert(allocator.view(address).every((byte) => byte === (i & 255))));
    for (const address of blocks) allocator.free(address);
    allocator.check();
    allocator[Symbol.dispose]();
    end();
  });

  it("a break that cannot be moved is OutOfMemoryError, and the source goes on", () => {
    const { source, end } = fakeBreak(64 * 1024);
    assertThrows(() => source.reserve(MIB, 16), OutOfMemoryError, "sbrk");
    const size = source.pageSize;
    source.unmap(source.reserve(size, 16), size);
    end();
  });

  it("pieces that were not reserved cannot be unmapped", () => {
    const { source, end } = fakeBreak();
    assertThrows(() => source.unmap(source.pageSize * 1000, source.pageSize), RangeError);
    end();
  });
});

describe("brkPageSource", () => {
  if (detectPlatform().os === "windows") {
    it("is an UnsupportedPlatformError on Windows", () => {
      assertThrows(() => brkPageSource(), UnsupportedPlatformError, "Windows");
    });
  }

  it("a wrong increment is refused", () => {
    assertThrows(() => brkPageSource(-1), RangeError, "increment");
  });
});

if (hasBreak()) {
  conformance(
    "rustyMalloc() over the program break",
    ({ wrapSource = (source: PageSource) => source } = {}) =>
      rustyMalloc({ source: wrapSource(brkPageSource(65_536)) }),
    {
      limitable: false,
      zeroing: false,
      joining: true,
      largestBlock: MIB,
      budget: 2 * MIB,
      sizes: [64, 40_000],
      largestAlignment: 65_536,
      stride: 1511,
      without: {
        A9: "what is left over by a split and too small for a block makes the block larger",
        A10: "the program break has no limit that a test could reach",
        V4: "a write to freed memory hits the free list, and is reported as corruption",
        F2: "the break goes down when memory is given back, and the next allocator has it then",
      },
    },
  );
}
