/**
 * The page source of Linux, Android, macOS and FreeBSD, over `mmap` and its family.
 *
 * ```text
 * reserve    mmap(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
 * commit     mprotect(PROT_READ | PROT_WRITE)
 * decommit   mmap over it, as reserve: the memory and its commit charge go back in one call
 * discard    madvise(MADV_DONTNEED) on Linux; elsewhere mmap over it, as the advice there may keep old contents
 * unmap      munmap
 * move       mremap on Linux, see page_moves.ts
 * ```
 *
 * Memory that escaped (wraps.ts) is never unmapped or made inaccessible: fresh memory is mapped over it.
 *
 * Reservations aligned beyond an OS page are cut out of a larger one, and the rest is given back exactly:
 *
 * ```text
 *   mapped by mmap: byteLength + alignment - OS page
 *   ├──── head ────┼──────────── byteLength ────────────┼──── tail ────┤
 *                  ▲ the first multiple of alignment
 *      munmap                     kept                       munmap
 * ```
 *
 * @module
 */
import { alignUp } from "../src/arguments.ts";
import { formatAddress, OutOfMemoryError } from "../src/errors.ts";
import { recallMemory } from "../src/lent_memory.ts";
import { assertPageRange, assertProtection, assertReservation } from "../src/page_arguments.ts";
import type { Address, PageSource, Protection } from "../src/page_source.ts";
import { MAP_FIXED, MAP_PRIVATE, POSIX_CONSTANTS, PROT_NONE, PROT_READ, PROT_WRITE } from "./constants.ts";
import type { OperatingSystem } from "./detect.ts";
import { callErrors } from "./errno.ts";
import type { NativeInterface } from "./library.ts";
import { type MoveLibrary, pageMover } from "./page_moves.ts";
import type { BoundSymbols, POSIX_SYMBOLS } from "./symbols.ts";
import { Wraps } from "./wraps.ts";

/** The functions of the C library that the source calls. */
export type PosixLibrary = BoundSymbols<typeof POSIX_SYMBOLS>;

/** What a POSIX page source is made of. */
export interface PosixPageSourceOptions {
  /** Whose constants and error names to use. */
  os: Exclude<OperatingSystem, "windows">;
  /** The bound C functions. */
  libc: PosixLibrary;
  /** Reads `errno` of this thread. */
  errno: () => number;
  /** Makes ArrayBuffers and pointers. */
  native: NativeInterface;
  /**
   * Gives `mremap`, where the system has one with `MREMAP_DONTUNMAP`; called once, when it is first wanted. Null when it
   * cannot be had: a permission can have been revoked by then.
   */
  openMove?: () => MoveLibrary | null;
  /** A multiple of the OS's own page size, to work as a system with larger pages would. @defaultValue that of the OS */
  pageSize?: number;
}

const MAP_FAILED = -1;
const NO_FILE = -1;
const READ_WRITE = PROT_READ | PROT_WRITE;
const PROTECTIONS: { readonly [protection in Protection]: number } = {
  "none": PROT_NONE,
  "read": PROT_READ,
  "read-write": READ_WRITE,
};

