/**
 * A worker of the tests of shared heaps: attaches to a heap, does what it is told, and says what came of it.
 *
 * @module
 */
import { SharedHeap } from "../../mod.ts";
import type { Address } from "../../src/page_source.ts";
import { Prng } from "../support/prng.ts";
import { runtimeName } from "../support/runtime.ts";
import { assertFilled, fillBlock, Mailbox, Patience } from "./mailbox.ts";
import type { Answer, Task } from "./workers.ts";

/** Arguments and results of a task. */
type Numbers = Record<string, number>;

/** A function that a test can ask for. */
type Program = (heap: SharedHeap, options: Numbers, started: () => void) => Numbers | Promise<Numbers>;

/** The option of that name. */
function option(options: Numbers, name: string): number {
  const value = options[name];
  if (value === undefined) throw new Error(`the option ${name} is missing`);
  return value;
}

/** A size as programs ask for: mostly small, seldom a run of units. */
function drawSize(random: Prng): number {
  if (random.chance(2)) return random.below(60_000);
  return random.below(random.chance(80) ? 200 : 3000);
}

/** One step of Larson's benchmark: a block of anybody's is replaced by one of ours. */
function replaceOne(heap: SharedHeap, slots: Mailbox, random: Prng): void {
  const index = random.below(slots.words.length);
  const taken = slots.exchange(index, 0);
  if (taken !== 0) {
    assertFilled(heap, taken);
    heap.free(taken);
  }
  const address = heap.allocate(drawSize(random));
  fillBlock(heap, address);
  const other = slots.exchange(index, address);
  if (other !== 0) {
    assertFilled(heap, other);
    heap.free(other);
  }
}

