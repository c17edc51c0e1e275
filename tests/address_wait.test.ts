/**
 * The platform of shared heaps: waiting for a word, threads that end, and memory that may not be readable.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import { systemPageSource } from "../mod.ts";
import { SharedHeap } from "../mod.ts";
import { TestWorker, until } from "./shared/workers.ts";

const platform = systemSharedPlatform();

/** A page of memory with a word and room for the arguments of calls. */
function withPage(use: (address: number, words: Int32Array) => void): void {
  const source = systemPageSource();
  const address = source.reserve(65_536, 65_536);
  source.commit(address, 65_536);
  const bytes = source.wrap(address, 4096);
  try {
    use(address, new Int32Array(bytes.buffer, bytes.byteOffset, 1024));
  } finally {
    source.unwrap(bytes);
    source.unmap(address, 65_536);
  }
}

describe("systemSharedPlatform()", () => {
  it("is the same at every call, and of this process", () => {
    assert(systemSharedPlatform() === platform);
    assert(platform.processId > 0);
    assert(platform.source === systemPageSource());
  });

  it("wait() returns when the word is another, and when the time is over", () => {
    withPage((address, words) => {
      const scratch = { address: address + 64, words: words.subarray(16, 20) };
      words[0] = 5;
      // Without a time limit these would never return; there is nobody to wake them.
      platform.wait(address, 6, 10_000, scratch);
      platform.wait(address, 5, 3, scratch);
      platform.wake(address);
      assertEquals(words[0], 5);
    });
  });

  it("knows that its own thread has not ended", () => {
    const thread = platform.thisThread();
    assert(Number.isSafeInteger(thread) && thread > 0);
    assertEquals(platform.isThreadGone(thread), false);
    platform.releaseThread(thread);
  });

  it("notices that a worker has ended", { ignore: !platform.noticesTermination }, async () => {
    using heap = SharedHeap.create({ reserve: 2 ** 26 });
    const slots = heap.allocateZeroed(64);
    const worker = await TestWorker.start();
    await worker.begin("abandon", heap.handle, { slots, base: slots });
    assertEquals(heap.attachments, 2);
    worker.terminate();
    await until(() => heap.attachments === 1, "the worker has ended");
  });

  it("isHeap() looks at memory without touching it", () => {
    const source = systemPageSource();
    const reserved = source.reserve(65_536, 65_536);
    for (const address of [0, 4096, 65_536, reserved, 2 ** 46, 2 ** 47 - 65_536]) {
      assertEquals(platform.isHeap(address), false, `${address}`);
    }
    source.unmap(reserved, 65_536);
    assertEquals(platform.isHeap(reserved), false);
    withPage((address, words) => {
      words[0] = 0x2f;
      assertEquals(platform.isHeap(address), true);
    });
  });
});
