/**
 * Free lists that live inside the free blocks, and the ways to order and search them.
 *
 * A free block holds its node in the first 16 bytes of its payload, as four 32-bit words:
 *
 * ```text
 *   0      size in granules
 *   4      next: granule of the payload of the next free block      in the region whose number is in bits 0..11 of word 12
 *   8      previous: likewise                                       in the region whose number is in bits 12..23
 *   12     check << 24 | previous region << 12 | next region        region 0: there is none
 *
 *   head ──▶ node ⇄ node ⇄ node ◀── tail        through all regions of the bucket
 * ```
 *
 * A caller that writes to freed memory writes over nodes. Before a node is followed it is held against its check, against the
 * node that led to it, and against the marks of its region, which no stray write reaches: `CorruptionError` otherwise.
 *
 * Orders: `lifo` puts a block at the head, `fifo` at the tail, `address` behind the nearest block below it, which takes
 * time in the blocks below when none is nearby. Fits: `first` takes the first block that is large enough, `next` goes on from where the last search ended,
 * `best` looks at all and takes the smallest. All else takes constant time.
 *
 * @module
 */
import { corrupt, END, FREE } from "./block.ts";
import type { Region, RegionList } from "./region_list.ts";

/** Where a freed block goes in its list. */
export type FreeOrder = "address" | "lifo" | "fifo";

/** Which free block is taken. */
export type FreeFit = "first" | "best" | "next";

/** The granule at which what is looked for would begin in the free block at `p` of `n` granules; -1 when it has no room. */
export type Placement = (region: Region, p: number, n: number) => number;

/** Called with each free block that a search comes by; the granules that the block has afterwards. */
export type Visit = (region: Region, p: number, n: number) => number;

/** A place in a region. */
export interface FreeBlock {
  /** The region. */
  readonly region: Region;
  /** The granule of the payload. */
  readonly p: number;
  /** The size in granules. */
  readonly n: number;
}

/** How many granules below a freed block are looked at for the free block before it, ere the list is walked. */
const NEARBY = 512;

const REGION_MASK = 0xfff;
const NODE_MASK = 0xffffff;

/** One free list. */
export class FreeList {
  /** The order that blocks are kept in. */
  readonly order: FreeOrder;
  /** The search. */
  readonly fit: FreeFit;
  /** Whether a block that grows or shrinks keeps its place: in the others it is taken out and put back. */
  readonly inPlace: boolean;
  /** How many free blocks there are. */
  count = 0;
  /** How many granules they have together. */
  granules = 0;
  /** How many blocks the last search came by. */
  visited = 0;
  /** The region of the block that the last search found. */
  foundRegion!: Region;
  /** Its granule. */
  found = 0;
  /** Its size. */
  foundSize = 0;
  /** Where in it the wanted block begins. */
  foundPlace = 0;
  readonly #regions: RegionList;
  #head = 0;
  #headRegion = 0;
  #tail = 0;
  #tailRegion = 0;
  #rover = 0;
  #roverRegion = 0;

  /** An empty list. */
  constructor(regions: RegionList, order: FreeOrder, fit: FreeFit) {
    this.#regions = regions;
    this.order = order;
    this.fit = fit;
    this.inPlace = order === "address";
  }

  /**
   * The granules of the free block at `p`.
   *
   * @throws {CorruptionError} When there is none, or its node was written to.
   */
  sizeAt(region: Region, p: number): number {
    const { words, marks } = region;
    const w = 4 * p;
    const n = words[w]!;
    const last = words[w + 3]!;
    if (
      ((marks[p] ?? 0) & FREE) === 0 ||
      last >>> 24 !== checkOfNode(n, words[w + 1]!, words[w + 2]!, last & NODE_MASK) ||
      !(n > 0 && p + n <= region.end) || (marks[p + n - 1]! & END) === 0
    ) {
      throw corrupt(region, p, "it is free and was written to");
    }
    return n;
  }

  /** Adds a free block in its place by the order. */
  insert(region: Region, p: number, n: number): void {
    this.count++;
    this.granules += n;
    if (this.order === "lifo") this.#link(region, p, n, 0, 0, this.#headRegion, this.#head);
    else if (this.order === "fifo") this.#link(region, p, n, this.#tailRegion, this.#tail, 0, 0);
    else this.#insertByAddress(region, p, n);
  }

