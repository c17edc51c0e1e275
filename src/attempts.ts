/**
 * Steps of which each is taken whatever became of those before: giving everything back, reporting everything found.
 *
 * @module
 */
import { type AllocatorError, CorruptionError } from "./errors.ts";
import { reportViolation } from "./violations.ts";

/** What the steps of one call have thrown. */
export class Attempts {
  readonly #thrown: unknown[] = [];

  /** Takes a step, and keeps what it throws. */
  make(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#thrown.push(error);
    }
  }

  /** Gives each violation to the hook, and keeps what that throws. */
  report(violations: Iterable<AllocatorError>): void {
    for (const violation of violations) this.make(() => reportViolation(violation));
  }

  /**
   * The last step: throws what the others have thrown, if anything. Several errors become one when there is a
   * `CorruptionError` among them, with its message and all of them in its cause; otherwise the first stands for all.
   */
  end(): void {
    const thrown = this.#thrown;
    if (thrown.length === 0) return;
    const corruption = thrown.find((error) => error instanceof CorruptionError);
    if (thrown.length === 1 || corruption === undefined) throw thrown[0];
    const message = `${corruption.message}\n  and ${thrown.length - 1} more, in the errors of the cause`;
    throw new CorruptionError(message, corruption.byte, { cause: new AggregateError(thrown) });
  }
}

/** Takes every step; then throws as {@link Attempts.end} does. */
export function attemptAll(...steps: readonly (() => void)[]): void {
  reportAll([], ...steps);
}

/** Reports every violation and takes the steps that are given; then throws as {@link Attempts.end} does. */
export function reportAll(violations: Iterable<AllocatorError>, ...steps: readonly (() => void)[]): void {
  const attempts = new Attempts();
  attempts.report(violations);
  for (const step of steps) attempts.make(step);
  attempts.end();
}

/** Calls `all` with what takes a step and goes on when it fails; then throws as {@link Attempts.end} does. */
export function giveAllBack(all: (attempt: (giveBack: () => void) => void) => void): void {
  const attempts = new Attempts();
  all((giveBack) => attempts.make(giveBack));
  attempts.end();
}
