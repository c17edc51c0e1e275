/**
 * Conformance of views, typed arrays and owned buffers: point 12 of the issue, for which the catalogue has no section.
 * Ids are V for views and arrays, W for owned buffers.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import type { TypedArray, TypedArrayConstructor } from "../../src/allocator.ts";
import { DisposedError, InvalidFreeError, OutOfMemoryError, UseAfterFreeError } from "../../src/errors.ts";
import type { NativeBuffer } from "../../src/native_buffer.ts";
import type { ConformanceCase, Expectations, Trial } from "./case.ts";
import {
  assertInvalid,
  assertOutOfMemory,
  assertRejected,
  assertUsable,
  describeError,
  fillPattern,
  liveSnapshot,
  snapshot,
  thrownBy,
  UNKNOWN_KINDS,
  usedSizes,
  verifyPattern,
  verifyZero,
} from "./support.ts";

/** The eleven typed arrays, each with a value that only its own width and sign can hold. */
const TYPED_ARRAYS: readonly { type: TypedArrayConstructor<TypedArray>; value: number | bigint }[] = [
  { type: Int8Array, value: -128 },
  { type: Uint8Array, value: 255 },
  { type: Uint8ClampedArray, value: 200 },
  { type: Int16Array, value: -32_768 },
  { type: Uint16Array, value: 65_535 },
  { type: Int32Array, value: -(2 ** 31) },
  { type: Uint32Array, value: 2 ** 32 - 1 },
  { type: Float32Array, value: 1.5 },
  { type: Float64Array, value: Math.PI },
  { type: BigInt64Array, value: -(2n ** 63n) },
  { type: BigUint64Array, value: 2n ** 64n - 1n },
];

/** Sets an element of whichever typed array. */
function setElement(array: TypedArray, index: number, value: number | bigint): void {
  (array as unknown as Record<number, number | bigint>)[index] = value;
}

function isolatingOnly(expected: Expectations): string | undefined {
  return expected.isolating ? undefined : "its source cannot isolate: buffers have no ArrayBuffer of their own";
}

function allArrays(trial: Trial): void {
  const allocator = trial.make();
  for (const { type, value } of TYPED_ARRAYS) {
    for (const length of [0, 1, 2, 7, 100, 3000, 100_000]) {
      const bytes = length * type.BYTES_PER_ELEMENT;
      if (bytes > trial.expected.largestBlock || bytes * 4 > trial.expected.budget) continue;
      const what = `array(${type.name}, ${length})`;
      const array = allocator.array(type, length);
      assert(array instanceof type, what);
      assertEquals([array.length, array.byteLength], [length, bytes], what);
      const address = allocator.addressOf(array);
      assert(allocator.owns(address), `addressOf() of ${what} is not a live block`);
      assertEquals(address % Math.max(16, type.BYTES_PER_ELEMENT), 0, what);
      assertEquals([...allocator.blocks()].map((block) => block.requestedSize), [bytes], what);
      if (length > 0) {
        setElement(array, 0, value);
        setElement(array, length - 1, value);
        assertEquals([array[0], array[length - 1]], [value, value], what);
        const same = allocator.view(address);
        same[0] = 77;
        assertEquals(
          new Uint8Array(array.buffer, array.byteOffset)[0],
          77,
          `view() and ${what} are not the same memory`,
        );
        const part = array.subarray(length >>> 1);
        assertEquals(allocator.addressOf(part) - address, (length >>> 1) * type.BYTES_PER_ELEMENT, what);
      }
      allocator.freeArray(array);
      assertEquals(allocator.stats().liveBlocks, 0, what);
      assertInvalid(allocator, address, UNKNOWN_KINDS, `the block of ${what}, freed`);
    }
  }
}

function dataViews(trial: Trial): void {
  const allocator = trial.make();
  const address = allocator.allocate(64);
  const bytes = allocator.view(address);
  const data = new DataView(bytes.buffer, bytes.byteOffset, 64);
  data.setFloat64(8, Math.E, true);
  assertEquals(allocator.addressOf(data), address);
  assertEquals(allocator.addressOf(new DataView(bytes.buffer, bytes.byteOffset + 8, 8)), address + 8);
  assertEquals(new Float64Array(bytes.buffer, bytes.byteOffset, 8)[1], Math.E);
  allocator.freeArray(data);
  assertEquals(allocator.owns(address), false);
}

