/**
 * Conformance, section D: reallocate and resize.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Allocator } from "../../src/allocator.ts";
import type { Address } from "../../src/page_source.ts";
import type { ConformanceCase, Trial } from "./case.ts";
import {
  assertOutOfMemory,
  assertUsable,
  fillPattern,
  liveSnapshot,
  snapshot,
  usedSizes,
  verifyPattern,
} from "./support.ts";

/** Resizes a block by `reallocate` and verifies that contents, counts and sizes are right. */
function step(allocator: Allocator, address: Address, from: number, to: number): Address {
  const what = `reallocate() from ${from} to ${to} bytes`;
  const before = allocator.stats();
  const usableBefore = allocator.usableSize(address);
  fillPattern(allocator.view(address, from), from);
  const moved = allocator.reallocate(address, to);
  if (to === 0) {
    assertEquals(moved, 0, what);
    assertEquals(allocator.owns(address), false, what);
    assertEquals(allocator.stats().liveBlocks, before.liveBlocks - 1, what);
    return 0;
  }
  verifyPattern(allocator.view(moved), from, Math.min(from, to), what);
  const now = allocator.stats();
  assertEquals(now.liveBlocks, before.liveBlocks, what);
  assertEquals(now.liveBytes - before.liveBytes, allocator.usableSize(moved) - usableBefore, what);
  assertEquals(allocator.view(moved).length, to, what);
  assert(allocator.owns(moved) && allocator.usableSize(moved) >= to, what);
  if (moved !== address) assert(!allocator.owns(address), `${what} moved the block and did not free the old one`);
  return moved;
}

function growAndShrink(trial: Trial): void {
  const allocator = trial.make();
  const most = Math.min(trial.expected.largestBlock, trial.expected.budget / 4, 2 ** 23);
  const neighbours = [allocator.allocate(64)];
  for (const start of [1, 40, 1000]) {
    let size = start;
    let address = allocator.allocate(size);
    for (let i = 0; i < 20 && size * 1.5 <= most; i++) {
      const next = Math.ceil(size * 1.5);
      address = step(allocator, address, size, next);
      if (i % 3 === 0) neighbours.push(allocator.allocate(size));
      size = next;
    }
    while (size * 2 <= most) {
      address = step(allocator, address, size, size * 2);
      size *= 2;
    }
    while (size > 1) {
      address = step(allocator, address, size, size >>> 1);
      size = size >>> 1;
    }
    step(allocator, address, 1, 0);
    for (const neighbour of neighbours.splice(0)) allocator.free(neighbour);
    allocator.check();
  }
  assertEquals(allocator.stats().liveBlocks, 0);
}

/** Every pair of sizes: small to small, small to large, large to huge, and back. */
function matrix(trial: Trial): void {
  const sizes = [1, 16, 17, 100, 1024, 5000, 16_384, 16_385, 40_000, 65_536, 200_000, 1_000_000, 5_000_000]
    .filter((size) => size <= trial.expected.largestBlock && size * 4 <= trial.expected.budget);
  const allocator = trial.make();
  for (const from of sizes) {
    for (const to of [0, ...sizes]) {
      const inTheWay = allocator.allocate(from);
      let address = allocator.allocate(from);
      const after = allocator.allocate(16);
      address = step(allocator, address, from, to);
      if (address !== 0) allocator.free(address);
      allocator.free(inTheWay);
      allocator.free(after);
    }
  }
  assertEquals(allocator.stats().liveBlocks, 0);
  allocator.check();
}

