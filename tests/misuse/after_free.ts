/**
 * Misuses of memory that is freed, and of memory that was never written.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import type { Held } from "./holders.ts";
import { ALL_SIZES, type Misuse, SMALL } from "./programs.ts";
import type { Scene } from "./scene.ts";

/** What the first owner of a block writes, and the second. */
const OLD = 0x73;
const NEW = 0x6e;
/** The most that is read of a block. */
const READ_BYTES = 4096;

/** A block with contents. Another one stays live, so that nothing is given back because it is the last. */
function takeFilled(scene: Scene): Held {
  scene.take();
  const block = scene.take();
  block.write(0, OLD, scene.size);
  return block;
}

/** The first bytes of a block, however it is held. */
function readStart(scene: Scene, block: Held): Uint8Array {
  return block.read(0, Math.min(scene.size, READ_BYTES));
}

/** What a read showed. */
function contents(bytes: Uint8Array): string {
  if (bytes.length === 0) return "empty view";
  if (bytes.includes(NEW)) return "missed: reads the next owner's contents";
  if (bytes.includes(OLD)) return "missed: reads the old contents";
  if (bytes.every((byte) => byte === 0)) return "harmless: reads zeros";
  const [first] = bytes;
  return bytes.every((byte) => byte === first)
    ? `harmless: reads the fill 0x${first!.toString(16)}`
    : "missed: reads remains";
}

/** What a write came to. */
function written(count: number): string {
  return count === 0 ? "empty view" : "missed: written";
}

