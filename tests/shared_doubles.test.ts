/**
 * Double frees by two workers at once, which nobody can refuse: each is reported exactly once, by whoever collects it. The moment
 * is brought about in one thread: `Atomics.or`, by which a free of another's block claims it, first does what the others do
 * meanwhile.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import { type Address, DisposedError, InvalidFreeError, setViolationHook, SharedHeap } from "../mod.ts";
import { createAttachment, joinAttachment } from "../src/shared_attachment.ts";
import { DIRTY_WORDS } from "../src/shared_layout.ts";
import { freeLate } from "./shared/free_late.ts";
import { MortalPlatform } from "./shared/mortal_platform.ts";
import { pair, RESERVE } from "./shared/pair.ts";

const SIZES = [16, 300, 16_000];

/** The blocks that are reported during `call`, which goes on. */
function reportsOf(call: () => unknown): Address[] {
  const reported: Address[] = [];
  const previous = setViolationHook((violation) => {
    if (!(violation instanceof InvalidFreeError) || violation.kind !== "double") throw violation;
    reported.push(violation.address);
  });
  try {
    call();
  } finally {
    setViolationHook(previous);
  }
  return reported;
}

/** Everything that could report still more does not. */
function assertNoMore(...heaps: readonly SharedHeap[]): void {
  const more = reportsOf(() => {
    for (const heap of heaps) {
      for (const size of SIZES) heap.free(heap.allocate(size));
      heap.trim();
      heap.check();
    }
    for (const heap of heaps) heap.detach();
  });
  assertEquals(more, []);
}

describe("a block that its owner and another worker free at once", () => {
  for (const finder of ["allocate", "trim", "detach"] as const) {
    it(`is reported by its owner's ${finder}`, () => {
      for (const size of SIZES) {
        const [owner, other] = pair();
        owner.allocate(size);
        const block = owner.allocate(size);
        freeLate(other, block, () => owner.free(block));
        assertEquals(reportsOf(() => owner[finder](size)), [block], `${size} bytes`);
        if (finder !== "detach") assertEquals(owner.stats().liveBlocks, finder === "allocate" ? 2 : 1);
        assertNoMore(...finder === "detach" ? [other] : [owner, other]);
      }
    });
  }

  it("is reported by its owner's allocate at an alignment, and not given out before", () => {
    for (const alignment of [32, 128, 1024]) {
      const [owner, other] = pair();
      owner.allocate(1000, alignment);
      const block = owner.allocate(1000, alignment);
      freeLate(other, block, () => owner.free(block));
      const error = assertThrows(() => owner.allocate(1000, alignment), InvalidFreeError, "at the same moment");
      assertEquals([error.kind, error.address, owner.stats().liveBlocks], ["double", block, 1]);
      assertEquals(owner.allocate(1000, alignment), block);
      // More than its page has: others follow, and every block is aligned.
      const blocks = Array.from({ length: 200 }, () => owner.allocate(1000, alignment));
      assert(blocks.every((address) => address % alignment === 0 && owner.usableSize(address) === 1024));
      assertNoMore(owner, other);
    }
  });

  const handedBack: Readonly<Record<string, (owner: SharedHeap, other: SharedHeap, size: number) => unknown>> = {
    "the owner trims": (owner) => owner.trim(),
    "another trims": (_owner, other) => other.trim(),
    "it becomes a page again": (_owner, other, size) => other.allocate(size),
    "it becomes a page of another class": (_owner, other, size) => other.allocate(size * 0.5),
    "a large block has taken its place, and somebody trims": (owner, other) => (owner.allocate(100_000), other.trim()),
    "the last attachment goes": (owner, other) => (other.detach(), owner.detach()),
  };
  for (const [finder, find] of Object.entries(handedBack)) {
    it(`is reported when its page was handed back and ${finder}`, () => {
      for (const size of SIZES) {
        const [owner, other] = pair();
        const block = owner.allocate(size);
        const later = owner.allocate(size);
        freeLate(other, later, () => {
          owner.free(block);
          owner.free(later);
          owner.trim();
        });
        assertEquals(reportsOf(() => find(owner, other, size)), [later], `${size} bytes`);
        if (finder !== "the last attachment goes") assertNoMore(owner, other);
      }
    });
  }

  const abandoned: Readonly<Record<string, (other: SharedHeap, size: number) => unknown>> = {
    "its page is adopted": (other, size) => other.allocate(size),
    "somebody trims": (other) => other.trim(),
    "the last attachment goes": (other) => other.detach(),
  };
  for (const [finder, find] of Object.entries(abandoned)) {
    it(`is reported when its owner has detached and ${finder}`, () => {
      for (const size of SIZES) {
        for (const keeps of [true, false]) {
          const [owner, other] = pair();
          if (keeps) {
            owner.allocate(size);
            // That there was a collection which came to its end makes no difference.
            other.free(owner.allocate(size));
            owner.trim();
          }
          const block = owner.allocate(size);
          freeLate(other, block, () => {
            owner.free(block);
            owner.detach();
          });
          assertEquals(reportsOf(() => find(other, size)), [block], `${size} bytes`);
          if (finder !== "the last attachment goes") assertNoMore(other);
        }
      }
    });
  }

  it("is reported when its owner was terminated", () => {
    for (const size of SIZES) {
      const { platform, gone } = new MortalPlatform();
      const dead = new SharedHeap(createAttachment(platform.source, platform, RESERVE));
      const heap = new SharedHeap(joinAttachment(dead.handle, platform));
      dead.allocate(size);
      const block = dead.allocate(size);
      freeLate(heap, block, () => dead.free(block));
      gone.add(1);
      assertEquals(reportsOf(() => heap.trim()), [block], `${size} bytes`);
      assertEquals(heap.stats().liveBlocks, 1);
      assertNoMore(heap);
    }
  });

  it("is reported by its owner's next allocation when the page was handed back with others", () => {
    const [owner, other] = pair();
    const blocks = Array.from({ length: 100 }, () => owner.allocate(16_000));
    freeLate(other, blocks[0]!, () => owner.free(blocks[0]!));
    // More idle pages than an attachment keeps.
    for (const block of blocks.slice(1)) owner.free(block);
    // A large block, as a page could come to the same place.
    assertEquals(reportsOf(() => owner.allocate(100_000)), [blocks[0]]);
    assertNoMore(owner, other);
  });

  it("is thrown by detach with all others, and the heap has ended", () => {
    const [owner, other] = pair();
    const blocks = SIZES.map((size) => owner.allocate(size));
    for (const block of blocks) freeLate(other, block, () => owner.free(block));
    const reported: Address[] = [];
    const previous = setViolationHook((violation) => {
      reported.push((violation as InvalidFreeError).address);
      throw violation;
    });
    try {
      const error = assertThrows(() => owner.detach(), InvalidFreeError, "at the same moment");
      assertEquals([error.kind, error.address], ["double", reported[0]]);
    } finally {
      setViolationHook(previous);
    }
    assertEquals(reported.sort(), blocks.sort());
    assertThrows(() => owner.allocate(1), DisposedError);
    owner.detach();
    assertEquals(other.attachments, 1);
    assertNoMore(other);
  });
});

