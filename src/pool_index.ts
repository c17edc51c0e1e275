/**
 * From an address to the slot that starts there and back, without a search: tables over the regions of a pool.
 *
 * ```text
 *   address ──▶ keys     one number per 64 KiB of the span of all regions: where the record of the last region that
 *                │       begins in or before these 64 KiB is; 0 where there is none
 *                ▼
 *               records  0: of no region   3: of the lowest region    6: of the next ...
 *                        ┌───────────┬───────────┬────────────┐
 *                        │ address   │ end       │ first slot │     doubles; `end` is behind the last slot
 *                        └───────────┴───────────┴────────────┘
 *
 *   slot ──────▶ groups  the address of every 64th slot: numbers of slots begin anew at a multiple of 64 in each region
 * ```
 *
 * Made anew when a region comes or goes. Where the regions lie so far apart that `keys` would be longer than they are
 * worth it is left empty, and regions are searched for.
 *
 * @module
 */
import type { Address } from "./page_source.ts";

/** Slots whose addresses follow from one entry of `groups`. */
export const GROUP_SLOTS = 64;
/** The logarithm of that. */
export const GROUP_SHIFT = 6;
/** Where in a record the first address is. */
export const PLACE_START = 0;
/** Where in it the address behind the last slot is. */
export const PLACE_END = 1;
/** Where in it the number of the first slot is. */
export const PLACE_FIRST = 2;
/** Numbers of one record. */
export const PLACE = 3;
/** 64 KiB pages per byte. */
export const KEYS_PER_BYTE: number = 2 ** -16;

const KEY_BYTES = 65_536;
/**
 * `keys` may always be this long: 4 GiB of addresses. Linux puts small regions into the gaps between libraries, half a
 * gibibyte away from others in one process of ten; keys of nothing are never touched.
 */
const KEYS_ANYWAY = 65_536;
/** Beyond that, this many keys are made for each that has a region. */
const KEYS_PER_USED = 16;

/** What the tables are made from. */
export interface IndexedRegion {
  /** Where the first slot starts. */
  readonly address: Address;
  /** How many slots there are. */
  readonly slots: number;
  /** The number of the first one: a multiple of {@link GROUP_SLOTS}. */
  readonly first: number;
}

/** The tables; see the drawing. */
export interface PoolIndex {
  /** The address that `keys` begin at. */
  readonly origin: Address;
  /** See the drawing. */
  readonly keys: Int32Array;
  /** See the drawing. */
  readonly records: Float64Array;
  /** See the drawing. */
  readonly groups: Float64Array;
}

/** The tables of a pool without a region. */
export function emptyIndex(): PoolIndex {
  return { origin: 0, keys: new Int32Array(0), records: recordsOf([], 0), groups: new Float64Array(0) };
}

/** The tables of these regions, which are in order of address, with slots `stride` bytes apart. Time in their length. */
export function indexOf(regions: readonly IndexedRegion[], stride: number): PoolIndex {
  const lowest = regions[0];
  if (lowest === undefined) return emptyIndex();
  const origin = Math.floor(lowest.address / KEY_BYTES) * KEY_BYTES;
  return {
    origin,
    keys: keysOf(regions, origin, stride),
    records: recordsOf(regions, stride),
    groups: groupsOf(regions, stride),
  };
}

function keysOf(regions: readonly IndexedRegion[], origin: Address, stride: number): Int32Array {
  const keyOf = (address: Address): number => Math.floor((address - origin) / KEY_BYTES);
  let used = 0;
  let length = 0;
  for (const { address, slots } of regions) {
    length = keyOf(address + slots * stride) + 1;
    used += length - keyOf(address);
  }
  if (length > KEYS_ANYWAY + used * KEYS_PER_USED) return new Int32Array(0);
  const keys = new Int32Array(length);
  regions.forEach(({ address, slots }, place) => {
    keys.fill((place + 1) * PLACE, keyOf(address), keyOf(address + slots * stride) + 1);
  });
  return keys;
}

/** The first record is that of no region: every address is behind its end. */
function recordsOf(regions: readonly IndexedRegion[], stride: number): Float64Array {
  const records = new Float64Array((regions.length + 1) * PLACE).fill(-Infinity, PLACE_START, PLACE_FIRST);
  regions.forEach(({ address, slots, first }, place) => {
    records.set([address, address + slots * stride, first], (place + 1) * PLACE);
  });
  return records;
}

function groupsOf(regions: readonly IndexedRegion[], stride: number): Float64Array {
  let groups = 0;
  for (const { first, slots } of regions) groups = Math.max(groups, Math.ceil((first + slots) / GROUP_SLOTS));
  const addresses = new Float64Array(groups);
  for (const { address, first, slots } of regions) {
    for (let slot = 0; slot < slots; slot += GROUP_SLOTS) {
      addresses[(first + slot) / GROUP_SLOTS] = address + slot * stride;
    }
  }
  return addresses;
}
