/**
 * The lock of a shared heap: one word that holds the number of the attachment that holds it.
 *
 * ```text
 *   LOCK   bit 16      15 ...... 0
 *         │ WAITING  │ number     │    0: free
 * ```
 *
 * Who finds it taken tries again for some microseconds, then sleeps until it is woken, and every few milliseconds asks
 * whether the thread that holds it has ended. If so, it takes the lock over, and must repair what the dead holder may have
 * left half done before it does anything else: `acquire` says so.
 *
 * The number of a dead attachment is not given to anybody else while the lock has it, because giving numbers out needs the
 * lock. So nobody who holds the lock can be mistaken for its dead namesake.
 *
 * Nobody may call out of the module while holding it. System calls under it are those that commit memory.
 *
 * @module
 */
import type { Address } from "./page_source.ts";
import { attachmentAt, LOCK, THREAD, WAITING } from "./shared_layout.ts";
import type { Scratch, SharedPlatform } from "./shared_platform.ts";

/** How often it is tried again before sleeping: some ten microseconds. */
const SPINS = 200;

/** How long a sleep is at most, and how often a holder that does not let go is looked at. */
const SLEEP_MS = 4;

/** `Atomics.pause`, where the runtime has it: newer than the types that the package is checked against. */
const { pause = () => {} } = Atomics as unknown as { readonly pause?: () => void };

/** The lock, as one attachment uses it. */
export class SharedLock {
  readonly #control: Int32Array;
  readonly #address: Address;
  readonly #platform: SharedPlatform;
  readonly #number: number;
  readonly #scratch: Scratch;

  /** Of the heap whose control block is at `address`, for the attachment `number`. */
  constructor(control: Int32Array, address: Address, platform: SharedPlatform, number: number, scratch: Scratch) {
    this.#control = control;
    this.#address = address + LOCK * 4;
    this.#platform = platform;
    this.#number = number;
    this.#scratch = scratch;
  }

  /** Takes the lock. True when it was taken over from an attachment whose thread has ended. */
  acquire(): boolean {
    return Atomics.compareExchange(this.#control, LOCK, 0, this.#number) !== 0 && this.#acquireSlow();
  }

  #acquireSlow(): boolean {
    const control = this.#control;
    for (let spin = 0; spin < SPINS; spin++) {
      pause();
      if (Atomics.load(control, LOCK) === 0 && Atomics.compareExchange(control, LOCK, 0, this.#number) === 0) {
        return false;
      }
    }
    // From here on it is taken with the mark, as others may sleep as well: one wake too many does no harm.
    const mine = this.#number | WAITING;
    for (;;) {
      const seen = Atomics.load(control, LOCK);
      if (seen === 0) {
        if (Atomics.compareExchange(control, LOCK, 0, mine) === 0) return false;
        continue;
      }
      if (this.#isHolderGone(seen)) {
        if (Atomics.compareExchange(control, LOCK, seen, mine) === seen) return true;
        continue;
      }
      const waited = seen | WAITING;
      if (seen !== waited && Atomics.compareExchange(control, LOCK, seen, waited) !== seen) continue;
      this.#platform.wait(this.#address, waited, SLEEP_MS, this.#scratch);
    }
  }

  #isHolderGone(seen: number): boolean {
    const thread = Atomics.load(this.#control, attachmentAt(seen & ~WAITING) + THREAD);
    return thread !== 0 && this.#platform.isThreadGone(thread);
  }

  /** Lets go of the lock, and wakes one who waits for it. */
  release(): void {
    if ((Atomics.exchange(this.#control, LOCK, 0) & WAITING) !== 0) this.#platform.wake(this.#address);
  }
}
