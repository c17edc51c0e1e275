/**
 * Random placement: free lists of pages of small blocks whose order cannot be foreseen.
 *
 * A page that is new gets all its slots at once, in random order; a slot that is freed goes to a random place near the
 * front of its page's list. What takes a slot from the front of the list is the same as without.
 *
 * Links and records are those of page_table.ts.
 *
 * @module
 */
import { CAPACITY, EXTENDED, LINKS, STATE } from "./page_table.ts";
import type { RandomNumbers } from "./random_numbers.ts";

/** A freed slot becomes one of so many first of its page's free list. */
const RANDOM_DEPTH = 16;

/**
 * The index of the link after which a freed slot goes into the free list that begins with `free`, in the page whose links
 * begin at `base`; -1 for its front.
 */
export function randomPlace(links: Uint16Array, base: number, free: number, random: RandomNumbers): number {
  let before = -1;
  for (let left = random.below(RANDOM_DEPTH), link = free; left > 0 && link !== 0; left--) {
    before = base + link - 1;
    link = links[before]!;
  }
  return before;
}

/**
 * Puts all slots of a page that was never used into its free list, every order as likely as any other: exchanging each
 * link with one of a lower slot leaves the slots in one random cycle, which is cut at a random place.
 */
export function extendAtRandom(pages: Int32Array, links: Uint16Array, page: number, random: RandomNumbers): void {
  const capacity = pages[page + CAPACITY]!;
  const base = pages[page + LINKS]!;
  for (let slot = 0; slot < capacity; slot++) links[base + slot] = slot + 1;
  for (let slot = capacity - 1; slot > 0; slot--) {
    const other = base + random.below(slot);
    const link = links[other]!;
    links[other] = links[base + slot]!;
    links[base + slot] = link;
  }
  const last = base + random.below(capacity);
  pages[page + STATE] = pages[page + STATE]! + links[last]!;
  links[last] = 0;
  pages[page + EXTENDED] = capacity;
}
