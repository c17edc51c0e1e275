/**
 * The memory of guarded blocks while they live: its commit, the ArrayBuffers over it, and the slack around it.
 *
 * ```text
 *   committed pages   ├──────── before ────────┼──────── block ────────┼──── behind ────┼─ ─ ─ ─ ┤
 *   wraps             ╰── one, ours alone ─────╯╰─ those of the views ─╯╰─ one, ours ───╯ after a
 *   holds               0xde, looked at again      the caller's           0xde             shrink
 * ```
 *
 * A block has an ArrayBuffer of its own from the start, so that a view of it cannot fail for want of memory; only those
 * of many MiB, which would make the garbage collector run, get it with their first view. `resize` adds another one of
 * the new length, and the old ones stay good until the block is freed: their memory stays accessible as long.
 *
 * @module
 */
import { wrapWhole } from "./commit_wrapped.ts";
import { copyMemory } from "./copy_memory.ts";
import { type CorruptionError, formatAddress } from "./errors.ts";
import type { GuardLayout } from "./guard_layout.ts";
import { detachedOutside, overrun, type ReportedBlock } from "./guard_reports.ts";
import type { Address, PageSource } from "./page_source.ts";
import { firstChanged, SLACK_BYTE } from "./poison.ts";
import { ReportedProblems } from "./reported_problems.ts";
import { throwAfterReport } from "./violations.ts";

/** An ArrayBuffer over a block. Its length is 0 when somebody transferred it, so `byteLength` says what was wrapped. */
interface GuardedWrap {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly byteLength: number;
}

/** One live block. */
export interface GuardedBlock extends ReportedBlock {
  /** Bytes asked for, and usable. */
  requestedSize: number;
  /** Alignment asked for. */
  readonly alignment: number;
  /** Where its reservation starts. */
  readonly base: Address;
  /** Where in the reservation it is. */
  readonly layout: GuardLayout;
  /** What views were given out on; the last is the current one if it has the right length. */
  readonly wraps: GuardedWrap[];
  /** The slack before the block. */
  before: Uint8Array<ArrayBuffer>;
  /** The slack behind the block, up to one OS page. */
  behind: Uint8Array<ArrayBuffer>;
}

/** Blocks up to this size are wrapped when they are allocated. */
const WRAPPED_UP_TO = 2 ** 26;

/** Nothing to wrap. */
const NO_BYTES = new Uint8Array(0);

/** The memory of all live blocks of one allocator. */
export class GuardedMemory {
  /** What was reported: of the slack of a block by the block, of its ArrayBuffers by its `wraps`. */
  readonly reported = new ReportedProblems();
  readonly #source: PageSource;
  /** Bytes of all wraps. */
  wrappedBytes = 0;

  /** Of blocks in reservations of `source`. */
  constructor(source: PageSource) {
    this.#source = source;
  }

  /** Brings a block about in the reservation at `base`, or leaves that as it was but for what is committed. */
  create(
    base: Address,
    layout: GuardLayout,
    requestedSize: number,
    alignment: number,
    allocatedAt: Error | undefined,
  ): GuardedBlock {
    const pages = base + layout.lead;
    const address = pages + layout.offset;
    if (layout.committed > 0) this.#source.commit(pages, layout.committed);
    const common = { address, requestedSize, alignment, base, layout, allocatedAt };
    const block: GuardedBlock = { ...common, wraps: [], before: NO_BYTES, behind: NO_BYTES };
    try {
      block.before = this.#wrapSlack(pages, layout.offset);
      block.behind = this.#wrapBehind(block, requestedSize);
      if (requestedSize <= WRAPPED_UP_TO) this.bytes(block);
    } catch (error) {
      this.detach(block);
      throw error;
    }
    return block;
  }

