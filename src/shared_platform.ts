/**
 * What a shared heap needs of the operating system besides memory: waiting for a word to change, and news of threads.
 *
 * `src/` knows no operating system; `mod.ts` registers the platform here, as `heap.ts` does the page source. Nothing is loaded
 * before the first shared heap is made or attached to.
 *
 * @module
 */
import { UnsupportedPlatformError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";

/** Sixteen bytes of native memory for the arguments of one system call at a time. */
export interface Scratch {
  /** Where they are. */
  readonly address: Address;
  /** The same bytes. */
  readonly words: Int32Array;
}

/** The operating system, as a shared heap sees it. */
export interface SharedPlatform {
  /** The system's memory. All workers of a process see the same. */
  readonly source: PageSource;
  /** The process that this is. */
  readonly processId: number;
  /**
   * Whether `source.discard` leaves no moment in which an access by another thread faults. Not so on Windows, where
   * discarding is decommitting and committing again.
   */
  readonly discardsAtOnce: boolean;
  /**
   * Whether {@link isThreadGone} can tell. Without, a worker that is terminated is taken for a slow one for ever. Nothing in
   * `src/` asks, as there is nothing else to do then: it says so to who reads, and to tests what they can wait for.
   */
  readonly noticesTermination: boolean;
  /** A name for the thread that calls, not 0: to be given back with {@link releaseThread}. */
  thisThread(): number;
  /** Gives up a name of {@link thisThread}, on whichever thread. */
  releaseThread(thread: number): void;
  /** Whether the thread has ended, and with it everything that it could have written. */
  isThreadGone(thread: number): boolean;
  /** Whether readable memory at `address` begins as a control block does. Reads it without risking a fault. */
  isHeap(address: Address): boolean;
  /**
   * Sleeps until somebody calls {@link wake} for `address`, if the word there still is `expected`; no longer than
   * `milliseconds`, and sometimes shorter.
   */
  wait(address: Address, expected: number, milliseconds: number, scratch: Scratch): void;
  /** Wakes one thread that waits for `address`. */
  wake(address: Address): void;
}

let makePlatform: (() => SharedPlatform) | undefined;

/** Registers the function that loads the platform. */
export function setSharedPlatform(make: () => SharedPlatform): void {
  makePlatform = make;
}

/**
 * The platform.
 *
 * @throws {UnsupportedPlatformError} When none is registered, or it cannot be loaded.
 */
export function sharedPlatform(): SharedPlatform {
  if (makePlatform === undefined) {
    throw new UnsupportedPlatformError("Cannot share a heap: no operating system is registered; import mod.ts");
  }
  return makePlatform();
}
