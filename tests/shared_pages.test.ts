/**
 * When a page of a shared heap becomes the current one of its class: seen by the record, which says whether it is held.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { SharedHeap } from "../mod.ts";
import { LINKS, STATE } from "../src/page_table.ts";
import { UNIT } from "../src/run_record.ts";
import { createAttachment, joinAttachment } from "../src/shared_attachment.ts";
import { COLLECTING, HELD, OWNER } from "../src/shared_layout.ts";
import { MortalPlatform } from "./shared/mortal_platform.ts";

const SIZE = 16_384;

/** A heap with three pages of four blocks, all live, so that the last page is current and used up. */
function makePages() {
  const { platform } = new MortalPlatform();
  const attachment = createAttachment(platform.source, platform, 2 ** 28);
  const heap = new SharedHeap(attachment);
  const { tables } = attachment.space;
  const blocks = Array.from({ length: 12 }, () => heap.allocate(SIZE));
  const pages = [0, 4, 8].map((slot) => ((blocks[slot]! - tables.base) / UNIT) & -16);
  return {
    heap,
    blocks,
    join: () => new SharedHeap(joinAttachment(heap.handle, platform)),
    /** Which of the pages are held, as only the current one is. */
    held: () => pages.map((page) => tables.pages[page + HELD]!),
    full: () => pages.map((page) => tables.pages[page + STATE]! < 0),
    news: () => pages.map((page) => tables.pages[page + OWNER] !== tables.pages[pages[0]! + OWNER]),
  };
}

describe("pages of a shared heap", () => {
  it("one that was full is current at once where the current one is used up", () => {
    const { heap, blocks, held, full } = makePages();
    assertEquals(held(), [0, 0, 1]);
    for (const [slot, at] of [[5, 1], [2, 0]] as const) {
      const expected = [0, 1, 2].map((page) => Number(page === at));
      heap.free(blocks[slot]!);
      heap.check();
      assertEquals(held(), expected);
      assertEquals(full(), expected.map((isHeld) => isHeld === 0));
      assertEquals(heap.allocate(SIZE), blocks[slot]);
    }
    heap.free(blocks[1]!);
    heap.free(blocks[7]!);
    // The current page has a free slot: the other one waits.
    assertEquals([held(), full()], [[1, 0, 0], [false, false, true]]);
    assertEquals([heap.allocate(SIZE), heap.allocate(SIZE)], [blocks[1], blocks[7]]);
    heap.check();
    heap.detach();
  });

  it("one that was full waits while the current one has news: its slots come first", () => {
    const { heap, blocks, join, held, full, news } = makePages();
    const other = join();
    other.free(blocks[9]!);
    assertEquals(news(), [false, false, true]);
    heap.free(blocks[0]!);
    assertEquals([held(), full()], [[0, 0, 1], [false, true, false]]);
    assertEquals([heap.allocate(SIZE), heap.allocate(SIZE)], [blocks[9], blocks[0]]);
    heap.check();
    other.detach();
    heap.detach();
  });

  it("stats() counted slots twice that a worker was terminated over, half collected, and said fewer than none are live", () => {
    const { platform, gone } = new MortalPlatform();
    const attachment = createAttachment(platform.source, platform, 2 ** 28);
    const dead = new SharedHeap(attachment);
    const heap = new SharedHeap(joinAttachment(dead.handle, platform));
    const blocks = Array.from({ length: 4 }, () => dead.allocate(SIZE));
    for (const slot of [0, 1, 2]) heap.free(blocks[slot]!);
    // As collect() does it: the links first, the bits at the end.
    const { tables } = attachment.space;
    const page = ((blocks[0]! - tables.base) / UNIT) & -16;
    tables.pages[page + COLLECTING] = 1;
    for (const slot of [0, 1]) tables.links[tables.pages[page + LINKS]! + slot] = 0;
    gone.add(1);
    assertEquals(heap.attachments, 1);
    assertEquals([heap.stats().liveBlocks, [...heap.blocks()].length], [1, 1]);
    heap.trim();
    heap.check();
    assertEquals(heap.stats().liveBlocks, 1);
    heap.detach();
  });

  it("one whose slots others have freed all at once is in no use, and not current", () => {
    const { heap, blocks, join, held } = makePages();
    const other = join();
    for (const slot of [0, 1, 2, 3]) other.free(blocks[slot]!);
    heap.trim();
    heap.check();
    assertEquals(held(), [0, 0, 1]);
    assertEquals(heap.stats().liveBlocks, 8);
    other.detach();
    heap.detach();
  });
});
