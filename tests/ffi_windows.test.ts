/**
 * The Windows page source over a kernel32 that keeps books by the rules of Windows. The same source runs for real in
 * system_page_source.test.ts on Windows and under Wine.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { windowsPageSource } from "../ffi/windows.ts";
import { CorruptionError, OutOfMemoryError } from "../src/errors.ts";
import type { PageSource } from "../src/page_source.ts";
import { type FakeKernel32, fakeKernel32 } from "./fixtures/ffi_fake_kernel32.ts";

const GRANULE = 65536;
const PAGE = 4096;

function make(): { source: PageSource; fake: FakeKernel32 } {
  const fake = fakeKernel32();
  const source = windowsPageSource({ kernel32: fake.kernel32, native: fake.native });
  fake.calls.length = 0;
  fake.reserved.clear(); // the granule that the source keeps for results of calls
  fake.committed.remove(0, 2 ** 52);
  return { source, fake };
}

describe("windowsPageSource()", () => {
  it("asks GetSystemInfo for page size and granularity", () => {
    const { source } = make();
    assertEquals([source.pageSize, source.granularity, source.name], [PAGE, GRANULE, "VirtualAlloc"]);
    const other = fakeKernel32(8192, 2 * GRANULE);
    const larger = windowsPageSource({ kernel32: other.kernel32, native: other.native });
    assertEquals([larger.pageSize, larger.granularity], [8192, 2 * GRANULE]);
  });

  it("reserves without committing, commits and decommits parts, releases at the base with size 0", () => {
    const { source, fake } = make();
    const address = source.reserve(16 * PAGE, 1);
    const hex = address.toString(16);
    source.commit(address + PAGE, 4 * PAGE);
    assertEquals(fake.committed.total, 4 * PAGE);
    source.decommit(address + 2 * PAGE, PAGE);
    assertEquals(fake.committed.total, 3 * PAGE);
    source.unmap(address, 16 * PAGE);
    assertEquals([fake.committed.total, fake.reserved.size], [0, 0]);
    assertEquals(fake.calls, [
      "VirtualAlloc(0x0, 65536, 0x2000, 0x1)",
      `VirtualAlloc(0x${(address + PAGE).toString(16)}, 16384, 0x1000, 0x4)`,
      `VirtualFree(0x${(address + 2 * PAGE).toString(16)}, 4096, 0x4000)`,
      `VirtualFree(0x${hex}, 0, 0x8000)`,
    ]);
  });

  it("discard() decommits and commits again at once, so that no access can fault later", () => {
    const { source, fake } = make();
    const address = source.reserve(4 * PAGE, 1);
    source.commit(address, 4 * PAGE);
    fake.calls.length = 0;
    source.discard(address + PAGE, PAGE);
    const hex = (address + PAGE).toString(16);
    assertEquals(fake.calls, [`VirtualFree(0x${hex}, 4096, 0x4000)`, `VirtualAlloc(0x${hex}, 4096, 0x1000, 0x4)`]);
    assertEquals(fake.committed.total, 4 * PAGE);
  });

  it("wraps, unwraps and makes pointers as every source does", () => {
    const { source } = make();
    const address = source.reserve(PAGE, 1);
    source.commit(address, PAGE);
    const bytes = source.wrap(address, PAGE);
    assertEquals(bytes.length, PAGE);
    source.unwrap(bytes);
    assertEquals(bytes.length, 0);
    assertEquals(source.toPointer(address), address);
    assertThrows(() => source.toPointer(0), RangeError, "above 0");
    assertThrows(() => source.wrap(address, 2 ** 32 + 1), RangeError, "from 1 to 4294967296");
  });

  it("protects with the page constants of Windows", () => {
    const { source, fake } = make();
    const address = source.reserve(PAGE, 1);
    source.commit(address, PAGE);
    for (const [protection, constant] of [["none", 1], ["read", 2], ["read-write", 4]] as const) {
      source.protect(address, PAGE, protection);
      assertEquals(fake.protections.get(address), constant);
    }
  });

  it("alignments up to the granularity cost one call, above it a reservation inside of a released larger one", () => {
    const { source, fake } = make();
    for (const alignment of [1, PAGE, GRANULE]) {
      fake.calls.length = 0;
      assertEquals(source.reserve(PAGE, alignment) % GRANULE, 0);
      assertEquals(fake.calls.length, 1);
    }
    fake.reserved.clear();
    for (let alignment = 2 * GRANULE; alignment <= 2 ** 30; alignment *= 2) {
      fake.calls.length = 0;
      const address = source.reserve(3 * PAGE, alignment);
      assertEquals(address % alignment, 0);
      assertEquals([...fake.reserved], [[address, 3 * PAGE]]);
      assertEquals(fake.calls.length, 3);
      source.unmap(address, 3 * PAGE);
    }
  });

  it("tries again when another thread takes the aligned place, and gives up after a few times", () => {
    const { source, fake } = make();
    let thefts = 3;
    fake.beforeAlloc = (address) => {
      if (address !== 0 && thefts-- > 0) fake.steal(address, GRANULE);
    };
    const address = source.reserve(PAGE, 2 ** 20);
    assertEquals(address % 2 ** 20, 0);
    assertEquals(fake.reserved.size, 4);

    thefts = Infinity;
    const error = assertThrows(() => source.reserve(PAGE, 2 ** 20), OutOfMemoryError);
    assert(error.message.includes("VirtualAlloc failed with error 487 (ERROR_INVALID_ADDRESS, "), error.message);
    assertEquals([...fake.reserved.values()].filter((length) => length !== GRANULE), [PAGE]);
  });

  it("a failed reservation or commit is an OutOfMemoryError with GetLastError, its name and text", () => {
    const { source, fake } = make();
    fake.fail("VirtualAlloc", 8);
    const error = assertThrows(() => source.reserve(GRANULE, 1), OutOfMemoryError);
    assertEquals(
      error.message,
      "Cannot reserve 65536 bytes: VirtualAlloc failed with error 8 (ERROR_NOT_ENOUGH_MEMORY, not enough memory)",
    );
    assertEquals(error.requested, GRANULE);
    fake.fail("VirtualAlloc", 8);
    assertThrows(() => source.reserve(GRANULE, 2 ** 20), OutOfMemoryError);
    assertEquals(fake.reserved.size, 0);
    const address = source.reserve(GRANULE, 1);
    fake.fail("VirtualAlloc", 1455);
    assertThrows(() => source.commit(address, PAGE), OutOfMemoryError, "(ERROR_COMMITMENT_LIMIT, ");
    assertThrows(() => source.reserve(2 ** 53 - PAGE, 2 ** 30), OutOfMemoryError, "no address space");
  });

  it("a failed VirtualFree or VirtualProtect is never silent", () => {
    const { source, fake } = make();
    const address = source.reserve(GRANULE, 1);
    source.commit(address, PAGE);
    for (
      const attempt of [
        () => source.unmap(address, GRANULE),
        () => source.decommit(address, PAGE),
        () => source.discard(address, PAGE),
      ]
    ) {
      fake.fail("VirtualFree", 87);
      assertThrows(attempt, CorruptionError, "VirtualFree failed with error 87 (ERROR_INVALID_PARAMETER, ");
    }
    fake.fail("VirtualFree", 87);
    assertThrows(() => source.reserve(PAGE, 2 ** 20), CorruptionError, "VirtualFree failed");
    fake.fail("VirtualProtect", 998);
    assertThrows(() => source.protect(address, PAGE, "none"), CorruptionError, "(ERROR_NOACCESS, ");
    fake.fail("VirtualProtect", 1455);
    assertThrows(() => source.protect(address, PAGE, "none"), OutOfMemoryError);
    fake.fail("VirtualAlloc", 1455);
    assertThrows(() => source.discard(address, PAGE), OutOfMemoryError, "Cannot discard 4096 bytes");
    assertThrows(() => source.unmap(address + PAGE, PAGE), CorruptionError, "error 487");
  });

  it("memory that escaped stays committed, and its reservation is not released", () => {
    const { source, fake } = make();
    const address = source.reserve(16 * PAGE, 1);
    source.commit(address, 16 * PAGE);
    const bytes = source.wrap(address + 2 * PAGE + 8, PAGE);
    (bytes.buffer as ArrayBuffer).transfer();
    source.unwrap(bytes);
    source.decommit(address, 8 * PAGE);
    assertEquals(fake.committed.gaps(address, address + 8 * PAGE), [
      [address, address + 2 * PAGE],
      [address + 4 * PAGE, address + 8 * PAGE],
    ]);
    source.unmap(address, 16 * PAGE);
    assertEquals(fake.committed.total, 2 * PAGE);
    assertEquals([...fake.reserved.keys()], [address]);
  });

  it("without memory for its own page it throws", () => {
    const fake = fakeKernel32();
    fake.fail("VirtualAlloc", 14);
    assertThrows(
      () => windowsPageSource({ kernel32: fake.kernel32, native: fake.native }),
      OutOfMemoryError,
      "(ERROR_OUTOFMEMORY, ",
    );
  });
});
