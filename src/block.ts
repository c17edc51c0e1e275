/**
 * Blocks of the in-band allocators: what stands in the memory in front of a block, and how neighbours are found.
 *
 * A region is measured in granules of 16 bytes, and a block is named by the granule `p` at which its payload begins. Its header
 * ends there, so payloads are 16-byte aligned whatever the size of the header. A block of `n` granules, header included,
 * is followed by the block at `p + n`:
 *
 * ```text
 *            16p - header   16p                                16(p + n) - header
 *   ─────────┬──────────────┬─────────────────────────────────┬──────────────┬─────────
 *            │ header       │ payload: 16n - header bytes      │ next header  │
 *   ─────────┴──────────────┴─────────────────────────────────┴──────────────┴─────────
 *
 *   header 0    nothing; sizes of live blocks are kept out of line, in `sizes`
 *   header 8    -8  size << 1 | free        -4  check
 *   header 24   -24 next   -20 previous     -16 region   -12 size << 1 | free   -8 check   -4 unused
 *   header 40   -40 next   -32 previous     -24 region   -16 size << 1 | free   -8 check           (8 bytes each)
 * ```
 *
 * `next` and `previous` are distances in granules to the neighbouring blocks' payloads, so a region can grow at its lower end. A free
 * block has a node of its free list at the start of its payload (free_list.ts). Where headers have no `previous`, the first
 * word of its last granule repeats its size: that is how the block above finds its start.
 *
 * Beside the memory, in JavaScript's own, each region has one 16-bit mark per granule; no stray write can reach it:
 *
 * ```text
 *   bit 0  LIVE   a live block's payload begins here         bits 4..8   log2 of its alignment
 *   bit 1  FREE   a free block's payload begins here         bits 9..15  its slack: usable minus requested bytes
 *   bit 2  STALE  a block that began here was freed          bit 4       CLEAN: of a free block, trim() was here
 *   bit 3  END    the last granule of a free block
 * ```
 *
 * So whether an address is the start of a live block never depends on memory that callers can write to, and every size
 * that is read from a header is held against the marks before it is followed.
 *
 * @module
 */
import { CorruptionError, formatAddress } from "./errors.ts";
import type { Region } from "./region_list.ts";

/** Bytes of one granule: the alignment that every block has. */
export const GRANULE = 16;

/** See the drawing. */
export const LIVE = 1;
/** See the drawing. */
export const FREE = 2;
/** See the drawing. */
export const STALE = 4;
/** See the drawing. */
export const END = 8;
/** See the drawing. */
export const CLEAN = 16;
/** Where the alignment of a live block is in its mark. */
export const ALIGNMENT_SHIFT = 4;
/** Where the slack of a live block is in its mark. */
export const SLACK_SHIFT = 9;
/** The most granules of one region: word indices of a region stay 32-bit integers. */
export const MAX_GRANULES = 2 ** 29 - 1;

/** Bytes of the header of a block. */
export type HeaderSize = 0 | 8 | 24 | 40;

/** How blocks are described in band: one object per size of header. */
export interface BlockLayout {
  /** Bytes in front of each payload. */
  readonly header: HeaderSize;
  /** The first granule of a region at which a payload can begin. */
  readonly first: number;
  /** The fewest granules of a block: its payload must hold a node of the free list. */
  readonly minimum: number;
  /** Whether blocks stay valid when their region becomes the upper part of another. */
  readonly movable: boolean;
  /** Describes the block at `p`, of `n` granules. */
  write(region: Region, p: number, n: number, free: boolean): void;
  /** The granules of the live block at `p` as recorded; -1 when the record contradicts itself. */
  read(region: Region, p: number): number;
  /** Says of the block at `p` that the one below it begins `distance` granules below. */
  setPrevious(region: Region, p: number, distance: number): void;
  /** The granules of the free block that ends where the one at `p` begins; 0 when that one is not free. */
  freeBelow(region: Region, p: number): number;
}

/** Sizes out of line: the caller of the reference hands them back. */
const HEADERLESS: BlockLayout = {
  header: 0,
  first: 0,
  minimum: 1,
  movable: true,
  write(region, p, n, free) {
    region.sizes[p] = free ? 0 : n;
    if (free) region.words[4 * (p + n - 1)] = n;
  },
  read: (region, p) => region.sizes[p]!,
  setPrevious() {},
  freeBelow: freeByFooter,
};

/** One 64-bit word. */
const COMPACT: BlockLayout = {
  header: 8,
  first: 1,
  minimum: 2,
  movable: true,
  write({ words }, p, n, free) {
    const word = n << 1 | (free ? 1 : 0);
    words[4 * p - 2] = word;
    words[4 * p - 1] = checkOf(word, 0);
    if (free) words[4 * (p + n - 1)] = n;
  },
  read({ words }, p) {
    const word = words[4 * p - 2]!;
    return words[4 * p - 1] === checkOf(word, 0) && (word & 1) === 0 ? word >>> 1 : -1;
  },
  setPrevious() {},
  freeBelow: freeByFooter,
};