export const AFTER_FREE: readonly Misuse[] = [
  {
    name: "read_after_free",
    what: "a freed block is read",
    hardened: { read_after_free_small: "ok", read_after_free_large: "fault" },
    bench: ["zero_after_free"],
    sizes: ALL_SIZES,
    run(scene) {
      const block = takeFilled(scene);
      scene.free(block);
      return contents(scene.wrong(undefined, () => readStart(scene, block)));
    },
  },
  {
    name: "read_after_reuse",
    what: "a freed block is read after somebody else got a block of its size and wrote it",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = takeFilled(scene);
      scene.free(block);
      scene.take().write(0, NEW, scene.size);
      return contents(scene.wrong(undefined, () => readStart(scene, block)));
    },
  },
  {
    name: "write_after_free",
    what: "a freed block is written; then blocks of its size come and go",
    hardened: {
      write_after_free_small: "abort",
      write_after_free_small_reuse: "abort",
      write_after_free_large: "fault",
      write_after_free_large_reuse: "fault",
    },
    bench: ["write_after_free", "write_after_free_reuse"],
    sizes: ALL_SIZES,
    run(scene) {
      const block = takeFilled(scene);
      scene.free(block);
      return written(scene.wrong(undefined, () => block.write(Math.min(24, scene.size - 1), OLD, 1)));
    },
  },
  {
    name: "write_after_realloc",
    what: "a block is reallocated to 16 times its size, and its old place is written",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = takeFilled(scene);
      scene.take();
      const grown = scene.resize(block, scene.size * 16);
      if (grown.address === block.address) return inPlace(scene);
      return written(scene.wrong(undefined, () => block.write(24, OLD, 1)));
    },
  },
  {
    name: "use_after_dispose",
    what: "a block is read after its allocator was disposed",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = takeFilled(scene);
      scene.dispose();
      return contents(scene.wrong(undefined, () => readStart(scene, block)));
    },
  },
  {
    name: "malloc_reuse",
    what: "a block is freed: is the next one of its size at the same address?",
    hardened: {},
    bench: ["malloc_reuse"],
    sizes: ALL_SIZES,
    run: (scene) => reuse(scene, scene.size),
  },
  {
    name: "malloc_reuse_downsize",
    what: "the same, and the next one is half as large",
    hardened: {},
    bench: ["malloc_reuse_downsize"],
    sizes: ALL_SIZES,
    run: (scene) => reuse(scene, scene.size / 2),
  },
  {
    name: "realloc_reuse",
    what: "a block of 8 bytes is reallocated to 1 KiB: is what it was given out again at once?",
    hardened: {},
    bench: ["realloc_reuse"],
    sizes: SMALL,
    run(scene) {
      const block = scene.take(8);
      scene.take(8);
      const grown = scene.resize(block, 1024);
      if (grown.address === block.address) return inPlace(scene);
      const next = scene.wrong(undefined, () => scene.take(8));
      return next.address === block.address ? "missed: reused at once" : "harmless: another address";
    },
  },
  {
    name: "malloc_noreuse",
    what: "a block of no bytes is held: does a block of 64 bytes get its address?",
    hardened: { malloc_noreuse: "ok" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      const empty = scene.take(0);
      return scene.wrong(undefined, () => {
        for (let i = 0; i < 512; i++) {
          const block = scene.take(64);
          if (block.address === empty.address) return "missed: handed out twice";
          scene.free(block);
        }
        return "harmless: another address";
      });
    },
  },
  {
    name: "uninitialized_read",
    what: "a new block is read, where a freed one was",
    hardened: { uninitialized_read_small: "ok", uninitialized_read_large: "ok" },
    bench: ["zero_on_malloc"],
    sizes: ALL_SIZES,
    run(scene) {
      scene.free(takeFilled(scene));
      const block = scene.take();
      return contents(scene.wrong(undefined, () => readStart(scene, block)));
    },
  },
  {
    name: "calloc_zeroed",
    what: "the same, and zeroed memory was asked for",
    hardened: { calloc_zeroed: "ok" },
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      scene.free(takeFilled(scene));
      const block = scene.take(scene.size, { zeroed: true });
      return contents(scene.wrong(undefined, () => readStart(scene, block)));
    },
  },
  {
    name: "read_zero_size",
    what: "a byte of a block of no bytes is read",
    hardened: { read_zero_size: "fault" },
    bench: ["read_zero_size", "read_zero_size_free"],
    sizes: SMALL,
    run(scene) {
      const block = scene.take(0);
      const bytes = scene.wrong(undefined, () => block.read(0, 1));
      return bytes.length === 0 ? "harmless: no such index" : "missed: reads remains";
    },
  },
  {
    name: "write_zero_size",
    what: "a byte of a block of no bytes is written",
    hardened: { write_zero_size: "fault" },
    bench: ["write_zero_size", "write_zero_size_free"],
    sizes: SMALL,
    run(scene) {
      const block = scene.take(0);
      const count = scene.wrong(undefined, () => block.write(0, OLD, 1));
      return count === 0 ? "harmless: no such index" : "missed: written";
    },
  },
  {
    name: "malloc_zero_different",
    what: "two blocks of no bytes: are they told apart?",
    hardened: { malloc_zero_different: "ok" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      const [first, second] = scene.wrong(undefined, () => [scene.take(0), scene.take(0)] as const);
      return first.address === second.address ? "missed: the same address" : "harmless: another address";
    },
  },
  {
    name: "executable_heap",
    what: "is the memory of a block executable?",
    hardened: {},
    bench: ["executable_heap"],
    sizes: ALL_SIZES,
    needs: "linux",
    run(scene) {
      const block = takeFilled(scene);
      const permissions = scene.wrong(undefined, () => permissionsAt(block.address));
      return permissions.includes("x") ? "missed: executable" : "harmless: not executable";
    },
  },
];

/** A block that grew where it is: its old place is its own, and nothing can go wrong. */
function inPlace(scene: Scene): string {
  return scene.wrong(undefined, () => "harmless: grown in place");
}

function reuse(scene: Scene, size: number): string {
  const block = scene.take();
  scene.free(block);
  const next = scene.wrong(undefined, () => scene.take(size));
  return next.address === block.address ? "missed: reused at once" : "harmless: another address";
}

/** Such as `rw-p`. */
function permissionsAt(address: number): string {
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    const [, start = "", end = "", permissions = ""] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? [];
    if (Number.parseInt(start, 16) <= address && address < Number.parseInt(end, 16)) return permissions;
  }
  throw new Error("Cannot find the block in /proc/self/maps");
}
