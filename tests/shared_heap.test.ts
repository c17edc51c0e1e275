/**
 * `SharedHeap` with several attachments in one thread, where every order of steps can be had: what they do to each
 * other's blocks and pages, handles, and what is left of an attachment that has died.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import {
  type Address,
  CorruptionError,
  DisposedError,
  failingPageSource,
  InvalidFreeError,
  InvalidHandleError,
  OutOfMemoryError,
  setViolationHook,
  SharedHeap,
  type SharedHeapHandle,
  systemPageSource,
  UnsupportedPlatformError,
  UseAfterFreeError,
} from "../mod.ts";
import { createAttachment, joinAttachment } from "../src/shared_attachment.ts";
import { ATTACHMENT_MAX, LOCK, NEWS } from "../src/shared_layout.ts";
import type { SharedPlatform } from "../src/shared_platform.ts";
import { bitmapAt } from "../src/shared_remote.ts";
import { EXTENDED, LINKS, STATE } from "../src/page_table.ts";
import { Prng } from "./support/prng.ts";
import { envInteger, isLinux, isWindows, mappingCount } from "./support/runtime.ts";

const SEED = envInteger("OFFHEAP_SEED", 20_261_121);
const RESERVE = 2 ** 30;

/** Two attachments to one heap. */
function pair(): [SharedHeap, SharedHeap] {
  const first = SharedHeap.create({ reserve: RESERVE });
  return [first, SharedHeap.attach(structuredClone(first.handle))];
}

/** The kind of the `InvalidFreeError` that `call` throws. */
function kindOf(call: () => unknown): string {
  return assertThrows(call, InvalidFreeError).kind;
}

