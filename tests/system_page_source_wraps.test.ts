/**
 * Wraps of the page source of the operating system: their bytes, what becomes of memory that escaped from one, and what
 * lies above 4 GiB.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fromPointer, toPointer } from "../ffi/pointer.ts";
import { systemPageSource } from "../ffi/system_page_source.ts";
import { type Address, buffersOf } from "../src/page_source.ts";
import { isLinux, isWindows } from "./support/runtime.ts";
import { mappedRanges, withPages } from "./support/system_pages.ts";

const GIB = 2 ** 30;

const source = systemPageSource();
const { pageSize } = source;

describe("wrap() and unwrap()", () => {
  it("a wrap is an ArrayBuffer of its own for exactly the bytes asked for, at any address", () => {
    withPages(pageSize, (address) => {
      const whole = source.wrap(address, pageSize);
      const part = source.wrap(address + 24, 10);
      assertEquals([part.byteOffset, part.byteLength, part.buffer.byteLength], [0, 10, 10]);
      assertNotEquals(part.buffer, whole.buffer);
      part[0] = 5;
      assertEquals(whole[24], 5);
      source.unwrap(part);
      assertEquals(whole[24], 5);
      source.unwrap(whole);
    });
  });

  it("unwrap() detaches every view, leaves the memory as it is, and a second one does nothing", () => {
    withPages(pageSize, (address) => {
      const bytes = source.wrap(address, pageSize);
      const view = new Float64Array(bytes.buffer, 16, 4);
      bytes[100] = 42;
      source.unwrap(bytes);
      source.unwrap(bytes);
      assertEquals([bytes.length, view.length, bytes.buffer.byteLength], [0, 0, 0]);
      const again = source.wrap(address, pageSize);
      assertEquals(again[100], 42);
      source.unwrap(again);
    });
  });
});

describe("memory that escaped from a wrap", () => {
  /** A page that a buffer of somebody else shows, through `transfer`, the way that streams and postMessage do. */
  function escape(address: Address, byteLength: number): Uint8Array {
    const bytes = source.wrap(address, byteLength);
    bytes.fill(6);
    const stolen = new Uint8Array((bytes.buffer as ArrayBuffer).transfer());
    assertEquals(bytes.length, 0);
    source.unwrap(bytes);
    assertEquals([stolen.length, stolen[0]], [byteLength, 6]);
    return stolen;
  }

  it("stays accessible after unmap(), on Windows as it is and elsewhere as zeros, and only its own pages do", () => {
    const total = 16 * pageSize;
    // The runtime's own threads map memory too, and the place that was just given back is the likeliest: another try then.
    let left = Infinity;
    for (let attempt = 0; attempt < 5 && left > 0; attempt++) {
      const address = source.reserve(total, 1);
      source.commit(address, total);
      const stolen = escape(address + 4 * pageSize + 100, pageSize);
      source.unmap(address, total);
      assert(stolen.every((byte) => byte === (isWindows ? 6 : 0)));
      stolen.fill(3);
      assert(stolen.every((byte) => byte === 3));
      left = 0;
      if (isLinux) {
        const kept = mappedRanges();
        assertEquals(kept.covered(address + 4 * pageSize, address + 6 * pageSize), 2 * pageSize);
        left = kept.covered(address, address + 4 * pageSize);
      }
    }
    assertEquals(left, 0);
  });

  it("is noticed by `buffers` too, and what they detach themselves is none", () => {
    const address = source.reserve(4 * pageSize, 1);
    source.commit(address, 4 * pageSize);
    const { wrap, unwrap } = source.buffers!;
    const taken = wrap(address, pageSize);
    const stolen = new Uint8Array(taken.transfer());
    const left = wrap(address + 2 * pageSize, 100);
    const view = new Uint8Array(left).fill(9);
    assertEquals([stolen.length, view.length, left.byteLength], [pageSize, 100, 100]);
    unwrap(taken, address, pageSize);
    unwrap(left, address + 2 * pageSize, 100);
    assertEquals([left.byteLength, view.length, view[0]], [0, 0, undefined]);
    source.unmap(address, 4 * pageSize);
    stolen.fill(3);
    assert(stolen.every((byte) => byte === 3));
    if (isLinux) {
      const kept = mappedRanges();
      assertEquals(kept.covered(address, address + pageSize), pageSize);
      assertEquals(kept.covered(address + pageSize, address + 4 * pageSize), 0);
    }
  });

  it("stays accessible after decommit(), and its neighbours work on", () => {
    const total = 8 * pageSize;
    const address = source.reserve(total, 1);
    source.commit(address, total);
    const stolen = escape(address, pageSize);
    source.decommit(address, total);
    assert(stolen.every((byte) => byte === 0));
    source.commit(address, total);
    const bytes = source.wrap(address, total);
    assert(bytes.every((byte) => byte === 0));
    bytes.fill(8);
    assertEquals(stolen[0], 8);
    source.unwrap(bytes);
    source.unmap(address, total);
    assert(stolen.every((byte) => byte === (isWindows ? 8 : 0)));
  });

  it("memory of wraps that were ended as they should be is unmapped", { ignore: !isLinux }, () => {
    const address = source.reserve(4 * pageSize, 1);
    source.commit(address, 4 * pageSize);
    const bytes = source.wrap(address, 4 * pageSize);
    source.unwrap(bytes);
    source.unwrap(bytes); // detached, but by us: this is no escape
    source.unmap(address, 4 * pageSize);
    assertEquals(mappedRanges().covered(address, address + 4 * pageSize), 0);
  });
});