/** Blocks that touch, so that growing has free space before, behind, or on both sides (Rulloc's three cases). */
function growBetweenNeighbours(trial: Trial): void {
  for (const size of [48, 2000, 40_000, 70_000].filter((size) => size * 40 <= trial.expected.budget)) {
    for (const freed of [[], [-1], [1], [-1, 1], [-2, -1], [1, 2], [-2, -1, 1, 2]]) {
      for (const factor of [1.2, 2, 2.9, 4.5]) {
        const allocator = trial.make();
        const blocks: Address[] = [];
        for (let i = 0; i < 7; i++) {
          blocks.push(allocator.allocate(size));
          fillPattern(allocator.view(blocks[i] as Address), i);
        }
        const addressOrder = [...blocks].sort((a, b) => a - b);
        const middle = addressOrder[3] as Address;
        for (const offset of freed) allocator.free(addressOrder[3 + offset] as Address);
        const moved = allocator.reallocate(middle, Math.floor(size * factor));
        const what = `${size} bytes grown ${factor} times with the neighbours at ${freed} free`;
        verifyPattern(allocator.view(moved), blocks.indexOf(middle), size, what);
        fillPattern(allocator.view(moved), 99);
        addressOrder.forEach((address, i) => {
          if (i === 3 || freed.includes(i - 3)) return;
          verifyPattern(allocator.view(address), blocks.indexOf(address), size, `a neighbour of ${what}`);
        });
        allocator.check();
        allocator[Symbol.dispose]();
      }
    }
  }
}

function failedReallocate(trial: Trial): void {
  for (const size of usedSizes(trial.expected, 4)) {
    const { allocator } = trial.open({}, (source) => source);
    const block = allocator.allocate(size);
    fillPattern(allocator.view(block), 5);
    for (const impossible of [2 ** 50, 2 ** 53 - 1]) {
      assertOutOfMemory(allocator, () => allocator.reallocate(block, impossible), `reallocate(${impossible})`);
      assert(allocator.owns(block));
      verifyPattern(allocator.view(block), 5);
    }
    allocator.free(block);
    assertUsable(allocator);
    allocator[Symbol.dispose]();
  }
}

function failedReallocateForWantOfMemory(trial: Trial): void {
  for (const size of usedSizes(trial.expected, 40)) {
    const { allocator, recorder } = trial.open();
    const block = allocator.allocate(size);
    fillPattern(allocator.view(block), 6);
    recorder.failAfter(0);
    let grown = size;
    let failed = false;
    let address = block;
    while (!failed && grown * 3 <= trial.expected.budget) {
      grown *= 2;
      const before = liveSnapshot(allocator);
      try {
        address = allocator.reallocate(address, grown);
      } catch {
        failed = true;
        assertEquals(liveSnapshot(allocator), before, `a failed reallocate() to ${grown} bytes changed the allocator`);
        assert(allocator.owns(address), "a failed reallocate() lost the block");
      }
      verifyPattern(allocator.view(address), 6, size, `a block of ${size} bytes after reallocate() to ${grown}`);
    }
    recorder.rearm();
    if (failed) address = allocator.reallocate(address, grown);
    verifyPattern(allocator.view(address), 6, size, "the block that could be moved in the end");
    allocator.check();
    allocator[Symbol.dispose]();
  }
}

function resizeNeverMoves(trial: Trial): void {
  const allocator = trial.make();
  const sizes = [0, 1, 16, 17, 100, 1024, 5000, 16_384, 16_385, 40_000, 65_536, 200_000, 5_000_000]
    .filter((size) => size <= trial.expected.largestBlock && size * 4 <= trial.expected.budget);
  for (const from of sizes) {
    for (const to of sizes) {
      const what = `resize() from ${from} to ${to} bytes`;
      const address = allocator.allocate(from);
      const after = allocator.allocate(64);
      fillPattern(allocator.view(address), from);
      fillPattern(allocator.view(after), 1);
      const usable = allocator.usableSize(address);
      const before = snapshot(allocator);
      if (allocator.resize(address, to)) {
        assertEquals(allocator.view(address).length, to, what);
        assert(allocator.usableSize(address) >= to, `${what} left ${allocator.usableSize(address)} usable bytes`);
      } else {
        const mayRefuse = to > usable || trial.expected.refusesToShrink(usable, to);
        assert(mayRefuse, `${what} is false, but the block has ${usable} usable bytes`);
        assertEquals(snapshot(allocator), before, `${what} is false and changed the allocator`);
      }
      verifyPattern(allocator.view(address), from, Math.min(from, to), what);
      fillPattern(allocator.view(address), 3);
      verifyPattern(allocator.view(after), 1, 64, `the neighbour after ${what}`);
      allocator.free(address);
      allocator.free(after);
    }
  }
  allocator.check();
}

