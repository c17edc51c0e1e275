/**
 * A budget around a page source: what counts, over a source where reserving is free and over one where it is not, and
 * beside a model.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { OutOfMemoryError } from "../src/errors.ts";
import { failingPageSource } from "../src/failing_page_source.ts";
import { fixedPageSource } from "../src/fixed_page_source.ts";
import { limitedPageSource } from "../src/limited_page_source.ts";
import type { PageSource } from "../src/page_source.ts";
import { lazySource } from "./fixtures/ffi_lazy_source.ts";
import { Prng } from "./support/prng.ts";

const PAGE = 4096;

function limitedFixed(pages: number, limitPages: number): ReturnType<typeof limitedPageSource> {
  return limitedPageSource(fixedPageSource(new ArrayBuffer(pages * PAGE)), limitPages * PAGE);
}

describe("limitedPageSource() over a lazy source", () => {
  it("counts committed bytes, is exact at the boundary, and tells the figures", () => {
    const source = limitedPageSource(lazySource(), 4 * PAGE);
    assertEquals(source.limit, 4 * PAGE);
    assertEquals(source.name, "limited invented");
    const address = source.reserve(2 ** 35, 2 ** 30); // address space is free
    assertEquals(source.committedBytes, 0);
    source.commit(address, 3 * PAGE);
    const error = assertThrows(() => source.commit(address + 8 * PAGE, 2 * PAGE), OutOfMemoryError);
    assertEquals(error.requested, 2 * PAGE);
    assertEquals(error.limit, 4 * PAGE);
    assertEquals(error.message, "Cannot commit 8192 bytes: 12288 of the limit of 16384 bytes are in use");
    assertEquals(source.committedBytes, 3 * PAGE);
    source.commit(address + 8 * PAGE, PAGE);
    assertEquals(source.committedBytes, 4 * PAGE);
    assertThrows(() => source.commit(address + 9 * PAGE, PAGE), OutOfMemoryError);
  });

  it("a page that is committed twice counts once", () => {
    const source = limitedPageSource(lazySource(), 4 * PAGE);
    const address = source.reserve(16 * PAGE, 1);
    source.commit(address, 2 * PAGE);
    source.commit(address, 2 * PAGE);
    source.commit(address + PAGE, 3 * PAGE);
    assertEquals(source.committedBytes, 4 * PAGE);
  });

  it("decommit() gives the budget back, for what was committed and no more", () => {
    const source = limitedPageSource(lazySource(), 4 * PAGE);
    const address = source.reserve(16 * PAGE, 1);
    source.commit(address, 4 * PAGE);
    source.decommit(address + PAGE, 2 * PAGE);
    assertEquals(source.committedBytes, 2 * PAGE);
    source.decommit(address, 16 * PAGE);
    source.decommit(address, 16 * PAGE);
    assertEquals(source.committedBytes, 0);
    source.commit(address, 4 * PAGE);
  });

  it("unmap() of a partly committed reservation gives back exactly its committed bytes", () => {
    const source = limitedPageSource(lazySource(), 8 * PAGE);
    const [a, b] = [source.reserve(16 * PAGE, 1), source.reserve(16 * PAGE, 1)];
    source.commit(a, PAGE);
    source.commit(a + 4 * PAGE, 2 * PAGE);
    source.commit(b, 3 * PAGE);
    source.unmap(a, 16 * PAGE);
    assertEquals(source.committedBytes, 3 * PAGE);
    source.unmap(b, 16 * PAGE);
    assertEquals(source.committedBytes, 0);
  });

  it("discard(), protect() and wrap() cost nothing", () => {
    const source = limitedPageSource(lazySource(), PAGE);
    const address = source.reserve(PAGE, 1);
    source.commit(address, PAGE);
    source.discard(address, PAGE);
    source.protect(address, PAGE, "read-write");
    const bytes = source.wrap(address, PAGE);
    assertEquals(bytes.length, PAGE);
    assertEquals(source.toPointer(address), address);
    source.unwrap(bytes);
    assertEquals(bytes.length, 0);
    assertEquals(source.committedBytes, PAGE);
  });
});

describe("limitedPageSource() over a fixed buffer", () => {
  it("counts reserved bytes, once: committing them costs nothing more", () => {
    const source = limitedFixed(8, 4);
    const address = source.reserve(4 * PAGE, 1);
    assertEquals(source.committedBytes, 4 * PAGE);
    source.commit(address, 4 * PAGE);
    assertEquals(source.committedBytes, 4 * PAGE);
    source.decommit(address, 4 * PAGE);
    assertEquals(source.committedBytes, 4 * PAGE);
    const error = assertThrows(() => source.reserve(PAGE, 1), OutOfMemoryError);
    assertEquals([error.requested, error.limit], [PAGE, 4 * PAGE]);
    source.unmap(address, 4 * PAGE);
    assertEquals(source.committedBytes, 0);
    source.reserve(4 * PAGE, 1);
  });

  it("the buffer's own end is reported by the buffer, and spends nothing", () => {
    const source = limitedFixed(2, 100);
    assertThrows(() => source.reserve(3 * PAGE, 1), OutOfMemoryError, "the buffer of 8192 bytes");
    assertEquals(source.committedBytes, 0);
    source.reserve(2 * PAGE, 1);
    assertEquals(source.committedBytes, 2 * PAGE);
  });
});

describe("limitedPageSource()", () => {
  it("a request that the inner source refuses changes no figure", () => {
    const inner = failingPageSource(lazySource(), Infinity, {
      operations: ["reserve", "commit", "decommit", "unmap"],
    });
    const source = limitedPageSource(inner, 4 * PAGE);
    const address = source.reserve(8 * PAGE, 1);
    source.commit(address, 2 * PAGE);
    inner.rearm(0);
    assertThrows(() => source.commit(address + 2 * PAGE, PAGE), OutOfMemoryError, "on purpose");
    assertThrows(() => source.decommit(address, PAGE), OutOfMemoryError, "on purpose");
    assertThrows(() => source.unmap(address, 8 * PAGE), OutOfMemoryError, "on purpose");
    assertEquals(source.committedBytes, 2 * PAGE);
    inner.rearm(Infinity);
    source.unmap(address, 8 * PAGE);
    assertEquals(source.committedBytes, 0);
  });

  it("a request above the limit does not reach the inner source", () => {
    const inner = failingPageSource(lazySource(), Infinity);
    const source = limitedPageSource(inner, PAGE);
    const address = source.reserve(2 * PAGE, 1);
    assertEquals(inner.requests, 1);
    assertThrows(() => source.commit(address, 2 * PAGE), OutOfMemoryError);
    assertEquals(inner.requests, 1);
  });

  it("a limit of 0 allows nothing and Infinity everything; others must be whole numbers of bytes", () => {
    const none = limitedPageSource(lazySource(), 0);
    const address = none.reserve(PAGE, 1);
    assertThrows(() => none.commit(address, PAGE), OutOfMemoryError);
    const all = limitedPageSource(lazySource(), Infinity);
    all.commit(all.reserve(2 ** 40, 1), 2 ** 40);
    assertEquals(all.committedBytes, 2 ** 40);
    for (const bad of [-1, 1.5, NaN, -Infinity]) {
      assertThrows(() => limitedPageSource(lazySource(), bad), RangeError, `${bad}`);
    }
    assertThrows(() => limitedPageSource(lazySource(), "1" as unknown as number), TypeError);
  });

  it("wrong sizes are the inner source's RangeError, before the budget is looked at", () => {
    for (const source of [limitedFixed(4, 1), limitedPageSource(fixedPageSource(new ArrayBuffer(PAGE)), 0)]) {
      assertThrows(() => source.reserve(-1, 1), RangeError, "-1");
      assertThrows(() => source.reserve(NaN, 1), RangeError, "NaN");
    }
    const lazy = limitedPageSource(lazySource(), PAGE);
    const address = lazy.reserve(PAGE, 1);
    for (const bad of [-PAGE, NaN, 1.5]) assertThrows(() => lazy.commit(address, bad), RangeError, `${bad}`);
    assertEquals(lazy.committedBytes, 0);
  });

  it("wraps a source that is an instance of a class", () => {
    class Counting {
      readonly name = "class";
      readonly pageSize = PAGE;
      readonly granularity = PAGE;
      readonly maxWrapBytes = 2 ** 20;
      readonly lazy = true;
      readonly isolating = true;
      #next = 2 ** 20;
      reserve(byteLength: number): number {
        this.#next += byteLength;
        return this.#next - byteLength;
      }
      commit(): void {}
      decommit(): void {}
      discard(): void {}
      protect(): void {}
      unmap(): void {}
      wrap(_address: number, byteLength: number): Uint8Array<ArrayBuffer> {
        return new Uint8Array(byteLength);
      }
      unwrap(): void {}
      toPointer(address: number): number {
        return address + this.#next * 0;
      }
    }
    const inner: PageSource = new Counting();
    for (const source of [limitedPageSource(inner, 8 * PAGE), failingPageSource(inner, 100)]) {
      const address = source.reserve(PAGE, 1);
      source.commit(address, PAGE);
      assertEquals(source.wrap(address, PAGE).length, PAGE);
      assertEquals(source.toPointer(address), address);
      source.discard(address, PAGE);
      source.protect(address, PAGE, "read");
      source.decommit(address, PAGE);
      source.unmap(address, PAGE);
      assertEquals(source.pageSize, PAGE);
      assertEquals(source.maxWrapBytes, 2 ** 20);
    }
  });

  it("agrees with a model over random commits, decommits and unmaps", () => {
    const random = new Prng(99);
    const limitPages = 40;
    const source = limitedPageSource(lazySource(), limitPages * PAGE);
    const reservations = [0, 1, 2, 3].map(() => ({ address: source.reserve(16 * PAGE, 1), pages: new Uint8Array(16) }));
    const total = (): number =>
      reservations.reduce((sum, { pages }) => sum + pages.reduce((count, page) => count + page, 0), 0);
    for (let step = 0; step < 5000; step++) {
      const reservation = reservations[random.below(4)] as { address: number; pages: Uint8Array };
      const first = random.below(16);
      const count = 1 + random.below(16 - first);
      const range = reservation.pages.subarray(first, first + count);
      const address = reservation.address + first * PAGE;
      const action = random.below(20);
      if (action < 10) {
        const fresh = range.filter((page) => page === 0).length;
        const before = total();
        if (before + fresh > limitPages) {
          assertThrows(() => source.commit(address, count * PAGE), OutOfMemoryError);
        } else {
          source.commit(address, count * PAGE);
          range.fill(1);
        }
      } else if (action < 19) {
        source.decommit(address, count * PAGE);
        range.fill(0);
      } else {
        source.unmap(reservation.address, 16 * PAGE);
        reservation.address = source.reserve(16 * PAGE, 1);
        reservation.pages.fill(0);
      }
      assertEquals(source.committedBytes, total() * PAGE, `step ${step}`);
    }
    assert(total() <= limitPages);
  });
});
