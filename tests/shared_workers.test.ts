/**
 * Shared heaps with real workers: blocks that go from worker to worker, workers that come and go, and workers that are
 * terminated.
 *
 * `OFFHEAP_SHARED_BLOCKS` (10,000,000 for a long run) and `OFFHEAP_TERMINATIONS` (200) make the tests longer, `OFFHEAP_SEED` changes
 * the random numbers.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { readFileSync } from "node:fs";
import { SharedHeap } from "../mod.ts";
import type { Address } from "../src/page_source.ts";
import { assertFilled, fillBlock, Mailbox } from "./shared/mailbox.ts";
import { TestWorker, until, withWorkers } from "./shared/workers.ts";
import { Prng } from "./support/prng.ts";
import { envInteger, isEmulated, isLinux, runtimeName } from "./support/runtime.ts";

/** On an emulated processor everything takes ten to a hundred times as long. */
const FEWER = isEmulated ? 10 : 1;

const SEED = envInteger("OFFHEAP_SEED", 20_261_121);
const BLOCKS = envInteger("OFFHEAP_SHARED_BLOCKS", 200_000 / FEWER);
const TERMINATIONS = envInteger("OFFHEAP_TERMINATIONS", FEWER === 1 ? 12 : 2);

/**
 * Steps of a worker that is to be terminated from one turn of its event loop to the next. Bun ends a worker in the middle of
 * whatever it does, so there is no need to give way; Deno (2.9) waits for the end of the turn, and for ever if there is none.
 */
const BURST = runtimeName === "deno" ? 50 : 2 ** 30;

/** Address space of the heaps here: numbers of blocks must fit into a word of a mailbox. */
const RESERVE = 2 ** 30;

/** A heap with a block of mailbox words, and what workers must know of it. */
class Arrangement implements Disposable {
  readonly heap: SharedHeap = SharedHeap.create({ reserve: RESERVE });
  readonly slots: Address;
  readonly base: Address;
  readonly mailbox: Mailbox;
  readonly #words: number;

  constructor(words: number) {
    this.#words = words;
    this.slots = this.heap.allocateZeroed(words * 4);
    this.base = Math.max(0, this.slots - 2 * RESERVE);
    this.mailbox = new Mailbox(this.heap, this.slots, this.base);
  }

  /** Options of a task. */
  options(seed: number, more: Record<string, number> = {}): Record<string, number> {
    return { slots: this.slots, base: this.base, seed: SEED + seed, ...more };
  }

  /** Frees what is in the mailboxes, and says how many blocks were there. */
  empty(): number {
    let count = 0;
    for (let index = 0; index < this.#words; index++) {
      const address = this.mailbox.exchange(index, 0);
      if (address === 0) continue;
      assertFilled(this.heap, address);
      this.heap.free(address);
      count++;
    }
    return count;
  }

  /** Everything must be at rest and in order, with so many blocks besides the mailboxes. */
  assertQuiet(liveBlocks: number): void {
    this.heap.check();
    assertEquals(this.heap.stats().liveBlocks, liveBlocks + 1, `seed ${SEED}`);
  }

  /** Ends the heap, and fails when it was the last attachment and any of it is still mapped. */
  [Symbol.dispose](): void {
    const isLast = this.heap.attachments === 1;
    this.heap.detach();
    if (isLinux && isLast) assertEquals(isMapped(this.slots), false, "the heap is still mapped");
  }
}

/** Whether any mapping of this process covers `address`. */
function isMapped(address: Address): boolean {
  return readFileSync("/proc/self/maps", "utf8").split("\n").some((line) => {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+)/.exec(line) ?? [];
    return from !== undefined && to !== undefined && address >= parseInt(from, 16) && address < parseInt(to, 16);
  });
}

