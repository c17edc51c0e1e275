/**
 * What the conformance cases share: patterns, snapshots and the checks that every misuse must pass.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import type { Allocator, AllocatorStats } from "../../src/allocator.ts";
import { formatAddress, InvalidFreeError, type InvalidFreeKind, OutOfMemoryError } from "../../src/errors.ts";
import type { Address } from "../../src/page_source.ts";
import type { Expectations } from "./case.ts";

/** Bytes of a pattern table: from one of its multiples to the next, a pattern only changes by a constant. */
const CHUNK = 2 ** 16;

/** From this many bytes on, a pattern is verified in samples: its ends, and 256 bytes of every 4096 between. */
const SAMPLED_FROM = 2 ** 15;

/** The pattern tables by their first byte, made when first used. */
const TABLES: (Uint8Array | undefined)[] = [];

/** The pattern from a multiple of `CHUNK` to the next: differs between offsets and seeds, so that any move shows. */
function patternTable(seed: number, chunk: number): Uint8Array {
  const first = (seed * 167 + chunk * 7 + 1) & 255;
  let table = TABLES[first];
  if (table === undefined) {
    table = new Uint8Array(CHUNK);
    for (let i = 0; i < CHUNK; i++) table[i] = first + i * 31 + (i >>> 8) * 13;
    TABLES[first] = table;
  }
  return table;
}

/** Fills all bytes of a view with the pattern of `seed`. */
export function fillPattern(view: Uint8Array, seed: number): void {
  for (let chunk = 0, start = 0; start < view.length; chunk++, start += CHUNK) {
    const table = patternTable(seed, chunk);
    const end = Math.min(CHUNK, view.length - start);
    if (end >= 64) {
      view.set(end === CHUNK ? table : table.subarray(0, end), start);
    } else {
      for (let i = 0; i < end; i++) view[start + i] = table[i] as number;
    }
  }
}

/** Throws unless the first `length` bytes of a view have the pattern of `seed`. Long ones are verified in samples. */
export function verifyPattern(view: Uint8Array, seed: number, length = view.length, what = "the block"): void {
  if (view.length < length) fail(`${what} has a view of ${view.length} bytes; expected at least ${length}`);
  for (let chunk = 0, start = 0; start < length; chunk++, start += CHUNK) {
    const table = patternTable(seed, chunk);
    const end = Math.min(CHUNK, length - start);
    for (let i = 0; i < end; i++) {
      if (view[start + i] !== table[i]) {
        fail(`${what} holds ${view[start + i]} instead of ${table[i]} at offset ${start + i} of ${length}`);
      }
      const offset = start + i;
      if (length >= SAMPLED_FROM && (offset & 4095) === 255 && offset >= 4096 && offset < length - 8192) i += 3840;
    }
  }
}

/** Throws unless the first `length` bytes are zero. */
export function verifyZero(view: Uint8Array, what: string, length = view.length): void {
  for (let i = 0; i < length; i++) {
    if (view[i] !== 0) fail(`${what} holds ${view[i]} instead of 0 at offset ${i} of ${length}`);
  }
}

/** Everything an allocator tells about itself, as one string to compare. */
export function snapshot(allocator: Allocator): string {
  const blocks = [...allocator.blocks()].sort((a, b) => a.address - b.address)
    .map((b) => `${b.address}:${b.requestedSize}/${b.usableSize}@${b.alignment}`);
  const stats = Object.entries(allocator.stats()).map(([key, value]) => `${key}=${value}`);
  return `${stats.join(" ")}; ${blocks.join(" ")}`;
}

/** As `snapshot`, without the memory held in reserve: what must be the same after `OutOfMemoryError`. */
export function liveSnapshot(allocator: Allocator): string {
  const { liveBlocks, liveBytes, limit } = allocator.stats();
  return `${liveBlocks} ${liveBytes} ${limit}; ${snapshot(allocator).split(";")[1]}`;
}

/** What an action throws. Fails when it throws nothing. */
export function thrownBy(action: () => unknown, what: string): unknown {
  let result: unknown;
  try {
    result = action();
  } catch (error) {
    return error;
  }
  fail(`${what} returned ${String(result)} instead of throwing`);
}

/** Fails unless the action throws exactly this built-in class, with all `parts` in its message, and changes nothing. */
export function assertRejected(
  allocator: Allocator,
  action: () => unknown,
  errorClass: new (message: string) => Error,
  what: string,
  ...parts: string[]
): void {
  const before = snapshot(allocator);
  const error = thrownBy(action, what);
  if (!(error instanceof errorClass)) fail(`${what} threw ${describeError(error)} instead of a ${errorClass.name}`);
  // "Cannot mix BigInt and other types" and "Cannot convert a Symbol value" are V8's own.
  if (!/^Cannot .+: /.test(error.message)) fail(`${what}: the message is the engine's own: ${error.message}`);
  for (const part of parts) {
    if (!error.message.includes(part)) fail(`${what}: the message does not say ${part}: ${error.message}`);
  }
  assertEquals(snapshot(allocator), before, `${what} changed the allocator`);
  allocator.check();
}

/** Fails unless the action throws `OutOfMemoryError`, leaves the live blocks as they were and holds no more than before. */
export function assertOutOfMemory(allocator: Allocator, action: () => unknown, what: string): OutOfMemoryError {
  const before = liveSnapshot(allocator);
  const held = allocator.stats();
  const error = thrownBy(action, what);
  if (!(error instanceof OutOfMemoryError)) {
    fail(`${what} threw ${describeError(error)} instead of an OutOfMemoryError`);
  }
  assertEquals(error.code, "ERR_OUT_OF_MEMORY");
  assertEquals(error.name, "OutOfMemoryError");
  assertHoldsNoMore(allocator, before, held, what);
  return error;
}

