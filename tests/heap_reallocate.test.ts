/**
 * What `Heap.reallocate()` keeps, and what it leaves behind when it fails. Its short ways are in small_moves.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Heap, OutOfMemoryError, type PageSource, systemPageSource } from "../mod.ts";
import { recordedHeap } from "./support/heaps.ts";
import { isEmulated } from "./support/runtime.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

describe("Heap.reallocate()", () => {
  it("keeps the bits of every NaN in blocks of every size", () => {
    using heap = new Heap();
    const patterns = [
      0x7ff0000000000001n,
      0xfff7ffffffffffffn,
      0x7ff8000000000001n,
      0xffffffffffffffffn,
      0xfff0dead0000beefn,
    ];
    for (const count of [1, 2, 7, 16, 17, 100, 3000]) {
      let address = heap.allocate(count * 8);
      const words = new BigUint64Array(heap.view(address).buffer, heap.view(address).byteOffset, count);
      for (let i = 0; i < count; i++) words[i] = patterns[i % patterns.length]!;
      const before = heap.view(address, count * 8).slice();
      // Through a Float64Array the engine may change them; nobody else does.
      assert(new Float64Array(words.buffer, words.byteOffset, count).every((value) => Number.isNaN(value)));
      for (const factor of [4, 40, 1]) {
        address = heap.reallocate(address, count * 8 * factor);
        assertEquals(heap.view(address, count * 8), before, `${count} doubles, ${factor} times as large`);
      }
    }
    heap.check();
  });

  it("moves between all kinds of blocks and keeps alignment and contents", { ignore: isEmulated }, () => {
    using heap = new Heap();
    const sizes = [10, 1000, 16 * KIB, 40_000, MIB, 5 * MIB];
    for (const from of sizes) {
      for (const to of sizes) {
        const first = heap.allocate(from, 256);
        const view = heap.view(first);
        for (let i = 0; i < from; i += 97) view[i] = i;
        const moved = heap.reallocate(first, to);
        const after = heap.view(moved);
        assertEquals([moved % 256, after.length], [0, to]);
        for (let i = 0; i < Math.min(from, to); i += 97) {
          if (after[i] !== (i & 255)) assertEquals(after[i], i & 255, `${from} to ${to} at ${i}`);
        }
        heap.free(moved);
      }
    }
    heap.check();
  });

  it("leaves no block behind when the contents cannot be copied", () => {
    const source = systemPageSource();
    let fails = false;
    const { heap, recorder } = recordedHeap({
      ...source,
      wrap(address, byteLength) {
        if (fails) throw new OutOfMemoryError("Cannot wrap: on purpose", byteLength);
        return source.wrap(address, byteLength);
      },
      move: undefined,
    });
    const address = heap.allocate(5 * MIB);
    fails = true;
    assertThrows(() => heap.reallocate(address, 9 * MIB), OutOfMemoryError, "on purpose");
    fails = false;
    assertEquals([...heap.blocks()].map((block) => block.address), [address]);
    heap.check();
    heap[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  it("a block whose old place cannot be freed is as it was, also when its OS pages had been moved", () => {
    const { buffers: _, ...inner } = systemPageSource();
    for (const hasMove of [true, false]) {
      if (hasMove && inner.move === undefined) continue;
      let copied = false;
      const source: PageSource = {
        ...inner,
        move: hasMove
          ? (from, to, byteLength) => {
            copied = true;
            return inner.move!(from, to, byteLength);
          }
          : undefined,
        unwrap(bytes) {
          // The wrap of the block itself, which is ended when it is freed; pieces that are copied have one of their own.
          const isBlock = bytes.buffer === view.buffer;
          if (isBlock && copied) {
            copied = false;
            throw new EvalError("odd");
          }
          copied ||= !isBlock;
          inner.unwrap(bytes);
        },
      };
      using heap = new Heap({ source });
      const address = heap.allocate(5 * MIB);
      const view = heap.view(address);
      view.fill(7);
      assertThrows(() => heap.reallocate(address, 20 * MIB), EvalError, "odd");
      assertEquals([heap.owns(address), heap.stats().liveBlocks], [true, 1]);
      assertEquals([heap.view(address)[0], heap.view(address)[5 * MIB - 1]], [7, 7]);
      heap.check();
      heap.free(address);
    }
  });
});
