/**
 * The memory that the attachments of a shared heap have in common: what lies where, in words of 32 bits.
 *
 * ```text
 *   control block, 64 KiB                                              never unmapped, see shared_handle.ts
 *   byte  0        64       128            256          1024          4096                           12288
 *         ┌────────┬────────┬──────────────┬────────────┬─────────────┬──────────────────────────────┐
 *         │ header │ LOCK   │ counters     │ bins,      │ regions     │ attachments, 64 bytes each   │
 *         │        │        │              │ abandoned  │ END FRONTIER│ THREAD SIGNAL LEAVING scratch│
 *         └────────┴────────┴──────────────┴────────────┴─────────────┴──────────────────────────────┘
 *
 *   tables, one reservation          byte 0 of each: a multiple of 64 KiB
 *         ┌──────────────────┬──────────────────┬───────────────────────┬──────────────────────────────┐
 *         │ units            │ pages            │ remote                │ links                        │
 *         │ 16 bytes a unit  │ 64 bytes a page  │ 64 KiB + 1 KiB a page │ 2 bytes a slot, in chunks    │
 *         └──────────────────┴──────────────────┴───────────────────────┴──────────────────────────────┘
 *   data, one reservation            regions, contiguous from its start
 * ```
 *
 * Who may write what:
 *
 * - the header: who makes the heap, before anybody else knows of it;
 * - units, counters, bins, regions: the holder of LOCK;
 * - a page's record and its links: the attachment in OWNER of the record; OWNER itself: the holder of LOCK;
 * - remote, and NEWS in OWNER: anybody, with atomic operations only;
 * - the link of a live block: also who holds the block, by compare-and-exchange (who owns the page too, plainly).
 *
 * The record of a page is that of page_table.ts up to PREV, with four words of its own in place of what follows. The words
 * before the records, which hold the lists of a `Heap`, are not used: here the lists belong to an attachment and are in its
 * own memory.
 *
 * @module
 */
import { alignUp } from "./arguments.ts";
import { pageTableBytes, STATE } from "./page_table.ts";
import { PAGE_UNITS, UNIT, UNIT_RECORD } from "./run_record.ts";
import { CLASS_COUNT, CLASS_SLOTS } from "./size_class.ts";

/** Bytes of the control block, and the alignment of everything: what Windows reserves at least. */
export const CONTROL_BYTES = 65_536;

// Word 0 is "/" and zeros: what a probe for readable memory reads, see shared_handle.ts.

/** {@link MAGIC_LIVE} as long as the heap lives. */
export const MAGIC = 1;
/** The layout of this file. */
export const VERSION = 2;
/** Two random words that only the handles of this heap have. */
export const NONCE = 3;
/** The process that the heap lives in. */
export const PROCESS = 5;
/** The start of the data, in 64 KiB. */
export const DATA = 6;
/** Units reserved for data. */
export const UNITS = 7;
/** The start of the tables, in 64 KiB. */
export const TABLES = 8;

/** Who holds the lock: the number of an attachment, or 0; and {@link WAITING}. */
export const LOCK = 16;
/** Set in LOCK when somebody sleeps until it is free. */
export const WAITING = 65_536;

/** Units of all regions: the commit point of a new region. */
export const END_UNIT = 32;
/** Count of regions. */
export const REGION_COUNT = 33;
/** The first link that no page ever had. */
export const LINK_END = 34;
/** Committed OS pages of 4 KiB of the four tables, in the order of {@link TABLE_NAMES}. */
export const COMMITTED = 36;
/** Units in free runs. */
export const FREE_UNITS = 40;
/** Whether somebody may still see memory of this heap that nobody can detach: it is never unmapped then. */
export const ESCAPED = 41;
/** Units of gaps: regions that are not committed, and only bring the next one to an aligned place. */
export const GAP_UNITS = 42;

/** A bit for each bin of free runs, see shared_runs.ts. */
export const OCCUPIED = 64;
/** The first free run of each bin, plus one. */
export const BINS = 72;
/** The first abandoned page of each class, plus one: room for 48. */
export const ABANDONED = 208;

/** Two words for each region: END, the unit after its last, and FRONTIER, the unit after the last ever handed out. */
export const REGIONS = 256;
/** The most regions. */
export const REGION_COUNT_MAX = 384;

/** The first attachment's record; that of number n is `ATTACHMENTS + n * 16`, and there is no number 0. */
export const ATTACHMENTS = 1024;
/** Words of an attachment's record: a cache line. */
export const ATTACHMENT_WORDS = 16;
/** The most attachments at one time. */
export const ATTACHMENT_MAX = 127;
/** In an attachment's record: the thread it belongs to, as the platform names it; 0 when the place is free. */
export const THREAD = 0;
/** In an attachment's record: raised whenever a page of it gets its first block from another worker. */
export const SIGNAL = 1;
/** In an attachment's record: 1 once it has nothing of the heap any more, and only its place is not free yet. */
export const LEAVING = 2;
/** In an attachment's record: 16 bytes for the arguments of system calls. */
export const SCRATCH = 4;

