/**
 * The programs of the model in shared_model.test.ts: those of src/ with the arithmetic left out, for one page of three slots. Each
 * access to what others can see is one step. What corresponds to what:
 *
 * ```text
 *   here                      there
 *   link0 .. link2             links[LINKS + slot]: 1 is LIVE, 0 is free
 *   bits                      the one word of the page's bitmap, with ANNOUNCED
 *   owner                     OWNER of the page, with NEWS
 *   dirty                     its bit among the dirty ones
 *   collecting                COLLECTING of the page, in models in which somebody restores it
 *   signal1, signal2          SIGNAL of attachments 1 and 2
 *   lock                      LOCK
 *   Owner.list                the free list: STATE and the links of free slots, which nobody else reads
 *   freeRemotely, raise       freeRemotely and announce, raiseNews in shared_remote.ts
 *   Owner.collect             collect in shared_pages.ts, acknowledgeNews
 *   Owner.free, allocate      the fast paths of shared_heap.ts
 *   reap, adopt               keepRun in shared_rebuild.ts, takePage
 *   Owner.restore             restorePage and collectPage
 * ```
 *
 * @module
 */
import type { Cells, Memory, Step } from "./explorer.ts";

/** A program, or a part of one. */
export type Steps<T> = Generator<Step, T>;

/** Ways to be wrong. */
export type Flaw =
  | "looks again after its bit"
  | "clears NEWS before the dirty bit"
  | "clears NEWS after looking at the bits"
  | "does not look for news before a free"
  | "takes the link for enough"
  | "reaper raises nothing"
  | "marks a word before it tells"
  | "marks a word without its bit"
  | "forgets what came while it collected"
  | "takes a bit of a free slot for collected"
  | "takes a bit of a free slot for a double free";

/** As in shared_layout.ts, but for less. */
const ANNOUNCED = 8;
export const SLOT_BITS = 7;
export const NEWS = 4;
export const OWNER_MASK = 3;

export const SLOTS = [0, 1, 2];

/** A page whose slots are live where `live` says so, of attachment 1. */
export function page(live: readonly number[]): Cells {
  return {
    link0: live[0]!,
    link1: live[1]!,
    link2: live[2] ?? 0,
    bits: 0,
    dirty: 0,
    signal1: 0,
    signal2: 0,
    owner: 1,
    lock: 0,
    go: 0,
  };
}

/** Frees a slot of somebody else's page; whether it was live. */
export function* freeRemotely(m: Memory, slot: number, flaw?: Flaw): Steps<boolean> {
  const bit = 1 << slot;
  if ((yield* m.load(`link${slot}`)) === 0) return false;
  const old = yield* m.or("bits", flaw === "marks a word before it tells" ? bit | ANNOUNCED : bit);
  if ((old & bit) !== 0 && flaw !== "takes the link for enough") return false;
  if (flaw === "looks again after its bit" && (yield* m.load(`link${slot}`)) === 0) {
    yield* m.and("bits", ~bit);
    return false;
  }
  if ((old & ANNOUNCED) !== 0) return true;
  yield* raise(m);
  if (flaw === "marks a word without its bit") yield* m.or("bits", ANNOUNCED);
  else if (flaw !== "marks a word before it tells") {
    const seen = yield* m.load("bits");
    if ((seen & bit) !== 0) yield* m.compareExchange("bits", seen, seen | ANNOUNCED);
  }
  return true;
}

function* raise(m: Memory, again = false): Steps<void> {
  const old = yield* m.or("owner", NEWS);
  if ((old & NEWS) !== 0 && !again) return;
  yield* m.or("dirty", 1);
  const owner = old & OWNER_MASK;
  if (owner !== 0) yield* m.store(`signal${owner}`, 1);
}

/** The owner of the page, as attachment `number`. */
export class Owner {
  /** Free slots, last freed first. */
  list: number[];
  /** Double frees found while collecting. */
  doubles = 0;
  readonly #m: Memory;
  readonly #number: number;
  readonly #flaw: Flaw | undefined;

  constructor(m: Memory, number: number, list: number[], flaw?: Flaw) {
    this.#m = m;
    this.#number = number;
    this.list = list;
    this.#flaw = flaw;
  }

