/**
 * Misuses with an address that is not that of a live block, and with a size that is not that of the block.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import type { Address } from "../../mod.ts";
import type { Misuse } from "./programs.ts";
import { ALL_SIZES, SMALL } from "./programs.ts";
import type { Scene } from "./scene.ts";

const MISSED_FREE = "missed: freed";
const MISSED_ANSWER = "missed: answered";

/** `free(address, size, alignment)`: allocators without the sized form take no notice of what follows the address. */
type SizedFree = (address: Address, size: number, alignment?: number) => void;

export const BAD_FREES: readonly Misuse[] = [
  {
    name: "double_free",
    what: "a block is freed twice in a row",
    hardened: { double_free_small: "abort", double_free_large: "abort" },
    bench: ["double_free", "double_free_reuse"],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.free(block);
      scene.wrong(block.address, () => block.free());
      return MISSED_FREE;
    },
  },
  {
    name: "double_free_interleaved",
    what: "freed twice, with the free of another block between",
    hardened: { double_free_small_delayed: "abort", double_free_large_delayed: "abort" },
    bench: ["double_free_interleaved", "double_free_delayed"],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      const other = scene.take();
      scene.free(block);
      scene.free(other);
      scene.wrong(block.address, () => block.free());
      return MISSED_FREE;
    },
  },
  {
    name: "double_free_single_reuse",
    what: "freed, allocated by somebody else, freed by the first owner; then by the second",
    hardened: {},
    bench: ["double_free_single_reuse"],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.free(block);
      scene.take();
      scene.wrong(undefined, () => block.free());
      return MISSED_FREE;
    },
  },
  {
    name: "invalid_free",
    what: "address 1 is freed",
    hardened: {},
    bench: ["invalid_free"],
    sizes: SMALL,
    run(scene) {
      scene.take();
      scene.wrong(1, () => scene.allocator.free(1));
      return MISSED_FREE;
    },
  },
  {
    name: "invalid_free_stack",
    what: "an address on the stack is freed",
    hardened: {},
    bench: ["invalid_free_stack", "invalid_free_alloca"],
    sizes: SMALL,
    needs: "linux",
    run(scene) {
      const stack = stackAddress();
      scene.wrong(stack, () => scene.allocator.free(stack));
      return MISSED_FREE;
    },
  },
  {
    name: "invalid_free_unprotected",
    what: "memory is freed that was mapped without the allocator",
    hardened: { invalid_free_unprotected: "abort" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      const foreign = scene.map(scene.source.pageSize);
      scene.wrong(foreign, () => scene.allocator.free(foreign));
      return MISSED_FREE;
    },
  },
  {
    name: "invalid_free_protected",
    what: "the same, and the memory is inaccessible",
    hardened: { invalid_free_protected: "abort" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      const foreign = scene.map(scene.source.pageSize);
      scene.source.protect(foreign, scene.source.pageSize, "none");
      scene.wrong(foreign, () => scene.allocator.free(foreign));
      return MISSED_FREE;
    },
  },
  {
    name: "invalid_free_close",
    what: "the address 4 KiB after a block is freed",
    hardened: { invalid_free_small_region: "abort" },
    bench: ["invalid_free_close"],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.wrong(block.address + 4096, () => block.freeAt(4096));
      return MISSED_FREE;
    },
  },
  {
    name: "invalid_free_far",
    what: "the address 1 GiB after a block is freed",
    hardened: { invalid_free_small_region_far: "abort" },
    bench: ["invalid_free_far"],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.wrong(block.address + 2 ** 30, () => block.freeAt(2 ** 30));
      return MISSED_FREE;
    },
  },
  ...[1, 8, 16].map((offset): Misuse => ({
    name: offset === 1 ? "invalid_free_unaligned" : offset === 8 ? "invalid_free_unaligned_multiple" : "interior_free",
    what: `the address ${offset} byte${offset === 1 ? "" : "s"} inside a block is freed`,
    hardened: offset === 1 ? { unaligned_free_small: "abort", unaligned_free_large: "abort" } : {},
    bench: offset === 1 ? ["invalid_free_unaligned"] : offset === 8 ? ["invalid_free_unaligned_multiple"] : [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.wrong(block.address + offset, () => block.freeAt(offset));
      return MISSED_FREE;
    },
  })),
  {
    name: "free_in_another_allocator",
    what: "a block is freed in another allocator of the same kind",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const other = scene.mode.make(scene.source);
      try {
        const address = other.allocate(scene.size);
        scene.wrong(address, () => scene.allocator.free(address));
        return MISSED_FREE;
      } finally {
        other[Symbol.dispose]();
      }
    },
  },
  {
    name: "free_after_dispose",
    what: "a block is freed after its allocator was disposed",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.dispose();
      scene.wrong(undefined, () => block.free());
      return MISSED_FREE;
    },
  },
  {
    name: "uninitialized_free",
    what: "a variable that holds nothing yet is freed",
    hardened: { uninitialized_free: "abort" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      let nothing: Address | undefined;
      scene.wrong(undefined, () => scene.allocator.free(nothing as Address));
      return MISSED_FREE;
    },
  },
  {
    name: "uninitialized_realloc",
    what: "such a variable is reallocated",
    hardened: { uninitialized_realloc: "abort" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      let nothing: Address | undefined;
      scene.wrong(undefined, () => scene.allocator.reallocate(nothing as Address, 16));
      return MISSED_ANSWER;
    },
  },
  {
    name: "uninitialized_malloc_usable_size",
    what: "the size of such a variable's block is asked for",
    hardened: { uninitialized_malloc_usable_size: "abort" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      let nothing: Address | undefined;
      scene.wrong(undefined, () => scene.allocator.usableSize(nothing as Address));
      return MISSED_ANSWER;
    },
  },
  {
    name: "invalid_malloc_usable_size_small",
    what: "the size of a block is asked for that was never allocated, 16 KiB after one",
    hardened: { invalid_malloc_usable_size_small: "abort" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      const block = scene.take();
      scene.wrong(block.address + 16384, () => block.measure(16384));
      return MISSED_ANSWER;
    },
  },
  {
    name: "invalid_malloc_usable_size_small_quarantine",
    what: "the size of a freed block is asked for",
    hardened: { invalid_malloc_usable_size_small_quarantine: "abort" },
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.free(block);
      scene.wrong(block.address, () => block.measure());
      return MISSED_ANSWER;
    },
  },
  {
    name: "unaligned_malloc_usable_size_small",
    what: "the size of a block is asked for by the address of its second byte",
    hardened: { unaligned_malloc_usable_size_small: "abort" },
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.wrong(block.address + 1, () => block.measure(1));
      return MISSED_ANSWER;
    },
  },
  {
    name: "realloc_after_free",
    what: "a freed block is reallocated",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.free(block);
      scene.wrong(block.address, () => block.resize(scene.size * 2));
      return MISSED_ANSWER;
    },
  },
  {
    name: "view_after_free",
    what: "a view of a freed block is asked for",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.free(block);
      scene.wrong(block.address, () => block.look());
      return MISSED_ANSWER;
    },
  },
  {
    name: "delete_type_size_mismatch",
    what: "`free(address, size)` with a size one too small",
    hardened: { delete_type_size_mismatch: "abort" },
    bench: ["delete_type_size_mismatch"],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.wrong(block.address, () => sizedFree(scene)(block.address, scene.size - 1));
      scene.forget(block);
      return "missed: freed, the size is not looked at";
    },
  },
  {
    name: "invalid_aligned_sized_delete",
    what: "`free(address, size, alignment)` with another alignment",
    hardened: {
      invalid_aligned_sized_delete_small: "abort",
      invalid_aligned_sized_delete_large: "abort",
      invalid_free_aligned_sized_small: "unstated",
    },
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.wrong(block.address, () => sizedFree(scene)(block.address, scene.size, 4096));
      scene.forget(block);
      return "missed: freed, the alignment is not looked at";
    },
  },
];

function sizedFree({ allocator }: Scene): SizedFree {
  return allocator.free.bind(allocator) as SizedFree;
}

/** The lowest address of the main thread's stack. */
function stackAddress(): Address {
  const line = readFileSync("/proc/self/maps", "utf8").split("\n").find((text) => text.endsWith("[stack]"));
  if (line === undefined) throw new Error("Cannot find the stack in /proc/self/maps");
  return Number.parseInt(line, 16);
}
