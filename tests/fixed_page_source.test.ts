/**
 * An ArrayBuffer as a page source: nothing here needs FFI (permissions.test.ts shows it without the permission).
 *
 * @module
 */
import { assert, assertEquals, assertGreaterOrEqual, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { toPointer } from "../ffi/pointer.ts";
import { CorruptionError, OutOfMemoryError, UnsupportedPlatformError } from "../src/errors.ts";
import { fixedPageSource } from "../src/fixed_page_source.ts";
import type { PageSource } from "../src/page_source.ts";
import { Prng } from "./support/prng.ts";

const PAGE = 4096;

/** A buffer full of ones: everything that must read as zero has to be made so. */
function dirtyBuffer(byteLength: number): ArrayBuffer {
  const buffer = new ArrayBuffer(byteLength);
  new Uint8Array(buffer).fill(0xff);
  return buffer;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

describe("fixedPageSource()", () => {
  it("describes itself", () => {
    const source = fixedPageSource(new ArrayBuffer(3 * PAGE + 100));
    assertEquals(source.name, "fixed");
    assertEquals(source.pageSize, PAGE);
    assertEquals(source.granularity, PAGE);
    assertEquals(source.maxWrapBytes, 3 * PAGE);
    assertEquals(source.lazy, false);
    assertEquals(source.isolating, false);
  });

  it("reserve() gives every whole page once, then throws OutOfMemoryError with the figures", () => {
    const source = fixedPageSource(new ArrayBuffer(4 * PAGE + 4095));
    const addresses = [0, 1, 2, 3].map(() => source.reserve(PAGE, 1));
    assertEquals(new Set(addresses).size, 4);
    for (const address of addresses) assertEquals(address % PAGE, 0);
    const error = assertThrows(() => source.reserve(PAGE, 1), OutOfMemoryError);
    assertEquals(error.requested, PAGE);
    assertEquals(error.limit, 4 * PAGE);
    assertEquals(error.code, "ERR_OUT_OF_MEMORY");
    assertEquals(
      error.message,
      "Cannot reserve 4096 bytes: the buffer of 16384 bytes has 0 free, the longest piece 0",
    );
  });

  it("reserve() is first fit, and unmap() coalesces on both sides", () => {
    const source = fixedPageSource(new ArrayBuffer(6 * PAGE));
    const [a, b, c] = [source.reserve(2 * PAGE, 1), source.reserve(2 * PAGE, 1), source.reserve(2 * PAGE, 1)];
    source.unmap(a, 2 * PAGE);
    source.unmap(c, 2 * PAGE);
    assertThrows(() => source.reserve(3 * PAGE, 1), OutOfMemoryError, "the longest piece 8192");
    assertEquals(source.reserve(PAGE, 1), a);
    source.unmap(a, PAGE);
    source.unmap(b, 2 * PAGE);
    assertEquals(source.reserve(6 * PAGE, 1), a);
  });

  it("reserve() keeps every alignment up to 1 GiB, the first page even that", () => {
    const source = fixedPageSource(new ArrayBuffer(64 * PAGE));
    for (let alignment = 1; alignment <= 16 * PAGE; alignment *= 2) {
      assertEquals(source.reserve(PAGE, alignment) % alignment, 0);
    }
    const aligned = fixedPageSource(new ArrayBuffer(2 * PAGE));
    assertEquals(aligned.reserve(PAGE, 2 ** 30) % 2 ** 30, 0);
    assertThrows(() => aligned.reserve(PAGE, 2 ** 30), OutOfMemoryError);
  });

  it("two sources share no address, and none is an address that a program can have", () => {
    const sources = [0, 1, 2].map(() => fixedPageSource(new ArrayBuffer(PAGE)));
    const addresses = sources.map((source) => source.reserve(PAGE, 1));
    assertEquals(new Set(addresses).size, 3);
    for (const address of addresses) {
      assertGreaterOrEqual(address, 2 ** 48);
      assert(Number.isSafeInteger(address + 2 ** 40));
    }
    const [first, second] = sources as [PageSource, PageSource];
    assertThrows(() => first.commit(addresses[1] as number, PAGE), RangeError, "not reserved");
    assertThrows(() => second.unmap(addresses[0] as number, PAGE), RangeError, "no reservation begins there");
  });

  it("committed memory reads as zero, whatever the buffer held, and after decommit and after unmap again", () => {
    const source = fixedPageSource(dirtyBuffer(4 * PAGE));
    const address = source.reserve(4 * PAGE, 1);
    source.commit(address, 4 * PAGE);
    const bytes = source.wrap(address, 4 * PAGE);
    assert(isZero(bytes));
    bytes.fill(7);
    source.decommit(address + PAGE, 2 * PAGE);
    source.commit(address + PAGE, 2 * PAGE);
    assert(isZero(bytes.subarray(PAGE, 3 * PAGE)));
    assertEquals(bytes[PAGE - 1], 7);
    assertEquals(bytes[3 * PAGE], 7);
    source.unmap(address, 4 * PAGE);
    const again = source.reserve(4 * PAGE, 1);
    source.commit(again, 4 * PAGE);
    assert(isZero(source.wrap(again, 4 * PAGE)));
  });

  it("committing again keeps what is there, and clears only what was not committed", () => {
    const source = fixedPageSource(dirtyBuffer(3 * PAGE));
    const address = source.reserve(3 * PAGE, 1);
    source.commit(address + PAGE, PAGE);
    const bytes = source.wrap(address, 3 * PAGE);
    bytes.fill(9);
    source.commit(address, 3 * PAGE);
    assert(isZero(bytes.subarray(0, PAGE)));
    assert(bytes.subarray(PAGE, 2 * PAGE).every((byte) => byte === 9));
    assert(isZero(bytes.subarray(2 * PAGE)));
  });

  it("discard() leaves zeros", () => {
    const source = fixedPageSource(dirtyBuffer(2 * PAGE));
    const address = source.reserve(2 * PAGE, 1);
    source.commit(address, 2 * PAGE);
    const bytes = source.wrap(address, 2 * PAGE);
    bytes.fill(3);
    source.discard(address, PAGE);
    assert(isZero(bytes.subarray(0, PAGE)));
    assertEquals(bytes[PAGE], 3);
  });

  it("wrap() is a window on the caller's buffer, of any length, and unwrap() leaves it alone", () => {
    const buffer = new ArrayBuffer(2 * PAGE);
    const source = fixedPageSource(buffer);
    const address = source.reserve(2 * PAGE, 1);
    source.commit(address, 2 * PAGE);
    const bytes = source.wrap(address + 24, 100);
    assertEquals(bytes.buffer as ArrayBufferLike, buffer);
    assertEquals([bytes.byteOffset, bytes.byteLength], [24, 100]);
    bytes[0] = 5;
    source.unwrap(bytes);
    assertEquals(bytes[0], 5);
    assertEquals(new Uint8Array(buffer)[24], 5);
    assertThrows(() => source.wrap(address, 2 * PAGE + 1), RangeError, "from 1 to 8192");
    assertThrows(() => source.wrap(address + PAGE, PAGE + 1), RangeError, "not reserved");
    assertThrows(() => source.wrap(address, 0), RangeError);
  });

  it("works on a SharedArrayBuffer", () => {
    const shared = new SharedArrayBuffer(2 * PAGE);
    new Uint8Array(shared).fill(0xff);
    const source = fixedPageSource(shared);
    const address = source.reserve(PAGE, 1);
    source.commit(address, PAGE);
    const bytes = source.wrap(address, PAGE);
    assert(isZero(bytes));
    assertEquals(bytes.buffer as ArrayBufferLike, shared);
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, 4);
    assertEquals(Atomics.add(words, 0, 2), 0);
    assertEquals(words[0], 2);
  });

  it("the pageSize option makes small buffers useful", () => {
    const source = fixedPageSource(new ArrayBuffer(100), { pageSize: 16 });
    assertEquals(source.pageSize, 16);
    assertEquals(source.maxWrapBytes, 96);
    source.reserve(96, 16);
    assertThrows(() => source.reserve(16, 16), OutOfMemoryError);
    assertThrows(() => fixedPageSource(new ArrayBuffer(100), { pageSize: 16 }).reserve(24, 16), RangeError, "24");
    assertEquals(fixedPageSource(new ArrayBuffer(2 ** 16), { pageSize: 2 ** 16 }).reserve(2 ** 16, 1) % 2 ** 16, 0);
  });

  it("protect() allows what a buffer is anyway, and throws UnsupportedPlatformError for the rest", () => {
    const source = fixedPageSource(new ArrayBuffer(PAGE));
    const address = source.reserve(PAGE, 1);
    source.commit(address, PAGE);
    source.protect(address, PAGE, "read-write");
    for (const protection of ["none", "read"] as const) {
      const error = assertThrows(() => source.protect(address, PAGE, protection), UnsupportedPlatformError);
      assertEquals(error.code, "ERR_UNSUPPORTED_PLATFORM");
      assert(error.message.includes(`"${protection}"`), error.message);
    }
  });

  it("toPointer() throws UnsupportedPlatformError", () => {
    const source = fixedPageSource(new ArrayBuffer(PAGE));
    const address = source.reserve(PAGE, 1);
    assertThrows(() => source.toPointer(address), UnsupportedPlatformError, "systemPageSource()");
    // So does the module's own: a pointer into nowhere would end the process in C.
    assertThrows(() => toPointer(address + 16), UnsupportedPlatformError, "systemPageSource()");
  });

  it("unmap() wants exactly one reservation", () => {
    const source = fixedPageSource(new ArrayBuffer(4 * PAGE));
    const address = source.reserve(2 * PAGE, 1);
    assertThrows(() => source.unmap(address, PAGE), RangeError, "the reservation has 8192 bytes");
    assertThrows(() => source.unmap(address + PAGE, PAGE), RangeError, "no reservation begins there");
    source.unmap(address, 2 * PAGE);
    assertThrows(() => source.unmap(address, 2 * PAGE), RangeError, "no reservation begins there");
    assertThrows(() => source.commit(address, PAGE), RangeError, "not reserved");
  });

  it("a transferred buffer is a CorruptionError that says so, from every method that needs it", () => {
    const buffer = new ArrayBuffer(4 * PAGE);
    const source = fixedPageSource(buffer);
    const address = source.reserve(PAGE, 1);
    source.commit(address, PAGE);
    buffer.transfer();
    const attempts = [
      () => source.reserve(PAGE, 1),
      () => source.commit(address, PAGE),
      () => source.decommit(address, PAGE),
      () => source.discard(address, PAGE),
      () => source.wrap(address, PAGE),
    ];
    for (const attempt of attempts) {
      const error = assertThrows(attempt, CorruptionError, "transferred, detached or resized");
      assertEquals(error.code, "ERR_CORRUPTION");
    }
    source.unmap(address, PAGE); // bookkeeping only: an allocator can still be disposed
    assertThrows(() => fixedPageSource(buffer), RangeError, "a buffer of 0 bytes");
  });

  it("a resizable buffer may grow, and is a CorruptionError when it is too short", () => {
    // In steps of 64 KiB: Bun for arm64 ends the process over a resizable buffer of any other size under qemu.
    const step = 65536;
    const buffer = new ArrayBuffer(2 * step, { maxByteLength: 4 * step });
    const source = fixedPageSource(buffer);
    buffer.resize(4 * step);
    const address = source.reserve(2 * step, 1);
    assertThrows(() => source.reserve(PAGE, 1), OutOfMemoryError);
    source.commit(address, 2 * step);
    buffer.resize(step);
    assertThrows(() => source.wrap(address, PAGE), CorruptionError, "it had 131072 bytes and now has 65536");
  });

  it("wrong arguments throw TypeError or RangeError naming the value, and change nothing", () => {
    for (const wrong of [null, undefined, 5, "buffer", [], {}, new Uint8Array(PAGE)]) {
      assertThrows(() => fixedPageSource(wrong as unknown as ArrayBuffer), TypeError, "it must be an ArrayBuffer");
    }
    assertThrows(() => fixedPageSource(new ArrayBuffer(4095)), RangeError, "4095");
    for (const pageSize of [0, 8, 24, -16, NaN, 4096.5, 2 ** 31, Infinity]) {
      assertThrows(() => fixedPageSource(new ArrayBuffer(PAGE), { pageSize }), RangeError, `${pageSize}`);
    }
    assertThrows(() => fixedPageSource(new ArrayBuffer(PAGE), { pageSize: "16" as unknown as number }), TypeError);

    const source = fixedPageSource(new ArrayBuffer(2 * PAGE));
    for (const size of [0, -PAGE, 1, PAGE + 1, NaN, Infinity, 2 ** 53]) {
      assertThrows(() => source.reserve(size, 1), RangeError, `${size}`);
    }
    for (const alignment of [0, 3, -1, NaN, 2 ** 31, 1.5]) {
      assertThrows(() => source.reserve(PAGE, alignment), RangeError, `${alignment}`);
    }
    const address = source.reserve(2 * PAGE, 1);
    for (const bad of [0, -1, 1.5, NaN, Infinity, 2 ** 53]) {
      assertThrows(() => source.commit(bad, PAGE), RangeError, `${bad}`);
    }
    assertThrows(() => source.commit(address + 1, PAGE), RangeError, "multiple of 4096");
    assertThrows(() => source.commit(address, 100), RangeError, "100");
    assertThrows(() => source.commit(address - PAGE, PAGE), RangeError, "not reserved");
    assertThrows(() => source.commit(address + 2 * PAGE, PAGE), RangeError, "not reserved");
    assertThrows(() => source.commit("1" as unknown as number, PAGE), TypeError);
    source.unmap(address, 2 * PAGE);
    assertEquals(source.reserve(2 * PAGE, 1), address);
  });

  it("is a plain object: a variation is a spread away", () => {
    let commits = 0;
    const plain = fixedPageSource(new ArrayBuffer(2 * PAGE));
    const source: PageSource = {
      ...plain,
      commit(address, byteLength) {
        commits++;
        plain.commit(address, byteLength);
      },
    };
    const { reserve, commit, wrap, unmap } = source; // no method needs `this`
    const address = reserve(PAGE, 1);
    commit(address, PAGE);
    assert(isZero(wrap(address, PAGE)));
    unmap(address, PAGE);
    assertEquals(commits, 1);
  });

  it("random reservations never overlap, and all of it can be had again at the end", () => {
    const random = new Prng(7);
    const pages = 64;
    const source = fixedPageSource(dirtyBuffer(pages * PAGE));
    const live = new Map<number, number>();
    let tag = 0;
    for (let step = 0; step < 3000; step++) {
      if (random.below(2) === 0) {
        const byteLength = (1 + random.below(9)) * PAGE;
        let address: number;
        try {
          address = source.reserve(byteLength, 2 ** random.below(16));
        } catch (error) {
          assert(error instanceof OutOfMemoryError);
          continue;
        }
        source.commit(address, byteLength);
        const bytes = source.wrap(address, byteLength);
        assert(isZero(bytes.subarray(0, 16)));
        tag = (tag % 250) + 1;
        bytes.fill(tag);
        live.set(address, byteLength);
      } else if (live.size > 0) {
        const [address, byteLength] = [...live][random.below(live.size)] as [number, number];
        const bytes = source.wrap(address, byteLength);
        assert(bytes.every((byte) => byte === bytes[0]));
        assertNotEquals(bytes[0], 0);
        source.unmap(address, byteLength);
        live.delete(address);
      }
    }
    for (const [address, byteLength] of live) source.unmap(address, byteLength);
    source.reserve(pages * PAGE, 1);
  });
});
