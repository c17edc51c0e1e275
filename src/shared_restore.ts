/**
 * Making a page whole whose owner is gone.
 *
 * An owner that is terminated can have left a slot in no list, or a count that is one off. The links tell which slots are live,
 * the bitmap tells which of those others have freed, and everything else follows. The same is done with the pages of workers
 * that detached in good order: one way, always taken, is better than two.
 *
 * @module
 */
import { EXTENDED, LINKS, linkWithOwned, LIVE, ONE_USED, OWNED, STATE } from "./page_table.ts";
import { HELD } from "./shared_layout.ts";
import { acknowledgeNews, collectSlots } from "./shared_remote.ts";
import type { SharedTables } from "./shared_tables.ts";

/**
 * Restores a page that belongs to the caller: by adoption, or as it is abandoned and the caller holds the lock. It is in no
 * list afterwards, nobody's current one, and not marked as full.
 *
 * @returns Its count of live slots.
 */
export function restorePage(tables: SharedTables, page: number): number {
  const { pages, links } = tables;
  const base = pages[page + LINKS]!;
  acknowledgeNews(tables, page);
  // What was freed by others is free now; a bit of a slot that is not live is a free that was counted already.
  collectSlots(tables, page, (slot) => {
    links[base + slot] = 0;
  });
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
