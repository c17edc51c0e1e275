/**
 * Units of pages that hold nothing live, in a `Heap`: it gives them back when it grows and in `trim()`, and its blocks
 * stay as they are.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Address,
  failingPageSource,
  fixedPageSource,
  Heap,
  type HeapOptions,
  type PageSource,
  systemPageSource,
} from "../mod.ts";
import { Recorder } from "./support/recording_source.ts";

/** Bytes of a page. */
const PAGE = 65_536;

/** A source that says where memory was given back. */
function watched(source: PageSource = systemPageSource()): { source: PageSource; given: [Address, number][] } {
  const given: [Address, number][] = [];
  const discard = (address: Address, byteLength: number) => {
    source.discard(address, byteLength);
    given.push([address, byteLength]);
  };
  return { source: { ...source, discard }, given };
}

/** Which of the places given back lie in a page that has a live block. */
function insidePages(heap: Heap, given: readonly [Address, number][]): [Address, number][] {
  const used = new Set(Array.from(heap.blocks(), ({ address }) => Math.floor(address / PAGE)));
  return given.filter(([address]) => used.has(Math.floor(address / PAGE)));
}

/**
 * Writes blocks of 512 bytes, then frees all but those in the first of each 16 KiB. Returns what is left, and a function that
 * verifies it.
 */
function sparse(heap: Heap, count: number): { kept: Address[]; verify: () => void } {
  const all = Array.from({ length: count }, () => heap.allocate(512));
  for (const address of all) heap.view(address).fill(address / 512);
  const kept = all.filter((address) => address % 16_384 < 512);
  for (const address of all) if (address % 16_384 >= 512) heap.free(address);
  const verify = () => {
    heap.check();
    for (const address of kept) {
      const bytes = heap.view(address);
      assert(bytes.every((byte) => byte === ((address / 512) & 255)), `the block at ${address} has changed`);
    }
  };
  return { kept, verify };
}

/** Takes and writes 2 MiB in blocks of another class. */
function grow(heap: Heap): Address[] {
  const blocks = Array.from({ length: 1000 }, () => heap.allocate(2048));
  for (const address of blocks) heap.view(address).fill(0xee);
  return blocks;
}

describe("Heap and units of pages", () => {
  const KINDS: readonly (readonly [name: string, options: HeapOptions])[] = [
    ["a plain heap", {}],
    ["a heap that clears", { zeroOnFree: true }],
    ["a secure heap", { secure: { seed: 7 } }],
    ["a heap of random placement", { secure: { seed: 8, zeroOnFree: false, delayedReuse: false } }],
  ];
  for (const [name, options] of KINDS) {
    it(`${name} gives them back when it grows, and its blocks stay as they are`, () => {
      const { source, given } = watched();
      using heap = new Heap({ ...options, source });
      const { kept, verify } = sparse(heap, 8192);
      given.length = 0;
      const others = grow(heap);
      verify();
      const bytes = insidePages(heap, given).reduce((sum, [, byteLength]) => sum + byteLength, 0);
      assert(bytes >= 2 ** 20, `${bytes} of some 3 MiB were given back`);
      // What was given back is used again, and can be written as a whole.
      const again = Array.from({ length: 4000 }, () => heap.allocate(512));
      for (const address of again) heap.view(address).fill(0xdd);
      verify();
      for (const address of [...again, ...others, ...kept]) heap.free(address);
      heap.check();
    });
  }

  it("trim() gives them back, says so, and has nothing more to give then", () => {
    const { source, given } = watched();
    using heap = new Heap({ source });
    const { verify } = sparse(heap, 8192);
    const trimmed = heap.trim();
    verify();
    const bytes = insidePages(heap, given).reduce((sum, [, byteLength]) => sum + byteLength, 0);
    assert(bytes >= 2.5 * 2 ** 20 && bytes <= trimmed, `${bytes} of ${trimmed}`);
    assertEquals(heap.trim(), 0);
    verify();
  });

  it("a heap that cannot give memory back grows all the same, and tries again", () => {
    const source = failingPageSource(systemPageSource(), Infinity, { operations: ["discard"] });
    using heap = new Heap({ source });
    const { verify } = sparse(heap, 8192);
    source.rearm(0);
    grow(heap);
    assert(source.failures > 0);
    verify();
    assertThrows(() => heap.trim(), Error);
    verify();
    source.rearm(Infinity);
    assert(heap.trim() >= 2.5 * 2 ** 20);
    verify();
  });

  for (const pageSize of [16_384, 65_536]) {
    it(`gives whole OS pages of ${pageSize} bytes back`, () => {
      const recorder = new Recorder(systemPageSource(), { pageSize });
      {
        using heap = new Heap({ source: recorder.source });
        const all = Array.from({ length: 4096 }, () => heap.allocate(512));
        const kept = all.filter((address) => address % PAGE < 512);
        for (const address of all) if (!kept.includes(address)) heap.free(address);
        grow(heap);
        heap.trim();
        // Of 64 KiB each with a block in the first 16 KiB, three quarters at most.
        if (pageSize === 16_384) assert(recorder.releasedBytes >= 4096 * 512 / 2, `${recorder.releasedBytes}`);
        heap.check();
      }
      assertEquals(recorder.complaint(), "");
    });
  }

  it("a fixed buffer has nothing to gain from it", () => {
    const { source, given } = watched(fixedPageSource(new ArrayBuffer(2 ** 23)));
    using heap = new Heap({ source });
    const { verify } = sparse(heap, 4096);
    grow(heap);
    heap.trim();
    assertEquals(insidePages(heap, given), []);
    verify();
  });
});
