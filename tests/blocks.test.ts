/**
 * Blocks: which kind of place a block gets, what an address means, and what is kept when something fails.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError, failingPageSource, fixedPageSource, OutOfMemoryError, systemPageSource } from "../mod.ts";
import type { Address, PageSource } from "../mod.ts";
import type { LiveBlock } from "../src/block_lookup.ts";
import { Blocks } from "../src/blocks.ts";
import { Recorder } from "./support/recording_source.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

function make(inner: PageSource = systemPageSource()): { blocks: Blocks; recorder: Recorder; complaint: () => string } {
  const recorder = new Recorder(inner);
  const blocks = new Blocks(recorder.source);
  return {
    blocks,
    recorder,
    complaint() {
      blocks.check();
      blocks.dispose();
      return recorder.complaint();
    },
  };
}

/** A block that must be there. */
function find(blocks: Blocks, address: Address): LiveBlock {
  const block = blocks.find(address);
  assert(block !== undefined, `no block at 0x${address.toString(16)}`);
  return block;
}

/** Where a block lies. */
function kind(block: LiveBlock): "small" | "large" | "huge" {
  return block.huge !== undefined ? "huge" : block.link !== 0 ? "small" : "large";
}

describe("Blocks", () => {
  it("place by size and alignment: in a page, in a run, or in a mapping of their own", () => {
    const { blocks, complaint } = make();
    const cases: [number, number, string][] = [
      [0, 16, "small"],
      [16 * KIB, 16, "small"],
      [16 * KIB, 1024, "small"],
      [16 * KIB + 1, 16, "large"],
      [1, 2048, "large"],
      [4 * MIB, 16, "large"],
      [1, MIB, "large"],
      [4 * MIB + 1, 16, "huge"],
      [1, 2 * MIB, "huge"],
    ];
    for (const [size, alignment, expected] of cases) {
      const block = find(blocks, blocks.allocate(size, alignment));
      assertEquals(
        [kind(block), block.requestedSize, block.alignment],
        [expected, size, alignment],
        `${size} at ${alignment}`,
      );
      assert(block.usableSize >= size);
      assertEquals([block.owned, block.pages === undefined], [false, expected === "huge"]);
    }
    assertEquals(complaint(), "");
  });

  it("find() knows starts only, and explain() says what is at any other address", () => {
    const { blocks, complaint } = make();
    const unit = systemPageSource().granularity;
    for (const size of [64, 40_000, 5 * MIB]) {
      const address = blocks.allocate(size, 64);
      const { usableSize } = find(blocks, address);
      for (const offset of [1, 8, 16, 48, 63.5, usableSize - 1]) {
        assertEquals(blocks.find(address + offset), undefined);
        const detail = `it is ${
          offset === 1 ? "1 byte" : `${offset} bytes`
        } inside the live block of ${usableSize} bytes at 0x${address.toString(16)}`;
        assertEquals(blocks.explain(address + offset), { kind: "interior", detail });
      }
      blocks.release(find(blocks, address));
      assertEquals(blocks.find(address), undefined);
      assertEquals(blocks.explain(address), { kind: "double", detail: "the block is already freed" });
    }
    for (const address of [0, -16, 1.5, NaN, Infinity, -Infinity, unit, 2 ** 60]) {
      assertEquals(blocks.find(address), undefined);
      assertEquals(blocks.explain(address).kind, "foreign", `${address}`);
    }
    assertEquals(complaint(), "");
  });

  it("the rest at the end of a page and units that were never used are foreign", () => {
    const { blocks, complaint } = make();
    const page = blocks.allocate(48, 16);
    assertEquals(blocks.explain(page + 65_536 - 16).kind, "foreign");
    assertEquals(blocks.explain(page + 48 * 1000).kind, "foreign", "a slot that was never in the list");
    assertEquals(blocks.explain(page + 65_536).kind, "foreign");
    assertEquals(blocks.explain(page + 65_536 + 0.5).kind, "foreign");
    assertEquals(complaint(), "");
  });

  it("resize() within a slot, a run and a mapping, and not beyond", () => {
    const { blocks, complaint } = make();
    const cases: [number, [number, boolean][]][] = [
      [100, [[112, true], [113, false], [1, true], [0, true], [100, true]]],
      [16 * KIB, [[16 * KIB - 4095, true], [16 * KIB - 4096, false]]],
      [40_000, [[40_960, true], [41_000, true], [200_000, true], [1, true], [0, true], [9 * MIB, false]]],
      [5 * MIB, [[5 * MIB - 1, true], [1, true], [5 * MIB + 65_537, false]]],
    ];
    for (const [size, steps] of cases) {
      const address = blocks.allocate(size, 16);
      let now = size;
      for (const [to, expected] of steps) {
        assertEquals(blocks.resize(find(blocks, address), to), expected, `${size} to ${to}`);
        if (expected) now = to;
        assertEquals(find(blocks, address).requestedSize, now);
        blocks.check();
      }
    }
    assertEquals(complaint(), "");
  });

  /** Gives a block its new size, in place or elsewhere; its address and whether it moved. */
  function grow(blocks: Blocks, address: Address, size: number): [Address, boolean] {
    const block = find(blocks, address);
    if (blocks.resize(block, size)) return [address, false];
    const moved = blocks.allocateInPlaceOf(block, size);
    blocks.release(block, true);
    return [moved, true];
  }

  it("what has grown into a large block has room to grow again, with other blocks coming in between", () => {
    const { blocks, complaint } = make();
    // Holes where each of the blocks to come would fit.
    const holes = Array.from({ length: 10 }, () => [blocks.allocate(24_000, 16), blocks.allocate(20_000, 16)]);
    for (const [hole] of holes) blocks.release(find(blocks, hole!), true);
    let moves = 0;
    for (let i = 0; i < 10; i++) {
      const [first] = grow(blocks, blocks.allocate(12_288, 16), 18_432);
      blocks.allocate(24_000, 16);
      const [second, moved] = grow(blocks, first, 27_648);
      if (moved) moves++;
      blocks.release(find(blocks, second), true);
    }
    assertEquals(moves, 0);
    assertEquals(complaint(), "");
  });

  it("where blocks of one length grow again and again, the first is copied and the next are not", () => {
    const { blocks, complaint } = make();
    // Space in which the block can become as long as it will, and a hole that just fits it as it begins.
    const [space, , hole] = [412_704, 20_000, 206_256, 20_000].map((size) => blocks.allocate(size, 16));
    for (const address of [space!, hole!]) blocks.release(find(blocks, address));
    const moves: boolean[] = [];
    for (let i = 0; i < 5; i++) {
      const [address, moved] = grow(blocks, blocks.allocate(206_256, 16), 412_704);
      moves.push(moved);
      blocks.release(find(blocks, address));
    }
    assertEquals(moves, [true, false, false, false, false]);
    assertEquals(complaint(), "");
  });

  it("an outgrown block leaves free space, and is not kept for the next of its length", () => {
    const { blocks, complaint } = make();
    const [first, second] = [40_000, 40_000].map((size) => blocks.allocate(size, 16));
    const { runs } = blocks.ranges[0]!.range;
    blocks.release(find(blocks, second!), true);
    assertEquals(runs.parked.total, 0);
    blocks.release(find(blocks, first!));
    assertEquals(runs.parked.total, 10);
    assertEquals(complaint(), "");
  });

  it("setOwned() marks and unmarks every kind of block, and changes nothing else", () => {
    const { blocks, complaint } = make();
    for (const size of [100, 40_000, 5 * MIB]) {
      const address = blocks.allocate(size, 256);
      const before = find(blocks, address);
      blocks.setOwned(before, true);
      assertEquals({ ...find(blocks, address), huge: undefined }, { ...before, huge: undefined, owned: true });
      blocks.setOwned(find(blocks, address), true);
      assert(find(blocks, address).owned);
      blocks.resize(find(blocks, address), size - 1);
      assertEquals([find(blocks, address).owned, find(blocks, address).alignment], [true, 256]);
      blocks.setOwned(find(blocks, address), false);
      assert(!find(blocks, address).owned);
    }
    assertEquals(complaint(), "");
  });

  it("freeLarge() does for large blocks of the first range what the slow way does", () => {
    const { blocks, complaint } = make();
    const small = blocks.allocate(100, 16);
    const address = blocks.allocate(64 * KIB, 16);
    assert(!blocks.freeLarge(small) && !blocks.freeLarge(address + 4096) && !blocks.freeLarge(address + 1));
    assert(!blocks.freeLarge(NaN) && !blocks.freeLarge(0) && !blocks.freeLarge(2 ** 60));
    blocks.setOwned(find(blocks, address), true);
    assert(!blocks.freeLarge(address), "an owned block has views to detach");
    blocks.setOwned(find(blocks, address), false);
    assert(blocks.freeLarge(address));
    assert(!blocks.freeLarge(address));
    blocks.check();
    assertEquals(blocks.find(address), undefined);
    assertEquals(blocks.ranges[0]!.range.runs.parked.total, 16);
    assertEquals(complaint(), "");
  });

  it("isFresh says whether the last block reads as zero", () => {
    const { blocks, complaint } = make();
    blocks.allocate(100, 16);
    assert(!blocks.isFresh, "small blocks are not known to be");
    // Too long to be parked.
    const address = blocks.allocate(300_000, 16);
    assert(blocks.isFresh);
    blocks.release(find(blocks, address));
    // Given back at once, as the heap never needed more than this, and fresh again.
    assertEquals(blocks.allocate(290_000, 16), address);
    assert(blocks.isFresh);
    blocks.allocate(400_000, 16);
    blocks.release(find(blocks, address));
    assertEquals(blocks.allocate(290_000, 16), address);
    assert(!blocks.isFresh, "the heap has needed more, so the freed block was kept as it was");
    blocks.allocate(5 * MIB, 16);
    assert(blocks.isFresh);
    assertEquals(complaint(), "");
  });

  it("live() gives every block once", () => {
    const { blocks, complaint } = make();
    const addresses = new Set<Address>();
    for (let i = 0; i < 400; i++) addresses.add(blocks.allocate((i * 7919) % 60_000, 16));
    addresses.add(blocks.allocate(5 * MIB, 16));
    const seen = [...blocks.live()];
    assertEquals(seen.length, addresses.size);
    assertEquals(new Set(seen.map(({ address }) => address)), addresses);
    assertEquals(complaint(), "");
  });

  it("regionOf() is where a block's bytes are", () => {
    const { blocks, complaint } = make();
    for (const size of [100, 40_000, 2 * MIB]) {
      const block = find(blocks, blocks.allocate(size, 16));
      const region = blocks.regionOf(block);
      assert(block.address >= region.address);
      assert(block.address + block.usableSize <= region.address + region.bytes.byteLength);
    }
    assertEquals(complaint(), "");
  });

  it("ranges double over a fixed buffer, and the first is 1 MiB", () => {
    const { blocks, complaint } = make(fixedPageSource(new ArrayBuffer(16 * MIB)));
    for (let i = 0; i < 7 * 16 + 1; i++) blocks.allocate(64 * KIB, 16);
    assertEquals(blocks.ranges.map(({ range }) => range.byteLength / MIB), [1, 2, 4, 8]);
    assertEquals(complaint(), "");
  });

  it("nothing is left when the first range cannot be had", () => {
    for (let requests = 0; requests < 6; requests++) {
      const recorder = new Recorder(systemPageSource());
      assertThrows(
        () => new Blocks(failingPageSource(recorder.source, requests)),
        OutOfMemoryError,
        "fails on purpose",
      );
      assertEquals(recorder.complaint(), "", `after ${requests} requests`);
    }
  });

  it("trim() gives ranges back from the last, but not the first", () => {
    const { blocks, recorder, complaint } = make(fixedPageSource(new ArrayBuffer(16 * MIB)));
    const addresses = Array.from({ length: 100 }, () => blocks.allocate(64 * KIB, 16));
    assertEquals(blocks.ranges.length, 3);
    const last = addresses.pop()!;
    for (const address of addresses) blocks.release(find(blocks, address));
    blocks.trim();
    blocks.check();
    assertEquals(blocks.ranges.length, 3, "the last holds a block");
    blocks.release(find(blocks, last));
    blocks.trim();
    assertEquals([blocks.ranges.length, recorder.reservedBytes, blocks.committedBytes], [1, MIB, 0]);
    assertEquals(blocks.explain(last).kind, "foreign");
    assertEquals(complaint(), "");
  });

  it("a failed allocation keeps neither a range nor a block", () => {
    const { blocks, recorder, complaint } = make(fixedPageSource(new ArrayBuffer(3 * MIB)));
    for (let i = 0; i < 16; i++) blocks.allocate(64 * KIB, 16);
    const before = [blocks.ranges.length, recorder.reservedBytes, blocks.committedBytes];
    recorder.failAfter(1);
    const error = assertThrows(() => blocks.allocate(100_000, 16), OutOfMemoryError);
    assert(error.cause instanceof OutOfMemoryError);
    assertEquals([blocks.ranges.length, recorder.reservedBytes, blocks.committedBytes], before);
    recorder.rearm();
    blocks.check();
    blocks.allocate(100_000, 16);
    assertEquals(complaint(), "");
  });

  it("what is no OutOfMemoryError of the source goes through as it is", () => {
    const source = systemPageSource();
    let wrong = false;
    const blocks = new Blocks({
      ...source,
      reserve(byteLength, alignment) {
        if (wrong) throw new EvalError("odd");
        return source.reserve(byteLength, alignment);
      },
    });
    wrong = true;
    assertThrows(() => blocks.allocate(5 * MIB, 16), EvalError, "odd");
    wrong = false;
    blocks.check();
    blocks.dispose();
  });

  it("dispose() gives back all it can, and throws what failed first", () => {
    const recorder = new Recorder(systemPageSource());
    const failing = failingPageSource(recorder.source, Infinity, { operations: ["unmap"] });
    const blocks = new Blocks(failing);
    for (const size of [100, 100_000, 5 * MIB, 6 * MIB]) blocks.allocate(size, 16);
    const held = recorder.mappings().length;
    failing.rearm(1, 1);
    assertThrows(() => blocks.dispose(), OutOfMemoryError, "fails on purpose");
    assertEquals([recorder.mappings().length, recorder.wrappedBytes, held > 4], [1, 0, true]);
    const { address, byteLength } = recorder.mappings()[0]!;
    recorder.source.unmap(address, byteLength);
    assertEquals(recorder.complaint(), "");
  });
});

