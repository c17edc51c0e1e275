/**
 * The tables of a pool against a plain search, and pools whose regions lie close together and far apart.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fixedPageSource, InvalidFreeError, PoolAllocator, systemPageSource } from "../mod.ts";
import type { PageSource } from "../mod.ts";
import {
  GROUP_SHIFT,
  GROUP_SLOTS,
  type IndexedRegion,
  indexOf,
  KEYS_PER_BYTE,
  PLACE,
  PLACE_END,
  PLACE_FIRST,
  PLACE_START,
  type PoolIndex,
} from "../src/pool_index.ts";
import { Prng } from "./support/prng.ts";

/** The number of the slot that starts at `address`, by the tables; -1 for none. */
function slotAt({ origin, keys, records }: PoolIndex, address: number, stride: number): number {
  const key = Math.floor((address - origin) * KEYS_PER_BYTE);
  let record = keys[key] ?? 0;
  while (address < records[record + PLACE_START]!) record -= PLACE;
  if (!(address < records[record + PLACE_END]!)) return -1;
  const place = (address - records[record + PLACE_START]!) / stride;
  return Number.isInteger(place) ? records[record + PLACE_FIRST]! + place : -1;
}

/** Regions in order of address, with gaps of up to `gap` bytes. */
function randomRegions(random: Prng, stride: number, gap: number): IndexedRegion[] {
  const regions: IndexedRegion[] = [];
  let address = 0x7f00_0000_0000 + random.below(100) * 64;
  let first = 0;
  for (let left = 1 + random.below(8); left > 0; left--) {
    const slots = 1 + random.below(3000);
    regions.push({ address, slots, first });
    address += slots * stride + random.below(gap / 64) * 64;
    first = Math.ceil((first + slots) / GROUP_SLOTS) * GROUP_SLOTS;
  }
  return regions;
}

describe("pool_index", () => {
  it("finds every slot from its address and its address from its number, and no slot between them", () => {
    const seed = 20261121;
    const random = new Prng(seed);
    for (let round = 0; round < 60; round++) {
      const stride = 16 * (1 + random.below(40));
      const regions = randomRegions(random, stride, [64, 4096, 2 ** 17][round % 3]!);
      const index = indexOf(regions, stride);
      assert(index.keys.length > 0);
      for (const { address, slots, first } of regions) {
        for (let i = 0; i < slots; i++) {
          const slot = first + i;
          const where = address + i * stride;
          if (slotAt(index, where, stride) !== slot || slotAt(index, where + 8, stride) !== -1) {
            throw new Error(`seed ${seed}, round ${round}: slot ${slot} is not found at ${where}`);
          }
          assertEquals(index.groups[slot >>> GROUP_SHIFT]! + (slot % GROUP_SLOTS) * stride, where);
        }
        assertEquals(slotAt(index, address - 1, stride), -1);
      }
      assertEquals(slotAt(index, regions[0]!.address - stride, stride), -1);
      const { address, slots } = regions.at(-1)!;
      assertEquals(slotAt(index, address + slots * stride, stride), -1);
    }
  });

  it("has no keys where regions are too far apart, and few bytes in any case", () => {
    const far = [{ address: 2 ** 32, slots: 64, first: 0 }, { address: 2 ** 46, slots: 64, first: 64 }];
    const { keys, groups } = indexOf(far, 64);
    assertEquals(keys.length, 0);
    assertEquals([...groups], [2 ** 32, 2 ** 46]);
    assert(indexOf([far[0]!, { address: 2 ** 32 + 2 ** 31, slots: 64, first: 64 }], 64).keys.length <= 2 ** 16);
    assertEquals(indexOf([], 64).keys.length, 0);
  });
});

/** As the system's source, but each reservation has 16 GiB of address space before it that nobody uses. */
function farSource(): PageSource {
  const system = systemPageSource();
  const gap = 2 ** 34;
  return {
    ...system,
    reserve: (byteLength, alignment) => system.reserve(gap + byteLength, alignment) + gap,
    unmap: (address, byteLength) => system.unmap(address - gap, gap + byteLength),
  };
}

/** Allocates, frees and misuses a pool at random, beside a model of it. */
function exercise(pool: PoolAllocator, seed: number, most: number): void {
  const random = new Prng(seed);
  const live: number[] = [];
  const freed = new Set<number>();
  for (let turn = 0; turn < 4000; turn++) {
    if (live.length < most && random.below(5) < 3) {
      const address = pool.allocate(random.below(pool.slotSize + 1));
      assert(!live.includes(address), `seed ${seed}: ${address} is given out twice`);
      live.push(address);
      freed.delete(address);
      pool.view(address).fill(turn);
    } else if (live.length > 0) {
      const address = live.splice(random.below(live.length), 1)[0]!;
      pool.free(address);
      freed.add(address);
      assertThrows(() => pool.free(address), InvalidFreeError);
    }
    if (turn % 100 !== 0) continue;
    for (const address of live) assertThrows(() => pool.free(address + 16), InvalidFreeError);
    for (const address of freed) assert(!pool.owns(address), `seed ${seed}: ${address} is owned and free`);
    for (const wrong of [NaN, 0.5, -16, 2 ** 52, Infinity, live[0]! + 0.5]) assert(!pool.owns(wrong));
    pool.check();
    if (turn % 1000 === 0) pool.trim();
  }
  assertEquals([...pool.blocks()].map(({ address }) => address).sort(), live.sort());
  for (const address of live) pool.free(address);
  assertEquals(pool.stats().liveBlocks, 0);
  pool.check();
}

describe("PoolAllocator over many regions", () => {
  it("works where they are far apart", () => {
    using pool = new PoolAllocator({ slotSize: 1000, source: farSource() });
    exercise(pool, 1, 900);
    pool.preheat(2000);
    assert(pool.stats().regions > 1);
    exercise(pool, 3, 900);
  });

  it("works where many of them share 64 KiB", () => {
    // A region of half of what is left is all that can be had, again and again.
    using pool = new PoolAllocator({
      slotSize: 24,
      capacity: 10,
      source: fixedPageSource(new ArrayBuffer(65_472), { pageSize: 64 }),
    });
    while (pool.tryAllocate(1) !== 0);
    assert(pool.stats().regions >= 5, `${pool.stats().regions}`);
    for (const { address } of [...pool.blocks()]) pool.free(address);
    exercise(pool, 2, 900);
  });

  it("works where a region is not a multiple of its slots", () => {
    for (const slotSize of [80, 4112, 5000]) {
      using pool = new PoolAllocator({ slotSize, capacity: 3 });
      exercise(pool, slotSize, 300);
    }
  });
});
