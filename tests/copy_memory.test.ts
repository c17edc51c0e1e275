/**
 * Copying and clearing through wraps that are ended whatever happens.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, OutOfMemoryError, systemPageSource } from "../mod.ts";
import { clearMemory, copyMemory } from "../src/copy_memory.ts";
import { Recorder } from "./support/recording_source.ts";

describe("copyMemory() and clearMemory()", () => {
  it("write just the bytes they are told to", () => {
    const recorder = new Recorder(systemPageSource());
    const { source } = recorder;
    const size = source.granularity;
    const base = source.reserve(2 * size, size);
    source.commit(base, 2 * size);
    const bytes = source.wrap(base, 2 * size).fill(7, 0, size).fill(9, size);
    copyMemory(source, base + 10, base + size + 20, 100);
    for (let i = 0; i < size; i++) assert(bytes[size + i] === (i >= 20 && i < 120 ? 7 : 9), `byte ${i}`);
    clearMemory(source, base + 1, size - 2);
    assertEquals([bytes[0], bytes[1], bytes[size - 2], bytes[size - 1]], [7, 0, 0, 7]);
    copyMemory(source, base, base + size, 0);
    clearMemory(source, base, 0);
    source.unwrap(bytes);
    source.unmap(base, 2 * size);
    assertEquals(recorder.complaint(), "");
  });

  it("leave no wrap behind when the second cannot be had", () => {
    const recorder = new Recorder(systemPageSource());
    const source = failingPageSource(recorder.source, 1, { operations: ["wrap"] });
    const size = source.granularity;
    const base = source.reserve(2 * size, size);
    source.commit(base, 2 * size);
    assertThrows(() => copyMemory(source, base, base + size, 8), OutOfMemoryError);
    source.unmap(base, 2 * size);
    assertEquals(recorder.complaint(), "");
  });
});
