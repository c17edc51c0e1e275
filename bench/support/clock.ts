/**
 * Three clocks, read at the ends of a measurement:
 *
 * - process CPU time: all threads, so the collector's and the JIT compiler's work counts. The figure of every table, and
 *   the same clock as the native replayer's, which has one thread only. It can only be to our disadvantage.
 * - thread CPU time: the JavaScript thread alone, kept in the results file.
 * - wall time, likewise: on a shared machine mostly a measure of the neighbours.
 *
 * @module
 */
import process from "node:process";
import { openLibc, type RawAddress } from "./libc.ts";

/** Times of one measurement, in nanoseconds. */
export interface Times {
  /** CPU time of all threads of the process. */
  readonly process: number;
  /** CPU time of the JavaScript thread; that of the process where the platform has no such clock. */
  readonly thread: number;
  /** Elapsed time. */
  readonly wall: number;
}

/** Reads the three clocks. */
export type Clock = () => Times;

const CLOCK_PROCESS_CPUTIME_ID = 2;
const CLOCK_THREAD_CPUTIME_ID = 3;

/** Opens the clocks: nanosecond ones on Linux, else `process.cpuUsage`, whose unit is a microsecond. */
export async function openClock(): Promise<Clock> {
  if (process.platform !== "linux") {
    return function readClock() {
      const { user, system } = process.cpuUsage();
      return { process: (user + system) * 1000, thread: (user + system) * 1000, wall: performance.now() * 1e6 };
    };
  }
  const { clock_gettime } = await openLibc<RawAddress>();
  const timespec = new Uint8Array(16);
  const fields = new DataView(timespec.buffer);
  function read(clock: number): number {
    clock_gettime(clock, timespec);
    return fields.getInt32(0, true) * 1e9 + fields.getInt32(8, true);
  }
  return function readClock() {
    return {
      process: read(CLOCK_PROCESS_CPUTIME_ID),
      thread: read(CLOCK_THREAD_CPUTIME_ID),
      wall: performance.now() * 1e6,
    };
  };
}

/** The times between two readings. */
export function elapsed(start: Times, end: Times): Times {
  return { process: end.process - start.process, thread: end.thread - start.thread, wall: end.wall - start.wall };
}
