/**
 * Owned buffers over a `Heap`: their own ArrayBuffer, how they are wrapped, and what they do once freed. Their
 * `resize()` is in native_buffer_resize.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  DisposedError,
  fixedPageSource,
  fromPointer,
  Heap,
  InvalidFreeError,
  NativeBuffer,
  systemPageSource,
  UnsupportedPlatformError,
  UseAfterFreeError,
} from "../mod.ts";
import { formatAddress } from "../src/errors.ts";
import { Prng } from "./support/prng.ts";

const MIB = 2 ** 20;

/** Both sides of the kinds of blocks, and the least. */
const SIZES = [0, 1, 100, 16_384, 50_000, 5 * MIB];

describe("NativeBuffer", () => {
  it("has an ArrayBuffer of its own, of exactly its size", () => {
    using heap = new Heap();
    for (const size of SIZES) {
      const buffer = heap.buffer(size);
      assert(buffer instanceof NativeBuffer);
      assertEquals([buffer.byteLength, buffer.bytes.length, buffer.arrayBuffer.byteLength], [size, size, size]);
      assertStrictEquals(buffer.bytes.buffer, buffer.arrayBuffer);
      assertEquals([buffer.isolated, buffer.freed], [true, false]);
      assert(heap.owns(buffer.address));
      assertEquals(heap.addressOf(buffer.bytes), buffer.address);
      buffer.bytes.fill(7);
      assertEquals(heap.view(buffer.address).every((byte) => byte === 7), true, "the same memory");
      buffer.free();
      heap.check();
    }
  });

  it("is zero, unless that was not asked for, and aligned", () => {
    using heap = new Heap();
    for (const size of SIZES) {
      const used = heap.allocate(size);
      heap.view(used).fill(255);
      heap.free(used);
      const buffer = heap.buffer(size);
      assertEquals(buffer.bytes.findIndex((byte) => byte !== 0), -1, `${size}`);
      buffer.bytes.fill(255);
      const { address } = buffer;
      buffer.free();
      const dirty = heap.buffer(size, { zeroed: false });
      if (size > 0 && size < MIB && dirty.address === address) assertEquals(dirty.bytes[size - 1], 255);
      dirty.free();
    }
    for (const alignment of [1, 64, 4096, 4 * MIB]) assertEquals(heap.buffer(10, { alignment }).address % alignment, 0);
  });

  it("checks its arguments before anything happens", () => {
    using heap = new Heap();
    assertThrows(() => heap.buffer(-1), RangeError, "Cannot use -1 as byteLength");
    assertThrows(() => heap.buffer("1" as never), TypeError, 'Cannot use "1" as byteLength');
    assertThrows(() => heap.buffer(1, { alignment: 3 }), RangeError, "Cannot use 3 as alignment");
    assertThrows(
      () => heap.buffer(1, { zeroed: 0 as never }),
      TypeError,
      "Cannot use 0 as zeroed: it must be a boolean",
    );
    const buffer = heap.buffer(4);
    assertThrows(() => buffer.resize(1.5), RangeError, "Cannot use 1.5 as byteLength");
    assertThrows(
      () => buffer.view(5 as never),
      TypeError,
      "Cannot use 5 as an array type: it must be the constructor of a typed array",
    );
    assertEquals(heap.stats().liveBlocks, 1);
  });

  it("view() gives whole elements of any type, and a DataView of all", () => {
    using heap = new Heap();
    const buffer = heap.buffer(31);
    buffer.bytes.set([1, 2, 3, 4, 5, 6, 7, 8]);
    assertEquals(buffer.view(Float64Array).length, 3);
    assertEquals(buffer.view(Uint16Array)[0], 0x201);
    assertEquals(buffer.view(BigUint64Array)[0], 0x0807060504030201n);
    assertEquals(buffer.view(Uint8ClampedArray).length, 31);
    const data = buffer.view(DataView);
    assertEquals([data.byteLength, data.getUint32(0)], [31, 0x01020304]);
    const empty = heap.buffer(0);
    assertEquals([empty.view(Float64Array).length, empty.view(DataView).byteLength], [0, 0]);
  });

  it("pointer is the address as the runtime's FFI takes it", () => {
    using heap = new Heap();
    const buffer = heap.buffer(10);
    assertEquals(fromPointer(buffer.pointer), buffer.address);
  });

  it("free() detaches every view, and every accessor throws afterwards", () => {
    using heap = new Heap();
    for (const size of SIZES.slice(1)) {
      const buffer = heap.buffer(size);
      const { address, bytes } = buffer;
      const data = buffer.view(DataView);
      buffer.free();
      assertEquals([bytes.length, bytes[0], buffer.freed, heap.owns(address)], [0, undefined, true, false]);
      assertThrows(() => data.getUint8(0), TypeError);
      const cases: [string, () => unknown][] = [
        ["read the address of", () => buffer.address],
        ["read the length of", () => buffer.byteLength],
        ["view", () => buffer.bytes],
        ["view", () => buffer.arrayBuffer],
        ["view", () => buffer.view(Uint8Array)],
        ["take a pointer to", () => buffer.pointer],
        ["resize", () => buffer.resize(1)],
      ];
      for (const [action, call] of cases) {
        const error = assertThrows(call, UseAfterFreeError);
        assertEquals(error.message, `Cannot ${action} the buffer at ${formatAddress(address)}: it is freed`);
      }
      const error = assertThrows(() => buffer.free(), InvalidFreeError);
      assertEquals([error.message, error.kind], [
        `Cannot free ${formatAddress(address)}: the buffer is already freed`,
        "double",
      ]);
      buffer[Symbol.dispose]();
      heap.check();
    }
  });

  it("is freed at the end of a `using` scope, and by free() of its address or of a view", () => {
    using heap = new Heap();
    let bytes: Uint8Array;
    {
      using buffer = heap.buffer(100);
      bytes = buffer.bytes;
    }
    assertEquals([bytes.length, heap.stats().liveBlocks], [0, 0]);
    for (const size of [100, 50_000, 5 * MIB]) {
      const first = heap.buffer(size);
      heap.free(first.address);
      const second = heap.buffer(size);
      heap.freeArray(second.view(Float32Array));
      assertEquals([first.freed, second.freed], [true, true]);
    }
    const empty = heap.buffer(0);
    heap.freeArray(empty.bytes);
    assertEquals([empty.freed, heap.stats().liveBlocks], [true, 0]);
    heap.check();
  });

  it("a freed buffer does not mistake the block that comes after it for its own", () => {
    using heap = new Heap();
    const buffer = heap.buffer(100);
    const { address } = buffer;
    buffer.free();
    const other = heap.buffer(100);
    assertEquals(other.address, address);
    assertThrows(() => buffer.free(), InvalidFreeError);
    buffer[Symbol.dispose]();
    assert(!other.freed && heap.owns(address));
  });

  it("ends with its heap", () => {
    const heap = new Heap();
    const buffer = heap.buffer(100);
    const { bytes } = buffer;
    heap[Symbol.dispose]();
    assertEquals([buffer.freed, bytes.length], [true, 0]);
    assertThrows(() => buffer.bytes, UseAfterFreeError);
    assertThrows(() => heap.buffer(1), DisposedError, "Cannot allocate a buffer: the heap is disposed");
    buffer[Symbol.dispose]();
  });
});

