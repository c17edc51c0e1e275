/**
 * Making a page whole whose owner is gone, and finding what came when it had gone.
 *
 * An owner that is terminated can have left a slot in no list, or a count that is one off. The links tell which slots are live,
 * the bitmap tells which of those others have freed, and everything else follows. The same is done with the pages of workers
 * that detached in good order: one way, always taken, is better than two.
 *
 * @module
 */
import { EXTENDED, LINKS, linkWithOwned, LIVE, ONE_USED, OWNED, SHAPE, STATE } from "./page_table.ts";
import { HELD, OWNER, OWNER_MASK } from "./shared_layout.ts";
import { collectLate, collectPage, visitDirty } from "./shared_remote.ts";
import type { SharedTables } from "./shared_tables.ts";

/**
 * Restores a page that belongs to the caller: by adoption, or as it is abandoned and the caller holds the lock. It is in no
 * list afterwards, nobody's current one, and not marked as full.
 *
 * @param doubles Gets the granules of blocks that turn out to have been freed twice.
 * @returns Its count of live slots.
 */
export function restorePage(tables: SharedTables, page: number, doubles: number[]): number {
  const { pages, links } = tables;
  const base = pages[page + LINKS]!;
  collectPage(tables, page, doubles);
  let free = 0;
  let live = 0;
  for (let slot = pages[page + EXTENDED]! - 1; slot >= 0; slot--) {
    const link = links[base + slot]!;
    if (link >= LIVE) {
      live++;
      // The NativeBuffer is gone with the worker that had it.
      if (link >= OWNED) links[base + slot] = linkWithOwned(link, false);
    } else {
      links[base + slot] = free;
      free = slot + 1;
    }
  }
  pages[page + HELD] = 0;
  pages[page + STATE] = live * ONE_USED + free;
  return live;
}

/**
 * Under the lock: collects what others have freed in pages that nobody owns, and in places that are no pages any more. Time in
 * the number of pages, and of slots of pages with news.
 */
export function collectUnowned(tables: SharedTables, doubles: number[]): void {
  const { pages } = tables;
  visitDirty(tables, (page) => {
    if ((pages[page + OWNER]! & OWNER_MASK) !== 0) return;
    if (pages[page + SHAPE] === 0) collectLate(tables, page, doubles);
    else restorePage(tables, page, doubles);
  });
}
