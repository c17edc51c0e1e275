/**
 * The loop that replays a trace on an allocator, for the examples and the benchmarks.
 *
 * It is called for some thousand records at a time: one loop of millions of turns can stay in JavaScriptCore's interpreter
 * after a failed entry into optimised code (50 ns per record in one process, 450 in the next), and a caller gets to draw a
 * progress bar in between.
 *
 * A loop around an allocator costs more than one around nothing: as it contains calls, both engines read the map, the length
 * and the address of each array anew for every record, and V8 every imported constant. So a trace is one array, as it is
 * for the loop in C (bench/native/replay.c), the constants are of this file, and what the loop works on is not given at
 * each call: the arguments of a function that is called once in a process, as it is to measure time, are constants to both
 * compilers in what it returns, as a `const heap` of a module is (docs/performance.md, "The loop").
 *
 * @module
 */
import type { Allocator } from "../../mod.ts";
import { OP_ALLOCATE, OP_ALLOCATE_ALIGNED, OP_ALLOCATE_ZEROED, OP_FREE, OP_REALLOCATE, RECORD_WORDS } from "./trace.ts";

const ALLOCATE = OP_ALLOCATE;
const FREE = OP_FREE;
const REALLOCATE = OP_REALLOCATE;
const ALLOCATE_ZEROED = OP_ALLOCATE_ZEROED;
const ALLOCATE_ALIGNED = OP_ALLOCATE_ALIGNED;
const WORDS = RECORD_WORDS;

/** Records per call. */
export const CHUNK = 4096;

/** What a replay needs of an allocator. */
type ReplayAllocator = Pick<Allocator, "allocate" | "allocateZeroed" | "reallocate" | "free">;

/**
 * Makes what replays the records `from` to `to` (exclusive) of what `toRecords` made of a trace. `slots` keeps the addresses of what
 * is live, and 0 for what is not.
 */
export function makeReplay(
  allocator: ReplayAllocator,
  records: Int32Array | Uint32Array,
  slots: Float64Array,
): (from: number, to: number) => void {
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
          const block = slots[slot]!;
          slots[slot] = 0;
          allocator.free(block);
          break;
        }
        case REALLOCATE:
          slots[slot] = allocator.reallocate(slots[slot]!, size);
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
