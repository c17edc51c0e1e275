/**
 * Memory that is lent: shown by ArrayBuffers of somebody who does not unmap it, and is not told before it goes.
 *
 * ```text
 *   a program's own allocator     wrapped by ours
 *          │                           │ lendMemory: "an ArrayBuffer of mine shows these bytes"
 *          ▼ unmap                     ▼
 *   page source of the system  ── recallMemory ──▶  the ArrayBuffer is detached, and then the memory goes
 * ```
 *
 * The page sources of the operating system ask here before they unmap or decommit, whoever it is that asked them. Nearly
 * always nothing is lent, and then that costs one look; otherwise time in the number of what is lent. Addresses are those
 * of this process, and an ArrayBuffer is this worker's, so that one list is right for all sources of a worker.
 *
 * @module
 */
import type { Address } from "./page_source.ts";

interface Loan {
  readonly byteLength: number;
  readonly recall: () => void;
}

const loans = new Map<Address, Loan>();

/** Has `recall` called before any of these bytes are unmapped. It must detach whatever shows them. */
export function lendMemory(address: Address, byteLength: number, recall: () => void): void {
  loans.set(address, { byteLength, recall });
}

/** Ends what {@link lendMemory} began at `address`. */
export function endLoan(address: Address): void {
  loans.delete(address);
}

/** Recalls whatever is lent of these bytes: they are about to be unmapped. */
export function recallMemory(address: Address, byteLength: number): void {
  if (loans.size === 0) return;
  for (const [start, loan] of [...loans]) {
    if (start >= address + byteLength || start + loan.byteLength <= address) continue;
    loans.delete(start);
    loan.recall();
  }
}