describe("NativeBuffer and its page source", () => {
  it("is wrapped through a `wrap` or `unwrap` that a variation of the source has", () => {
    const system = systemPageSource();
    for (const method of ["wrap", "unwrap"] as const) {
      let calls = 0;
      const source = {
        ...system,
        [method]: (...args: [number, number]) => (calls++, system[method](...args as [never, never])),
      };
      using heap = new Heap({ source });
      heap.allocate(1);
      const before = calls;
      const buffer = heap.buffer(100);
      const { bytes } = buffer;
      buffer.free();
      assertEquals([calls - before, bytes.length], [1, 0], method);
    }
  });

  it("is detached although somebody has replaced what detaching is made of", () => {
    using heap = new Heap();
    const [first, second] = [heap.buffer(100), heap.buffer(100)];
    const own = first.arrayBuffer as ArrayBuffer;
    own.transfer = () => new ArrayBuffer(0);
    Object.defineProperty(own, "byteLength", { value: 100 });
    const views = [first.bytes, second.bytes];
    const { call } = Function.prototype;
    Function.prototype.call = () => undefined;
    try {
      first.free();
      second.free();
    } finally {
      Function.prototype.call = call;
    }
    assertEquals(views.map((view) => view.length), [0, 0]);
  });

  it("a thousand of them, freed and made again in every order", () => {
    using heap = new Heap();
    const random = new Prng(6);
    const buffers = Array.from({ length: 1000 }, (_, i) => heap.buffer(16 + i));
    buffers.forEach((buffer, place) => buffer.bytes.fill(place));
    for (let turn = 0; turn < 5000; turn++) {
      const place = random.below(buffers.length);
      const old = buffers[place]!;
      const { bytes, address } = old;
      if (turn % 2 === 0) old.free();
      else heap.free(address);
      assertEquals([old.freed, bytes.length, heap.owns(address)], [true, 0, false]);
      buffers[place] = heap.buffer(16 + place);
      buffers[place].bytes.fill(place);
    }
    buffers.forEach((buffer, place) => assert(buffer.bytes.every((byte) => byte === (place & 255))));
    assertEquals(heap.stats().liveBlocks, 1000);
    heap.check();
  });
});

describe("NativeBuffer over a fixed buffer", () => {
  it("has no ArrayBuffer of its own: older views stay readable, accessors throw all the same", () => {
    const memory = new ArrayBuffer(MIB);
    using heap = new Heap({ source: fixedPageSource(memory) });
    const buffer = heap.buffer(100);
    const { bytes, address } = buffer;
    assertEquals([buffer.isolated, bytes.length, bytes.buffer === memory], [false, 100, true]);
    assertEquals(heap.addressOf(bytes), address);
    assertThrows(() => buffer.pointer, UnsupportedPlatformError);
    buffer.resize(200);
    assertEquals([bytes.length, buffer.bytes.length], [100, 200]);
    buffer.free();
    assertThrows(() => buffer.bytes, UseAfterFreeError);
    assertEquals(bytes.length, 100);
    heap.check();
  });
});