describe("Blocks.check()", () => {
  it("finds a large block whose record does not fit its run", () => {
    const { blocks, complaint } = make();
    const block = find(blocks, blocks.allocate(100_000, 64 * KIB));
    const { runs } = block.pages!.range;
    const unit = block.granule / 256;
    const [slack, info] = [runs.slack(unit), runs.info(unit)];
    const cases: [number, number][] = [[-1, info], [4096, info], [slack, info | 128], [slack, 21], [slack, -1]];
    // Unless it happens to lie there, it cannot say that it is at a multiple of a mebibyte.
    if (block.address % MIB !== 0) cases.push([slack, 20]);
    for (const [wrongSlack, wrongInfo] of cases) {
      runs.describe(unit, wrongSlack, wrongInfo);
      assertThrows(
        () => blocks.check(),
        CorruptionError,
        `Cannot trust the large block at unit ${unit}: its record says`,
      );
    }
    runs.describe(unit, slack, info);
    assertEquals(complaint(), "");
  });

  it("takes the largest slacks: of a block of no bytes, and of one byte in its last unit", () => {
    const { blocks, complaint } = make();
    for (const size of [0, 1, 4096, 4097, 20_481]) blocks.allocate(size, 4096);
    assertEquals(complaint(), "");
  });

  it("finds huge blocks that are miscounted", () => {
    const { blocks, complaint } = make();
    const block = find(blocks, blocks.allocate(5 * MIB, 16));
    for (const field of ["byteLength", "wrappedBytes"] as const) {
      blocks.huge[field] += 1;
      assertThrows(
        () => blocks.check(),
        CorruptionError,
        "Cannot trust the huge blocks: they have 5242880 bytes, 0 wrapped",
      );
      blocks.huge[field] -= 1;
    }
    block.huge!.requested = 2 ** 30;
    assertThrows(() => blocks.check(), CorruptionError, "its record disagrees with itself");
    block.huge!.requested = 5 * MIB;
    assertEquals(complaint(), "");
  });
});
