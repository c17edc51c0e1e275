/**
 * Conformance, section F: addresses that are not the start of a live block, in every method that takes one. F4, use after
 * dispose, is in disposal.ts.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import type { Allocator } from "../../src/allocator.ts";
import { InvalidFreeError, type InvalidFreeKind, UseAfterFreeError } from "../../src/errors.ts";
import type { Address } from "../../src/page_source.ts";
import { Prng } from "../support/prng.ts";
import type { ConformanceCase, Trial } from "./case.ts";
import {
  ADDRESS_METHODS,
  allocateMany,
  assertInvalid,
  assertInvalidCall,
  assertInvalidFreeError,
  assertUsable,
  describeError,
  fillPattern,
  snapshot,
  thrownBy,
  UNKNOWN_KINDS,
  usedSizes,
  verifyPattern,
} from "./support.ts";

/** Addresses that no allocator of this package gives out: null-like, stack-like, kernel-like, beyond 2^53, not whole. */
const ABSURD_ADDRESSES = [
  ...[1, 8, 15, 16, 4095, 4096, 65_536, 2 ** 20, 2 ** 31 - 16, 2 ** 31, 2 ** 32 - 16, 2 ** 32, 2 ** 32 + 16],
  ...[0x7fff_ffff_e000, 0x7ffe_dead_b000, 0x7fff_ffff_f000, 2 ** 47, 2 ** 52, 2 ** 53 - 1, 2 ** 53, 2 ** 60, 2 ** 64],
  ...[1e300, Number.MAX_VALUE, Infinity, -Infinity, NaN, -1, -16, -4096, -(2 ** 31), -(2 ** 32), -(2 ** 53)],
  ...[0.5, -0.5, 1.5, 4096.5, 1e-300, Number.MIN_VALUE, 2 ** 32 + 0.5],
];

function absurdAddresses(trial: Trial): void {
  for (const blocks of [0, 3]) {
    const { allocator, recorder } = trial.open();
    for (let i = 0; i < blocks; i++) allocator.allocate(50 + i * 20_000);
    for (const address of ABSURD_ADDRESSES) {
      // Windows gives out low addresses; one that happens to be ours is no absurd one.
      if (recorder.mappings().some((m) => address >= m.address && address < m.address + m.byteLength)) continue;
      assertInvalid(allocator, address, ["foreign"], `an address that was never allocated (${blocks} live blocks)`);
    }
    // 0 is for free(0) and reallocate(0, n) only.
    for (const method of ADDRESS_METHODS) {
      if (method.name === "free()" || method.name.startsWith("reallocate")) continue;
      assertInvalidCall(allocator, method, 0, ["foreign"], "0");
    }
    assertUsable(allocator);
  }
}

function doubleFreeAtOnce(trial: Trial): void {
  for (const size of [0, 1, ...usedSizes(trial.expected, 4)]) {
    const allocator = trial.make();
    const neighbours = [allocator.allocate(size)];
    const address = allocator.allocate(size);
    neighbours.push(allocator.allocate(size));
    allocator.free(address);
    assertInvalid(allocator, address, ["double"], `a freed block of ${size} bytes`);
    for (const neighbour of neighbours) allocator.free(neighbour);
    assertInvalid(allocator, neighbours[1] as Address, ["double"], `the last block of ${size} bytes, freed`);
    assertUsable(allocator);
    allocator[Symbol.dispose]();
  }
}

function doubleFreeAfterReallocate(trial: Trial): void {
  for (const size of [10, ...usedSizes(trial.expected, 12)]) {
    const allocator = trial.make();
    const first = allocator.allocate(size);
    allocator.allocate(16);
    const moved = allocator.reallocate(first, size * 4);
    if (moved !== first) assertInvalid(allocator, first, UNKNOWN_KINDS, `the old place of a block of ${size} bytes`);
    assertEquals(allocator.reallocate(moved, 0), 0);
    assertInvalid(allocator, moved, UNKNOWN_KINDS, `a block of ${size * 4} bytes freed by reallocate(p, 0)`);
    assertUsable(allocator);
    allocator[Symbol.dispose]();
  }
}

