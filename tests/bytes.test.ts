/**
 * Copying and clearing inside wrapped memory, beside a plain loop.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { clearBytes, copyBytes, type WrappedBytes, wrappedBytes } from "../src/bytes.ts";

/** Both sides of the lengths at which another method is used. */
const LENGTHS = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 127, 128, 129, 132, 200, 255, 256, 257, 264, 1000];

/** 2 KiB of a pattern without zeros, at an offset in a larger buffer. */
function patterned(seed: number): WrappedBytes {
  const bytes = new Uint8Array(new ArrayBuffer(4096), 64, 2048);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 1 + ((i * 7 + seed) % 251);
  return wrappedBytes(bytes);
}

describe("wrappedBytes()", () => {
  it("has views of one span, cut to whole words", () => {
    const bytes = new Uint8Array(new ArrayBuffer(100), 8, 30);
    const { buffer, byteOffset, words, doubles } = wrappedBytes(bytes);
    assertEquals([buffer === bytes.buffer, byteOffset], [true, 8]);
    assertEquals([words.byteOffset, words.length, doubles.byteOffset, doubles.length], [8, 7, 8, 3]);
  });
});

describe("copyBytes()", () => {
  it("copies between two pieces, and touches at most three bytes behind the end and none before", () => {
    for (const length of LENGTHS) {
      const source = patterned(1);
      const target = patterned(100);
      const before = target.bytes.slice();
      copyBytes(source, 64, target, 32, length);
      assertEquals(target.bytes.slice(32, 32 + length), source.bytes.slice(64, 64 + length), `${length}`);
      const end = 32 + Math.ceil(length / 4) * 4;
      assertEquals(target.bytes.slice(0, 32), before.slice(0, 32), `before ${length}`);
      assertEquals(target.bytes.slice(end), before.slice(end), `behind ${length}`);
    }
  });

  it("copies within one piece, apart and overlapping in both directions", () => {
    for (const length of LENGTHS) {
      for (
        const [from, to] of [[0, 1024], [1024, 0], [64, 68], [68, 64], [64, 80], [80, 64], [64, 64], [0, length & ~3]]
      ) {
        const piece = patterned(3);
        const expected = piece.bytes.slice(from, from! + length);
        copyBytes(piece, from!, piece, to!, length);
        assertEquals(piece.bytes.slice(to, to! + length), expected, `${length} from ${from} to ${to}`);
      }
    }
  });

  it("keeps the bits of every NaN", () => {
    const patterns = [
      0x7ff0000000000001n,
      0x7ff7ffffffffffffn,
      0xfff0000000000001n,
      0x7ff8000000000000n,
      0xffffffffffffffffn,
    ];
    for (const count of [5, 16, 100]) {
      const source = patterned(0);
      const target = patterned(1);
      const from = new BigUint64Array(source.buffer, source.byteOffset, count);
      for (let i = 0; i < count; i++) from[i] = patterns[i % patterns.length]!;
      copyBytes(source, 0, target, 16, count * 8);
      assertEquals(new BigUint64Array(target.buffer, target.byteOffset + 16, count), from);
    }
  });
});

describe("clearBytes()", () => {
  it("clears, and touches at most seven bytes behind the end and none before", () => {
    for (const length of LENGTHS) {
      const target = patterned(9);
      const before = target.bytes.slice();
      clearBytes(target, 40, length);
      assertEquals(target.bytes.slice(40, 40 + length), new Uint8Array(length), `${length}`);
      const end = 40 + Math.ceil(length / 8) * 8;
      assertEquals(target.bytes.slice(0, 40), before.slice(0, 40), `before ${length}`);
      assertEquals(target.bytes.slice(end), before.slice(end), `behind ${length}`);
    }
  });
});
