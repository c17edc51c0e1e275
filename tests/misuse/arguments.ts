/**
 * Misuses with impossible sizes and alignments, and those that only a language with views has.
 *
 * @module
 */
import { ALL_SIZES, type Misuse, SMALL } from "./programs.ts";

const MISSED_BLOCK = "missed: gave a block";

export const IMPOSSIBLE_ARGUMENTS: readonly Misuse[] = [
  {
    name: "impossibly_large_malloc",
    what: "2^52 bytes are asked for",
    hardened: { impossibly_large_malloc: "ok" },
    bench: ["impossibly_large_malloc"],
    sizes: SMALL,
    run(scene) {
      scene.wrong(undefined, () => scene.allocator.allocate(2 ** 52));
      return MISSED_BLOCK;
    },
  },
  {
    name: "impossibly_large_realloc",
    what: "a block is to grow to 2^52 bytes",
    hardened: { impossibly_large_realloc: "unstated" },
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take();
      scene.wrong(undefined, () => block.resize(2 ** 52));
      return MISSED_BLOCK;
    },
  },
  {
    name: "calloc_overflow",
    what: "count times size is 2^64, which is 0 in 64 bits",
    hardened: { calloc_overflow: "ok", reallocarray_overflow: "unstated" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      scene.wrong(undefined, () => scene.allocator.array(Float64Array, 2 ** 61));
      return MISSED_BLOCK;
    },
  },
  {
    name: "count_overflow",
    what: "count times size is 2^53, the first number that is not exact",
    hardened: {},
    bench: [],
    sizes: SMALL,
    run(scene) {
      scene.wrong(undefined, () => scene.allocator.array(Float64Array, 2 ** 50));
      return MISSED_BLOCK;
    },
  },
  {
    name: "size_nan",
    what: "NaN bytes are asked for",
    hardened: {},
    bench: [],
    sizes: SMALL,
    run(scene) {
      scene.wrong(undefined, () => scene.allocator.allocate(NaN));
      return MISSED_BLOCK;
    },
  },
  {
    name: "size_negative",
    what: "-1 bytes are asked for",
    hardened: {},
    bench: [],
    sizes: SMALL,
    run(scene) {
      scene.wrong(undefined, () => scene.allocator.allocate(-1));
      return MISSED_BLOCK;
    },
  },
  {
    name: "aligned_alloc_einval",
    what: "an alignment of 3 is asked for",
    hardened: { aligned_alloc_einval: "unstated", posix_memalign_einval: "unstated" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      scene.wrong(undefined, () => scene.allocator.allocate(16, 3));
      return MISSED_BLOCK;
    },
  },
];

export const OF_VIEWS: readonly Misuse[] = [
  {
    name: "neighbour_through_buffer",
    what: "another block is read through the `buffer` of a block's view",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    modes: ["view", "buffer"],
    run(scene) {
      const block = scene.take();
      scene.take().write(0, 0x6f, scene.size);
      const { buffer, byteOffset } = block.look();
      const bytes = scene.wrong(undefined, () => new Uint8Array(buffer, byteOffset));
      return bytes.includes(0x6f, scene.size) ? "missed: reads another block" : "harmless: the buffer is the block";
    },
  },
  {
    name: "view_kept_after_free",
    what: "a view that was taken before is read after the block is freed",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    modes: ["view", "buffer"],
    run(scene) {
      const block = scene.take();
      const view = block.look().fill(0x73);
      scene.free(block);
      const byte = scene.wrong(undefined, () => view[0]);
      return byte === undefined ? "empty view" : "missed: reads the old contents";
    },
  },
  {
    name: "view_kept_after_dispose",
    what: "a view that was taken before is read after the allocator is disposed",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    modes: ["view", "buffer"],
    run(scene) {
      const view = scene.take().look().fill(0x73);
      scene.dispose();
      const byte = scene.wrong(undefined, () => view[0]);
      return byte === undefined ? "empty view" : "missed: reads the old contents";
    },
  },
  {
    name: "buffer_transferred",
    what: "the `buffer` of a view is transferred, and a view of the block asked for again",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    modes: ["view", "buffer"],
    ruins: true,
    run(scene) {
      const block = scene.take();
      const { address } = block;
      (block.look().buffer as ArrayBuffer).transfer();
      scene.forget(block);
      const isView = scene.mode.holding === "view";
      const view = scene.wrong(address, () => isView ? scene.allocator.view(address) : block.look());
      return view.length === scene.size ? "missed: viewed" : "broken: a short view";
    },
  },
];
