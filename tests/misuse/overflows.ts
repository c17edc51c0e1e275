/**
 * Misuses that reach beyond the ends of a live block.
 *
 * Each has a block before and one after that are somebody else's, so that there is something to hit. `jump` changes one
 * byte at a distance, as an index that is wrong does; `memcpy` writes everything from the end of the block to there, as a
 * length that is wrong does.
 *
 * @module
 */
import type { Held } from "./holders.ts";
import { ALL_SIZES, ANY_SIZE, LARGE_ONLY, type Misuse, SMALL } from "./programs.ts";
import type { Scene } from "./scene.ts";

/** What the blocks of others hold. */
const OTHERS = 0x6f;
const MIB = 2 ** 20;
/** What the misuse writes. */
const WRITTEN = 0x41;

const DISTANCES = [[1, "one_byte"], [8, "8_byte"], [32, "32_byte"], [MIB, "one_mbyte"]] as const;

/** The block in the middle of three, whose neighbours are filled, with memory in use beyond them. */
function takeBetween(scene: Scene): Held {
  scene.take(2 * MIB);
  const before = scene.take();
  const block = scene.take();
  const after = scene.take();
  for (const other of [before, after]) other.write(0, OTHERS, scene.size);
  block.write(0, 0x20, scene.size);
  return block;
}

/** What to say of a write that nobody stopped. */
function verdict(written: number): string {
  return written === 0 ? "harmless: no such index" : "missed: written";
}

/** Changes one byte, whatever it was, as a XOR does. */
function flip(block: Held, offset: number): string {
  const [byte = 0] = block.read(offset, 1);
  return verdict(block.write(offset, byte ^ WRITTEN, 1));
}

function jumps(): Misuse[] {
  return DISTANCES.flatMap(([distance, name]): Misuse[] => {
    const hardened = distance === 1
      ? { overflow_small_1_byte: "abort", overflow_large_1_byte: "fault" } as const
      : distance === 8
      ? { overflow_small_8_byte: "abort", overflow_large_8_byte: "fault" } as const
      : {};
    const amount = distance === MIB ? "1 MiB" : `${distance} byte${distance === 1 ? "" : "s"}`;
    const bench = distance === 8 ? [] : [name];
    return [
      {
        name: `${name}_overflow`,
        what: `one byte is changed, ${amount} after the last`,
        hardened,
        bench: bench.map((name) => `${name}_overflow`),
        sizes: distance === 1 ? ANY_SIZE : ALL_SIZES,
        run(scene) {
          const block = takeBetween(scene);
          return scene.wrong(undefined, () => flip(block, scene.size - 1 + distance));
        },
      },
      {
        name: `${name}_underflow`,
        what: `one byte is changed, ${amount} before the first`,
        hardened: {},
        bench: bench.map((name) => `${name}_underflow`),
        sizes: distance === 1 ? ANY_SIZE : ALL_SIZES,
        run(scene) {
          const block = takeBetween(scene);
          return scene.wrong(undefined, () => flip(block, -distance));
        },
      },
    ];
  });
}

function copies(): Misuse[] {
  return DISTANCES.filter(([distance]) => distance !== 8).flatMap(([distance, name]): Misuse[] => {
    const amount = distance === MIB ? "1 MiB" : `${distance} byte${distance === 1 ? "" : "s"}`;
    return [
      {
        name: `${name}_memcpy_overflow`,
        what: `\`memcpy\` goes on for ${amount} after the end`,
        hardened: {},
        bench: [`${name}_memcpy_overflow`],
        sizes: distance === 1 ? ANY_SIZE : ALL_SIZES,
        run(scene) {
          const block = takeBetween(scene);
          return scene.wrong(undefined, () => verdict(block.copyIn(scene.size - 16, WRITTEN, 16 + distance)));
        },
      },
      {
        name: `${name}_memcpy_underflow`,
        what: `\`memcpy\` begins ${amount} before the start`,
        hardened: {},
        bench: [`${name}_memcpy_underflow`],
        sizes: distance === 1 ? ANY_SIZE : ALL_SIZES,
        run(scene) {
          const block = takeBetween(scene);
          return scene.wrong(undefined, () => verdict(block.copyIn(-distance, WRITTEN, distance + 16)));
        },
      },
    ];
  });
}

export const OVERFLOWS: readonly Misuse[] = [
  ...jumps(),
  ...copies(),
  {
    name: "overflow_large_aligned",
    what: "one byte is written after the end of a block that is aligned to 4 KiB",
    hardened: { overflow_large_aligned: "unstated" },
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.take(scene.size, { alignment: 4096 });
      scene.take().write(0, OTHERS, scene.size);
      return scene.wrong(undefined, () => flip(block, scene.size));
    },
  },
  {
    name: "overflow_realloc_shrink_large",
    what: "a block is shrunk to half, and the byte after its new end is written",
    hardened: { overflow_realloc_shrink_large: "unstated" },
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = scene.resize(takeBetween(scene), scene.size / 2);
      return scene.wrong(undefined, () => flip(block, scene.size / 2));
    },
  },
  {
    name: "read_overflow",
    what: "the byte after the end is read, where somebody else's block is",
    hardened: {},
    bench: [],
    sizes: ALL_SIZES,
    run(scene) {
      const block = takeBetween(scene);
      const [byte] = scene.wrong(undefined, () => block.read(scene.size, 1));
      if (byte === undefined) return "harmless: no such index";
      return "missed: reads another block";
    },
  },
  {
    name: "string_overflow",
    what: "a text without an end is measured: `strlen` stops at the first zero byte",
    hardened: { string_overflow: "ok" },
    bench: [],
    sizes: SMALL,
    run(scene) {
      const block = takeBetween(scene);
      const length = scene.wrong(undefined, () => block.textLength());
      return length === scene.size ? "harmless: ends where the block ends" : "missed: runs on into other memory";
    },
  },
  {
    name: "read_after_realloc_shrink_large",
    what: "a block is shrunk to 4 KiB, and what follows its new end is read",
    hardened: { read_after_realloc_shrink_large: "unstated" },
    bench: [],
    sizes: LARGE_ONLY,
    run(scene) {
      const block = takeBetween(scene);
      const shrunk = scene.resize(block, 4096);
      const bytes = scene.wrong(undefined, () => shrunk.read(4096, 64));
      if (bytes.length === 0) return "harmless: no such index";
      return bytes.includes(0x20) ? "missed: reads the old contents" : "missed: reads other memory";
    },
  },
];
