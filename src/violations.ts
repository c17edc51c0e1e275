/**
 * What happens when a misuse is found: one hook for the whole module, which throws unless it is replaced.
 *
 * A violation is a bad free, a block of the wrong size handed back, a byte changed where nobody may write: the errors
 * {@link InvalidFreeError}, {@link SizeMismatchError}, {@link UseAfterFreeError} and {@link CorruptionError} of an
 * allocator. Wrong arguments, exhausted memory and disposed allocators are none; they are always thrown.
 *
 * ```text
 *   found in                                    the hook throws       the hook returns
 *   free, freeArray, a wrapper's own checks     so does the call      the call does nothing more, and returns
 *   reallocate, view, usableSize ...            so does the call      the call throws the violation: it has no result
 *   check and dispose of a wrapper              what follows is       the call goes on
 *                                               reported all the same,
 *                                               and then thrown in one
 * ```
 *
 * Either way the allocator is as it was before the call and can be used on, by the hook too: nothing is half done when
 * the hook is called. A violation that the hook itself commits is thrown to it and not reported, or it would be called
 * for ever.
 *
 * @module
 */
import { AllocatorError } from "./errors.ts";

/** Is given each violation when it is found; throws, or returns to go on. */
export type ViolationHook = (violation: AllocatorError) => void;

function throwViolation(violation: AllocatorError): void {
  throw violation;
}

let hook: ViolationHook = throwViolation;

/** Whether the hook is being called. */
let reporting = false;

/** How many violations the hook was given. */
let reports = 0;

/**
 * Replaces the hook of all allocators of this module, and returns the one before.
 *
 * @param next The new hook. @defaultValue the one that throws
 */
export function setViolationHook(next: ViolationHook = throwViolation): ViolationHook {
  if (typeof next !== "function") throw new TypeError("Cannot use a violation hook that is not a function");
  const previous = hook;
  hook = next;
  return previous;
}

/** Gives a violation to the hook. Returning means that the call is to do nothing more. */
export function reportViolation(violation: AllocatorError): void {
  if (reporting) throw violation;
  reporting = true;
  reports++;
  try {
    hook(violation);
  } finally {
    reporting = false;
  }
}

/** How many violations were reported so far: a call during which that grows, and which returns, may have done nothing. */
export function violationCount(): number {
  return reports;
}

/** As {@link reportViolation}, for a call that owes a result: throws the violation when the hook did not. */
export function throwAfterReport(violation: AllocatorError): never {
  reportViolation(violation);
  throw violation;
}

/** Whether an error is a violation, and not a wrong argument, exhausted memory or a disposed allocator. */
export function isViolation(error: unknown): error is AllocatorError {
  if (!(error instanceof AllocatorError)) return false;
  return error.code !== "ERR_OUT_OF_MEMORY" && error.code !== "ERR_DISPOSED" &&
    error.code !== "ERR_UNSUPPORTED_PLATFORM";
}

/** Throws an error that was caught; one that is a violation is reported first. */
export function throwReported(error: unknown): never {
  if (isViolation(error)) throwAfterReport(error);
  throw error;
}
