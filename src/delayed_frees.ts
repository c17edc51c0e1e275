/**
 * Freed blocks whose memory is not to be used again yet.
 *
 * A program that uses a block after freeing it does harm when the memory is somebody else's by then. The longer that
 * takes, the less likely the harm: a heap with delayed reuse keeps freed blocks in a queue, and only those that leave it
 * become free memory.
 *
 * ```text
 *              free                                     surplus: too many blocks, or too many bytes
 *   live ──────────────▶ [ newest  ...  ...  oldest ] ────────────────────────────────────────────▶ free
 *                              a ring of addresses        drain: memory is short, trim
 * ```
 *
 * The queue lies outside the blocks, as all records do: nothing that is written to a freed block can reach it. What it
 * knows is an address and a size; that a block is delayed is said by its link (small blocks) or by its run (large ones),
 * so that freeing it once more is found like any other double free. Huge blocks are unmapped at once and never delayed.
 *
 * Cost: O(1) for each block, and 16 bytes for each place in the ring.
 *
 * @module
 */
import { CorruptionError, formatAddress } from "./errors.ts";
import type { Address } from "./page_source.ts";

/** The bounds of the queue. */
export interface DelayRules {
  /** The most blocks. */
  readonly blocks: number;
  /** The most bytes of all of them together. */
  readonly bytes: number;
}

/** The queue of one heap. */
export class DelayedFrees {
  /** How many blocks there are. */
  count = 0;
  /** Their bytes. */
  byteLength = 0;
  readonly #rules: DelayRules;
  /** One place more than there are to be blocks: one is added before another leaves. */
  readonly #addresses: Float64Array;
  readonly #sizes: Float64Array;
  /** Where the oldest is. */
  #oldest = 0;

  /** Starts empty. */
  constructor(rules: DelayRules) {
    this.#rules = rules;
    this.#addresses = new Float64Array(rules.blocks + 1);
    this.#sizes = new Float64Array(rules.blocks + 1);
  }

  /** Whether a block of so many bytes has room: a larger one would only drive out all others. */
  takes(byteLength: number): boolean {
    return byteLength <= this.#rules.bytes && this.#rules.blocks > 0;
  }

  /** Adds a block that {@link DelayedFrees.takes} agreed to; then the surplus has to leave. */
  add(address: Address, byteLength: number): void {
    let at = this.#oldest + this.count;
    if (at >= this.#addresses.length) at -= this.#addresses.length;
    this.#addresses[at] = address;
    this.#sizes[at] = byteLength;
    this.count++;
    this.byteLength += byteLength;
  }

  /** Takes the oldest block out if there are too many blocks or bytes: its address, or 0. */
  surplus(): Address {
    return this.count > this.#rules.blocks || this.byteLength > this.#rules.bytes ? this.drain() : 0;
  }

  /** Takes the oldest block out: its address, or 0 when there is none. */
  drain(): Address {
    if (this.count === 0) return 0;
    const at = this.#oldest;
    this.#oldest = at + 1 === this.#addresses.length ? 0 : at + 1;
    this.count--;
    this.byteLength -= this.#sizes[at]!;
    return this.#addresses[at]!;
  }

  /**
   * Verifies that the queue keeps its bounds and holds each block once. `isDelayed` says whether a block's own record
   * agrees.
   *
   * @throws {CorruptionError} When they do not.
   */
  check(isDelayed: (address: Address) => boolean): void {
    const seen = new Set<Address>();
    let bytes = 0;
    for (let i = 0; i < this.count; i++) {
      const at = (this.#oldest + i) % this.#addresses.length;
      const address = this.#addresses[at]!;
      if (seen.has(address) || !isDelayed(address)) {
        throw new CorruptionError(
          `Cannot trust the delayed block at ${formatAddress(address)}: it is not delayed, or twice`,
        );
      }
      seen.add(address);
      bytes += this.#sizes[at]!;
    }
    if (bytes !== this.byteLength || bytes > this.#rules.bytes || this.count > this.#rules.blocks) {
      throw new CorruptionError(
        `Cannot trust the delayed blocks: ${this.count} of ${bytes} bytes are too many or miscounted`,
      );
    }
  }
}