describe("SharedHeap", () => {
  it("lets either attachment view, resize and free what the other allocated", () => {
    const [first, second] = pair();
    for (const size of [0, 1, 100, 5000, 16_384, 40_000, 6_000_000]) {
      const address = first.allocate(size, 64);
      first.view(address).fill(9);
      assertEquals(second.view(address).length, size);
      assert(second.view(address).every((byte) => byte === 9));
      assertEquals(second.usableSize(address), first.usableSize(address));
      assert(second.resize(address, Math.max(1, size)));
      const moved = second.reallocate(address, size * 3 + 50);
      assertEquals(moved % 64, 0);
      assert(first.view(moved, size).every((byte) => byte === 9));
      first.free(moved);
      assert(!first.owns(moved) && !second.owns(moved));
    }
    assertEquals([first.stats().liveBlocks, second.stats().liveBlocks], [0, 0]);
    first.check();
    second.check();
    first.detach();
    second.check();
    second.detach();
  });

  it("finds double frees whoever frees first and second, before and after the owner has collected", () => {
    for (const size of [16, 300, 16_000, 50_000, 5_000_000]) {
      for (const order of [[0, 1], [1, 0], [1, 1], [0, 0]]) {
        for (const collects of [false, true]) {
          const heaps = pair();
          const address = heaps[0].allocate(size);
          heaps[order[0]!]!.free(address);
          if (collects) heaps[0].trim();
          for (const heap of heaps) assertEquals(heap.owns(address), false);
          assertEquals(kindOf(() => heaps[order[1]!]!.free(address)), "double");
          for (const heap of heaps) {
            assertEquals(kindOf(() => heap.view(address)), "double");
            assertEquals(kindOf(() => heap.usableSize(address)), "double");
          }
          assertEquals(kindOf(() => heaps[order[1]!]!.reallocate(address, 20)), "double");
          for (const heap of heaps) heap.check();
          assertEquals(heaps[1].stats().liveBlocks, 0);
          for (const heap of heaps) heap.detach();
        }
      }
    }
  });

  it("tells interior and foreign addresses in every attachment", () => {
    const [first, second] = pair();
    const other = SharedHeap.create({ reserve: RESERVE });
    for (const size of [64, 9000, 100_000]) {
      const address = first.allocate(size);
      assertEquals(kindOf(() => second.free(address + 16)), "interior");
      assertEquals(kindOf(() => second.free(address + 0.5)), "interior");
      assertEquals(kindOf(() => other.free(address)), "foreign");
      assertEquals(kindOf(() => second.free(address + RESERVE * 2)), "foreign");
      first.free(address);
    }
    for (const heap of [first, second, other]) heap.detach();
  });

  it("uses again what others have freed, without growing", () => {
    const [first, second] = pair();
    const random = new Prng(SEED);
    let committed = 0;
    for (let round = 0; round < 20; round++) {
      const blocks = Array.from({ length: 5000 }, () => first.allocate(random.below(400)));
      for (const address of random.shuffle(blocks)) second.free(address);
      if (round === 1) committed = first.stats().committedBytes;
    }
    assertEquals(first.stats().committedBytes, committed, `seed ${SEED}`);
    first.check();
    second.detach();
    first.detach();
  });

  it("finds regions and links that another attachment has added", () => {
    const [first, second] = pair();
    const blocks: Address[] = [];
    for (let at = 0; at < 60_000; at++) blocks.push(first.allocate(16 + (at % 7) * 100));
    for (const address of blocks) second.free(address);
    const large = first.allocate(50_000_000);
    second.view(large)[49_999_999] = 5;
    assertEquals(first.view(large)[49_999_999], 5);
    assertEquals(second.stats().liveBlocks, 1);
    first.detach();
    second.free(large);
    second.check();
    second.detach();
  });

  it("adopts the pages of who has detached, with its blocks in them", () => {
    const [first, second] = pair();
    const blocks = Array.from({ length: 3000 }, () => first.allocate(100));
    for (let at = 0; at < blocks.length; at += 2) first.free(blocks[at]!);
    for (let at = 1; at < blocks.length; at += 4) second.free(blocks[at]!);
    first.detach();
    second.check();
    assertEquals(second.stats().liveBlocks, 750);
    const committed = second.stats().committedBytes;
    const more = Array.from({ length: 2200 }, () => second.allocate(100));
    assertEquals(second.stats().committedBytes, committed);
    assertEquals(new Set(more).size, 2200);
    second.check();
    for (let at = 3; at < blocks.length; at += 4) second.free(blocks[at]!);
    for (const address of more) second.free(address);
    assertEquals(second.stats().liveBlocks, 0);
    second.check();
    second.detach();
  });

  it("gives the pages of who has detached to other size classes once they are empty", () => {
    const [first, second] = pair();
    const blocks = Array.from({ length: 9000 }, () => first.allocate(100));
    first.detach();
    for (const address of blocks) second.free(address);
    const committed = second.stats().committedBytes;
    for (let at = 0; at < 90; at++) second.allocate(9000);
    assertEquals(second.stats().committedBytes, committed);
    second.check();
    second.detach();
  });

  it("detaches the views of one attachment only, and unmaps with the last", () => {
    const [first, second] = pair();
    const address = first.allocate(100);
    const views = [first.view(address), second.view(address)];
    const buffer = first.buffer(200);
    const { bytes } = buffer;
    first.detach();
    assertEquals([views[0]!.length, views[1]!.length, bytes.length], [0, 100, 0]);
    assertThrows(() => buffer.address, UseAfterFreeError);
    assertEquals(second.stats().liveBlocks, 1);
    assertThrows(() => first.free(address), DisposedError);
    assertThrows(() => first.handle, DisposedError);
    first.detach();
    second[Symbol.dispose]();
    assertEquals(views[1]!.length, 0);
  });

  it("lets only its owner's attachment free or resize a NativeBuffer's block", () => {
    const [first, second] = pair();
    for (const size of [100, 100_000]) {
      const buffer = first.buffer(size);
      const { address } = buffer;
      second.view(address)[0] = 3;
      assertEquals(buffer.bytes[0], 3);
      for (
        const call of [
          () => second.free(address),
          () => second.resize(address, 5),
          () => second.reallocate(address, 5),
          () => second.reallocate(address, 0),
        ]
      ) assertEquals(kindOf(call), "foreign");
      assertThrows(() => first.reallocate(address, 5), InvalidFreeError, "use its resize method");
      buffer.resize(size * 2);
      assertEquals(kindOf(() => second.free(buffer.address)), "foreign");
      first.free(buffer.address);
      assert(buffer.freed);
    }
    assertEquals(second.stats().liveBlocks, 0);
    first.detach();
    second.detach();
  });

  it("gives violations to the hook, and goes on", () => {
    const [first, second] = pair();
    const seen: string[] = [];
    const before = setViolationHook((violation) => void seen.push(`${violation.code} ${violation.message}`));
    try {
      const address = first.allocate(50);
      second.free(address);
      second.free(address);
      first.free(address);
      assertEquals(seen.length, 2);
      assertThrows(() => second.view(address), InvalidFreeError);
      assertEquals(seen.length, 3);
    } finally {
      setViolationHook(before);
    }
    first.detach();
    second.detach();
  });

  it("refuses page sources that other workers do not have, and bad reserves", () => {
    const source = failingPageSource(systemPageSource(), 10);
    assertThrows(() => SharedHeap.create({ source }), UnsupportedPlatformError, "other workers");
    SharedHeap.create({ source: systemPageSource(), reserve: 2 ** 20 }).detach();
    for (const reserve of [0, 2 ** 20 - 1, 2 ** 20 + 1, 2 ** 36, NaN, -1]) {
      assertThrows(() => SharedHeap.create({ reserve }), RangeError, `${reserve}`);
    }
    assertThrows(() => SharedHeap.create({ reserve: "1" as unknown as number }), TypeError);
  });

  it("is out of memory at the end of its address space, and recovers", () => {
    const first = SharedHeap.create({ reserve: 2 ** 21 });
    const blocks: Address[] = [];
    for (let address = first.tryAllocate(3000); address !== 0; address = first.tryAllocate(3000)) blocks.push(address);
    assert(blocks.length * 3000 > 2 ** 20, `${blocks.length} blocks`);
    assertThrows(() => first.allocate(2 ** 22), OutOfMemoryError);
    for (const address of blocks) first.free(address);
    first.free(first.allocate(2 ** 19));
    first.check();
    first.detach();
  });

  it("has as many places as it says", () => {
    const first = SharedHeap.create({ reserve: RESERVE });
    const others = Array.from({ length: ATTACHMENT_MAX - 1 }, () => SharedHeap.attach(first.handle));
    assertEquals(first.attachments, ATTACHMENT_MAX);
    assertThrows(() => SharedHeap.attach(first.handle), OutOfMemoryError, "127 places");
    for (const other of others) other.allocate(10);
    for (const other of others) other.detach();
    assertEquals([first.attachments, first.stats().liveBlocks], [1, ATTACHMENT_MAX - 1]);
    first.detach();
  });

  it("leaves no mapping behind but one control block for all heaps", { ignore: !isLinux }, () => {
    SharedHeap.create().detach();
    const before = mappingCount();
    for (let at = 0; at < 50; at++) {
      const [first, second] = pair();
      second.view(first.allocate(100_000)).fill(1);
      second.detach();
      first.detach();
    }
    assert(mappingCount() <= before + 2, `${mappingCount()} mappings, ${before} before`);
  });
});

