/**
 * The places of attachments in the control block: which numbers are taken, and by whose thread.
 *
 * ```text
 *   THREAD of a place     0 ──take──▶ thread ──free──▶ 0          one atomic operation each, and no lock
 *   LEAVING               0 ──────────────────▶ 1 ──────▶ 0      under the lock: it has nothing of the heap any more
 * ```
 *
 * The place of a thread that has ended changes only under the lock: nobody else frees it. Every other place can change
 * hands between two looks, so who asks whether a thread has ended reads its name once, and looks again after the answer.
 *
 * @module
 */
import { OutOfMemoryError } from "./errors.ts";
import { ATTACHMENT_MAX, attachmentAt, LEAVING, SIGNAL, THREAD } from "./shared_layout.ts";
import type { SharedPlatform } from "./shared_platform.ts";

/**
 * Takes a free place for the calling thread, and returns its number.
 *
 * @throws {OutOfMemoryError} When there is none.
 */
export function takePlace(control: Int32Array, platform: SharedPlatform): number {
  const thread = platform.thisThread();
  for (let number = 1; number <= ATTACHMENT_MAX; number++) {
    if (Atomics.compareExchange(control, attachmentAt(number) + THREAD, 0, thread) === 0) return number;
  }
  platform.releaseThread(thread);
  throw new OutOfMemoryError(`Cannot attach: all ${ATTACHMENT_MAX} places of the shared heap are taken`, 0);
}

/** Frees the place of an attachment that has nothing of the heap any more. */
export function freePlace(control: Int32Array, platform: SharedPlatform, number: number): void {
  const at = attachmentAt(number);
  Atomics.store(control, at + SIGNAL, 0);
  Atomics.store(control, at + LEAVING, 0);
  platform.releaseThread(Atomics.exchange(control, at + THREAD, 0));
}

/** The numbers of all places that are taken but `own`, if wanted with those that have nothing any more. */
export function takenPlaces(control: Int32Array, own: number, leaving: boolean): number[] {
  const taken: number[] = [];
  for (let number = 1; number <= ATTACHMENT_MAX; number++) {
    const at = attachmentAt(number);
    if (number === own || Atomics.load(control, at + THREAD) === 0) continue;
    if (leaving || Atomics.load(control, at + LEAVING) === 0) taken.push(number);
  }
  return taken;
}

/**
 * Whether the thread of a place has ended. One that is free when its thread is read is nobody's, and one that has changed
 * hands since is of a thread that was not asked about.
 */
export function isPlaceAbandoned(control: Int32Array, platform: SharedPlatform, number: number): boolean {
  const at = attachmentAt(number) + THREAD;
  const thread = Atomics.load(control, at);
  return thread !== 0 && platform.isThreadGone(thread) && Atomics.load(control, at) === thread;
}
