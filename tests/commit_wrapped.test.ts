/**
 * Memory that is committed and wrapped, or neither.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { OutOfMemoryError, type PageSource, systemPageSource } from "../mod.ts";
import { commitWrapped } from "../src/commit_wrapped.ts";
import { CorruptionError } from "../src/errors.ts";
import { Recorder } from "./support/recording_source.ts";

/** A recorded reservation of some OS pages of `step` bytes. */
function reserved(): { recorder: Recorder; source: PageSource; address: number; step: number; length: number } {
  const recorder = new Recorder(systemPageSource());
  const { source } = recorder;
  const step = source.pageSize;
  const length = Math.max(4 * step, source.granularity);
  return { recorder, source, address: source.reserve(length, source.granularity), step, length };
}

describe("commitWrapped()", () => {
  it("commits what is not committed, and wraps all", () => {
    const { recorder, source, address, step, length } = reserved();
    const first = commitWrapped(source, address, step);
    assertEquals([first.byteLength, recorder.committedBytes], [step, step]);
    first[0] = 1;
    const both = commitWrapped(source, address, 2 * step, step);
    assertEquals([both.byteLength, both[0], recorder.committedBytes], [2 * step, 1, 2 * step]);
    source.unwrap(first);
    source.unwrap(both);
    source.unmap(address, length);
    assertEquals(recorder.complaint(), "");
  });

  it("takes its commit back when there is no wrap, or a wrong one", () => {
    const { recorder, source, address, step, length } = reserved();
    const none = { ...source, wrap: () => new Uint8Array(0) };
    const refusing = {
      ...source,
      wrap() {
        throw new OutOfMemoryError("no wrap", step);
      },
    };
    source.commit(address, step);
    assertThrows(
      () => commitWrapped(none, address, 2 * step, step),
      CorruptionError,
      "the page source wrapped 0 of them",
    );
    assertEquals(recorder.committedBytes, step);
    assertThrows(() => commitWrapped(refusing, address, 2 * step, step), OutOfMemoryError, "no wrap");
    assertEquals(recorder.committedBytes, step);
    source.unmap(address, length);
    assertEquals(recorder.complaint(), "");
  });
});
