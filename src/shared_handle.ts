/**
 * Handles of shared heaps: plain objects that structured clone carries to a worker of the same process, and that say
 * nothing to anybody else.
 *
 * ```text
 *   { type, version, processId, address, nonce, check }      check: a sum over all other fields
 *                               │
 *                               ▼ at most one OS page of 4 KiB, never unmapped
 *                    control block: "/", MAGIC, VERSION, NONCE, PROCESS ...
 * ```
 *
 * A handle can be of another process, older than its heap's end, or made up. It is refused, in this order, when its fields
 * are not of the right types and ranges, when the sum is wrong, when the process is another, when the kernel says that
 * there is no readable memory that begins as a control block does, and when the words there are not those of the handle.
 * Nothing at the address is touched before the kernel has said so.
 *
 * That a true but stale handle is safe to look at follows from one rule: a control block is never unmapped. When its heap
 * ends, it is cleared and kept by the thread that ended it for the next heap made there, so that there are never more of them
 * than there were heaps at one time. What remains is a forged handle with a right sum whose memory another thread unmaps
 * between the question to the kernel and the look.
 *
 * @module
 */
import { AllocatorError, describeValue, DisposedError } from "./errors.ts";
import type { Address } from "./page_source.ts";
import { CONTROL_BYTES, LAYOUT_VERSION, MAGIC, MAGIC_LIVE, NONCE, PROCESS, VERSION } from "./shared_layout.ts";
import type { SharedPlatform } from "./shared_platform.ts";

/** The first byte of every control block, live or not: "/". With the zero after it, it is the path that a probe asks for. */
export const PROBE_BYTE = 0x2f;

/** The `type` of every handle. */
const HANDLE_TYPE = "offheap.SharedHeap";

/** Names a shared heap to the workers of its process. Plain data: `postMessage` carries it. */
export interface SharedHeapHandle {
  /** Always `"offheap.SharedHeap"`. */
  readonly type: string;
  /** The version of the layout in memory. */
  readonly version: number;
  /** The process that the heap lives in. */
  readonly processId: number;
  /** Where its control block is. */
  readonly address: Address;
  /** What tells the heap from one that was there before. */
  readonly nonce: readonly [number, number];
  /** A sum over all that. */
  readonly check: number;
}

/** A handle is damaged, of another process, or of a heap that is not there. */
export class InvalidHandleError extends AllocatorError {
  /** Makes the error from its message. */
  constructor(message: string) {
    super("ERR_INVALID_HANDLE", message);
  }
}

/** The handle of a heap. */
export function makeHandle(processId: number, address: Address, nonce: readonly [number, number]): SharedHeapHandle {
  const handle = { type: HANDLE_TYPE, version: LAYOUT_VERSION, processId, address, nonce };
  return { ...handle, check: sumOf(handle) };
}

/** The fields of a handle as they are now, which nobody else can change; what is no object at all stays as it is. */
export function copyHandle<T>(handle: T): T {
  if (typeof handle !== "object" || handle === null || Array.isArray(handle)) return handle;
  const { type, version, processId, address, nonce, check } = handle as Partial<SharedHeapHandle>;
  const words = Array.isArray(nonce) && nonce.length === 2 ? [nonce[0], nonce[1]] : undefined;
  return { type, version, processId, address, nonce: words, check } as T;
}

/** FNV-1a over the fields. It finds accidents, not malice. */
function sumOf({ version, processId, address, nonce }: Omit<SharedHeapHandle, "check">): number {
  let sum = 0x811c9dc5;
  for (const char of `${version} ${processId} ${address} ${nonce[0]} ${nonce[1]}`) {
    sum = Math.imul(sum ^ char.charCodeAt(0), 0x01000193);
  }
  return sum >>> 0;
}

/**
 * Throws unless `handle` is one of a heap of this process whose control block can be read.
 *
 * @throws {TypeError} When it is no handle at all.
 * @throws {InvalidHandleError} When it is damaged, of another process, or of a heap that has ended.
 */
export function assertHandle(handle: unknown, platform: SharedPlatform): asserts handle is SharedHeapHandle {
  if (!isHandle(handle)) {
    throw new TypeError(
      `Cannot attach to ${describeValue(handle)}: it is not the handle of a SharedHeap`,
    );
  }
  const { version, processId, address, check } = handle;
  if (version !== LAYOUT_VERSION) {
    throw invalid(`it is of version ${version}, and this module's is ${LAYOUT_VERSION}`);
  }
  if (sumOf(handle) !== check || address % CONTROL_BYTES !== 0 || address <= 0) throw invalid("it is damaged");
  if (processId !== platform.processId) {
    throw invalid(`it is of process ${processId}, and this is process ${platform.processId}`);
  }
  if (!platform.isHeap(address)) throw invalid("there is no heap at its address");
}

/**
 * Throws unless the control block is that of the handle's heap.
 *
 * @throws {InvalidHandleError} When there is none.
 * @throws {DisposedError} When the heap has ended.
 */
export function assertAlive(control: Int32Array, { processId, nonce }: SharedHeapHandle): void {
  const isIt = control[MAGIC] === MAGIC_LIVE && control[VERSION] === LAYOUT_VERSION && control[PROCESS] === processId &&
    control[NONCE] === nonce[0] && control[NONCE + 1] === nonce[1];
  if (isIt) return;
  // Only now, as this is asked under every lock, and makes an object.
  const isControlBlock = new Uint8Array(control.buffer, control.byteOffset)[0] === PROBE_BYTE;
  if (isControlBlock && control[MAGIC] === 0) throw new DisposedError("attach", "shared heap");
  throw invalid("its heap has ended, or is not at its address");
}

function isHandle(value: unknown): value is SharedHeapHandle {
  if (typeof value !== "object" || value === null) return false;
  const { type, version, processId, address, nonce, check } = value as Partial<SharedHeapHandle>;
  return type === HANDLE_TYPE && Array.isArray(nonce) && nonce.length === 2 &&
    [version, processId, address, check, nonce[0], nonce[1]].every((number) => Number.isSafeInteger(number));
}

function invalid(what: string): InvalidHandleError {
  return new InvalidHandleError(`Cannot attach to a shared heap by this handle: ${what}`);
}
