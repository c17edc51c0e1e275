/**
 * The page source of the operating system, on the operating system: real mappings, looked at from outside through
 * `/proc/self/maps` where there is one. Its wraps are in system_page_source_wraps.test.ts.
 *
 * @module
 */
import {
  assert,
  assertEquals,
  assertGreater,
  assertGreaterOrEqual,
  assertLess,
  assertNotEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { detectPlatform } from "../ffi/detect.ts";
import { nativeInterface, openPageSource, systemPageSource } from "../ffi/system_page_source.ts";
import { AllocatorError, OutOfMemoryError } from "../src/errors.ts";
import type { Address, PageSource, Protection } from "../src/page_source.ts";
import { isLinux, isWindows, mappingCount, rootUrl, rssBytes, runSource, runtimeName } from "./support/runtime.ts";
import { mappedRanges, withPages } from "./support/system_pages.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const source = systemPageSource();
const { pageSize } = source;

describe("systemPageSource()", () => {
  it("is the same plain object at every call", () => {
    assertStrictEquals(systemPageSource(), source);
    assertEquals(Object.getPrototypeOf(source), Object.prototype);
    assertEquals(source.lazy, true);
    assertEquals(source.isolating, true);
    assertEquals(source.name, isWindows ? "VirtualAlloc" : "mmap");
  });

  it(
    "move() gives contents to other memory; both stay mapped and wrapped",
    { ignore: source.move === undefined },
    () => {
      const byteLength = 64 * pageSize;
      const half = byteLength / 2;
      withPages(byteLength, (from) =>
        withPages(byteLength, (to) => {
          const [origin, target] = [from, to].map((address) => source.wrap(address, byteLength)) as [
            Uint8Array,
            Uint8Array,
          ];
          for (let i = 0; i < byteLength; i += 61) origin[i] = 1 + i % 251;
          target.fill(9);
          const expected = origin.slice();
          // An emulated Linux may have no such call; then nothing has happened to the first.
          const isMoved = source.move!(from, to, half);
          assertEquals(origin.slice(half), expected.slice(half), "what was not to be moved");
          assertEquals(target.slice(half), new Uint8Array(half).fill(9), "and what is behind it");
          assertEquals(origin.slice(0, half), isMoved ? new Uint8Array(half) : expected.slice(0, half));
          if (isMoved) assertEquals(target.slice(0, half), expected.slice(0, half));
          origin[1] = target[1] = 77;
          assertEquals([origin[1], target[1]], [77, 77]);
          for (const bytes of [origin, target]) source.unwrap(bytes);
        }));
    },
  );

  it("knows the page size, the granularity and the largest wrap", () => {
    assertGreaterOrEqual(pageSize, 4096);
    assertEquals(Math.log2(pageSize) % 1, 0);
    assertEquals(source.granularity % pageSize, 0);
    if (isWindows) assertEquals([pageSize, source.granularity], [4096, 65536]);
    else assertEquals(source.granularity, pageSize);
    assertEquals(source.maxWrapBytes, runtimeName === "bun" ? 2 ** 32 : 2 ** 40);
  });

  it("no method needs `this`", () => {
    const { reserve, commit, decommit, discard, protect, unmap, wrap, unwrap } = { ...source };
    const address = reserve(pageSize, 1);
    commit(address, pageSize);
    protect(address, pageSize, "read-write");
    unwrap(wrap(address, pageSize));
    discard(address, pageSize);
    decommit(address, pageSize);
    unmap(address, pageSize);
  });
});

describe("reserve()", () => {
  it("gives addresses that keep the granularity and every alignment asked for", () => {
    for (let alignment = 1; alignment <= GIB; alignment *= 2) {
      const address = source.reserve(3 * pageSize, alignment);
      assertGreater(address, 0);
      assertEquals(address % Math.max(alignment, source.granularity), 0, `alignment ${alignment}`);
      source.unmap(address, 3 * pageSize);
    }
  });

  it("trims head and tail exactly, so that only what was asked for is mapped", { ignore: !isLinux }, () => {
    for (const alignment of [2 * pageSize, MIB, 32 * MIB]) {
      // Other threads of the runtime map memory too: what is always there is our doing.
      const attempts = [1, 2, 3, 4, 5].map(() => newlyMapped(5 * pageSize, alignment));
      assert(attempts.includes(0), `alignment ${alignment}: surplus of ${attempts.join(", ")} bytes`);
    }
  });

  /** Reserves, and counts what else became mapped as far around as the surplus could have reached. */
  function newlyMapped(byteLength: number, alignment: number): number {
    const before = mappedRanges();
    const address = source.reserve(byteLength, alignment);
    const after = mappedRanges();
    assertEquals(before.covered(address, address + byteLength), 0);
    assertEquals(after.covered(address, address + byteLength), byteLength);
    let fresh = 0;
    for (const [start, end] of before.gaps(address - alignment, address + byteLength + alignment)) {
      fresh += after.covered(start, end);
    }
    source.unmap(address, byteLength);
    assertEquals(mappedRanges().covered(address, address + byteLength), 0);
    return fresh - byteLength;
  }

  it("of far more than the machine has costs nothing", () => {
    const before = rssBytes();
    const address = source.reserve(32 * GIB, pageSize);
    assertLess(rssBytes() - before, 512 * MIB); // qemu keeps 200 MiB of records about so many pages; others none
    source.unmap(address, 32 * GIB);
  });

  it("of more than any machine has is an OutOfMemoryError with size and error number, and leaves nothing", () => {
    const before = isLinux ? mappingCount() : 0;
    for (const byteLength of [2 ** 50, 2 ** 52, Number.MAX_SAFE_INTEGER - pageSize + 1]) {
      for (const alignment of [1, GIB]) {
        const error = assertThrows(() => source.reserve(byteLength, alignment), OutOfMemoryError);
        assertEquals(error.requested, byteLength);
        assertEquals(error.code, "ERR_OUT_OF_MEMORY");
        assert(error.message.startsWith(`Cannot reserve ${byteLength} bytes: `), error.message);
      }
    }
    const { message } = assertThrows(() => source.reserve(2 ** 50, 1), OutOfMemoryError);
    if (isWindows) assert(/VirtualAlloc failed with error \d+ \(\w+/.test(message), message);
    else assert(message.includes("mmap failed with errno 12 (ENOMEM, "), message);
    if (isLinux) assertLess(mappingCount() - before, 8);
  });
});

describe("commit(), decommit() and discard()", () => {
  it("memory reads as zero at first, after discard(), and after decommit() and commit()", () => {
    withPages(8 * pageSize, (address) => {
      const bytes = source.wrap(address, 8 * pageSize);
      assert(bytes.every((byte) => byte === 0));
      bytes.fill(0xaa);
      source.discard(address + pageSize, 2 * pageSize);
      assertEquals(bytes[pageSize - 1], 0xaa);
      assert(bytes.subarray(pageSize, 3 * pageSize).every((byte) => byte === 0));
      assertEquals(bytes[3 * pageSize], 0xaa);
      bytes.fill(0xbb);
      source.unwrap(bytes);

      source.decommit(address + 2 * pageSize, 4 * pageSize);
      source.commit(address + 2 * pageSize, 4 * pageSize);
      const again = source.wrap(address, 8 * pageSize);
      assertEquals(again[2 * pageSize - 1], 0xbb);
      assert(again.subarray(2 * pageSize, 6 * pageSize).every((byte) => byte === 0));
      assertEquals(again[6 * pageSize], 0xbb);
      source.unwrap(again);
    });
  });

  it("committing again keeps what is there", () => {
    withPages(2 * pageSize, (address) => {
      const bytes = source.wrap(address, 2 * pageSize);
      bytes.fill(1);
      source.commit(address, 2 * pageSize);
      assert(bytes.every((byte) => byte === 1));
      source.unwrap(bytes);
    });
  });

  it("discard() and decommit() give the memory back to the system", { ignore: !isLinux }, () => {
    const byteLength = 64 * MIB;
    withPages(byteLength, (address) => {
      const bytes = source.wrap(address, byteLength);
      const untouched = rssBytes();
      bytes.fill(1);
      assertGreater(rssBytes() - untouched, 48 * MIB);
      source.discard(address, byteLength);
      assertLess(rssBytes() - untouched, 16 * MIB);
      bytes.fill(1);
      assertGreater(rssBytes() - untouched, 48 * MIB);
      source.unwrap(bytes);
      source.decommit(address, byteLength);
      assertLess(rssBytes() - untouched, 16 * MIB);
    });
  });

  it("commit() of memory that cannot be had is an OutOfMemoryError with the address", () => {
    // Below the lowest address that any system maps.
    const error = assertThrows(() => source.commit(pageSize, pageSize), OutOfMemoryError);
    assertEquals(error.requested, pageSize);
    const call = isWindows ? "VirtualAlloc failed with error" : "mprotect failed with errno 12 (ENOMEM, ";
    assert(error.message.startsWith(`Cannot commit ${pageSize} bytes at 0x${pageSize.toString(16)}: ${call}`));
  });
});

describe("protect()", () => {
  it("read-only memory can be read, and written again after read-write", () => {
    withPages(2 * pageSize, (address) => {
      const bytes = source.wrap(address, 2 * pageSize);
      bytes.fill(4);
      source.protect(address, pageSize, "read");
      assertEquals(bytes[0], 4);
      bytes[pageSize] = 5;
      source.protect(address, pageSize, "none");
      bytes[pageSize + 1] = 5;
      source.protect(address, pageSize, "read-write");
      bytes[0] = 6;
      assertEquals([bytes[0], bytes[1]], [6, 4]);
      source.unwrap(bytes);
    });
  });

  for (
    const [protection, access] of [
      ["none", "read"],
      ["none", "write"],
      ["read", "write"],
      ["decommitted", "read"],
      ["reserved", "read"],
    ] as const
  ) {
    it(`an access to ${access} memory that is "${protection}" ends the process`, async () => {
      const prepare = protection === "decommitted"
        ? "source.decommit(address, size);"
        : protection === "reserved"
        ? ""
        : `source.protect(address, size, ${JSON.stringify(protection satisfies Protection)});`;
      const { code, stdout } = await runSource(`
        import { systemPageSource } from "${rootUrl}ffi/system_page_source.ts";
        const source = systemPageSource();
        const size = source.pageSize;
        const address = source.reserve(size, 1);
        ${protection === "reserved" ? "" : "source.commit(address, size);"}
        const bytes = source.wrap(address, size);
        ${protection === "reserved" ? "" : "bytes[0] = 1;"}
        ${prepare}
        console.log("before");
        ${access === "read" ? "console.log(bytes[0]);" : "bytes[0] = 2;"}
        console.log("after");
      `);
      assert(stdout.startsWith("before"), stdout);
      assert(!stdout.includes("after"), stdout);
      assertNotEquals(code, 0);
    });
  }
});

describe("unmap()", () => {
  it("the count of mappings returns to where it was", { ignore: !isLinux }, () => {
    const pages: Address[] = [];
    for (let round = 0; round < 2; round++) { // the first round warms the runtime up
      const before = mappingCount();
      for (let index = 0; index < 200; index++) {
        const address = source.reserve(4 * pageSize, index % 2 === 0 ? 1 : 64 * pageSize);
        source.commit(address + pageSize, pageSize); // three mappings each
        pages.push(address);
      }
      assertGreater(mappingCount() - before, 300);
      for (const address of pages.splice(0)) source.unmap(address, 4 * pageSize);
      if (round === 1) assertLess(Math.abs(mappingCount() - before), 12);
    }
  });

  it("a failure is an error with the number and its name, never silent", () => {
    const error = assertThrows(() => source.unmap(2 ** 52, pageSize), AllocatorError);
    assertEquals(error.code, "ERR_CORRUPTION");
    const call = isWindows
      ? "VirtualFree failed with error 87 (ERROR_INVALID_PARAMETER, "
      : "munmap failed with errno 22 (EINVAL, ";
    assert(error.message.startsWith(`Cannot unmap ${pageSize} bytes at 0x10000000000000: ${call}`), error.message);
  });

  it("Windows releases a reservation only at its base", { ignore: !isWindows }, () => {
    const address = source.reserve(4 * pageSize, 1);
    assertThrows(() => source.unmap(address + pageSize, 3 * pageSize), AllocatorError, "VirtualFree failed");
    source.unmap(address, 4 * pageSize);
  });
});

describe("arguments of the system page source", () => {
  const wrongSizes = [0, -pageSize, 1, pageSize + 1, 1.5, NaN, Infinity, 2 ** 53];
  const wrongAddresses = [0, -pageSize, 1.5, NaN, Infinity, 2 ** 53];

  it("wrong values are RangeErrors that name the value, before anything happens", () => {
    const address = source.reserve(pageSize, 1);
    for (const size of wrongSizes) {
      assertThrows(() => source.reserve(size, 1), RangeError, `${size}`);
      assertThrows(() => source.commit(address, size), RangeError, `${size}`);
      assertThrows(() => source.decommit(address, size), RangeError, `${size}`);
      assertThrows(() => source.discard(address, size), RangeError, `${size}`);
      assertThrows(() => source.protect(address, size, "read"), RangeError, `${size}`);
      assertThrows(() => source.unmap(address, size), RangeError, `${size}`);
    }
    for (const alignment of [0, 3, 48, -8, 1.5, NaN, 2 ** 31]) {
      assertThrows(() => source.reserve(pageSize, alignment), RangeError, `${alignment}`);
    }
    for (const bad of wrongAddresses) {
      for (const method of [source.commit, source.decommit, source.discard, source.unmap, source.wrap]) {
        assertThrows(() => void method(bad, pageSize), RangeError, `${bad}`);
      }
      assertThrows(() => source.toPointer(bad), RangeError, `${bad}`);
    }
    assertThrows(() => source.commit(address + 1, pageSize), RangeError, `multiple of ${pageSize}`);
    for (const length of [0, -1, 1.5, NaN, source.maxWrapBytes + 1]) {
      assertThrows(() => source.wrap(address, length), RangeError, `${length}`);
    }
    assertThrows(() => source.protect(address, pageSize, "execute" as Protection), RangeError, '"execute"');
    source.unmap(address, pageSize);
  });

  it("wrong types are TypeErrors", () => {
    for (const wrong of ["8", 8n, null, undefined, {}, []] as unknown as number[]) {
      assertThrows(() => source.reserve(wrong, 1), TypeError);
      assertThrows(() => source.reserve(pageSize, wrong), TypeError);
      assertThrows(() => source.commit(wrong, pageSize), TypeError);
      assertThrows(() => source.commit(pageSize, wrong), TypeError);
      assertThrows(() => source.wrap(wrong, 8), TypeError);
      assertThrows(() => source.toPointer(wrong), TypeError);
    }
  });
});

describe("larger OS pages, by an injected page size", { ignore: isWindows }, () => {
  const platform = detectPlatform();
  for (const larger of [16384, 65536]) {
    it(`works with pages of ${larger} bytes`, () => {
      const injected: PageSource = openPageSource(nativeInterface(platform), platform, undefined, larger);
      assertEquals([injected.pageSize, injected.granularity], [larger, larger]);
      assertThrows(() => injected.reserve(pageSize, 1), RangeError, `multiple of ${larger}`);
      for (const alignment of [1, larger, MIB]) {
        const address = injected.reserve(4 * larger, alignment);
        assertEquals(address % Math.max(larger, alignment), 0);
        assertThrows(() => injected.commit(address + pageSize, larger), RangeError);
        injected.commit(address + larger, 2 * larger);
        const bytes = injected.wrap(address + larger, 2 * larger);
        bytes.fill(1);
        injected.discard(address + larger, larger);
        assertEquals([bytes[0], bytes[larger]], [0, 1]);
        injected.unwrap(bytes);
        injected.unmap(address, 4 * larger);
        if (isLinux) assertEquals(mappedRanges().covered(address, address + 4 * larger), 0);
      }
    });
  }
});
