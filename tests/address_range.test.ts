/**
 * Address ranges: regions, their growth, what is fresh, what is given back, and what `check` finds.
 *
 * @module
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { failingPageSource, fixedPageSource, limitedPageSource, OutOfMemoryError, systemPageSource } from "../mod.ts";
import type { PageSource } from "../mod.ts";
import { AddressRange, RANGE_MAX } from "../src/address_range.ts";
import { CorruptionError } from "../src/errors.ts";
import { reserveRange } from "../src/region.ts";
import { LARGE_RUN, PAGE_RUN, PAGE_UNITS, UNIT } from "../src/runs.ts";
import { Prng } from "./support/prng.ts";
import { Recorder } from "./support/recording_source.ts";
import { scarceSource } from "./support/scarce_source.ts";

const MIB = 2 ** 20;

/** Gives a range back the way a heap does. */
function dispose(range: AddressRange): void {
  range.unwrapAll();
  range.dispose((giveBack) => giveBack());
}

/** A range of at least `least` bytes. */
function rangeOver(source: PageSource, byteLength: number, least: number): AddressRange {
  return new AddressRange(source, reserveRange(source, byteLength, least));
}

/** A range over a recorded source; `complaint` disposes it and says what is left. */
function make(
  inner: PageSource,
  byteLength: number,
  pageSize = inner.pageSize,
): { range: AddressRange; recorder: Recorder; complaint: () => string } {
  const recorder = new Recorder(inner, { pageSize });
  const range = rangeOver(recorder.source, byteLength, UNIT);
  return {
    range,
    recorder,
    complaint() {
      dispose(range);
      return recorder.complaint();
    },
  };
}

