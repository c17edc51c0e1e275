/**
 * A free list through the free blocks of all regions of a bucket, and the ways to order and search it.
 *
 * ```text
 *   head ──▶ node ⇄ node ⇄ node ◀── tail        a node is in the free block itself: free_nodes.ts
 * ```
 *
 * Invariant: the first node has none before it and the last none behind it, and every other is led to by both neighbours, or
 * somebody has written to freed memory. As two blocks cannot lead back to the same one, no walk goes in circles.
 *
 * Orders: `lifo` puts a block at the head, `fifo` at the tail, `address` behind the nearest block below it, which takes
 * time in the blocks below when none is nearby. Fits: `first` takes the first block that is large enough, `next` goes on
 * from where the last search ended, `best` looks at all and takes the smallest. All else takes constant time.
 *
 * @module
 */
import { corrupt } from "./block.ts";
import type { FreeBlock, FreeBlocks, Placement, Visit } from "./free_blocks.ts";
import { assertFollows, disagree, regionOf, renumberNodes, walkNodes } from "./free_nodes.ts";
import type * as nodes from "./free_nodes.ts";
import type * as marks from "./marks.ts";
import type { Region, RegionList } from "./region_list.ts";

/** Where a freed block goes in its list. */
export type FreeOrder = "address" | "lifo" | "fifo";

/** Which free block is taken. */
export type FreeFit = "first" | "best" | "next";

// Repeated here, as V8 loads what is imported at every use (docs/performance.md); the types say that they are the same.
const FREE = 2 satisfies typeof marks.FREE;
const REGION_MASK = 0xfff satisfies typeof nodes.REGION_MASK;
const PREVIOUS_SHIFT = 12 satisfies typeof nodes.PREVIOUS_SHIFT;

/** How many granules below a freed block are looked at for the free block before it, ere the list is walked. */
const NEARBY = 512;

/** How many blocks a search comes by that is not told. */
const ALL = 2 ** 31 - 1;

/** One free list. */
export class FreeList implements FreeBlocks {
  /** See {@link FreeBlocks.inPlace}. */
  readonly inPlace: boolean;
  /** How many free blocks there are. */
  count = 0;
  /** How many blocks the last search came by. */
  visited = 0;
  /** The region of the block that the last search found. */
  foundRegion!: Region;
  /** Its granule. */
  found = 0;
  readonly #regions: RegionList;
  readonly #order: FreeOrder;
  readonly #fit: FreeFit;
  readonly #alone: boolean;
  #head = 0;
  #headRegion = 0;
  #tail = 0;
  #tailRegion = 0;
  #rover = 0;
  #roverRegion = 0;

  /** An empty list; `alone` says that every free block of its regions will be in it. */
  constructor(regions: RegionList, order: FreeOrder, fit: FreeFit, alone = true) {
    this.#regions = regions;
    this.#alone = alone;
    this.#order = order;
    this.#fit = fit;
    this.inPlace = order === "address";
  }

