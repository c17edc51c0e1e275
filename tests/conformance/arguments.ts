/**
 * Conformance, section C: sizes and arguments.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Allocator, TypedArray, TypedArrayConstructor } from "../../src/allocator.ts";
import { OutOfMemoryError } from "../../src/errors.ts";
import type { Address } from "../../src/page_source.ts";
import type { ConformanceCase, Trial } from "./case.ts";
import {
  assertOutOfMemory,
  assertRejected,
  assertUsable,
  describeError,
  fillPattern,
  liveSnapshot,
  shown,
  snapshot,
  thrownBy,
  verifyPattern,
} from "./support.ts";

/** Values of the right type that are no sizes. */
const BAD_SIZES = [-1, -16, 1.5, 0.5, -0.5, NaN, Infinity, -Infinity, 2 ** 53, 2 ** 60, 2 ** 64, -(2 ** 53), 1e300];

/** Values of the wrong type. `undefined` is among them where there is no default. */
const WRONG_TYPES: readonly unknown[] = [
  ...["8", "", 8n, null, {}, [], [8], true, () => 8, Symbol("8"), new Date(8), Object.create(null)],
  {
    valueOf(): number {
      throw new Error("valueOf was called");
    },
  },
];

/** A value as TypeScript would not have let it through. */
function unchecked(value: unknown): number {
  return value as number;
}

/** Every entry point that takes a size, as a function of it. `live` is a live block of 100 bytes. */
function sizeEntries(allocator: Allocator, live: Address): { name: string; call: (size: number) => unknown }[] {
  return [
    { name: "allocate", call: (size) => allocator.allocate(size) },
    { name: "tryAllocate", call: (size) => allocator.tryAllocate(size) },
    { name: "allocateZeroed", call: (size) => allocator.allocateZeroed(size) },
    { name: "resize", call: (size) => allocator.resize(live, size) },
    { name: "reallocate", call: (size) => allocator.reallocate(live, size) },
    { name: "reallocate of 0", call: (size) => allocator.reallocate(0, size) },
    { name: "view", call: (size) => allocator.view(live, size) },
    { name: "array", call: (size) => allocator.array(Uint8Array, size) },
    { name: "array of Float64Array", call: (size) => allocator.array(Float64Array, size) },
    { name: "buffer", call: (size) => allocator.buffer(size) },
  ];
}

function rejectBadSizes(trial: Trial): void {
  const allocator = trial.make();
  const live = allocator.allocate(100);
  fillPattern(allocator.view(live), 1);
  for (const { name, call } of sizeEntries(allocator, live)) {
    for (const size of BAD_SIZES) {
      assertRejected(allocator, () => call(size), RangeError, `${name}(${shown(size)})`, shown(size));
    }
    for (const value of WRONG_TYPES) {
      assertRejected(allocator, () => call(unchecked(value)), TypeError, `${name}(${shown(value)})`);
    }
    if (name !== "view") {
      assertRejected(allocator, () => call(unchecked(undefined)), TypeError, `${name}(undefined)`);
    }
  }
  verifyPattern(allocator.view(live), 1);
  assertUsable(allocator);
}

function rejectBadAlignmentTypes(trial: Trial): void {
  const allocator = trial.make();
  for (const value of WRONG_TYPES) {
    const alignment = unchecked(value);
    const say = `(64, ${shown(value)})`;
    assertRejected(allocator, () => allocator.allocate(64, alignment), TypeError, `allocate${say}`);
    assertRejected(allocator, () => allocator.tryAllocate(64, alignment), TypeError, `tryAllocate${say}`);
    assertRejected(allocator, () => allocator.allocateZeroed(64, alignment), TypeError, `allocateZeroed${say}`);
    assertRejected(allocator, () => allocator.buffer(64, { alignment }), TypeError, `buffer${say}`);
  }
  assertUsable(allocator);
}

function rejectBadAddressTypes(trial: Trial): void {
  const allocator = trial.make();
  const live = allocator.allocate(100);
  const values = [...WRONG_TYPES, undefined, String(live), BigInt(live)];
  for (const value of values) {
    const address = unchecked(value);
    const say = `of ${shown(value)}`;
    assertRejected(allocator, () => allocator.free(address), TypeError, `free() ${say}`);
    assertRejected(allocator, () => allocator.usableSize(address), TypeError, `usableSize() ${say}`);
    assertRejected(allocator, () => allocator.view(address), TypeError, `view() ${say}`);
    assertRejected(allocator, () => allocator.view(address, 1), TypeError, `view(1) ${say}`);
    assertRejected(allocator, () => allocator.resize(address, 1), TypeError, `resize() ${say}`);
    assertRejected(allocator, () => allocator.reallocate(address, 1), TypeError, `reallocate() ${say}`);
    assertRejected(allocator, () => allocator.reallocate(address, 0), TypeError, `reallocate(0) ${say}`);
    assertEquals(allocator.owns(address), false, `owns() ${say}`);
  }
  assert(allocator.owns(live));
  assertUsable(allocator);
}

