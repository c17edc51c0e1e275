/**
 * What wrappers say of the allocator below them: that it was used directly, or refuses to free a block.
 *
 * @module
 */
import { historyOf } from "./allocation_site.ts";
import type { Allocator } from "./allocator.ts";
import { type BlockHistory, CorruptionError, formatAddress } from "./errors.ts";
import type { Address } from "./page_source.ts";
import { violationCount } from "./violations.ts";

/** Whether the block of `inner` at `address` that a wrapper has put one of its own in is still there. */
export function isStillThere(inner: Allocator, address: Address): boolean {
  try {
    return inner.owns(address);
  } catch (error) {
    // Its records are damaged: it has reported that, and its own check() says so.
    if (error instanceof CorruptionError) return true;
    throw error;
  }
}

/** Frees a block of `inner`; false when that has reported a violation instead, and the hook returned. */
export function freeUnlessRefused(inner: Allocator, address: Address): boolean {
  const before = violationCount();
  inner.free(address);
  return violationCount() === before || !inner.owns(address);
}

/** The error for a block that the inner allocator has no more. */
export function lostBlock(action: string, block: BlockHistory & { readonly address: Address }): CorruptionError {
  const detail = "the inner allocator has freed it; somebody has used that directly";
  return new CorruptionError(`Cannot ${action} ${formatAddress(block.address)}: ${detail}${historyOf(block)}`);
}

/** The error for a call that owes a result, when the inner allocator refused to free a block. */
export function notFreed(action: string, address: Address): CorruptionError {
  return new CorruptionError(
    `Cannot ${action} ${formatAddress(address)}: the block cannot be freed, for the reason just reported`,
  );
}