  /** Gives a block another size in place, within its committed pages; false when it does not fit there. */
  resize(block: GuardedBlock, size: number): boolean {
    const { address, base, layout, requestedSize } = block;
    const room = base + layout.lead + layout.committed - address;
    if (size > Math.max(0, room)) return false;
    if (size === requestedSize) return true;
    const wrap = size <= WRAPPED_UP_TO ? this.#wrap(address, size) : undefined;
    let behind: Uint8Array<ArrayBuffer>;
    try {
      behind = this.#wrapBehind(block, size);
    } catch (error) {
      if (wrap !== undefined) this.#unwrap(wrap);
      throw error;
    }
    this.#unwrap({ bytes: block.behind, byteLength: block.behind.byteLength });
    block.behind = behind;
    if (wrap !== undefined) block.wraps.push(wrap);
    block.requestedSize = size;
    return true;
  }

  /**
   * The bytes of a block, as an ArrayBuffer of its own.
   *
   * @throws {CorruptionError} When somebody has detached it.
   * @throws {RangeError} When the block is longer than the runtime can wrap.
   */
  bytes(block: GuardedBlock): Uint8Array<ArrayBuffer> {
    const { address, requestedSize, wraps } = block;
    const last = wraps[wraps.length - 1];
    if (last?.byteLength === requestedSize) {
      if (last.bytes.byteLength === requestedSize) return last.bytes;
      const problem = detachedOutside("view", block);
      this.reported.note(wraps, problem);
      throwAfterReport(problem);
    }
    const { maxWrapBytes } = this.#source;
    if (requestedSize > maxWrapBytes) {
      throw new RangeError(
        `Cannot view ${requestedSize} bytes at ${formatAddress(address)}: ` +
          `this runtime's largest ArrayBuffer has ${maxWrapBytes} bytes`,
      );
    }
    const wrap = this.#wrap(address, requestedSize);
    wraps.push(wrap);
    return wrap.bytes;
  }

  /** Copies `length` bytes between two places that are committed, whatever they are in. */
  copy(from: Address, to: Address, length: number): void {
    copyMemory(this.#source, from, to, length);
  }

  /** What is wrong with the slack of a block, if anything: its lowest byte that has changed. */
  damage(block: GuardedBlock, action: string): CorruptionError | undefined {
    const { requestedSize, before, behind } = block;
    const low = firstChanged(before, SLACK_BYTE);
    if (low !== -1) return overrun(action, block, low - before.length, SLACK_BYTE, before[low]!);
    const high = firstChanged(behind, SLACK_BYTE);
    return high === -1 ? undefined : overrun(action, block, requestedSize + high, SLACK_BYTE, behind[high]!);
  }

  /** Whether somebody has detached an ArrayBuffer of a block. */
  isDetached({ wraps }: GuardedBlock): boolean {
    return wraps.some(({ bytes, byteLength }) => bytes.byteLength !== byteLength);
  }

  /** Ends all wraps of a block: every view of it is empty then. */
  detach(block: GuardedBlock): void {
    for (const bytes of [block.before, block.behind]) this.#unwrap({ bytes, byteLength: bytes.byteLength });
    block.before = NO_BYTES;
    block.behind = NO_BYTES;
    for (const wrap of block.wraps.splice(0)) this.#unwrap(wrap);
  }

  /** Wraps and fills the slack between the end of a block of `size` bytes and that of its pages, up to one OS page. */
  #wrapBehind({ address, base, layout }: GuardedBlock, size: number): Uint8Array<ArrayBuffer> {
    const room = base + layout.lead + layout.committed - address - size;
    return this.#wrapSlack(address + size, Math.min(Math.max(0, room), this.#source.pageSize));
  }

  #wrapSlack(address: Address, byteLength: number): Uint8Array<ArrayBuffer> {
    return this.#wrap(address, byteLength).bytes.fill(SLACK_BYTE);
  }

  /** A wrap of no bytes is an error in one runtime and a null pointer in another. */
  #wrap(address: Address, byteLength: number): GuardedWrap {
    const bytes = byteLength === 0 ? new Uint8Array(0) : wrapWhole(this.#source, address, byteLength);
    this.wrappedBytes += byteLength;
    return { bytes, byteLength };
  }

  #unwrap({ bytes, byteLength }: GuardedWrap): void {
    this.wrappedBytes -= byteLength;
    // Also when somebody transferred it: the source must know that the memory is still seen.
    if (byteLength > 0) this.#source.unwrap(bytes);
  }
}
