/**
 * Workers that die, in one thread: a platform whose threads are made up and end when told to.
 *
 * @module
 */
import { systemSharedPlatform } from "../../ffi/address_wait.ts";
import type { SharedPlatform } from "../../src/shared_platform.ts";

/** The system, but threads end when told to: each attachment believes to be of a thread of its own, from 1 on. */
export class MortalPlatform {
  /** The threads that have ended. */
  readonly gone: Set<number> = new Set();
  #threads = 0;
  /** What attachments are made with. */
  readonly platform: SharedPlatform = {
    ...systemSharedPlatform(),
    thisThread: () => ++this.#threads,
    releaseThread() {},
    isThreadGone: (thread) => this.gone.has(thread),
  };
}