  /** See {@link FreeBlocks.insert}. */
  insert(region: Region, p: number): void {
    if (this.#order === "address") return this.#insertByAddress(region, p);
    const { words, number } = region;
    const w = p << 2;
    if (this.#order === "lifo") {
      words[w + 1] = this.#head;
      words[w + 2] = 0;
      words[w + 3] = this.#headRegion;
      this.#setPrevious(region, this.#headRegion, this.#head, number, p);
      this.#head = p;
      this.#headRegion = number;
    } else {
      words[w + 1] = 0;
      words[w + 2] = this.#tail;
      words[w + 3] = this.#tailRegion << PREVIOUS_SHIFT;
      this.#setNext(region, this.#tailRegion, this.#tail, number, p);
      this.#tail = p;
      this.#tailRegion = number;
    }
    this.count++;
  }

  #insertByAddress(region: Region, p: number): void {
    if (this.#alone) {
      // The nearest free block below in the region is the one to follow, and is seldom far.
      const { marks } = region;
      const low = Math.max(region.first, p - NEARBY);
      let q = p - 1;
      while (q >= low && (marks[q]! & FREE) === 0) q--;
      if (q >= low) return this.insertAfter(region, q, p);
    }
    let beforeRegion = 0;
    let before = 0;
    let number = this.#headRegion;
    let at = this.#head;
    while (number !== 0) {
      const node = regionOf(this.#regions, number, beforeRegion, before);
      assertFollows(node, at, beforeRegion, before);
      if (node === region ? at > p : node.address > region.address) break;
      beforeRegion = number;
      before = at;
      number = node.words[4 * at + 3]! & REGION_MASK;
      at = node.words[4 * at + 1]!;
    }
    this.#link(region, p, beforeRegion, before, number, at);
  }

  /** See {@link FreeBlocks.insertAfter}. */
  insertAfter(region: Region, before: number, p: number): void {
    const { words } = region;
    this.#link(region, p, region.number, before, words[4 * before + 3]! & REGION_MASK, words[4 * before + 1]!);
  }

  /** See {@link FreeBlocks.remove}. */
  remove(region: Region, p: number): void {
    if (!this.#isNear(region, p)) return this.#removeAny(region, p);
    // What `removeAny` does, without calls.
    const { words } = region;
    const w = p << 2;
    const next = words[w + 1]!;
    const previous = words[w + 2]!;
    const v = next << 2;
    if (words[w + 3]! >>> PREVIOUS_SHIFT === 0) {
      if (words[v + 2] !== p || this.#head !== p) throw disagree(region, p);
      this.#head = next;
      words[v + 3] = words[v + 3]! & REGION_MASK;
    } else {
      const u = previous << 2;
      if (words[v + 2] !== p || words[u + 1] !== p || !joins(words, u, v, region.number)) {
        throw disagree(region, p);
      }
      words[u + 1] = next;
    }
    words[v + 2] = previous;
    this.count--;
  }

  /** Whether the next block in the list is in this region, and the one before too, unless this is the head. As nearly always. */
  #isNear({ words, number }: Region, p: number): boolean {
    const numbers = words[(p << 2) + 3]!;
    return (numbers === (number << PREVIOUS_SHIFT | number) || (numbers === number && this.#headRegion === number)) &&
      this.#roverRegion === 0;
  }

  #removeAny(region: Region, p: number): void {
    const { words, number } = region;
    const next = words[4 * p + 1]!;
    const previous = words[4 * p + 2]!;
    const nextRegion = words[4 * p + 3]! & REGION_MASK;
    const previousRegion = words[4 * p + 3]! >>> PREVIOUS_SHIFT;
    this.assertLinked(region, p);
    this.#setNext(region, previousRegion, previous, nextRegion, next);
    this.#setPrevious(region, nextRegion, next, previousRegion, previous);
    if (this.#roverRegion === number && this.#rover === p) {
      this.#rover = next;
      this.#roverRegion = nextRegion;
    }
    this.count--;
  }

  /** See {@link FreeBlocks.replace}. */
  replace(region: Region, from: number, _fromSize: number, to: number): void {
    const { words } = region;
    const w = from << 2;
    const next = words[w + 1]!;
    const previous = words[w + 2]!;
    const numbers = words[w + 3]!;
    if (!this.#isNear(region, from)) {
      this.#replaceAny(region, from, to);
    } else if (numbers >>> PREVIOUS_SHIFT === 0) {
      if (words[(next << 2) + 2] !== from || this.#head !== from) throw disagree(region, from);
      this.#head = to;
      words[(next << 2) + 2] = to;
    } else {
      const u = previous << 2;
      const v = next << 2;
      if (words[v + 2] !== from || words[u + 1] !== from || !joins(words, u, v, region.number)) {
        throw disagree(region, from);
      }
      words[u + 1] = to;
      words[v + 2] = to;
    }
    const v = to << 2;
    words[v + 1] = next;
    words[v + 2] = previous;
    words[v + 3] = numbers;
  }

  #replaceAny(region: Region, from: number, to: number): void {
    const { words, number } = region;
    const numbers = words[4 * from + 3]!;
    this.assertLinked(region, from);
    this.#setNext(region, numbers >>> PREVIOUS_SHIFT, words[4 * from + 2]!, number, to);
    this.#setPrevious(region, numbers & REGION_MASK, words[4 * from + 1]!, number, to);
    if (this.#roverRegion === number && this.#rover === from) this.#rover = to;
  }

  /** See {@link FreeBlocks.resize}. It can always keep its place. */
  resize(): void {}

  /** See {@link FreeBlocks.assertLinked}. */
  assertLinked(region: Region, p: number): void {
    const { words, number } = region;
    const numbers = words[4 * p + 3]!;
    const previousRegion = numbers >>> PREVIOUS_SHIFT;
    const nextRegion = numbers & REGION_MASK;
    const next = words[4 * p + 1]!;
    const previous = words[4 * p + 2]!;
    let follows: boolean;
    if (previousRegion === 0) {
      follows = this.#head === p && this.#headRegion === number;
    } else {
      const before = previousRegion === number ? words : regionOf(this.#regions, previousRegion, number, p).words;
      follows = before[4 * previous + 1] === p && (before[4 * previous + 3]! & REGION_MASK) === number;
    }
    const leads = this.#isFollowed(region, number, p, nextRegion, next);
    if (!follows || !leads) throw disagree(region, p);
  }

  /**
   * Whether the node at `next`, or the tail if there is none, leads back to the one at `p` of region `number`. Most likely it is
   * in `region`.
   */
  #isFollowed(region: Region, number: number, p: number, nextRegion: number, next: number): boolean {
    if (nextRegion === 0) return this.#tail === p && this.#tailRegion === number;
    const { words } = nextRegion === region.number ? region : regionOf(this.#regions, nextRegion, number, p);
    return words[4 * next + 2] === p && words[4 * next + 3]! >>> PREVIOUS_SHIFT === number;
  }

  /** See {@link FreeBlocks.search}. */
  search(need: number, place: Placement | undefined, visit: Visit | undefined, limit = ALL): boolean {
    this.visited = 0;
    if (this.#fit === "first") return this.#walk(false, need, place, visit, limit);
    if (this.#fit === "next" && this.#walk(true, need, place, visit, limit)) return true;
    // The best is known when all are merged, not before.
    if (this.#fit === "best" && visit !== undefined) this.#walk(false, ALL, place, visit, limit);
    return this.#walk(false, need, place, this.#fit === "best" ? undefined : visit, limit);
  }

  /** Goes from node to node from the head, or the rover, on; each must lead back to the one before it. */
  #walk(
    fromRover: boolean,
    need: number,
    place: Placement | undefined,
    visit: Visit | undefined,
    limit: number,
  ): boolean {
    const regions = this.#regions;
    const { byNumber } = regions;
    const best = this.#fit === "best";
    const merges = visit !== undefined;
    let visited = this.visited;
    let foundSize = 0;
    let number = fromRover ? this.#roverRegion : this.#headRegion;
    let p = fromRover ? this.#rover : this.#head;
    let before = 0;
    let beforeRegion = 0;
    while (number !== 0) {
      const region = byNumber[number] ?? regionOf(regions, number, beforeRegion, before);
      const { words, marks } = region;
      let w = p << 2;
      let n = words[w]!;
      let numbers = words[w + 3]!;
      // What comes before the rover is not known.
      if (beforeRegion !== 0 || !fromRover) {
        if (numbers >>> PREVIOUS_SHIFT !== beforeRegion || words[w + 2] !== before) throw disagree(region, p);
      }
      // Most blocks are too small and lead to one of the same region. Nothing is called here, so that engines keep all
      // of it in registers: 3 ns a block, and 12 with a call.
      for (;;) {
        visited++;
        if (n >= need || (numbers & REGION_MASK) !== number || visited >= limit) break;
        if (merges && (marks[p + n]! & FREE) !== 0) break;
        const next = words[w + 1]!;
        w = next << 2;
        n = words[w]!;
        numbers = words[w + 3]!;
        if (words[w + 2] !== p || numbers >>> PREVIOUS_SHIFT !== number) throw disagree(region, next);
        p = next;
      }
      // Merging is only worth a call where a free block follows.
      if (visit !== undefined && ((marks[p + n] ?? 0) & FREE) !== 0) {
        n = visit(region, p);
        numbers = words[w + 3]!;
      }
      if (n >= need && (foundSize === 0 || n < foundSize) && (place === undefined || place(region, p, n) >= 0)) {
        if (this.foundRegion !== region) this.foundRegion = region;
        this.found = p;
        foundSize = n;
        if (!best) break;
      }
      if (visited >= limit) break;
      before = p;
      beforeRegion = number;
      number = numbers & REGION_MASK;
      p = words[w + 1]!;
    }
    if (number === 0 && beforeRegion !== 0) this.#assertTail(beforeRegion, before);
    this.visited = visited;
    if (foundSize === 0) return false;
    if (this.#fit === "next") {
      this.#rover = this.found;
      this.#roverRegion = this.foundRegion.number;
    }
    return true;
  }

  /** The free blocks from head to tail. */
  *[Symbol.iterator](): IterableIterator<FreeBlock> {
    const last = yield* walkNodes(this.#regions, this.#headRegion, this.#head);
    this.#assertTail(last.number, last.p);
  }

  /** Throws unless the list ends at the node at `p` of region `number`, where a walk came to an end. */
  #assertTail(number: number, p: number): void {
    if (number === this.#tailRegion && p === this.#tail) return;
    throw corrupt(
      regionOf(this.#regions, number || this.#tailRegion, number, p),
      p,
      "the free list does not end there",
    );
  }

  /** See {@link FreeBlocks.renumber}. */
  renumber(from: number, to: Region, shift: number): void {
    if (this.#headRegion === from) [this.#headRegion, this.#head] = [to.number, this.#head + shift];
    if (this.#tailRegion === from) [this.#tailRegion, this.#tail] = [to.number, this.#tail + shift];
    if (this.#roverRegion === from) [this.#roverRegion, this.#rover] = [to.number, this.#rover + shift];
    renumberNodes(this.#regions, this.#headRegion, this.#head, from, to, shift);
  }

  /** Writes the node at `p`, and has its neighbours in the list, which must be neighbours until now, lead to it. */
  #link(
    region: Region,
    p: number,
    previousRegion: number,
    previous: number,
    nextRegion: number,
    next: number,
  ): void {
    const { words, number } = region;
    // Read first, write then: a node that was written to must be found before anything has changed.
    if (previousRegion !== 0 && !this.#isFollowed(region, previousRegion, previous, nextRegion, next)) {
      throw disagree(regionOf(this.#regions, previousRegion, number, p), previous);
    }
    const w = p << 2;
    words[w + 1] = next;
    words[w + 2] = previous;
    words[w + 3] = previousRegion << PREVIOUS_SHIFT | nextRegion;
    this.#setNext(region, previousRegion, previous, number, p);
    this.#setPrevious(region, nextRegion, next, number, p);
    this.count++;
  }

  /** Has the node at `p` of region `number`, or the head if there is none, lead to another. */
  #setNext(region: Region, number: number, p: number, nextRegion: number, next: number): void {
    if (number === 0) {
      this.#headRegion = nextRegion;
      this.#head = next;
      return;
    }
    const words = number === region.number ? region.words : this.#regions.byNumber[number]!.words;
    const w = p << 2;
    words[w + 1] = next;
    words[w + 3] = (words[w + 3]! & ~REGION_MASK) | nextRegion;
  }

  /** Has the node at `p` of region `number`, or the tail if there is none, lead back to another. */
  #setPrevious(region: Region, number: number, p: number, previousRegion: number, previous: number): void {
    if (number === 0) {
      this.#tailRegion = previousRegion;
      this.#tail = previous;
      return;
    }
    const words = number === region.number ? region.words : this.#regions.byNumber[number]!.words;
    const w = p << 2;
    words[w + 2] = previous;
    words[w + 3] = (words[w + 3]! & REGION_MASK) | previousRegion << PREVIOUS_SHIFT;
  }
}

/** Whether the node at word `u` leads on, and the one at word `v` back, to the region of that number. */
function joins(words: Int32Array, u: number, v: number, number: number): boolean {
  return (words[u + 3]! & REGION_MASK) === number && words[v + 3]! >>> PREVIOUS_SHIFT === number;
}
