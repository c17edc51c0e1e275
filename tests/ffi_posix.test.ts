/**
 * The POSIX page source over a C library that only keeps books: the systems and OS page sizes that are not at hand, and
 * failures that a real system cannot be made to produce.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { POSIX_CONSTANTS } from "../ffi/constants.ts";
import { posixPageSource } from "../ffi/posix.ts";
import { AllocatorError, CorruptionError, OutOfMemoryError } from "../src/errors.ts";
import type { PageSource } from "../src/page_source.ts";
import { type FakeLibc, fakeLibc, fakeNative } from "./fixtures/ffi_fake_libc.ts";

type PosixSystem = keyof typeof POSIX_CONSTANTS;
const SYSTEMS = Object.keys(POSIX_CONSTANTS) as PosixSystem[];

function make(os: PosixSystem, pageSize = 4096): FakeLibc & { source: PageSource } {
  const fake = fakeLibc(pageSize);
  const source = posixPageSource({ os, libc: fake.libc, errno: fake.errno, native: fakeNative() });
  return { ...fake, source };
}

describe("posixPageSource()", () => {
  it("move() opens mremap when it is first wanted, and passes on what it does", () => {
    for (const isAble of [true, false]) {
      const { libc, errno, calls } = fakeLibc(4096);
      const moves: number[][] = [];
      let opened = 0;
      const openMove = () => {
        opened++;
        return {
          mremap(...args: number[]) {
            moves.push(args);
            return isAble ? 2 ** 30 : -1;
          },
        };
      };
      const source = posixPageSource({ os: "linux", libc, errno, native: fakeNative(), openMove });
      const [from, to] = [0, 0].map(() => source.reserve(8192, 1)) as [number, number];
      assertEquals(opened, 0, "not before it is wanted");
      calls.length = 0;
      for (let i = 0; i < 2; i++) assertEquals(source.move?.(from, to, 8192), isAble);
      const lift = [from, 8192, 8192, 5, 0];
      const settle = [2 ** 30, 8192, 8192, 3, to];
      assertEquals([opened, moves], [1, isAble ? [lift, settle, lift, settle] : [lift, lift]]);
      assertEquals(calls, []);
      assertThrows(() => source.move?.(from + 1, to, 8192), RangeError);
      assertThrows(() => source.move?.(from, to, 100), RangeError);
      // Half of what would be moved would be lost.
      assertThrows(() => source.move?.(from, from + 4096, 8192), RangeError, "overlap");
      assertEquals(moves.length, isAble ? 4 : 2);
    }
  });

  it("has no move() where there is no mremap, and one that does nothing where it cannot be had", () => {
    assertEquals(make("macos").source.move, undefined);
    const { libc, errno, calls } = fakeLibc(4096);
    const source = posixPageSource({ os: "linux", libc, errno, native: fakeNative(), openMove: () => null });
    const [from, to] = [0, 0].map(() => source.reserve(4096, 1)) as [number, number];
    calls.length = 0;
    assertEquals([source.move?.(from, to, 4096), calls], [false, []]);
  });

  it("move() throws when Linux can put what it has lifted nowhere, and the hole cannot be filled", () => {
    const { libc, errno, fail, calls } = fakeLibc(4096);
    const openMove = () => ({ mremap: (...args: number[]) => args[3] === 5 ? 2 ** 30 : -1 });
    const source = posixPageSource({ os: "linux", libc, errno, native: fakeNative(), openMove });
    const [from, to] = [0, 0].map(() => source.reserve(4096, 1)) as [number, number];
    calls.length = 0;
    fail("mmap", 12);
    assertThrows(() => source.move?.(from, to, 4096), OutOfMemoryError, "Cannot move 4096 bytes");
    assertEquals(calls, [`mmap(0x${to.toString(16)}, 4096, 3, ${0x4032}, -1, 0)`, "munmap(0x40000000, 4096)"]);
  });

  for (const [pageSize, name] of [[4096, "4 KiB"], [16384, "16 KiB"], [65536, "64 KiB"]] as const) {
    it(`queries OS pages of ${name} and trims head and tail exactly`, () => {
      const { source, mapped, calls } = make("linux", pageSize);
      assertEquals([source.pageSize, source.granularity], [pageSize, pageSize]);
      let held = 0;
      for (let alignment = 1; alignment <= 2 ** 30; alignment *= 2) {
        const byteLength = 3 * pageSize;
        const address = source.reserve(byteLength, alignment);
        held += byteLength;
        assertEquals(address % Math.max(alignment, pageSize), 0);
        assertEquals(mapped.covered(address, address + byteLength), byteLength);
        assertEquals(mapped.total, held, `alignment ${alignment}`);
      }
      // Nothing to trim when the system aligns well enough anyway.
      calls.length = 0;
      source.reserve(pageSize, pageSize);
      assertEquals(calls.length, 1);
    });
  }

  it("trims nothing where the mapping happens to begin or end right", () => {
    const first = 2 ** 40;
    for (const offset of [0, 1, 15]) {
      const fake = fakeLibc(4096, first + (offset - 1) * 4096);
      const source = posixPageSource({ os: "linux", libc: fake.libc, errno: fake.errno, native: fakeNative() });
      const address = source.reserve(8192, 65536);
      assertEquals(address, offset === 0 ? first : first + 65536);
      assertEquals([fake.mapped.total, fake.mapped.count], [8192, 1]);
      assertEquals(fake.calls.length, offset === 0 || offset === 1 ? 2 : 3);
    }
  });

  it("a failed trim gives the whole mapping back and throws", () => {
    for (const skip of [0, 1]) {
      const { libc, errno, mapped, fail } = fakeLibc(4096, 2 ** 40 + 5 * 4096); // so there is a head and a tail
      const source = posixPageSource({ os: "linux", libc, errno, native: fakeNative() });
      fail("munmap", 12, skip);
      assertThrows(() => source.reserve(4096, 2 ** 20), OutOfMemoryError, "munmap failed with errno 12 (ENOMEM");
      assertEquals(mapped.total, 0);
    }
  });

  it("a failed mmap is an OutOfMemoryError with size, number, name and text, and changes nothing", () => {
    for (const os of SYSTEMS) {
      const { source, mapped, fail } = make(os);
      fail("mmap", 12);
      const error = assertThrows(() => source.reserve(8192, 1), OutOfMemoryError);
      assertEquals(
        error.message,
        "Cannot reserve 8192 bytes: mmap failed with errno 12 (ENOMEM, out of memory or address space, or too many mappings)",
      );
      assertEquals(mapped.total, 0);
    }
  });

  it("passes the flags of each system", () => {
    // PROT_NONE with MAP_PRIVATE 0x02, MAP_ANONYMOUS and MAP_NORESERVE, as in the headers; fd -1, offset 0.
    const flags: { readonly [os in PosixSystem]: number } = {
      linux: 0x02 | 0x20 | 0x4000,
      android: 0x02 | 0x20 | 0x4000,
      macos: 0x02 | 0x1000 | 0x40,
      freebsd: 0x02 | 0x1000,
    };
    for (const os of SYSTEMS) {
      const { source, calls } = make(os);
      const address = source.reserve(4096, 1);
      const hex = `0x${address.toString(16)}`;
      source.commit(address, 4096);
      source.discard(address, 4096);
      source.protect(address, 4096, "none");
      source.protect(address, 4096, "read");
      source.protect(address, 4096, "read-write");
      source.decommit(address, 4096);
      source.unmap(address, 4096);
      const fixed = flags[os] | 0x10;
      assertEquals(calls, [
        `mmap(0x0, 4096, 0, ${flags[os]}, -1, 0)`,
        `mprotect(${hex}, 4096, 3)`,
        os === "linux" || os === "android" ? `madvise(${hex}, 4096, 4)` : `mmap(${hex}, 4096, 3, ${fixed}, -1, 0)`,
        `mprotect(${hex}, 4096, 0)`,
        `mprotect(${hex}, 4096, 1)`,
        `mprotect(${hex}, 4096, 3)`,
        `mmap(${hex}, 4096, 0, ${fixed}, -1, 0)`,
        `munmap(${hex}, 4096)`,
      ]);
    }
  });

  it("a failed commit is an OutOfMemoryError, a failed give-back one or a CorruptionError: never silent", () => {
    const { source, accessible, mapped, fail } = make("linux");
    const address = source.reserve(16384, 1);
    fail("mprotect", 12);
    assertThrows(() => source.commit(address, 8192), OutOfMemoryError, "Cannot commit 8192 bytes at 0x");
    assertEquals(accessible.total, 0);
    source.commit(address, 8192);
    const attempts = [
      ["mmap", "decommit", () => source.decommit(address, 4096)],
      ["madvise", "discard", () => source.discard(address, 4096)],
      ["mprotect", "protect", () => source.protect(address, 4096, "none")],
      ["munmap", "unmap", () => source.unmap(address, 16384)],
    ] as const;
    for (const [call, action, attempt] of attempts) {
      fail(call, 22);
      const wrong = assertThrows(attempt, CorruptionError, `${call} failed with errno 22 (EINVAL, invalid argument)`);
      assert(wrong.message.startsWith(`Cannot ${action} `), wrong.message);
      fail(call, 12);
      assertThrows(attempt, OutOfMemoryError, `${call} failed with errno 12 (ENOMEM`);
      fail(call, 4242);
      assertThrows(attempt, AllocatorError, `${call} failed with errno 4242 (unknown)`);
      assertEquals([accessible.total, mapped.total], [8192, 16384]);
    }
  });

  it("unmap() calls munmap with exactly the reserved pair", () => {
    const { source, calls } = make("macos", 16384);
    const pairs = [1, 2 ** 20, 2 ** 30].map((alignment) => [source.reserve(5 * 16384, alignment), 5 * 16384] as const);
    calls.length = 0;
    for (const [address, byteLength] of pairs) source.unmap(address, byteLength);
    assertEquals(calls, pairs.map(([address, byteLength]) => `munmap(0x${address.toString(16)}, ${byteLength})`));
  });

  it("memory that escaped is mapped anew where the rest is unmapped", () => {
    const { source, mapped, accessible } = make("freebsd");
    const address = source.reserve(8 * 4096, 1);
    source.commit(address, 8 * 4096);
    const bytes = source.wrap(address + 4096 + 8, 4096);
    (bytes.buffer as ArrayBuffer).transfer();
    source.unwrap(bytes);
    source.decommit(address, 8 * 4096);
    assertEquals(accessible.gaps(address, address + 8 * 4096), [
      [address, address + 4096],
      [address + 3 * 4096, address + 8 * 4096],
    ]);
    source.unmap(address, 8 * 4096);
    assertEquals([mapped.total, accessible.total], [2 * 4096, 2 * 4096]);
    // The same at the very end and over a whole reservation.
    const whole = source.reserve(4096, 1);
    source.commit(whole, 4096);
    const all = source.wrap(whole, 4096);
    (all.buffer as ArrayBuffer).transfer();
    source.unwrap(all);
    source.unmap(whole, 4096);
    assertEquals(mapped.covered(whole, whole + 4096), 4096);
  });

  it("a reservation plus its alignment above 2^53 is refused without asking the system", () => {
    const { source, calls } = make("linux");
    assertThrows(() => source.reserve(2 ** 53 - 4096, 2 ** 30), OutOfMemoryError, "no address space has so many");
    assertEquals(calls, []);
  });
});
