/**
 * What replays a trace on a subject: a loop per kind, and what is live between its calls.
 *
 * Everything an allocator returns is stored, every free reads what was stored: the null subjects pay for the same stores. The
 * loop for addresses is that of the examples, examples/support/replay_loop.ts, which says why it is as it is.
 *
 * @module
 */
import { makeReplay } from "../../examples/support/replay_loop.ts";
import {
  OP_ALLOCATE,
  OP_ALLOCATE_ALIGNED,
  OP_ALLOCATE_ZEROED,
  OP_FREE,
  OP_REALLOCATE,
  RECORD_WORDS,
  toRecords,
  type Trace,
} from "../../examples/support/trace.ts";
import type { AddressSubject, HandleAllocator, HandleSubject, Subject } from "./subject.ts";

// V8 reads an imported constant from memory at each use, but folds one of this file.
const ALLOCATE = OP_ALLOCATE;
const FREE = OP_FREE;
const REALLOCATE = OP_REALLOCATE;
const ALLOCATE_ZEROED = OP_ALLOCATE_ZEROED;
const ALLOCATE_ALIGNED = OP_ALLOCATE_ALIGNED;

const WORDS = RECORD_WORDS;

/**
 * What the loops need of a trace. Made once for all drivers of a process: whoever watches its memory must not see another
 * array of the kind come or go.
 */
export interface Recording {
  /** Count of records. */
  readonly records: number;
  /** Four words a record. */
  readonly words: Int32Array | Uint32Array;
  /** Count of slots. */
  readonly slots: number;
}

/** Makes the recording of a trace, whose columns are not needed any more then. */
export function toRecording(trace: Trace): Recording {
  return { records: trace.records, words: toRecords(trace), slots: trace.slots };
}

/** As `makeReplay` of replay_loop.ts, for an allocator of handles. */
export function makeHandleReplay(
  allocator: HandleAllocator<unknown>,
  records: Recording["words"],
  slots: unknown[],
): Driver["replay"] {
  return (from, to) => {
    const end = to * WORDS;
    for (let at = from * WORDS; at < end; at += WORDS) {
      const op = records[at];
      const slot = records[at + 1]!;
      const size = records[at + 2]!;
      switch (op) {
        case ALLOCATE:
          slots[slot] = allocator.allocate(size);
          break;
        case FREE: {
          const block = slots[slot];
          slots[slot] = null;
          allocator.free(block);
          break;
        }
        case REALLOCATE:
          slots[slot] = allocator.reallocate(slots[slot], size);
          break;
        case ALLOCATE_ZEROED:
          slots[slot] = allocator.allocateZeroed(size);
          break;
        case ALLOCATE_ALIGNED:
          slots[slot] = allocator.allocate(size, records[at + 3]!);
          break;
      }
    }
  };
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

/** Empty slots of one kind for a recording. They are written, so that their OS pages are resident before a measurement. */
export function makeSlots(kind: Subject["kind"], recording: Recording): Slots {
  return {
    addresses: new Float64Array(kind === "address" ? recording.slots : 0).fill(1).fill(0),
    handles: new Array(kind === "handle" ? recording.slots : 0).fill(null),
  };
}

/** Makes the driver of a subject for a recording. */
export function makeDriver(subject: Subject, recording: Recording, slots = makeSlots(subject.kind, recording)): Driver {
  const { words } = recording;
  return subject.kind === "address"
    ? addressDriver(subject, words, slots.addresses)
    : handleDriver(subject, words, slots.handles);
}

function addressDriver(subject: AddressSubject, records: Recording["words"], slots: Float64Array): Driver {
  const { allocator, touch } = subject;
  const replay = makeReplay(allocator, records, slots);
  return {
    replay,
    replayTouching(from, to, pages) {
      for (let i = from; i < to; i++) {
        replay(i, i + 1);
        const at = i * WORDS;
        if (touch === undefined || records[at] === FREE) continue;
        touchBlock(touch, slots[records[at + 1]!]!, records[at + 2]!, pages);
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

function handleDriver(subject: HandleSubject, records: Recording["words"], slots: unknown[]): Driver {
  const { allocator, touch } = subject;
  const replay = makeHandleReplay(allocator, records, slots);
  return {
    replay,
    replayTouching(from, to, pages) {
      for (let i = from; i < to; i++) {
        replay(i, i + 1);
        const at = i * WORDS;
        if (touch === undefined || records[at] === FREE) continue;
        touchBlock(touch, slots[records[at + 1]!], records[at + 2]!, pages);
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
