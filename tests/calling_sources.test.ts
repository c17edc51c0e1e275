/**
 * Page sources that call the allocator that has called them, or fail to end a wrap. Those of this package do neither; one that
 * somebody wrote must not make an allocator give out memory twice, or leave a view of memory that is gone.
 *
 * @module
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  type Allocator,
  AllocatorError,
  Arena,
  BucketAllocator,
  BumpAllocator,
  contiguousPageSource,
  DebugAllocator,
  FreeListAllocator,
  Heap,
  OutOfMemoryError,
  type PageSource,
  PoolAllocator,
  QuarantineAllocator,
  SharedHeap,
  systemPageSource,
} from "../mod.ts";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import { createAttachment } from "../src/shared_attachment.ts";
import { isWindows } from "./support/runtime.ts";

/** Allocators over a source, by name. */
const MAKERS: Readonly<Record<string, (source: PageSource) => Allocator>> = {
  Heap: (source) => new Heap({ source }),
  "Heap that clears": (source) => new Heap({ source, zeroOnFree: true }),
  Arena: (source) => new Arena({ source }),
  BumpAllocator: (source) => new BumpAllocator({ source }),
  PoolAllocator: (source) => new PoolAllocator({ source, slotSize: 100 }),
  FreeListAllocator: (source) => new FreeListAllocator({ source }),
  BucketAllocator: (source) => new BucketAllocator({ source }),
  DebugAllocator: (source) => new DebugAllocator(new Heap({ source })),
  QuarantineAllocator: (source) => new QuarantineAllocator(new Heap({ source })),
};

/** The system's source, which calls `before` each time that it is asked to end a wrap. */
function unwrapping(before: () => void): PageSource {
  const { buffers: _buffers, ...system } = systemPageSource();
  return {
    ...system,
    unwrap(bytes) {
      before();
      system.unwrap(bytes);
    },
  };
}

describe("a page source that frees the block that is just being freed", () => {
  for (const [name, make] of Object.entries(MAKERS)) {
    it(`does not have it freed twice by ${name}`, () => {
      let address = 0;
      const allocator = make(unwrapping(() => {
        const own = address;
        address = 0;
        if (own !== 0) allocator.free(own);
      }));
      address = allocator.buffer(80).address;
      assertThrows(() => allocator.free(address), AllocatorError);
      assertEquals(allocator.stats().liveBlocks, 0);
      allocator.check();
      assertNotEquals(allocator.allocate(80), allocator.allocate(80));
      allocator[Symbol.dispose]();
    });
  }
});

describe("a page source that allocates while it is asked for a region", () => {
  for (const name of ["FreeListAllocator", "BucketAllocator"]) {
    it(`gets one of its own from ${name}`, () => {
      const system = systemPageSource();
      let depth = 0;
      const allocator = MAKERS[name]!({
        ...system,
        reserve(byteLength, alignment) {
          if (depth++ === 0) allocator.allocate(60_000);
          return system.reserve(byteLength, alignment);
        },
      });
      const address = allocator.allocate(60_000);
      assertEquals(allocator.stats().regions, 2);
      allocator.check();
      allocator.free(address);
      for (const block of [...allocator.blocks()]) allocator.free(block.address);
      allocator.check();
      allocator[Symbol.dispose]();
    });
  }
});

describe("a page source that fails to end a wrap", () => {
  it("keeps no other buffer of a heap attached when the heap is disposed", () => {
    let failures = 0;
    const heap = new Heap({
      source: unwrapping(() => {
        if (failures-- > 0) throw new Error("not now");
      }),
    });
    const buffers = Array.from({ length: 5 }, () => heap.buffer(100).bytes);
    failures = 1;
    assertThrows(() => heap[Symbol.dispose](), Error, "not now");
    assertEquals(buffers.filter((bytes) => bytes.length > 0).length, 1);
  });

  it("keeps no other view of a shared heap attached when it is detached", { ignore: isWindows }, () => {
    let fails = false;
    const platform = systemSharedPlatform();
    const source = unwrapping(() => {
      if (!fails) return;
      fails = false;
      throw new Error("not now");
    });
    const shared = { ...platform, source };
    const heap = new SharedHeap(createAttachment(source, shared, 2 ** 24));
    const buffers = [heap.buffer(100), heap.buffer(100)].map(({ bytes }) => bytes);
    const view = heap.view(heap.allocate(50));
    fails = true;
    assertThrows(() => heap.detach(), Error, "not now");
    assertEquals([view.length, buffers.filter(({ length }) => length > 0).length], [0, 1]);
  });

  it("has a free-list system join its regions all the same", () => {
    const contiguous = contiguousPageSource(systemPageSource(), 2 ** 28);
    let fails = false;
    const source: PageSource = {
      ...contiguous,
      unwrap(bytes) {
        if (fails) {
          fails = false;
          throw new OutOfMemoryError("not now", 1);
        }
        contiguous.unwrap(bytes);
      },
    };
    const allocator = new FreeListAllocator({ source, header: 24, joinRegions: true });
    allocator.allocate(60_000);
    fails = true;
    for (let index = 0; index < 6; index++) allocator.allocate(200_000);
    assert(!fails, "a wrap was to be ended");
    allocator.check();
    allocator[Symbol.dispose]();
  });
});
