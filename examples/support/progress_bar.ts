/**
 * A progress bar on a terminal, on one line that is gone when it is done. Where standard output is no terminal it draws
 * nothing.
 *
 * @module
 */
import { writeSync } from "node:fs";
import process from "node:process";
import { bar } from "./text.ts";

/** Time between two drawings: often enough for an eye. */
const INTERVAL_MS = 50;
const BAR_WIDTH = 32;
const STANDARD_OUTPUT = 1;

/** Shows how much of a known amount of work is done. */
export class ProgressBar {
  readonly #label: string;
  readonly #total: number;
  readonly #shown: boolean;
  #done = 0;
  #drawnAt = -Infinity;

  /** Draws nothing yet. `total` is in any unit, the same as that of {@link advance}. */
  constructor(label: string, total: number) {
    this.#label = label;
    this.#total = total;
    this.#shown = process.stdout.isTTY === true;
  }

  /** Adds `amount` to what is done, and draws when it is time; `phase` says what is being done. */
  advance(amount: number, phase: string): void {
    this.#done += amount;
    if (!this.#shown) return;
    const now = performance.now();
    if (now - this.#drawnAt < INTERVAL_MS) return;
    this.#drawnAt = now;
    const share = this.#total > 0 ? this.#done / this.#total : 1;
    const percent = `${Math.floor(share * 100)}`.padStart(3);
    const line = `  ${this.#label.padEnd(10)} ${bar(share, BAR_WIDTH).padEnd(BAR_WIDTH, "░")} ${percent} %  ${phase}`;
    write(`\r\x1b[K${line.slice(0, (process.stdout.columns || 80) - 1)}`);
  }

  /** Takes the bar away. */
  finish(): void {
    if (this.#shown && this.#drawnAt !== -Infinity) write("\r\x1b[K");
  }
}

/** At once, as the work does not return to the event loop. A terminal that does not keep up misses a drawing. */
function write(text: string): void {
  try {
    writeSync(STANDARD_OUTPUT, text);
  } catch {
    // EAGAIN, or a terminal that is gone: the report matters, not the bar.
  }
}