/** Makes a page source over the C library. */
export function posixPageSource(options: PosixPageSourceOptions): PageSource {
  const { os, libc, errno, native, openMove } = options;
  const { mmap, munmap, mprotect, madvise } = libc;
  const { outOfMemory, failure } = callErrors(os);
  const { MAP_ANONYMOUS, MAP_NORESERVE, MADV_ZERO } = POSIX_CONSTANTS[os];
  const MAP_FRESH = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  const osPageSize = libc.getpagesize();
  const pageSize = options.pageSize ?? osPageSize;
  const wraps = new Wraps(native, osPageSize);

  function reserve(byteLength: number, alignment: number): Address {
    assertReservation(byteLength, alignment, pageSize);
    const wanted = Math.max(alignment, pageSize);
    const mapped = byteLength + wanted - osPageSize;
    if (!Number.isSafeInteger(mapped)) {
      throw new OutOfMemoryError(`Cannot reserve ${byteLength} bytes: no address space has so many`, byteLength);
    }
    const start = mmap(0, mapped, PROT_NONE, MAP_FRESH, NO_FILE, 0);
    if (start === MAP_FAILED) throw outOfMemory("reserve", byteLength, "mmap", errno());
    if (mapped === byteLength) return start;

    const address = alignUp(start, wanted);
    const end = start + mapped;
    trim(start, address - start, start, mapped);
    trim(address + byteLength, end - address - byteLength, address, end - address);
    return address;
  }

  /** Gives back an end of a fresh mapping, or, if that fails, all that is left of it. */
  function trim(address: Address, byteLength: number, whole: Address, wholeByteLength: number): void {
    if (byteLength === 0 || munmap(address, byteLength) === 0) return;
    const error = failure("unmap", address, byteLength, "munmap", errno());
    munmap(whole, wholeByteLength);
    throw error;
  }

  function commit(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    if (mprotect(address, byteLength, READ_WRITE) !== 0) {
      throw outOfMemory("commit", byteLength, "mprotect", errno(), address);
    }
  }

  function decommit(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    recallMemory(address, byteLength);
    if (!wraps.hasEscaped(address, byteLength)) {
      mapOver("decommit", address, byteLength, PROT_NONE);
      return;
    }
    for (const part of wraps.parts(address, byteLength)) {
      mapOver("decommit", part.address, part.byteLength, part.escaped ? READ_WRITE : PROT_NONE);
    }
  }

  function discard(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    if (MADV_ZERO === null) {
      mapOver("discard", address, byteLength, READ_WRITE);
    } else if (madvise(address, byteLength, MADV_ZERO) !== 0) {
      throw failure("discard", address, byteLength, "madvise", errno());
    }
  }

  /** Replaces a range by fresh memory in one step, without a moment in which it is not ours. */
  function mapOver(action: string, address: Address, byteLength: number, protection: number): void {
    const result = mmap(address, byteLength, protection, MAP_FRESH | MAP_FIXED, NO_FILE, 0);
    if (result === MAP_FAILED) throw failure(action, address, byteLength, "mmap", errno());
  }

  function protect(address: Address, byteLength: number, protection: Protection): void {
    assertPageRange(address, byteLength, pageSize);
    assertProtection(protection);
    if (mprotect(address, byteLength, PROTECTIONS[protection]) !== 0) {
      throw failure("protect", address, byteLength, "mprotect", errno());
    }
  }

  function unmap(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    recallMemory(address, byteLength);
    if (!wraps.hasEscaped(address, byteLength)) {
      release(address, byteLength);
      return;
    }
    for (const part of wraps.parts(address, byteLength)) {
      if (part.escaped) mapOver("unmap", part.address, part.byteLength, READ_WRITE);
      else release(part.address, part.byteLength);
    }
  }

  function release(address: Address, byteLength: number): void {
    if (munmap(address, byteLength) !== 0) throw failure("unmap", address, byteLength, "munmap", errno());
  }

  const members = wraps.members();
  /** Undefined until it is asked for. */
  let mover: PageSource["move"] | null;

  function move(from: Address, to: Address, byteLength: number): boolean {
    assertPageRange(from, byteLength, pageSize);
    assertPageRange(to, byteLength, pageSize);
    if (Math.abs(from - to) < byteLength) {
      throw new RangeError(
        `Cannot move ${byteLength} bytes from ${formatAddress(from)} to ${formatAddress(to)}: the two overlap`,
      );
    }
    if (mover === undefined) mover = makeMover(openMove!());
    return mover !== null && mover(from, to, byteLength);
  }

  function makeMover(library: MoveLibrary | null): NonNullable<PageSource["move"]> | null {
    return library && pageMover({
      library,
      errno,
      pageSize: osPageSize,
      wraps: members,
      renew: (address, byteLength) => mapOver("move", address, byteLength, READ_WRITE),
      drop: munmap,
    });
  }

  return {
    name: "mmap",
    pageSize,
    granularity: pageSize,
    lazy: true,
    reserve,
    commit,
    decommit,
    discard,
    protect,
    unmap,
    ...members,
    ...(openMove === undefined ? {} : { move }),
  };
}
