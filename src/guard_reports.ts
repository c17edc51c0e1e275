/**
 * The violations that concern guarded blocks, as errors: which block, where beside or in it, and where it was allocated
 * and freed if that was noted.
 *
 * @module
 */
import { historyOf } from "./allocation_site.ts";
import {
  type BlockHistory,
  CorruptionError,
  countBytes,
  formatAddress,
  formatByte,
  InvalidFreeError,
} from "./errors.ts";
import type { Address } from "./page_source.ts";

/** What is said of a block, live or freed. */
export interface ReportedBlock extends BlockHistory {
  /** Where it starts. */
  readonly address: Address;
  /** Bytes asked for. */
  readonly requestedSize: number;
}

/** The error for the address of a block that was freed. */
export function freedTwice(action: string, block: ReportedBlock): InvalidFreeError {
  const detail = `the guarded block of ${countBytes(block.requestedSize)} is already freed${historyOf(block)}`;
  return new InvalidFreeError(action, block.address, "double", detail, formatAddress(block.address), block);
}

/** The error for an address in the reservation of a block, live or freed, that is not its start. */
export function besideBlock(
  action: string,
  address: Address,
  block: ReportedBlock,
  state: "live" | "freed",
): InvalidFreeError {
  const { address: start, requestedSize } = block;
  const offset = address - start;
  const isInside = offset >= 0 && offset < requestedSize;
  const where = isInside
    ? `${countBytes(offset)} inside`
    : offset < 0
    ? `${countBytes(-offset)} before`
    : `${countBytes(offset - requestedSize)} behind the end of`;
  return new InvalidFreeError(
    action,
    address,
    isInside && state === "live" ? "interior" : "foreign",
    `it is ${where} the ${state} guarded block of ${countBytes(requestedSize)} at ${formatAddress(start)}${
      historyOf(block)
    }`,
    formatAddress(address),
    block,
  );
}

/** The error for a byte of slack, `offset` bytes from the start of a live block, that was written. */
export function overrun(
  action: string,
  block: ReportedBlock,
  offset: number,
  expected: number,
  found: number,
): CorruptionError {
  const { address, requestedSize, allocatedAt, freedAt } = block;
  const side = offset < 0 ? "before the start" : "behind the end";
  const where = `${side} of the guarded block of ${countBytes(requestedSize)}`;
  return new CorruptionError(
    `Cannot ${action} ${formatAddress(address)}: something wrote ${where}; ` +
      `the byte at offset ${offset} (${formatAddress(address + offset)}) is ${formatByte(found)} instead of ` +
      `${formatByte(expected)}${historyOf(block)}`,
    { address, offset, expected, found, allocatedAt, freedAt },
  );
}

/** The error for a block whose ArrayBuffer somebody transferred. */
export function detachedOutside(action: string, block: ReportedBlock): CorruptionError {
  return new CorruptionError(
    `Cannot ${action} ${formatAddress(block.address)}: the ArrayBuffer of the guarded block was detached from outside` +
      historyOf(block),
  );
}
