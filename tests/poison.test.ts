/**
 * Finding a changed byte, at every place and beside spans of every length.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { firstChanged, FREED_BYTE, SLACK_BYTE } from "../src/poison.ts";

describe("firstChanged()", () => {
  it("is -1 for a span that holds one value only, whatever its length and place", () => {
    for (const value of [SLACK_BYTE, FREED_BYTE, 0, 1, 0xff]) {
      const all = new Uint8Array(300).fill(value);
      for (let start = 0; start < 9; start++) {
        for (let length = 0; length <= 280; length++) {
          assertEquals(firstChanged(all.subarray(start, start + length), value), -1);
        }
      }
    }
  });

  it("finds a changed byte at every place, and the first of several", () => {
    const buffer = new Uint8Array(220);
    for (const start of [0, 1, 2, 3, 5]) {
      for (const length of [1, 3, 63, 64, 65, 67, 200]) {
        for (let place = 0; place < length; place++) {
          buffer.fill(SLACK_BYTE);
          const span = buffer.subarray(start, start + length);
          span[place] = SLACK_BYTE ^ 0x80;
          assertEquals(firstChanged(span, SLACK_BYTE), place);
          span[length - 1] = 0;
          assertEquals(firstChanged(span, SLACK_BYTE), place);
        }
      }
    }
  });

  it("does not look outside of its span", () => {
    const buffer = new Uint8Array(100);
    const span = buffer.subarray(10, 90).fill(FREED_BYTE);
    assertEquals(firstChanged(span, FREED_BYTE), -1);
  });
});
