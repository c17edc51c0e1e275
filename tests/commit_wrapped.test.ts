/**
 * Memory that is committed and wrapped, or neither.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Allocator,
  Arena,
  BucketAllocator,
  BumpAllocator,
  FreeListAllocator,
  GuardAllocator,
  Heap,
  OutOfMemoryError,
  type PageSource,
  PoolAllocator,
  systemPageSource,
} from "../mod.ts";
import { commitWrapped, wrapWhole } from "../src/commit_wrapped.ts";
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
    const short = { ...source, wrap: (address: number, length: number) => source.wrap(address, length - 8) };
    const refusing = {
      ...source,
      wrap() {
        throw new OutOfMemoryError("no wrap", step);
      },
    };
    source.commit(address, step);
    assertThrows(
      () => commitWrapped(short, address, 2 * step, step),
      CorruptionError,
      `the page source wrapped ${2 * step - 8} of them`,
    );
    assertEquals(recorder.committedBytes, step);
    assertThrows(() => commitWrapped(refusing, address, 2 * step, step), OutOfMemoryError, "no wrap");
    assertEquals(recorder.committedBytes, step);
    source.unmap(address, length);
    assertEquals(recorder.complaint(), "");
  });
});

describe("wrapWhole()", () => {
  it("says what is wrong with a view that is not even a wrap", () => {
    const source = {
      wrap: () => new Uint8Array(4),
      unwrap() {
        throw new TypeError("not of mine");
      },
    };
    assertThrows(() => wrapWhole(source, 4096, 8), CorruptionError, "the page source wrapped 4 of them");
  });
});

/** What asks a source for a wrap of its own. */
const WRAPPED: { readonly [what: string]: (source: PageSource) => Allocator } = {
  Arena: (source) => new Arena({ source }),
  BucketAllocator: (source) => new BucketAllocator({ source }),
  BumpAllocator: (source) => new BumpAllocator({ source, size: 65_536 }),
  FreeListAllocator: (source) => new FreeListAllocator({ source }),
  GuardAllocator: (source) => new GuardAllocator({ source }),
  Heap: (source) => new Heap({ source }),
  PoolAllocator: (source) => new PoolAllocator({ source, slotSize: 64 }),
};

describe("a source that wraps less than it is asked to", () => {
  for (const [name, open] of Object.entries(WRAPPED)) {
    it(`is found out by ${name}, which holds nothing of it then`, () => {
      const recorder = new Recorder(systemPageSource());
      const { source } = recorder;
      let whole = false;
      const wrap = (address: number, length: number) => source.wrap(address, whole ? length : length - 8);
      let allocator: Allocator | undefined;
      const use = () => {
        allocator = open({ ...source, wrap });
        allocator.view(allocator.allocate(64));
      };
      assertThrows(use, CorruptionError, "the page source wrapped");
      whole = true;
      allocator?.[Symbol.dispose]();
      assertEquals([recorder.committedBytes, recorder.complaint()], [0, ""]);
    });
  }
});
