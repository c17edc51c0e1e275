/**
 * The units of a shared heap: which are free and which belong to which run. The caller holds the lock.
 *
 * The records are those of run_record.ts, four words a unit:
 *
 * ```text
 *   HEAD   at the first unit of a run: units * 8 + ZEROED * 4 + kind; 0 at every other unit
 *   TAIL   at the last unit of a free run: its units; 0 at every other unit
 *   NEXT, PREV     of a free run: links of its bin (unit + 1; 0 is none)
 *   SLACK, INFO    the same words of a large block: bytes not asked for; alignment, ownership and owner
 * ```
 *
 * A worker can be terminated at any instruction while it holds the lock. So every change has a commit point, one store to one
 * HEAD: before it, whatever was written lies inside a run where nobody looks; after it, whatever is not written yet can be
 * found out from the heads. The heads of all runs, read from the start of each region, are the truth; TAILs, bins and counts are
 * derived from them, and {@link SharedRuns.rebuild} makes them anew when the holder of the lock has died.
 *
 * ```text
 *   take 3 of a free run of 8, aligned        HEAD:  [ 8 free . . . . . . . ]
 *     1  heads inside the free run                   [ 8 free . 3 used . . 3 free . . ]
 *     2  commit: the free run becomes shorter        [ 2 free . 3 used . . 3 free . . ]
 *   release it
 *     1  commit: the run before takes all            [ 8 free . 3 used . . 3 free . . ]
 *     2  heads inside it are cleared                 [ 8 free . . . . . . . ]
 * ```
 *
 * Cost: `release` is O(1); `take` looks at up to 16 runs of each bin, and at every free run before it gives up.
 *
 * @module
 */
import { CorruptionError } from "./errors.ts";
import { binOf, EXACT_BINS } from "./run_bins.ts";
import { FREE_RUN, LARGE_RUN, PAGE_RUN, type RunKind } from "./run_record.ts";
import { BINS, FREE_UNITS, OCCUPIED } from "./shared_layout.ts";

/**
 * A run that is neither free nor anybody's block: the attachment in INFO is giving its contents back. With none in INFO it is a
 * gap, which is never used.
 */
export const HELD_RUN = 3;

/** In INFO of a large block: the attachment whose NativeBuffer owns it, from this bit on. In that of a held run, all of it. */
export const INFO_OWNER_SHIFT = 8;

/** Fields of a unit's record. */
const HEAD = 0;
const TAIL = 1;
const NEXT = 2;
const PREV = 3;
const SLACK = 2;
const INFO = 3;

/** Parts of HEAD. */
const KIND_MASK = 3;
const ZEROED = 4;
const LENGTH_SHIFT = 3;

/** The bins of run_bins.ts, and those of three doublings more: a region of a shared heap can be longer. */
const BIN_COUNT = EXACT_BINS + 4 * 18;
const OCCUPIED_WORDS = 5;

/** Runs of one bin that a search looks at before it goes on to the next bin. */
const SCAN = 16;

/** Where the records and the bins are. Whoever holds the lock has made them long enough. */
export interface RunTables {
  /** The records of units. */
  readonly units: Int32Array;
  /** The control block. */
  readonly control: Int32Array;
}

/** The runs of a shared heap, as one attachment changes them. */
export class SharedRuns {
  /** Whether the run of the last `take` reads as zero. */
  isFresh = false;
  readonly #tables: RunTables;

  /** Over the tables of the heap, whose arrays may be replaced by longer ones. */
  constructor(tables: RunTables) {
    this.#tables = tables;
  }

  /** Units in free runs. */
  get freeUnits(): number {
    return this.#tables.control[FREE_UNITS]!;
  }

  /** Writes the head of a region that nobody knows of yet: free, never touched. */
  prepare(from: number, to: number): void {
    this.#tables.units[from * 4 + HEAD] = ((to - from) << LENGTH_SHIFT) | ZEROED;
  }

  /** Writes the head of a gap that nobody knows of yet. */
  prepareGap(from: number, to: number): void {
    this.#tables.units[from * 4 + HEAD] = ((to - from) << LENGTH_SHIFT) | HELD_RUN;
  }

  /** Adds the free run of a new region to its bin. */
  add(from: number): void {
    this.#insert(from, this.#tables.units[from * 4 + HEAD]!);
  }