/**
 * Fails when the live blocks are not as they were or more memory is held for blocks than before. Tables may have grown: that
 * happens once, and the next attempt needs it.
 */
export function assertHoldsNoMore(allocator: Allocator, before: string, held: AllocatorStats, what: string): void {
  assertEquals(liveSnapshot(allocator), before, `${what} changed the live blocks`);
  const now = allocator.stats();
  for (const key of ["committedBytes", "reservedBytes", "wrappedBytes", "regions"] as const) {
    // These include the tables.
    const tables = key === "reservedBytes" || key === "wrappedBytes" ? now.tableBytes - held.tableBytes : 0;
    assert(
      now[key] - tables <= held[key],
      `${what} failed and holds more than before: ${key} ${held[key]}, ${now[key]}`,
    );
  }
  allocator.check();
}

/** An error of unknown class for a message. */
export function describeError(error: unknown): string {
  return error instanceof Error ? `${error.name} (${error.message})` : String(error);
}

/** A method that takes an address and must reject one that is not a live block. */
export interface AddressMethod {
  /** As in the call. */
  readonly name: string;
  /** Calls it. */
  readonly call: (allocator: Allocator, address: Address) => unknown;
}

/** Every such method. Each has the same effect on no block: none. */
export const ADDRESS_METHODS: readonly AddressMethod[] = [
  { name: "free()", call: (a, p) => a.free(p) },
  { name: "usableSize()", call: (a, p) => a.usableSize(p) },
  { name: "view()", call: (a, p) => a.view(p) },
  { name: "view(1)", call: (a, p) => a.view(p, 1) },
  { name: "resize(1)", call: (a, p) => a.resize(p, 1) },
  { name: "resize(100000)", call: (a, p) => a.resize(p, 100_000) },
  { name: "reallocate(1)", call: (a, p) => a.reallocate(p, 1) },
  { name: "reallocate(100000)", call: (a, p) => a.reallocate(p, 100_000) },
  { name: "reallocate(0)", call: (a, p) => a.reallocate(p, 0) },
];

/** The kinds a bad address may be called when the allocator cannot know better. */
export const UNKNOWN_KINDS: readonly InvalidFreeKind[] = ["double", "foreign"];

/**
 * Fails unless every method that takes an address rejects this one as it must, `owns` says no, and nothing changes.
 */
export function assertInvalid(
  allocator: Allocator,
  address: Address,
  kinds: readonly InvalidFreeKind[],
  what: string,
  methods = ADDRESS_METHODS,
): void {
  const before = snapshot(allocator);
  for (const method of methods) assertInvalidCall(allocator, method, address, kinds, what);
  assert(!allocator.owns(address), `owns() says yes to ${what}`);
  assertEquals(snapshot(allocator), before, `a rejected call changed the allocator (${what})`);
  allocator.check();
}

/** As {@link assertInvalid} for one method, without comparing the state. */
export function assertInvalidCall(
  allocator: Allocator,
  method: AddressMethod,
  address: Address,
  kinds: readonly InvalidFreeKind[],
  what: string,
): void {
  const label = `${method.name} of ${what}, ${formatAddress(address)},`;
  const error = thrownBy(() => method.call(allocator, address), label);
  if (!(error instanceof InvalidFreeError)) fail(`${label} threw ${describeError(error)}`);
  assertInvalidFreeError(error, address, kinds, label);
}

/** Fails unless the error says what it must. */
export function assertInvalidFreeError(
  error: InvalidFreeError,
  address: Address,
  kinds: readonly InvalidFreeKind[],
  label: string,
): void {
  assertEquals(error.code, "ERR_INVALID_FREE", label);
  assertEquals(error.name, "InvalidFreeError", label);
  assert(kinds.includes(error.kind), `${label} is called ${error.kind}; expected ${kinds.join(" or ")}`);
  assert(Object.is(error.address, address), `${label} carries the address ${error.address}`);
  assert(error.message.startsWith("Cannot "), `${label} has the message ${error.message}`);
  assert(error.message.includes(formatAddress(address)), `${label} does not name the address: ${error.message}`);
}

/** Fails unless a block can still be allocated, used and freed. */
export function assertUsable(allocator: Allocator): void {
  const before = allocator.stats().liveBlocks;
  const address = allocator.allocate(100);
  fillPattern(allocator.view(address), 7);
  verifyPattern(allocator.view(address), 7);
  assertEquals(allocator.stats().liveBlocks, before + 1);
  allocator.free(address);
  assertEquals(allocator.stats().liveBlocks, before);
  allocator.check();
}

/** The sizes of the expectations under which `count` live blocks of each stay within the budget. */
export function usedSizes(expected: Expectations, count: number): number[] {
  return expected.sizes.filter((size) => size <= expected.largestBlock && size * count <= expected.budget);
}

/** `count` blocks of `size`, each with a pattern by its place. */
export function allocateMany(allocator: Allocator, count: number, size: number): Address[] {
  const blocks: Address[] = [];
  for (let i = 0; i < count; i++) {
    const address = allocator.allocate(size);
    fillPattern(allocator.view(address), i);
    blocks.push(address);
  }
  return blocks;
}

/** The value as it stands in a message. */
export function shown(value: unknown): string {
  if (typeof value === "object" && value !== null && !("toString" in value)) {
    return "an object without a prototype";
  }
  return Object.is(value, -0) ? "-0" : typeof value === "string" ? JSON.stringify(value) : String(value);
}