describe("buffersOf()", () => {
  it("is the source's `buffers`, unless that stands for another wrap or unwrap", () => {
    const { buffers } = source;
    assertStrictEquals(buffersOf(source), buffers);
    assertStrictEquals(buffersOf({ ...source, commit: () => {} }), buffers);
    assertEquals(buffersOf({ ...source, wrap: (address, byteLength) => source.wrap(address, byteLength) }), undefined);
    assertEquals(buffersOf({ ...source, unwrap: (bytes) => source.unwrap(bytes) }), undefined);
    assertEquals(buffersOf({ ...source, isolating: false }), undefined);
    assertThrows(() => buffers!.wrap(4096, 0), RangeError);
    assertThrows(() => buffers!.wrap(4096, source.maxWrapBytes + 1), RangeError);
  });
});

describe("64-bit edges", () => {
  it("commit, write and read behind 4 GiB of one reservation, and across the boundary", () => {
    const total = 6 * GIB;
    const address = source.reserve(total, pageSize);
    for (const offset of [0, 4 * GIB - pageSize, 4 * GIB, 5 * GIB, total - pageSize]) {
      const byteLength = offset === 4 * GIB - pageSize ? 2 * pageSize : pageSize;
      source.commit(address + offset, byteLength);
      const bytes = source.wrap(address + offset, byteLength);
      assert(bytes.every((byte) => byte === 0 || byte === 7), `offset ${offset}`);
      bytes[0] = 7;
      bytes[byteLength - 1] = 7;
      source.unwrap(bytes);
      source.discard(address + offset, byteLength);
      const again = source.wrap(address + offset, byteLength);
      assertEquals([again[0], again[byteLength - 1]], [0, 0]);
      source.unwrap(again);
    }
    source.decommit(address + 4 * GIB, pageSize);
    source.unmap(address, total);
  });

  it("commits more than 4 GiB at a time", { ignore: isWindows }, () => {
    const total = 5 * GIB;
    const address = source.reserve(total, 1);
    source.commit(address, total);
    const bytes = source.wrap(address + 4 * GIB, GIB);
    bytes[GIB - 1] = 1;
    assertEquals([bytes[0], bytes[GIB - 1]], [0, 1]);
    source.unwrap(bytes);
    source.decommit(address, total);
    source.unmap(address, total);
  });

  it("wrap() takes up to maxWrapBytes, or 8 GiB, and not a byte more than maxWrapBytes", { ignore: isWindows }, () => {
    const byteLength = Math.min(source.maxWrapBytes, 8 * GIB);
    const address = source.reserve(byteLength, 1);
    source.commit(address, byteLength);
    const bytes = source.wrap(address, byteLength);
    assertEquals(bytes.length, byteLength);
    bytes[byteLength - 1] = 9;
    assertEquals([bytes[byteLength - 1], bytes[byteLength - 2]], [9, 0]);
    source.unwrap(bytes);
    assertEquals(bytes.length, 0);
    source.unmap(address, byteLength);
    assertThrows(
      () => source.wrap(address, source.maxWrapBytes + 1),
      RangeError,
      `Cannot wrap ${source.maxWrapBytes + 1} bytes as one ArrayBuffer: it must be from 1 to ${source.maxWrapBytes}`,
    );
  });

  it("an address above 2^32 goes to the runtime's pointer and back", () => {
    withPages(pageSize, (address) => {
      for (const value of [address, address + 1, 2 ** 32 + 8, 2 ** 47 - 1, 8]) {
        assertEquals(fromPointer(toPointer(value)), value);
        assertEquals(fromPointer(source.toPointer(value) as Parameters<typeof fromPointer>[0]), value);
      }
    });
  });
});
