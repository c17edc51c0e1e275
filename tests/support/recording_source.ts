/**
 * A page source that watches another: it counts what is held, refuses what the contract of `src/page_source.ts` forbids,
 * and fails on request. An allocator that is run on it cannot leak address space, unmap half a mapping or unmap under a
 * live view without a test failing.
 *
 * Ranges are kept as sorted, disjoint, merged intervals, so a 32 GiB reservation costs nothing.
 *
 * @module
 */
import { formatAddress, OutOfMemoryError } from "../../src/errors.ts";
import type { Address, PageSource, Protection } from "../../src/page_source.ts";

/** An allocator did to a page source what the contract forbids. */
export class ProtocolError extends Error {
  override name = "ProtocolError";
}

/** A set of bytes, as intervals. */
class Ranges {
  /** Start and end in turn, ascending; no interval is empty, and none touches the next. */
  #bounds: number[] = [];

  /** Bytes in the set. */
  total = 0;

  /** Adds all bytes from `start` to `end`. */
  add(start: number, end: number): void {
    this.clear(start, end);
    const bounds = this.#bounds;
    let i = 0;
    while (i < bounds.length && (bounds[i + 1] as number) < start) i += 2;
    let from = start;
    let to = end;
    let replaced = 0;
    if (i < bounds.length && bounds[i + 1] === start) {
      from = bounds[i] as number;
      replaced = 2;
    }
    if (i + replaced < bounds.length && bounds[i + replaced] === end) {
      to = bounds[i + replaced + 1] as number;
      replaced += 2;
    }
    bounds.splice(i, replaced, from, to);
    this.total += end - start;
  }

  /** Removes whatever bytes there are from `start` to `end`. */
  clear(start: number, end: number): void {
    const kept: number[] = [];
    for (let i = 0; i < this.#bounds.length; i += 2) {
      const low = this.#bounds[i] as number;
      const high = this.#bounds[i + 1] as number;
      if (low < start) kept.push(low, Math.min(high, start));
      if (high > end) kept.push(Math.max(low, end), high);
    }
    this.total -= this.within(start, end);
    this.#bounds = kept;
  }

