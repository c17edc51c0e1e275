/**
 * The loops that replay a trace, one per kind of subject.
 *
 * They are called for some thousand records at a time: one loop of millions of turns can stay in JavaScriptCore's
 * interpreter after a failed entry into optimised code (50 ns per record in one process, 450 in the next). Everything an
 * allocator returns is stored, every free reads what was stored: the null subjects pay for the same stores.
 *
 * @module
 */
import {
  OP_ALLOCATE,
  OP_ALLOCATE_ALIGNED,
  OP_ALLOCATE_ZEROED,
  OP_FREE,
  OP_REALLOCATE,
  type Trace,
} from "../../examples/support/trace.ts";
import type { AddressAllocator, AddressSubject, HandleAllocator, HandleSubject, Subject } from "./subject.ts";

/**
 * A trace as the loops want it. Sizes are signed: no engine needs to check a small one for overflow then, and real
 * programs pass small integers too. (A size of 2 GiB or more in one request cannot be replayed.)
 */
export interface Columns {
  readonly op: Uint8Array;
  readonly id: Int32Array;
  readonly size: Int32Array;
  readonly align: Int32Array;
}

/** Records per call of a driver. */
export const CHUNK = 4096;

/** The columns of a trace as the loops want them, without a copy. */
export function toColumns(trace: Trace): Columns {
  if (trace.largestSize >= 2 ** 31) throw new RangeError(`Cannot replay ${trace.name}: a size of ${trace.largestSize}`);
  return {
    op: trace.op,
    id: new Int32Array(trace.id.buffer),
    size: new Int32Array(trace.size.buffer),
    align: new Int32Array(trace.align.buffer),
  };
}

/** Replays the records `from` to `to` (exclusive) on an allocator of addresses. */
export function replayAddresses(
  allocator: AddressAllocator,
  columns: Columns,
  slots: Float64Array,
  from: number,
  to: number,
): void {
  const { op, id, size, align } = columns;
  for (let i = from; i < to; i++) {
    const slot = id[i]!;
    switch (op[i]) {
      case OP_ALLOCATE:
        slots[slot] = allocator.allocate(size[i]!);
        break;
      case OP_FREE:
        allocator.free(slots[slot]!);
        slots[slot] = 0;
        break;
      case OP_REALLOCATE:
        slots[slot] = allocator.reallocate(slots[slot]!, size[i]!);
        break;
      case OP_ALLOCATE_ZEROED:
        slots[slot] = allocator.allocateZeroed(size[i]!);
        break;
      case OP_ALLOCATE_ALIGNED:
        slots[slot] = allocator.allocate(size[i]!, align[i]!);
        break;
    }
  }
}

/** The same for an allocator of handles. */
export function replayHandles(
  allocator: HandleAllocator<unknown>,
  columns: Columns,
  slots: unknown[],
  from: number,
  to: number,
): void {
  const { op, id, size, align } = columns;
  for (let i = from; i < to; i++) {
    const slot = id[i]!;
    switch (op[i]) {
      case OP_ALLOCATE:
        slots[slot] = allocator.allocate(size[i]!);
        break;
      case OP_FREE:
        allocator.free(slots[slot]);
        slots[slot] = null;
        break;
      case OP_REALLOCATE:
        slots[slot] = allocator.reallocate(slots[slot], size[i]!);
        break;
      case OP_ALLOCATE_ZEROED:
        slots[slot] = allocator.allocateZeroed(size[i]!);
        break;
      case OP_ALLOCATE_ALIGNED:
        slots[slot] = allocator.allocate(size[i]!, align[i]!);
        break;
    }
  }
}

/** A subject with its slots, driven without the caller knowing the kind. Not for timing inside: one call per chunk. */
export interface Driver {
  /** Replays the records `from` to `to` (exclusive). */
  replay(from: number, to: number): void;
  /** The same, and touches every block that was allocated or reallocated: its ends, or every OS page. */
  replayTouching(from: number, to: number, pages: boolean): void;
  /** Frees what is live. */
  drain(): void;
}

/** Where a driver keeps what is live. */
export interface Slots {
  readonly addresses: Float64Array;
  readonly handles: unknown[];
}

/** Empty slots of one kind for a trace. They are written, so that their OS pages are resident before a measurement. */
export function makeSlots(kind: Subject["kind"], trace: Trace): Slots {
  return {
    addresses: new Float64Array(kind === "address" ? trace.slots : 0).fill(1).fill(0),
    handles: new Array(kind === "handle" ? trace.slots : 0).fill(null),
  };
}

/** Makes the driver of a subject for a trace. */
export function makeDriver(subject: Subject, trace: Trace, slots = makeSlots(subject.kind, trace)): Driver {
  return subject.kind === "address"
    ? addressDriver(subject, trace, slots.addresses)
    : handleDriver(subject, trace, slots.handles);
}

function addressDriver(subject: AddressSubject, trace: Trace, slots: Float64Array): Driver {
  const { allocator, touch } = subject;
  const columns = toColumns(trace);
  return {
    replay: (from, to) => replayAddresses(allocator, columns, slots, from, to),
    replayTouching(from, to, pages) {
      for (let i = from; i < to; i++) {
        replayAddresses(allocator, columns, slots, i, i + 1);
        if (touch !== undefined && columns.op[i] !== OP_FREE) {
          const size = columns.size[i]!;
          touchBlock(touch, slots[columns.id[i]!]!, size, pages);
        }
      }
    },
    drain() {
      for (let slot = 0; slot < slots.length; slot++) {
        if (slots[slot] !== 0) allocator.free(slots[slot]!);
        slots[slot] = 0;
      }
    },
  };
}

function handleDriver(subject: HandleSubject, trace: Trace, slots: unknown[]): Driver {
  const { allocator, touch } = subject;
  const columns = toColumns(trace);
  return {
    replay: (from, to) => replayHandles(allocator, columns, slots, from, to),
    replayTouching(from, to, pages) {
      for (let i = from; i < to; i++) {
        replayHandles(allocator, columns, slots, i, i + 1);
        if (touch !== undefined && columns.op[i] !== OP_FREE) {
          touchBlock(touch, slots[columns.id[i]!], columns.size[i]!, pages);
        }
      }
    },
    drain() {
      for (let slot = 0; slot < slots.length; slot++) {
        if (slots[slot] !== null) allocator.free(slots[slot]);
        slots[slot] = null;
      }
    },
  };
}

/** The smallest OS page there is. */
const OS_PAGE = 4096;

function touchBlock<H>(
  touch: (block: H, size: number, step: number) => void,
  block: H,
  size: number,
  pages: boolean,
): void {
  if (size > 0) touch(block, size, pages ? OS_PAGE : size);
}
