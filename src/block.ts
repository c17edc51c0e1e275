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
 * block has a node of its free list at the start of its payload (free_nodes.ts), which begins with its size. Where headers have no
 * `previous`, the first word of its last granule repeats the size: that is how the block above finds its start.
 *
 * Beside the memory, in JavaScript's own, each region has one 16-bit mark per granule; no stray write can reach it: marks.ts.
 * So whether an address is the start of a live block never depends on memory that callers can write to, and every size
 * that is read from memory is held against the marks and against a second place before it is followed: that of a live block
 * against its check and the block behind it, that of a free one against its other end.
 *
 * @module
 */
import { CorruptionError, formatAddress } from "./errors.ts";
import type * as marks from "./marks.ts";
import { ALIGNMENT_MASK, ALIGNMENT_SHIFT, SLACK_SHIFT } from "./marks.ts";
import type { Region } from "./region_list.ts";

// What is imported, or exported, V8 loads at every use (docs/performance.md): so constants are repeated, and the types say
// that they are the same.
const FREE = 2 satisfies typeof marks.FREE;
const LIVE = 1 satisfies typeof marks.LIVE;
const END = 8 satisfies typeof marks.END;
const GRANULE = 16 satisfies typeof marks.GRANULE;

/** Bytes of the header of a block. */
export type HeaderSize = 0 | 8 | 24 | 40;

/** How blocks are described in band. One class for all headers, so that code for all of them stays fast for each. */
export class BlockLayout {
  /** Bytes in front of each payload. */
  readonly header: HeaderSize;
  /** The first granule of a region at which a payload can begin. */
  readonly first: number;
  /** The fewest granules of a block: its payload must hold a node of the free list. */
  readonly minimum: number;
  /** Whether headers lead to the neighbours. Where they do not, blocks stay valid when their region grows downwards. */
  readonly linked: boolean;
  /** Where the fields of a long header are: 32-bit words from the start of the payload, negative. */
  readonly next: number;
  /** See {@link BlockLayout.next}. */
  readonly previous: number;
  /** See {@link BlockLayout.next}. */
  readonly region: number;
  /** See {@link BlockLayout.next}. */
  readonly size: number;
  /** See {@link BlockLayout.next}. */
  readonly check: number;

  /** One of four; see {@link layoutFor}. */
  constructor(header: HeaderSize, first: number, minimum: number) {
    this.header = header;
    this.first = first;
    this.minimum = minimum;
    this.linked = header > GRANULE;
    const stride = header === 40 ? 2 : 1;
    this.next = -header / 4;
    this.previous = this.next + stride;
    this.region = this.next + 2 * stride;
    this.size = this.next + 3 * stride;
    this.check = this.next + 4 * stride;
  }
}

const LAYOUTS: { readonly [header in HeaderSize]: BlockLayout } = {
  0: new BlockLayout(0, 0, 1),
  8: new BlockLayout(8, 1, 2),
  24: new BlockLayout(24, 2, 3),
  40: new BlockLayout(40, 3, 4),
};

/** The layout with headers of so many bytes. */
export function layoutFor(header: HeaderSize): BlockLayout {
  return LAYOUTS[header];
}

/** 32 bits that are others when one of these words is. */
function checkOf(size: number, previous: number, region: number): number {
  return Math.imul(size ^ (previous << 16 | previous >>> 16) ^ region << 8 ^ 0x5bd1e995, 0x1e3779b1);
}

/** Writes the header of the free block at `p`, of `n` granules, and its size at both ends. No marks. */
export function writeFree(region: Region, layout: BlockLayout, p: number, n: number): void {
  const { words } = region;
  const h = p << 2;
  words[h] = n;
  if (layout.linked) return writeLinked(region, layout, p, n, n << 1 | 1);
  if (layout.header === 8) words[h - 2] = n << 1 | 1;
  words[h + (n << 2) - 4] = n;
}

/** Makes the block of `n` granules at `p` live, with `slack` bytes more than were asked for. */
export function writeLive(
  region: Region,
  layout: BlockLayout,
  p: number,
  n: number,
  slack: number,
  alignmentLog2: number,
): void {
  region.marks[p] = LIVE | alignmentLog2 << ALIGNMENT_SHIFT | slack << SLACK_SHIFT;
  if (layout.linked) {
    writeLinked(region, layout, p, n, n << 1);
  } else if (layout.header === 8) {
    const { words } = region;
    const h = p << 2;
    words[h - 2] = n << 1;
    words[h - 1] = checkOf(n << 1, 0, 0);
  } else {
    region.sizes[p] = n;
  }
}

/** Writes a long header, and says in that of the block behind it how far below this one is. */
function writeLinked(region: Region, layout: BlockLayout, p: number, n: number, word: number): void {
  const { words, number } = region;
  const h = p << 2;
  words[h + layout.next] = n;
  words[h + layout.region] = number;
  words[h + layout.size] = word;
  words[h + layout.check] = checkOf(word, words[h + layout.previous]!, number);
  if (p + n < region.end) setPrevious(region, layout, p + n, n);
}