describe("bits that are no double frees, or of which nobody can say so", () => {
  it("are not reported when an owner was terminated between freeing their slots and clearing them", () => {
    const { platform, gone } = new MortalPlatform();
    const dead = new SharedHeap(createAttachment(platform.source, platform, RESERVE));
    const heap = new SharedHeap(joinAttachment(dead.handle, platform));
    const other = new SharedHeap(joinAttachment(dead.handle, platform));
    const [kept, ...blocks] = Array.from({ length: 3 }, () => dead.allocate(300));
    for (const block of blocks) heap.free(block);
    const { and } = Atomics;
    class Terminated extends Error {}
    Object.assign(Atomics, {
      and(...args: Parameters<typeof and>) {
        if (args[1] >= DIRTY_WORDS && args[0].length > DIRTY_WORDS) throw new Terminated();
        return and.apply(Atomics, args);
      },
    });
    try {
      assertThrows(() => dead.trim(), Terminated);
    } finally {
      Object.assign(Atomics, { and });
    }
    gone.add(1);
    assertEquals(reportsOf(() => heap.trim()), []);
    assertEquals([...heap.blocks()].map(({ address }) => address), [kept]);
    // And what is freed twice after that is reported again, though the page loses its owner once more.
    const block = heap.allocate(300);
    assert(Math.abs(block - kept!) < 65_536, "the page was not adopted");
    freeLate(other, block, () => {
      heap.free(block);
      heap.detach();
    });
    assertEquals(reportsOf(() => other.trim()), [block]);
    assertNoMore(other);
  });

  it("harm nothing where the page has another class with fewer slots, and are reported when it is one again", () => {
    const [owner, other] = pair();
    const blocks = Array.from({ length: 4000 }, () => owner.allocate(16));
    const start = blocks[0]! - blocks[0]! % 65_536;
    let larger = 0;
    freeLate(other, blocks.at(-1)!, () => {
      for (const block of blocks) owner.free(block);
      owner.trim();
      larger = owner.allocate(16_000);
    });
    assertEquals(larger - larger % 65_536, start);
    const before = reportsOf(() => {
      owner.check();
      const more = Array.from({ length: 20 }, () => owner.allocate(16_000));
      for (const block of more) owner.free(block);
    });
    assertEquals(before, []);
    assertEquals(owner.stats().liveBlocks, 1);
    owner.free(larger);
    // Which block it was can no longer be said: the page stands for it.
    assertEquals(reportsOf(() => (owner.trim(), owner.allocate(16))), [start]);
    assertNoMore(owner, other);
  });
});