  /** Takes a slot; -1 when there is none. */
  *allocate(): Steps<number> {
    const m = this.#m;
    for (;;) {
      const slot = this.list.at(-1);
      if (slot === undefined) {
        yield* this.collectNews();
        if (this.list.length === 0) return -1;
        continue;
      }
      if ((yield* m.load("owner")) !== this.#number && ((yield* m.load("bits")) & (1 << slot)) !== 0) {
        yield* this.collect();
        continue;
      }
      this.list.pop();
      yield* m.store(`link${slot}`, 1);
      return slot;
    }
  }

  /** Frees a slot; whether it was live. */
  *free(slot: number): Steps<boolean> {
    const m = this.#m;
    if ((yield* m.load(`link${slot}`)) === 0) return false;
    const looks = this.#flaw !== "does not look for news before a free";
    const hasNews = looks && (yield* m.load("owner")) !== this.#number;
    if (hasNews && ((yield* m.load("bits")) & (1 << slot)) !== 0) return false;
    yield* m.store(`link${slot}`, 0);
    this.list.push(slot);
    return true;
  }

  /** Collects if the signal says that there is something. */
  *collectNews(): Steps<void> {
    const m = this.#m;
    if ((yield* m.load(`signal${this.#number}`)) === 0) return;
    yield* m.store(`signal${this.#number}`, 0);
    if ((yield* m.load("dirty")) !== 0) yield* this.collect();
  }

  *collect(): Steps<void> {
    const m = this.#m;
    const late = this.#flaw === "clears NEWS after looking at the bits";
    if (this.#flaw === "clears NEWS before the dirty bit") yield* m.and("owner", OWNER_MASK);
    yield* m.and("dirty", 0);
    if (this.#flaw !== "clears NEWS before the dirty bit" && !late) yield* m.and("owner", OWNER_MASK);
    // Left out where nobody reads it: two steps more are a third more states.
    const says = "collecting" in m.cells;
    if (says) yield* m.store("collecting", 1);
    let seen = yield* m.load("bits");
    if (late) yield* m.and("owner", OWNER_MASK);
    while (seen !== 0) {
      for (const slot of SLOTS) {
        if ((seen & (1 << slot)) === 0) continue;
        if ((yield* m.load(`link${slot}`)) === 0) this.doubles++;
        else {
          yield* m.store(`link${slot}`, 0);
          this.list.push(slot);
        }
      }
      seen = yield* this.#clear(seen);
    }
    if (says) yield* m.store("collecting", 0);
  }

  /** Clears the bits that were seen; what has come since. */
  *#clear(seen: number): Steps<number> {
    const clear = ~(seen | ANNOUNCED);
    const left = (yield* this.#m.and("bits", clear)) & clear;
    return this.#flaw === "forgets what came while it collected" ? 0 : left;
  }

  /** Makes the list anew: what an adopter does with a page whatever its owner left. */
  *restore(): Steps<void> {
    const m = this.#m;
    let isSure = (yield* m.load("collecting")) === 0;
    if (this.#flaw === "takes a bit of a free slot for collected") isSure = false;
    if (this.#flaw === "takes a bit of a free slot for a double free") isSure = true;
    yield* m.and("dirty", 0);
    yield* m.and("owner", OWNER_MASK);
    yield* m.store("collecting", 1);
    for (let seen = yield* m.load("bits"); seen !== 0; seen = yield* this.#clear(seen)) {
      for (const slot of SLOTS) {
        if ((seen & (1 << slot)) === 0) continue;
        if ((yield* m.load(`link${slot}`)) !== 0) yield* m.store(`link${slot}`, 0);
        else if (isSure) this.doubles++;
      }
    }
    yield* m.store("collecting", 0);
    this.list = [];
    for (const slot of SLOTS) if ((yield* m.load(`link${slot}`)) === 0) this.list.push(slot);
  }
}

/** Under the lock: what is done for an owner that is gone. */
export function* reap(m: Memory, gone: number, flaw?: Flaw): Steps<void> {
  yield* m.acquire("lock");
  if (((yield* m.load("owner")) & OWNER_MASK) === gone) yield* m.store("owner", 0);
  if (flaw !== "reaper raises nothing" && (yield* m.load("bits")) !== 0) yield* raise(m, true);
  yield* m.store("lock", 0);
}

/** Takes the page when it is abandoned; whether it was. */
export function* adopt(m: Memory, number: number): Steps<boolean> {
  yield* m.acquire("lock");
  const isFree = ((yield* m.load("owner")) & OWNER_MASK) === 0;
  if (isFree) yield* m.store("owner", number);
  yield* m.store("lock", 0);
  return isFree;
}
