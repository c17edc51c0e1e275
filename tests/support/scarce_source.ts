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
