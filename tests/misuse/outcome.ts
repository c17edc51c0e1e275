/**
 * What came of a misuse, as one line of text: what the table of expectations holds and docs/misuse.md shows.
 *
 * ```text
 *   InvalidFreeError double, at once     an error (class, kind, moment)
 *   fault                                the process was ended by a signal
 *   empty view                           the view is detached: nothing was read or written
 *   harmless: reads zeros                nothing is wrong, and why
 *   missed: reads the old contents       not caught, and what happened
 *   broken: ...                          something that no table may expect
 * ```
 *
 * @module
 */
import { InvalidFreeError } from "../../mod.ts";

/** When an error came: from the wrong call itself, or from which later one. In the order in which they are tried. */
export type Moment = "at once" | "at free" | "at reuse" | "at check" | "at trim" | "at dispose";

/** The line for an error. */
export function describeViolation(error: Error, moment: Moment): string {
  const kind = error instanceof InvalidFreeError ? ` ${error.kind}` : "";
  return `${error.name}${kind}, ${moment}`;
}

/** The groups of outcomes. */
export type OutcomeKind = "caught" | "harmless" | "missed" | "broken";

/** Which group a line belongs to. A fault is an outcome that ends the misuse, so it counts as caught. */
export function outcomeKind(outcome: string): OutcomeKind {
  if (outcome.startsWith("missed: ")) return "missed";
  if (outcome.startsWith("harmless: ") || outcome === "empty view") return "harmless";
  if (outcome === "fault" || /^\w+Error( \w+)?, at /.test(outcome)) return "caught";
  return "broken";
}

/** What a message must say: the form of all messages, and the words that belong to the class and kind. */
const MESSAGES: readonly (readonly [outcome: RegExp, message: RegExp])[] = [
  [/^InvalidFreeError double/, /^Cannot \S.*: .*freed/s],
  [/^InvalidFreeError interior/, /^Cannot \S.*: .*\d+ bytes? inside/s],
  [/^InvalidFreeError foreign/, /^Cannot \S.*: \S/s],
  [/^UseAfterFreeError/, /^Cannot \S.*: .*freed/s],
  [/^SizeMismatchError/, /^Cannot \S.* as a block of \d+ bytes: \d+ were asked for/s],
  [/^AlignmentMismatchError/, /^Cannot \S.*\d+.*: .*\d+/s],
  [/^CorruptionError/, /^Cannot \S.*: \S/s],
  [/^OutOfMemoryError/, /^Cannot \S.* \d+ bytes.*: \S/s],
  [/^DisposedError/, /^Cannot \S.*: the .* is disposed/s],
  [/^(RangeError|TypeError)/, /./s],
];

/** Whether the message of an error says what its class promises. */
export function isTellingMessage(outcome: string, message: string): boolean {
  return MESSAGES.some(([pattern, wanted]) => pattern.test(outcome) && wanted.test(message));
}