describe("SharedHeap.attach()", () => {
  it("refuses what is no handle", () => {
    for (const value of [undefined, null, 1, "x", {}, [], { type: "offheap.SharedHeap" }]) {
      assertThrows(() => SharedHeap.attach(value as unknown as SharedHeapHandle), TypeError, "handle");
    }
  });

  it("refuses handles that are damaged, of another process or version", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    const { handle } = heap;
    const changed: Partial<SharedHeapHandle>[] = [
      { address: handle.address + 65_536 },
      { address: 65_536 },
      { address: -65_536 },
      { address: 2 ** 52 },
      { nonce: [handle.nonce[0] ^ 1, handle.nonce[1]] },
      { check: handle.check ^ 1 },
      { processId: handle.processId + 1 },
      { version: 2 },
    ];
    for (const change of changed) {
      assertThrows(() => SharedHeap.attach({ ...handle, ...change }), InvalidHandleError);
    }
  });

  it("refuses handles that were forged with a right sum, without touching what they point at", () => {
    using heap = SharedHeap.create({ reserve: RESERVE });
    const { handle } = heap;
    const unmapped = systemPageSource().reserve(65_536, 65_536);
    const places = [65_536, unmapped, 2 ** 46, handle.address, Math.floor(heap.allocate(100_000) / 65_536) * 65_536];
    for (const address of places) {
      const forged = { ...handle, address, nonce: [5, 6] as const };
      // The sum is public; whoever wants to can work it out. Here the right one is found by the message.
      const check = sumOf(forged);
      assertThrows(() => SharedHeap.attach({ ...forged, check }), InvalidHandleError);
    }
    systemPageSource().unmap(unmapped, 65_536);
  });

  it("refuses handles of heaps that have ended, also when another has taken the place", () => {
    const old = SharedHeap.create({ reserve: RESERVE });
    const { handle } = old;
    old.detach();
    assertThrows(() => SharedHeap.attach(handle), DisposedError, "Cannot attach: the shared heap is disposed");
    using next = SharedHeap.create({ reserve: RESERVE });
    assertEquals(next.handle.address, handle.address);
    assertThrows(() => SharedHeap.attach(handle), InvalidHandleError);
    using again = SharedHeap.attach(next.handle);
    assertEquals(again.attachments, 2);
  });
});