  /**
   * Takes a run of `count` units whose first unit plus `bias` is a multiple of `alignment`, with the words of a large block.
   *
   * @returns Its first unit, or -1 when there is none.
   */
  take(count: number, alignment: number, bias: number, kind: RunKind, slack: number, info: number): number {
    const found = this.#find(count, alignment, bias, SCAN);
    const run = found !== -1 || this.freeUnits < count ? found : this.#find(count, alignment, bias, Infinity);
    if (run === -1) return -1;
    const { units } = this.#tables;
    const head = units[run * 4 + HEAD]!;
    const end = run + (head >>> LENGTH_SHIFT);
    const start = ((run + bias + alignment - 1) & -alignment) - bias;
    const flag = head & ZEROED;
    this.#remove(run, head);
    if (start + count < end) this.#insert(start + count, ((end - start - count) << LENGTH_SHIFT) | flag);
    units[start * 4 + SLACK] = slack;
    units[start * 4 + INFO] = info;
    units[start * 4 + HEAD] = (count << LENGTH_SHIFT) | kind;
    if (start > run) this.#insert(run, ((start - run) << LENGTH_SHIFT) | flag);
    this.isFresh = flag !== 0;
    return start;
  }

  /** Frees the used run at `unit`, and merges it with its free neighbours in the same region. */
  release(unit: number, regionStart: number, regionEnd: number, zeroed = false): void {
    const { units } = this.#tables;
    let start = unit;
    let end = unit + this.lengthAt(unit);
    let flag = zeroed ? ZEROED : 0;
    const next = end;
    const nextHead = end < regionEnd ? units[end * 4 + HEAD]! : LARGE_RUN;
    if ((nextHead & KIND_MASK) === FREE_RUN) {
      this.#remove(next, nextHead);
      end += nextHead >>> LENGTH_SHIFT;
      flag &= nextHead;
    }
    const before = start > regionStart ? units[start * 4 - 4 + TAIL]! : 0;
    if (before > 0) {
      start -= before;
      const head = units[start * 4 + HEAD]!;
      this.#remove(start, head);
      flag &= head;
    }
    this.#insert(start, ((end - start) << LENGTH_SHIFT) | flag);
    if (start !== unit) units[unit * 4 + HEAD] = 0;
    if (end !== next && next !== start) units[next * 4 + HEAD] = 0;
  }

  /** Grows or shrinks a large block's run in place to `count` units. False when too few units after it are free. */
  resize(unit: number, count: number, regionStart: number, regionEnd: number): boolean {
    const { units } = this.#tables;
    const current = this.lengthAt(unit);
    if (count < current) {
      units[(unit + count) * 4 + HEAD] = (current - count) << LENGTH_SHIFT;
      units[unit * 4 + HEAD] = (count << LENGTH_SHIFT) | LARGE_RUN;
      this.release(unit + count, regionStart, regionEnd);
      return true;
    }
    if (count === current) return true;
    const next = unit + current;
    const head = next < regionEnd ? units[next * 4 + HEAD]! : LARGE_RUN;
    const free = (head & KIND_MASK) === FREE_RUN ? head >>> LENGTH_SHIFT : 0;
    if (current + free < count) return false;
    this.#remove(next, head);
    if (current + free > count) {
      this.#insert(unit + count, ((current + free - count) << LENGTH_SHIFT) | (head & ZEROED));
    }
    units[unit * 4 + HEAD] = (count << LENGTH_SHIFT) | LARGE_RUN;
    units[next * 4 + HEAD] = 0;
    return true;
  }

  /** Makes a used run one of another kind. */
  setKind(unit: number, kind: RunKind, info: number): void {
    this.#tables.units[unit * 4 + INFO] = info;
    this.#tables.units[unit * 4 + HEAD] = (this.lengthAt(unit) << LENGTH_SHIFT) | kind;
  }

  /** Units of the run that starts at `unit`, of whatever kind; 0 when none does. */
  lengthAt(unit: number): number {
    return this.#tables.units[unit * 4 + HEAD]! >>> LENGTH_SHIFT;
  }

