/**
 * What `check` of a shared heap finds in the records of pages: each is damaged by hand, and made whole again.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError, SharedHeap } from "../mod.ts";
import { CLASS, EXTENDED, LINKS, LIVE, PREV, SHAPE, STATE } from "../src/page_table.ts";
import { UNIT } from "../src/run_record.ts";
import { createAttachment, joinAttachment } from "../src/shared_attachment.ts";
import { HELD, OWNER } from "../src/shared_layout.ts";
import { MortalPlatform } from "./shared/mortal_platform.ts";

/** Slots of a page of 64 bytes each. */
const SLOTS = 1024;

/** A heap with a partial and a current page, and one page of another attachment. */
function makePages() {
  const { platform } = new MortalPlatform();
  const attachment = createAttachment(platform.source, platform, 2 ** 28);
  const heap = new SharedHeap(attachment);
  const other = new SharedHeap(joinAttachment(heap.handle, platform));
  const { tables } = attachment.space;
  const blocks = Array.from({ length: SLOTS + 10 }, () => heap.allocate(64));
  heap.free(blocks[3]!);
  const pageOf = (address: number) => ((address - tables.base) / UNIT) & -16;
  const foreign = pageOf(other.allocate(64));
  heap.check();
  return { heap, other, tables, partial: pageOf(blocks[0]!), current: pageOf(blocks.at(-1)!), foreign };
}

type Pages = ReturnType<typeof makePages>;

/** Damage to one word, and what is said of it. */
type Damage = (
  pages: Pages,
) => { table: Int32Array | Uint16Array; at: number; value: number; page: number; what: string };

function record(pages: Pages, page: "partial" | "current" | "foreign", field: number, value: number, what: string) {
  return { table: pages.tables.pages, at: pages[page] + field, value, page: pages[page], what };
}

function link(pages: Pages, page: "partial" | "current" | "foreign", slot: number, value: number, what: string) {
  const { tables } = pages;
  return { table: tables.links, at: tables.pages[pages[page] + LINKS]! + slot, value, page: pages[page], what };
}

const DAMAGES: Readonly<Record<string, Damage>> = {
  "a shape of another class": (all) => record(all, "foreign", SHAPE, 1, "its slots are not those of class"),
  "a class of another list": (all) => record(all, "partial", CLASS, 0, "it is wrongly linked among the partial pages"),
  "a link back to nowhere": (all) => record(all, "partial", PREV, 16, "it is wrongly linked among the partial pages"),
  "a partial page that is full": (all) => record(all, "partial", STATE, -1, "it is not exactly one of"),
  "a partial page of nobody": (all) => record(all, "partial", OWNER, 0, "it is not exactly one of"),
  "a page of ours in no list": (all) => record(all, "foreign", OWNER, 1, "it is not exactly one of"),
  "a current page that is not held": (all) => record(all, "current", HELD, 0, "it is held and not current"),
  "more slack than bytes": (all) => link(all, "foreign", 0, LIVE + 65, "slot 0 has more slack than bytes"),
  "a live slot that never was free": (all) => link(all, "foreign", 500, LIVE, "slot 500 is live and was never free"),
  "a live slot that is not counted": (all) => link(all, "partial", 3, LIVE, "1024 slots are live, and others are"),
  "a free list that leaves its page": (all) =>
    link(all, "partial", 3, 2000, "its free list leaves the page at slot 1999"),
  "a free list that is too short": ({ tables, ...all }) => {
    const state = tables.pages[all.current + STATE]! & ~4095;
    return record({ tables, ...all }, "current", STATE, state, "0 free and 10 live slots are not 64");
  },
  "links of two pages": (all) => {
    const { pages } = all.tables;
    const unused = pages[all.current + LINKS]! + pages[all.current + EXTENDED]!;
    return { ...record(all, "foreign", LINKS, unused, `the links from ${unused} overlap others`), page: -1 };
  },
};

describe("the check of the pages of a shared heap", () => {
  for (const [name, damage] of Object.entries(DAMAGES)) {
    it(`finds ${name}`, () => {
      const pages = makePages();
      const { table, at, value, page, what } = damage(pages);
      const before = table[at]!;
      table[at] = value;
      const subject = page === -1 ? "the pages of small blocks" : `the page at unit ${page}`;
      assertThrows(() => pages.heap.check(), CorruptionError, `Cannot trust ${subject}: ${what}`);
      table[at] = before;
      pages.heap.check();
      pages.other.detach();
      assertEquals(pages.heap.attachments, 1);
      pages.heap.detach();
    });
  }
});