describe("a block that another worker frees while a call is at work on it", () => {
  /** Has the next `allocate` of `heap` happen before, or after, what others do meanwhile. */
  function duringAllocate(heap: SharedHeap, meanwhile: { before?: () => void; after?: () => void }): Address[] {
    const given: Address[] = [];
    heap.allocate = (size, alignment) => {
      Reflect.deleteProperty(heap, "allocate");
      meanwhile.before?.();
      given.push(heap.allocate(size, alignment));
      meanwhile.after?.();
      return given[0]!;
    };
    return given;
  }

  for (const [size, next] of [[100, 900], [40_000, 300_000]] as const) {
    it(`is not moved, and its new place of ${next} bytes is free again`, () => {
      const [owner, other] = pair();
      const block = owner.allocate(size);
      // Or a large block grew where it is.
      const behind = owner.allocate(size);
      const given = duringAllocate(other, { after: () => owner.free(block) });
      const error = assertThrows(() => other.reallocate(block, next), InvalidFreeError);
      assertEquals([error.kind, given.length, other.owns(given[0]!)], ["double", 1, false]);
      assertEquals(owner.stats().liveBlocks, 1);
      // With a hook that goes on as well.
      const again = owner.allocate(size);
      duringAllocate(other, { after: () => owner.free(again) });
      assertEquals(reportsOf(() => assertThrows(() => other.reallocate(again, next), InvalidFreeError)), [again]);
      assertEquals(owner.stats().liveBlocks, 1);
      owner.free(behind);
      assertNoMore(owner, other);
    });
  }

  it("is not moved to its own place, which is free then", () => {
    const [owner, other] = pair();
    const block = owner.allocate(400_000);
    const given = duringAllocate(owner, { before: () => other.free(block) });
    assertThrows(() => owner.reallocate(block, 100_000), InvalidFreeError);
    assertEquals(given, [block]);
    assertEquals([owner.owns(block), owner.stats().liveBlocks], [false, 0]);
    assertNoMore(owner, other);
  });

  it("has neither size nor alignment, whatever asks", () => {
    const platform = systemSharedPlatform();
    const owner = SharedHeap.create({ reserve: RESERVE });
    const attachment = joinAttachment(owner.handle, platform);
    const other = new SharedHeap(attachment);
    const { tables } = attachment.space;
    const calls: Record<string, (block: Address) => unknown> = {
      usableSize: (block) => other.usableSize(block),
      view: (block) => other.view(block),
      viewOfSome: (block) => other.view(block, 8),
      resize: (block) => other.resize(block, 290),
      reallocate: (block) => other.reallocate(block, 5000),
      free: (block) => other.free(block),
    };
    owner.allocate(300);
    const { links } = (other.check(), tables);
    for (const [name, call] of Object.entries(calls)) {
      const block = owner.allocate(300);
      let freed = false;
      // Seen as live once; then its owner frees it.
      tables.links = new Proxy(links, {
        get(target, key) {
          const value = Reflect.get(target, key, target) as unknown;
          if (typeof value === "function") return value.bind(target);
          if (!freed && typeof value === "number" && key !== "length" && value >= 4096) {
            freed = true;
            owner.free(block);
          }
          return value;
        },
      });
      try {
        const error = assertThrows(() => call(block), InvalidFreeError, undefined, name);
        assertEquals([error.kind, freed], ["double", true], name);
      } finally {
        tables.links = links;
      }
      assertEquals(owner.stats().liveBlocks, 1, name);
    }
    assertNoMore(other, owner);
  });
});