function doubleFreeDelayed(trial: Trial): void {
  for (const size of usedSizes(trial.expected, 40)) {
    const allocator = trial.make();
    const random = new Prng(21);
    const stale = allocateMany(allocator, 8, size);
    const keep = allocateMany(allocator, 2, size);
    for (const address of stale) allocator.free(address);
    const rounds = size > 1_000_000 ? 30 : 1000;
    const live: Address[] = [];
    for (let i = 0; i < rounds; i++) {
      // Other sizes than that of the stale blocks, so that the memory changes hands.
      const other = random.below(8) * 500 + 5 > size ? random.below(Math.max(2, size >>> 1)) : random.below(4000);
      live.push(allocator.allocate(other));
      if (live.length > 20) allocator.free(live.splice(random.below(live.length), 1)[0] as Address);
    }
    assertAllStaleRejected(allocator, stale, `stale blocks of ${size} bytes`);
    for (const address of [...live, ...keep]) allocator.free(address);
    assertAllStaleRejected(allocator, stale, `stale blocks of ${size} bytes in an empty allocator`);
    allocator.trim();
    assertAllStaleRejected(allocator, stale, `stale blocks of ${size} bytes after trim()`);
    assertUsable(allocator);
    allocator[Symbol.dispose]();
  }
}

/** Every stale address that is not live again is rejected: as interior where a live block is around it now. */
function assertAllStaleRejected(allocator: Allocator, stale: readonly Address[], what: string): void {
  for (const address of stale) {
    const kinds = kindsOf(allocator, address);
    if (kinds !== undefined) assertInvalid(allocator, address, kinds, what);
  }
}

/** What an address may be called, going by the live blocks; undefined when it is the start of one. */
function kindsOf(allocator: Allocator, address: Address): readonly InvalidFreeKind[] | undefined {
  for (const block of allocator.blocks()) {
    if (address === block.address) return undefined;
    if (address > block.address && address < block.address + block.usableSize) return ["interior"];
  }
  return UNKNOWN_KINDS;
}

/** Pages of one size class are emptied and used by another, while somebody still holds addresses of the first. */
function reuseByAnotherSize(trial: Trial): void {
  const pairs: [number, number][] = [[32, 48], [48, 32], [64, 4096], [4096, 16], [640, 512], [100, 30_000], [
    30_000,
    80,
  ]];
  for (const [first, second] of pairs) {
    const count = Math.min(3000, Math.floor(trial.expected.budget / 4 / Math.max(first, second)));
    const allocator = trial.make();
    const stale: Address[] = [];
    for (let i = 0; i < count; i++) stale.push(allocator.allocate(first));
    for (const address of stale) allocator.free(address);
    const fresh: Address[] = [];
    for (let i = 0; i < count; i++) fresh.push(allocator.allocate(second));
    fillPattern(allocator.view(fresh[0] as Address), 1);
    const live = new Set(fresh);
    const before = snapshot(allocator);
    const sorted = [...fresh].sort((a, b) => a - b);
    for (let i = 0; i < stale.length; i += 7) {
      const address = stale[i] as Address;
      if (live.has(address)) continue;
      const below = sorted[upperBound(sorted, address) - 1] ?? -Infinity;
      const inside = live.has(below) && address < below + allocator.usableSize(below);
      const kinds: readonly InvalidFreeKind[] = inside ? ["interior"] : UNKNOWN_KINDS;
      const what = `a stale block of ${first} bytes in memory now used for ${second}`;
      for (const method of ADDRESS_METHODS) assertInvalidCall(allocator, method, address, kinds, what);
      if (allocator.owns(address)) fail(`owns() says yes to ${what}`);
    }
    assertEquals(snapshot(allocator), before);
    verifyPattern(allocator.view(fresh[0] as Address), 1);
    allocator.check();
    allocator[Symbol.dispose]();
  }
}