  /** Whether all bytes are in the set. */
  contains(start: number, end: number): boolean {
    for (let i = 0; i < this.#bounds.length; i += 2) {
      if (start >= (this.#bounds[i] as number) && end <= (this.#bounds[i + 1] as number)) return true;
    }
    return false;
  }

  /** Bytes of the set from `start` to `end`. */
  within(start: number, end: number): number {
    let sum = 0;
    for (let i = 0; i < this.#bounds.length; i += 2) {
      sum += Math.max(0, Math.min(end, this.#bounds[i + 1] as number) - Math.max(start, this.#bounds[i] as number));
    }
    return sum;
  }
}

/**
 * One `wrap` that has not ended.
 *
 * One exception to the rule that what is wrapped must be unwrapped: a wrap of whole OS pages that a longer one of the same place
 * followed may be left to the garbage collector. Tables that grow do that; nobody but the allocator ever had the wrap, and
 * ending it would make every typed array of the process slower (see table.ts).
 */
interface Wrap {
  readonly address: Address;
  readonly byteLength: number;
  readonly mapping: Address;
  superseded: boolean;
}

/** One reservation. */
export interface RecordedMapping {
  /** Where it starts. */
  readonly address: Address;
  /** Its bytes. */
  readonly byteLength: number;
}

/** How a {@link Recorder} departs from the source it watches. */
export interface RecorderOptions {
  /** A multiple of the true one: simulates systems with larger OS pages. */
  pageSize?: number;
  /** Whether one wrap may cover several reservations that touch. @defaultValue false */
  joining?: boolean;
  /** As the arguments of {@link Recorder.failAfter}, from the start. */
  succeed?: number;
  /** As the arguments of {@link Recorder.failAfter}, from the start. */
  times?: number;
}

/** Watches a page source. Give {@link Recorder.source} to the allocator. */
export class Recorder {
  /** The watched source; a plain object. */
  readonly source: PageSource;
  readonly #joining: boolean;
  /** Every offence against the contract so far, also those whose exception somebody swallowed. */
  readonly violations: string[] = [];
  /** Calls of any method that changes something. */
  calls = 0;
  /** Calls of `reserve` and `commit`, those that failed included. */
  requests = 0;
  /** Calls of `reserve` and `commit` that failed, on request or by themselves. */
  failedRequests = 0;
  /** Calls of `move` that moved something. */
  moves = 0;
  /** Bytes that were given back by `decommit`, `discard` and the committed part of `unmap`, ever. */
  releasedBytes = 0;

  readonly #inner: PageSource;
  readonly #mappings = new Map<Address, RecordedMapping>();
  readonly #committed = new Ranges();
  readonly #wraps = new Map<Uint8Array, Wrap>();
  readonly #wrapsOfMapping = new Map<Address, Set<Uint8Array>>();
  #reservedBytes = 0;
  #wrappedBytes = 0;
  #succeed = Infinity;
  #failures = 0;

  /** Watches `inner`. */
  constructor(inner: PageSource, options: RecorderOptions = {}) {
    const pageSize = options.pageSize ?? inner.pageSize;
    this.#inner = inner;
    this.#joining = options.joining ?? false;
    if (options.succeed !== undefined) this.failAfter(options.succeed, options.times);
    this.source = {
      name: inner.name,
      pageSize,
      granularity: Math.max(pageSize, inner.granularity),
      maxWrapBytes: inner.maxWrapBytes,
      lazy: inner.lazy,
      isolating: inner.isolating,
      reserve: (byteLength, alignment) => this.#reserve(byteLength, alignment),
      commit: (address, byteLength) => this.#commit(address, byteLength),
      decommit: (address, byteLength) => this.#giveBack("decommit", address, byteLength),
      discard: (address, byteLength) => this.#giveBack("discard", address, byteLength),
      protect: (address, byteLength, protection) => this.#protect(address, byteLength, protection),
      unmap: (address, byteLength) => this.#unmap(address, byteLength),
      wrap: (address, byteLength) => this.#wrap(address, byteLength),
      unwrap: (bytes) => this.#unwrap(bytes),
      move: inner.move && ((from, to, byteLength) => this.#move(from, to, byteLength)),
      toPointer: (address) => inner.toPointer(address),
    };
  }

  /** The reservations that have not been unmapped. */
  mappings(): RecordedMapping[] {
    return [...this.#mappings.values()];
  }

  /** Bytes of address space held. */
  get reservedBytes(): number {
    return this.#reservedBytes;
  }

  /** Bytes committed. */
  get committedBytes(): number {
    return this.#committed.total;
  }

  /** Bytes wrapped; what is wrapped twice counts twice. */
  get wrappedBytes(): number {
    return this.#wrappedBytes;
  }

  /** Whether all these bytes are committed. */
  isCommitted(address: Address, byteLength: number): boolean {
    return this.#committed.contains(address, address + byteLength);
  }

  /** From now on `succeed` reserve and commit requests succeed and the next `times` fail. */
  failAfter(succeed: number, times = Infinity): void {
    this.#succeed = succeed;
    this.#failures = times;
  }

  /** From now on no request fails on purpose. */
  rearm(): void {
    this.failAfter(Infinity, 0);
  }

  /** What is held or was done wrong, as a sentence; empty when all was given back and nothing was wrong. */
  complaint(): string {
    const found = [...this.violations];
    for (const mapping of this.#mappings.values()) {
      found.push(`${formatAddress(mapping.address)} (${mapping.byteLength} bytes) was never unmapped`);
    }
    for (const wrap of this.#wraps.values()) {
      if (wrap.superseded) continue;
      found.push(`the wrap of ${formatAddress(wrap.address)} (${wrap.byteLength} bytes) never ended`);
    }
    return found.slice(0, 5).join("; ");
  }

  #request(action: string, byteLength: number): void {
    this.calls++;
    this.requests++;
    if (this.#succeed > 0) {
      this.#succeed--;
      return;
    }
    if (this.#failures <= 0) return;
    this.#failures--;
    this.failedRequests++;
    throw new OutOfMemoryError(`Cannot ${action} ${byteLength} bytes: a failure was injected`, byteLength);
  }

  #offence(message: string): never {
    this.violations.push(message);
    throw new ProtocolError(message);
  }

  #assertPages(action: string, address: Address, byteLength: number): void {
    const unit = this.source.pageSize;
    if (!(byteLength > 0 && byteLength % unit === 0 && address % unit === 0)) {
      this.#offence(`${action} ${formatAddress(address)}, ${byteLength} bytes: not whole OS pages of ${unit} bytes`);
    }
  }

  #assertCommitted(action: string, address: Address, byteLength: number): void {
    this.#assertPages(action, address, byteLength);
    if (!this.isCommitted(address, byteLength)) {
      this.#offence(`${action} ${formatAddress(address)}, ${byteLength} bytes: not committed`);
    }
  }

  #assertUnwrapped(action: string, address: Address, byteLength: number): void {
    const holder = this.#holder(address, byteLength);
    if (holder === undefined) return;
    for (const bytes of this.#wrapsOfMapping.get(holder.address) ?? []) {
      const wrap = this.#wraps.get(bytes) as Wrap;
      if (wrap.superseded) continue;
      if (wrap.address < address + byteLength && wrap.address + wrap.byteLength > address) {
        this.#offence(`${action} ${formatAddress(address)}, ${byteLength} bytes: still wrapped`);
      }
    }
  }

  #holder(address: Address, byteLength: number): RecordedMapping | undefined {
    const exact = this.#mappings.get(address);
    if (exact !== undefined && byteLength <= exact.byteLength) return exact;
    for (const mapping of this.#mappings.values()) {
      if (address >= mapping.address && address + byteLength <= mapping.address + mapping.byteLength) return mapping;
    }
    return undefined;
  }

  #reserve(byteLength: number, alignment: number): Address {
    this.#assertPages("reserve", 0, byteLength);
    this.#request("reserve", byteLength);
    let address: Address;
    try {
      address = this.#inner.reserve(byteLength, Math.max(alignment, this.source.pageSize));
    } catch (error) {
      this.failedRequests++;
      throw error;
    }
    if (address === 0 || address % alignment !== 0) {
      this.#offence(`the source reserved ${formatAddress(address)} for alignment ${alignment}`);
    }
    this.#mappings.set(address, { address, byteLength });
    this.#wrapsOfMapping.set(address, new Set());
    this.#reservedBytes += byteLength;
    return address;
  }

