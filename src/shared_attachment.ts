/**
 * Making shared heaps, joining them and leaving them.
 *
 * ```text
 *   createFor           arguments ─▶ createAttachment
 *   createAttachment    control block, reservations ─▶ place 1 ─▶ header, MAGIC last
 *   joinAttachment      handle ─▶ control block ─▶ a free place ─▶ MAGIC, looked at again under the lock
 *   leave               pages abandoned ─▶ place free ─▶ the last one: MAGIC 0, everything unmapped but the control block
 * ```
 *
 * Who joins takes its place before it looks at MAGIC under the lock, and who leaves as the last looks at the places under the
 * lock before it clears MAGIC: so either the one who leaves sees the one who comes, or the other way round.
 *
 * @module
 */
import { RANGE_MAX } from "./address_range.ts";
import { alignDown, assertOptions, assertSize } from "./arguments.ts";
import { OutOfMemoryError, UnsupportedPlatformError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";
import { pageTableBytes } from "./page_table.ts";
import { UNIT } from "./run_record.ts";
import { assertAlive, assertHandle, makeHandle, PROBE_BYTE, type SharedHeapHandle } from "./shared_handle.ts";
import {
  ABANDONED_END,
  attachmentAt,
  CONTROL_BYTES,
  CONTROL_WORDS,
  DATA,
  END_UNIT,
  ESCAPED,
  FIRST_LINK,
  LAYOUT_VERSION,
  LINK_END,
  LINK_TABLE,
  MAGIC,
  MAGIC_LIVE,
  NONCE,
  PAGE_TABLE,
  PROCESS,
  REMOTE_TABLE,
  remoteTableBytes,
  SCRATCH,
  tableLayout,
  TABLES,
  UNITS,
  VERSION,
} from "./shared_layout.ts";
import { freePlace, takePlace } from "./shared_places.ts";
import { type SharedPlatform, sharedPlatform } from "./shared_platform.ts";
import { SharedSpace } from "./shared_space.ts";
import { SharedTables } from "./shared_tables.ts";

/** The least bytes of data that a heap is made for. */
const LEAST_RESERVED = 2 ** 20;

/**
 * The most that can be asked for. What is taken is {@link RANGE_MAX} at the most, as `SharedHeap.allocate` too makes a
 * granule number of the place of a page's record times 256.
 */
const RESERVE_MAX = 32 * 2 ** 30;

/** Control blocks of heaps that have ended in this thread, for the next ones. */
const spareBlocks: Int32Array[] = [];
const blockAddresses = new WeakMap<Int32Array, Address>();

/** Options of `SharedHeap.create`. */
export interface SharedHeapOptions {
  /**
   * Bytes of address space for blocks, which is the most that all workers together can ever hold: a multiple of 64 KiB, at least
   * 1 MiB, at most 32 GiB, of which the last 2 MiB are not taken. Less is taken where there is less. @defaultValue 32 GiB
   */
  reserve?: number;
  /** Must be the system's, as other workers cannot use any other. @defaultValue the operating system */
  source?: PageSource;
}

/** One attachment to a heap. */
export interface Attachment {
  /** What all workers can attach by. */
  readonly handle: SharedHeapHandle;
  /** What it does under the lock. */
  readonly space: SharedSpace;
  /** Where memory comes from; it notices what it cannot detach. */
  readonly source: PageSource;
  /** Ends the attachment. The views of this worker are detached already. */
  leave(): void;
}

/** Makes a heap as `options` say, and attaches to it: see `SharedHeap.create`. */
export function createFor(options: SharedHeapOptions): Attachment {
  assertOptions(options);
  const { reserve = RESERVE_MAX, source } = options;
  assertSize(reserve, "reserve");
  if (reserve < LEAST_RESERVED || reserve > RESERVE_MAX || reserve % CONTROL_BYTES !== 0) {
    throw new RangeError(`Cannot use ${reserve} as reserve: it must be a multiple of 65536 from 2^20 to 2^35`);
  }
  const platform = sharedPlatform();
  if (source !== undefined && source !== platform.source) {
    throw new UnsupportedPlatformError(
      `Cannot share a heap over the page source ${source.name}: other workers have only the operating system's`,
    );
  }
  return createAttachment(platform.source, platform, reserve);
}

/**
 * Makes a heap with at most `reserve` bytes of blocks, and attaches to it.
 *
 * @throws {OutOfMemoryError} When the source has not even the address space.
 */
export function createAttachment(source: PageSource, platform: SharedPlatform, reserve: number): Attachment {
  const control = spareBlocks.pop() ?? newControlBlock(platform);
  const address = blockAddresses.get(control)!;
  let reserved: Reserved | undefined;
  let attachment: Attachment | undefined;
  let number = 0;
  try {
    reserved = reserveAll(source, Math.min(reserve, RANGE_MAX));
    control.fill(0, VERSION, 16);
    control.fill(0, END_UNIT, ABANDONED_END);
    control[DATA] = reserved.data / CONTROL_BYTES;
    control[UNITS] = reserved.byteLength / UNIT;
    control[TABLES] = reserved.tables / CONTROL_BYTES;
    control[LINK_END] = FIRST_LINK;
    number = takePlace(control, platform);
    const nonce = crypto.getRandomValues(new Int32Array(2));
    attachment = open(
      source,
      platform,
      control,
      number,
      makeHandle(platform.processId, address, [nonce[0]!, nonce[1]!]),
    );
    const { tables } = attachment.space;
    tables.ensure(PAGE_TABLE, pageTableBytes(0));
    tables.ensure(REMOTE_TABLE, remoteTableBytes(0));
    tables.ensure(LINK_TABLE, FIRST_LINK * 2);
    control[VERSION] = LAYOUT_VERSION;
    control[NONCE] = nonce[0]!;
    control[NONCE + 1] = nonce[1]!;
    control[PROCESS] = platform.processId;
    Atomics.store(control, MAGIC, MAGIC_LIVE);
    return attachment;
  } catch (error) {
    attachment?.space.tables.unwrapTables();
    if (number !== 0) freePlace(control, platform, number);
    spareBlocks.push(control);
    if (reserved !== undefined) {
      try {
        source.unmap(reserved.tables, reserved.tablesByteLength);
      } finally {
        source.unmap(reserved.data, reserved.byteLength);
      }
    }
    throw error;
  }
}

/**
 * Attaches to the heap of a handle.
 *
 * @throws {TypeError} When it is no handle.
 * @throws {InvalidHandleError} When it is damaged or of another process.
 * @throws {DisposedError} When the heap has ended.
 * @throws {OutOfMemoryError} When there are as many attachments as there can be.
 */
export function joinAttachment(handle: unknown, platform: SharedPlatform): Attachment {
  assertHandle(handle, platform);
  const control = wrapControlBlock(platform, handle.address);
  assertAlive(control, handle);
  const number = takePlace(control, platform);
  const attachment = open(platform.source, platform, control, number, handle);
  try {
    attachment.space.locked(() => attachment.space.reap());
  } catch (error) {
    attachment.space.tables.unwrapTables();
    freePlace(control, platform, number);
    throw error;
  }
  return attachment;
}

function open(
  inner: PageSource,
  platform: SharedPlatform,
  control: Int32Array,
  number: number,
  handle: SharedHeapHandle,
): Attachment {
  let escaped = false;
  const source: PageSource = {
    ...inner,
    unwrap(bytes) {
      const { buffer } = bytes;
      // Taken away by somebody before, or held on to by native code: no other worker would know.
      escaped ||= buffer.byteLength === 0;
      inner.unwrap(bytes);
      escaped ||= buffer.byteLength !== 0;
    },
  };
  const tables = new SharedTables(source, control);
  const at = attachmentAt(number) + SCRATCH;
  const scratch = { address: handle.address + at * 4, words: control.subarray(at, at + 4) };
  const space = new SharedSpace(tables, source, platform, number, handle, scratch);
  return {
    handle,
    space,
    source,
    leave() {
      const mappings = tables.mappings();
      const isLast = space.leave(escaped);
      tables.unwrapTables();
      space.vacate(number);
      if (!isLast) return;
      const kept = control[ESCAPED] !== 0;
      spareBlocks.push(control);
      const failures: unknown[] = [];
      for (const { address, byteLength } of kept ? mappings.slice(1) : mappings) {
        try {
          inner.unmap(address, byteLength);
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw failures[0];
    },
  };
}

function newControlBlock(platform: SharedPlatform): Int32Array {
  const { source } = platform;
  const address = source.reserve(CONTROL_BYTES, CONTROL_BYTES);
  try {
    source.commit(address, CONTROL_BYTES);
    const control = wrapControlBlock(platform, address);
    new Uint8Array(control.buffer, control.byteOffset)[0] = PROBE_BYTE;
    return control;
  } catch (error) {
    source.unmap(address, CONTROL_BYTES);
    throw error;
  }
}

/** This wrap is left to the collector in the end: what it covers is never unmapped. */
function wrapControlBlock({ source }: SharedPlatform, address: Address): Int32Array {
  const { buffer, byteOffset } = source.wrap(address, CONTROL_WORDS * 4);
  const control = new Int32Array(buffer, byteOffset, CONTROL_WORDS);
  blockAddresses.set(control, address);
  return control;
}

interface Reserved {
  readonly data: Address;
  readonly byteLength: number;
  readonly tables: Address;
  readonly tablesByteLength: number;
}

/** Reserves data and tables: `byteLength` bytes, or half, a quarter, ... until the source agrees. */
function reserveAll(source: PageSource, byteLength: number): Reserved {
  for (let length = byteLength;;) {
    try {
      return reserveBoth(source, length);
    } catch (error) {
      length = alignDown(length / 2, CONTROL_BYTES);
      if (!(error instanceof OutOfMemoryError) || length < LEAST_RESERVED) throw error;
    }
  }
}

function reserveBoth(source: PageSource, byteLength: number): Reserved {
  const data = source.reserve(byteLength, CONTROL_BYTES);
  const tablesByteLength = tableLayout(byteLength / UNIT, source.maxWrapBytes).byteLength;
  try {
    return { data, byteLength, tables: source.reserve(tablesByteLength, CONTROL_BYTES), tablesByteLength };
  } catch (error) {
    source.unmap(data, byteLength);
    throw error;
  }
}