/** The sum of shared_handle.ts, as anybody could write it. */
function sumOf({ version, processId, address, nonce }: Omit<SharedHeapHandle, "check">): number {
  let sum = 0x811c9dc5;
  for (const char of `${version} ${processId} ${address} ${nonce[0]} ${nonce[1]}`) {
    sum = Math.imul(sum ^ char.charCodeAt(0), 0x01000193);
  }
  return sum >>> 0;
}

/** The system, but threads end when told to: each attachment believes to be of a thread of its own. */
class MortalPlatform {
  readonly gone: Set<number> = new Set();
  #threads = 0;
  readonly platform: SharedPlatform = {
    ...systemSharedPlatform(),
    thisThread: () => ++this.#threads,
    releaseThread() {},
    isThreadGone: (thread) => this.gone.has(thread),
  };
}

describe("attachments of threads that have ended", () => {
  it("are cleared up after: their pages are adopted, their blocks stay", () => {
    const { platform, gone } = new MortalPlatform();
    const dead = new SharedHeap(createAttachment(platform.source, platform, RESERVE));
    const heap = new SharedHeap(joinAttachment(dead.handle, platform));
    const blocks = Array.from({ length: 2000 }, (_, at) => dead.allocate(at % 600));
    const buffer = dead.buffer(300).address;
    const large = dead.buffer(70_000).address;
    heap.free(blocks[0]!);
    gone.add(1);
    assertEquals(heap.attachments, 1);
    heap.check();
    assertEquals(heap.stats().liveBlocks, 2001);
    heap.trim();
    for (const address of [...blocks.slice(1), buffer, large]) heap.free(address);
    assertEquals(heap.stats().liveBlocks, 0);
    heap.check();
    heap.detach();
  });

  it("lose the lock to who waits for it, and what they left half done is made whole", () => {
    const random = new Prng(SEED);
    const { platform, gone } = new MortalPlatform();
    const dead = createAttachment(platform.source, platform, RESERVE);
    const deadHeap = new SharedHeap(dead);
    const heap = new SharedHeap(joinAttachment(deadHeap.handle, platform));
    const blocks = Array.from({ length: 300 }, () => deadHeap.allocate(random.below(50_000)));
    for (const address of blocks.splice(0, 150)) deadHeap.free(address);
    const { tables } = dead.space;
    // Everything that is derived is wrong, and the dead attachment holds the lock.
    tables.control.fill(0x5a5a, 64, 244);
    for (let unit = 0; unit < tables.endUnit; unit++) tables.units[unit * 4 + 1] = random.below(50);
    Atomics.store(tables.control, LOCK, dead.space.number);
    gone.add(1);
    assertEquals(heap.attachments, 1);
    heap.check();
    assertEquals(heap.stats().liveBlocks, 150);
    for (const address of blocks) heap.free(address);
    assertEquals(heap.stats().liveBlocks, 0);
    heap.check();
    heap.detach();
  });

  it("can have left a page's list and counts in any state", () => {
    const random = new Prng(SEED);
    const { platform, gone } = new MortalPlatform();
    const dead = createAttachment(platform.source, platform, RESERVE);
    const deadHeap = new SharedHeap(dead);
    const heap = new SharedHeap(joinAttachment(deadHeap.handle, platform));
    const blocks = Array.from({ length: 1000 }, () => deadHeap.allocate(64));
    const page = Math.floor((blocks[0]! - dead.space.tables.base) / 65_536) * 16;
    for (let at = 0; at < 400; at++) deadHeap.free(blocks.pop()!);
    const { pages, links } = dead.space.tables;
    pages[page + STATE] = random.next() | 0;
    for (let slot = 0; slot < pages[page + EXTENDED]!; slot++) {
      const index = pages[page + LINKS]! + slot;
      if (links[index]! < 4096) links[index] = random.below(4096);
    }
    gone.add(1);
    heap.trim();
    const more = Array.from({ length: 1200 }, () => heap.allocate(64));
    assertEquals(new Set([...more, ...blocks]).size, more.length + blocks.length, `seed ${SEED}`);
    heap.check();
    for (const address of [...more, ...blocks]) heap.free(address);
    heap.check();
    assertEquals(heap.stats().liveBlocks, 0);
    heap.detach();
  });

  it("can have freed a block of another's page without saying so", () => {
    const { platform, gone } = new MortalPlatform();
    const owner = createAttachment(platform.source, platform, RESERVE);
    const heap = new SharedHeap(owner);
    const dead = new SharedHeap(joinAttachment(heap.handle, platform));
    const blocks = Array.from({ length: 1000 }, () => heap.allocate(16_000));
    // The bit and nothing more: no NEWS, no dirty bit, no signal.
    const { base, remote } = owner.space.tables;
    const offset = blocks[500]! - base;
    const page = Math.floor(offset / 65_536) * 16;
    remote[bitmapAt(page)] = 1 << ((offset % 65_536) / 16_384);
    gone.add(2);
    assertEquals(heap.attachments, 1);
    assertEquals(heap.owns(blocks[500]!), false);
    heap.trim();
    assertEquals(heap.stats().liveBlocks, 999);
    heap.check();
    assertThrows(() => heap.free(blocks[500]!), InvalidFreeError);
    heap.detach();
    assertThrows(() => dead.allocate(100_000), DisposedError);
  });
});

