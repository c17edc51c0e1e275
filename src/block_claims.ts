/**
 * Claims: who builds on a block of somebody else's allocator is told before the block goes.
 *
 * A wrapper hands out ArrayBuffers of its own over blocks of the allocator that it wraps. Nothing keeps a program from
 * using that one directly: freeing such a block, rewinding the arena that it is in, disposing all. The memory would be
 * used again, or unmapped, under ArrayBuffers that are still attached, and an access to those would change a stranger's
 * block or end the process.
 *
 * ```text
 *   buffer() of the wrapper    ── claim ──────▶  inner allocator: the block is owned, as by a NativeBuffer of its own
 *   free() of the wrapper      ── endClaim ───▶  it is no more
 *
 *   free(), reset(), dispose of the inner one, by anybody
 *          1. its own checks                       what is refused here changes nothing
 *          2. recall() of the claim                the wrapper detaches its ArrayBuffer
 *          3. the block goes
 * ```
 *
 * Every allocator of this package keeps claims (`OwnedBlocks` does, for all of them). For one that does not, which a
 * program has written itself, the ArrayBuffer is lent instead: detached by the page source before it unmaps the memory
 * (lent_memory.ts), but not when the block is freed.
 *
 * @module
 */
import type { Address } from "./page_source.ts";

/** Whoever knows which blocks of an allocator are owned, and is asked before one goes. */
export interface ClaimKeeper {
  /** Whether the allocator frees every live block, and none is refused for what is found in it or around it. */
  readonly freesAnyLive: boolean;
  /**
   * Marks the live block at `address` as owned, and has `recall` called when it is about to go; the claim has ended then.
   *
   * @returns The `recall` of the claim before, which this one replaces.
   */
  claim(address: Address, recall: () => void): (() => void) | undefined;
  /** Ends a claim, and says whether there was one. */
  endClaim(address: Address): boolean;
}

/** The keepers of all allocators that have one; of an allocator with several, the one for an address. */
const keepers = new WeakMap<object, (address: Address) => ClaimKeeper>();

/** Has the keeper that `keeperOf` says keep the claims to blocks of `allocator`. */
export function keepClaims(allocator: object, keeperOf: (address: Address) => ClaimKeeper): void {
  keepers.set(allocator, keeperOf);
}

/** Who keeps claims to the block of `allocator` at `address`; undefined when nobody does. */
export function claimKeeper(allocator: object, address: Address): ClaimKeeper | undefined {
  return keepers.get(allocator)?.(address);
}

/**
 * Frees the block of `inner` at `address`, and calls `leave` when nothing can keep it from going any more: past the
 * checks of `inner`, before its memory is used again. Where nobody keeps claims, or the block is not owned and nothing can
 * be refused, `leave` is called first, as claims take as long as all else.
 *
 * @returns Whether the block went. Where claims are kept, false says that a violation was reported and the hook returned;
 * `leave` was not called then.
 */
export function freeClaimed(
  inner: { free(address: Address): void },
  address: Address,
  isOwned: boolean,
  leave: () => void,
): boolean {
  const keeper = claimKeeper(inner, address);
  if (keeper === undefined || (keeper.freesAnyLive && !isOwned)) {
    leave();
    inner.free(address);
    return true;
  }
  let isLeaving = false;
  const before = keeper.claim(address, () => {
    isLeaving = true;
    leave();
  });
  try {
    inner.free(address);
  } finally {
    // No claim is left either when the hook of violations has freed the block itself.
    if (!isLeaving && keeper.endClaim(address) && before !== undefined) keeper.claim(address, before);
  }
  return isLeaving;
}
