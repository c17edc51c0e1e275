/**
 * Which blocks are live, grouped by the stack that allocated them: as data, and as text.
 *
 * ```text
 *   2 sites, 4 blocks, 3,016 bytes are not freed
 *
 *   3,000 bytes in 3 blocks: 0x7f62a8000010 (1,000), 0x7f62a8000420 (1,000), 0x7f62a8000830 (1,000)
 *       at readAll (file:///app/main.ts:10:23)
 *       at file:///app/main.ts:31:1
 *
 *   16 bytes in 1 block: 0x7f62a8000c40
 *       at file:///app/main.ts:33:6
 * ```
 *
 * Stacks are read here and not before, 8 to 55 us each the first time: a report of many blocks takes its time.
 *
 * @module
 */
import { formatFrames, framesOf, type StackFrame } from "./allocation_site.ts";
import { formatAddress } from "./errors.ts";
import type { Address } from "./page_source.ts";

/** Addresses in the text of one site. */
const SHOWN_BLOCKS = 4;

/** A live block in a {@link LeakReport}. */
export interface LeakedBlock {
  /** Where it starts. */
  readonly address: Address;
  /** The bytes that were asked for. */
  readonly size: number;
  /** The alignment in bytes. */
  readonly alignment: number;
  /** Blocks are numbered in the order of their allocation, from 1. */
  readonly number: number;
}

/** A block with the stack of its allocation. */
export interface TracedBlock extends LeakedBlock {
  /** The stack, when stacks are recorded. */
  readonly allocatedAt: Error | undefined;
}

/** The live blocks that one stack allocated. */
export interface LeakSite {
  /** The stack, innermost call first; empty when stacks are not recorded. */
  readonly frames: readonly StackFrame[];
  /** Count of the blocks. */
  readonly count: number;
  /** Bytes asked for by all of them. */
  readonly bytes: number;
  /** The blocks, oldest first. */
  readonly blocks: readonly LeakedBlock[];
}

/** The live blocks of an allocator. `${report}` is the text. */
export interface LeakReport {
  /** Count of the blocks. */
  readonly count: number;
  /** Bytes asked for by all of them. */
  readonly bytes: number;
  /** By the stack that allocated them: most bytes first, then most blocks. */
  readonly sites: readonly LeakSite[];
  /** The report as text, several lines. */
  toString(): string;
}

/** Groups blocks by their stacks. */
export function leakReport(blocks: Iterable<TracedBlock>, depth: number): LeakReport {
  const sites = new Map<string, { frames: StackFrame[]; bytes: number; blocks: LeakedBlock[] }>();
  let [count, bytes] = [0, 0];
  for (const { address, size, alignment, number, allocatedAt } of blocks) {
    const frames = framesOf(allocatedAt, depth);
    const key = formatFrames(frames);
    let site = sites.get(key);
    if (site === undefined) sites.set(key, site = { frames, bytes: 0, blocks: [] });
    site.blocks.push({ address, size, alignment, number });
    site.bytes += size;
    count++;
    bytes += size;
  }
  const sorted = [...sites.values()]
    .map((site) => ({
      frames: site.frames,
      count: site.blocks.length,
      bytes: site.bytes,
      blocks: site.blocks.sort((a, b) => a.number - b.number),
    }))
    .sort((a, b) => b.bytes - a.bytes || b.count - a.count || a.blocks[0]!.number - b.blocks[0]!.number);
  return {
    count,
    bytes,
    sites: sorted,
    toString() {
      return formatLeaks(this);
    },
  };
}

/** A leak report as text. */
export function formatLeaks({ count, bytes, sites }: LeakReport): string {
  if (count === 0) return "0 blocks are not freed";
  const total = [many(sites.length, "site"), many(count, "block"), many(bytes, "byte")].join(", ");
  const lines = [`${total} are not freed`];
  for (const site of sites) {
    lines.push("", `${many(site.bytes, "byte")} in ${many(site.count, "block")}: ${formatBlocks(site)}`);
    lines.push(formatFrames(site.frames) || "    (no stack was recorded)");
  }
  return lines.join("\n");
}

function formatBlocks({ count, blocks }: LeakSite): string {
  const shown = blocks.slice(0, SHOWN_BLOCKS).map(({ address, size }) => {
    return count === 1 ? formatAddress(address) : `${formatAddress(address)} (${formatCount(size)})`;
  });
  if (count > shown.length) shown.push(`${formatCount(count - shown.length)} more`);
  return shown.join(", ");
}

function many(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** With commas, whatever the locale of the machine. */
function formatCount(count: number): string {
  return `${count}`.replace(/\B(?=(\d{3})+$)/g, ",");
}