/** Words of the control block that are wrapped. */
export const CONTROL_WORDS = 3072;

/** "ofh1". */
export const MAGIC_LIVE = 0x6f666831;
/** The version of this layout, of the records of page_table.ts and of the size classes: one more when any of them changes. */
export const LAYOUT_VERSION = 6;

/**
 * In a page's record: the attachment that owns it, 0 when it is abandoned; and {@link NEWS}. One word for both, so that the
 * owner sees by one comparison that the page is its own and that nobody else has freed anything there.
 */
export const OWNER: number = STATE + 8;
/** The bits of OWNER that are the attachment. */
export const OWNER_MASK = 255;
/** Set in OWNER when the bitmap of the page may have bits that its owner has not seen. */
export const NEWS = 256;
/** In a page's record: 1 while it is its owner's current page, whose STATE counts one slot too many. */
export const HELD: number = STATE + 9;
/** In a page's record: how many links it has from LINKS on; kept when the page is given up. */
export const CHUNK: number = STATE + 10;
/** In a page's record: 1 while somebody collects its bitmap, so that bits of free slots may have been collected already. */
export const COLLECTING: number = STATE + 11;

/**
 * Words of the remote table before the bitmaps: a bit for each page, set after NEWS of its record: where the owner
 * looks for pages with news.
 */
export const DIRTY_WORDS = 16_384;
/** Words of a page's bitmap: 16 slots each, set by who frees the block and is not the page's owner; and {@link ANNOUNCED}. */
export const BITMAP_WORDS = 256;
/** The bits of a word of a bitmap that are slots. */
export const SLOT_BITS = 0xffff;
/**
 * Set in a word of a bitmap that has slots when NEWS is set, or will be by somebody else: so a free is one atomic operation.
 * shared_remote.ts says which cases there are.
 */
export const ANNOUNCED = 0x10000;

/** The first link that a page can have. */
export const FIRST_LINK = 8;

/**
 * The most links that a page can ever take: one chunk for each power of two of slots, as a page keeps the largest that it
 * had and takes a new one only when it needs more.
 */
const LINKS_PER_PAGE = chunkLength(CLASS_SLOTS[0]!) * 2;

/** The tables in order of their place, by number. */
export const TABLE_NAMES = ["units", "pages", "remote", "links"] as const;
/** The number of the table of units. */
export const UNIT_TABLE = 0;
/** The number of the table of pages. */
export const PAGE_TABLE = 1;
/** The number of the table of bitmaps. */
export const REMOTE_TABLE = 2;
/** The number of the table of links. */
export const LINK_TABLE = 3;

/** Where the tables of a range lie in their reservation. */
export interface TableLayout {
  /** Byte offsets, by number of the table. */
  readonly offsets: readonly number[];
  /** The most bytes of each. */
  readonly lengths: readonly number[];
  /** Bytes of all. */
  readonly byteLength: number;
}

/** The tables for a range of so many units, where one wrap covers at most `maxWrapBytes`. */
export function tableLayout(units: number, maxWrapBytes: number): TableLayout {
  const pages = Math.ceil(units / PAGE_UNITS);
  const links = Math.min((FIRST_LINK + pages * LINKS_PER_PAGE) * 2, 2 ** 32, maxWrapBytes);
  const lengths = [units * UNIT_RECORD, pageTableBytes(units), remoteTableBytes(units), links]
    .map((byteLength) => alignUp(byteLength, CONTROL_BYTES));
  const offsets: number[] = [];
  let byteLength = 0;
  for (const length of lengths) {
    offsets.push(byteLength);
    byteLength += length;
  }
  return { offsets, lengths, byteLength };
}

/** Bytes of the remote table for pages that cover `units` units. */
export function remoteTableBytes(units: number): number {
  return (DIRTY_WORDS + Math.ceil(units / PAGE_UNITS) * BITMAP_WORDS) * 4;
}

/** Links of the chunk for a page of `slots` slots: those, one that is of no slot, and up to a power of two. */
export function chunkLength(slots: number): number {
  return 2 ** Math.ceil(Math.log2(slots + 1));
}

/** The record of an attachment, as an index into the control block. */
export function attachmentAt(number: number): number {
  return ATTACHMENTS + number * ATTACHMENT_WORDS;
}

/** The end of those lists, below {@link REGIONS}. */
export const ABANDONED_END: number = ABANDONED + CLASS_COUNT;

/** Bytes of an OS page as the tables count them; a multiple of it is committed where OS pages are larger. */
export const TABLE_STEP: number = UNIT;
