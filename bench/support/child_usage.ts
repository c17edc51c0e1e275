/**
 * What a child process took, from start to end, by the kernel's own account.
 *
 * The account is that of all children that have ended (`getrusage(RUSAGE_CHILDREN)`), read before and after one of them, so
 * one may run at a time. Linux only.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import process from "node:process";
import { findError } from "./children.ts";
import { openLibc, type RawAddress } from "./libc.ts";

/** Milliseconds that a child took. */
export interface ChildUsage {
  /** CPU time of all its threads, in the kernel too. */
  readonly cpu: number;
  /** Elapsed time, from before it was started until it was reaped. */
  readonly wall: number;
}

/** `RUSAGE_CHILDREN` */
const CHILDREN = -1;
/** Bytes of `struct rusage` on 64-bit Linux. */
const RUSAGE_BYTES = 144;

/** Opens what runs a command and says what it took; throws when the command fails. */
export async function openChildUsage(): Promise<(command: string, args: readonly string[]) => ChildUsage> {
  const { getrusage } = await openLibc<RawAddress>();
  const rusage = new Uint8Array(RUSAGE_BYTES);
  const fields = new DataView(rusage.buffer);
  function cpuOfChildren(): number {
    getrusage(CHILDREN, rusage);
    // Seconds and microseconds, in user mode and in the kernel.
    const at = (offset: number) => Number(fields.getBigInt64(offset, true));
    return (at(0) + at(16)) * 1e3 + (at(8) + at(24)) / 1e3;
  }
  return function run(command, args) {
    const cpu = cpuOfChildren();
    const wall = performance.now();
    const child = spawnSync(command, args, { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
    const usage = { cpu: cpuOfChildren() - cpu, wall: performance.now() - wall };
    if (child.status !== 0) throw new Error(`${command} failed: ${findError(child.stderr)}`);
    return usage;
  };
}
