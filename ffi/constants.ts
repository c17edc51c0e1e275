/**
 * The numbers that the C headers of each operating system give to the flags we pass.
 *
 * Sources: `asm-generic/mman-common.h` and `asm-generic/mman.h` (Linux, Android), `sys/mman.h` (macOS, FreeBSD),
 * `winnt.h` (Windows). `PROT_*`, `MAP_PRIVATE` and `MAP_FIXED` are the same on every POSIX system here; the rest
 * differs.
 *
 * @module
 */
import type { OperatingSystem } from "./detect.ts";

/** `PROT_NONE`: no access. */
export const PROT_NONE = 0x0;
/** `PROT_READ`. */
export const PROT_READ = 0x1;
/** `PROT_WRITE`. */
export const PROT_WRITE = 0x2;

/** `MAP_PRIVATE`: our own pages, not a file's. */
export const MAP_PRIVATE = 0x02;
/** `MAP_FIXED`: exactly here, replacing what is mapped there. */
export const MAP_FIXED = 0x10;

/** `MREMAP_MAYMOVE`: somewhere else, not only longer or shorter. Linux. */
export const MREMAP_MAYMOVE = 1;
/** `MREMAP_FIXED`: to the address given, replacing what is mapped there. Linux. */
export const MREMAP_FIXED = 2;
/** `MREMAP_DONTUNMAP`: what was moved from stays mapped, without contents. Linux 5.7. */
export const MREMAP_DONTUNMAP = 4;

/** Flags that differ between POSIX systems. */
export interface PosixConstants {
  /** `MAP_ANONYMOUS` (`MAP_ANON`): zero-filled memory with no file behind it. */
  readonly MAP_ANONYMOUS: number;
  /** `MAP_NORESERVE`: do not set swap space aside. 0 where the flag does not exist or does nothing. */
  readonly MAP_NORESERVE: number;
  /**
   * The `madvise` advice after which private anonymous memory reads as zero at once: `MADV_DONTNEED` of Linux.
   * Elsewhere the same name means "not soon", and `MADV_FREE` keeps old contents for a while, so there it is null and
   * `discard` maps fresh memory over the old.
   */
  readonly MADV_ZERO: number | null;
}

const LINUX: PosixConstants = { MAP_ANONYMOUS: 0x20, MAP_NORESERVE: 0x4000, MADV_ZERO: 4 };

/** The flags of each POSIX system. */
export const POSIX_CONSTANTS: { readonly [os in Exclude<OperatingSystem, "windows">]: PosixConstants } = {
  linux: LINUX,
  android: LINUX,
  macos: { MAP_ANONYMOUS: 0x1000, MAP_NORESERVE: 0x40, MADV_ZERO: null },
  freebsd: { MAP_ANONYMOUS: 0x1000, MAP_NORESERVE: 0, MADV_ZERO: null },
};

/** `MEM_COMMIT`. */
export const MEM_COMMIT = 0x1000;
/** `MEM_RESERVE`. */
export const MEM_RESERVE = 0x2000;
/** `MEM_DECOMMIT`. */
export const MEM_DECOMMIT = 0x4000;
/** `MEM_RELEASE`: the whole reservation, and only with size 0. */
export const MEM_RELEASE = 0x8000;

/** `PAGE_NOACCESS`. */
export const PAGE_NOACCESS = 0x01;
/** `PAGE_READONLY`. */
export const PAGE_READONLY = 0x02;
/** `PAGE_READWRITE`. */
export const PAGE_READWRITE = 0x04;

/** `offsetof(SYSTEM_INFO, dwPageSize)`, a DWORD. */
export const SYSTEM_INFO_PAGE_SIZE_OFFSET = 4;
/** `offsetof(SYSTEM_INFO, dwAllocationGranularity)`, a DWORD, on 64-bit Windows. */
export const SYSTEM_INFO_GRANULARITY_OFFSET = 40;
/** `sizeof(SYSTEM_INFO)` on 64-bit Windows. */
export const SYSTEM_INFO_BYTES = 48;