/** Blocks linked to their neighbours; `stride` is the number of words of a field. */
function linked(header: 24 | 40, first: number, minimum: number, stride: 1 | 2): BlockLayout {
  const words = header / 4;
  const PREVIOUS = stride - words;
  const REGION = 2 * stride - words;
  const SIZE = 3 * stride - words;
  const CHECK = 4 * stride - words;
  function sum(region: Region, h: number): number {
    return checkOf(region.words[h + SIZE]!, region.words[h + PREVIOUS]! + Math.imul(region.words[h + REGION]!, 65599));
  }
  return {
    header,
    first,
    minimum,
    movable: false,
    write(region, p, n, free) {
      const h = 4 * p;
      region.words[h - words] = n;
      region.words[h + REGION] = region.number;
      region.words[h + SIZE] = n << 1 | (free ? 1 : 0);
      region.words[h + CHECK] = sum(region, h);
    },
    read(region, p) {
      const h = 4 * p;
      const word = region.words[h + SIZE]!;
      const agrees = region.words[h + CHECK] === sum(region, h) && region.words[h - words] === word >>> 1;
      return agrees && (word & 1) === 0 ? word >>> 1 : -1;
    },
    setPrevious(region, p, distance) {
      const h = 4 * p;
      region.words[h + PREVIOUS] = distance;
      region.words[h + CHECK] = sum(region, h);
    },
    freeBelow(region, p) {
      const h = 4 * p;
      const distance = region.words[h + PREVIOUS]!;
      if (region.words[h + CHECK] !== sum(region, h)) throw corrupt(region, p, "its header does not match its check");
      if (distance === 0) return 0;
      if (!(distance > 0 && p - distance >= first) || (region.marks[p - distance]! & (LIVE | FREE)) === 0) {
        throw corrupt(region, p, `its header has a block ${distance} granules below, where none begins`);
      }
      return (region.marks[p - distance]! & FREE) !== 0 ? distance : 0;
    },
  };
}

const LAYOUTS: { readonly [header in HeaderSize]: BlockLayout } = {
  0: HEADERLESS,
  8: COMPACT,
  24: linked(24, 2, 3, 1),
  40: linked(40, 3, 4, 2),
};

/** The layout with headers of so many bytes. */
export function layoutFor(header: HeaderSize): BlockLayout {
  return LAYOUTS[header];
}

/** 32 bits that tell a pair of words from one that was written over. */
export function checkOf(a: number, b: number): number {
  const mixed = Math.imul(a ^ 0x5bd1e995, 0x1e3779b1) + Math.imul(b + 0x165667b1, 0x05ebca6b);
  return mixed ^ (mixed >>> 15);
}

/** By the first word of its last granule, which repeats the size of a free block. */
function freeByFooter(region: Region, p: number): number {
  if (p <= region.first || (region.marks[p - 1]! & END) === 0) return 0;
  const n = region.words[4 * p - 4]!;
  if (!(n > 0 && p - n >= region.first) || (region.marks[p - n]! & FREE) === 0) {
    throw corrupt(region, p, "the free block below it was written to: its size is wrong");
  }
  return n;
}

/** Makes a free block of `n` granules at `p`: marks and header. The node is for the free list to write. */
export function writeFree(region: Region, layout: BlockLayout, p: number, n: number): void {
  const { marks } = region;
  marks[p] = FREE | (marks[p]! & STALE) | (n === 1 ? END : 0);
  if (n > 1) marks[p + n - 1] = marks[p + n - 1]! | END;
  layout.write(region, p, n, true);
  if (p + n < region.end) layout.setPrevious(region, p + n, n);
}

/** Takes the marks of the free block at `p` away, before it becomes part of another or live. */
export function eraseFree(region: Region, p: number, n: number): void {
  const { marks } = region;
  marks[p + n - 1] = marks[p + n - 1]! & STALE;
  marks[p] = marks[p]! & STALE;
}

/** Makes a live block of `n` granules at `p`. */
export function writeLive(
  region: Region,
  layout: BlockLayout,
  p: number,
  n: number,
  slack: number,
  alignmentLog2: number,
): void {
  region.marks[p] = LIVE | alignmentLog2 << ALIGNMENT_SHIFT | slack << SLACK_SHIFT;
  layout.write(region, p, n, false);
  if (p + n < region.end) layout.setPrevious(region, p + n, n);
}

/**
 * The granules of the live block at `p`.
 *
 * @throws {CorruptionError} When its header contradicts itself, the region or the block after it.
 */
export function sizeOfLive(region: Region, layout: BlockLayout, p: number): number {
  const n = layout.read(region, p);
  const after = p + n;
  if (
    n >= layout.minimum &&
    (after === region.end || (after < region.end && (region.marks[after]! & (LIVE | FREE)) !== 0))
  ) {
    return n;
  }
  throw corrupt(region, p, "its header was written to");
}

/** The error for a block whose records disagree; `reason` says how. */
export function corrupt(region: Region, p: number, reason: string): CorruptionError {
  const detached = region.bytes.byteLength === 0;
  return new CorruptionError(
    `Cannot use the block at ${formatAddress(region.address + p * GRANULE)}: ` +
      (detached ? "the ArrayBuffer of its region was detached from outside" : reason),
  );
}
