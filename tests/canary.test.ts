/**
 * The bytes around a block: where they are drawn, and that each one that changes is found.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  CANARY,
  CANARY_SIZE,
  drawCanaries,
  drawTail,
  expectedByte,
  findDamage,
  overwrite,
  WATCHED_MAX,
  watchedEnd,
} from "../src/canary.ts";
import { SLACK_BYTE } from "../src/poison.ts";

/** A block in the middle of 0x11, which nobody may touch. */
function drawn(front: number, size: number, padding: number, at = 0): Uint8Array {
  const whole = new Uint8Array(at + front + size + CANARY_SIZE + padding).fill(0x11);
  const bytes = whole.subarray(at);
  drawCanaries(bytes, { front, size });
  return bytes;
}

describe("canaries", () => {
  it("are 16 bytes on either side to the byte, then padding, and leave the block alone", () => {
    const bytes = drawn(16, 5, 11);
    assertEquals([...bytes], [
      ...Array(16).fill(CANARY),
      ...Array(5).fill(0x11),
      ...Array(16).fill(CANARY),
      ...Array(11).fill(SLACK_BYTE),
    ]);
    assertEquals(findDamage(bytes, { front: 16, size: 5 }), -1);
  });

  it("find every single byte that changes, whatever the alignment of the memory, and only those", () => {
    for (const at of [0, 1, 2, 3]) {
      for (const [front, size, padding] of [[16, 0, 0], [16, 3, 1], [64, 10, 100], [256, 33, 259]] as const) {
        const bytes = drawn(front, size, padding, at);
        for (let i = 0; i < bytes.length; i++) {
          const before = bytes[i]!;
          const isWatched = i < front || i >= front + size;
          bytes[i] = before ^ 1;
          assertEquals(findDamage(bytes, { front, size }), isWatched ? i : -1);
          if (isWatched) assertEquals(expectedByte(i, { front, size }), before);
          bytes[i] = before;
        }
      }
    }
  });

  it("give the lowest of several bytes", () => {
    const bytes = drawn(16, 8, 40);
    bytes[50] = bytes[24] = bytes[70] = 1;
    assertEquals(findDamage(bytes, { front: 16, size: 8 }), 24);
    bytes[3] = 1;
    assertEquals(findDamage(bytes, { front: 16, size: 8 }), 3);
  });

  it("watch at most 64 KiB on either side, the nearest", () => {
    const front = WATCHED_MAX + 4096;
    assertEquals(watchedEnd({ front, size: 100 }, 1e9), front + 100 + WATCHED_MAX);
    assertEquals(watchedEnd({ front: 16, size: 100 }, 150), 150);
    const bytes = drawn(front, 100, 0);
    assertEquals([bytes[4095], bytes[4096], bytes[front - 1], bytes[front]], [0x11, CANARY, CANARY, 0x11]);
    bytes[4095] = 1;
    assertEquals(findDamage(bytes, { front, size: 100 }), -1);
    bytes[4096] = 1;
    assertEquals(findDamage(bytes, { front, size: 100 }), 4096);
    overwrite(bytes, { front, size: 100 }, 0xdf);
    assertEquals([bytes[4095], bytes[4096], bytes.at(-1)], [1, 0xdf, 0xdf]);
  });

  it("are drawn anew behind a block that has another size", () => {
    const bytes = drawn(16, 32, 8);
    drawTail(bytes, 16 + 9);
    assertEquals(findDamage(bytes, { front: 16, size: 9 }), -1);
    assertEquals(findDamage(bytes, { front: 16, size: 32 }), 48);
  });
});