function resizeWithinUsable(trial: Trial): void {
  const allocator = trial.make();
  for (const size of [0, 1, 20, 100, 1000, 5000, 17_000, 100_000].filter((s) => s <= trial.expected.largestBlock)) {
    const address = allocator.allocate(size);
    const usable = allocator.usableSize(address);
    const committed = allocator.stats().committedBytes;
    for (const to of [usable, size, Math.floor(size / 2), 0]) {
      const now = allocator.usableSize(address);
      if (trial.expected.refusesToShrink(now, to)) continue;
      assertEquals(allocator.resize(address, to), true, `resize() to ${to} bytes of ${now} usable`);
      assertEquals([...allocator.blocks()].map((block) => block.requestedSize), [to]);
    }
    assertEquals(allocator.stats().committedBytes, committed, "resize() within the block needs no memory");
    allocator.free(address);
  }
  allocator.check();
}

function growsInPlaceWhenItCan(trial: Trial): void {
  for (const size of [24, 1000, 20_000, 50_000].filter((size) => size * 10 <= trial.expected.budget)) {
    const allocator = trial.make();
    const address = allocator.allocate(size);
    const usable = allocator.usableSize(address);
    for (const to of [usable, usable - 1, size]) {
      assertEquals(allocator.reallocate(address, to), address, `reallocate() to ${to} of ${usable} usable bytes moved`);
    }
    allocator.free(address);
    allocator[Symbol.dispose]();
  }
}

/** The cases of section D. */
export const REALLOCATION_CASES: readonly ConformanceCase[] = [
  {
    id: "D1",
    name: "reallocate(0, n) allocates and reallocate(p, 0) frees and returns 0",
    run(trial) {
      const allocator = trial.make();
      for (const size of [0, 1, 100, ...usedSizes(trial.expected, 2)]) {
        const address = allocator.reallocate(0, size);
        assertEquals(allocator.stats().liveBlocks, 1);
        assertEquals(allocator.view(address).length, size);
        fillPattern(allocator.view(address), 1);
        assertEquals(allocator.reallocate(address, 0), 0);
        assertEquals(allocator.stats().liveBlocks, 0);
        assertEquals(allocator.stats().liveBytes, 0);
        assertEquals(allocator.owns(address), false);
      }
      allocator.check();
    },
  },
  { id: "D2", name: "reallocate() keeps contents while growing by half, doubling and halving", run: growAndShrink },
  { id: "D2", name: "reallocate() keeps contents from every size to every other", run: matrix },
  {
    id: "D3",
    name: "reallocate() keeps all contents beside free neighbours on either side",
    run: growBetweenNeighbours,
  },
  { id: "D3", name: "reallocate() within the usable size does not move the block", run: growsInPlaceWhenItCan },
  {
    id: "D4",
    name: "a block that moved is live at its new place only",
    run(trial) {
      const allocator = trial.make();
      let address = allocator.allocate(64);
      const seen = new Set<Address>([address]);
      const most = Math.min(200_000, trial.expected.largestBlock, trial.expected.budget / 4);
      for (let size = 100; size <= most; size = Math.floor(size * 1.7)) {
        allocator.allocate(size); // in the way
        address = allocator.reallocate(address, size);
        seen.add(address);
        for (const old of seen) {
          if (old === address) continue;
          // The old place may by now belong to one of the blocks in the way.
          const owner = [...allocator.blocks()].find((block) => block.address === old);
          assertEquals(allocator.owns(old), owner !== undefined);
        }
      }
      assert(seen.size > 1, "no reallocate() moved the block");
      allocator.check();
    },
  },
  {
    id: "D5",
    name: "a reallocate() to an impossible size leaves block and contents as they were",
    run: failedReallocate,
  },
  {
    id: "D5",
    name: "a reallocate() that finds no memory leaves block and contents as they were",
    unless: (expected) => expected.observable ? undefined : "its source is out of sight",
    run: failedReallocateForWantOfMemory,
  },
  { id: "D6", name: "resize() never moves, and is false only when the block cannot grow", run: resizeNeverMoves },
  { id: "D6", name: "resize() to anything up to the usable size succeeds", run: resizeWithinUsable },
];