function viewLengths(trial: Trial): void {
  const allocator = trial.make();
  for (const size of [0, 1, 15, 100, 5000, ...usedSizes(trial.expected, 4)]) {
    const address = allocator.allocate(size);
    const usable = allocator.usableSize(address);
    assertEquals(allocator.view(address).length, size, "view() without a length covers the size that was asked for");
    for (const length of [0, 1, size, usable]) {
      if (length > usable) continue;
      assertEquals(allocator.view(address, length).length, length);
    }
    for (const length of [usable + 1, usable + 16, 2 * usable + 4096, 2 ** 32 + size, 2 ** 40]) {
      const call = (): unknown => allocator.view(address, length);
      assertRejected(allocator, call, RangeError, `view(p, ${length}) of ${usable} usable bytes`, `${length}`);
    }
    if (usable > 0) {
      allocator.view(address, usable)[usable - 1] = 123;
      assertEquals(allocator.view(address, usable)[usable - 1], 123);
    }
    if (size > 0) {
      assertEquals(allocator.addressOf(allocator.view(address)), address);
      fillPattern(allocator.view(address), 4);
      verifyPattern(allocator.view(address), 4);
    }
    allocator.free(address);
  }
}

function viewsOfFreedMemory(trial: Trial): void {
  for (const size of usedSizes(trial.expected, 4)) {
    const allocator = trial.make();
    const address = allocator.allocate(size);
    const view = allocator.view(address);
    view.fill(1);
    allocator.free(address);
    // Whatever it shows, reading and writing it must be safe, until and after the memory is given back.
    for (const when of ["after free()", "after trim()", "after dispose"]) {
      let sum = 0;
      for (let i = 0; i < size; i += 509) sum += view[i] ?? 0;
      view[0] = 2;
      assert(Number.isInteger(sum), when);
      if (when === "after free()") allocator.trim();
      else allocator[Symbol.dispose]();
    }
    if (trial.expected.isolating) assertEquals(view.length, 0, "a view is not empty after dispose");
  }
}

/** Every accessor of a buffer that must throw once it is freed. */
function accessors(buffer: NativeBuffer): { name: string; call: () => unknown }[] {
  return [
    { name: "address", call: () => buffer.address },
    { name: "byteLength", call: () => buffer.byteLength },
    { name: "bytes", call: () => buffer.bytes },
    { name: "arrayBuffer", call: () => buffer.arrayBuffer },
    { name: "pointer", call: () => buffer.pointer },
    { name: "view(Float64Array)", call: () => buffer.view(Float64Array) },
    { name: "view(DataView)", call: () => buffer.view(DataView) },
    { name: "resize()", call: () => buffer.resize(10) },
  ];
}

/** Fails unless the buffer behaves as a freed one. */
function assertFreed(buffer: NativeBuffer, what: string): void {
  for (const { name, call } of accessors(buffer)) {
    const error = thrownBy(call, `${name} of ${what}`);
    if (!(error instanceof UseAfterFreeError)) fail(`${name} of ${what} threw ${describeError(error)}`);
    assertEquals([error.code, error.name], ["ERR_USE_AFTER_FREE", "UseAfterFreeError"]);
    assert(/^Cannot .*0x[0-9a-f]+.* freed/.test(error.message), `${name} of ${what} says: ${error.message}`);
  }
  assertEquals(buffer.freed, true, what);
  buffer[Symbol.dispose]();
  buffer[Symbol.dispose]();
}

function ownedBuffers(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const { isolating } = recorder.source;
  for (const size of [0, 1, 15, 16, 100, 4096, 5000, ...usedSizes(trial.expected, 6)]) {
    for (const alignment of [16, 256, 4096]) {
      const what = `buffer(${size}) aligned to ${alignment}`;
      const buffer = allocator.buffer(size, { alignment });
      assertEquals([buffer.byteLength, buffer.bytes.length, buffer.address % alignment], [size, size, 0], what);
      assertEquals([buffer.freed, buffer.isolated], [false, isolating], what);
      assert(allocator.owns(buffer.address), what);
      assertEquals([...allocator.blocks()].map((b) => [b.requestedSize, b.alignment]), [[size, alignment]], what);
      verifyZero(buffer.bytes, what);
      fillPattern(buffer.bytes, size);
      if (isolating) {
        assertEquals([buffer.arrayBuffer.byteLength, buffer.bytes.byteOffset], [size, 0], what);
        assert(buffer.bytes.buffer === buffer.arrayBuffer, what);
        verifyPattern(allocator.view(buffer.address), size, size, `view() of the block of ${what}`);
        if (size > 0) {
          assertEquals(allocator.addressOf(buffer.bytes.subarray(size - 1)), buffer.address + size - 1, what);
        }
      }
      for (const { type } of TYPED_ARRAYS) {
        const view = buffer.view(type);
        assertEquals(view.length, Math.floor(size / type.BYTES_PER_ELEMENT), `${what} as ${type.name}`);
        assertEquals([view.buffer, view.byteOffset], [buffer.arrayBuffer, buffer.bytes.byteOffset]);
      }
      assertEquals(buffer.view(DataView).byteLength, size);
      const { bytes } = buffer;
      const floats = buffer.view(Float64Array);
      buffer.free();
      if (isolating) {
        assertEquals([bytes.length, floats.length, bytes[0]], [0, 0, undefined], `views of ${what}, freed`);
      }
      assertFreed(buffer, `${what}, freed`);
    }
  }
  assertEquals(allocator.stats().liveBlocks, 0);
}

