/**
 * Page sources that have no large pieces of address space, so that what needs more than one has to do with several, or none that
 * begins at a round place.
 *
 * @module
 */
import { type Address, OutOfMemoryError, type PageSource, systemPageSource } from "../../mod.ts";

const MIB = 2 ** 20;
const SHIFT = 65_536;

/** The system's memory, but no reservation above `most` bytes. */
export function scarceSource(most: number): PageSource {
  const source = systemPageSource();
  return {
    ...source,
    reserve(byteLength, alignment) {
      if (byteLength > most) throw new OutOfMemoryError(`Cannot reserve ${byteLength} bytes: too many`, byteLength);
      return source.reserve(byteLength, alignment);
    },
  };
}

/** The system's memory, but each reservation begins 64 KiB behind a multiple of a MiB: Linux prefers multiples of 2 MiB. */
export function unevenSource(): PageSource {
  const source = systemPageSource();
  const starts = new Map<Address, Address>();
  return {
    ...source,
    reserve(byteLength, alignment) {
      const start = source.reserve(byteLength + MIB, Math.max(alignment, MIB));
      starts.set(start + SHIFT, start);
      return start + SHIFT;
    },
    unmap(address, byteLength) {
      const start = starts.get(address);
      if (start === undefined) throw new Error(`${address} was not reserved here`);
      starts.delete(address);
      source.unmap(start, byteLength + MIB);
    },
  };
}

/**
 * The system's memory in reservations of 256 MiB at most: an emulator of other processors (qemu) keeps 220 MiB of records
 * for the 32 GiB that a heap would take, and never gives them back.
 */
export function modestSource(): PageSource {
  return scarceSource(2 ** 28);
}
