/**
 * Size classes: the table, and what it promises of waste and alignment.
 *
 * @module
 */
import { assert, assertEquals, fail } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { CURRENT, LAST, pageTableBytes, PARTIAL } from "../src/page_table.ts";
import { BIN_COUNT } from "../src/run_bins.ts";
import { ABANDONED, ABANDONED_END, BINS, REGIONS } from "../src/shared_layout.ts";
import {
  BY_GRANULE_MAX,
  CLASS_COUNT,
  CLASS_GRANULES,
  CLASS_OF,
  CLASS_SLOTS,
  classFor,
  FIRST_ENTRY,
  GRANULE,
  LAST_ENTRY,
  PAGE_GRANULES,
  PAGE_SIZE,
  SIZE_ENTRIES,
  sizeEntry,
  SMALL_ALIGNMENT_MAX,
  SMALL_MAX,
} from "../src/size_class.ts";

describe("size classes", () => {
  it("have room in the headers of both tables: no list of theirs reaches into the next", () => {
    const places = [PARTIAL, PARTIAL + CLASS_COUNT, LAST, LAST + CLASS_COUNT, CURRENT, CURRENT + SIZE_ENTRIES];
    assertEquals(places, places.toSorted((a, b) => a - b), "page_table.ts");
    assert(CURRENT + SIZE_ENTRIES <= pageTableBytes(0) / 4, "page_table.ts, end of the header");
    const shared = [BINS, BINS + BIN_COUNT, ABANDONED, ABANDONED_END, REGIONS];
    assertEquals(shared, shared.toSorted((a, b) => a - b), "shared_layout.ts");
  });

  it("have entries of their own in a table by size: each size of a class is between its first and last one", () => {
    assertEquals([FIRST_ENTRY[0], LAST_ENTRY[CLASS_COUNT - 1]], [0, SIZE_ENTRIES - 1]);
    for (let sizeClass = 1; sizeClass < CLASS_COUNT; sizeClass++) {
      assertEquals(FIRST_ENTRY[sizeClass], LAST_ENTRY[sizeClass - 1]! + 1, `class ${sizeClass}`);
    }
    for (let size = 0; size <= SMALL_MAX; size++) {
      const sizeClass = CLASS_OF[(size + 15) >>> 4]!;
      const entry = sizeEntry(size);
      if (entry < FIRST_ENTRY[sizeClass]! || entry > LAST_ENTRY[sizeClass]!) fail(`${size} bytes: entry ${entry}`);
      if (size <= BY_GRANULE_MAX) assertEquals(entry, (size + 15) >>> 4);
    }
  });

  it("are these 48", () => {
    const sizes = [...CLASS_GRANULES].map((granules) => granules * GRANULE);
    const expected = [16, 32, 48, 64, 80, 96, 112, 128];
    for (let base = 128; base < SMALL_MAX; base *= 2) {
      const step = base === 256 || base >= 4096 ? base / 8 : base / 4;
      for (let size = base + step; size <= base * 2; size += step) expected.push(size);
    }
    assertEquals(sizes, expected);
    assertEquals(sizes.length, CLASS_COUNT);
    assertEquals(sizes.at(-1), SMALL_MAX);
  });

  it("have as many slots as fit a page of 64 KiB, but one less of 16 bytes", () => {
    assertEquals(PAGE_GRANULES * GRANULE, PAGE_SIZE);
    assertEquals(CLASS_SLOTS[0], 4095);
    for (let sizeClass = 1; sizeClass < CLASS_COUNT; sizeClass++) {
      assertEquals(CLASS_SLOTS[sizeClass], Math.floor(PAGE_SIZE / (CLASS_GRANULES[sizeClass]! * GRANULE)));
    }
  });

  it("every size gets the least class that holds it", () => {
    for (let size = 0; size <= SMALL_MAX; size++) {
      const sizeClass = CLASS_OF[(size + 15) >>> 4]!;
      assert(CLASS_GRANULES[sizeClass]! * GRANULE >= size, `${size}`);
      assert(sizeClass === 0 || CLASS_GRANULES[sizeClass - 1]! * GRANULE < size, `${size}`);
      assertEquals(classFor(size, 16), sizeClass);
    }
  });

  it("waste less than a fifth of a block above 128 bytes, a ninth from 256 to 512 bytes and above 4 KiB, 16 bytes of a smaller one", () => {
    for (let size = 1; size <= SMALL_MAX; size++) {
      const block = CLASS_GRANULES[classFor(size, 1)]! * GRANULE;
      const part = size > 4096 || size > 256 && size <= 512 ? 9 : 5;
      assert(size <= 128 ? block - size < 16 : block - size < block / part, `${size} in ${block}`);
    }
  });

  it("classFor() gives the least class of which all blocks are aligned", () => {
    for (let alignment = 1; alignment <= SMALL_ALIGNMENT_MAX; alignment *= 2) {
      for (let size = 0; size <= SMALL_MAX; size += 13) {
        const least = [...CLASS_GRANULES].findIndex((granules) =>
          granules * GRANULE >= size && granules * GRANULE % alignment === 0
        );
        assertEquals(classFor(size, alignment), least, `${size} at ${alignment}`);
      }
    }
  });

  it("classFor() gives -1 for what only a run can hold", () => {
    assertEquals(classFor(SMALL_MAX, 1024), CLASS_COUNT - 1);
    assertEquals(classFor(SMALL_MAX + 1, 16), -1);
    assertEquals(classFor(0, 2048), -1);
    assertEquals(classFor(2 ** 53 - 1, 16), -1);
    assertEquals(classFor(1, 2 ** 30), -1);
  });
});
