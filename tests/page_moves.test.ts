/**
 * Moving OS pages over an `mremap` that keeps the books as Linux does: mappings that end inside of what is to be moved,
 * and memory for new mappings that runs out at every call in turn. What the books cannot show is asked of the system.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { pageMover } from "../ffi/page_moves.ts";
import { systemPageSource } from "../ffi/system_page_source.ts";
import { OutOfMemoryError } from "../src/errors.ts";

const PAGE = 4096;
const FROM = 64 * PAGE;
const TO = 512 * PAGE;
/** Where the first lift goes to. */
const ANYWHERE = 2048 * PAGE;
const [EFAULT, ENOMEM] = [14, 12];

/** A machine with one byte in each OS page, the first, which knows where mappings begin. */
function machine(count: number, seams: readonly number[]) {
  const memory = new Map<number, number>();
  const starts = new Set(seams.map((page) => FROM + page * PAGE));
  for (let i = 0; i < count; i++) {
    memory.set(FROM + i * PAGE, i + 1);
    memory.set(TO + i * PAGE, 0);
  }
  const state = { memory, failAt: Infinity, calls: 0, lastError: 0, leaveHole: false, canRenew: true, next: ANYWHERE };

  function mremap(from: number, length: number, _newLength: number, flags: number, to: number): number {
    const isLift = flags === 5;
    assert(isLift || flags === 3, "MAYMOVE, and DONTUNMAP or FIXED");
    for (let at = from + PAGE; at < from + length; at += PAGE) {
      if (!starts.has(at)) continue;
      assert(isLift, "only a lift can meet the end of a mapping");
      state.lastError = EFAULT;
      return -1;
    }
    if (state.calls++ === state.failAt) {
      if (!isLift && state.leaveHole) { for (let at = to; at < to + length; at += PAGE) memory.delete(at); }
      state.lastError = ENOMEM;
      return -1;
    }
    const target = isLift ? state.next : to;
    if (isLift) state.next += length + PAGE;
    for (let offset = 0; offset < length; offset += PAGE) {
      assert(memory.has(from + offset) && memory.has(to + offset) === !isLift);
      memory.set(target + offset, memory.get(from + offset)!);
      if (isLift) memory.set(from + offset, 0);
      else memory.delete(from + offset);
    }
    return target;
  }

  const move = pageMover({
    library: { mremap },
    errno: () => state.lastError,
    pageSize: PAGE,
    wraps: {
      wrap(address, byteLength) {
        const bytes = new Uint8Array(byteLength);
        for (let at = 0; at < byteLength; at += PAGE) {
          assert(memory.has(address + at), "nothing is mapped there");
          bytes[at] = memory.get(address + at)!;
        }
        return Object.assign(bytes, {
          set(other: Uint8Array) {
            for (let at = 0; at < byteLength; at += PAGE) memory.set(address + at, other[at]!);
          },
        });
      },
      unwrap() {},
    },
    renew(address, byteLength) {
      if (!state.canRenew) throw new OutOfMemoryError("Cannot renew", byteLength);
      for (let at = address; at < address + byteLength; at += PAGE) memory.set(at, 0);
    },
    drop(address, byteLength) {
      for (let at = address; at < address + byteLength; at += PAGE) assert(memory.delete(at));
    },
  });
  const read = (address: number) => Array.from({ length: count }, (_, i) => memory.get(address + i * PAGE));
  return { memory, state, move, read };
}

describe("pageMover()", () => {
  const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
  const zeros = numbers.map(() => 0);

  it("moves several mappings, each whole or in parts", () => {
    for (const seams of [[], [1], [19], [10], [3, 4, 17], numbers.slice(0, 19)]) {
      const { move, read, memory } = machine(20, seams);
      assertEquals(move(FROM, TO, 20 * PAGE), true);
      assertEquals([read(FROM), read(TO)], [zeros, numbers], `${seams}`);
      assertEquals(memory.size, 40, "nothing is left anywhere else");
    }
  });

  it("loses nothing when Linux fails at any of its calls", () => {
    for (const seams of [[], [10], [3, 4, 17]]) {
      const whole = machine(20, seams);
      whole.move(FROM, TO, 20 * PAGE);
      const { calls } = whole.state;
      for (const leaveHole of [false, true]) {
        for (const canRenew of [true, false]) {
          for (let failAt = 0; failAt <= calls; failAt++) {
            const { move, read, memory, state } = machine(20, seams);
            Object.assign(state, { failAt, leaveHole, canRenew });
            const what = `${seams}; hole ${leaveHole}, renewed ${canRenew}, call ${failAt}`;
            // Every second call puts what was lifted in its place; when it cannot, that is copied.
            if (failAt % 2 === 1 && !canRenew && failAt < calls) {
              assertThrows(() => move(FROM, TO, 20 * PAGE), OutOfMemoryError, "Cannot renew", what);
              assertEquals(read(FROM), numbers, what);
            } else {
              const isMoved = move(FROM, TO, 20 * PAGE);
              assertEquals(isMoved ? read(TO) : read(FROM), numbers, what);
              if (isMoved) assertEquals(read(FROM), zeros, what);
              assertEquals(memory.size, 40, what);
            }
          }
        }
      }
    }
  });

  it("does not ask again and again a Linux that has no such call", () => {
    const { move, read, state } = machine(20, []);
    state.failAt = 0;
    assertEquals([move(FROM, TO, 20 * PAGE), state.calls, read(FROM)], [false, 1, numbers]);
  });

  const source = systemPageSource();
  it("moves what was moved before, and written", { ignore: source.move === undefined }, () => {
    const { pageSize } = source;
    const lengths = [40, 64, 72, 75, 120].map((count) => count * pageSize);
    const places = lengths.map((length) => {
      const address = source.reserve(length, pageSize);
      source.commit(address, length);
      return { address, length, bytes: source.wrap(address, length) };
    });
    for (const [i, { address, length, bytes }] of places.entries()) {
      for (let at = 0; at < length; at += 61) bytes[at] = 1 + (at + i) % 251;
      const expected = bytes.slice();
      const next = places[i + 1];
      if (next === undefined) break;
      // An emulated Linux may have no such call; then nothing has happened.
      const isMoved = source.move!(address, next.address, length);
      assertEquals((isMoved ? next.bytes : bytes).slice(0, length), expected);
      if (isMoved) assertEquals(bytes, new Uint8Array(length));
    }
    for (const { address, length, bytes } of places) {
      source.unwrap(bytes);
      source.unmap(address, length);
    }
  });
});