const PROGRAMS: Readonly<Record<string, Program>> = {
  /** Replaces blocks in slots that all workers share. */
  larson(heap, options) {
    const slots = new Mailbox(heap, option(options, "slots"), option(options, "base"));
    const random = new Prng(option(options, "seed"));
    for (let step = option(options, "steps"); step > 0; step--) {
      replaceOne(heap, slots, random);
      // While others free our blocks: what they do between two looks is no corruption (once it was taken for one).
      if (step % 1000 === 0) heap.check();
    }
    heap.check();
    return {};
  },

  /** The same for ever, giving way now and then. */
  async endless(heap, options, started) {
    const slots = new Mailbox(heap, option(options, "slots"), option(options, "base"));
    const random = new Prng(option(options, "seed"));
    const burst = option(options, "burst");
    started();
    for (;;) {
      for (let step = 0; step < burst; step++) replaceOne(heap, slots, random);
      if (heap.attachments < 1) return {};
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  },

  /** Attaches and detaches over and over, and leaves blocks to others each time. */
  storm(heap, options) {
    const random = new Prng(option(options, "seed"));
    for (let round = option(options, "rounds"); round > 0; round--) {
      using own = SharedHeap.attach(heap.handle);
      const slots = new Mailbox(own, option(options, "slots"), option(options, "base"));
      for (let step = 0; step < 40; step++) replaceOne(own, slots, random);
    }
    return {};
  },

  /** Puts blocks into a ring. */
  produce(heap, options) {
    const ring = new Mailbox(heap, option(options, "slots"), option(options, "base"));
    const random = new Prng(option(options, "seed"));
    const patience = new Patience();
    let committed = 0;
    const count = option(options, "count");
    for (let made = 0; made < count; made++) {
      const address = heap.allocate(16 + random.below(240));
      const bytes = heap.view(address, 2);
      bytes[0] = made & 255;
      bytes[1] = (made >>> 8) & 255;
      while (!ring.tryPut(made % ring.words.length, address)) patience.wait();
      if (made % 65_536 === 0) committed = Math.max(committed, heap.stats().committedBytes);
    }
    return { committed };
  },

  /** Takes them out again, in order, and frees them. */
  consume(heap, options) {
    const ring = new Mailbox(heap, option(options, "slots"), option(options, "base"));
    const patience = new Patience();
    const count = option(options, "count");
    for (let taken = 0; taken < count; taken++) {
      let address: Address = 0;
      while ((address = ring.exchange(taken % ring.words.length, 0)) === 0) patience.wait();
      const bytes = heap.view(address, 2);
      if (bytes[0] !== (taken & 255) || bytes[1] !== ((taken >>> 8) & 255)) {
        throw new Error(`block ${taken} is another`);
      }
      heap.free(address);
    }
    return {};
  },

  /** Sends blocks to every worker, and frees what every worker sends; row by row of a square of mailboxes. */
  exchange(heap, options) {
    const boxes = new Mailbox(heap, option(options, "slots"), option(options, "base"));
    const random = new Prng(option(options, "seed"));
    const workers = option(options, "workers");
    const me = option(options, "me");
    const sent = new Int32Array(workers);
    const got = new Int32Array(workers);
    const count = option(options, "count");
    const pending: Address[] = Array.from({ length: workers }, () => 0);
    const patience = new Patience();
    for (let open = workers * 2; open > 0;) {
      open = workers * 2;
      let isIdle = true;
      for (let other = 0; other < workers; other++) {
        if (sent[other]! < count) {
          if (pending[other] === 0) {
            pending[other] = heap.allocate(drawSize(random));
            fillBlock(heap, pending[other]!);
          }
          if (boxes.tryPut(me * workers + other, pending[other]!)) {
            pending[other] = 0;
            sent[other] = sent[other]! + 1;
            isIdle = false;
          }
        } else open--;
        if (got[other]! < count) {
          const address = boxes.exchange(other * workers + me, 0);
          if (address === 0) continue;
          assertFilled(heap, address);
          heap.free(address);
          got[other] = got[other]! + 1;
          isIdle = false;
        } else open--;
      }
      if (isIdle) patience.wait();
    }
    heap.check();
    return {};
  },

  /** Frees the blocks of a list that all workers have, and counts what was refused as a double free. */
  freeAll(heap, options) {
    const slots = new Mailbox(heap, option(options, "slots"), option(options, "base"));
    const gate = option(options, "workers");
    let freed = 0;
    let doubles = 0;
    Atomics.add(slots.words, 0, 1);
    for (const patience = new Patience(); Atomics.load(slots.words, 0) < gate;) patience.wait();
    for (let index = 1; index < slots.words.length; index++) {
      const address = option(options, "base") + (slots.words[index]! - 1) * 16;
      try {
        heap.free(address);
        freed++;
      } catch (error) {
        if ((error as { kind?: unknown }).kind !== "double") throw error;
        doubles++;
      }
    }
    return { freed, doubles };
  },

  /** Allocates and frees by itself. */
  churn(heap, options) {
    const random = new Prng(option(options, "seed"));
    const live: Address[] = Array.from({ length: 1000 }, () => 0);
    for (let step = option(options, "steps"); step > 0; step--) {
      const index = random.below(live.length);
      if (live[index] !== 0) heap.free(live[index]!);
      live[index] = heap.allocate(random.below(500));
    }
    for (const address of live) heap.free(address);
    heap.check();
    return {};
  },

  /** Leaves a live block, an owned buffer and a large one behind, and does not detach. */
  abandon(heap, options, started) {
    const slots = new Mailbox(heap, option(options, "slots"), option(options, "base"));
    const buffer = heap.buffer(500);
    [heap.allocate(100), buffer.address, heap.allocate(100_000)].forEach((address, index) =>
      slots.exchange(index, address)
    );
    started();
    return new Promise(() => {});
  },
};

async function perform({ name, handle, options }: Task, post: (answer: Answer) => void): Promise<void> {
  try {
    const program = PROGRAMS[name];
    if (program === undefined) throw new Error(`there is no program ${name}`);
    let result: Numbers;
    {
      using heap = SharedHeap.attach(handle);
      result = await program(heap, options, () => post({ started: true }));
    }
    post({ result });
  } catch (error) {
    post({ error: error instanceof Error ? `${error.stack}` : `${error}` });
  }
}

if (runtimeName === "node") {
  const { parentPort } = await import("node:worker_threads");
  parentPort?.on("message", (task: Task) => void perform(task, (answer) => parentPort.postMessage(answer)));
} else {
  const scope = globalThis as unknown as {
    onmessage: (event: { data: Task }) => void;
    postMessage(message: Answer): void;
  };
  scope.onmessage = ({ data }) => void perform(data, (answer) => scope.postMessage(answer));
}
