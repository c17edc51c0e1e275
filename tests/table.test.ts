/**
 * Tables of integers outside the JavaScript heap.
 *
 * @module
 */
import { assert, assertEquals, assertNotStrictEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, fixedPageSource, OutOfMemoryError, systemPageSource } from "../mod.ts";
import type { PageSource } from "../mod.ts";
import { Table } from "../src/table.ts";
import { Recorder } from "./support/recording_source.ts";

/** A recorded system source, whose OS page may be larger than 4 KiB. */
function recorded(): { recorder: Recorder; source: PageSource; step: number } {
  const recorder = new Recorder(systemPageSource());
  return { recorder, source: recorder.source, step: recorder.source.pageSize };
}

describe("Table over the system", () => {
  it("reserves its capacity and commits nothing", () => {
    const { recorder, source } = recorded();
    const table = new Table(source, 2 ** 24);
    assertEquals(table.bytes.byteLength, 0);
    assertEquals(table.reservedBytes, 2 ** 24);
    assertEquals([recorder.reservedBytes, recorder.committedBytes], [2 ** 24, 0]);
    table.dispose();
    assertEquals(recorder.complaint(), "");
  });

  it("ensure() commits whole OS pages, at least doubling, and keeps the contents at their address", () => {
    const { recorder, source, step } = recorded();
    const table = new Table(source, 2 ** 24);
    assert(table.ensure(1));
    const first = table.bytes;
    assertEquals(first.byteLength, step);
    first[7] = 77;
    assert(!table.ensure(step));
    assertStrictEquals(table.bytes, first);
    assert(table.ensure(step + 1));
    assertNotStrictEquals(table.bytes, first);
    assertEquals(table.bytes.byteLength, 2 * step);
    assertEquals(table.bytes[7], 77);
    assertEquals(table.bytes[step], 0);
    first[8] = 88;
    assertEquals(table.bytes[8], 88, "the old wrap is of the same memory");
    assertEquals([table.words().length * 4, table.words()[2]! & 255], [2 * step, 88]);
    assert(table.ensure(5 * step));
    assertEquals(table.bytes.byteLength, 5 * step);
    table.dispose();
    assertEquals(recorder.complaint(), "");
  });

  it("ensure() does not double beyond the capacity", () => {
    const { recorder, source, step } = recorded();
    const unit = Math.max(step, source.granularity);
    const table = new Table(source, 3 * unit);
    table.ensure(2 * unit);
    table.ensure(2 * unit + 1);
    assertEquals(table.bytes.byteLength, 3 * unit);
    table.dispose();
    assertEquals(recorder.complaint(), "");
  });

  it("ensure() throws OutOfMemoryError beyond the capacity, and changes nothing", () => {
    const { recorder, source } = recorded();
    const unit = Math.max(source.pageSize, source.granularity);
    const table = new Table(source, unit);
    try {
      table.ensure(unit);
      assertThrows(() => table.ensure(unit + 1), OutOfMemoryError);
      assertEquals(table.bytes.byteLength, unit);
    } finally {
      table.dispose();
    }
    assertEquals(recorder.complaint(), "");
  });

  it("ensure() leaves the table as it was when memory or a wrap cannot be had", () => {
    for (const operation of ["commit", "wrap"] as const) {
      const { recorder, source, step } = recorded();
      const failing = failingPageSource(source, Infinity, { operations: [operation] });
      const table = new Table(failing, 2 ** 20);
      table.ensure(step);
      table.bytes[3] = 33;
      failing.rearm(0);
      assertThrows(() => table.ensure(2 * step), OutOfMemoryError, "fails on purpose");
      assertEquals([table.bytes.byteLength, table.bytes[3]], [step, 33]);
      failing.rearm(Infinity);
      assert(table.ensure(2 * step));
      assertEquals([table.bytes.byteLength, table.bytes[3]], [2 * step, 33]);
      table.dispose();
      assertEquals(recorder.complaint(), "");
    }
  });

  it("dispose() detaches the wrap", () => {
    const { source } = recorded();
    const table = new Table(source, 2 ** 16);
    table.ensure(1);
    const { bytes } = table;
    table.dispose();
    assertEquals([bytes.byteLength, table.bytes.byteLength], [0, 0]);
  });
});

describe("Table over a fixed buffer", () => {
  it("spends nothing of the buffer, and copies when it grows", () => {
    const recorder = new Recorder(fixedPageSource(new ArrayBuffer(4096)));
    const table = new Table(recorder.source, 2 ** 30);
    assertEquals(table.reservedBytes, 0);
    assert(table.ensure(10));
    table.bytes[9] = 99;
    const first = table.bytes;
    assert(table.ensure(100_000));
    assertNotStrictEquals(table.bytes, first);
    assertEquals([table.bytes[9], table.bytes[10], table.bytes.byteLength % 4096], [99, 0, 0]);
    assertEquals(table.reservedBytes, table.bytes.byteLength);
    assert(!table.ensure(100_000));
    table.dispose();
    assertEquals(table.bytes.byteLength, 0);
    assertEquals([recorder.requests, recorder.complaint()], [0, ""]);
  });
});