function rejectBadViews(trial: Trial): void {
  const allocator = trial.make();
  allocator.allocate(100);
  const values = [...WRONG_TYPES, undefined, 16, new ArrayBuffer(8), NaN];
  for (const value of values) {
    const view = value as ArrayBufferView;
    assertRejected(allocator, () => allocator.freeArray(view), TypeError, `freeArray(${shown(value)})`);
    assertRejected(allocator, () => allocator.addressOf(view), TypeError, `addressOf(${shown(value)})`);
  }
  for (const value of [undefined, null, "Uint8Array", {}, Array, Object, DataView, ArrayBuffer, () => 1]) {
    const type = value as unknown as TypedArrayConstructor<TypedArray>;
    assertRejected(allocator, () => allocator.array(type, 8), TypeError, `array() of ${shown(value)}`);
    assertRejected(allocator, () => allocator.array(type, 0), TypeError, `empty array() of ${shown(value)}`);
  }
  assertUsable(allocator);
}

function zeroSizes(trial: Trial): void {
  const allocator = trial.make();
  const blocks: Address[] = [];
  const count = 1000;
  for (let i = 0; i < count; i++) {
    blocks.push([allocator.allocate(0), allocator.tryAllocate(0), allocator.allocateZeroed(0)][i % 3] as Address);
    blocks.push(allocator.reallocate(0, 0));
  }
  assertEquals(new Set([...allocator.blocks()].map((block) => block.address)).size, allocator.stats().liveBlocks);
  for (const address of blocks) {
    if (address === 0) assert(false, "a block of size 0 has the address 0");
    assertEquals(address % 16, 0);
    assert(allocator.owns(address));
    assertEquals(allocator.view(address).length, 0);
    assert(allocator.usableSize(address) >= 0);
  }
  for (const block of [...allocator.blocks()]) {
    assertEquals(block.requestedSize, 0);
    allocator.free(block.address);
  }
  let grown = allocator.reallocate(allocator.allocate(0), 50);
  fillPattern(allocator.view(grown), 1);
  assert(allocator.resize(grown, 0), "resize() to 0 failed");
  assert(allocator.owns(grown));
  assertEquals(allocator.view(grown).length, 0);
  grown = allocator.reallocate(grown, 20);
  allocator.free(grown);
  assertEquals(allocator.stats().liveBlocks, 0);
  allocator.check();
}

/** Counts whose size in bytes does not fit: into 32 bits, into 53, into 64. */
const OVERFLOWING_COUNTS = [
  2 ** 29,
  2 ** 30,
  2 ** 31,
  2 ** 32,
  2 ** 50,
  2 ** 52,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 61,
  2 ** 64,
];

function countTimesSize(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const types = [Uint16Array, Float32Array, Float64Array, BigUint64Array, Uint8Array];
  for (const type of types) {
    for (const count of OVERFLOWING_COUNTS) {
      const bytes = count * type.BYTES_PER_ELEMENT;
      if (bytes <= Math.max(trial.expected.largestBlock, recorder.source.maxWrapBytes)) continue;
      const before = liveSnapshot(allocator);
      let array: TypedArray;
      try {
        array = allocator.array(type as TypedArrayConstructor<TypedArray>, count);
      } catch (error) {
        const isTyped = error instanceof RangeError || error instanceof OutOfMemoryError;
        assert(isTyped, `array(${type.name}, ${count}) threw ${describeError(error)}`);
        assertEquals(liveSnapshot(allocator), before, `array(${type.name}, ${count}) changed the allocator`);
        continue;
      }
      assertEquals(array.length, count, `array(${type.name}, ${count}) wrapped`);
      allocator.freeArray(array);
    }
  }
  assertUsable(allocator);
}

/** Sizes that no machine has. */
const IMPOSSIBLE_SIZES = [2 ** 50, 2 ** 50 + 1, 2 ** 52, 2 ** 53 - 4097, 2 ** 53 - 16, 2 ** 53 - 2, 2 ** 53 - 1];

function impossibleSizes(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const live = allocator.allocate(100);
  fillPattern(allocator.view(live), 1);
  for (const size of IMPOSSIBLE_SIZES) {
    const reserved = recorder.reservedBytes;
    for (const alignment of [1, 16, 4096, 2 ** 30]) {
      const what = `(${size}, ${alignment})`;
      const error = assertOutOfMemory(allocator, () => allocator.allocate(size, alignment), `allocate${what}`);
      assert(error.requested >= size && error.requested < Infinity, `allocate${what} says ${error.requested}`);
      assertOutOfMemory(allocator, () => allocator.allocateZeroed(size, alignment), `allocateZeroed${what}`);
      const before = snapshot(allocator);
      assertEquals(allocator.tryAllocate(size, alignment), 0);
      assertEquals(snapshot(allocator), before);
    }
    const error = assertOutOfMemory(allocator, () => allocator.reallocate(live, size), `reallocate(${size})`);
    assert(error.requested >= size, `reallocate(${size}) says ${error.requested}`);
    assertOutOfMemory(allocator, () => allocator.reallocate(0, size), `reallocate(0, ${size})`);
    const before = snapshot(allocator);
    assertEquals(allocator.resize(live, size), false);
    assertRejected(allocator, () => allocator.view(live, size), RangeError, `view(${size})`, `${size}`);
    const fromBuffer = thrownBy(() => allocator.buffer(size), `buffer(${size})`);
    const isTyped = fromBuffer instanceof OutOfMemoryError || fromBuffer instanceof RangeError;
    assert(isTyped, `buffer(${size}) threw ${describeError(fromBuffer)}`);
    assertEquals(snapshot(allocator), before);
    assertEquals(recorder.reservedBytes, reserved, `${size} bytes left address space behind`);
  }
  verifyPattern(allocator.view(live), 1);
  assertUsable(allocator);
}