  #insertByAddress(region: Region, p: number, n: number): void {
    // The nearest free block below in the region is the one to follow, and is seldom far.
    const { marks } = region;
    for (let q = p - 1, low = Math.max(region.first, p - NEARBY); q >= low; q--) {
      if ((marks[q]! & FREE) === 0) continue;
      const { words } = region;
      this.#link(region, p, n, region.number, q, words[4 * q + 3]! & REGION_MASK, words[4 * q + 1]!);
      return;
    }
    const { byNumber } = this.#regions;
    let beforeRegion = 0;
    let before = 0;
    let number = this.#headRegion;
    let at = this.#head;
    while (number !== 0) {
      if (number === region.number ? at > p : byNumber[number]!.address > region.address) break;
      const node = byNumber[number]!;
      this.#assertFollows(node, at, beforeRegion, before);
      beforeRegion = number;
      before = at;
      number = node.words[4 * at + 3]! & REGION_MASK;
      at = node.words[4 * at + 1]!;
    }
    this.#link(region, p, n, beforeRegion, before, number, at);
  }

  /** Adds a free block right behind another. */
  insertAfter(region: Region, before: number, p: number, n: number): void {
    const { words } = region;
    this.count++;
    this.granules += n;
    this.#link(region, p, n, region.number, before, words[4 * before + 3]! & REGION_MASK, words[4 * before + 1]!);
  }

  /** Takes a free block out; its granules. */
  remove(region: Region, p: number): number {
    const n = this.sizeAt(region, p);
    const { words } = region;
    const w = 4 * p;
    const next = words[w + 1]!;
    const previous = words[w + 2]!;
    const nextRegion = words[w + 3]! & REGION_MASK;
    const previousRegion = (words[w + 3]! >>> 12) & REGION_MASK;
    if (nextRegion !== 0) this.#assertFollows(this.#region(nextRegion, region, p), next, region.number, p);
    if (previousRegion !== 0) this.sizeAt(this.#region(previousRegion, region, p), previous);
    this.#setNext(previousRegion, previous, nextRegion, next);
    this.#setPrevious(nextRegion, next, previousRegion, previous);
    if (this.#rover === p && this.#roverRegion === region.number) {
      this.#rover = next;
      this.#roverRegion = nextRegion;
    }
    this.count--;
    this.granules -= n;
    return n;
  }

  /** Puts the free block at `to`, of `n` granules, in the place of the one at `from`. */
  replace(region: Region, from: number, to: number, n: number): void {
    const { words } = region;
    this.granules += n - this.sizeAt(region, from);
    const next = words[4 * from + 1]!;
    const previous = words[4 * from + 2]!;
    const numbers = words[4 * from + 3]!;
    if (this.#rover === from && this.#roverRegion === region.number) this.#rover = to;
    this.#link(region, to, n, (numbers >>> 12) & REGION_MASK, previous, numbers & REGION_MASK, next);
  }

  /** Gives the free block at `p` another size, in its place. */
  setSize(region: Region, p: number, n: number): void {
    const { words } = region;
    this.granules += n - this.sizeAt(region, p);
    writeNode(words, p, n, words[4 * p + 1]!, words[4 * p + 2]!, words[4 * p + 3]! & NODE_MASK);
  }

  /**
   * Looks for a free block of `need` granules or more in which `place` finds room, past at most `limit` blocks, and
   * leaves it in the `found` fields. False when there is none.
   */
  search(need: number, place: Placement, visit: Visit | undefined, limit = Infinity): boolean {
    this.visited = 0;
    this.foundSize = 0;
    if (this.fit === "first") return this.#walk(this.#headRegion, this.#head, need, place, visit, limit);
    if (this.fit === "next") {
      return this.#walk(this.#roverRegion, this.#rover, need, place, visit, limit) ||
        this.#walk(this.#headRegion, this.#head, need, place, visit, limit);
    }
    // The best is known when all are merged, not before.
    if (visit !== undefined) this.#walk(this.#headRegion, this.#head, Infinity, place, visit, limit);
    return this.#walk(this.#headRegion, this.#head, need, place, undefined, limit);
  }

  #walk(
    number: number,
    p: number,
    need: number,
    place: Placement,
    visit: Visit | undefined,
    limit: number,
  ): boolean {
    if (number === 0) return false;
    const { byNumber } = this.#regions;
    const best = this.fit === "best";
    let region = byNumber[number]!;
    let { words, marks } = region;
    let before = -1;
    let beforeRegion = 0;
    for (;;) {
      const w = 4 * p;
      let n = words[w]!;
      let last = words[w + 3]!;
      // As sizeAt, but for the end of the block: who takes it looks at that.
      if (
        ((marks[p] ?? 0) & FREE) === 0 ||
        last >>> 24 !== checkOfNode(n, words[w + 1]!, words[w + 2]!, last & NODE_MASK) ||
        (before !== -1 && (words[w + 2] !== before || ((last >>> 12) & REGION_MASK) !== beforeRegion))
      ) {
        throw corrupt(region, p, "it is free and was written to");
      }
      this.visited++;
      // Merging is only worth a call where a free block follows.
      if (visit !== undefined && ((marks[p + n] ?? 0) & FREE) !== 0) {
        n = visit(region, p, n);
        last = words[w + 3]!;
      }
      if (n >= need) {
        const at = place(region, p, n);
        if (at >= 0 && (!best || this.foundSize === 0 || n < this.foundSize)) {
          this.foundRegion = region;
          this.found = p;
          this.foundSize = n;
          this.foundPlace = at;
          this.#rover = p;
          this.#roverRegion = number;
          if (!best) return true;
        }
      }
      before = p;
      beforeRegion = number;
      number = last & REGION_MASK;
      p = words[w + 1]!;
      if (number === 0 || this.visited >= limit) return this.foundSize > 0;
      if (number !== beforeRegion) {
        region = this.#region(number, region, before);
        ({ words, marks } = region);
      }
    }
  }

  /** The free blocks from head to tail. */
  *[Symbol.iterator](): IterableIterator<FreeBlock> {
    let number = this.#headRegion;
    let p = this.#head;
    let beforeRegion = 0;
    let before = 0;
    while (number !== 0) {
      const region = this.#regions.byNumber[number]!;
      this.#assertFollows(region, p, beforeRegion, before);
      yield { region, p, n: this.sizeAt(region, p) };
      beforeRegion = number;
      before = p;
      number = region.words[4 * p + 3]! & REGION_MASK;
      p = region.words[4 * p + 1]!;
    }
    if (beforeRegion !== this.#tailRegion || before !== this.#tail) {
      throw corrupt(
        this.#regions.byNumber[beforeRegion || this.#tailRegion]!,
        before,
        "the free list does not end there",
      );
    }
  }

  /** Names the blocks of a region, which has become the upper part of another, by that: `shift` granules further up. */
  renumber(from: number, to: Region, shift: number): void {
    if (this.#headRegion === from) [this.#headRegion, this.#head] = [to.number, this.#head + shift];
    if (this.#tailRegion === from) [this.#tailRegion, this.#tail] = [to.number, this.#tail + shift];
    if (this.#roverRegion === from) [this.#roverRegion, this.#rover] = [to.number, this.#rover + shift];
    let number = this.#headRegion;
    let p = this.#head;
    while (number !== 0) {
      const { words } = this.#regions.byNumber[number]!;
      const w = 4 * p;
      let nextRegion = words[w + 3]! & REGION_MASK;
      let previousRegion = (words[w + 3]! >>> 12) & REGION_MASK;
      let next = words[w + 1]!;
      let previous = words[w + 2]!;
      if (nextRegion === from) [nextRegion, next] = [to.number, next + shift];
      if (previousRegion === from) [previousRegion, previous] = [to.number, previous + shift];
      writeNode(words, p, words[w]!, next, previous, nextRegion | previousRegion << 12);
      number = nextRegion;
      p = next;
    }
  }

  /** Writes the node at `p`, and has its neighbours in the list lead to it. */
  #link(
    region: Region,
    p: number,
    n: number,
    previousRegion: number,
    previous: number,
    nextRegion: number,
    next: number,
  ): void {
    // Read first, write then: a node that was written to must be found before anything has changed.
    if (previousRegion !== 0) this.sizeAt(this.#region(previousRegion, region, p), previous);
    if (nextRegion !== 0) this.sizeAt(this.#region(nextRegion, region, p), next);
    writeNode(region.words, p, n, next, previous, nextRegion | previousRegion << 12);
    this.#setNext(previousRegion, previous, region.number, p);
    this.#setPrevious(nextRegion, next, region.number, p);
  }

  /** Has the node at `p` of region `number`, or the head if there is none, lead to another. */
  #setNext(number: number, p: number, nextRegion: number, next: number): void {
    if (number === 0) {
      this.#headRegion = nextRegion;
      this.#head = next;
      return;
    }
    const { words } = this.#regions.byNumber[number]!;
    const w = 4 * p;
    writeNode(words, p, words[w]!, next, words[w + 2]!, (words[w + 3]! & (REGION_MASK << 12)) | nextRegion);
  }

  #setPrevious(number: number, p: number, previousRegion: number, previous: number): void {
    if (number === 0) {
      this.#tailRegion = previousRegion;
      this.#tail = previous;
      return;
    }
    const { words } = this.#regions.byNumber[number]!;
    const w = 4 * p;
    writeNode(words, p, words[w]!, words[w + 1]!, previous, (words[w + 3]! & REGION_MASK) | previousRegion << 12);
  }

  /** Throws unless the node at `p` says that it follows the one at `before`. */
  #assertFollows(region: Region, p: number, beforeRegion: number, before: number): void {
    this.sizeAt(region, p);
    const { words } = region;
    const w = 4 * p;
    if (((words[w + 3]! >>> 12) & REGION_MASK) !== beforeRegion || (beforeRegion !== 0 && words[w + 2] !== before)) {
      throw corrupt(region, p, "it is free, and its neighbours in the free list disagree");
    }
  }

  #region(number: number, from: Region, p: number): Region {
    return this.#regions.byNumber[number] ?? failFor(from, p);
  }
}

function failFor(region: Region, p: number): never {
  throw corrupt(region, p, "it is free and leads to a region that does not exist");
}

/** Eight bits that tell a node from one that was written to. One multiplication: every step of a search comes by here. */
function checkOfNode(n: number, next: number, previous: number, numbers: number): number {
  const turned = (next << 7 | next >>> 25) ^ (previous << 15 | previous >>> 17);
  return Math.imul((n << 1) + 1 ^ turned ^ numbers, 0x1e3779b1) >>> 24;
}

function writeNode(words: Int32Array, p: number, n: number, next: number, previous: number, numbers: number): void {
  const w = 4 * p;
  words[w] = n;
  words[w + 1] = next;
  words[w + 2] = previous;
  words[w + 3] = checkOfNode(n, next, previous, numbers) << 24 | numbers;
}
