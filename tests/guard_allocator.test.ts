/**
 * `GuardAllocator` beyond the contract: its options, where blocks lie, what becomes of freed ones, and which ones are
 * guarded. What is found in their slack is in guard_slack.test.ts; that guard pages stop what touches them in
 * guard_death.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  brkPageSource,
  CorruptionError,
  DisposedError,
  failingPageSource,
  fixedPageSource,
  GuardAllocator,
  type GuardAllocatorOptions,
  Heap,
  InvalidFreeError,
  limitedPageSource,
  OutOfMemoryError,
  systemPageSource,
  type TypedArray,
  type TypedArrayConstructor,
  UnsupportedPlatformError,
} from "../mod.ts";
import { allocateHere, freeHere } from "./support/blocks.ts";
import { Recorder } from "./support/recording_source.ts";
import { isLinux, isWindows, mappingCount } from "./support/runtime.ts";

const { pageSize } = systemPageSource();

describe("placement of guarded blocks", () => {
  it("is no wrapper: an allocator as its options is a TypeError", () => {
    using heap = new Heap();
    assertThrows(() => new GuardAllocator(heap as never), TypeError, "memory of its own");
  });

  it("at the end: the 16-byte rounded end is that of an OS page", () => {
    using guard = new GuardAllocator();
    for (const size of [1, 13, 16, 100, 4095, 4096, 4097, 100_000]) {
      const address = guard.allocate(size);
      assertEquals((address + Math.ceil(size / 16) * 16) % pageSize, 0, `${size} bytes`);
      assertEquals([address % 16, guard.usableSize(address)], [0, size]);
    }
  });

  it("precise: the end itself is that of an OS page, unless an alignment is asked for", () => {
    using guard = new GuardAllocator({ precise: true });
    for (const size of [1, 13, 16, 100, 4095, 4096, 4097, 100_001]) {
      assertEquals((guard.allocate(size) + size) % pageSize, 0, `${size} bytes`);
      for (const alignment of [1, 2, 8, 16, 64, 4096, 2 ** 20]) {
        const address = guard.allocate(size, alignment);
        assertEquals(address % alignment, 0);
        const end = Math.ceil(size / alignment) * alignment;
        if (alignment <= pageSize) assertEquals((address + end) % pageSize, 0, `${size} bytes at ${alignment}`);
        guard.free(address);
      }
    }
    assertEquals(new Set([...guard.blocks()].map((block) => block.alignment)), new Set([1]));
  });

  it("precise: arrays are aligned to their elements, buffers to 16, and reallocate() keeps what was asked for", () => {
    using guard = new GuardAllocator({ precise: true });
    for (const type of [Uint8Array, Int16Array, Float32Array, Float64Array] as TypedArrayConstructor<TypedArray>[]) {
      const array = guard.array(type, 5);
      const address = guard.addressOf(array);
      assertEquals([address % type.BYTES_PER_ELEMENT, (address + array.byteLength) % pageSize], [0, 0]);
      guard.freeArray(array);
    }
    assertEquals(guard.buffer(13).address % 16, 0);
    let address = guard.allocate(10, 8);
    address = guard.reallocate(address, 21);
    assertEquals([address % 8, (address + 24) % pageSize], [0, 0]);
  });

  it("at the start: the address is that of an OS page", () => {
    using guard = new GuardAllocator({ placement: "start", precise: true });
    for (const size of [1, 13, 4096, 5000]) assertEquals(guard.allocate(size) % pageSize, 0);
  });

  it("over OS pages of 16 and 64 KiB, guard pages are as large", () => {
    for (const larger of [16_384, 65_536]) {
      const recorder = new Recorder(systemPageSource(), { pageSize: larger });
      const guard = new GuardAllocator({ source: recorder.source, precise: true });
      const address = guard.allocate(13);
      assertEquals((address + 13) % larger, 0);
      const [mapping] = recorder.mappings();
      assertEquals([mapping?.address, mapping?.byteLength], [address + 13 - 2 * larger, 3 * larger]);
      assertEquals(recorder.committedBytes, larger);
      guard.free(address);
      assertEquals([recorder.committedBytes, recorder.reservedBytes], [0, 3 * larger]);
      guard[Symbol.dispose]();
      assertEquals(recorder.complaint(), "");
    }
  });
});

describe("freed guarded blocks", () => {
  it("are told from strangers, with their stacks if asked", () => {
    using guard = new GuardAllocator({ stacks: true });
    const address = allocateHere(guard, 40);
    const live = guard.allocate(40);
    freeHere(guard, address);
    const error = assertThrows(() => guard.free(address), InvalidFreeError);
    assertEquals([error.kind, error.address], ["double", address]);
    assertStringIncludes(error.message, "the guarded block of 40 bytes is already freed\n  allocated\n");
    assertStringIncludes(error.message, "allocateHere");
    assertStringIncludes(error.message.slice(error.message.indexOf("  freed\n")), "freeHere");
    assert(error.allocatedAt instanceof Error && error.freedAt instanceof Error);

    const inside = assertThrows(() => guard.view(live + 8), InvalidFreeError);
    assertEquals([inside.kind, inside.freedAt], ["interior", undefined]);
    assertStringIncludes(
      inside.message,
      `it is 8 bytes inside the live guarded block of 40 bytes at 0x${live.toString(16)}`,
    );
    for (
      const [beside, text] of [
        [live + 40, "0 bytes behind the end of the live"],
        [live + 48, "8 bytes behind the end of the live"],
        [live - 3, "3 bytes before the live"],
        [address + 3, "3 bytes inside the freed"],
        [address - 1, "1 byte before the freed"],
      ] as const
    ) {
      const foreign = assertThrows(() => guard.usableSize(beside), InvalidFreeError);
      assertEquals(foreign.kind, "foreign");
      assertStringIncludes(foreign.message, text);
    }
  });

  it("keep their address space, the oldest first to go, by count and by bytes", () => {
    const recorder = new Recorder(systemPageSource());
    using guard = new GuardAllocator({ source: recorder.source, maxFreedBlocks: 3, maxFreedBytes: 12 * pageSize });
    const addresses = [1, 2, 3, 4].map(() => guard.allocate(100));
    assertEquals(recorder.committedBytes, 4 * pageSize);
    for (const address of addresses) guard.free(address);
    assertEquals([guard.freedBlocks, guard.freedBytes, recorder.committedBytes], [3, 9 * pageSize, 0]);
    assertEquals(recorder.reservedBytes, 9 * pageSize);
    assertEquals(assertThrows(() => guard.free(addresses[0]!), InvalidFreeError).kind, "foreign");
    assertEquals(assertThrows(() => guard.free(addresses[1]!), InvalidFreeError).kind, "double");

    guard.free(guard.allocate(6 * pageSize)); // eight OS pages with its guard pages: two of three must go
    assertEquals([guard.freedBlocks, guard.freedBytes], [2, 11 * pageSize]);
    guard.free(guard.allocate(20 * pageSize)); // more than may be kept at all
    assertEquals([guard.freedBlocks, guard.freedBytes, recorder.reservedBytes], [2, 11 * pageSize, 11 * pageSize]);

    assertEquals(guard.trim(), 0);
    assertEquals([guard.freedBlocks, guard.freedBytes, recorder.reservedBytes], [0, 0, 0]);
    assertEquals(guard.stats().reservedBytes, 0);
  });

  it("are given up when address space runs out", () => {
    const recorder = new Recorder(systemPageSource());
    using guard = new GuardAllocator({ source: recorder.source });
    guard.free(guard.allocate(100));
    recorder.failAfter(0, 1);
    const address = guard.allocate(100);
    assertEquals([guard.freedBlocks, guard.owns(address)], [0, true]);
    recorder.failAfter(0, 1);
    assertThrows(() => guard.allocate(100), OutOfMemoryError, "Cannot allocate 100 bytes");
    recorder.rearm();
  });

  it("are freed all the same when the system takes nothing back, and their memory goes later", () => {
    const recorder = new Recorder(systemPageSource());
    const failing = failingPageSource(recorder.source, Infinity, { operations: ["decommit", "unmap"] });
    for (const maxFreedBlocks of [0, 2]) {
      const guard = new GuardAllocator({ source: failing, maxFreedBlocks });
      const views = [1, 2, 3].map(() => guard.view(guard.allocate(100)));
      const addresses = [...guard.blocks()].map((block) => block.address);
      failing.rearm(0);
      for (const address of addresses) guard.free(address);
      assertEquals(views.map((view) => view.length), [0, 0, 0]);
      assertEquals([guard.stats().liveBlocks, guard.freedBlocks], [0, 3]);
      assertEquals(guard.stats().committedBytes, recorder.committedBytes);
      guard.check();
      assertEquals(guard.trim(), 0);
      failing.rearm(Infinity);
      assertEquals(guard.trim(), 3 * pageSize);
      assertEquals([guard.freedBlocks, recorder.reservedBytes], [0, 0]);
      guard[Symbol.dispose]();
      assertEquals(recorder.complaint(), "");
    }
  });

  it("leave no mapping behind after dispose", { ignore: !isLinux }, () => {
    new GuardAllocator()[Symbol.dispose]();
    const before = mappingCount();
    const guard = new GuardAllocator();
    for (let i = 0; i < 300; i++) {
      const address = guard.allocate(i * 40);
      if (i % 3 !== 0) guard.free(address);
    }
    assert(mappingCount() > before + 100);
    guard[Symbol.dispose]();
    // The runtime's own mappings may have changed by a few.
    assert(mappingCount() < before + 50, `${mappingCount()} mappings, ${before} before`);
  });
});

describe("an ArrayBuffer that was taken away", () => {
  it("is reported by view() or check(), and its memory stays accessible after free and dispose", () => {
    const guard = new GuardAllocator();
    const [address, other] = [guard.allocate(100), guard.allocate(100)];
    guard.view(address).fill(5);
    const stolen = new Uint8Array((guard.view(address).buffer as ArrayBuffer).transfer());
    assertEquals(stolen[99], 5);
    for (let i = 0; i < 2; i++) {
      assertThrows(() => guard.view(address), CorruptionError, "was detached from outside");
    }
    guard.check(); // it was reported
    (guard.view(other).buffer as ArrayBuffer).transfer();
    assertThrows(() => guard.check(), CorruptionError, "was detached from outside");
    guard.check();
    guard.free(address);
    stolen[0] = 1;
    guard[Symbol.dispose]();
    assertEquals(stolen.length, 100);
    stolen.fill(2);
    assertEquals(stolen[50], 2);
  });
});

describe("maxBlocks", () => {
  it("bounds the live guarded blocks when all are guarded", () => {
    using guard = new GuardAllocator({ maxBlocks: 3 });
    const addresses = [1, 2, 3].map((size) => guard.allocate(size));
    assertThrows(() => guard.allocate(4), OutOfMemoryError, "Cannot allocate 4 bytes: 3 guarded blocks are live");
    assertEquals(guard.tryAllocate(4), 0);
    guard.free(addresses[1]!);
    guard.free(guard.allocate(4));
  });

  it("is 16,384 unless told otherwise", () => {
    const source = systemPageSource();
    // No memory is committed here, and so no mapping is split.
    using guard = new GuardAllocator({ source: { ...source, commit() {}, decommit() {} }, precise: true });
    for (let i = 0; i < 16_384; i++) guard.allocate(0);
    assertThrows(() => guard.allocate(0), OutOfMemoryError, "16384 guarded blocks are live");
  });
});

describe("sampling", () => {
  it("guards one in N, the same ones for the same seed", () => {
    function guarded(seed: number): number[] {
      using guard = new GuardAllocator({ sampleRate: 10, seed });
      const found: number[] = [];
      for (let i = 0; i < 2000; i++) if (guard.isGuarded(guard.allocate(24))) found.push(i);
      assertEquals([guard.guardedBlocks, guard.stats().liveBlocks], [found.length, 2000]);
      return found;
    }
    const first = guarded(1);
    assertEquals(guarded(1), first);
    assert(guarded(2).join() !== first.join());
    assert(first.length > 150 && first.length < 250, `${first.length} of 2000 at one in ten`);
  });

  it("uses the heap for the others, their views, arrays and buffers, whatever is asked of them", () => {
    using guard = new GuardAllocator({ sampleRate: 2, seed: 3, stacks: true });
    const seen = new Set<boolean>();
    for (let i = 0; i < 40; i++) {
      const array = guard.array(Float64Array, 10).fill(i);
      const address = guard.addressOf(array);
      seen.add(guard.isGuarded(address));
      assertEquals([guard.owns(address), guard.usableSize(address) >= 80], [true, true]);
      const moved = guard.reallocate(address, 200);
      assertEquals(guard.isGuarded(moved), array.length === 0, "a block changed sides, or did not move");
      assertEquals(new Float64Array(guard.view(moved).buffer, guard.view(moved).byteOffset, 10)[9], i);
      guard.free(moved);
      assertEquals(assertThrows(() => guard.free(moved), InvalidFreeError).kind, "double");
      const buffer = guard.buffer(50);
      assertEquals(guard.isGuarded(buffer.address), guard.usableSize(buffer.address) === 50);
      buffer.resize(60);
      guard.free(buffer.address);
      assertEquals(buffer.freed, true);
      const zeroed = guard.allocateZeroed(100);
      assert(guard.view(zeroed).every((byte) => byte === 0));
      assertEquals(guard.resize(zeroed, 90), true);
      guard.freeArray(guard.view(zeroed));
    }
    assertEquals([seen.size, guard.stats().liveBlocks, guard.guardedBlocks], [2, 0, 0]);
  });

  it("leaves to the heap what cannot be guarded", () => {
    const recorder = new Recorder(systemPageSource());
    using guard = new GuardAllocator({ source: recorder.source, sampleRate: 2, seed: 1, maxBlocks: 5 });
    const addresses = Array.from({ length: 100 }, () => guard.allocate(100, 64));
    assertEquals([guard.guardedBlocks, guard.stats().liveBlocks], [5, 100]);
    const guarded = addresses.find((address) => guard.isGuarded(address))!;
    guard.view(guarded).fill(9);
    const moved = guard.reallocate(guarded, 300);
    assertEquals([guard.isGuarded(moved), guard.guardedBlocks, moved % 64], [false, 4, 0]);
    assert(guard.view(moved, 100).every((byte) => byte === 9));
    recorder.failAfter(0);
    for (let i = 0; i < 20; i++) guard.allocate(100);
    assertEquals(guard.guardedBlocks, 4);
    recorder.rearm();
    assertThrows(() => guard.allocate(2 ** 50), OutOfMemoryError, `${2 ** 50}`);
  });
});

describe("new GuardAllocator()", () => {
  it("refuses options that make no sense", () => {
    const wrong: [object, new (message: string) => Error, string][] = [
      [{ sampleRate: 0 }, RangeError, "0 as sampleRate"],
      [{ sampleRate: 1.5 }, RangeError, "1.5 as sampleRate"],
      [{ sampleRate: 2 ** 31 }, RangeError, "sampleRate"],
      [{ sampleRate: "2" }, TypeError, '"2" as sampleRate'],
      [{ seed: -1 }, RangeError, "-1 as seed"],
      [{ seed: 2 ** 32 }, RangeError, "seed"],
      [{ placement: "middle" }, RangeError, '"middle" as placement'],
      [{ precise: 1 }, TypeError, "1 as precise"],
      [{ maxBlocks: -1 }, RangeError, "-1 as maxBlocks"],
      [{ maxFreedBlocks: NaN }, RangeError, "NaN as maxFreedBlocks"],
      [{ maxFreedBytes: null }, TypeError, "null as maxFreedBytes"],
      [{ stacks: "yes" }, TypeError, '"yes" as stacks'],
    ];
    for (const [options, type, text] of wrong) {
      assertThrows(() => new GuardAllocator(options as GuardAllocatorOptions), type, text);
    }
  });

  it("refuses sources whose memory cannot be made inaccessible", () => {
    const fixed = fixedPageSource(new ArrayBuffer(2 ** 20));
    for (const source of [fixed, limitedPageSource(fixed, 2 ** 19)]) {
      const error = assertThrows(() => new GuardAllocator({ source }), UnsupportedPlatformError);
      assertStringIncludes(error.message, "cannot be made inaccessible");
      assertStringIncludes(error.message, source.name);
    }
  });

  it("refuses the program break", { ignore: isWindows }, () => {
    assertThrows(() => new GuardAllocator({ source: brkPageSource() }), UnsupportedPlatformError, '"brk"');
  });

  it("takes nothing from the source when every block is guarded", () => {
    const recorder = new Recorder(systemPageSource());
    const guard = new GuardAllocator({ source: recorder.source });
    assertEquals(recorder.calls, 0);
    guard[Symbol.dispose]();
    assertEquals(recorder.calls, 0);
    assertThrows(() => guard.isGuarded(4096), DisposedError, "guard allocator");
    assertThrows(() => guard.free(4096), DisposedError, "free 0x1000");
  });
});