describe("a block that two workers free in the same nanoseconds", () => {
  it("is freed once, and the double free is reported by who finds it", () => {
    for (const finder of ["allocate", "trim"]) {
      const owner = createAttachment(systemPageSource(), systemSharedPlatform(), RESERVE);
      const heap = new SharedHeap(owner);
      heap.allocate(64);
      const address = heap.allocate(64);
      const { base, pages, remote } = owner.space.tables;
      const granule = (address - base) / 16;
      const page = (granule >>> 8) & -16;
      heap.free(address);
      // As if another worker had looked at the link before that, and set its bit after it.
      remote[bitmapAt(page)] = 1 << 1;
      pages[page + NEWS] = 1;
      remote[page >>> 9] = 1;
      const calls = (): unknown => finder === "allocate" ? heap.allocate(64) : (heap.trim(), heap.allocate(5000));
      const error = assertThrows(calls, InvalidFreeError, "at the same moment");
      assertEquals([error.kind, error.address], ["double", address]);
      heap.check();
      assertEquals(heap.allocate(64), address);
      assertEquals(heap.stats().liveBlocks, 2);
      heap.check();
      heap.detach();
    }
  });
});

describe("memory that escaped from a shared heap", () => {
  it("stays mapped when another attachment is the last to go", { ignore: isWindows }, () => {
    const [first, second] = pair();
    const address = first.allocate(100);
    first.view(address).fill(6);
    const taken = (first.view(address).buffer as ArrayBuffer).transfer();
    const offset = address % 2 ** 20;
    assertThrows(() => first.view(address), CorruptionError, "detached");
    first.detach();
    second.detach();
    assertEquals(new Uint8Array(taken, offset % taken.byteLength, 1).length, 1);
    new Uint8Array(taken).fill(1);
  });
});
