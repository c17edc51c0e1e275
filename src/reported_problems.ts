/**
 * What was reported of the blocks of an allocator that looks at them again and again, so that it is reported once.
 *
 * ```text
 *   free, resize, reallocate   refuse a damaged block every time, and note what they say
 *   check, dispose             say what was not said before, and note that
 *
 *   block -> the problem that was reported last     the same byte with the same value: nothing new
 *                                                   another byte, or another value: reported again
 *                                                   found intact: forgotten
 * ```
 *
 * A program that leaves a scope because `free` has thrown disposes the allocator on its way. If that threw the same damage
 * again, `using` would hide both behind a `SuppressedError`, which runtimes print without its contents.
 *
 * Nothing is kept for a block until something is wrong with it, and nothing for longer than its record lives.
 *
 * @module
 */
import type { CorruptionError } from "./errors.ts";

/** A problem, and what it is with: the record of a block, or any other object that stands for one thing. */
export type Finding = readonly [about: object, problem: CorruptionError];

/** What one allocator has reported. */
export class ReportedProblems {
  #last: WeakMap<object, CorruptionError> | undefined;

  /** Notes a problem that the caller is about to report; false when it was reported before. */
  note(about: object, problem: CorruptionError): boolean {
    this.#last ??= new WeakMap();
    const before = this.#last.get(about);
    this.#last.set(about, problem);
    return before === undefined || !isSame(before, problem);
  }

  /** Forgets what was reported of something that is found intact: damage to it would be new. */
  forget(about: object): void {
    this.#last?.delete(about);
  }

  /** The problems that were not reported before, all of which the caller is about to report. Throws what `found` throws. */
  news(found: Iterable<Finding>): CorruptionError[] {
    // To the end before any is noted: one that was noted and then not reported would be lost.
    const all = [...found];
    return all.filter(([about, problem]) => this.note(about, problem)).map(([, problem]) => problem);
  }
}

/** Whether two problems of one thing are the same. Those that are not about a byte are: the block is lost, or hidden. */
function isSame({ byte: a }: CorruptionError, { byte: b }: CorruptionError): boolean {
  return a?.offset === b?.offset && a?.found === b?.found;
}
