/**
 * A budget around another page source: at most so many bytes at a time.
 *
 * What counts is what costs memory. Where reserving is free (`lazy`), that is every committed byte, once, however often
 * it is committed; where a byte reserved is a byte spent, it is every reserved byte, and committing it costs nothing more.
 * Memory counts until it is decommitted or its reservation ends, so the ranges are tracked exactly.
 *
 * @module
 */
import { assertSize } from "./arguments.ts";
import { OutOfMemoryError } from "./errors.ts";
import type { Address, PageSource } from "./page_source.ts";
import { RangeSet } from "./range_set.ts";

/** A page source with a budget. */
export interface LimitedPageSource extends PageSource {
  /** The budget in bytes. */
  readonly limit: number;
  /** Bytes that count against the budget now. A copy made by spread keeps the number it was copied with. */
  readonly committedBytes: number;
}

/**
 * Memory of `source`, but at most `bytes` of it at a time. A request that would pass the budget throws
 * `OutOfMemoryError` and does not reach `source`; one that reaches it exactly succeeds.
 *
 * @throws {RangeError} When `bytes` is not a whole number of bytes; `Infinity` is no limit.
 */
export function limitedPageSource(source: PageSource, bytes: number): LimitedPageSource {
  if (bytes !== Infinity) assertSize(bytes, "limit");
  /** What counts against the budget. */
  const spent = new RangeSet();

  function assertBudget(action: string, byteLength: number, additional: number): void {
    if (spent.total + additional > bytes) {
      throw new OutOfMemoryError(
        `Cannot ${action} ${byteLength} bytes: ${spent.total} of the limit of ${bytes} bytes are in use`,
        byteLength,
        bytes,
      );
    }
  }

  function reserve(byteLength: number, alignment: number): Address {
    if (source.lazy) return source.reserve(byteLength, alignment);
    assertSize(byteLength, "byteLength");
    assertBudget("reserve", byteLength, byteLength);
    const address = source.reserve(byteLength, alignment);
    spent.add(address, address + byteLength);
    return address;
  }

  function commit(address: Address, byteLength: number): void {
    const end = address + byteLength;
    if (!source.lazy) return source.commit(address, byteLength);
    assertSize(byteLength, "byteLength");
    assertBudget("commit", byteLength, byteLength - spent.covered(address, end));
    source.commit(address, byteLength);
    spent.add(address, end);
  }

  function decommit(address: Address, byteLength: number): void {
    source.decommit(address, byteLength);
    if (source.lazy) spent.remove(address, address + byteLength);
  }

  function unmap(address: Address, byteLength: number): void {
    source.unmap(address, byteLength);
    spent.remove(address, address + byteLength);
  }

  // Written out rather than spread: a source of the user's may be an instance of a class.
  return {
    name: `limited ${source.name}`,
    pageSize: source.pageSize,
    granularity: source.granularity,
    maxWrapBytes: source.maxWrapBytes,
    lazy: source.lazy,
    isolating: source.isolating,
    limit: bytes,
    get committedBytes() {
      return spent.total;
    },
    reserve,
    commit,
    decommit,
    discard(address, byteLength) {
      source.discard(address, byteLength);
    },
    protect(address, byteLength, protection) {
      source.protect(address, byteLength, protection);
    },
    unmap,
    wrap(address, byteLength) {
      return source.wrap(address, byteLength);
    },
    unwrap(bytes) {
      source.unwrap(bytes);
    },
    move(from, to, byteLength) {
      return source.move?.(from, to, byteLength) ?? false;
    },
    toPointer(address) {
      return source.toPointer(address);
    },
  };
}
