/**
 * What is left of an attachment that has died at a bad moment, of a block that two workers free at once, and of memory that
 * somebody has taken away: brought about by hand, in one thread.
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
  type FailingPageSource,
  failingPageSource,
  InvalidFreeError,
  OutOfMemoryError,
  SharedHeap,
  systemPageSource,
} from "../mod.ts";
import { EXTENDED, LINKS, STATE } from "../src/page_table.ts";
import { type Attachment, createAttachment, joinAttachment } from "../src/shared_attachment.ts";
import { LOCK, NEWS, OWNER } from "../src/shared_layout.ts";
import type { SharedPlatform } from "../src/shared_platform.ts";
import { bitmapAt } from "../src/shared_remote.ts";
import { MortalPlatform } from "./shared/mortal_platform.ts";
import { Prng } from "./support/prng.ts";
import { Recorder } from "./support/recording_source.ts";
import { envInteger, isWindows } from "./support/runtime.ts";

const SEED = envInteger("OFFHEAP_SEED", 20_261_121);
const RESERVE = 2 ** 30;

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

  it("are not confused with those that free their places meanwhile", () => {
    const { platform, gone } = new MortalPlatform();
    const heap = new SharedHeap(createAttachment(platform.source, platform, RESERVE));
    const asked: number[] = [];
    let leaving: Attachment | undefined;
    const watching: SharedPlatform = {
      ...platform,
      // As the kernel answers: there is no thread 0.
      isThreadGone(thread) {
        asked.push(thread);
        leaving?.space.vacate(leaving.space.number);
        leaving = undefined;
        return thread === 0 || gone.has(thread);
      },
    };
    const reaper = new SharedHeap(joinAttachment(heap.handle, watching));
    const dead = joinAttachment(heap.handle, platform);
    leaving = joinAttachment(heap.handle, platform);
    leaving.space.leave(false);
    gone.add(3);
    // While it asks about the first of the others, the last one frees its place.
    assertEquals(reaper.attachments, 2);
    assertEquals(asked.includes(0), false, `asked about ${asked}`);
    const numbers = [1, 2].map(() => joinAttachment(heap.handle, platform).space.number);
    assertEquals(numbers, [dead.space.number, dead.space.number + 1]);
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
      pages[page + OWNER] = pages[page + OWNER]! | NEWS;
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
    const first = SharedHeap.create({ reserve: RESERVE });
    const second = SharedHeap.attach(first.handle);
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

/** The system, but no `wrap` succeeds from when `source.rearm(0)` is called. */
function unwrappable(): { source: FailingPageSource; platform: SharedPlatform } {
  const source = failingPageSource(systemPageSource(), Infinity, { operations: ["wrap"] });
  return { source, platform: { ...systemSharedPlatform(), source } };
}

describe("tables that cannot be wrapped", () => {
  it("are as long as before for everybody", () => {
    const { source, platform } = unwrappable();
    using failing = new SharedHeap(createAttachment(source, platform, RESERVE));
    using other = new SharedHeap(joinAttachment(failing.handle, systemSharedPlatform()));
    const large = failing.allocate(100_000);
    const { tableBytes } = failing.stats();
    source.rearm(0);
    const blocks: Address[] = [];
    assertThrows(() => {
      for (;;) blocks.push(failing.allocate(16_000));
    }, OutOfMemoryError);
    assertEquals(failing.stats().tableBytes, tableBytes);
    failing.check();
    failing.free(large);
    for (const address of blocks) failing.free(address);
    other.check();
    source.rearm(Infinity);
    for (const address of Array.from({ length: 700 }, () => failing.allocate(16_000))) other.free(address);
    assert(other.stats().tableBytes > tableBytes);
    for (const heap of [failing, other]) heap.check();
    assertEquals(other.stats().liveBlocks, 0);
  });

  it("leave an attachment attached: it can detach once they can be wrapped", () => {
    const { source, platform } = unwrappable();
    using first = SharedHeap.create();
    const second = new SharedHeap(joinAttachment(first.handle, platform));
    const buffer = second.buffer(300_000);
    for (let at = 0; at < 700; at++) first.allocate(16_000);
    source.rearm(0);
    assertThrows(() => second.detach(), OutOfMemoryError);
    assertEquals(buffer.bytes.length, 300_000);
    assertEquals(first.attachments, 2);
    source.rearm(Infinity);
    second.detach();
    assert(buffer.freed);
    assertEquals(first.attachments, 1);
    first.check();
  });

  it("are unmapped when the heap cannot be made, and the data too when that fails", () => {
    const recorder = new Recorder(systemPageSource());
    const control = new Recorder(systemPageSource());
    const platform = { ...systemSharedPlatform(), source: control.source };
    for (let round = 0; round < 3; round++) {
      const source = failingPageSource(recorder.source, 0, { operations: ["wrap", "unmap"], times: 2 });
      assertThrows(() => createAttachment(source, platform, RESERVE), OutOfMemoryError);
      const left = recorder.mappings();
      assertEquals(left.length, 1);
      for (const { address, byteLength } of left) recorder.source.unmap(address, byteLength);
    }
    assertEquals(recorder.complaint(), "");
    assert(control.mappings().length <= 1, "the control block of a heap that was not made is one for the next");
  });
});