/** How many elements of a sorted list are at most `value`. */
function upperBound(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function interleavedDoubleFree(trial: Trial): void {
  for (const size of usedSizes(trial.expected, 4)) {
    const allocator = trial.make();
    const a = allocator.allocate(size);
    const b = allocator.allocate(size);
    allocator.free(a);
    allocator.free(b);
    assertInvalid(allocator, a, ["double"], `block a of ${size} bytes after a, b`);
    assertInvalid(allocator, b, ["double"], `block b of ${size} bytes after a, b`);
    const c = allocator.allocate(size);
    const d = allocator.allocate(size);
    assert(c !== d, "a rejected free gave one block out twice");
    assertEquals(allocator.stats().liveBlocks, 2);
    allocator.free(d);
    allocator.free(c);
    for (const address of new Set([a, b, c, d])) {
      assertInvalid(allocator, address, UNKNOWN_KINDS, `a block of ${size} bytes of a, b, c, d`);
    }
    assertUsable(allocator);
    allocator[Symbol.dispose]();
  }
}

function interiorAddresses(trial: Trial): void {
  for (const size of [24, 200, 10_000, 300_000, ...usedSizes(trial.expected, 4)]) {
    if (size > trial.expected.largestBlock || size * 4 > trial.expected.budget) continue;
    const allocator = trial.make();
    const before = allocator.allocate(size);
    const address = allocator.allocate(size);
    const usable = allocator.usableSize(address);
    fillPattern(allocator.view(address), 9);
    const offsets = [0.5, 1, 2, 7, 8, 15, 16, 17, 32, 48, 64, 4095, 4096, 8192, 65_536, 131_072, size - 1, size - 0.5];
    for (const offset of [...offsets, usable - 16, usable - 1]) {
      if (offset <= 0 || offset >= usable) continue;
      assertInvalid(allocator, address + offset, ["interior"], `offset ${offset} of a block of ${size} bytes`);
    }
    // Outside: below the first block of all, and far away from both.
    const lower = Math.min(before, address);
    for (const far of [lower - 1, lower - 8, lower - 16, address + 2 ** 30, address + 2 ** 40, address - 2 ** 30]) {
      const kinds = kindsOf(allocator, far);
      if (kinds !== undefined) assertInvalid(allocator, far, kinds, `an address ${far - address} bytes away`);
    }
    verifyPattern(allocator.view(address), 9);
    allocator.free(address);
    assertUsable(allocator);
    allocator[Symbol.dispose]();
  }
}

/** Tries addresses all over every mapping that the allocator holds: tables, unused tails, gaps, freed memory. */
function everyMapping(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  for (const size of [16, 80, 1000, 9000, 40_000]) allocateMany(allocator, 5, size);
  const freed = allocateMany(allocator, 5, 20_000);
  for (const address of freed) allocator.free(address);
  const owned = allocator.buffer(500);
  const starts = new Set([...allocator.blocks()].map((block) => block.address));
  const before = snapshot(allocator);
  for (const mapping of recorder.mappings()) {
    const end = mapping.address + mapping.byteLength;
    const places = [mapping.address - 16, mapping.address - 1, end - 16, end - 1, end, end + 16];
    for (let offset = 0; offset < Math.min(mapping.byteLength, 2 ** 20); offset += 1040) {
      places.push(mapping.address + offset, mapping.address + offset + 4096);
    }
    for (let offset = 1; offset < mapping.byteLength; offset *= 2) places.push(mapping.address + offset, end - offset);
    for (const address of places) {
      if (starts.has(address)) continue;
      const kinds = kindsOf(allocator, address) ?? fail("a live block is not among the live blocks");
      const what = `an address of the mapping at ${mapping.address} of ${mapping.byteLength} bytes`;
      assertInvalidCall(allocator, ADDRESS_METHODS[0] as (typeof ADDRESS_METHODS)[0], address, kinds, what);
      if (allocator.owns(address)) fail(`owns() says yes to ${what}`);
    }
  }
  assertEquals(snapshot(allocator), before);
  allocator.check();
  owned.free();
  assertUsable(allocator);
}

/** Compares `owns` with the live blocks at every multiple of 16, with blocks of every size class live and some freed. */
function everyGranule(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const sizes: number[] = [];
  for (let size = 1; size <= 20_000; size += Math.max(8, size >>> 4)) sizes.push(size);
  for (const size of sizes) {
    if (allocator.stats().liveBytes + size * 3 > trial.expected.budget / 2) break;
    const blocks = [0, 1, 2].map(() => allocator.tryAllocate(size)).filter((address) => address !== 0);
    if (blocks.length < 3) {
      // A page for each class can be more than the budget: then the classes that found room must do.
      assert(allocator.stats().liveBytes > trial.expected.budget / 4, `no room for a block of ${size} bytes`);
      break;
    }
    allocator.free(blocks[size % 3] as Address);
  }
  const live = new Set([...allocator.blocks()].map((block) => block.address));
  let found = 0;
  for (const mapping of recorder.mappings()) {
    const end = mapping.address + Math.min(mapping.byteLength, 2 ** 23);
    for (let address = mapping.address; address < end; address += 16) {
      const owned = allocator.owns(address);
      if (owned !== live.has(address)) fail(`owns() of ${address} in the mapping at ${mapping.address} is ${owned}`);
      if (owned) found++;
    }
  }
  assertEquals(found, live.size, "blocks were not found where blocks() has them");
}

function otherAllocator(trial: Trial): void {
  const mine = trial.make();
  const yours = trial.make();
  for (const size of [0, ...usedSizes(trial.expected, 8)]) {
    const [a, b] = [mine.allocate(size), yours.allocate(size)];
    fillPattern(mine.view(a), 1);
    fillPattern(yours.view(b), 2);
    assert(a !== b, "two allocators gave out the same address");
    assertInvalid(mine, b, ["foreign"], `another allocator's block of ${size} bytes`);
    assertInvalid(yours, a, ["foreign"], `another allocator's block of ${size} bytes`);
    const view = yours.view(b);
    if (size > 0) {
      for (const call of [() => mine.freeArray(view), () => mine.addressOf(view)]) {
        const error = thrownBy(call, "a call with another allocator's view");
        assert(error instanceof InvalidFreeError && error.kind === "foreign", describeError(error));
      }
    }
    assert(mine.owns(a) && yours.owns(b));
    verifyPattern(mine.view(a), 1);
    verifyPattern(yours.view(b), 2);
    mine.free(a);
    yours.free(b);
  }
  const last = yours.allocate(64);
  yours[Symbol.dispose]();
  assertInvalid(mine, last, ["foreign"], "a block of a disposed allocator");
  assertUsable(mine);
}

function badViews(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const before = allocator.array(Uint8Array, 100);
  const foreign = [new Uint8Array(8), new Float64Array(8), new DataView(new ArrayBuffer(8)), new Uint8Array(0)];
  for (const view of foreign) {
    for (const call of [() => allocator.freeArray(view), () => allocator.addressOf(view)]) {
      const state = snapshot(allocator);
      const error = thrownBy(call, "a call with a view of JavaScript's own memory");
      if (!(error instanceof InvalidFreeError)) fail(`a foreign view threw ${describeError(error)}`);
      assertEquals([error.kind, error.code], ["foreign", "ERR_INVALID_FREE"]);
      assertEquals(snapshot(allocator), state);
    }
  }
  const inside = before.subarray(16);
  const address = allocator.addressOf(inside);
  const error = thrownBy(() => allocator.freeArray(inside), "freeArray() of a view that starts inside a block");
  if (!(error instanceof InvalidFreeError)) fail(`freeArray() of an interior view threw ${describeError(error)}`);
  assertInvalidFreeError(error, address, ["interior"], "freeArray() of an interior view");
  allocator.freeArray(before);
  const again = thrownBy(() => allocator.freeArray(before), "freeArray() for a second time");
  const isTyped = again instanceof InvalidFreeError ||
    (before.buffer.byteLength === 0 && again instanceof UseAfterFreeError);
  if (!isTyped) fail(`a second freeArray() threw ${describeError(again)}`);
  if (recorder.source.isolating) {
    const buffer = allocator.buffer(64);
    const bytes = buffer.bytes;
    buffer.free();
    for (const call of [() => allocator.freeArray(bytes), () => allocator.addressOf(bytes)]) {
      const detached = thrownBy(call, "a call with a detached view");
      if (!(detached instanceof UseAfterFreeError)) fail(`a detached view threw ${describeError(detached)}`);
      assertEquals(detached.code, "ERR_USE_AFTER_FREE");
    }
  }
  assertUsable(allocator);
}

/** The cases F1 to F3. */
export const INVALID_FREE_CASES: readonly ConformanceCase[] = [
  { id: "F1", name: "a second free at once is rejected as a double free, whatever the size", run: doubleFreeAtOnce },
  { id: "F1", name: "a second free much later is rejected, in use, empty and trimmed", run: doubleFreeDelayed },
  { id: "F1", name: "free a, b, a is rejected and gives no block out twice", run: interleavedDoubleFree },
  {
    id: "F1",
    name: "a stale address is rejected after another size class took over the memory",
    run: reuseByAnotherSize,
  },
  {
    id: "F1",
    name: "addresses that reallocate() moved away from or freed are rejected",
    run: doubleFreeAfterReallocate,
  },
  { id: "F2", name: "addresses never allocated, negative, fractional, huge or NaN are foreign", run: absurdAddresses },
  { id: "F2", name: "addresses inside a block are interior, from the second byte to the last", run: interiorAddresses },
  { id: "F2", name: "another allocator's block is foreign", run: otherAllocator },
  {
    id: "F2",
    name: "no address of any mapping but the start of a live block is accepted, tables included",
    unless: (expected) => expected.observable ? undefined : "its source is out of sight",
    run: everyMapping,
  },
  {
    id: "F2",
    name: "owns() is true for the starts of live blocks only, at every multiple of 16 of every mapping",
    unless: (expected) => expected.observable ? undefined : "its source is out of sight",
    run: everyGranule,
  },
  { id: "F3", name: "views that are foreign, freed, detached or start inside a block are rejected", run: badViews },
];
