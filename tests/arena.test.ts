/**
 * What `Arena` does beyond the contract: K2, K4, K7 and K8 of the catalogue. Marks and scopes, K3, are in
 * arena_marks.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  Arena,
  DisposedError,
  fixedPageSource,
  InvalidFreeError,
  limitedPageSource,
  OutOfMemoryError,
  systemPageSource,
  UseAfterFreeError,
} from "../mod.ts";
import { allocateRound, recordedArena } from "./support/arenas.ts";
import { Prng } from "./support/prng.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

describe("Arena K2: reset", () => {
  it("keep-capacity keeps all memory, and a second round maps nothing", () => {
    const { arena, recorder } = recordedArena();
    for (const seed of [1, 2]) {
      allocateRound(arena, seed);
      const committed = arena.stats().committedBytes;
      arena.reset("keep-capacity");
      arena.check();
      assertEquals([arena.stats().liveBlocks, arena.stats().committedBytes], [0, committed]);
      const { calls } = recorder;
      allocateRound(arena, seed);
      assertEquals(recorder.calls, calls, "the second round asked the page source for something");
      arena.reset("free-all");
    }
    arena[Symbol.dispose]();
    assertEquals(recorder.complaint(), "");
  });

  it("free-all gives all memory back, and starts small again", () => {
    const { arena, recorder } = recordedArena();
    allocateRound(arena);
    const view = arena.array(Uint8Array, 10);
    arena.reset("free-all");
    assertEquals([view.length, recorder.reservedBytes, arena.stats().regions], [0, 0, 0]);
    arena.allocate(1);
    assertEquals(arena.stats().committedBytes, 64 * KIB);
    arena[Symbol.dispose]();
  });

  it("{ keep } keeps at most so many bytes, the largest chunks", () => {
    for (const keep of [0, 1, 64 * KIB, 300 * KIB, 3 * MIB, 2 ** 40, Infinity]) {
      const { arena, recorder } = recordedArena();
      allocateRound(arena);
      const before = arena.stats().committedBytes;
      arena.reset({ keep });
      const after = arena.stats().committedBytes;
      assert(after <= Math.min(keep, before), `${after} bytes kept of ${before}, at most ${keep} allowed`);
      if (keep >= before) assertEquals(after, before);
      if (keep >= 3 * MIB) assert(after >= Math.min(before, keep) / 2, `only ${after} of ${before} bytes kept`);
      assertEquals(recorder.committedBytes, after);
      arena.check();
      allocateRound(arena, 5);
      arena.check();
      arena[Symbol.dispose]();
      assertEquals(recorder.complaint(), "");
    }
  });

  it("detaches owned buffers, makes marks stale and rejects old addresses", () => {
    using arena = new Arena();
    const address = arena.allocate(100);
    const { bytes } = arena.buffer(100);
    const mark = arena.mark();
    arena.reset();
    assertEquals(bytes.length, 0);
    assertThrows(() => arena.rewind(mark), UseAfterFreeError, "stale");
    assertThrows(() => arena.free(address), InvalidFreeError, "already freed");
    assertEquals(arena.allocate(5), address);
  });

  it("any other mode is a TypeError or a RangeError", () => {
    using arena = new Arena();
    arena.allocate(1);
    for (const mode of ["all", null, 5, { keep: "1" }, {}]) {
      assertThrows(() => arena.reset(mode as unknown as "free-all"), TypeError);
    }
    assertThrows(() => arena.reset({ keep: -1 }), RangeError);
    assertEquals(arena.stats().liveBlocks, 1);
  });
});

describe("Arena K4: the limit", () => {
  it("is never exceeded, whatever is allocated, grown, freed and rewound", () => {
    using arena = new Arena({ limit: 100_000 });
    const random = new Prng(12);
    const live = new Map<number, number>();
    const requested = (): number => [...live.values()].reduce((sum, size) => sum + size, 0);
    for (let step = 0; step < 3000; step++) {
      const some = [...live.keys()][random.below(live.size + 1)];
      const size = random.below(9000);
      try {
        const choice = random.below(4);
        if (some === undefined || choice < 2) live.set(arena.allocate(size), size);
        else if (choice === 2) {
          const moved = arena.reallocate(some, size + 1);
          live.delete(some);
          live.set(moved, size + 1);
        } else {
          arena.free(some);
          live.delete(some);
        }
      } catch (error) {
        assert(error instanceof OutOfMemoryError && error.limit === 100_000, String(error));
      }
      assert(requested() <= 100_000);
    }
    arena.check();
  });

  it("can change with live data, also to less than is live", () => {
    using arena = new Arena();
    const block = arena.allocate(1000);
    arena.limit = 500;
    assertEquals([arena.limit, arena.stats().limit], [500, 500]);
    assertThrows(() => arena.allocate(1), OutOfMemoryError);
    assertThrows(() => arena.allocate(0), OutOfMemoryError);
    assertEquals(arena.resize(block, 1001), false);
    assert(arena.resize(block, 400));
    arena.allocate(100);
    assertEquals(arena.tryAllocate(1), 0);
    arena.limit = Infinity;
    arena.allocate(100_000);
    for (const wrong of [-1, NaN, 0.5]) assertThrows(() => (arena.limit = wrong), RangeError);
    assertThrows(() => (arena.limit = "1" as unknown as number), TypeError);
    assertEquals(arena.limit, Infinity);
  });
});

describe("Arena K7: chunks", () => {
  it("double, and a block larger than a chunk gets its own", () => {
    using arena = new Arena();
    arena.allocate(1);
    assertEquals(arena.stats().committedBytes, 64 * KIB);
    arena.allocate(10 * MIB);
    assertEquals(arena.stats().committedBytes, 64 * KIB + 10 * MIB);
    arena.allocate(60_000);
    assertEquals(arena.stats().regions, 2, "the first chunk is still allocated from");
    for (let i = 0; i < 300; i++) arena.allocate(1000);
    assertEquals(arena.stats().committedBytes, (64 + 128 + 256) * KIB + 10 * MIB);
  });

  it("no order of small and large blocks makes chunks double for nothing", () => {
    using arena = new Arena();
    for (let i = 0; i < 200; i++) {
      arena.allocate(16);
      arena.allocate(100_000);
    }
    const { liveBytes, committedBytes } = arena.stats();
    assert(committedBytes < liveBytes * 1.5, `${committedBytes} bytes are committed for ${liveBytes}`);
  });

  it("a block that grows step by step does not pile up the chunks it left", () => {
    using arena = new Arena();
    let address = arena.allocate(100_000);
    for (let size = 200_000; size < 5_000_000; size += 100_000) {
      arena.allocate(16);
      address = arena.reallocate(address, size);
    }
    const { committedBytes } = arena.stats();
    assert(committedBytes < 16_000_000, `${committedBytes} bytes are committed`);
  });

  it("over a budget it takes smaller chunks before it gives up, to the last page", () => {
    using arena = new Arena({ source: fixedPageSource(new ArrayBuffer(MIB)) });
    let blocks = 0;
    while (arena.tryAllocate(1024) !== 0) blocks++;
    assertEquals(blocks, 1024);
    arena.reset("keep-capacity");
    arena.allocate(MIB - 4096);
    arena.check();
    const limited = limitedPageSource(systemPageSource(), 200 * KIB);
    using other = new Arena({ source: limited });
    while (other.tryAllocate(1024) !== 0);
    assertEquals(limited.committedBytes, 200 * KIB);
  });

  it("blocks freed in any order leave it ready to start again without more memory", () => {
    using arena = new Arena();
    const random = new Prng(13);
    const blocks = Array.from({ length: 3000 }, () => arena.allocate(random.below(600)));
    const { committedBytes } = arena.stats();
    for (const address of random.shuffle(blocks)) arena.free(address);
    for (let i = 0; i < 1500; i++) arena.allocate(500);
    assertEquals(arena.stats().committedBytes, committedBytes);
    arena.check();
  });
});

describe("Arena K8: fill", () => {
  it("fills an array with what the callback returns", () => {
    using arena = new Arena();
    const squares = arena.fill(Float64Array, 5, (i) => i * i);
    assertEquals([...squares], [0, 1, 4, 9, 16]);
    assertEquals([...arena.fill(BigInt64Array, 2, (i) => BigInt(i))], [0n, 1n]);
    arena.freeArray(squares);
    arena.check();
  });

  it("a throw inside the callback frees the array and what the callback allocated, and goes on", () => {
    using arena = new Arena();
    const kept = arena.allocate(10);
    const cursor = arena.mark().address;
    assertThrows(
      () =>
        arena.fill(Uint8Array, 100, (i) => {
          arena.allocate(1000);
          if (i === 60) throw new Error("Cannot fill");
          return i;
        }),
      Error,
      "Cannot fill",
    );
    assertEquals([[...arena.blocks()].length, arena.owns(kept), arena.mark().address], [1, true, cursor]);
    assertThrows(() => arena.fill(Uint8Array, -1, () => 0), RangeError);
    arena.check();
  });
});

describe("Arena", () => {
  it("dispose detaches every view, also of large blocks and owned buffers, and gives everything back", () => {
    const { arena, recorder } = recordedArena();
    const views = [arena.view(arena.allocate(10)), arena.view(arena.allocate(5 * MIB)), arena.buffer(10).bytes];
    arena[Symbol.dispose]();
    assertEquals(views.map((view) => view.length), [0, 0, 0]);
    assertEquals([recorder.complaint(), recorder.reservedBytes], ["", 0]);
    assertThrows(() => arena.mark(), DisposedError);
    assertThrows(() => arena.reset(), DisposedError);
    assertThrows(() => (arena.limit = 5), DisposedError);
    arena[Symbol.dispose]();
  });
});
