/**
 * The system's memory, arranged so that what a misuse hits beyond an allocator's own mappings is the same in every run.
 *
 * ```text
 *   ├──── fence, 2 MiB ────┼──── what the allocator reserved ────┼──── fence, 2 MiB ────┤
 *     readable, writable      exactly as the system gives it        readable, writable
 * ```
 *
 * Elsewhere in a process there is other memory beyond a mapping, or there is none; which one is chance. Here there always
 * is: a fault means that the allocator made the page inaccessible, and not that the program was lucky. For the same
 * reason what is unmapped stays reserved until {@link FencedSource.close}, as inaccessible as before: nothing else can
 * be mapped there meanwhile and be hit.
 *
 * @module
 */
import { type Address, type PageSource, systemPageSource } from "../../mod.ts";

/** Bytes of a fence: more than the longest overflow, 1 MiB. */
const FENCE = 2 * 2 ** 20;

/** A page source with fences. */
export interface FencedSource extends PageSource {
  /** Gives everything back, what was unmapped and what was not. */
  close(): void;
}

/** Fences around each reservation of the system's page source. */
export function fencedSource(): FencedSource {
  const system = systemPageSource();
  /** What was reserved of the system: address and length. */
  const outer: [Address, number][] = [];

  function reserve(byteLength: number, alignment: number): Address {
    const before = Math.max(FENCE, alignment);
    const whole = before + byteLength + FENCE;
    const start = system.reserve(whole, alignment);
    outer.push([start, whole]);
    const address = start + before;
    system.commit(address - FENCE, FENCE);
    system.commit(address + byteLength, FENCE);
    // Not zero, so that a text does not end just there.
    const edge = system.wrap(address + byteLength, system.pageSize);
    edge.fill(0x66);
    system.unwrap(edge);
    return address;
  }

  return {
    ...system,
    name: `fenced ${system.name}`,
    reserve,
    unmap(address, byteLength) {
      system.decommit(address, byteLength);
    },
    close() {
      for (const [address, byteLength] of outer.splice(0)) system.unmap(address, byteLength);
    },
  };
}
