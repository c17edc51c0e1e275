/**
 * Huge blocks: a mapping each.
 *
 * @module
 */
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, OutOfMemoryError, type PageOperation, type PageSource, systemPageSource } from "../mod.ts";
import { HugeBlocks } from "../src/huge_blocks.ts";
import { Recorder, type RecorderOptions } from "./support/recording_source.ts";

const MIB = 2 ** 20;

function make(options: RecorderOptions = {}): { blocks: HugeBlocks; recorder: Recorder; step: number } {
  const recorder = new Recorder(systemPageSource(), options);
  const { pageSize, granularity } = recorder.source;
  return { blocks: new HugeBlocks(recorder.source), recorder, step: Math.max(pageSize, granularity) };
}

/** Frees all, and says what is left. */
function complaint(blocks: HugeBlocks, recorder: Recorder): string {
  for (const block of [...blocks.values()]) blocks.free(block);
  return recorder.complaint();
}

describe("HugeBlocks", () => {
  it("allocate() maps whole OS pages at the alignment, and free() unmaps them", () => {
    const { blocks, recorder, step } = make();
    for (const [size, alignment] of [[0, 1], [1, 16], [step, 16], [step + 1, 4096], [5 * MIB, 64 * MIB]]) {
      const block = blocks.allocate(size!, alignment!);
      assertEquals(block.address % Math.max(alignment!, step), 0);
      assertEquals(block.byteLength, Math.max(step, Math.ceil(size! / step) * step));
      assertEquals([block.requested, block.alignment, block.owned], [size, alignment, false]);
      assertStrictEquals(blocks.at(block.address), block);
      assertEquals([blocks.count, blocks.byteLength, recorder.reservedBytes], [1, block.byteLength, block.byteLength]);
      blocks.free(block);
      assertEquals([blocks.count, blocks.byteLength, recorder.reservedBytes], [0, 0, 0]);
      assertEquals(blocks.at(block.address), undefined);
    }
    assertEquals(recorder.complaint(), "");
  });

  it("around() finds the block that an address lies in", () => {
    const { blocks, recorder } = make();
    const first = blocks.allocate(MIB, 16);
    const second = blocks.allocate(MIB, 16);
    for (const block of [first, second]) {
      const end = block.address + block.byteLength;
      for (const address of [block.address, block.address + 1, end - 1]) {
        assertStrictEquals(blocks.around(address), block);
      }
    }
    const lowest = Math.min(first.address, second.address);
    assertEquals([blocks.around(lowest - 1), blocks.around(0), blocks.around(NaN)], [undefined, undefined, undefined]);
    assertEquals(complaint(blocks, recorder), "");
  });

  it("a block is wrapped with its first view, once, and the wrap is detached by free()", () => {
    const { blocks, recorder } = make();
    const block = blocks.allocate(MIB, 16);
    assertEquals([recorder.wrappedBytes, blocks.wrappedBytes, block.wrapped], [0, 0, undefined]);
    const view = blocks.view(block, 100);
    assertEquals([view.length, recorder.wrappedBytes, blocks.wrappedBytes], [100, MIB, MIB]);
    const other = blocks.view(block, MIB);
    assertStrictEquals(view.buffer, other.buffer);
    assertStrictEquals(blocks.wrappedIn(view.buffer), block);
    assertEquals(blocks.wrappedIn(new ArrayBuffer(1)), undefined);
    blocks.free(block);
    assertEquals([view.length, other.length, blocks.wrappedBytes], [0, 0, 0]);
    assertEquals(blocks.wrappedIn(view.buffer), undefined);
    assertEquals(recorder.complaint(), "");
  });

  it("unwrapAll() detaches all views, and blocks can be freed afterwards", () => {
    const { blocks, recorder } = make();
    const views = [1, 2, 3].map((size) => blocks.view(blocks.allocate(size, 16), size));
    blocks.allocate(1, 16);
    blocks.unwrapAll();
    assertEquals(views.map((view) => view.length), [0, 0, 0]);
    assertEquals(blocks.wrappedBytes, 0);
    assertEquals(complaint(blocks, recorder), "");
  });

  it("view() is a RangeError above what the runtime can wrap, and works up to it", () => {
    const { recorder, step } = make();
    const most = 2 * step;
    const blocks = new HugeBlocks({ ...recorder.source, maxWrapBytes: most });
    const block = blocks.allocate(10 * step, 16);
    assertThrows(
      () => blocks.view(block, most + 1),
      RangeError,
      `Cannot view ${most + 1} bytes at 0x${
        block.address.toString(16)
      }: this runtime's largest ArrayBuffer has ${most} bytes`,
    );
    assertEquals([blocks.view(block, most).length, blocks.wrappedBytes], [most, most]);
    assertEquals(complaint(blocks, recorder), "");
    assertEquals(blocks.wrappedBytes, 0);
  });

  it("copy() and clear() work without leaving a wrap", () => {
    const { blocks, recorder } = make();
    const from = blocks.allocate(MIB, 16);
    const to = blocks.allocate(MIB, 16);
    const source = blocks.view(from, MIB);
    for (let i = 0; i < MIB; i += 17) source[i] = i;
    const target = blocks.view(to, MIB);
    const wrapped = recorder.wrappedBytes;
    blocks.copy(from.address, to.address, 100_001);
    assertEquals(target.subarray(0, 100_001), source.subarray(0, 100_001));
    assertEquals(target[100_011], 0);
    blocks.clear(to.address, 1000);
    assertEquals(target.subarray(0, 1000).every((byte) => byte === 0), true);
    assertEquals(target.subarray(1000, 100_001), source.subarray(1000, 100_001));
    assertEquals(recorder.wrappedBytes, wrapped);
    assertEquals(complaint(blocks, recorder), "");
  });

  it("wasFreed() remembers the last 1024 addresses, until a block begins there again", () => {
    const { blocks, recorder, step } = make();
    const first = blocks.allocate(1, 16);
    // Keeps its place taken, so that each of the others has an address of its own.
    const all = Array.from({ length: 1025 }, () => blocks.allocate(1, 16));
    blocks.free(first);
    assert(blocks.wasFreed(first.address) && !blocks.wasFreed(first.address + step * 5000));
    for (const block of all.slice(0, 1023)) blocks.free(block);
    assert(blocks.wasFreed(first.address));
    blocks.free(all[1023]!);
    assert(!blocks.wasFreed(first.address), "the oldest is forgotten");
    assert(blocks.wasFreed(all[0]!.address));
    assert(!blocks.wasFreed(all[1024]!.address));
    const again = blocks.allocate(1, 16);
    assert(!blocks.wasFreed(again.address));
    assertEquals(complaint(blocks, recorder), "");
  });

  it("allocate() changes nothing when it fails", () => {
    for (let requests = 0; requests < 2; requests++) {
      const { recorder } = make();
      const blocks = new HugeBlocks(failingPageSource(recorder.source, requests));
      assertThrows(() => blocks.allocate(MIB, 16), OutOfMemoryError, "fails on purpose");
      assertEquals([blocks.count, blocks.byteLength], [0, 0]);
      assertEquals(recorder.complaint(), "");
    }
  });

  it("a size that no machine has is out of memory", () => {
    const { blocks } = make();
    const error = assertThrows(() => blocks.allocate(2 ** 53 - 1, 16), OutOfMemoryError);
    assertEquals(error.message, "Cannot map 9007199254740991 bytes: no machine addresses so many");
    assertEquals(error.requested, 2 ** 53 - 1);
  });

  it("free() keeps a mapping that cannot be unmapped, and tries again", () => {
    const { recorder } = make();
    const failing = failingPageSource(recorder.source, Infinity, { operations: ["unmap"] });
    const blocks = new HugeBlocks(failing);
    const block = blocks.allocate(MIB, 16);
    blocks.view(block, 1);
    failing.rearm(0);
    blocks.free(block);
    assertEquals([blocks.count, blocks.byteLength, blocks.wrappedBytes], [0, 0, 0]);
    assertEquals([blocks.unreleased.byteLength, recorder.mappings().length], [block.byteLength, 1]);
    assertEquals([blocks.unreleased.retry(), recorder.mappings().length], [0, 1]);
    failing.rearm(Infinity);
    assertEquals([blocks.unreleased.retry(), recorder.mappings().length], [block.byteLength, 0]);
    assertEquals(complaint(blocks, recorder), "");
  });

  it("copy() moves whole OS pages to a huge block, and copies the rest", () => {
    for (const isAble of [true, false]) {
      const { recorder, step } = make();
      const { pageSize } = recorder.source;
      const moves: [number, number, number][] = [];
      const source: PageSource = {
        ...recorder.source,
        move(from, to, byteLength) {
          moves.push([from, to, byteLength]);
          if (!isAble) return false;
          const [origin, target] = [from, to].map((address) => recorder.source.wrap(address, byteLength));
          target!.set(origin!);
          origin!.fill(0);
          for (const bytes of [origin, target]) recorder.source.unwrap(bytes!);
          return true;
        },
      };
      const blocks = new HugeBlocks(source);
      const from = blocks.allocate(MIB, 16);
      const to = blocks.allocate(MIB, 16);
      const bytes = blocks.view(from, MIB);
      for (let i = 0; i < MIB; i++) bytes[i] = 1 + i % 251;
      const expected = bytes.slice();
      const length = MIB - step + 100;
      blocks.copy(from.address, to.address, length);
      assertEquals(moves, [[from.address, to.address, Math.floor(length / pageSize) * pageSize]]);
      assertEquals(blocks.view(to, length), expected.subarray(0, length));
      assertEquals(blocks.view(to, MIB)[length], 0);
      // Too little to be worth it, not the start of an OS page, and a target that is not huge.
      moves.length = 0;
      blocks.copy(to.address, from.address, 1000);
      blocks.copy(to.address + 16, from.address, MIB / 2);
      blocks.copy(to.address, from.address + pageSize, MIB / 2);
      assertEquals(moves, []);
      assertEquals(complaint(blocks, recorder), "");
    }
  });

  it("copy() has moved nothing when the rest cannot be copied", () => {
    const { recorder } = make();
    let moves = 0;
    const failing = failingPageSource(recorder.source, Infinity, { operations: ["wrap"] });
    const source: PageSource = { ...failing, move: () => ++moves > 0 };
    const blocks = new HugeBlocks(source);
    const from = blocks.allocate(MIB, 16);
    const to = blocks.allocate(MIB, 16);
    failing.rearm(1);
    assertThrows(() => blocks.copy(from.address, to.address, MIB - 100), OutOfMemoryError, "fails on purpose");
    assertEquals(moves, 0);
    failing.rearm(Infinity);
    assertEquals(complaint(blocks, recorder), "");
  });

  it("copy() leaves no wrap behind when the second one fails", () => {
    const { recorder } = make();
    const operations: PageOperation[] = ["wrap"];
    const failing = failingPageSource(recorder.source, Infinity, { operations });
    const blocks = new HugeBlocks(failing);
    const from = blocks.allocate(MIB, 16);
    const to = blocks.allocate(MIB, 16);
    failing.rearm(1);
    assertThrows(() => blocks.copy(from.address, to.address, 100), OutOfMemoryError, "fails on purpose");
    assertEquals(recorder.wrappedBytes, 0);
    failing.rearm(Infinity);
    assertEquals(complaint(blocks, recorder), "");
  });
});
