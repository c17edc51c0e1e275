/**
 * Buffers of a `Heap` that somebody else detaches, or unwraps: what is reported, and that free and dispose still work.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  CorruptionError,
  DebugAllocator,
  Heap,
  InvalidFreeError,
  type NativeBuffer,
  systemPageSource,
  UseAfterFreeError,
} from "../mod.ts";

/** The size of a block that has a buffer of its own. */
const HUGE = 5 * 2 ** 20;

describe("Heap whose buffers were detached from outside", () => {
  it("a region: CorruptionError from whatever needs its bytes; free, allocate and dispose work", () => {
    const heap = new Heap();
    const address = heap.allocate(100);
    const large = heap.allocate(50_000);
    (heap.view(address).buffer as ArrayBuffer).transfer(0);
    const blocks = [...heap.blocks()];
    const message = /Cannot use the region at 0x[0-9a-f]+: its ArrayBuffer was detached from outside/;
    for (
      const action of [
        () => heap.view(address),
        () => heap.view(large, 7),
        () => heap.array(Uint32Array, 5),
        () => heap.allocateZeroed(100),
        () => heap.allocateZeroed(100, 64),
        () => heap.reallocate(address, 1000),
        () => heap.check(),
      ]
    ) {
      assert(message.test(assertThrows(action, CorruptionError).message), String(action));
      assertEquals([...heap.blocks()], blocks, String(action));
    }
    heap.free(heap.allocate(100));
    heap.free(heap.allocate(50_000));
    heap.free(address);
    heap.free(large);
    heap[Symbol.dispose]();
  });

  it("a huge block: CorruptionError from view(); free and dispose work", () => {
    const heap = new Heap();
    const first = heap.allocate(HUGE);
    const second = heap.allocate(HUGE);
    for (const address of [first, second]) (heap.view(address).buffer as ArrayBuffer).transfer(0);
    try {
      assertThrows(() => heap.view(first), CorruptionError, "detached");
    } finally {
      heap.free(first);
      heap[Symbol.dispose]();
    }
  });

  it("an owned buffer: CorruptionError from resize(); free and dispose work", () => {
    const heap = new Heap();
    const first = heap.buffer(100);
    const second = heap.buffer(100);
    for (const { arrayBuffer } of [first, second]) (arrayBuffer as ArrayBuffer).transfer(0);
    assertThrows(() => first.resize(200), CorruptionError, "its ArrayBuffer was transferred elsewhere");
    first.free();
    heap.check();
    heap[Symbol.dispose]();
    assert(second.freed);
  });

  it("a page source that frees an owned block when it is to end its wrap: that is the only time", () => {
    const rules = [{}, { zeroOnFree: true }, { limit: 2 * HUGE }];
    const frees = [
      (buffer: NativeBuffer) => buffer.free(),
      ({ address }: NativeBuffer, heap: Heap) => heap.free(address),
    ];
    for (
      const [size, options, free] of [100, 50_000, HUGE].flatMap((size) =>
        rules.flatMap((options) => frees.map((free) => [size, options, free] as const))
      )
    ) {
      let unwrapping = (): void => {};
      const { buffers: _, ...source } = systemPageSource();
      const heap = new Heap({
        ...options,
        source: {
          ...source,
          unwrap(bytes) {
            source.unwrap(bytes);
            unwrapping();
          },
        },
      });
      const kept = heap.allocate(100);
      const buffer = heap.buffer(size);
      const { address } = buffer;
      unwrapping = () => {
        unwrapping = () => {};
        heap.free(address);
      };
      assertThrows(() => free(buffer, heap), InvalidFreeError, "already freed");
      heap.check();
      assertEquals([...heap.blocks()].map((block) => block.address), [kept]);
      heap[Symbol.dispose]();
    }
  });

  it("an owned buffer that cannot be cleared, and so not be freed, stays as it was", () => {
    for (const options of [{ zeroOnFree: true }, { secure: true }, { zeroOnFree: true, limit: 2 ** 20 }]) {
      for (const size of [100, 50_000]) {
        const heap = new Heap(options);
        using debug = new DebugAllocator(heap);
        const allocators = [heap, debug];
        const buffers = allocators.map((allocator) => allocator.buffer(size));
        const plain = heap.allocate(10);
        (heap.view(plain).buffer as ArrayBuffer).transfer(0);
        const blocks = [...heap.blocks()];
        for (const [i, buffer] of buffers.entries()) {
          const allocator = allocators[i]!;
          const { address, bytes, arrayBuffer } = buffer;
          bytes.fill(7);
          for (
            const free of [
              () => buffer.free(),
              () => buffer[Symbol.dispose](),
              () => allocator.free(address),
              () => heap.free(blocks[i]!.address),
            ]
          ) {
            assertThrows(free, CorruptionError, "detached from outside", `${size}: ${free}`);
            assertEquals([buffer.freed, buffer.address, buffer.byteLength], [false, address, size], `${size}: ${free}`);
            assertEquals([arrayBuffer.byteLength, bytes.length, bytes[size - 1]], [size, size, 7]);
            assertEquals([...heap.blocks()], blocks);
          }
          // It is owned still.
          assertThrows(() => allocator.resize(address, 5), InvalidFreeError, "a NativeBuffer owns the block");
        }
        debug[Symbol.dispose]();
        for (const buffer of buffers) assert(buffer.freed);
      }
    }
  });

  it("a view that was taken from a detached buffer is no address", () => {
    using heap = new Heap();
    const view = heap.view(heap.allocate(HUGE));
    heap.free(heap.addressOf(view));
    assertEquals(view.length, 0);
    assertEquals(
      assertThrows(() => heap.freeArray(view), UseAfterFreeError).message,
      "Cannot free the view: its memory was freed and its buffer detached",
    );
  });
});
