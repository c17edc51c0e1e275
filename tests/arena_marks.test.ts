/**
 * Marks and scopes of an `Arena`: K3 of the catalogue.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Arena, type ArenaMark, InvalidFreeError, setViolationHook, UseAfterFreeError } from "../mod.ts";
import { allocateRound, recordedArena } from "./support/arenas.ts";
import { Prng } from "./support/prng.ts";

const KIB = 2 ** 10;

describe("Arena K3: mark and rewind", () => {
  it("rewind() frees what came after the mark and nothing else, whatever was freed between", () => {
    using arena = new Arena({ chunkSize: 4 * KIB });
    const random = new Prng(11);
    const marks: { mark: ArenaMark; live: Set<number> }[] = [];
    let live = new Set<number>();
    for (let step = 0; step < 20_000; step++) {
      const choice = random.below(100);
      if (choice < 60) {
        live.add(arena.allocate(random.chance(98) ? random.below(300) : random.below(20_000)));
      } else if (choice < 85 && live.size > 0) {
        const list = [...live].slice(-20);
        const address = list[random.below(list.length)]!;
        arena.free(address);
        live.delete(address);
        for (const each of marks) each.live.delete(address);
      } else if (choice < 92 && marks.length < 12) {
        marks.push({ mark: arena.mark(), live: new Set(live) });
      } else if (choice < 97 && marks.length > 0) {
        const place = random.below(marks.length);
        const stale = marks.splice(place + 1);
        arena.rewind(marks[place]!.mark);
        live = new Set(marks[place]!.live);
        for (const { mark } of stale) assertThrows(() => arena.rewind(mark), UseAfterFreeError, "stale");
        arena.check();
        assertEquals([...arena.blocks()].map((block) => block.address).sort(), [...live].sort());
      } else if (choice === 97) {
        arena.trim();
      } else if (choice === 98 && step % 7 === 0) {
        arena.reset(random.chance(50) ? "keep-capacity" : { keep: 20_000 });
        live.clear();
        marks.length = 0;
      }
      if (step % 50 === 0) arena.check();
      assertEquals(arena.stats().liveBlocks, live.size);
    }
  });

  it("position and chunks are as before: the same addresses come again, and nothing is mapped", () => {
    const { arena, recorder } = recordedArena();
    allocateRound(arena, 3);
    const mark = arena.mark();
    const sizes = Array.from({ length: 300 }, (_, i) => (i * 997) % 3000);
    const first = sizes.map((size) => arena.allocate(size));
    arena.rewind(mark);
    const { calls } = recorder;
    for (let times = 0; times < 3; times++) {
      assertEquals(sizes.map((size) => arena.allocate(size)), first);
      arena.rewind(mark);
    }
    assertEquals(recorder.calls, calls);
    arena[Symbol.dispose]();
  });

  it("a block below a mark that is freed does not let younger ones survive rewind()", () => {
    using arena = new Arena();
    const below = arena.allocate(64);
    const mark = arena.mark();
    arena.free(below);
    const above = arena.allocate(16);
    arena.rewind(mark);
    assertEquals([arena.owns(above), arena.stats().liveBlocks], [false, 0]);
    assertThrows(() => arena.free(above), InvalidFreeError);
    assertThrows(() => arena.free(below), InvalidFreeError, "already freed");
    arena.check();
  });

  it("owned buffers made after the mark are detached, those before are not", () => {
    using arena = new Arena();
    const before = arena.buffer(50);
    const mark = arena.mark();
    const after = [arena.buffer(50), arena.buffer(500_000)];
    arena.rewind(mark);
    assertEquals([before.freed, ...after.map((buffer) => buffer.freed)], [false, true, true]);
    before.free();
    arena.check();
  });

  it("a stale mark, a mark of another arena and what is no mark are rejected, and change nothing", () => {
    using arena = new Arena();
    using other = new Arena();
    const outer = arena.mark();
    arena.allocate(10);
    const inner = arena.mark();
    arena.rewind(outer);
    arena.allocate(10);
    const error = assertThrows(() => arena.rewind(inner), UseAfterFreeError, "stale");
    assertEquals(error.code, "ERR_USE_AFTER_FREE");
    assertEquals(assertThrows(() => arena.rewind(other.mark()), InvalidFreeError).kind, "foreign");
    for (const wrong of [0, undefined, null, {}, "mark"]) {
      assertThrows(() => arena.rewind(wrong as unknown as ArenaMark), TypeError);
    }
    assertEquals(arena.stats().liveBlocks, 1);
    arena.rewind(outer);
    assertEquals(arena.stats().liveBlocks, 0);
  });

  it("a mark of an arena without memory rewinds to nothing", () => {
    using arena = new Arena();
    const mark = arena.mark();
    allocateRound(arena);
    arena.rewind(mark);
    assertEquals(arena.stats().liveBlocks, 0);
    assert(arena.trim() > 0);
    allocateRound(arena);
    arena.rewind(mark);
    arena.check();
  });

  it("a rewind to a stale mark goes to the violation hook; when that returns, nothing has happened", () => {
    using arena = new Arena();
    const outer = arena.mark();
    const inner = arena.mark();
    arena.rewind(outer);
    const address = arena.allocate(16);
    const codes: string[] = [];
    const previous = setViolationHook(({ code }) => void codes.push(code));
    try {
      arena.rewind(inner);
    } finally {
      setViolationHook(previous);
    }
    assertEquals(codes, ["ERR_USE_AFTER_FREE"]);
    assert(arena.owns(address));
    arena.check();
  });
});

describe("Arena scopes", () => {
  it("nest, and free at their end what was allocated in them", () => {
    using arena = new Arena();
    const kept = arena.allocate(10);
    {
      using _outer = arena.scope();
      arena.allocate(10);
      for (let i = 0; i < 100; i++) {
        using _inner = arena.scope();
        allocateRound(arena, i % 3);
        assert(arena.stats().liveBlocks > 2);
      }
      assertEquals(arena.stats().liveBlocks, 2);
    }
    assertEquals([arena.stats().liveBlocks, arena.owns(kept)], [1, true]);
    arena.free(kept);
    assertEquals([...arena.blocks()], []);
    arena.check();
  });

  it("free when their body throws, and do nothing after a reset or dispose", () => {
    const arena = new Arena();
    assertThrows(
      () => {
        using _scope = arena.scope();
        arena.allocate(100);
        throw new Error("Cannot go on");
      },
      Error,
      "Cannot go on",
    );
    assertEquals(arena.stats().liveBlocks, 0);
    {
      using _scope = arena.scope();
      arena.reset();
      arena.allocate(1);
    }
    assertEquals(arena.stats().liveBlocks, 1);
    using scope = arena.scope();
    scope[Symbol.dispose]();
    arena[Symbol.dispose]();
  });
});