/** Says in the header of the block at `p`, where headers say such things, that the one below begins `distance` granules below. */
export function setPrevious(region: Region, layout: BlockLayout, p: number, distance: number): void {
  if (!layout.linked) return;
  const { words } = region;
  const h = p << 2;
  words[h + layout.previous] = distance;
  words[h + layout.check] = checkOf(words[h + layout.size]!, distance, words[h + layout.region]!);
}

/** log2 of the alignment that the live block at `p` was asked for with. */
export function alignmentLog2At(region: Region, p: number): number {
  return (region.marks[p]! >>> ALIGNMENT_SHIFT) & ALIGNMENT_MASK;
}

/** The bytes that the live block at `p` has more than were asked for. */
export function slackAt(region: Region, p: number): number {
  return region.marks[p]! >>> SLACK_SHIFT;
}

/**
 * The granules of the live block at `p`.
 *
 * @throws {CorruptionError} When its header contradicts itself, the region or the block after it.
 */
export function sizeOfLive(region: Region, layout: BlockLayout, p: number): number {
  const n = layout.linked
    ? readLinked(region, layout, p)
    : layout.header === 8
    ? readCompact(region.words, p << 2)
    : region.sizes[p]!;
  const after = p + n;
  // Behind the last block is no mark.
  if (n >= layout.minimum && (after === region.end || (region.marks[after]! & (LIVE | FREE)) !== 0)) return n;
  throw corrupt(region, p, "its header was written to");
}

/** The size in the header of a live block that ends at word `h`; -1 when the header contradicts itself. */
function readCompact(words: Int32Array, h: number): number {
  const word = words[h - 2]!;
  return words[h - 1] === checkOf(word, 0, 0) && (word & 1) === 0 ? word >> 1 : -1;
}

/** The same of a long header. */
function readLinked({ words }: Region, layout: BlockLayout, p: number): number {
  const h = p << 2;
  const word = words[h + layout.size]!;
  const n = word >> 1;
  const check = checkOf(word, words[h + layout.previous]!, words[h + layout.region]!);
  return words[h + layout.check] === check && words[h + layout.next] === n && (word & 1) === 0 ? n : -1;
}

/**
 * The granules of the free block at `p`: its node, its other end or header, and the marks must agree.
 *
 * @throws {CorruptionError} When there is none, or it was written to.
 */
export function sizeOfFree(region: Region, layout: BlockLayout, p: number): number {
  const { words, marks } = region;
  const h = p << 2;
  const n = words[h]!;
  const last = p + n - 1;
  const other = layout.linked ? h + layout.next : last << 2;
  if ((marks[p]! & FREE) !== 0 && n > 0 && last < region.end && (marks[last]! & END) !== 0 && words[other] === n) {
    return n;
  }
  throw corrupt(region, p, "it is free and was written to");
}

/** The granules of the free block at `p`, or 0 when no free block begins there. Up to the end of the region. */
export function freeAt(region: Region, layout: BlockLayout, p: number): number {
  return p < region.end && (region.marks[p]! & FREE) !== 0 ? sizeOfFree(region, layout, p) : 0;
}

/**
 * The granules of the free block that ends where the block at `p` begins; 0 when that one is not free.
 *
 * @throws {CorruptionError} When it, or the header at `p`, was written to.
 */
export function freeBelow(region: Region, layout: BlockLayout, p: number): number {
  const { words, marks } = region;
  let n: number;
  if (layout.linked) {
    n = distanceBelow(region, layout, p);
    if (n === 0 || (marks[p - n]! & FREE) === 0) return 0;
  } else {
    if (p <= region.first || (marks[p - 1]! & END) === 0) return 0;
    n = words[(p << 2) - 4]!;
  }
  const start = p - n;
  if (n > 0 && start >= region.first && (marks[start]! & FREE) !== 0 && words[start << 2] === n) return n;
  throw corrupt(region, p, "the free block below it was written to: its size is wrong");
}

/** How far below the block at `p` its long header says that the one below begins; 0 for the lowest. */
function distanceBelow(region: Region, layout: BlockLayout, p: number): number {
  const { words, marks } = region;
  const h = p << 2;
  const n = words[h + layout.previous]!;
  if (words[h + layout.check] !== checkOf(words[h + layout.size]!, n, words[h + layout.region]!)) {
    throw corrupt(region, p, "its header does not match its check");
  }
  if (n !== 0 && (!(n > 0 && p - n >= region.first) || (marks[p - n]! & (LIVE | FREE)) === 0)) {
    throw corrupt(region, p, `its header has a block ${n} granules below, where none begins`);
  }
  return n;
}

/** The error for a block whose records disagree; `reason` says how. */
export function corrupt(region: Region, p: number, reason: string): CorruptionError {
  const detached = region.bytes.byteLength === 0;
  return new CorruptionError(
    `Cannot use the block at ${formatAddress(region.address + p * GRANULE)}: ` +
      (detached ? "the ArrayBuffer of its region was detached from outside" : reason),
  );
}