describe("SharedHeap with workers", () => {
  it("survives Larson's benchmark: any worker frees any block", async () => {
    using shared = new Arrangement(2000);
    const { heap } = shared;
    await withWorkers(
      3,
      (workers) =>
        Promise.all(
          workers.map((worker, at) => worker.run("larson", heap.handle, shared.options(at, { steps: 30_000 / FEWER }))),
        ),
    );
    heap.check();
    assertEquals(heap.stats().liveBlocks, 1 + shared.empty());
    await until(() => heap.attachments === 1, "the workers have detached");
    heap.trim();
    shared.assertQuiet(0);
  });

  it("lets the blocks of workers that have ended live on, for others to free", async () => {
    using shared = new Arrangement(500);
    const { heap } = shared;
    for (let generation = 0; generation < 3; generation++) {
      await withWorkers(
        2,
        (workers) =>
          Promise.all(
            workers.map((worker, at) =>
              worker.run("larson", heap.handle, shared.options(generation * 10 + at, { steps: 4000 / FEWER }))
            ),
          ),
      );
      await until(() => heap.attachments === 1, "the workers have detached");
      heap.check();
    }
    shared.empty();
    shared.assertQuiet(0);
    heap.trim();
    shared.assertQuiet(0);
  });

  it(`takes ${BLOCKS} blocks from a producer to a consumer in bounded memory`, async () => {
    using shared = new Arrangement(1024);
    const { heap } = shared;
    const options = shared.options(0, { count: BLOCKS });
    const [made] = await withWorkers(2, ([producer, consumer]) =>
      Promise.all([
        producer!.run("produce", heap.handle, options),
        consumer!.run("consume", heap.handle, options),
      ]));
    // 1024 blocks of at most 256 bytes are under way at a time.
    assert(made["committed"]! <= 8 * 2 ** 20, `${made["committed"]} bytes were committed for 256 KiB of blocks`);
    shared.assertQuiet(0);
  });

  it("lets every worker free the blocks of every other", async () => {
    const count = 3;
    using shared = new Arrangement(count * count);
    const { heap } = shared;
    await withWorkers(
      count,
      (workers) =>
        Promise.all(
          workers.map((worker, me) =>
            worker.run("exchange", heap.handle, shared.options(me, { me, workers: count, count: 1000 / FEWER }))
          ),
        ),
    );
    shared.assertQuiet(0);
  });

  it("gives every block of a double free by two workers to exactly one of them", async () => {
    using shared = new Arrangement(4001);
    const { heap, mailbox } = shared;
    const random = new Prng(SEED);
    for (let index = 1; index <= 4000; index++) {
      mailbox.exchange(index, heap.allocate(random.chance(3) ? 20_000 + random.below(9000) : random.below(300)));
    }
    const results = await withWorkers(
      2,
      (workers) =>
        Promise.all(workers.map((worker) => worker.run("freeAll", heap.handle, shared.options(0, { workers: 2 })))),
    );
    assertEquals(results.reduce((sum, { freed }) => sum + freed!, 0), 4000);
    assertEquals(results.reduce((sum, { doubles }) => sum + doubles!, 0), 4000);
    assertEquals(heap.stats().liveBlocks, 1);
    heap.trim();
    shared.assertQuiet(0);
  });

  it("survives workers that attach and detach all the time", async () => {
    using shared = new Arrangement(300);
    const { heap } = shared;
    await withWorkers(
      3,
      (workers) =>
        Promise.all(
          workers.map((worker, at) => worker.run("storm", heap.handle, shared.options(at, { rounds: 60 / FEWER }))),
        ),
    );
    heap.check();
    shared.empty();
    await until(() => heap.attachments === 1, "the workers have detached");
    heap.trim();
    shared.assertQuiet(0);
  });

  it("lives as long as its last attachment, whichever that is", async () => {
    const shared = new Arrangement(4);
    const { heap, slots } = shared;
    const worker = await TestWorker.start();
    await worker.begin("abandon", heap.handle, shared.options(0));
    const { handle } = heap;
    heap.detach();
    if (isLinux) assert(isMapped(slots), "the heap ended with an attachment left");
    using again = SharedHeap.attach(handle);
    assertEquals(again.stats().liveBlocks, 4);
    worker.terminate();
    await until(() => again.attachments === 1, "the worker has ended");
    again.check();
  });

  it("frees what a NativeBuffer of a terminated worker owned, when told to", async () => {
    using shared = new Arrangement(4);
    const { heap, mailbox } = shared;
    const worker = await TestWorker.start();
    await worker.begin("abandon", heap.handle, shared.options(0));
    const [small, owned, large] = [0, 1, 2].map((index) => mailbox.exchange(index, 0)) as [Address, Address, Address];
    let refused: unknown;
    try {
      heap.free(owned);
    } catch (error) {
      refused = error;
    }
    assert(/NativeBuffer of another worker/.test(`${refused}`), `${refused}`);
    worker.terminate();
    await until(() => heap.attachments === 1, "the worker has ended");
    for (const address of [small, owned, large]) heap.free(address);
    shared.assertQuiet(0);
  });

  it(`survives ${TERMINATIONS} workers that are terminated at any moment`, async () => {
    using shared = new Arrangement(400);
    const { heap } = shared;
    const random = new Prng(SEED);
    let lost = 0;
    for (let round = 0; round < TERMINATIONS; round += 2) {
      const workers = await Promise.all([TestWorker.start(), TestWorker.start()]);
      await Promise.all(
        workers.map((worker, at) =>
          worker.begin("endless", heap.handle, shared.options(round * 2 + at, { burst: BURST }))
        ),
      );
      await new Promise((resolve) => setTimeout(resolve, random.below(30)));
      for (const worker of workers) worker.terminate();
      // Nobody waits for the dead: this worker goes on at once.
      for (let step = 0; step < 200; step++) {
        const address = heap.allocate(random.below(4000));
        fillBlock(heap, address);
        const other = shared.mailbox.exchange(random.below(400), address);
        if (other !== 0) heap.free(other);
      }
      await until(() => heap.attachments === 1, "the workers have ended");
      heap.check();
      const count = shared.empty();
      lost = heap.stats().liveBlocks - 1;
      // What a worker had in its hands: one block taken out of a mailbox, one about to go into it.
      assert(lost <= (round + 2) * 2, `${lost} blocks were lost with ${round + 2} workers; ${count} were not`);
    }
    heap.trim();
    heap.check();
    for (const { address } of [...heap.blocks()]) if (address !== shared.slots) heap.free(address);
    shared.assertQuiet(0);
  });
});
