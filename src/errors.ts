/**
 * The errors of every allocator and page source.
 *
 * All extend {@link AllocatorError} and carry a stable `code`, so that callers can tell them apart
 * without `instanceof` across realms or copies of this module. Wrong arguments are the language's own
 * `TypeError` (wrong type) and `RangeError` (wrong value); these classes are for what went wrong with memory.
 * After any of them the allocator is as it was before the call.
 *
 * Messages follow one form: what cannot be done, to what, and what is the case instead.
 *
 * @module
 */
import type { Address } from "./page_source.ts";

/** The stable codes of {@link AllocatorError}s. */
export type AllocatorErrorCode =
  | "ERR_OUT_OF_MEMORY"
  | "ERR_INVALID_FREE"
  | "ERR_SIZE_MISMATCH"
  | "ERR_ALIGNMENT_MISMATCH"
  | "ERR_USE_AFTER_FREE"
  | "ERR_CORRUPTION"
  | "ERR_DISPOSED"
  | "ERR_UNSUPPORTED_PLATFORM"
  | "ERR_INVALID_HANDLE";

/** The base of every error about memory. */
export class AllocatorError extends Error {
  /** Stable across versions; the message is not. */
  readonly code: AllocatorErrorCode;

  /** Makes the error; used by the subclasses. */
  constructor(code: AllocatorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    // Not by assignment, which fails when the program has frozen Error.prototype.
    Object.defineProperty(this, "name", {
      value: new.target.name,
      writable: true,
      enumerable: true,
      configurable: true,
    });
    this.code = code;
  }
}

/** Memory or address space cannot be had: from the OS, from a budget, or under a `limit`. */
export class OutOfMemoryError extends AllocatorError {
  /** The bytes that were asked for. */
  readonly requested: number;
  /** The limit in bytes that stood in the way, where one did; otherwise `Infinity`. */
  readonly limit: number;

  /** Makes the error from its message, the bytes that were asked for, and the limit in bytes. */
  constructor(message: string, requested: number, limit = Infinity, options?: ErrorOptions) {
    super("ERR_OUT_OF_MEMORY", message, options);
    this.requested = requested;
    this.limit = limit;
  }
}

/**
 * In which way an address is not that of a live block: `"double"`, it was one and has been freed;
 * `"interior"`, it lies inside one; `"foreign"`, this allocator never gave it out.
 */
export type InvalidFreeKind = "double" | "foreign" | "interior";

/**
 * Where a block was allocated and freed, as errors whose stacks say so, from the caller on. Known to allocators that record
 * stacks only (`DebugAllocator` and its like); the stack of the violation itself is that of the error that carries these.
 */
export interface BlockHistory {
  /** Made when the block was allocated. */
  readonly allocatedAt?: Error | undefined;
  /** Made when it was freed. */
  readonly freedAt?: Error | undefined;
}

/** An address was given to `free` (or `view`, `resize`, ...) that is not the start of a live block. */
export class InvalidFreeError extends AllocatorError implements BlockHistory {
  /** See {@link InvalidFreeKind}. */
  readonly kind: InvalidFreeKind;
  /** The address as it was passed; 0 for a view of memory that is not the allocator's. */
  readonly address: Address;
  /** See {@link BlockHistory}. */
  readonly allocatedAt: Error | undefined;
  /** See {@link BlockHistory}. */
  readonly freedAt: Error | undefined;

  /**
   * Makes the error for `action` ("free", "resize", ...) on `subject`. `detail` ends the sentence; more lines may follow
   * it.
   */
  constructor(
    action: string,
    address: Address,
    kind: InvalidFreeKind,
    detail: string,
    subject: string = formatAddress(address),
    history: BlockHistory = {},
  ) {
    super("ERR_INVALID_FREE", `Cannot ${action} ${subject}: ${detail}`);
    this.kind = kind;
    this.address = address;
    this.allocatedAt = history.allocatedAt;
    this.freedAt = history.freedAt;
  }
}

/** The size that was handed back with a block is not the one that was asked for. */
export class SizeMismatchError extends AllocatorError {
  /** The address of the block, which is still live. */
  readonly address: Address;
  /** The size as it was passed, in bytes. */
  readonly size: number;
  /** The size that was asked for, in bytes. */
  readonly requestedSize: number;

  /** Makes the error for `action` ("free") on the block at `address`. */
  constructor(action: string, address: Address, size: number, requestedSize: number) {
    super(
      "ERR_SIZE_MISMATCH",
      `Cannot ${action} ${formatAddress(address)} as a block of ${size} bytes: ${requestedSize} were asked for`,
    );
    this.address = address;
    this.size = size;
    this.requestedSize = requestedSize;
  }
}

/** The alignment that was handed back with a block is not the one that was asked for. */
export class AlignmentMismatchError extends AllocatorError {
  /** The address of the block, which is still live. */
  readonly address: Address;
  /** The alignment as it was passed, in bytes. */
  readonly alignment: number;
  /** The alignment that was asked for, in bytes. */
  readonly requestedAlignment: number;

