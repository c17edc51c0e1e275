/**
 * Names and texts of the error numbers that memory calls give. Whether a call failed is decided on its return value
 * alone; the number is diagnosis, for the message and for which class of error fits. {@link callErrors} makes those errors.
 *
 * @module
 */
import { type AllocatorError, CorruptionError, formatAddress, OutOfMemoryError } from "../src/errors.ts";
import type { Address } from "../src/page_source.ts";
import type { OperatingSystem } from "./detect.ts";

/** Numbers that are the same on every POSIX system here. */
const POSIX_ERRORS: { readonly [errno: number]: string } = {
  1: "EPERM, operation not permitted",
  2: "ENOENT, no such file or directory",
  4: "EINTR, interrupted call",
  9: "EBADF, bad file descriptor",
  12: "ENOMEM, out of memory or address space, or too many mappings",
  13: "EACCES, permission denied",
  14: "EFAULT, bad address",
  16: "EBUSY, device or resource busy",
  19: "ENODEV, no such device",
  22: "EINVAL, invalid argument",
  23: "ENFILE, too many open files in the system",
};

const LINUX_ERRORS: { readonly [errno: number]: string } = {
  11: "EAGAIN, memory is locked or resource temporarily unavailable",
  38: "ENOSYS, function not implemented",
  75: "EOVERFLOW, value too large",
  95: "EOPNOTSUPP, operation not supported",
};

const BSD_ERRORS: { readonly [errno: number]: string } = {
  35: "EAGAIN, memory is locked or resource temporarily unavailable",
  45: "ENOTSUP, operation not supported",
  78: "ENOSYS, function not implemented",
  84: "EOVERFLOW, value too large",
};

const WINDOWS_ERRORS: { readonly [code: number]: string } = {
  5: "ERROR_ACCESS_DENIED, access is denied",
  6: "ERROR_INVALID_HANDLE, the handle is invalid",
  8: "ERROR_NOT_ENOUGH_MEMORY, not enough memory",
  14: "ERROR_OUTOFMEMORY, not enough memory",
  87: "ERROR_INVALID_PARAMETER, a parameter is incorrect",
  487: "ERROR_INVALID_ADDRESS, attempt to access an invalid address",
  998: "ERROR_NOACCESS, invalid access to a memory location",
  1450: "ERROR_NO_SYSTEM_RESOURCES, insufficient system resources",
  1453: "ERROR_WORKING_SET_QUOTA, insufficient quota",
  1455: "ERROR_COMMITMENT_LIMIT, the paging file is too small",
  1816: "ERROR_NOT_ENOUGH_QUOTA, not enough quota",
};

/** An error number as it goes into messages: `errno 12 (ENOMEM, ...)`, or `error 8 (...)` on Windows. */
export function describeErrno(os: OperatingSystem, errno: number): string {
  if (os === "windows") return `error ${errno} (${WINDOWS_ERRORS[errno] ?? "unknown"})`;
  const own = os === "linux" || os === "android" ? LINUX_ERRORS : BSD_ERRORS;
  return `errno ${errno} (${POSIX_ERRORS[errno] ?? own[errno] ?? "unknown"})`;
}

/** Whether the number says that memory, address space or a quota has run out, rather than that the call was wrong. */
export function isExhaustion(os: OperatingSystem, errno: number): boolean {
  if (os === "windows") return [8, 14, 1450, 1453, 1455, 1816].includes(errno);
  return errno === 12 || errno === (os === "linux" || os === "android" ? 11 : 35);
}

/** Makes the errors of a page source's calls. */
export interface CallErrors {
  /** The error of a call that asks for memory: `call` was to do `action`, and left the number `code`. */
  outOfMemory(action: string, byteLength: number, call: string, code: number, address?: Address): OutOfMemoryError;
  /** The error of a call that needs no memory by itself: out of memory when the number says so, else misuse. */
  failure(action: string, address: Address, byteLength: number, call: string, code: number): AllocatorError;
}

/** The errors of a system's calls. */
export function callErrors(os: OperatingSystem): CallErrors {
  function outOfMemory(
    action: string,
    byteLength: number,
    call: string,
    code: number,
    address?: Address,
  ): OutOfMemoryError {
    const where = address === undefined ? "" : ` at ${formatAddress(address)}`;
    return new OutOfMemoryError(
      `Cannot ${action} ${byteLength} bytes${where}: ${call} failed with ${describeErrno(os, code)}`,
      byteLength,
    );
  }

  function failure(action: string, address: Address, byteLength: number, call: string, code: number): AllocatorError {
    const error = outOfMemory(action, byteLength, call, code, address);
    return isExhaustion(os, code) ? error : new CorruptionError(error.message);
  }

  return { outOfMemory, failure };
}