  #commit(address: Address, byteLength: number): void {
    this.#assertPages("commit", address, byteLength);
    if (this.#holder(address, byteLength) === undefined) {
      this.#offence(`commit ${formatAddress(address)}, ${byteLength} bytes: not inside one reservation`);
    }
    this.#request("commit", byteLength);
    try {
      this.#inner.commit(address, byteLength);
    } catch (error) {
      this.failedRequests++;
      throw error;
    }
    this.#committed.add(address, address + byteLength);
  }

  #giveBack(action: "decommit" | "discard", address: Address, byteLength: number): void {
    this.calls++;
    this.#assertCommitted(action, address, byteLength);
    if (action === "decommit") this.#assertUnwrapped(action, address, byteLength);
    this.#inner[action](address, byteLength);
    if (action === "decommit") this.#committed.clear(address, address + byteLength);
    this.releasedBytes += byteLength;
  }

  #protect(address: Address, byteLength: number, protection: Protection): void {
    this.calls++;
    this.#assertCommitted("protect", address, byteLength);
    this.#inner.protect(address, byteLength, protection);
  }

  #move(from: Address, to: Address, byteLength: number): boolean {
    this.calls++;
    this.#assertCommitted("move from", from, byteLength);
    this.#assertCommitted("move to", to, byteLength);
    if (from < to + byteLength && to < from + byteLength) {
      this.#offence(`move ${byteLength} bytes from ${formatAddress(from)} to ${formatAddress(to)}: they overlap`);
    }
    const isMoved = this.#inner.move!(from, to, byteLength);
    if (isMoved) this.moves++;
    return isMoved;
  }

  #unmap(address: Address, byteLength: number): void {
    this.calls++;
    const mapping = this.#mappings.get(address);
    if (mapping === undefined || mapping.byteLength !== byteLength) {
      this.#offence(`unmap ${formatAddress(address)}, ${byteLength} bytes: not exactly one reservation`);
    }
    this.#assertUnwrapped("unmap", address, byteLength);
    this.#inner.unmap(address, byteLength);
    this.#mappings.delete(address);
    this.#wrapsOfMapping.delete(address);
    this.#reservedBytes -= byteLength;
    this.releasedBytes += this.#committed.within(address, address + byteLength);
    this.#committed.clear(address, address + byteLength);
  }

  #wrap(address: Address, byteLength: number): Uint8Array<ArrayBuffer> {
    this.calls++;
    const holder = this.#holder(address, this.#joining ? 1 : byteLength);
    if (holder === undefined || !this.isCommitted(address, byteLength)) {
      this.#offence(`wrap ${formatAddress(address)}, ${byteLength} bytes: not committed, or not one reservation`);
    }
    const bytes = this.#inner.wrap(address, byteLength);
    this.#supersede(holder, address, byteLength);
    this.#wraps.set(bytes, { address, byteLength, mapping: holder.address, superseded: false });
    this.#wrapsOfMapping.get(holder.address)?.add(bytes);
    this.#wrappedBytes += byteLength;
    return bytes;
  }

  #supersede(holder: RecordedMapping, address: Address, byteLength: number): void {
    const { pageSize } = this.source;
    if (byteLength % pageSize !== 0) return;
    for (const bytes of this.#wrapsOfMapping.get(holder.address) ?? []) {
      const wrap = this.#wraps.get(bytes) as Wrap;
      const isShorter = wrap.address === address && wrap.byteLength % pageSize === 0 && wrap.byteLength < byteLength;
      if (!isShorter || wrap.superseded) continue;
      wrap.superseded = true;
      this.#wrappedBytes -= wrap.byteLength;
    }
  }

  #unwrap(bytes: Uint8Array): void {
    this.calls++;
    const wrap = this.#wraps.get(bytes);
    if (wrap === undefined) this.#offence("unwrap of a view that no wrap made, or whose wrap has ended");
    this.#inner.unwrap(bytes);
    this.#wraps.delete(bytes);
    this.#wrapsOfMapping.get(wrap.mapping)?.delete(bytes);
    if (!wrap.superseded) this.#wrappedBytes -= wrap.byteLength;
  }
}
