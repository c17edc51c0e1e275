/**
 * A page source whose pieces lie one behind the other: the growable buffer that a contiguous heap is made of.
 *
 * ```text
 *   reserved at once from the source below, costing nothing until it is used
 *   ├── piece ──┼─ piece ─┼───── piece ─────┼ ─ ─ ─ ─ ─ ─ ─ ─ not given out yet ─ ─ ─ ─ ─ ─ ┤
 *   start                                   end: the next piece begins here
 * ```
 *
 * Of pieces that are unmapped, what was committed is decommitted; the end goes down again when the last piece goes, and the whole reservation is given back
 * when the last of all pieces does. When it is full another one is made, which need not touch it.
 *
 * @module
 */
import { alignUp, assertSize } from "./arguments.ts";
import { formatAddress, OutOfMemoryError } from "./errors.ts";
import { assertPageRange, assertReservation } from "./page_arguments.ts";
import type { Address, PageSource } from "./page_source.ts";
import { RangeSet } from "./range_set.ts";

/** Address space of one reservation: as much as one ArrayBuffer covers on every runtime. */
const DEFAULT_RESERVATION = 2 ** 32;

/** One reservation of the source below. */
interface Reservation {
  readonly start: Address;
  readonly byteLength: number;
  /** Where the next piece begins. */
  end: Address;
  /** Length by address of the pieces that are held. */
  readonly pieces: Map<Address, number>;
}

/**
 * Makes a contiguous page source over another, which should be `lazy`. `byteLength` is how much address space it reserves
 * at a time; a larger request gets as much as it needs.
 */
export function contiguousPageSource(source: PageSource, byteLength: number = DEFAULT_RESERVATION): PageSource {
  assertSize(byteLength, "byteLength");
  const unit = source.granularity;
  const usual = Math.max(unit, alignUp(byteLength, unit));
  const reservations: Reservation[] = [];
  const committed = new RangeSet();

  function commit(address: Address, byteLength: number): void {
    source.commit(address, byteLength);
    committed.add(address, address + byteLength);
  }

  function decommit(address: Address, byteLength: number): void {
    source.decommit(address, byteLength);
    committed.remove(address, address + byteLength);
  }

  function reserve(byteLength: number, alignment: number): Address {
    assertReservation(byteLength, alignment, source.pageSize);
    const step = Math.max(alignment, unit);
    for (const reservation of reservations) {
      const address = alignUp(reservation.end, step);
      if (address + byteLength > reservation.start + reservation.byteLength) continue;
      reservation.pieces.set(address, byteLength);
      reservation.end = address + byteLength;
      return address;
    }
    const reservation = reserveAtLeast(alignUp(byteLength, unit), step);
    reservations.push(reservation);
    reservation.pieces.set(reservation.start, byteLength);
    reservation.end = reservation.start + byteLength;
    return reservation.start;
  }

  /** Halves what it asks for until it can be had: address space may be scarce. */
  function reserveAtLeast(least: number, alignment: number): Reservation {
    for (let wanted = Math.max(usual, least);; wanted = Math.max(alignUp(wanted / 2, unit), least)) {
      try {
        const start = source.reserve(wanted, alignment);
        return { start, byteLength: wanted, end: start, pieces: new Map() };
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || wanted === least) throw error;
      }
    }
  }

  function unmap(address: Address, byteLength: number): void {
    assertPageRange(address, byteLength, source.pageSize);
    const reservation = reservations.find(({ pieces }) => pieces.get(address) === byteLength);
    if (reservation === undefined) {
      throw new RangeError(`Cannot unmap ${byteLength} bytes at ${formatAddress(address)}: no such piece was reserved`);
    }
    const { pieces, start } = reservation;
    if (pieces.size === 1) {
      source.unmap(start, reservation.byteLength);
      committed.remove(start, start + reservation.byteLength);
      reservations.splice(reservations.indexOf(reservation), 1);
      return;
    }
    decommitWithin(address, address + byteLength);
    pieces.delete(address);
    if (reservation.end !== address + byteLength) return;
    let end = start;
    for (const [piece, length] of pieces) end = Math.max(end, piece + length);
    reservation.end = end;
  }

  /** Decommits what is committed from `start` to `end`: of a piece that could not be, nothing is. */
  function decommitWithin(start: Address, end: Address): void {
    let from = start;
    for (const [gapStart, gapEnd] of [...committed.gaps(start, end), [end, end] as const]) {
      if (gapStart > from) decommit(from, gapStart - from);
      from = gapEnd;
    }
  }

  // Its memory may not be mapped at all (the program break), and nobody has huge blocks in it.
  return { ...source, name: `contiguous ${source.name}`, move: undefined, reserve, commit, decommit, unmap };
}
