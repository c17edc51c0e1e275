/**
 * Page sources that call the heap which has just called them: each change is refused, and nothing is damaged.
 *
 * @module
 */
import { assert, assertEquals, assertThrows, fail } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CorruptionError, DebugAllocator, Heap, type HeapOptions, type PageSource, systemPageSource } from "../mod.ts";
import { WatchedSource } from "../src/watched_source.ts";
import { Prng } from "./support/prng.ts";
import { Recorder } from "./support/recording_source.ts";

const MIB = 2 ** 20;

/** The calls of a page source that do something. */
const CALLS = ["reserve", "commit", "decommit", "discard", "unmap", "wrap", "unwrap"] as const;
type Call = typeof CALLS[number];

/** A source of the system's that calls `inside` after each call has been done. */
function talkative(inside: (call: Call) => void, system: PageSource = systemPageSource()): PageSource {
  const after = <T>(call: Call, result: T): T => {
    inside(call);
    return result;
  };
  return {
    ...system,
    reserve: (byteLength, alignment) => after("reserve", system.reserve(byteLength, alignment)),
    commit: (address, byteLength) => after("commit", system.commit(address, byteLength)),
    decommit: (address, byteLength) => after("decommit", system.decommit(address, byteLength)),
    discard: (address, byteLength) => after("discard", system.discard(address, byteLength)),
    unmap: (address, byteLength) => after("unmap", system.unmap(address, byteLength)),
    wrap: (address, byteLength) => after("wrap", system.wrap(address, byteLength)),
    unwrap: (bytes) => after("unwrap", system.unwrap(bytes)),
  };
}

/** What `action` throws, which must be the refusal. */
function refused(action: () => unknown): string {
  const error = assertThrows(action, CorruptionError, ": the page source called the allocator that called it");
  return error.message.slice(0, error.message.indexOf(":"));
}

/** A heap whose page source does `action` once, inside the next call of that name. */
function heapWith(options: HeapOptions = {}): { heap: Heap; inside: (call: Call, action: () => unknown) => void } {
  let when: Call | undefined;
  let what = (): unknown => undefined;
  const source = talkative((call) => {
    if (call !== when) return;
    when = undefined;
    what();
  });
  const heap = new Heap({ ...options, source });
  return {
    heap,
    inside(call, action) {
      when = call;
      what = action;
    },
  };
}

describe("WatchedSource", () => {
  it("move() is passed on and watched, and does nothing where the source has none", () => {
    const states: boolean[] = [];
    const moves: number[][] = [];
    const { move: _, ...without } = systemPageSource();
    const source: PageSource = { ...without, move: (...args) => moves.push(args) > 0 };
    assertEquals(new WatchedSource(source, (isBusy) => states.push(isBusy)).move(4096, 8192, 4096), true);
    assertEquals([states, moves], [[true, false], [[4096, 8192, 4096]]]);
    assertEquals(new WatchedSource(without, () => {}).move(4096, 8192, 4096), false);
  });

  it("says when a call begins and ends, however it ends, and passes everything on", () => {
    const told: boolean[] = [];
    const system = systemPageSource();
    const source = new WatchedSource(system, (isBusy) => told.push(isBusy));
    const size = source.granularity;
    const address = source.reserve(size, source.pageSize);
    source.commit(address, size);
    const bytes = source.wrap(address, size);
    bytes.fill(1);
    source.discard(address, size);
    assertEquals(bytes[size - 1], 0);
    source.unwrap(bytes);
    source.protect(address, size, "none");
    source.decommit(address, size);
    source.unmap(address, size);
    assertThrows(() => source.reserve(2 ** 60, source.pageSize));
    assertEquals(told, Array.from({ length: 18 }, (_, i) => i % 2 === 0));
    assertEquals(
      [source.name, source.pageSize, source.granularity, source.maxWrapBytes, source.lazy, source.isolating],
      [system.name, system.pageSize, system.granularity, system.maxWrapBytes, system.lazy, system.isolating],
    );
  });
});

