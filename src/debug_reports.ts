/**
 * What a debug allocator says of a block that was written around or handed back wrongly, and when there is no memory.
 *
 * @module
 */
import { historyOf } from "./allocation_site.ts";
import { DEFAULT_ALIGNMENT } from "./arguments.ts";
import { expectedByte } from "./canary.ts";
import type { DebugBlock } from "./debug_blocks.ts";
import {
  AlignmentMismatchError,
  type AllocatorError,
  CorruptionError,
  formatAddress,
  formatByte,
  OutOfMemoryError,
  SizeMismatchError,
} from "./errors.ts";

/** The error for a size or an alignment that was handed back with a block and is not the block's. */
export function mismatch(block: DebugBlock, size?: number, alignment?: number): AllocatorError | undefined {
  if (size !== undefined && size !== block.size) {
    return new SizeMismatchError("free", block.address, size, block.size);
  }
  if (alignment !== undefined && Math.max(alignment, DEFAULT_ALIGNMENT) !== block.alignment) {
    return new AlignmentMismatchError("free", block.address, alignment, block.alignment);
  }
  return undefined;
}

/** The error for the byte at `index` of a block's inner block, which is `found` and should not be. */
export function damaged(action: string, block: DebugBlock, index: number, found: number): CorruptionError {
  const { address, size, front, allocatedAt } = block;
  const offset = index - front;
  const expected = expectedByte(index, block);
  return new CorruptionError(
    `Cannot ${action} ${formatAddress(address)}: something wrote ${
      offset < 0 ? "before the start" : "behind the end"
    } ` +
      `of the block of ${size} bytes; the byte at offset ${offset} (${formatAddress(address + offset)}) is ` +
      `${formatByte(found)} instead of ${formatByte(expected)}${historyOf({ allocatedAt })}`,
    { address, offset, expected, found, allocatedAt },
  );
}

/** The error for a block of `size` bytes when there is no memory for it and the `around` bytes that are watched. */
export function outOfMemory(size: number, around: number, cause: OutOfMemoryError): OutOfMemoryError {
  const message = `Cannot allocate ${size} bytes and ${around} around them: ${cause.message}`;
  return new OutOfMemoryError(message, size, cause.limit, { cause });
}