describe("AddressRange", () => {
  it("reserves and commits nothing for blocks until they are taken", () => {
    const { range, recorder, complaint } = make(systemPageSource(), 2 ** 26);
    assertEquals([range.byteLength, range.committedBytes, range.regions.length], [2 ** 26, 0, 0]);
    assertEquals(range.base % 65_536, 0);
    assert(recorder.committedBytes < 65_536);
    range.check();
    assertEquals(complaint(), "");
  });

  it("halves what it reserves until the source agrees", () => {
    const { range, complaint } = make(scarceSource(5 * MIB), RANGE_MAX);
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
    const { range, complaint } = make(systemPageSource(), 2 ** 26);
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
    const { range, complaint } = make(systemPageSource(), 2 ** 26);
    assertEquals(range.take(1024, 16, LARGE_RUN), 0);
    assertEquals(range.regions.map(({ bytes }) => bytes.byteLength), [4 * MIB]);
    range.check();
    assertEquals(complaint(), "");
  });

  it("a region is shorter when the source has less, down to the run alone", () => {
    const { range, complaint } = make(limitedPageSource(systemPageSource(), MIB), 2 ** 26);
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
    const { range, complaint } = make(systemPageSource(), MIB);
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
    const { range, complaint } = make(inner, 4 * MIB);
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
      dispose(range);
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
    const { range, complaint } = make(pressed, MIB);
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
    dispose(range);
    assertEquals(recorder.complaint(), "");
  });

  it("what is no error of this package goes through as it is", () => {
    const inner = systemPageSource();
    let wrong = false;
    const odd = (): void => {
      if (wrong) throw new EvalError("odd");
    };
    const range = rangeOver(
      {
        ...inner,
        commit(address, byteLength) {
          odd();
          inner.commit(address, byteLength);
        },
        discard(address, byteLength) {
          odd();
          inner.discard(address, byteLength);
        },
      },
      2 ** 28,
      UNIT,
    );
    const units = Array.from({ length: 60 }, () => range.take(256, 16, LARGE_RUN));
    wrong = true;
    assertThrows(() => range.take(10_000, 16, LARGE_RUN), EvalError, "odd");
    assertThrows(
      () => {
        for (const unit of units) range.release(unit);
      },
      EvalError,
      "odd",
    );
    wrong = false;
    range.check();
    dispose(range);
  });

  it("isFresh says of each run whether it reads as zero", () => {
    const { range, complaint } = make(systemPageSource(), 2 ** 26);
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
    const { range, complaint } = make(systemPageSource(), 2 ** 26);
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
    const { range, complaint } = make(systemPageSource(), MIB);
    const units = Array.from({ length: 4 }, () => range.take(64, 16, LARGE_RUN));
    for (const unit of units) range.releaseLarge(unit);
    assertEquals([range.runs.parkedUnits, range.runs.freeUnits], [256, 0]);
    range.check();
    assertEquals(range.take(100, 16, LARGE_RUN), 0);
    assertEquals([range.runs.parkedUnits, range.regions.length], [0, 1]);
    range.check();
    assertEquals(complaint(), "");
  });

  it("resize() keeps to the region, and counts what it reaches as used", () => {
    const { range, complaint } = make(systemPageSource(), 4 * MIB);
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
    const { range, recorder, complaint } = make(systemPageSource(), 2 ** 26);
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
      dispose(range);
    }
  });

  it("much free memory goes back by itself: above 32 MiB and half of what is in use", () => {
    const { range, recorder, complaint } = make(systemPageSource(), 2 ** 28);
    const units = Array.from({ length: 100 }, () => range.take(256, 16, LARGE_RUN));
    // A hundred MiB are in use; a third is not enough.
    for (const unit of units.slice(0, 32)) range.release(unit);
    assertEquals(recorder.releasedBytes, 0);
    for (const unit of units.slice(32, 40)) range.release(unit);
    assert(recorder.releasedBytes >= 33 * MIB && recorder.releasedBytes <= 40 * MIB, `${recorder.releasedBytes}`);
    range.check();
    // The same few MiB over and over are kept.
    const released = recorder.releasedBytes;
    for (let i = 0; i < 500; i++) range.release(range.take(1024, 16, LARGE_RUN));
    assertEquals(recorder.releasedBytes, released);
    assertEquals(complaint(), "");
  });

  it("free memory goes back before new memory is touched, when nothing free fits", () => {
    const { range, recorder, complaint } = make(systemPageSource(), 2 ** 28);
    const take = (count: number) => range.take(count, 16, LARGE_RUN);
    // Free runs of 60 units between used ones, where nothing longer fits.
    const units = Array.from({ length: 40 }, () => take(60));
    for (let i = 1; i < 40; i += 2) range.release(units[i]!);
    assertEquals(recorder.releasedBytes, 0, "as long as it does not grow");
    take(61);
    take(61);
    const share = recorder.releasedBytes / (61 * UNIT);
    assert(share >= 1 && share < 4, `${share} times what was taken went back`);
    range.check();
    // The same memory is taken and freed again and again: that ends.
    const rounds = (count: number) => {
      for (let round = 0; round < count; round++) {
        const taken = Array.from({ length: 15 }, () => take(60));
        for (const unit of taken) range.release(unit);
      }
    };
    rounds(25);
    const released = recorder.releasedBytes;
    rounds(25);
    assertEquals(recorder.releasedBytes, released);
    range.check();
    assertEquals(complaint(), "");
  });

  it("a program that needs two kinds of memory in turns has both resident after some turns", () => {
    const { range, recorder, complaint } = make(systemPageSource(), 2 ** 28);
    const turn = (length: number) => {
      // Of each two the second stays free, so that runs of the other length do not fit.
      const units = Array.from({ length: 2_000 / length }, () => range.take(length, 16, LARGE_RUN));
      for (const unit of units) range.release(unit);
    };
    const pins = Array.from(
      { length: 60 },
      (_, i) => [range.take(i < 30 ? 100 : 70, 16, LARGE_RUN), range.take(1, 16, LARGE_RUN)],
    );
    for (const [unit] of pins) range.release(unit!);
    for (let i = 0; i < 20; i++) [100, 70].forEach(turn);
    const released = recorder.releasedBytes;
    for (let i = 0; i < 20; i++) [100, 70].forEach(turn);
    assertEquals(recorder.releasedBytes, released, "it was learned");
    range.check();
    assertEquals(complaint(), "");
  });

  it("what is kept for the next block goes back too, when free runs are not enough", () => {
    const { range, recorder, complaint } = make(systemPageSource(), 2 ** 28);
    let idle = [0, 0].map(() => range.take(PAGE_UNITS, PAGE_UNITS * UNIT, PAGE_RUN));
    const parked = Array.from({ length: 3 }, () => range.take(32, 16, LARGE_RUN));
    range.pageMemory = {
      untouchedUnits: 0,
      get idleUnits() {
        return idle.length * PAGE_UNITS;
      },
      releaseIdle() {
        for (const unit of idle) range.release(unit);
        idle = [];
      },
      discardUnused() {},
    };
    for (const unit of parked) range.releaseLarge(unit);
    assertEquals([range.runs.parkedUnits, range.runs.writtenUnits, recorder.releasedBytes], [96, 0, 0]);
    // Nothing that was written has such a length, and the pages alone are not enough.
    range.take(40, 16, LARGE_RUN);
    assertEquals([range.runs.parkedUnits, idle.length], [0, 0]);
    assert(recorder.releasedBytes > 2 * PAGE_UNITS * UNIT, `${recorder.releasedBytes}`);
    range.check();
    assertEquals(complaint(), "");
  });

  it("growing in place counts as taking, and does not make what is kept seem idle", () => {
    const { range, recorder, complaint } = make(systemPageSource(), 2 ** 28);
    range.release(range.take(10_240, 16, LARGE_RUN));
    // A burst of 40 MiB is given back once, and kept from then on, however often blocks grow in place in it.
    const burst = () => {
      const units = Array.from({ length: 20 }, () => {
        const unit = range.take(8, 16, LARGE_RUN, 512);
        assert(range.resize(unit, 512));
        return unit;
      });
      for (const unit of units) range.release(unit);
    };
    for (let i = 0; i < 2; i++) burst();
    const released = recorder.releasedBytes;
    assert(released >= 32 * MIB);
    for (let i = 0; i < 100; i++) burst();
    assertEquals(recorder.releasedBytes, released);
    range.check();
    assertEquals(complaint(), "");
  });

  it("take() swallows that memory cannot be given back", () => {
    const source = failingPageSource(systemPageSource(), Infinity, { operations: ["discard"] });
    const range = rangeOver(source, 2 ** 28, UNIT);
    const units = Array.from({ length: 40 }, () => range.take(60, 16, LARGE_RUN));
    for (let i = 1; i < 40; i += 2) range.release(units[i]!);
    source.rearm(0);
    range.take(61, 16, LARGE_RUN);
    const unit = range.take(61, 16, LARGE_RUN);
    assert(source.failures > 0 && unit !== -1);
    range.check();
    source.rearm(Infinity);
    dispose(range);
  });

  it("shrinking blocks counts as freeing memory", () => {
    const { range, recorder, complaint } = make(systemPageSource(), 2 ** 28);
    const units = Array.from({ length: 100 }, () => range.take(256, 16, LARGE_RUN));
    for (const unit of units) assert(range.resize(unit, 1));
    assert(recorder.releasedBytes >= 32 * MIB, `${recorder.releasedBytes} bytes of 99 MiB were given back`);
    assertEquals(complaint(), "");
  });

  it("release() swallows that memory cannot be given back; trim() reports it", () => {
    const source = failingPageSource(systemPageSource(), Infinity, { operations: ["discard", "decommit"] });
    const range = rangeOver(source, 2 ** 28, UNIT);
    const units = Array.from({ length: 60 }, () => range.take(256, 16, LARGE_RUN));
    source.rearm(0);
    for (const unit of units.slice(1)) range.release(unit);
    assert(source.failures > 0);
    assertThrows(() => range.trim(), OutOfMemoryError, "fails on purpose");
    source.rearm(Infinity);
    assert(range.trim() > 0);
    dispose(range);
  });

  for (const pageUnits of [2, 4, 16]) {
    it(`fresh memory is zero with OS pages of ${pageUnits * 4} KiB`, () => {
      const { range, complaint } = make(systemPageSource(), 2 ** 26, pageUnits * UNIT);
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
    dispose(range);
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
    dispose(range);
  });

  it("finds a frontier below a used run", () => {
    const range = rangeOver(systemPageSource(), 2 ** 26, UNIT);
    range.take(8, 16, LARGE_RUN);
    range.regions[0]!.frontier = 4;
    try {
      assertThrows(() => range.check(), CorruptionError);
    } finally {
      dispose(range);
    }
  });

  it("finds what its runs find", () => {
    const range = rangeOver(systemPageSource(), 2 ** 26, UNIT);
    range.take(8, 16, LARGE_RUN);
    range.runs.freeUnits++;
    assertThrows(() => range.check(), CorruptionError, "units are free");
    dispose(range);
  });
});