/** A live block of the random test. */
interface Live {
  readonly address: Address;
  readonly seed: number;
}

describe("several attachments in random steps", () => {
  it("keep every block whole, and find every bad free, while they come, go and die", () => {
    const random = new Prng(SEED);
    const { platform, gone } = new MortalPlatform();
    const first = new SharedHeap(createAttachment(platform.source, platform, RESERVE));
    const heaps = [first];
    const { handle } = first;
    let threads = 1;
    const threadOf = new Map<SharedHeap, number>([[first, 1]]);
    const live: Live[] = [];
    const freed: Address[] = [];
    let deaths = 0;
    for (let step = 0; step < 6000; step++) {
      const heap = heaps[random.below(heaps.length)]!;
      const choice = random.below(1000);
      if (choice < 480) {
        const size = random.chance(90) ? random.below(2000) : random.below(100_000);
        const address = heap.allocate(size, random.chance(90) ? 16 : 2 ** random.below(13));
        heap.view(address).fill(step & 255);
        live.push({ address, seed: step & 255 });
      } else if (choice < 900 && live.length > 0) {
        const { address, seed } = live.splice(random.below(live.length), 1)[0]!;
        const view = heap.view(address);
        assertEquals(view.length === 0 || (view[0] === seed && view[view.length - 1] === seed), true, `seed ${SEED}`);
        heap.free(address);
        freed.push(address);
      } else if (choice < 930 && live.length > 0) {
        const at = random.below(live.length);
        const { address, seed } = live[at]!;
        const moved = heap.reallocate(address, random.between(1, 3000));
        heap.view(moved).fill(seed);
        live[at] = { address: moved, seed };
      } else if (choice < 960 && freed.length > 0) {
        const address = freed[random.below(freed.length)]!;
        if (heaps.some((other) => other.owns(address))) continue;
        assertThrows(() => heap.free(address), InvalidFreeError);
      } else if (choice < 975 && heaps.length < 4) {
        const other = new SharedHeap(joinAttachment(handle, platform));
        heaps.push(other);
        threadOf.set(other, ++threads);
      } else if (choice < 985 && heaps.length > 1) {
        heaps.splice(heaps.indexOf(heap), 1);
        if (random.chance(50)) heap.detach();
        else {
          deaths++;
          gone.add(threadOf.get(heap)!);
        }
      } else if (choice < 990) heap.trim();
      if (step % 50 === 0) {
        for (const each of heaps) each.check();
        assertEquals(heaps[0]!.stats().liveBlocks, live.length, `step ${step}, seed ${SEED}`);
        assertEquals([...heaps[0]!.blocks()].length, live.length);
      }
    }
    assertEquals(deaths > 5, true, `${deaths} deaths`);
    for (const { address } of live) heaps[0]!.free(address);
    for (const each of heaps) each.trim();
    assertEquals([heaps[0]!.stats().liveBlocks, heaps[0]!.attachments], [0, heaps.length]);
    for (const each of heaps) {
      each.check();
      each.detach();
    }
    assertThrows(() => SharedHeap.attach(handle), DisposedError);
  });
});