  /** Makes the error for `action` ("free") on the block at `address`. */
  constructor(action: string, address: Address, alignment: number, requestedAlignment: number) {
    super(
      "ERR_ALIGNMENT_MISMATCH",
      `Cannot ${action} ${formatAddress(address)} as a block aligned to ${alignment} bytes: it was asked for at ` +
        `alignment ${requestedAlignment}`,
    );
    this.address = address;
    this.alignment = alignment;
    this.requestedAlignment = requestedAlignment;
  }
}

/** An owned buffer was used after it was freed. */
export class UseAfterFreeError extends AllocatorError {
  /** Makes the error from its message. */
  constructor(message: string) {
    super("ERR_USE_AFTER_FREE", message);
  }
}

/** The one byte that gave a corruption away, and whose block it is beside or in. */
export interface CorruptedByte extends BlockHistory {
  /** The address of the block. */
  readonly address: Address;
  /** Where the byte is, in bytes from `address`: negative before the block, its size or more behind it. */
  readonly offset: number;
  /** What the byte should be. */
  readonly expected: number;
  /** What it is. */
  readonly found: number;
}

/**
 * The allocator's own records disagree with each other, a region was detached from outside, or a byte was changed
 * where nobody may write.
 */
export class CorruptionError extends AllocatorError {
  /** The first byte that was changed, where that is what was found. */
  readonly byte: CorruptedByte | undefined;

  /** Makes the error from its message. */
  constructor(message: string, byte?: CorruptedByte, options?: ErrorOptions) {
    super("ERR_CORRUPTION", message, options);
    this.byte = byte;
  }
}

/** An allocator was used after `dispose`. */
export class DisposedError extends AllocatorError {
  /** Makes the error for `action` ("allocate", "free 0x1000", ...) on the named allocator. */
  constructor(action: string, allocator: string) {
    super("ERR_DISPOSED", `Cannot ${action}: the ${allocator} is disposed`);
  }
}

/** This runtime, operating system or page source cannot do what was asked; the message says what can. */
export class UnsupportedPlatformError extends AllocatorError {
  /** Makes the error from its message. */
  constructor(message: string, options?: ErrorOptions) {
    super("ERR_UNSUPPORTED_PLATFORM", message, options);
  }
}

/** The error for a call that came from the page source, while it was at work for the same allocator. */
export function reentered(action: string, address?: Address): CorruptionError {
  const what = address === undefined ? action : `${action} ${formatAddress(address)}`;
  return new CorruptionError(`Cannot ${what}: the page source called the allocator that called it`);
}

/** The error for a block of `size` bytes that would make the `live` bytes `extra` more than they are, and too many. */
export function overLimit(size: number, extra: number, live: number, limit: number): OutOfMemoryError {
  return new OutOfMemoryError(
    `Cannot allocate ${size} bytes: ${live} of the limit of ${limit} bytes are live, and ${extra} more would exceed it`,
    size,
    limit,
  );
}

/** What a message of ours gives as the reason: what follows its first colon. For an error that has another as its cause. */
export function reasonOf({ message }: Error): string {
  const colon = message.indexOf(": ");
  return message.startsWith("Cannot ") && colon !== -1 ? message.slice(colon + 2) : message;
}

/** An address in hexadecimal for messages; anything that is not an address as it is. Never throws. */
export function formatAddress(address: unknown): string {
  if (typeof address !== "number") return describeValue(address);
  return Number.isInteger(address) && address >= 0 ? `0x${address.toString(16)}` : `${address}`;
}

/** A value of any type, short, for an error message. Never throws. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
    case "bigint":
      return `${value}n`;
    case "symbol":
      return "a symbol";
    case "function":
      return "a function";
    case "object":
      if (value === null) return "null";
      return Array.isArray(value) ? "an array" : "an object";
    case "number":
      return Object.is(value, -0) ? "-0" : `${value}`;
    default:
      return `${value}`;
  }
}

/** A count of bytes for messages: `1 byte`, `2 bytes`. */
export function countBytes(count: number): string {
  return count === 1 ? "1 byte" : `${count} bytes`;
}

/** A byte in hexadecimal. */
export function formatByte(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}

/** Why an address is not that of a live block: the kind of the error and the end of its sentence. */
export interface InvalidAddress {
  /** See {@link InvalidFreeError.kind}. */
  readonly kind: InvalidFreeKind;
  /** Such as `the block is already freed`. */
  readonly detail: string;
}

/** Of an address at which a block was live. */
export const ALREADY_FREED: InvalidAddress = { kind: "double", detail: "the block is already freed" };

/** Of an address inside the live block of `byteLength` bytes at `start`. */
export function insideBlock(address: Address, start: Address, byteLength: number): InvalidAddress {
  const block = `the live block of ${countBytes(byteLength)} at ${formatAddress(start)}`;
  return { kind: "interior", detail: `it is ${countBytes(address - start)} inside ${block}` };
}