describe("defects of Heap over a page source that calls it, which were mended", () => {
  it("a page that was taken twice: allocate() inside the commit for a table of links", () => {
    for (let at = 1; at < 12; at++) {
      let commits = -Infinity;
      const source = talkative((call) => {
        if (call !== "commit" || ++commits !== at) return;
        assertEquals(refused(() => heap.allocate(600)), "Cannot allocate 600 bytes");
      });
      const heap = new Heap({ source });
      commits = 0;
      for (let i = 0; i < 20_000 && commits < at; i++) heap.allocate(600);
      assert(commits >= at, `${commits} commits only`);
      heap.check();
      const live = [...heap.blocks()];
      assertEquals(
        [live.length, new Set(live.map(({ address }) => address)).size],
        Array(2).fill(heap.stats().liveBlocks),
      );
      heap[Symbol.dispose]();
    }
  });

  it("a small block that was freed under reallocate(): it moved, and its slot was freed twice", () => {
    const { heap, inside } = heapWith();
    const address = heap.allocate(100);
    heap.view(address).fill(7);
    inside("reserve", () => assertEquals(refused(() => heap.free(address)), `Cannot free 0x${address.toString(16)}`));
    const moved = heap.reallocate(address, 6 * MIB);
    assertEquals([heap.owns(address), heap.view(moved)[99], heap.stats().liveBlocks], [false, 7, 1]);
    heap.check();
    heap[Symbol.dispose]();
  });

  it("a huge block that was freed under reallocate(): its memory was copied after it was unmapped", () => {
    const { heap, inside } = heapWith();
    const address = heap.allocate(6 * MIB);
    heap.view(address).fill(7);
    inside("reserve", () => refused(() => heap.free(address)));
    const moved = heap.reallocate(address, 12 * MIB);
    assertEquals([heap.view(moved)[6 * MIB - 1], heap.stats().liveBlocks], [7, 1]);
    // What the source does not catch is thrown by the call, which has done nothing.
    inside("reserve", () => heap.free(moved));
    refused(() => heap.reallocate(moved, 36 * MIB));
    assertEquals([heap.owns(moved), heap.stats().liveBlocks], [true, 1]);
    heap.check();
    heap[Symbol.dispose]();
  });

  it("a huge block that was freed under free(): it was counted twice", () => {
    const { heap, inside } = heapWith();
    const address = heap.allocate(6 * MIB);
    heap.view(address);
    inside("unwrap", () => refused(() => heap.free(address)));
    heap.free(address);
    assertEquals([heap.stats().liveBlocks, heap.stats().committedBytes], [0, 0]);
    heap.check();
    heap[Symbol.dispose]();
  });

  it("a huge block that was viewed inside the wrap for its first view: one wrap was never detached", () => {
    const { heap, inside } = heapWith();
    const address = heap.allocate(6 * MIB);
    inside("wrap", () => refused(() => heap.view(address)));
    const view = heap.view(address);
    heap.check();
    heap.free(address);
    assertEquals(view.length, 0);
    heap[Symbol.dispose]();
  });

  it("dispose() inside a commit ended in a TypeError of the engine", () => {
    const { heap, inside } = heapWith();
    const small = heap.allocate(3000);
    inside("commit", () => assertEquals(refused(() => heap[Symbol.dispose]()), "Cannot dispose the heap"));
    const large = heap.allocate(3 * MIB);
    assertEquals([heap.view(small).length, heap.view(large).length], [3000, 3 * MIB]);
    heap.free(small);
    heap.check();
    heap[Symbol.dispose]();
  });

  it("trim() inside the commit of a region could take away the region before it", () => {
    const { heap, inside } = heapWith();
    heap.free(heap.allocate(3 * MIB));
    inside("commit", () => assertEquals(refused(() => heap.trim()), "Cannot trim"));
    heap.allocate(4 * MIB - 1);
    heap.check();
    heap[Symbol.dispose]();
  });

  it("a NativeBuffer that is freed inside a commit stays as it is, its views too", () => {
    const { heap, inside } = heapWith();
    const buffer = heap.buffer(100);
    const { bytes } = buffer;
    let said: string[] = [];
    inside("commit", () => said = [refused(() => buffer.free()), refused(() => buffer.resize(200))]);
    heap.allocate(3 * MIB);
    assertEquals(said.length, 2);
    assertEquals([buffer.freed, buffer.byteLength, bytes.length], [false, 100, 100]);
    buffer.free();
    assertEquals(bytes.length, 0);
    heap[Symbol.dispose]();
  });

  it("a wrapper around the heap is refused like any other, and goes on afterwards", () => {
    const { heap, inside } = heapWith();
    const debug = new DebugAllocator(heap, { stacks: false });
    const address = debug.allocate(100);
    inside("commit", () => refused(() => debug.free(address)));
    heap.allocate(3 * MIB);
    debug.free(address);
    debug.check();
    debug[Symbol.dispose]();
  });
});

