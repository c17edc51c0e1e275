/**
 * A page source without large pieces of address space: what needs more than one has to do with several.
 *
 * @module
 */
import { OutOfMemoryError, type PageSource, systemPageSource } from "../../mod.ts";

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

/**
 * The system's memory in reservations of 256 MiB at most: an emulator of other processors (qemu) keeps 220 MiB of records
 * for the 32 GiB that a heap would take, and never gives them back.
 */
export function modestSource(): PageSource {
  return scarceSource(2 ** 28);
}
