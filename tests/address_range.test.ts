/**
 * Address ranges: regions, their growth, what is fresh, what `trim` takes away, and what `check` finds.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  failingPageSource,
  fixedPageSource,
  limitedPageSource,
  OutOfMemoryError,
  type PageSource,
  systemPageSource,
} from "../mod.ts";
import { RANGE_MAX } from "../src/address_range.ts";
import { CorruptionError } from "../src/errors.ts";
import { STATE } from "../src/page_table.ts";
import { LARGE_RUN, PAGE_RUN, UNIT } from "../src/run_record.ts";
import { Prng } from "./support/prng.ts";
import { Recorder } from "./support/recording_source.ts";
import { disposeRange, rangeOver, recordedRange } from "./support/ranges.ts";
import { scarceSource } from "./support/scarce_source.ts";

const MIB = 2 ** 20;

describe("AddressRange", () => {
  it("reserves and commits nothing for blocks until they are taken", () => {
    const { range, recorder, complaint } = recordedRange(systemPageSource(), 2 ** 26);
    assertEquals([range.byteLength, range.committedBytes, range.regions.length], [2 ** 26, 0, 0]);
    assertEquals(range.base % 65_536, 0);
    assert(recorder.committedBytes < 65_536);
    range.check();
    assertEquals(complaint(), "");
  });

  it("is never so long that a place in its tables has no 32-bit number, nor ends within an OS page of 2 MiB", () => {
    const lastRecord = RANGE_MAX / UNIT - 16 + STATE;
    assert(lastRecord * 256 + 255 < 2 ** 31, `record at ${lastRecord}`);
    assertEquals(RANGE_MAX % (2 * MIB), 0);
  });

  it("halves what it reserves until the source agrees", () => {
    const { range, complaint } = recordedRange(scarceSource(5 * MIB), RANGE_MAX);
    assert(range.byteLength <= 4 * MIB && range.byteLength > 3.9 * MIB, `${range.byteLength} bytes`);
    assertEquals(complaint(), "");
  });

  it("throws OutOfMemoryError when less than the least is to be had", () => {
    const recorder = new Recorder(scarceSource(5 * MIB));
    assertThrows(() => rangeOver(recorder.source, RANGE_MAX, 6 * MIB), OutOfMemoryError, "too many");
    assertEquals(recorder.complaint(), "");
  });

  it("gives everything back when its tables cannot be had", () => {
    for (let requests = 0; requests < 4; requests++) {
      const recorder = new Recorder(systemPageSource());
      const source = failingPageSource(recorder.source, requests);
      assertThrows(() => rangeOver(source, 2 ** 26, 2 ** 26), OutOfMemoryError, "fails on purpose");
      assertEquals(recorder.complaint(), "", `after ${requests} requests`);
    }
  });

  it("regions start at 1 MiB and double the range each time", () => {
    const { range, complaint } = recordedRange(systemPageSource(), 2 ** 26);
    const lengths: number[] = [];
    while (range.committedBytes < 30 * MIB) {
      assert(range.take(128, 16, LARGE_RUN) !== -1);
      range.check();
    }
    for (const region of range.regions) lengths.push(region.bytes.byteLength / MIB);
    assertEquals(lengths, [1, 2, 4, 8, 16]);
    assertEquals(range.endUnit, 31 * 256);
    assertEquals(complaint(), "");
  });

  it("a region is as long as the run that needs it", () => {
    const { range, complaint } = recordedRange(systemPageSource(), 2 ** 26);
    assertEquals(range.take(1024, 16, LARGE_RUN), 0);
    assertEquals(range.regions.map(({ bytes }) => bytes.byteLength), [4 * MIB]);
    range.check();
    assertEquals(complaint(), "");
  });

  it("a region is shorter when the source has less, down to the run alone", () => {
    const { range, complaint } = recordedRange(limitedPageSource(systemPageSource(), MIB), 2 ** 26);
    assertEquals(range.take(40, 16, LARGE_RUN), 0);
    assertEquals(range.regions[0]!.bytes.byteLength, MIB / 2);
    assert(range.take(90, 16, LARGE_RUN) !== -1);
    range.check();
    assertEquals(range.take(256, 16, LARGE_RUN), -1);
    assert(range.failure!.message.includes("limit"));
    range.check();
    assertEquals(complaint(), "");
  });

  it("take() gives -1 when the range is full", () => {
    const { range, complaint } = recordedRange(systemPageSource(), MIB);
    assertEquals(range.take(257, 16, LARGE_RUN), -1);
    assertEquals(range.take(256, 16, LARGE_RUN), 0);
    assertEquals(range.take(1, 16, LARGE_RUN), -1);
    range.check();
    assertEquals(complaint(), "");
  });

  it("take() aligns addresses, not units", () => {
    const inner = fixedPageSource(new ArrayBuffer(8 * MIB));
    // The range begins at an odd multiple of 64 KiB.
    inner.reserve(65_536, 16);
    const { range, complaint } = recordedRange(inner, 4 * MIB);
    for (let alignment = 16; alignment <= MIB; alignment *= 2) {
      const unit = range.take(3, alignment, LARGE_RUN);
      assert(unit !== -1);
      assertEquals((range.base + unit * UNIT) % alignment, 0);
      range.check();
    }
    assertEquals(complaint(), "");
  });

  it("nothing is left of a region that could not be committed or wrapped", () => {
    for (const operation of ["commit", "wrap"] as const) {
      const recorder = new Recorder(systemPageSource());
      const source = failingPageSource(recorder.source, Infinity, { operations: [operation] });
      const range = rangeOver(source, 2 ** 26, UNIT);
      // The tables have been made long enough by a first region.
      range.take(1, 16, LARGE_RUN);
      const committed = recorder.committedBytes;
      source.rearm(0);
      assertEquals(range.take(300, 16, LARGE_RUN), -1);
      assertEquals(range.regions.length, 1);
      // Tables may stay longer: the next attempt needs them.
      assert(
        recorder.committedBytes - committed < 2 ** 17,
        `${recorder.committedBytes - committed} bytes stay committed`,
      );
      range.check();
      source.rearm(Infinity);
      assert(range.take(300, 16, LARGE_RUN) !== -1);
      range.check();
      disposeRange(range);
      assertEquals(recorder.complaint(), "");
    }
  });

  it("regionOf() finds the region of every unit, also where regions share a page, and after trim()", () => {
    const fixed = fixedPageSource(new ArrayBuffer(MIB));
    let most = 0;
    const pressed: PageSource = {
      ...fixed,
      commit(address, byteLength) {
        if (byteLength > most) throw new OutOfMemoryError(`Cannot commit ${byteLength} bytes: too many`, byteLength);
        fixed.commit(address, byteLength);
      },
    };
    const { range, complaint } = recordedRange(pressed, MIB);
    // Each region gets only what its run needs: all larger ones are refused.
    for (const count of [5, 7, 3, 20, 30, 2]) {
      most = count * UNIT;
      assert(range.take(count, 16, LARGE_RUN) !== -1);
    }
    const verify = (): void => {
      for (const region of range.regions) {
        for (let unit = region.firstUnit; unit < region.endUnit; unit++) {
          assert(range.regionOf(unit) === region, `unit ${unit} of ${region.index}`);
        }
      }
      range.check();
    };
    assertEquals(range.regions.map(({ firstUnit }) => firstUnit), [0, 5, 12, 15, 35, 65]);
    verify();
    for (const last of range.regions.toReversed()) {
      range.release(last.firstUnit);
      range.trim();
      assertEquals(range.regions.length, last.index);
      verify();
    }
    assertEquals(complaint(), "");
  });

  it("a region that cannot be wrapped is decommitted again", () => {
    const recorder = new Recorder(systemPageSource());
    const source = failingPageSource(recorder.source, Infinity, { operations: ["wrap"] });
    const range = rangeOver(source, 2 ** 26, UNIT);
    // The tables are long enough after this.
    range.release(range.take(4000, 16, LARGE_RUN));
    range.trim();
    const committed = recorder.committedBytes;
    source.rearm(0);
    assertEquals(range.take(300, 16, LARGE_RUN), -1);
    assertEquals([range.regions.length, recorder.committedBytes], [0, committed]);
    assert(range.failure !== undefined);
    source.rearm(Infinity);
    assertEquals(range.take(300, 16, LARGE_RUN), 0);
    range.check();
    disposeRange(range);
    assertEquals(recorder.complaint(), "");
  });

  it("what is no error of this package goes through as it is", () => {
    const inner = systemPageSource();
    let wrong = false;
    const source = {
      ...inner,
      commit(address: number, byteLength: number): void {
        if (wrong) throw new EvalError("odd");
        inner.commit(address, byteLength);
      },
    };
    const range = rangeOver(source, 2 ** 28, UNIT);
    range.take(256, 16, LARGE_RUN);
    wrong = true;
    assertThrows(() => range.take(10_000, 16, LARGE_RUN), EvalError, "odd");
    wrong = false;
    range.check();
    disposeRange(range);
  });

  it("old contents behind a region that went back are not taken for zero", () => {
    const inner = systemPageSource();
    let refuses = false;
    const refuse = (byteLength: number): void => {
      if (refuses) throw new OutOfMemoryError("refused", byteLength);
    };
    const source = {
      ...inner,
      decommit(address: number, byteLength: number): void {
        refuse(byteLength);
        inner.decommit(address, byteLength);
      },
      wrap(address: number, byteLength: number) {
        refuse(byteLength);
        return inner.wrap(address, byteLength);
      },
    };
    const range = rangeOver(source, 2 ** 28, UNIT);
    const [first, second] = [range.take(255, 16, LARGE_RUN), range.take(511, 16, LARGE_RUN)];
    range.wrappedRegionOf(second).bytes.fill(2);
    range.release(second);
    refuses = true;
    assertThrows(() => range.trim(), OutOfMemoryError, "refused");
    assertEquals(range.regions.length, 1, "it could not be wrapped again");
    refuses = false;
    range.release(first);
    assert(range.trim() > 0);
    range.take(255, 16, LARGE_RUN);
    const again = range.take(511, 16, LARGE_RUN);
    assertEquals([again, range.isFresh, range.wrappedRegionOf(again).bytes[0]], [second, false, 2]);
    range.check();
    disposeRange(range);
  });

  it("isFresh says of each run whether it reads as zero", () => {
    const { range, complaint } = recordedRange(systemPageSource(), 2 ** 26);
    const first = range.take(10, 16, LARGE_RUN);
    assert(range.isFresh);
    range.release(first);
    range.take(5, 16, LARGE_RUN);
    assert(!range.isFresh);
    range.take(10, 16, LARGE_RUN);
    assert(!range.isFresh, "half of it was used before");
    range.take(10, 16, LARGE_RUN);
    assert(range.isFresh);
    assertEquals(complaint(), "");
  });

  it("what trim() has given back at the end of a region is fresh again", () => {
    const { range, complaint } = recordedRange(systemPageSource(), 2 ** 26);
    const step = Math.max(1, systemPageSource().pageSize / UNIT);
    range.take(step, 16, LARGE_RUN);
    range.release(range.take(10 * step, 16, LARGE_RUN));
    assertEquals(range.trim(), 10 * step * UNIT);
    assertEquals(range.trim(), 0);
    range.take(10 * step, 16, LARGE_RUN);
    assert(range.isFresh);
    assertEquals(complaint(), "");
  });

  it("releaseLarge() parks a run, and take() merges parked runs before the range grows", () => {
    const { range, complaint } = recordedRange(systemPageSource(), MIB);
    const units = Array.from({ length: 4 }, () => range.take(64, 16, LARGE_RUN));
    for (const unit of units) range.releaseLarge(unit);
    assertEquals([range.runs.parked.total, range.runs.freeUnits], [256, 0]);
    range.check();
    assertEquals(range.take(100, 16, LARGE_RUN), 0);
    assertEquals([range.runs.parked.total, range.regions.length], [0, 1]);
    range.check();
    assertEquals(complaint(), "");
  });

  it("resize() keeps to the region, and counts what it reaches as used", () => {
    const { range, complaint } = recordedRange(systemPageSource(), 4 * MIB);
    range.take(20, 16, LARGE_RUN);
    assert(!range.resize(0, 257));
    assert(range.resize(0, 30));
    assert(range.resize(0, 10));
    range.take(15, 16, LARGE_RUN);
    assert(!range.isFresh);
    range.check();
    assertEquals(complaint(), "");
  });

  it("trim() takes free regions away from the end, detached, and keeps the rest", () => {
    const { range, recorder, complaint } = recordedRange(systemPageSource(), 2 ** 26);
    const units = Array.from({ length: 20 }, () => range.take(60, 4096, PAGE_RUN));
    const wraps = range.regions.map(({ bytes }) => bytes);
    assertEquals(range.regions.length, 3);
    for (const unit of units.slice(4)) range.release(unit);
    const committed = recorder.committedBytes;
    const given = range.trim();
    assertEquals(range.regions.length, 1);
    assertEquals(wraps.map(({ byteLength }) => byteLength), [MIB, 0, 0]);
    assertEquals(committed - recorder.committedBytes, 6 * MIB);
    assert(given >= 6 * MIB);
    range.check();
    for (const unit of units.slice(0, 4)) range.release(unit);
    range.trim();
    assertEquals([range.regions.length, range.committedBytes], [0, 0]);
    range.check();
    assertEquals(range.take(1, 16, LARGE_RUN), 0);
    assert(range.isFresh);
    range.check();
    assertEquals(complaint(), "");
  });

  it("a region whose decommit fails in trim() stays usable", () => {
    const source = failingPageSource(systemPageSource(), Infinity, { operations: ["decommit"] });
    const range = rangeOver(source, 2 ** 26, UNIT);
    range.release(range.take(5, 16, LARGE_RUN));
    source.rearm(0);
    try {
      assertThrows(() => range.trim(), OutOfMemoryError, "fails on purpose");
      range.check();
    } finally {
      source.rearm(Infinity);
      disposeRange(range);
    }
  });

  for (const pageUnits of [2, 4, 16]) {
    it(`fresh memory is zero with OS pages of ${pageUnits * 4} KiB`, () => {
      const { range, complaint } = recordedRange(systemPageSource(), 2 ** 26, pageUnits * UNIT);
      const random = new Prng(pageUnits);
      const used: number[] = [];
      for (let step = 0; step < 400; step++) {
        if (used.length === 0 || random.chance(45)) {
          const count = random.between(1, 9);
          const unit = range.take(count, 16, LARGE_RUN);
          const { bytes, firstUnit } = range.wrappedRegionOf(unit);
          const view = bytes.subarray((unit - firstUnit) * UNIT, (unit - firstUnit + count) * UNIT);
          if (range.isFresh) assertEquals(view.findIndex((byte) => byte !== 0), -1, `step ${step}`);
          view.fill(255);
          used.push(unit);
        } else if (random.chance(70)) {
          range.release(used.splice(random.below(used.length), 1)[0]!);
        } else {
          range.trim();
        }
        range.check();
      }
      assertEquals(complaint(), "");
    });
  }
});

describe("AddressRange.check()", () => {
  it("finds a region that was detached from outside, and so does whoever wants its bytes", () => {
    const range = rangeOver(systemPageSource(), 2 ** 26, UNIT);
    const unit = range.take(1, 16, LARGE_RUN);
    (range.regions[0]!.buffer as ArrayBuffer).transfer(0);
    const address = `0x${range.base.toString(16)}`;
    const message = `Cannot use the region at ${address}: its ArrayBuffer was detached from outside`;
    assertThrows(() => range.wrappedRegionOf(unit), CorruptionError, message);
    assertThrows(() => range.check(), CorruptionError, message);
    disposeRange(range);
  });

  it("finds a region whose extent is wrong", () => {
    const range = rangeOver(systemPageSource(), 2 ** 26, UNIT);
    range.take(1, 16, LARGE_RUN);
    const region = range.regions[0]!;
    range.regions[0] = { ...region, endUnit: region.endUnit - 1 };
    assertThrows(() => range.check(), CorruptionError, "Cannot trust region 0: its extent disagrees with its records");
    range.regions[0] = region;
    range.check();
    range.endUnit--;
    assertThrows(
      () => range.check(),
      CorruptionError,
      "Cannot trust the range: its regions do not end at its end",
    );
    range.endUnit++;
    range.check();
    disposeRange(range);
  });

  it("finds a frontier below a used run", () => {
    const range = rangeOver(systemPageSource(), 2 ** 26, UNIT);
    range.take(8, 16, LARGE_RUN);
    range.regions[0]!.frontier = 4;
    try {
      assertThrows(() => range.check(), CorruptionError);
    } finally {
      disposeRange(range);
    }
  });

  it("finds what its runs find", () => {
    const range = rangeOver(systemPageSource(), 2 ** 26, UNIT);
    range.take(8, 16, LARGE_RUN);
    range.runs.freeUnits++;
    assertThrows(() => range.check(), CorruptionError, "units are free");
    disposeRange(range);
  });
});