  /** The kind of the run that starts at `unit`. */
  kindAt(unit: number): RunKind {
    return (this.#tables.units[unit * 4 + HEAD]! & KIND_MASK) as RunKind;
  }

  /** Units of the large block that starts at `unit`; 0 when none does. Needs no lock where the block is the caller's. */
  largeAt(unit: number): number {
    const head = this.#tables.units[unit * 4 + HEAD]!;
    return (head & KIND_MASK) === LARGE_RUN ? head >>> LENGTH_SHIFT : 0;
  }

  /** Whether the free run at `unit` reads as zero. */
  isZeroed(unit: number): boolean {
    return (this.#tables.units[unit * 4 + HEAD]! & ZEROED) !== 0;
  }

  /** The bytes of the large block at `unit` that were not asked for. */
  slack(unit: number): number {
    return this.#tables.units[unit * 4 + SLACK]!;
  }

  /** The INFO word of the large block at `unit`. */
  info(unit: number): number {
    return this.#tables.units[unit * 4 + INFO]!;
  }

  /** Sets what a large block's record says besides its length. */
  describe(unit: number, slack: number, info: number): void {
    this.#tables.units[unit * 4 + SLACK] = slack;
    this.#tables.units[unit * 4 + INFO] = info;
  }

  /** Takes the free run that starts at `unit` out of its bin, as a held one. */
  hold(unit: number, info: number): void {
    const { units } = this.#tables;
    const head = units[unit * 4 + HEAD]!;
    this.#remove(unit, head);
    units[unit * 4 + INFO] = info;
    units[unit * 4 + HEAD] = (head & ~KIND_MASK & ~ZEROED) | HELD_RUN;
  }

  /** Forgets everything derived: the first step of a rebuild. */
  clear(): void {
    const { control } = this.#tables;
    control.fill(0, OCCUPIED, OCCUPIED + OCCUPIED_WORDS);
    control.fill(0, BINS, BINS + BIN_COUNT);
    control[FREE_UNITS] = 0;
  }

  /**
   * Makes TAILs and bins of one region anew from its heads, after {@link clear}. `keep` says of each used run whether it stays.
   *
   * @throws {CorruptionError} When the heads do not tile the region, which no cut can bring about.
   */
  rebuild(regionStart: number, regionEnd: number, keep: (unit: number, kind: RunKind) => boolean): void {
    const { units } = this.#tables;
    let free = -1;
    let flag = ZEROED;
    for (let unit = regionStart; unit < regionEnd;) {
      const head = units[unit * 4 + HEAD]!;
      const count = head >>> LENGTH_SHIFT;
      if (count === 0 || unit + count > regionEnd) throw corrupt(unit, "its run does not end inside its region");
      const kind = (head & KIND_MASK) as RunKind;
      const stays = kind !== FREE_RUN && keep(unit, kind);
      const end = unit + count;
      for (let inner = unit; inner < end; inner++) {
        // Read first: most were never touched, and should not cost memory now.
        if (units[inner * 4 + TAIL] !== 0) units[inner * 4 + TAIL] = 0;
        if (inner > unit && units[inner * 4 + HEAD] !== 0) units[inner * 4 + HEAD] = 0;
      }
      if (!stays) {
        if (free === -1) free = unit;
        flag &= kind === FREE_RUN ? head : 0;
        // One store makes it part of the free run: a cut in here leaves runs that tile the region.
        units[free * 4 + HEAD] = ((end - free) << LENGTH_SHIFT) | flag;
        if (unit > free) units[unit * 4 + HEAD] = 0;
      }
      if ((stays || end === regionEnd) && free !== -1) {
        this.#insert(free, units[free * 4 + HEAD]!);
        free = -1;
        flag = ZEROED;
      }
      unit = end;
    }
  }

  /** The shortest run that fits, among the first `scan` of each bin. */
  #find(count: number, alignment: number, bias: number, scan: number): number {
    const { units, control } = this.#tables;
    for (let bin = this.#nextBin(binOf(count)); bin !== -1; bin = this.#nextBin(bin + 1)) {
      let best = -1;
      let bestLength = 0x7fffffff;
      let left = scan;
      for (let run = control[BINS + bin]! - 1; run !== -1 && left > 0; run = units[run * 4 + NEXT]! - 1, left--) {
        const length = units[run * 4 + HEAD]! >>> LENGTH_SHIFT;
        const start = ((run + bias + alignment - 1) & -alignment) - bias;
        if (length < bestLength && start + count <= run + length) {
          best = run;
          bestLength = length;
          if (bin < EXACT_BINS) break;
        }
      }
      if (best !== -1) return best;
    }
    return -1;
  }

  #nextBin(from: number): number {
    const { control } = this.#tables;
    if (from >= BIN_COUNT) return -1;
    let word = from >>> 5;
    let bits = control[OCCUPIED + word]! & (-1 << (from & 31));
    while (bits === 0) {
      if (++word > BIN_COUNT >>> 5) return -1;
      bits = control[OCCUPIED + word]!;
    }
    return (word << 5) + 31 - Math.clz32(bits & -bits);
  }