function freeingBuffers(trial: Trial): void {
  const allocator = trial.make();
  const { isolating } = trial.expected;
  for (const size of [1, 100, ...usedSizes(trial.expected, 6)]) {
    const ways: readonly { name: string; free: (buffer: NativeBuffer) => void }[] = [
      { name: "free()", free: (buffer) => buffer.free() },
      { name: "Symbol.dispose", free: (buffer) => buffer[Symbol.dispose]() },
      { name: "the allocator's free()", free: (buffer) => allocator.free(buffer.address) },
      { name: "the allocator's freeArray()", free: (buffer) => allocator.freeArray(buffer.bytes) },
    ];
    for (const { name, free } of ways) {
      const neighbour = allocator.allocate(size);
      const buffer = allocator.buffer(size);
      const { address, bytes } = buffer;
      free(buffer);
      const what = `a buffer of ${size} bytes freed by ${name}`;
      if (isolating) assertEquals([bytes.length, bytes[0]], [0, undefined], what);
      assertFreed(buffer, what);
      assertEquals(allocator.stats().liveBlocks, 1, what);
      const before = snapshot(allocator);
      const error = thrownBy(() => buffer.free(), `a second free() of ${what}`);
      assert(error instanceof InvalidFreeError && error.kind === "double", `${what}: ${describeError(error)}`);
      assertEquals(error.address, address);
      // The address may go to somebody else; the freed buffer must not free that.
      const successor = allocator.allocate(size);
      thrownBy(() => buffer.free(), `free() of ${what} while another block lives at its place`);
      buffer[Symbol.dispose]();
      assert(allocator.owns(successor), `${what} freed the block after it`);
      allocator.free(successor);
      assertEquals(liveSnapshot(allocator).split(";")[0], `1 ${allocator.usableSize(neighbour)} Infinity`, before);
      allocator.free(neighbour);
    }
  }
  {
    using scoped = allocator.buffer(40);
    scoped.bytes.fill(1);
    assertEquals(allocator.stats().liveBlocks, 1);
  }
  assertEquals(allocator.stats().liveBlocks, 0);
  allocator.check();
}

function resizingBuffers(trial: Trial): void {
  const { allocator, recorder } = trial.open();
  const { isolating } = recorder.source;
  const sizes = [100, 0, 1, 64, 63, 5000, 4000, 40_000, 3, 70_000, 16, 3_000_000, 100_000, 100]
    .filter((size) => size <= trial.expected.largestBlock && size * 4 <= trial.expected.budget);
  for (const alignment of [16, 4096]) {
    const buffer = allocator.buffer(50, { alignment });
    const neighbour = allocator.allocate(50);
    fillPattern(allocator.view(neighbour), 1);
    let size = 50;
    for (const next of sizes) {
      const what = `a buffer resized from ${size} to ${next} bytes`;
      const old = buffer.bytes;
      const oldAddress = buffer.address;
      fillPattern(old, next);
      buffer.resize(next);
      assertEquals([buffer.byteLength, buffer.bytes.length, buffer.address % alignment], [next, next, 0], what);
      verifyPattern(buffer.bytes, next, Math.min(size, next), what);
      verifyZero(buffer.bytes.subarray(size), `the new part of ${what}`);
      if (isolating) {
        assertEquals([old.length, buffer.arrayBuffer.byteLength], [0, next], what);
        assert(buffer.bytes !== old, what);
      }
      if (buffer.address !== oldAddress) assertEquals(allocator.owns(oldAddress), false, what);
      assertEquals(allocator.stats().liveBlocks, 2, what);
      verifyPattern(allocator.view(neighbour), 1, 50, `the neighbour of ${what}`);
      size = next;
    }
    fillPattern(buffer.bytes, 8);
    const { bytes } = buffer;
    assertOutOfMemory(allocator, () => buffer.resize(2 ** 50), "resize() of a buffer to 2^50 bytes");
    for (const bad of [-1, 1.5, NaN, 2 ** 53]) {
      assertRejected(allocator, () => buffer.resize(bad), RangeError, `resize(${bad}) of a buffer`);
    }
    assertRejected(allocator, () => buffer.resize("9" as unknown as number), TypeError, `resize("9") of a buffer`);
    assert(buffer.bytes === bytes || buffer.bytes.length === bytes.length, "a failed resize() lost the views");
    verifyPattern(bytes, 8, size, "a buffer whose resize() failed");
    buffer.free();
    allocator.free(neighbour);
  }
  assertEquals(allocator.stats().liveBlocks, 0);
}

