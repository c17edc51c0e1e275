/**
 * Regions of one mapping: how large they are, and what is left when one cannot be had.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { OutOfMemoryError, type PageSource, systemPageSource } from "../mod.ts";
import { largestRegion, mapWhole, regionBytes } from "../src/mapped_region.ts";
import { Unreleased } from "../src/unreleased.ts";
import { Recorder } from "./support/recording_source.ts";

describe("regionBytes(), largestRegion()", () => {
  it("count in whole OS pages, one at least and less than 4 GiB", () => {
    const source = systemPageSource();
    const { pageSize } = source;
    assertEquals([0, 1, pageSize, pageSize + 1].map((bytes) => regionBytes(source, bytes) / pageSize), [1, 1, 1, 2]);
    const most = largestRegion({ ...source, maxWrapBytes: 2 ** 33 });
    assert(most < 2 ** 32 && most % pageSize === 0);
    assertEquals(largestRegion({ ...source, maxWrapBytes: 3 * pageSize + 8 }), 3 * pageSize);
  });
});

describe("mapWhole()", () => {
  it("gives memory with all of it in its views, at the alignment", () => {
    const recorder = new Recorder(systemPageSource());
    const { source } = recorder;
    const byteLength = 2 * source.pageSize;
    const region = mapWhole(source, byteLength, 2 ** 20, new Unreleased(source));
    assertEquals([region.address % 2 ** 20, region.bytes.byteLength, region.words.length], [
      0,
      byteLength,
      byteLength / 4,
    ]);
    source.unwrap(region.bytes);
    source.unmap(region.address, byteLength);
    assertEquals(recorder.complaint(), "");
  });

  it("holds nothing when it fails, but for what the source does not take back", () => {
    const recorder = new Recorder(systemPageSource());
    const { pageSize } = recorder.source;
    let takesBack = true;
    const source: PageSource = {
      ...recorder.source,
      wrap() {
        throw new OutOfMemoryError("no wrap", pageSize);
      },
      unmap(address, byteLength) {
        if (!takesBack) throw new OutOfMemoryError("too many mappings", byteLength);
        recorder.source.unmap(address, byteLength);
      },
    };
    const unreleased = new Unreleased(source);
    const map = () => mapWhole(source, pageSize, pageSize, unreleased);
    assertThrows(map, OutOfMemoryError, "no wrap");
    recorder.failAfter(1, 1);
    assertThrows(map, OutOfMemoryError, "a failure was injected");
    assertEquals([recorder.reservedBytes, unreleased.byteLength], [0, 0]);
    takesBack = false;
    assertThrows(map, OutOfMemoryError, "no wrap");
    assertEquals([recorder.reservedBytes, unreleased.byteLength], [pageSize, pageSize]);
    takesBack = true;
    assertEquals([unreleased.retry(), recorder.complaint()], [pageSize, ""]);
  });
});