  /** Writes a free run's record and puts it into its bin; the store of the head comes last but for the tail. */
  #insert(unit: number, head: number): void {
    const { units, control } = this.#tables;
    const count = head >>> LENGTH_SHIFT;
    const bin = binOf(count);
    const next = control[BINS + bin]!;
    units[unit * 4 + HEAD] = head;
    units[unit * 4 + NEXT] = next;
    units[unit * 4 + PREV] = 0;
    units[(unit + count - 1) * 4 + TAIL] = count;
    if (next !== 0) units[(next - 1) * 4 + PREV] = unit + 1;
    control[BINS + bin] = unit + 1;
    control[OCCUPIED + (bin >>> 5)] = control[OCCUPIED + (bin >>> 5)]! | (1 << (bin & 31));
    control[FREE_UNITS] = control[FREE_UNITS]! + count;
  }

  /** Takes a free run out of its bin; its head stays, as it is the truth. */
  #remove(unit: number, head: number): void {
    const { units, control } = this.#tables;
    const count = head >>> LENGTH_SHIFT;
    const next = units[unit * 4 + NEXT]!;
    const prev = units[unit * 4 + PREV]!;
    if (next !== 0) units[(next - 1) * 4 + PREV] = prev;
    if (prev !== 0) units[(prev - 1) * 4 + NEXT] = next;
    else {
      const bin = binOf(count);
      control[BINS + bin] = next;
      if (next === 0) control[OCCUPIED + (bin >>> 5)] = control[OCCUPIED + (bin >>> 5)]! & ~(1 << (bin & 31));
    }
    units[(unit + count - 1) * 4 + TAIL] = 0;
    control[FREE_UNITS] = control[FREE_UNITS]! - count;
  }

  /**
   * Verifies that runs tile the regions, and the bins.
   *
   * @throws {CorruptionError} When two records disagree.
   */
  check(regions: readonly (readonly [number, number])[]): void {
    const { units, control } = this.#tables;
    const free = new Map<number, number>();
    let freeUnits = 0;
    for (const [start, end] of regions) {
      let touches = false;
      for (let unit = start; unit < end;) {
        const count = this.lengthAt(unit);
        const isFree = this.kindAt(unit) === FREE_RUN;
        if (count === 0 || unit + count > end) throw corrupt(unit, "its run does not end inside its region");
        for (let inner = unit; inner < unit + count; inner++) {
          if (inner > unit && units[inner * 4 + HEAD] !== 0) throw corrupt(inner, "it is inside a run and has a head");
          const tail = isFree && inner === unit + count - 1 ? count : 0;
          if (units[inner * 4 + TAIL] !== tail) throw corrupt(inner, `its tail is not ${tail}`);
        }
        if (isFree && touches) throw corrupt(unit, "two free runs touch");
        if (this.kindAt(unit) === PAGE_RUN && (count !== 16 || unit % 16 !== 0)) {
          throw corrupt(unit, "its run is no page");
        }
        if (isFree) {
          free.set(unit, count);
          freeUnits += count;
        }
        touches = isFree;
        unit += count;
      }
    }
    if (freeUnits !== this.freeUnits) throw corrupt(0, `${freeUnits} units are free, ${this.freeUnits} are counted`);
    for (let bin = 0; bin < BIN_COUNT; bin++) {
      const occupied = (control[OCCUPIED + (bin >>> 5)]! & (1 << (bin & 31))) !== 0;
      if (occupied !== (control[BINS + bin] !== 0)) throw corrupt(0, `the bit of bin ${bin} is wrong`);
      let prev = 0;
      for (let link = control[BINS + bin]!; link !== 0; link = units[(link - 1) * 4 + NEXT]!) {
        const count = free.get(link - 1) ?? 0;
        if (count === 0 || binOf(count) !== bin) throw corrupt(link - 1, `it is in bin ${bin} and should not be`);
        if (units[(link - 1) * 4 + PREV] !== prev) throw corrupt(link - 1, `its back link in bin ${bin} is wrong`);
        free.delete(link - 1);
        prev = link;
      }
    }
    if (free.size > 0) throw corrupt([...free.keys()][0]!, "it is free but in no bin");
  }
}

function corrupt(unit: number, what: string): CorruptionError {
  return new CorruptionError(`Cannot trust unit ${unit}: ${what}`);
}