function buffersOfDisposedAllocator(trial: Trial): void {
  const allocator = trial.make();
  const buffers = [0, 10, 5000, ...usedSizes(trial.expected, 4)].map((size) => allocator.buffer(size));
  const views = buffers.map((buffer) => buffer.bytes);
  allocator[Symbol.dispose]();
  buffers.forEach((buffer, i) => {
    if (trial.expected.isolating) assertEquals(views[i]?.length, 0, "a buffer outlived its allocator");
    assertFreed(buffer, "a buffer of a disposed allocator");
    const error = thrownBy(() => buffer.free(), "free() of a buffer of a disposed allocator");
    assert(error instanceof InvalidFreeError || error instanceof DisposedError, describeError(error));
  });
}

/** Moves and shrinks a buffer's block behind its back. Nothing may show freed memory through the old views. */
function reallocatedBehindItsBack(trial: Trial): void {
  for (const size of usedSizes(trial.expected, 16)) {
    const allocator = trial.make();
    const buffer = allocator.buffer(size);
    const { address, bytes } = buffer;
    fillPattern(bytes, 1);
    allocator.allocate(size);
    let moved = address;
    try {
      moved = allocator.reallocate(address, size * 8);
    } catch (error) {
      // An allocator may refuse to move what a NativeBuffer owns; then nothing has happened.
      assert(error instanceof Error, "reallocate() of a buffer's block threw no error");
      verifyPattern(buffer.bytes, 1);
      buffer.free();
      allocator[Symbol.dispose]();
      continue;
    }
    verifyPattern(allocator.view(moved), 1, size, "a buffer's block after reallocate()");
    if (moved !== address) {
      assertEquals(bytes.length, 0, "a buffer's views show memory that reallocate() moved away from");
      assertEquals(allocator.owns(address), false);
    }
    allocator.free(moved);
    assertEquals(bytes.length, 0, "a buffer's views outlived its block");
    allocator[Symbol.dispose]();
  }
}

function detachedFromOutside(trial: Trial): void {
  const { allocator } = trial.open();
  const buffer = allocator.buffer(1000);
  const copy = (buffer.arrayBuffer as ArrayBuffer).transfer(0);
  assertEquals([copy.byteLength, buffer.bytes.length], [0, 0]);
  buffer.free();
  assertEquals(allocator.stats().liveBlocks, 0);
  assertUsable(allocator);
}

/** The cases of views, arrays and owned buffers. */
export const VIEW_CASES: readonly ConformanceCase[] = [
  { id: "V1", name: "array(), addressOf() and freeArray() with all eleven typed arrays", run: allArrays },
  { id: "V2", name: "addressOf() and freeArray() with a DataView", run: dataViews },
  {
    id: "V3",
    name: "view() covers the size asked for, any length up to the usable size, and no more",
    run: viewLengths,
  },
  { id: "V4", name: "a view of freed memory can be read and written without harm", run: viewsOfFreedMemory },
  {
    id: "V5",
    name: "array() with an impossible length leaves nothing behind",
    run(trial) {
      const allocator = trial.make();
      const before = snapshot(allocator);
      const error = thrownBy(() => allocator.array(Uint8Array, 2 ** 52), "array() of 2^52 bytes");
      assert(error instanceof OutOfMemoryError || error instanceof RangeError, describeError(error));
      assertEquals(snapshot(allocator), before);
    },
  },
  { id: "W1", name: "buffer() has address, length, alignment, zeros and views of every type", run: ownedBuffers },
  { id: "W2", name: "a buffer can be freed in every way, and only once", run: freeingBuffers },
  {
    id: "W3",
    name: "resize() of a buffer keeps contents and alignment and detaches the old views",
    run: resizingBuffers,
  },
  { id: "W4", name: "disposing the allocator frees its buffers", run: buffersOfDisposedAllocator },
  {
    id: "W5",
    name: "reallocate() of a buffer's block leaves no view of the old memory",
    unless: isolatingOnly,
    run: reallocatedBehindItsBack,
  },
  {
    id: "W6",
    name: "a buffer that was detached from outside can be freed",
    unless: isolatingOnly,
    run: detachedFromOutside,
  },
  {
    id: "W7",
    name: "buffer({ zeroed: false }) has every other property of a buffer",
    run(trial) {
      const allocator = trial.make();
      const buffer = allocator.buffer(500, { zeroed: false });
      fillPattern(buffer.bytes, 2);
      buffer.resize(900);
      verifyPattern(buffer.bytes, 2, 500);
      assertEquals(buffer.byteLength, 900);
      buffer.free();
    },
  },
];
