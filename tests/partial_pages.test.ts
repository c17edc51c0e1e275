/**
 * Which partial pages a heap allocates from: all in a small one, those with some free slots in a large one.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Heap, limitedPageSource, systemPageSource } from "../mod.ts";

const PAGE = 65_536;
const SIZE = 64;
const SLOTS = PAGE / SIZE;

/** A heap with so many full pages of 64-byte blocks, and their addresses. Nothing is written, so little is resident. */
function fullHeap(pages: number, limit = Infinity): { readonly heap: Heap; readonly kept: Float64Array } {
  const source = limit === Infinity ? systemPageSource() : limitedPageSource(systemPageSource(), limit);
  const heap = new Heap({ source });
  const kept = new Float64Array(pages * SLOTS);
  for (let i = 0; i < kept.length; i++) kept[i] = heap.allocate(SIZE);
  return { heap, kept };
}

/** Frees so many blocks of each of the first pages, and returns the pages' numbers. */
function thin(heap: Heap, kept: Float64Array, pages: number, blocks: number): Set<number> {
  const touched = new Set<number>();
  for (let page = 0; page < pages; page++) {
    for (let i = 0; i < blocks; i++) heap.free(kept[page * SLOTS + i]!);
    touched.add(Math.floor(kept[page * SLOTS]! / PAGE));
  }
  return touched;
}

function allocatedIn(heap: Heap, pages: ReadonlySet<number>, count: number): number {
  let inside = 0;
  for (let i = 0; i < count; i++) if (pages.has(Math.floor(heap.allocate(SIZE) / PAGE))) inside++;
  heap.check();
  return inside;
}

describe("partial pages", () => {
  it("a small heap uses the last free slot before it takes a page", () => {
    const { heap, kept } = fullHeap(40);
    const pages = thin(heap, kept, 20, 1);
    assertEquals(allocatedIn(heap, pages, 20), 20);
    heap[Symbol.dispose]();
  });

  it("a large heap takes a fresh page while those it has are thin, and uses them when they are not", () => {
    const { heap, kept } = fullHeap(1100);
    const pages = thin(heap, kept, 100, 1);
    // The first of them: the current page was used up, and it took its place.
    assertEquals(allocatedIn(heap, pages, 100), 1);
    // Behind the thin ones, of which some are passed by for each fresh page.
    const thicker = thin(heap, kept.subarray(100 * SLOTS), 10, 32);
    assertEquals(allocatedIn(heap, thicker, 20 * SLOTS), 320);
    heap[Symbol.dispose]();
  });

  it("a large heap uses thin pages when it has no others", () => {
    // Not even as much as one region more: what is committed must do.
    const { heap, kept } = fullHeap(1100, 200 * 2 ** 20);
    let blocks = kept.length;
    while (heap.tryAllocate(SIZE) !== 0) blocks++;
    const pages = thin(heap, kept, 100, 1);
    assertEquals(heap.stats().liveBlocks, blocks - 100);
    assertEquals(allocatedIn(heap, pages, 100), 100);
    assertEquals(heap.tryAllocate(SIZE), 0);
    heap[Symbol.dispose]();
  });

  it("random replacement in a large heap changes pages rarely, and leaves few slots unused", () => {
    const { heap, kept } = fullHeap(1200);
    let state = 0x9e3779b9 | 0;
    for (let i = 0; i < 2_000_000; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      const slot = Math.floor((state >>> 0) * (kept.length / 2 ** 32));
      heap.free(kept[slot]!);
      kept[slot] = heap.allocate(SIZE);
    }
    const [sizeClass] = heap.layout().sizeClasses;
    assertEquals(sizeClass!.liveBlocks, kept.length);
    assert(sizeClass!.pages * SLOTS < kept.length * 1.05, `${sizeClass!.pages} pages for 1200 full ones`);
    heap.check();
    heap[Symbol.dispose]();
  });
});
