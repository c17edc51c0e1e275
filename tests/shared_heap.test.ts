/**
 * `SharedHeap` with several attachments in one thread, where every order of steps can be had: what they do to each
 * other's blocks and pages. Handles are in shared_handles.test.ts.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import {
  type Address,
  DisposedError,
  failingPageSource,
  InvalidFreeError,
  OutOfMemoryError,
  setViolationHook,
  SharedHeap,
  systemPageSource,
  UnsupportedPlatformError,
  UseAfterFreeError,
} from "../mod.ts";
import { createAttachment, joinAttachment } from "../src/shared_attachment.ts";
import { ATTACHMENT_MAX } from "../src/shared_layout.ts";
import { pair } from "./shared/pair.ts";
import { Prng } from "./support/prng.ts";
import { envInteger, isLinux, isWindows, mappingCount } from "./support/runtime.ts";

const SEED = envInteger("OFFHEAP_SEED", 20_261_121);
const RESERVE = 2 ** 30;

/** The kind of the `InvalidFreeError` that `call` throws. */
function kindOf(call: () => unknown): string {
  return assertThrows(call, InvalidFreeError).kind;
}

describe("SharedHeap", () => {
  it("is made by create() and attach(): its constructor says so", () => {
    const Bare = SharedHeap as unknown as new () => SharedHeap;
    assertThrows(() => new Bare(), TypeError, "SharedHeap.create()");
  });

  it("lets either attachment view, resize and free what the other allocated", () => {
    const [first, second] = pair(RESERVE);
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
          const heaps = pair(RESERVE);
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
    const [first, second] = pair(RESERVE);
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

  it("tells an address below it from a block 4 GiB above that", { ignore: isWindows }, () => {
    // Blocks are not written to; Windows would count them as memory.
    const heap = SharedHeap.create();
    const start = heap.allocate(16_384);
    for (let i = 0; i < 3; i++) heap.allocate(2 ** 30);
    let block = start;
    for (let i = 0; i < 2 ** 17 && block - start < 2.1 * 2 ** 30; i++) block = heap.allocate(16_384);
    assert(block - start >= 2.1 * 2 ** 30 && block - start < 2 ** 32 - 2 ** 21, `${block - start}`);
    assertEquals(kindOf(() => heap.free(block - 2 ** 32)), "foreign");
    assertEquals(kindOf(() => heap.reallocate(block - 2 ** 32, 10)), "foreign");
    assert(heap.owns(block));
    heap.check();
    heap.detach();
  });

  it("uses again what others have freed, without growing", () => {
    const [first, second] = pair(RESERVE);
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
    const [first, second] = pair(RESERVE);
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
    const [first, second] = pair(RESERVE);
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
    const [first, second] = pair(RESERVE);
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
    const [first, second] = pair(RESERVE);
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

  it("ends when two attachments leave at the same time", () => {
    const platform = systemSharedPlatform();
    const first = createAttachment(platform.source, platform, RESERVE);
    const second = new SharedHeap(joinAttachment(first.handle, platform));
    second.allocate(100);
    // The first has left, and not yet freed its place, when the second comes to leave.
    assertEquals(first.space.leave(false), false);
    second.detach();
    assertThrows(() => SharedHeap.attach(first.handle), DisposedError);
    first.space.tables.unwrapTables();
    first.space.vacate(first.space.number);
  });

  it("lets only its owner's attachment free or resize a NativeBuffer's block", () => {
    const [first, second] = pair(RESERVE);
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
    const [first, second] = pair(RESERVE);
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

  it("knows its blocks up to the end of the most address space that it can have", { ignore: isWindows }, () => {
    // Large blocks are not written to, so that they cost address space alone; Windows would count them as memory.
    const heap = SharedHeap.create({ reserve: 2 ** 35 });
    const large: Address[] = [];
    for (const size of [2 ** 30, 2 ** 24, 2 ** 20, 2 ** 16]) {
      for (let address; (address = heap.tryAllocate(size)) !== 0;) large.push(address);
    }
    // All is taken; then there is room for pages of small blocks at the highest addresses only.
    const top = Math.max(...large);
    for (const address of large) if (address > top - 3 * 2 ** 20) heap.free(address);
    for (const alignment of [16, 64, 1024]) {
      const small = Array.from({ length: 300 }, () => heap.allocate(100, alignment));
      assertEquals(small.filter((address) => !heap.owns(address)), [], `at ${alignment}, up to ${top}`);
      for (const address of small) heap.free(address);
    }
    heap.check();
    heap.detach();
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
      const [first, second] = pair(RESERVE);
      second.view(first.allocate(100_000)).fill(1);
      second.detach();
      first.detach();
    }
    assert(mappingCount() <= before + 25, `${mappingCount()} mappings, ${before} before`);
  });
});
