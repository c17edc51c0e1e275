/**
 * The page source of Windows, over `VirtualAlloc` and its family.
 *
 * ```text
 * reserve    VirtualAlloc(MEM_RESERVE, PAGE_NOACCESS), at multiples of the allocation granularity (64 KiB)
 * commit     VirtualAlloc(MEM_COMMIT, PAGE_READWRITE)
 * decommit   VirtualFree(MEM_DECOMMIT): parts are allowed
 * discard    VirtualFree(MEM_DECOMMIT), then VirtualAlloc(MEM_COMMIT): demand-zero pages
 * unmap      VirtualFree(base, 0, MEM_RELEASE): only whole reservations, only with size 0
 * ```
 *
 * Memory that escaped (wraps.ts) is never released or left decommitted: it is committed anew at once.
 *
 * A reservation cannot be trimmed. One that must be aligned beyond the granularity is found by reserving more,
 * releasing it, and reserving the aligned part of where it was; when another thread takes the place in between, again.
 *
 * @module
 */
import { alignUp } from "../src/arguments.ts";
import { OutOfMemoryError } from "../src/errors.ts";
import { recallMemory } from "../src/lent_memory.ts";
import { assertPageRange, assertProtection, assertReservation } from "../src/page_arguments.ts";
import type { Address, PageSource, Protection } from "../src/page_source.ts";
import {
  MEM_COMMIT,
  MEM_DECOMMIT,
  MEM_RELEASE,
  MEM_RESERVE,
  PAGE_NOACCESS,
  PAGE_READONLY,
  PAGE_READWRITE,
  SYSTEM_INFO_BYTES,
  SYSTEM_INFO_GRANULARITY_OFFSET,
  SYSTEM_INFO_PAGE_SIZE_OFFSET,
} from "./constants.ts";
import { callErrors } from "./errno.ts";
import type { NativeInterface } from "./library.ts";
import type { BoundSymbols, WINDOWS_SYMBOLS } from "./symbols.ts";
import { Wraps } from "./wraps.ts";

/** The functions of kernel32 that the source calls. */
export type WindowsLibrary = BoundSymbols<typeof WINDOWS_SYMBOLS>;

/** What a Windows page source is made of. */
export interface WindowsPageSourceOptions {
  /** The bound functions. */
  kernel32: WindowsLibrary;
  /** Makes ArrayBuffers and pointers. */
  native: NativeInterface;
}

/** How often an aligned place may be lost to another thread before it counts as out of address space. */
const ALIGNED_ATTEMPTS = 8;

const PROTECTIONS: { readonly [protection in Protection]: number } = {
  "none": PAGE_NOACCESS,
  "read": PAGE_READONLY,
  "read-write": PAGE_READWRITE,
};

/** Makes a page source over kernel32. */
export function windowsPageSource({ kernel32, native }: WindowsPageSourceOptions): PageSource {
  const { VirtualAlloc, VirtualFree, VirtualProtect, GetLastError } = kernel32;
  const { outOfMemory, failure } = callErrors("windows");

  // One OS page, kept for as long as the program: where calls that return something through a pointer put it.
  const scratch = VirtualAlloc(0, SYSTEM_INFO_BYTES, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
  if (scratch === 0) throw outOfMemory("commit", SYSTEM_INFO_BYTES, "VirtualAlloc", GetLastError());
  kernel32.GetSystemInfo(scratch);
  const systemInfo = new DataView(native.wrap(scratch, SYSTEM_INFO_BYTES));
  const pageSize = systemInfo.getUint32(SYSTEM_INFO_PAGE_SIZE_OFFSET, true);
  const granularity = systemInfo.getUint32(SYSTEM_INFO_GRANULARITY_OFFSET, true);
  const wraps = new Wraps(native, pageSize);

  function reserve(byteLength: number, alignment: number): Address {
    assertReservation(byteLength, alignment, pageSize);
    if (alignment > granularity) return reserveAligned(byteLength, alignment);
    const address = VirtualAlloc(0, byteLength, MEM_RESERVE, PAGE_NOACCESS);
    if (address === 0) throw outOfMemory("reserve", byteLength, "VirtualAlloc", GetLastError());
    return address;
  }

  function reserveAligned(byteLength: number, alignment: number): Address {
    const room = byteLength + alignment - granularity;
    if (!Number.isSafeInteger(room)) {
      throw new OutOfMemoryError(`Cannot reserve ${byteLength} bytes: no address space has so many`, byteLength);
    }
    let code = 0;
    for (let attempt = 0; attempt < ALIGNED_ATTEMPTS; attempt++) {
      const place = VirtualAlloc(0, room, MEM_RESERVE, PAGE_NOACCESS);
      if (place === 0) throw outOfMemory("reserve", byteLength, "VirtualAlloc", GetLastError());
      if (VirtualFree(place, 0, MEM_RELEASE) === 0) {
        throw failure("unmap", place, room, "VirtualFree", GetLastError());
      }
      const address = VirtualAlloc(alignUp(place, alignment), byteLength, MEM_RESERVE, PAGE_NOACCESS);
      if (address !== 0) return address;
      code = GetLastError();
    }
    throw outOfMemory("reserve", byteLength, "VirtualAlloc", code);
  }

  function commit(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    commitPages("commit", address, byteLength);
  }

  function decommit(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    recallMemory(address, byteLength);
    free("decommit", address, byteLength, MEM_DECOMMIT, byteLength);
    if (wraps.hasEscaped(address, byteLength)) commitEscaped("decommit", address, byteLength);
  }

  function discard(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    free("discard", address, byteLength, MEM_DECOMMIT, byteLength);
    commitPages("discard", address, byteLength);
  }

  function commitPages(action: string, address: Address, byteLength: number): void {
    if (VirtualAlloc(address, byteLength, MEM_COMMIT, PAGE_READWRITE) === 0) {
      throw outOfMemory(action, byteLength, "VirtualAlloc", GetLastError(), address);
    }
  }

  /** Commits again what somebody may still see of a range that was decommitted. */
  function commitEscaped(action: string, address: Address, byteLength: number): void {
    for (const part of wraps.parts(address, byteLength)) {
      if (part.escaped) commitPages(action, part.address, part.byteLength);
    }
  }

  function protect(address: Address, byteLength: number, protection: Protection): void {
    assertPageRange(address, byteLength, pageSize);
    assertProtection(protection);
    if (VirtualProtect(address, byteLength, PROTECTIONS[protection], scratch) === 0) {
      throw failure("protect", address, byteLength, "VirtualProtect", GetLastError());
    }
  }

  function unmap(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, pageSize);
    recallMemory(address, byteLength);
    if (!wraps.hasEscaped(address, byteLength)) {
      free("unmap", address, 0, MEM_RELEASE, byteLength);
      return;
    }
    // Parts of a reservation cannot be released: the address space is lost. What escaped stays as it is, as native code can be
    // working on it at this moment.
    for (const part of wraps.parts(address, byteLength)) {
      if (!part.escaped) free("unmap", part.address, part.byteLength, MEM_DECOMMIT, byteLength);
    }
  }

  /** `VirtualFree`, throwing when it fails; `byteLength` is for the message. */
  function free(action: string, address: Address, size: number, type: number, byteLength: number): void {
    if (VirtualFree(address, size, type) === 0) {
      throw failure(action, address, byteLength, "VirtualFree", GetLastError());
    }
  }

  return {
    name: "VirtualAlloc",
    pageSize,
    granularity,
    lazy: true,
    reserve,
    commit,
    decommit,
    discard,
    protect,
    unmap,
    ...wraps.members(),
  };
}