/** The cases of section C. */
export const ARGUMENT_CASES: readonly ConformanceCase[] = [
  { id: "C1", name: "a block of size 0 has an address of its own and can be resized and freed", run: zeroSizes },
  { id: "C2", name: "array() whose size in bytes overflows fails and never wraps around", run: countTimesSize },
  {
    id: "C3",
    name: "a size that is none is a TypeError or a RangeError that names it, everywhere",
    run: rejectBadSizes,
  },
  { id: "C3", name: "an alignment of the wrong type is a TypeError, everywhere", run: rejectBadAlignmentTypes },
  {
    id: "C3",
    name: "an address of the wrong type is a TypeError, everywhere but in owns()",
    run: rejectBadAddressTypes,
  },
  { id: "C3", name: "what is no view, or no typed array, is a TypeError", run: rejectBadViews },
  {
    id: "C3",
    name: "-0 is 0",
    run(trial) {
      const allocator = trial.make();
      allocator.free(-0);
      const block = allocator.reallocate(-0, 10);
      assertEquals(Object.is(allocator.reallocate(block, -0), 0), true, "reallocate(p, -0) is not 0");
      const empty = allocator.allocate(-0);
      assertEquals([...allocator.blocks()].map((info) => Object.is(info.requestedSize, 0)), [true]);
      allocator.free(empty);
      assertEquals(allocator.owns(-0), false);
      assertEquals(allocator.stats().liveBlocks, 0);
    },
  },
  {
    id: "C3",
    name: "options of buffer() of the wrong type are a TypeError",
    run(trial) {
      const allocator = trial.make();
      for (const options of [{ zeroed: 1 }, { zeroed: "yes" }, { zeroed: null }]) {
        const call = (): unknown => allocator.buffer(8, options as unknown as { zeroed: boolean });
        assertRejected(allocator, call, TypeError, `buffer(8, ${JSON.stringify(options)})`);
      }
      assertUsable(allocator);
    },
  },
  {
    id: "C3",
    name: "a limit that is none is a TypeError or a RangeError",
    unless: (expected) => expected.limitable ? undefined : "it has no limit",
    run(trial) {
      for (const limit of [-1, 1.5, NaN, -Infinity, "8", null, 8n, {}]) {
        const error = thrownBy(() => trial.make({ limit: unchecked(limit) }), `limit ${shown(limit)}`);
        const expected = typeof limit === "number" ? RangeError : TypeError;
        assert(error instanceof expected, `limit ${shown(limit)} threw ${describeError(error)}`);
      }
      trial.make({ limit: Infinity });
      trial.make({ limit: 0 });
    },
  },
  { id: "C4", name: "an impossible size is OutOfMemoryError and leaves nothing behind", run: impossibleSizes },
  {
    id: "C4",
    name: "a block of 5 GiB can be had, touched nowhere, and freed",
    unless: (expected) => expected.largestBlock < 2 ** 28 ? "its largest block is smaller" : undefined,
    run(trial) {
      const { allocator, recorder } = trial.open();
      const size = 5 * 2 ** 30;
      const address = allocator.allocate(size);
      assert(allocator.usableSize(address) >= size);
      if (recorder.source.maxWrapBytes < size) {
        assertRejected(allocator, () => allocator.view(address), RangeError, "view() of 5 GiB");
        const before = liveSnapshot(allocator);
        const error = thrownBy(() => allocator.buffer(size), "buffer() of 5 GiB");
        assert(error instanceof RangeError, `buffer() of 5 GiB threw ${describeError(error)}`);
        assertEquals(liveSnapshot(allocator), before, "buffer() of 5 GiB");
      }
      const reserved = recorder.reservedBytes;
      allocator.free(address);
      assert(!trial.expected.observable || recorder.reservedBytes <= reserved - size, "5 GiB stayed reserved");
      assertUsable(allocator);
    },
  },
  {
    id: "C5",
    name: "free(0) does nothing",
    run(trial) {
      const { allocator, recorder } = trial.open();
      allocator.allocate(10);
      const before = snapshot(allocator);
      const calls = recorder.calls;
      allocator.free(0);
      assertEquals(snapshot(allocator), before);
      assertEquals(recorder.calls, calls);
    },
  },
];
