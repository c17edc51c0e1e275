/**
 * The lock of a shared heap, with a platform that says what it is asked.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { systemSharedPlatform } from "../ffi/address_wait.ts";
import { attachmentAt, CONTROL_WORDS, LOCK, THREAD, WAITING } from "../src/shared_layout.ts";
import { SharedLock } from "../src/shared_lock.ts";
import type { SharedPlatform } from "../src/shared_platform.ts";

const ADDRESS = 65_536;

/** A lock word, three attachments, and a log of what the platform was asked. */
class Bench {
  readonly control: Int32Array = new Int32Array(CONTROL_WORDS);
  readonly log: string[] = [];
  readonly gone: Set<number> = new Set();
  /** What happens while an attachment sleeps. */
  whileAsleep: () => void = () => {};
  readonly #platform: SharedPlatform = {
    ...systemSharedPlatform(),
    isThreadGone: (thread) => this.gone.has(thread),
    wait: (address, expected) => {
      this.log.push(`wait ${address - ADDRESS} ${expected}`);
      this.whileAsleep();
    },
    wake: (address) => void this.log.push(`wake ${address - ADDRESS}`),
  };

  constructor() {
    for (const number of [1, 2, 3]) this.control[attachmentAt(number) + THREAD] = number * 10;
  }

  lock(number: number): SharedLock {
    const scratch = { address: 0, words: new Int32Array(4) };
    return new SharedLock(this.control, ADDRESS, this.#platform, number, scratch);
  }
}

describe("SharedLock", () => {
  it("is taken and let go of without asking the platform", () => {
    const bench = new Bench();
    const lock = bench.lock(2);
    assertEquals(lock.acquire(), false);
    assertEquals(bench.control[LOCK], 2);
    lock.release();
    assertEquals([bench.control[LOCK], bench.log], [0, []]);
  });

  it("sleeps while another has it, and wakes the next one after", () => {
    const bench = new Bench();
    const [first, second] = [bench.lock(1), bench.lock(2)];
    first.acquire();
    bench.whileAsleep = () => first.release();
    assertEquals(second.acquire(), false);
    assertEquals(bench.control[LOCK], 2 | WAITING);
    second.release();
    assertEquals(bench.log, [`wait ${LOCK * 4} ${1 | WAITING}`, `wake ${LOCK * 4}`, `wake ${LOCK * 4}`]);
    assertEquals(bench.control[LOCK], 0);
  });

  it("looks again when it wakes too early", () => {
    const bench = new Bench();
    const [first, second] = [bench.lock(1), bench.lock(2)];
    first.acquire();
    bench.whileAsleep = () => {
      if (bench.log.length === 3) first.release();
    };
    assertEquals(second.acquire(), false);
    assertEquals(bench.log.filter((line) => line.startsWith("wait")).length, 3);
  });

  it("is taken over from a thread that has ended, by one only, who is told", () => {
    const bench = new Bench();
    const [first, second, third] = [bench.lock(1), bench.lock(2), bench.lock(3)];
    first.acquire();
    bench.gone.add(10);
    assertEquals(second.acquire(), true);
    bench.whileAsleep = () => second.release();
    assertEquals(third.acquire(), false);
    third.release();
    assertEquals(bench.control[LOCK], 0);
  });

  it("is taken over when its holder ends while others sleep", () => {
    const bench = new Bench();
    const [first, second] = [bench.lock(1), bench.lock(2)];
    first.acquire();
    bench.whileAsleep = () => void bench.gone.add(10);
    assertEquals(second.acquire(), true);
    assertEquals(bench.log.length, 1);
  });
});