describe("what a page source may do to the heap that has called it", () => {
  it("look: at blocks, views that need no wrap, figures", () => {
    const { heap, inside } = heapWith();
    const address = heap.allocate(100);
    heap.view(address).fill(5);
    let seen: unknown[] = [];
    inside("commit", () => {
      seen = [heap.owns(address), heap.usableSize(address), heap.view(address)[99], [...heap.blocks()].length];
      seen.push(heap.stats().liveBlocks);
    });
    heap.allocate(3 * MIB);
    assertEquals(seen, [true, 112, 5, 1, 1]);
    heap[Symbol.dispose]();
  });

  it("use another heap over the same source", () => {
    const { heap, inside } = heapWith();
    const other = new Heap({ source: heap.source });
    inside("commit", () => other.free(other.allocate(100)));
    heap.allocate(3 * MIB);
    other.check();
    other[Symbol.dispose]();
    heap[Symbol.dispose]();
  });
});

describe("Heap over a page source that calls it at random", () => {
  const rules: readonly [string, HeapOptions][] = [
    ["plain", {}],
    ["limited", { limit: 256 * MIB }],
    ["secure", { secure: true }],
    ["clearing", { zeroOnFree: true }],
  ];
  for (const [name, options] of rules) {
    it(`${name}: every change is refused, and no block is lost, doubled or overwritten`, () => {
      const seed = 20261121;
      const random = new Prng(seed);
      const recorder = new Recorder(systemPageSource());
      const blocks: { address: number; size: number; mark: number }[] = [];
      let tried = 0;
      const actions = [
        (h: Heap) => h.allocate(random.below(20_000)),
        (h: Heap) => h.allocate(6 * MIB),
        (h: Heap) => h.allocateZeroed(random.below(2000)),
        (h: Heap) => h.array(Float64Array, 10),
        (h: Heap) => h.buffer(100),
        (h: Heap) => h.free(blocks[0]!.address),
        (h: Heap) => h.free(blocks.at(-1)!.address),
        (h: Heap) => h.reallocate(blocks[0]!.address, random.below(40_000) + 1),
        (h: Heap) => h.resize(blocks[0]!.address, 1),
        (h: Heap) => h.trim(),
        (h: Heap) => h.check(),
        (h: Heap) => h[Symbol.dispose](),
      ];
      const source = talkative(() => {
        if (blocks.length === 0) return;
        const action = actions[random.below(actions.length)]!;
        tried++;
        refused(() => action(heap));
      }, recorder.source);
      const heap = new Heap({ ...options, source });
      const verify = ({ address, size, mark }: { address: number; size: number; mark: number }): void => {
        const view = heap.view(address);
        if (view.length !== size || (size > 0 && (view[0] !== mark || view[size - 1] !== mark))) {
          fail(`the block of ${size} bytes was changed; seed ${seed}`);
        }
      };
      const sizeOf = (): number => {
        const kind = random.below(100);
        return kind < 70
          ? random.below(3000)
          : kind < 95
          ? random.below(200_000)
          : kind < 99
          ? random.below(MIB)
          : 5 * MIB;
      };
      for (let step = 0; step < 4000; step++) {
        const at = random.below(blocks.length + 1);
        const block = blocks[at];
        if (block === undefined || random.chance(55)) {
          const size = sizeOf();
          const fresh = { address: heap.allocate(size), size, mark: random.below(255) + 1 };
          heap.view(fresh.address).fill(fresh.mark);
          blocks.push(fresh);
        } else if (random.chance(30)) {
          verify(block);
          const size = sizeOf() + 1;
          block.address = heap.reallocate(block.address, size);
          block.size = size;
          heap.view(block.address).fill(block.mark);
        } else {
          verify(block);
          heap.free(block.address);
          blocks.splice(at, 1);
        }
        // Bounded: some hundred MiB would be live at the end otherwise.
        while (blocks.length > 200) heap.free(blocks.shift()!.address);
        if (step % 500 === 499) heap.trim();
      }
      for (const block of blocks) verify(block);
      heap.check();
      assertEquals([...heap.blocks()].length, blocks.length);
      assert(tried > 100, `the source called the heap ${tried} times only`);
      while (blocks.length > 0) heap.free(blocks.pop()!.address);
      heap.check();
      assertEquals(heap.stats().liveBlocks, 0);
      heap[Symbol.dispose]();
      assertEquals(recorder.complaint(), "");
    });
  }
});
