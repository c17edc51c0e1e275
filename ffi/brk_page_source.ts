/**
 * The program break as a page source: `sbrk` of the C library, as allocators grew before `mmap`.
 *
 * ```text
 *   data segment │ piece │ piece │ foreign │ piece │           ▲ break
 *                                    │
 *                  somebody else (malloc) moved the break: the next piece begins above it and touches nothing of ours
 * ```
 *
 * Each `reserve` moves the break up, by `increment` bytes at least, and what is left over is for the next piece. Where the break is
 * is asked for every time: when it is not where we left it, the rest of ours stays where it is and a new piece begins above the
 * foreign one, so that an allocator sees two regions, and never one with somebody else's memory in it. The break is
 * lowered only when the last piece is given back while nothing came after it; else its memory is discarded.
 *
 * Memory above the break is committed as soon as it is reserved. It is wrapped, decommitted and discarded as any memory of the
 * system's page source is.
 *
 * @module
 */
import { alignUp, assertSize } from "../src/arguments.ts";
import { formatAddress, OutOfMemoryError, UnsupportedPlatformError } from "../src/errors.ts";
import { recallMemory } from "../src/lent_memory.ts";
import { assertPageRange, assertReservation } from "../src/page_arguments.ts";
import type { Address, PageSource } from "../src/page_source.ts";
import { detectPlatform } from "./detect.ts";
import { openLibrary } from "./library.ts";
import { BRK_SYMBOLS } from "./symbols.ts";
import { nativeInterface, systemPageSource } from "./system_page_source.ts";

/** The least that the break is moved by, in bytes. */
const DEFAULT_INCREMENT = 65_536;

/** `(void *)-1`. */
const FAILED = -1;

/** Moves the program break by so many bytes, and returns where it was; -1 when it cannot. */
export type MoveBreak = (byteLength: number) => Address;

/**
 * Memory from the program break.
 *
 * Unix only. There is one program break for the whole process, so what is held here and what malloc holds lie among each other.
 *
 * @param increment The least bytes by which the break is moved.
 * @throws {UnsupportedPlatformError} On Windows, which has no program break, and where the system's page source is not to be had.
 */
export function brkPageSource(increment: number = DEFAULT_INCREMENT): PageSource {
  assertSize(increment, "increment");
  const platform = detectPlatform();
  if (platform.os === "windows") {
    throw new UnsupportedPlatformError(
      "Cannot use the program break on Windows: it has none. systemPageSource() and contiguousPageSource() work there",
    );
  }
  const { sbrk } = openLibrary(nativeInterface(platform), platform, BRK_SYMBOLS);
  return breakPageSource(systemPageSource(), sbrk, increment);
}

/** The same over any `moveBreak`, whose memory `source` can wrap and discard. */
export function breakPageSource(source: PageSource, moveBreak: MoveBreak, increment: number): PageSource {
  const { pageSize } = source;
  const step = Math.max(pageSize, alignUp(increment, pageSize));
  /** Where our own memory ends, and up to where of it pieces were given out. */
  let end = 0;
  let given = 0;
  const pieces = new Map<Address, number>();

  function reserve(byteLength: number, alignment: number): Address {
    assertReservation(byteLength, alignment, pageSize);
    const unit = Math.max(alignment, pageSize);
    const now = moveBreak(0);
    // Somebody else moved the break: what is left of ours cannot grow.
    const isOurs = now === end;
    const inside = alignUp(given, unit);
    if (given > 0 && inside + byteLength <= end) return give(inside, byteLength);
    const start = isOurs && given > 0 ? inside : alignUp(now, unit);
    const wanted = Math.max(start + byteLength, (isOurs ? now : start) + step);
    if (!grow(now, wanted) && !grow(now, start + byteLength)) {
      throw new OutOfMemoryError(
        `Cannot reserve ${byteLength} bytes: sbrk failed to move the program break from ${formatAddress(now)}`,
        byteLength,
      );
    }
    return give(start, byteLength);
  }

  /** Moves the break to `wanted`, or leaves it where it was. */
  function grow(now: Address, wanted: Address): boolean {
    const before = moveBreak(wanted - now);
    if (before === FAILED) return false;
    if (before !== now) {
      // Another thread was faster: this memory is not where it was meant to be.
      moveBreak(now - wanted);
      return false;
    }
    end = wanted;
    return true;
  }

  function give(address: Address, byteLength: number): Address {
    given = address + byteLength;
    pieces.set(address, byteLength);
    return address;
  }

  function unmap(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    if (pieces.get(address) !== byteLength) {
      throw new RangeError(`Cannot unmap ${byteLength} bytes at ${formatAddress(address)}: no such piece was reserved`);
    }
    pieces.delete(address);
    recallMemory(address, byteLength);
    source.discard(address, byteLength);
    if (given !== address + byteLength) return;
    given = address;
    if (moveBreak(0) === end && moveBreak(address - end) !== FAILED) end = address;
  }

  function commit(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
  }

  return {
    ...source,
    name: "brk",
    // What it hands out is no mapping of its own.
    move: undefined,
    granularity: pageSize,
    lazy: true,
    reserve,
    commit,
    decommit: source.discard,
    unmap,
  };
}
